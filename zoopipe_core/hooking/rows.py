"""Rows as row hooks see them: entries made of batches, run through a hook, and made into batches again.

Nothing here trusts a hook: what it returns is checked, a row is known by its ``id`` alone, and the source's own values
are handed out as copies, so that a reject shows its row as it was read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, cast

import pyarrow as pa
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.objects import is_compiled, rows_of_entries
from zoopipe_core.batches.row_dicts import dicts_of_columns
from zoopipe_core.batches.source import JSON_COLUMN, RowNumbers, SourceBatch, SourceKind, number_rows
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.errors import UnsupportedValueError
from zoopipe_core.hooks import BaseHook, Entry, EntryStatus, Hook
from zoopipe_core.schema.cells import cell_values, readable_cells

__all__ = [
    "Misuse",
    "Naming",
    "Outcome",
    "Shown",
    "columns_of",
    "errors_of",
    "json_text",
    "new_entry",
    "raw_rows",
    "run_row_hook",
]

Errors = list[dict[str, Any]]
BadRows = dict[int, Mapping[str, Any]]
"""Index of a row that cannot be shown to a hook -> an error in pydantic's form."""


class Misuse(Exception):
    """A hook, or what it returned, is not what it has to be; becomes a HookError that names it."""


Naming = Callable[[Hook, RowNumbers], AbstractContextManager[None]]
"""Makes whatever is raised in its block an error that names the hook and the rows, given by their numbers."""


@dataclass(slots=True)
class Shown:
    """Entries, and what is known of them whatever hooks do to them: lists of equal length.

    Attributes:
        entries: as a hook gets them, or gave them back.
        ids, positions: what `Entry` calls so.
        rows: the dict of each entry that the hook was asked for, if they were looked up already.
        noted: whether an entry may have ``metadata``.
        kind: the class that the entries had when they were made.
    """

    entries: list[Entry]
    ids: list[int]
    positions: list[int]
    rows: list[dict[str, Any]] | None = None
    noted: bool = True
    kind: type = dict

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(slots=True)
class Outcome:
    """Entries behind a row hook: those that go on, those that failed, and the count of the others."""

    going: Shown
    failed: list[Entry]
    filtered: int = 0
    added: int = 0


def run_row_hook(hook: BaseHook, shown: Shown, data: str, store: dict[str, Any], new_ids: Iterator[int]) -> Outcome:
    """Run `hook` on entries and account for each of them. Where all go on, in their order, `Outcome.going` has the
    very list of ids that `shown` has.

    `data` is the key of the dict that has to be there afterwards, ``raw_data`` or ``validated_data``; `new_ids` gives
    ids for the entries that the hook adds.

    Raises:
        Misuse: it did not return a list of entries.
    """
    returned = hook.execute(shown.entries, store)
    if isinstance(returned, list):
        returned = list(returned)  # of our own, which a hook with a thread of its own cannot change meanwhile
        as_it_was = _as_it_was(shown, returned, data)
        if as_it_was is not None:
            return Outcome(as_it_was, [])
    if not isinstance(returned, list) or not all(issubclass(kind, dict) for kind in set(map(type, returned))):
        raise Misuse(f"execute has to return a list of entries, not {_kind_of(returned)}")
    positions = dict(zip(shown.ids, shown.positions, strict=True))
    going = Shown([], [], [], kind=shown.kind)
    outcome = Outcome(going, [])
    for entry in returned:
        identity = entry.get("id", 0)
        position = positions.pop(identity, None)
        if position is None:
            # Copied: it may be a row of ours that was returned twice.
            outcome.added += 1
            identity, position = next(new_ids), 0
            known = {"id": identity, "position": 0, "metadata": dict(entry.get("metadata") or {})}
            entry = cast(Entry, {**entry, **known, data: copied(entry.get(data))})
        else:
            entry["position"] = position
        if _failed(entry):
            outcome.failed.append(entry)
        elif isinstance(entry.get(data), dict):
            going.entries.append(entry)
            going.ids.append(identity)
            going.positions.append(position)
        else:
            raise Misuse(f"an entry's {data} has to be a dict, not {_kind_of(entry.get(data))}")
    outcome.filtered = len(positions)
    return outcome


_KEYS = ("id", "position", "status")
_STATUSES = [EntryStatus.PENDING, EntryStatus.VALIDATED]
_NOT_FAILED = frozenset(_STATUSES)


