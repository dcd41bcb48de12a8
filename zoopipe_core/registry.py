"""Which adapter reads or writes what: one table, by a path's suffix or a URL's scheme.

`Pipe("users.csv", "duckdb:///wh.db::users")` is looked up here. Adapters are named by dotted path and imported when
they are used, so the table costs nothing.
"""

from __future__ import annotations

import importlib
import os
import re
from typing import Any

from zoopipe_core.errors import SpecError, UnknownAdapterError

__all__ = ["COMPRESSIONS", "resolve_input", "resolve_output", "without_query"]

COMPRESSIONS = {".bz2": "bz2", ".gz": "gzip", ".zip": "zip", ".zst": "zstd"}
"""Suffix -> compression; it may follow any of the text formats' suffixes."""

# suffix -> (input, output, options)
_SUFFIXES: dict[str, tuple[str, str, dict[str, Any]]] = {
    ".arrow": ("arrow:ArrowInputAdapter", "arrow:ArrowOutputAdapter", {}),
    ".csv": ("csv:CSVInputAdapter", "csv:CSVOutputAdapter", {}),
    ".feather": ("arrow:ArrowInputAdapter", "arrow:ArrowOutputAdapter", {}),
    ".ipc": ("arrow:ArrowInputAdapter", "arrow:ArrowOutputAdapter", {}),
    ".json": ("json:JSONInputAdapter", "json:JSONOutputAdapter", {"format": "array"}),
    ".jsonl": ("json:JSONInputAdapter", "json:JSONOutputAdapter", {"format": "jsonl"}),
    ".ndjson": ("json:JSONInputAdapter", "json:JSONOutputAdapter", {"format": "jsonl"}),
    ".parquet": ("parquet:ParquetInputAdapter", "parquet:ParquetOutputAdapter", {}),
    ".pq": ("parquet:ParquetInputAdapter", "parquet:ParquetOutputAdapter", {}),
    ".tsv": ("csv:CSVInputAdapter", "csv:CSVOutputAdapter", {"delimiter": "\t"}),
}
# scheme -> (input, output)
_SCHEMES: dict[str, tuple[str, str]] = {
    "duckdb": ("sql:SQLInputAdapter", "sql:SQLOutputAdapter"),
    "postgres": ("sql:SQLInputAdapter", "sql:SQLOutputAdapter"),
    "postgresql": ("sql:SQLInputAdapter", "sql:SQLOutputAdapter"),
    "sqlite": ("sql:SQLInputAdapter", "sql:SQLOutputAdapter"),
}
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*)://")


def resolve_input(target: Any) -> Any:
    """The input adapter for a path, a URL, an iterable of rows or an object with ``__arrow_c_stream__``.

    >>> resolve_input("users.csv").label
    'users.csv'

    Raises:
        UnknownAdapterError: no adapter is known for it; the message lists those that are.
    """
    if isinstance(target, str | os.PathLike):
        return _resolve_path(os.fspath(target), 0)
    if isinstance(target, list | tuple) and target and all(isinstance(item, str | os.PathLike) for item in target):
        kinds = {_suffix(os.fspath(item)) for item in target}
        if len(kinds) > 1:
            raise UnknownAdapterError(
                f"the paths of one input have different suffixes: {', '.join(sorted(kinds))}; use one Pipe for each"
            )
        dotted, options = _by_suffix(os.fspath(target[0]), 0)
        return _load(dotted)(list(target), **options)
    if hasattr(target, "__arrow_c_stream__"):
        return _load("arrow:ArrowStreamInputAdapter")(target)
    if hasattr(target, "__iter__"):
        return _load("python:PyGeneratorInputAdapter")(target)
    raise UnknownAdapterError(
        f"{type(target).__name__} is no input: give an adapter, a path or URL, an iterable of rows, "
        "or an object with __arrow_c_stream__ (pyarrow, Polars, DuckDB, pandas)"
    )


def resolve_output(target: Any) -> Any:
    """The output adapter for a path or a URL.

    Raises:
        UnknownAdapterError: no adapter is known for it; the message lists those that are.
    """
    if isinstance(target, str | os.PathLike):
        return _resolve_path(os.fspath(target), 1)
    raise UnknownAdapterError(f"{type(target).__name__} is no output: give an adapter, a path or a URL")


def _resolve_path(path: str, side: int) -> Any:
    match = _SCHEME.match(path)
    scheme = match.group(1).lower() if match else None
    if scheme in _SCHEMES:
        uri, separator, table = path.rpartition("::")
        if not separator:
            raise SpecError(
                f"{_without_password(path)} names a database but no table: write {scheme}://...::table, "
                f"or use {'SQLOutputAdapter' if side else 'SQLInputAdapter'}(uri, ...)"
            )
        return _load(_SCHEMES[scheme][side])(uri, table_name=table)
    dotted, options = _by_suffix(path, side)
    return _load(dotted)(path, **options)


def _by_suffix(path: str, side: int) -> tuple[str, dict[str, Any]]:
    suffix = _suffix(path)
    entry = _SUFFIXES.get(suffix)
    if entry is None:
        shown = _without_password(path)
        query = " and a query, which only web addresses may have" if _SCHEME.match(path) and "?" in path else ""
        raise UnknownAdapterError(
            f"no adapter is known for {shown!r} (suffix {_suffix(shown) or 'none'}{query}).\n"
            f"  known suffixes: {' '.join(_SUFFIXES)}, each with or without {' '.join(COMPRESSIONS)}\n"
            f"  known schemes: {' '.join(name + '://' for name in _SCHEMES)}\n"
            "  Name the adapter yourself where a file has another name: CSVInputAdapter(path)."
        )
    reader, writer, options = entry
    return (writer if side else reader), dict(options)


def _suffix(path: str) -> str:
    name = without_query(path).rstrip("/").rpartition("/")[2].lower()
    stem, dot, last = name.rpartition(".")
    suffix = dot + last if dot else ""
    if suffix in COMPRESSIONS:
        inner = stem.rpartition(".")
        suffix = "." + inner[2] if inner[1] else suffix
    return suffix


def without_query(path: str) -> str:
    """A web address without what begins at ``?`` or ``#``; any other path as it is.

    >>> without_query("https://host/users.csv.gz?token=1"), without_query("s3://bucket/part-?.csv")
    ('https://host/users.csv.gz', 's3://bucket/part-?.csv')
    """
    return re.split(r"[?#]", path, maxsplit=1)[0] if re.match(r"https?://", path, re.IGNORECASE) else path


def _without_password(url: str) -> str:
    if not _SCHEME.match(url):
        return url
    # A query may hold a token or a password.
    return re.sub(r"(://[^:/@\s]*):[^/\s]*@", r"\1:***@", url.partition("?")[0])


def _load(dotted: str) -> Any:
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(f"zoopipe_core.adapters.{module}"), name)
