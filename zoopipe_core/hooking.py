"""Applying hooks to batches, with an account of every row: changed, dropped, added or failed.

`HookChain` holds one side of a pipe's hooks (before or after validation) in their order. Rows are told apart by the
``id`` of their entry, so a hook may reorder them; what does not come back was filtered, what has no known id was added.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import from_json, to_json

from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.source import JSON_COLUMN, Hooked, SourceBatch, SourceKind
from zoopipe_core.batches.types import ColumnType, column_type_of
from zoopipe_core.errors import HookError
from zoopipe_core.hooks import BaseHook, ColumnHook, Entry, EntryStatus
from zoopipe_core.schema.cells import cell_values
from zoopipe_core.schema.validate import Validated, reject_rows

__all__ = ["HookChain", "PostHooked"]

Errors = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class PostHooked:
    """What post-validation hooks left of a batch."""

    good: ModelBatch
    rejects: RejectBatch
    filtered: int = 0
    added: int = 0


@dataclass(slots=True)
class _Outcome:
    """Entries behind a row hook: those that go on, those that failed, and the count of the others."""

    going: list[Entry]
    failed: list[Entry]
    filtered: int
    added: int


class HookChain:
    """The hooks of one side of a pipe, in the order of their priorities.

    Raises:
        HookError: from every method, where a hook raises or returns what it should not.
    """

    def __init__(self, hooks: Sequence[BaseHook | ColumnHook]) -> None:
        self.hooks = sorted(hooks, key=lambda hook: hook.priority)
        self._started: list[BaseHook | ColumnHook] = []

    def __bool__(self) -> bool:
        return bool(self.hooks)

    @property
    def columns(self) -> frozenset[str] | None:
        """The source columns that the hooks look at; None: all."""
        if any(hook.columns is None for hook in self.hooks):
            return None
        return frozenset(name for hook in self.hooks for name in hook.columns or ())

    @property
    def adds(self) -> dict[str, ColumnType]:
        """The columns that the hooks declare to add."""
        return {name: column_type_of(kind) for hook in self.hooks for name, kind in hook.adds.items()}

    def _declared(self, records: Sequence[Mapping[str, Any]]) -> dict[str, ColumnType]:
        """The declared columns that some row has; all of them if there is no row."""
        adds = self.adds
        return {name: kind for name, kind in adds.items() if not records or any(name in r for r in records)}

    def setup(self, store: dict[str, Any]) -> None:
        """Set every hook up, once."""
        for hook in self.hooks:
            with _naming(hook, "in setup"):
                hook.setup(store)
            self._started.append(hook)

    def teardown(self, store: dict[str, Any]) -> None:
        """Tear down, in reverse order, the hooks that were set up; each gets its turn whatever the others do."""
        failure: HookError | None = None
        while self._started:
            hook = self._started.pop()
            try:
                with _naming(hook, "in teardown"):
                    hook.teardown(store)
            except HookError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    # ---- before validation ------------------------------------------------------------------------------------

    def before(self, batch: SourceBatch, store: dict[str, Any]) -> SourceBatch:
        """`batch` as the hooks want it to be validated, with the account in `SourceBatch.hooked`."""
        hooked = Hooked(batch, np.arange(batch.num_rows, dtype=np.int64), {})
        for hook in self.hooks:
            with _naming(hook, _range(batch.source, batch.rows)):
                if isinstance(hook, ColumnHook):
                    batch, hooked = _before_columns(hook, batch, hooked, store)
                else:
                    batch, hooked = _before_rows(hook, batch, hooked, store)
        return SourceBatch(batch.source, batch.kind, batch.batch, batch.rows, (), batch.objects, hooked)

    # ---- after validation -------------------------------------------------------------------------------------

    def after(self, validated: Validated, source: SourceBatch, store: dict[str, Any]) -> PostHooked:
        """The accepted rows as the hooks want them to be written; `source` is the batch as it was read.

        The types of columns that hooks add are those of ``adds``, else those of the values.
        """
        good, rejects, filtered, added = validated.good, list(validated.rejects.rejects), 0, 0
        reject_types = validated.rejects.types
        for hook in self.hooks:
            with _naming(hook, _range(good.source, good.rows)):
                if isinstance(hook, ColumnHook):
                    good, dropped = _after_columns(hook, good, store)
                    filtered += dropped
                    continue
                outcome = _run_row_hook(hook, _validated_entries(good, source), store, "validated_data")
            records = [entry["validated_data"] or {} for entry in outcome.going]
            rows = np.array([entry.get("position", 0) for entry in outcome.going], dtype=np.int64)
            good = ModelBatch.from_rows(
                records, {**_kept_types(good, records), **self._declared(records)}, rows, good.source
            )
            failed = _reject_entries(source, outcome.failed)
            reject_types = {**failed.types, **reject_types}
            rejects.extend(failed.rejects)
            filtered, added = filtered + outcome.filtered, added + outcome.added
        rejects.sort(key=lambda reject: reject.row)
        return PostHooked(good, RejectBatch(good.source, rejects, reject_types), filtered, added)


# ---- row hooks ----------------------------------------------------------------------------------------------------


def _run_row_hook(hook: BaseHook, entries: list[Entry], store: dict[str, Any], data: str) -> _Outcome:
    known = {entry["id"] for entry in entries}
    returned = hook.execute(entries, store)
    if not isinstance(returned, list) or not all(isinstance(entry, dict) for entry in returned):
        raise HookError(f"execute has to return a list of entries, not {type(returned).__name__}")
    outcome, seen, added = _Outcome([], [], 0, 0), set(), 0
    for entry in returned:
        identity = entry.get("id")
        if identity in known and identity not in seen:
            seen.add(identity)
        else:
            added += 1
            entry = {**entry, "id": -1, "position": 0}
        if entry.get("status") == EntryStatus.FAILED:
            outcome.failed.append(entry)
        elif not isinstance(entry.get(data), dict):
            raise HookError(f"an entry's {data} has to be a dict, not {type(entry.get(data)).__name__}")
        else:
            outcome.going.append(entry)
    outcome.filtered, outcome.added = len(known) - len(seen), added
    return outcome


def _before_rows(
    hook: BaseHook, batch: SourceBatch, hooked: Hooked, store: dict[str, Any]
) -> tuple[SourceBatch, Hooked]:
    rows, bad = _source_dicts(batch)
    entries: list[Entry] = [
        {
            "id": index,
            "position": int(batch.rows[index]),
            "status": EntryStatus.PENDING,
            "raw_data": row,
            "validated_data": None,
            "errors": [],
            "metadata": {},
        }
        for index, row in enumerate(rows)
        if index not in bad
    ]
    outcome = _run_row_hook(hook, entries, store, "raw_data")
    places = [int(hooked.places[e["id"]]) if e["id"] >= 0 else -1 for e in outcome.going]
    failed = dict(hooked.failed)
    failed_rows = list(hooked.failed_rows)
    for entry in outcome.failed:
        place = int(hooked.places[entry["id"]]) if entry["id"] >= 0 else -1
        if place >= 0:
            failed[place] = _errors_of(entry, hook)
        else:
            failed_rows.append((entry.get("raw_data") or {}, _errors_of(entry, hook)))
    for index, error in bad.items():
        failed[int(hooked.places[index])] = [error]
    numbers = np.array([entry["position"] for entry in outcome.going], dtype=np.int64)
    objects = [entry["raw_data"] for entry in outcome.going]
    account = Hooked(
        hooked.origin,
        np.array(places, dtype=np.int64),
        failed,
        failed_rows,
        hooked.filtered + outcome.filtered,
        hooked.added + outcome.added,
    )
    if batch.kind is SourceKind.JSON:
        # The law for JSON is model_validate_json: rows stay JSON, an unchanged one its own text.
        lines = batch.batch.column(JSON_COLUMN)
        texts = [_json_text(lines[e["id"]].as_py() if e["id"] >= 0 else None, e["raw_data"]) for e in outcome.going]
        record_batch = pa.RecordBatch.from_arrays([pa.array(texts, pa.binary())], names=[JSON_COLUMN])
        return SourceBatch(batch.source, SourceKind.JSON, record_batch, numbers, (), objects), account
    empty = pa.RecordBatch.from_arrays([], names=[])
    return SourceBatch(batch.source, SourceKind.OBJECTS, empty, numbers, (), objects), account


def _json_text(line: bytes | None, data: Any) -> bytes:
    if line is not None and from_json(line) == data:
        return line
    return to_json(data)


def _source_dicts(batch: SourceBatch) -> tuple[list[Any], dict[int, Mapping[str, Any]]]:
    """Rows as dicts for ``raw_data``, and the rows that cannot be read as such; those go past the hooks."""
    bad: dict[int, Mapping[str, Any]] = {}
    if batch.kind is SourceKind.OBJECTS:
        return [dict(row) if isinstance(row, Mapping) else row for row in batch.objects or ()], bad
    if batch.kind is SourceKind.JSON:
        rows: list[Any] = []
        for index, line in enumerate(batch.batch.column(JSON_COLUMN).to_pylist()):
            try:
                rows.append(from_json(line))
            except ValueError as error:
                rows.append(None)
                bad[index] = {"type": "json_invalid", "loc": (), "msg": f"Invalid JSON: {error}", "input": None}
        return rows, bad
    names = batch.batch.schema.names
    columns = []
    for name, array in zip(names, batch.batch.columns, strict=True):
        values, wrong = cell_values(name, array, batch.kind)
        columns.append(values)
        for index, why in wrong.items():
            bad.setdefault(index, why)
    if not columns:
        return [{} for _ in range(batch.num_rows)], bad
    return [dict(zip(names, cells, strict=True)) for cells in zip(*columns, strict=True)], bad


def _validated_entries(good: ModelBatch, source: SourceBatch) -> list[Entry]:
    raw, _ = _source_dicts(source)
    places = np.searchsorted(source.rows, good.rows) if source.num_rows else good.rows
    return [
        {
            "id": index,
            "position": number,
            "status": EntryStatus.VALIDATED,
            "raw_data": raw[place] if number else {},
            "validated_data": data,
            "errors": [],
            "metadata": {},
        }
        for index, (number, place, data) in enumerate(
            zip(good.rows.tolist(), places.tolist(), good.dicts(), strict=True)
        )
    ]


def _errors_of(entry: Entry, hook: BaseHook | None = None) -> list[dict[str, Any]]:
    """An entry's errors in pydantic's form; plain texts are given one."""
    by = f"{hook.name} marked the row as failed" if hook else "a hook marked the row as failed"
    errors = entry.get("errors") or [by]
    return [
        {"type": "hook_failed", "loc": (), "msg": str(error), "input": None}
        if not isinstance(error, Mapping)
        else {
            "type": error.get("type", "hook_failed"),
            "loc": tuple(error.get("loc", ())),
            "msg": str(error.get("msg", by)),
            "input": error.get("input"),
        }
        for error in errors
    ]


def _reject_entries(source: SourceBatch, failed: Sequence[Entry]) -> RejectBatch:
    places: dict[int, Errors] = {}
    added: list[tuple[Mapping[str, Any], Errors]] = []
    for entry in failed:
        position = entry.get("position", 0)
        if position:
            places[int(np.searchsorted(source.rows, position))] = _errors_of(entry)
        else:
            added.append((entry.get("validated_data") or {}, _errors_of(entry)))
    bare = SourceBatch(source.source, source.kind, source.batch, source.rows, (), source.objects)
    return reject_rows(bare, places, added)


def _kept_types(good: ModelBatch, records: Sequence[Mapping[str, Any]]) -> dict[str, ColumnType]:
    """The columns that a hook left in at least one row, with the types they had."""
    if not records:
        return good.types
    return {name: column_type for name, column_type in good.types.items() if any(name in r for r in records)}


# ---- column hooks -------------------------------------------------------------------------------------------------


def _before_columns(
    hook: ColumnHook, batch: SourceBatch, hooked: Hooked, store: dict[str, Any]
) -> tuple[SourceBatch, Hooked]:
    if batch.kind is SourceKind.OBJECTS:
        raise HookError(
            "a ColumnHook before validation needs a source with columns; give the rows as record batches, use a "
            "BaseHook, or move the hook behind validation"
        )
    returned = _checked(hook.execute(batch.batch, store), batch.num_rows)
    keep = _kept(hook, returned, store)
    if keep is None:
        return SourceBatch(batch.source, batch.kind, returned, batch.rows, (), None), hooked
    account = Hooked(
        hooked.origin,
        hooked.places[keep],
        hooked.failed,
        hooked.failed_rows,
        hooked.filtered + batch.num_rows - len(keep),
        hooked.added,
    )
    return SourceBatch(batch.source, batch.kind, returned.take(pa.array(keep)), batch.rows[keep], (), None), account


def _after_columns(hook: ColumnHook, good: ModelBatch, store: dict[str, Any]) -> tuple[ModelBatch, int]:
    given = good.to_arrow()
    returned = _checked(hook.execute(given, store), good.num_rows)
    columns: dict[str, Column] = {}
    for name, array in zip(returned.schema.names, returned.columns, strict=True):
        old = good.columns.get(name)
        if old is not None and _same_memory(array, given.column(name)):
            columns[name] = old  # keeps its exact values, such as the digits of a Decimal
        elif old is not None and old.type.arrow == array.type:
            columns[name] = Column(old.type, None, array)
        else:
            columns[name] = Column(ColumnType(array.type), None, array)
    result = ModelBatch(columns, good.rows, good.source)
    keep = _kept(hook, returned, store)
    return (result, 0) if keep is None else (result.take(keep), good.num_rows - len(keep))


def _checked(returned: Any, rows: int) -> pa.RecordBatch:
    if not isinstance(returned, pa.RecordBatch):
        raise HookError(f"execute has to return a pyarrow.RecordBatch, not {type(returned).__name__}")
    if returned.num_rows != rows:
        raise HookError(
            f"execute returned {returned.num_rows:,} rows for {rows:,}; drop rows with keep(), add them in a BaseHook"
        )
    names = returned.schema.names
    if len(set(names)) != len(names):
        raise HookError("execute returned a batch with two columns of one name")
    return returned


def _kept(hook: ColumnHook, batch: pa.RecordBatch, store: dict[str, Any]) -> Any:
    """int64 (m,): the indices of the rows that go on; None: all."""
    mask = hook.keep(batch, store)
    if mask is None:
        return None
    if len(mask) != batch.num_rows or not pa.types.is_boolean(mask.type):
        raise HookError(f"keep has to return {batch.num_rows:,} booleans, not {len(mask):,} of {mask.type}")
    return np.flatnonzero(np.asarray(mask.fill_null(False), dtype=bool)).astype(np.int64)


def _same_memory(left: pa.Array, right: pa.Array) -> bool:
    def place(array: pa.Array) -> list[Any]:
        return [array.offset, len(array), *(None if b is None else b.address for b in array.buffers())]

    return left.type == right.type and place(left) == place(right)


@contextmanager
def _naming(hook: BaseHook | ColumnHook, where: str) -> Iterator[None]:
    """Turn whatever a hook raises into an error that names the hook and the rows."""
    try:
        yield
    except HookError as error:
        raise HookError(f"the hook {hook.name} failed {where}: {error}") from error.__cause__
    except Exception as error:
        raise HookError(f"the hook {hook.name} raised {type(error).__name__} {where}: {error}") from error


def _range(source: str, rows: Any) -> str:
    if not len(rows):
        return f"on an empty batch of {source}"
    return f"on rows {int(rows[0]):,} to {int(rows[-1]):,} of {source}"