def _as_it_was(shown: Shown, entries: list[Any], data: str) -> Shown | None:
    """The entries, if all came back as they have to be, in their order, none of them failed: the common case."""
    if is_compiled():
        names = [*_KEYS, data, "metadata"]
        found = rows_of_entries(entries, names, shown.ids, shown.positions, _STATUSES, shown.kind)
        if found is not None:
            rows, noted = found
            return replace(shown, entries=entries, rows=rows, noted=noted)
    try:
        going_on = (
            all(issubclass(kind, dict) for kind in set(map(type, entries)))
            and list(map(itemgetter("id"), entries)) == shown.ids
            and list(map(itemgetter("position"), entries)) == shown.positions
            and set(map(itemgetter("status"), entries)) <= _NOT_FAILED
            and set(map(type, map(itemgetter(data), entries))) <= {dict}
        )
    except (KeyError, TypeError):  # a status may be anything
        return None
    return replace(shown, entries=entries, rows=None, noted=True) if going_on else None


def _failed(entry: Entry) -> bool:
    status = entry.get("status", EntryStatus.PENDING)
    try:
        return EntryStatus(status) is EntryStatus.FAILED
    except ValueError:
        known = ", ".join(f"EntryStatus.{item.name}" for item in EntryStatus)
        raise Misuse(f"an entry has the status {status!r}, which is none of {known}") from None


def _kind_of(value: Any) -> str:
    if isinstance(value, list):
        return f"a list with {_kind_of(next(item for item in value if not isinstance(item, dict)))}"
    return "None" if value is None else f"a {type(value).__name__}"


def errors_of(entry: Entry, hook: BaseHook) -> Errors:
    """The errors of a FAILED entry in pydantic's form; plain texts are given one."""
    default = f"{hook.name} marked the row as failed"
    given: Any = entry.get("errors")
    errors = given if isinstance(given, list | tuple) else [given] if given else []
    return [
        {
            "type": str(error.get("type", "hook_failed")),
            "loc": (loc,) if isinstance(loc := error.get("loc", ()), str | int) else tuple(loc),
            "msg": str(error.get("msg", default)),
            "input": error.get("input"),
        }
        if isinstance(error, Mapping)
        else {"type": "hook_failed", "loc": (), "msg": str(error), "input": None}
        for error in errors or [default]
    ]


# ---- source rows --------------------------------------------------------------------------------------------------


def raw_rows(batch: SourceBatch, wanted: frozenset[str] | None) -> tuple[list[dict[str, Any]], BadRows]:
    """Each row of `batch` as a dict for ``raw_data``, which the caller may change; and those that are none.

    Where a source has columns, the dicts hold those in `wanted`, those that the pipe looks at; None: all.
    """
    if batch.kind is SourceKind.OBJECTS:
        return _rows_of_objects(batch.objects or ())
    if batch.kind is SourceKind.JSON:
        return _rows_of_json(batch.batch.column(JSON_COLUMN).to_pylist())
    bad: BadRows = {}
    columns: dict[str, list[Any]] = {}
    for name, array in zip(batch.batch.schema.names, batch.batch.columns, strict=True):
        if wanted is not None and name not in wanted:
            continue
        columns[name], wrong = cell_values(name, array, batch.kind)
        if wrong:
            columns[name] = readable_cells(array, batch.kind)
        for index, why in wrong.items():
            bad.setdefault(index, why)
    if not columns:
        return [{} for _ in range(batch.num_rows)], bad
    return list(dicts_of_columns(columns)), bad


def _rows_of_objects(objects: Sequence[Any]) -> tuple[list[dict[str, Any]], BadRows]:
    rows: list[dict[str, Any]] = []
    bad: BadRows = {}
    for index, item in enumerate(objects):
        if isinstance(item, Mapping):
            rows.append({key: copied(value) for key, value in item.items()})
        elif isinstance(item, BaseModel):
            rows.append(item.model_dump(by_alias=True, round_trip=True))
        elif dataclasses.is_dataclass(item) and not isinstance(item, type):
            rows.append({f.name: copied(getattr(item, f.name)) for f in dataclasses.fields(item)})
        else:
            rows.append({})
            bad[index] = _not_a_row(repr(item))
    return rows, bad


def _rows_of_json(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], BadRows]:
    rows: list[dict[str, Any]] = []
    bad: BadRows = {}
    for index, line in enumerate(lines):
        try:
            row = from_json(line)
        except ValueError as error:
            bad[index] = {"type": "json_invalid", "loc": (), "msg": f"Invalid JSON: {error}", "input": _shown(line)}
            row = {}
        if not isinstance(row, dict):
            bad[index] = _not_a_row(_shown(line))
            row = {}
        rows.append(row)
    return rows, bad


