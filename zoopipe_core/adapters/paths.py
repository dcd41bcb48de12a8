"""Naming and finding files: local paths, globs, fsspec URLs, and lists of them.

    expand_paths("in/*.csv.gz")  ->  ["in/a.csv.gz", "in/b.csv.gz"]

Local paths are handled by the operating system, URLs such as ``s3://`` by fsspec; ``file://`` names a local path.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoopipe_core.errors import SourceNotFoundError, SourceReadError, SpecError
from zoopipe_core.registry import COMPRESSIONS, without_query

__all__ = [
    "PathLike",
    "Paths",
    "check_compression",
    "check_output_path",
    "describe_paths",
    "expand_paths",
    "file_size",
    "filesystem_of",
    "folder_error",
    "infer_compression",
    "is_url",
    "local_path",
    "normalize_paths",
    "places_of",
    "read_error",
    "strip_credentials",
]

PathLike = str | os.PathLike[str]
Paths = PathLike | Sequence[PathLike]

_URL = re.compile(r"^(?!file:)[A-Za-z][A-Za-z0-9+.\-]*://", re.IGNORECASE)
_FILE_URL = re.compile(r"^file://(?=/)", re.IGNORECASE)
_WILDCARDS = re.compile(r"[*?\[]")
_AUTHORITY = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*://)[^/]*@")


def normalize_paths(paths: Paths) -> str | tuple[str, ...]:
    """What an adapter keeps: one string, or a tuple of them.

    Raises:
        SpecError: there is none, or one is no path.
    """
    if isinstance(paths, str | os.PathLike):
        return _checked_path(paths)
    if isinstance(paths, Sequence) and paths and all(isinstance(path, str | os.PathLike) for path in paths):
        return tuple(_checked_path(path) for path in paths)
    raise SpecError(f"a path, a glob or a non-empty list of them is wanted, not {paths!r}")


def _checked_path(path: PathLike) -> str:
    text = os.fspath(path)
    if not isinstance(text, str) or not text:
        raise SpecError(f"a path has to be a non-empty text, not {text!r}")
    if "\0" in text:
        raise SpecError(f"a path cannot hold a NUL character, as {text!r} does")
    return text


def check_output_path(what: str, path: Paths, compression: str | None) -> str:
    """The path of an output, which is one file and no zip archive.

    Raises:
        SpecError: it is several paths, or cannot be compressed as asked.
    """
    single = normalize_paths(path)
    if not isinstance(single, str):
        raise SpecError(f"a {what} output is one file, not {len(single)} of them")
    check_compression(compression, ("gzip", "bz2", "zstd"))
    if compression == "infer" and infer_compression(single) == "zip":
        raise SpecError(f"{strip_credentials(single)}: zip files can be read but not written; use .gz or .zst")
    return single


def check_compression(value: str | None, allowed: Sequence[str] = ("gzip", "bz2", "zstd", "zip")) -> None:
    """Refuse a compression that is not among `allowed`, "infer" and None.

    Raises:
        SpecError: it is not.
    """
    if value is not None and value != "infer" and value not in allowed:
        names = ", ".join(repr(name) for name in ("infer", *allowed))
        raise SpecError(f"compression has to be {names} or None, not {value!r}")


def places_of(path: str | Sequence[str]) -> tuple[str, ...]:
    """The paths and patterns of an input, without credentials."""
    return tuple(strip_credentials(one) for one in ([path] if isinstance(path, str) else path))


def describe_paths(paths: str | tuple[str, ...]) -> str:
    """A short label: the path itself, or the first one and how many more."""
    if isinstance(paths, str):
        return strip_credentials(paths)
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return strip_credentials(paths[0]) + more


def strip_credentials(url: str) -> str:
    """A URL without user, password and query (signed URLs carry secrets there); a plain path as it is."""
    if not is_url(url):
        return url
    return _AUTHORITY.sub(r"\1", url.partition("?")[0])


def is_url(path: str) -> bool:
    """Whether fsspec has to handle the path."""
    return bool(_URL.match(path))


def local_path(path: str) -> str:
    """A local path with ``~`` and ``file://`` resolved."""
    return os.path.expanduser(_FILE_URL.sub("", path))


def expand_paths(paths: str | tuple[str, ...]) -> list[str]:
    """Every file that `paths` names, globs sorted by name, a literal name before a pattern.

    Raises:
        SourceNotFoundError: a path does not exist or a pattern matches nothing.
        SourceReadError: a path is a folder, or a folder on the way to it cannot be entered.
    """
    found: list[str] = []
    for path in (paths,) if isinstance(paths, str) else paths:
        found.extend(_expand_url(path) if is_url(path) else _expand_local(local_path(path)))
    return found


def _expand_local(path: str) -> list[str]:
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        pass  # then it is a pattern, or missing
    except OSError as error:
        raise read_error(path, error) from error
    else:
        if stat.S_ISDIR(mode):
            raise folder_error(path)
        return [path]
    if not _WILDCARDS.search(path):
        raise SourceNotFoundError(f"there is no file {path} ({_nearest(path)})")
    matches = sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match))
    if not matches:
        raise SourceNotFoundError(f"no file matches {path} (looked from {Path.cwd()})")
    return matches


def folder_error(path: str) -> SourceReadError:
    """`path` is a folder where a file is wanted."""
    folder = path.rstrip("/")
    pattern = f"{folder}/*{os.path.splitext(folder)[1] or '.csv'}"
    return SourceReadError(f"{path} is a folder: name its files with a pattern, as in {pattern}")


def read_error(path: str, error: OSError) -> SourceReadError:
    """What the operating system said while `path` was read, with the path in it."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    raised = SourceReadError(f"{strip_credentials(path)} cannot be read: {reason}")
    raised.errno = error.errno
    return raised


def _nearest(path: str) -> str:
    """Where a missing file was looked for, and what is there instead."""
    from difflib import get_close_matches

    parent = Path(path).parent.absolute()
    if not parent.is_dir():
        return f"{parent} is {'no folder' if parent.exists() else 'missing too'}"
    try:
        close = get_close_matches(Path(path).name, os.listdir(parent), n=1)
    except PermissionError:
        return f"{parent} may not be listed"
    looked = f"looked in {parent}"
    return f"{looked}; did you mean {close[0]}?" if close else looked


def _expand_url(url: str) -> list[str]:
    # In a web address ``?`` begins the query.
    if not _WILDCARDS.search(without_query(url)):
        return [url]
    filesystem, path = filesystem_of(url)
    # What stands before the path (scheme, user, host) is needed to open the matches too.
    front = url[: -len(path)] if path and url.endswith(path) else None
    matches = sorted(
        str(filesystem.unstrip_protocol(match)) if front is None else front + match for match in filesystem.glob(path)
    )
    if not matches:
        raise SourceNotFoundError(f"no object matches {strip_credentials(url)}")
    return matches


def filesystem_of(url: str) -> tuple[Any, str]:
    """The fsspec file system that handles `url`, and the path within it.

    Raises:
        SpecError: the scheme is unknown, or the package that handles it is not installed.
    """
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SpecError(f"{strip_credentials(url)} cannot be opened by fsspec: {error}") from error
    return filesystem, path


def infer_compression(path: str) -> str | None:
    """The compression that the suffix stands for; None for none."""
    return COMPRESSIONS.get(os.path.splitext(without_query(path))[1].lower())


def file_size(path: str) -> int | None:
    """Bytes of a regular local file; None for anything else."""
    if is_url(path):
        return None
    try:
        status = os.stat(local_path(path))
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