def _not_a_row(shown: str) -> Mapping[str, Any]:
    return {
        "type": "not_a_row",
        "loc": (),
        "msg": "a row has to be an object with named values, or a hook cannot look at it",
        "input": shown[:200],
    }


def _shown(line: bytes) -> str:
    return line[:800].decode("utf-8", "backslashreplace")


def copied(value: Any) -> Any:
    """A copy of nested lists, dicts and sets; other values are shared."""
    kind = type(value)
    if kind is dict:
        return {key: copied(item) for key, item in value.items()}
    if kind is list:
        return [copied(item) for item in value]
    return set(value) if kind is set else value


# ---- back to a source batch -----------------------------------------------------------------------------------------


def json_text(line: bytes | None, row: Mapping[str, Any]) -> bytes:
    """`row` as JSON. What equals the row that `line` holds keeps its text there: no digit of a number is lost.

    `line` is the text that the row was read from; None for a row that a hook added.

    Raises:
        Misuse: a value that JSON cannot hold.
    """
    if line is None:
        return _to_json(row)
    before = from_json(line)
    if _to_json(row) == to_json(before):
        return line
    texts = _member_texts(line.decode())
    members = (
        texts[name].encode() if name in texts and _to_json(value) == to_json(before[name]) else _to_json(value)
        for name, value in row.items()
    )
    return b"{" + b",".join(_to_json(str(n)) + b":" + text for n, text in zip(row, members, strict=True)) + b"}"


def _to_json(value: Any) -> bytes:
    try:
        return to_json(value)
    except (ValueError, TypeError) as error:
        raise Misuse(f"a row hook left a value in raw_data that JSON cannot hold: {error}") from error


_SCANNER = json.JSONDecoder(strict=False, parse_float=str, parse_int=str, parse_constant=str)


def _member_texts(text: str) -> dict[str, str]:
    """The members of a JSON object, known to be valid, each as the text that it has there."""
    members: dict[str, str] = {}
    at = _behind_space(text, text.index("{") + 1)
    while text[at] == '"':
        name, at = _SCANNER.raw_decode(text, at)
        start = _behind_space(text, text.index(":", at) + 1)
        _, end = _SCANNER.raw_decode(text, start)
        members[name] = text[start:end]
        at = _behind_space(text, end)
        if text[at] == ",":
            at = _behind_space(text, at + 1)
    return members


def _behind_space(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def columns_of(entries: Sequence[Entry], kind: SourceKind, schema: pa.Schema) -> pa.RecordBatch:
    """``raw_data`` of `entries` as columns again, for a column hook behind a row hook.

    `schema` holds the columns that the source has.

    Raises:
        Misuse: the rows do not all have the same columns, or a column has no type.
    """
    rows = [entry["raw_data"] for entry in entries]
    names = dict.fromkeys(name for row in rows for name in row) if rows else dict.fromkeys(schema.names)
    for name in names:
        without = sum(name not in row for row in rows)
        if without:
            raise Misuse(
                f"{without:,} of {len(rows):,} rows lack the column {name!r}, which a row hook before this one added "
                "or removed; a ColumnHook needs it in all rows or in none"
            )
    known = {}
    for field in schema:
        known[field.name] = STRING if kind is SourceKind.TEXT else ColumnType(field.type)
    return _typed_columns(rows, {name: known[name] for name in names if name in known}, kind)


def _typed_columns(rows: Sequence[dict[str, Any]], known: Mapping[str, ColumnType], kind: SourceKind) -> pa.RecordBatch:
    numbers = number_rows(1, len(rows))
    arrays: dict[str, pa.Array] = {}
    for name, column in ModelBatch.from_rows(rows, known, numbers).columns.items():
        try:
            array = column.array()
        except UnsupportedValueError:
            # A hook changed the type of the column.
            array = ModelBatch.from_rows([{name: row[name]} for row in rows], {}, numbers).array(name)
        if kind is SourceKind.TEXT:
            # There binary stands for text, so that what a hook left as bytes needs another type.
            if pa.types.is_binary(array.type):
                array = array.cast(pa.large_binary())
            elif pa.types.is_string(array.type):
                array = array.cast(pa.binary())
        arrays[name] = array
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def new_entry(
    identity: int,
    position: int,
    status: EntryStatus,
    raw: dict[str, Any],
    validated: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
) -> Entry:
    """An entry without errors."""
    return {
        "id": identity,
        "position": position,
        "status": status,
        "raw_data": raw,
        "validated_data": validated,
        "errors": [],
        "metadata": metadata if metadata is not None else {},
    }
