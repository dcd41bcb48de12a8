"""Applying hooks to batches, with an account of every row: changed, dropped, added or failed.

`HookChain` holds one side of a pipe's hooks (before or after validation) in their order. On its way through a chain a
batch is held as columns or as entries, and converted only where a hook wants the other form.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.source import (
    JSON_COLUMN,
    Hooked,
    RowNumbers,
    SourceBatch,
    SourceKind,
    index_array,
    number_rows,
)
from zoopipe_core.batches.types import ColumnType, column_type_of
from zoopipe_core.errors import HookError, UnsupportedValueError
from zoopipe_core.hook_rows import Misuse, columns_of, errors_of, json_text, raw_rows, run_row_hook
from zoopipe_core.hooks import BaseHook, ColumnHook, Entry, EntryStatus, Hook, Store
from zoopipe_core.schema.validate import Validated, reject_rows

__all__ = ["HookChain", "PostHooked", "hooks_at_work"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@contextmanager
def hooks_at_work(hooks: Sequence[Hook], store: Store) -> Iterator[None]:
    """Set up each hook once, and tear down, in reverse order, those that were set up, whatever happens.

    Raises:
        HookError: a setup failed; or a teardown, where nothing else did: else it is noted on the other error.
    """
    started: list[Hook] = []
    try:
        for hook in hooks:
            if not any(hook is other for other in started):
                with _naming(hook, "in setup"):
                    hook.setup(store)
                started.append(hook)
        yield
    except BaseException as error:
        for second in _tear_down(started, store):
            error.add_note(str(second))
        raise
    failures = _tear_down(started, store)
    if failures:
        for second in failures[1:]:
            failures[0].add_note(str(second))
        raise failures[0]


def _tear_down(started: list[Hook], store: Store) -> list[HookError]:
    failures = []
    while started:
        hook = started.pop()
        try:
            with _naming(hook, "in teardown"):
                hook.teardown(store)
        except HookError as error:
            failures.append(error)
    return failures


@dataclass(frozen=True, slots=True)
class PostHooked:
    """What post-validation hooks left of a batch."""

    good: ModelBatch
    rejects: RejectBatch
    filtered: int = 0
    added: int = 0


class HookChain:
    """The hooks of one side of a pipe, in the order of their priorities.

    Args:
        hooks: in the order given by the user.
        new_ids: ids for entries that hooks add.

    Raises:
        HookError: from `before` and `after`, where a hook raises or returns what it should not.
    """

    def __init__(self, hooks: Sequence[Hook], new_ids: Iterator[int] | None = None) -> None:
        self.hooks = sorted(hooks, key=lambda hook: hook.priority)
        self._new_ids = itertools.count(-1, -1) if new_ids is None else new_ids

    def __bool__(self) -> bool:
        return bool(self.hooks)

    @property
    def adds(self) -> dict[str, ColumnType]:
        """The columns that the hooks declare to add."""
        return {name: kind for hook in self.hooks for name, kind in _added_types(hook).items()}

    def before(self, batch: SourceBatch, first_id: int, wanted: frozenset[str] | None, store: Store) -> SourceBatch:
        """`batch` as the hooks want it to be validated, with the account in `SourceBatch.hooked`.

        `first_id` is the id of its first row, `wanted` are the columns that the pipe looks at (None: all).
        """
        return self._through(_Before(batch, first_id, wanted, self._new_ids), batch.source, batch.rows, store)

    def after(
        self,
        validated: Validated,
        source: SourceBatch,
        first_id: int,
        wanted: frozenset[str] | None,
        store: Store,
        metadata: Mapping[int, dict[str, Any]] | None = None,
    ) -> PostHooked:
        """The accepted rows as the hooks want them to be written.

        `source` is the batch as it was read, `first_id` and `wanted` are as for `before`, `metadata` is what
        pre-validation hooks noted: index in `source` -> notes.
        """
        state = _After(validated, source, first_id, wanted, self._new_ids, metadata or {})
        return self._through(state, validated.good.source, validated.good.rows, store)

    def _through(self, state: _Side[T], source: str, rows: RowNumbers, store: Store) -> T:
        """Run the hooks as long as there are rows left."""
        where = _rows_text(source, rows)
        for hook in self.hooks:
            if state.num_rows:
                with _naming(hook, where):
                    if isinstance(hook, ColumnHook):
                        state.run_columns(hook, store)
                    else:
                        state.run_rows(hook, store)
        with _naming(self.hooks[-1], where):
            return state.result()


def _added_types(hook: Hook) -> dict[str, ColumnType]:
    return {name: column_type_of(kind) for name, kind in hook.adds.items()}


class _Side(Protocol[T_co]):
    """A batch on its way through the hooks of one side."""

    @property
    def num_rows(self) -> int: ...

    def run_rows(self, hook: BaseHook, store: Store) -> None: ...

    def run_columns(self, hook: ColumnHook, store: Store) -> None: ...

    def result(self) -> T_co: ...


# ---- before validation ----------------------------------------------------------------------------------------------


class _Before:
    """A batch on its way through pre-validation hooks: in `_batch`, or in `_entries` where that is no None."""

    def __init__(
        self, origin: SourceBatch, first_id: int, wanted: frozenset[str] | None, new_ids: Iterator[int]
    ) -> None:
        self._origin, self._first, self._wanted, self._new_ids = origin, first_id, wanted, new_ids
        self._batch = replace(origin, faults=())
        self._ids: RowNumbers = number_rows(first_id, origin.num_rows)
        self._entries: list[Entry] | None = None
        self._lines: dict[int, bytes] = {}
        self._metadata: dict[int, dict[str, Any]] = {}
        self._failed: dict[int, Sequence[Mapping[str, Any]]] = {}
        self._failed_rows: list[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = []
        self._filtered = self._added = 0

    @property
    def num_rows(self) -> int:
        return self._batch.num_rows if self._entries is None else len(self._entries)

    def _place(self, identity: int) -> int:
        return identity - self._first if identity > 0 else -1

    def _fail(self, identity: int, row: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> None:
        place = self._place(identity)
        if place >= 0:
            self._failed[place] = errors
        else:
            self._failed_rows.append((row, errors))

    def run_rows(self, hook: BaseHook, store: Store) -> None:
        if self._entries is None:
            self._entries = self._opened()
        outcome = run_row_hook(hook, self._entries, "raw_data", store, self._new_ids)
        for entry in outcome.failed:
            self._fail(entry["id"], entry.get("raw_data") or {}, errors_of(entry, hook))
        self._entries = outcome.going
        self._filtered += outcome.filtered
        self._added += outcome.added

    def _opened(self) -> list[Entry]:
        """The batch as entries. A row that is no dict fails here: no hook could look at it."""
        rows, bad = raw_rows(self._batch, self._wanted)
        ids = self._ids.tolist()
        if self._batch.kind is SourceKind.JSON:
            self._lines = dict(zip(ids, self._batch.batch.column(JSON_COLUMN).to_pylist(), strict=True))
        for index, why in bad.items():
            self._fail(ids[index], rows[index], [why])
        return [
            _entry(identity, number, EntryStatus.PENDING, row, None, self._metadata.get(identity))
            for index, (identity, number, row) in enumerate(zip(ids, self._batch.rows.tolist(), rows, strict=True))
            if index not in bad
        ]

    def run_columns(self, hook: ColumnHook, store: Store) -> None:
        if self._batch.kind is SourceKind.OBJECTS:
            raise Misuse(
                "a ColumnHook before validation needs a source with columns, and this one gives rows; use a BaseHook, "
                "move the hook behind validation, or give the source as record batches"
            )
        self._close(as_columns=True)
        batch = self._batch
        returned = _checked(hook.execute(_sized(batch.batch, batch.num_rows), store), batch.num_rows)
        if batch.kind is SourceKind.JSON and returned.schema.names != [JSON_COLUMN]:
            raise Misuse(
                f"before validation a JSON source has the one column {JSON_COLUMN!r}, the text of each record; change "
                "that text, use a BaseHook, or move the hook behind validation"
            )
        if batch.kind is SourceKind.JSON and not pa.types.is_binary(returned.column(0).type):
            returned = pa.RecordBatch.from_arrays([returned.column(0).cast(pa.binary())], names=[JSON_COLUMN])
        self._batch = replace(batch, batch=returned, objects=None)
        keep = _kept(hook, returned, store)
        if keep is not None:
            self._filtered += batch.num_rows - len(keep)
            self._ids = self._ids[keep]
            self._batch = replace(self._batch, batch=returned.take(index_array(keep)), rows=batch.rows[keep])

    def _close(self, as_columns: bool) -> None:
        """Entries back to a batch: JSON stays JSON, other rows become objects, or columns if those are wanted."""
        entries, self._entries = self._entries, None
        if entries is None:
            return
        self._metadata = {entry["id"]: entry["metadata"] for entry in entries if entry.get("metadata")}
        self._ids = np.array([entry["id"] for entry in entries], dtype=np.int64)
        numbers = np.array([entry["position"] for entry in entries], dtype=np.int64)
        rows, kind, source = [entry["raw_data"] for entry in entries], self._batch.kind, self._batch.source
        if kind is SourceKind.JSON:
            # The law for JSON is model_validate_json: rows stay text.
            texts = [json_text(self._lines.get(e["id"]), row) for e, row in zip(entries, rows, strict=True)]
            lines = pa.RecordBatch.from_arrays([pa.array(texts, pa.binary())], names=[JSON_COLUMN])
            self._batch = SourceBatch(source, kind, lines, numbers, (), rows)
        elif as_columns:
            columns = columns_of(entries, kind, self._batch.batch.schema)
            self._batch = SourceBatch(source, kind, columns, numbers, (), None)
        else:
            empty = pa.RecordBatch.from_arrays([], names=[])
            self._batch = SourceBatch(source, SourceKind.OBJECTS, empty, numbers, (), rows)

    def result(self) -> SourceBatch:
        """The batch to validate. Its `hooked` tells what became of the rows of the origin."""
        self._close(as_columns=False)
        places = np.where(self._ids > 0, self._ids - self._first, -1)
        metadata = {self._place(key): notes for key, notes in self._metadata.items() if key > 0}
        account = Hooked(self._origin, places, self._failed, self._failed_rows, self._filtered, self._added, metadata)
        return replace(self._batch, hooked=account)


def _entry(
    identity: int,
    position: int,
    status: EntryStatus,
    raw: dict[str, Any],
    validated: dict[str, Any] | None,
    metadata: dict[str, Any] | None,
) -> Entry:
    return {
        "id": identity,
        "position": position,
        "status": status,
        "raw_data": raw,
        "validated_data": validated,
        "errors": [],
        "metadata": metadata if metadata is not None else {},
    }


# ---- after validation -----------------------------------------------------------------------------------------------


class _After:
    """Accepted rows on their way through post-validation hooks: in `_good`, or in `_entries` where that is no None."""

    def __init__(
        self,
        validated: Validated,
        source: SourceBatch,
        first_id: int,
        wanted: frozenset[str] | None,
        new_ids: Iterator[int],
        metadata: Mapping[int, dict[str, Any]],
    ) -> None:
        self._source, self._first, self._wanted, self._new_ids = source, first_id, wanted, new_ids
        self._good, self._rejects = validated.good, validated.rejects
        places = np.searchsorted(source.rows, self._good.rows)
        self._ids = [
            first_id + place if number else next(new_ids)
            for place, number in zip(places.tolist(), self._good.rows.tolist(), strict=True)
        ]
        self._metadata = {first_id + place: notes for place, notes in metadata.items()}
        self._entries: list[Entry] | None = None
        self._types: dict[str, ColumnType] = {}
        self._present: list[str] = []
        self._declared: dict[str, ColumnType] = {}
        self._filtered = self._added = 0

    @property
    def num_rows(self) -> int:
        return self._good.num_rows if self._entries is None else len(self._entries)

    def run_rows(self, hook: BaseHook, store: Store) -> None:
        if self._entries is None:
            self._entries = self._opened()
        outcome = run_row_hook(hook, self._entries, "validated_data", store, self._new_ids)
        if outcome.failed:
            self._reject(outcome.failed, hook)
        self._entries = outcome.going
        self._filtered += outcome.filtered
        self._added += outcome.added
        self._declared.update(_added_types(hook))

    def _opened(self) -> list[Entry]:
        good, source = self._good, self._source
        self._types = good.types
        self._present = [name for name, column in good.columns.items() if any(v is not MISSING for v in column.values)]
        places = [identity - self._first for identity in self._ids if identity > 0]
        if len(places) != source.num_rows:
            source = _taken(source, places)
        raw = iter(raw_rows(source, self._wanted)[0])
        return [
            _entry(
                identity,
                number,
                EntryStatus.VALIDATED,
                next(raw) if identity > 0 else {},
                data,
                self._metadata.get(identity),
            )
            for identity, number, data in zip(self._ids, good.rows.tolist(), good.dicts(), strict=True)
        ]

    def _reject(self, failed: Sequence[Entry], hook: BaseHook) -> None:
        places = {e["id"] - self._first: errors_of(e, hook) for e in failed if e["id"] > 0}
        added = [(e.get("validated_data") or {}, errors_of(e, hook)) for e in failed if e["id"] <= 0]
        new = reject_rows(replace(self._source, faults=()), places, added)
        both = sorted([*self._rejects.rejects, *new.rejects], key=lambda reject: (not reject.row, reject.row))
        self._rejects = RejectBatch(self._rejects.source, both, {**new.types, **self._rejects.types})

    def run_columns(self, hook: ColumnHook, store: Store) -> None:
        self._close()
        good = self._good
        try:
            given = good.to_arrow()
        except UnsupportedValueError as error:
            raise Misuse(f"the rows cannot be given to it as a record batch: {error}") from error
        returned = _checked(hook.execute(given, store), good.num_rows)
        declared = _added_types(hook)
        columns: dict[str, Column] = {}
        for name, array in zip(returned.schema.names, returned.columns, strict=True):
            old = good.columns.get(name)
            if old is not None and _same_memory(array, given.column(name)):
                columns[name] = old  # keeps its exact values, such as the digits of a Decimal
            else:
                kind = declared.get(name)
                if kind is None:
                    kind = old.type if old is not None and old.type.arrow == array.type else ColumnType(array.type)
                columns[name] = Column(kind, None, array)
        for name, kind in declared.items():
            columns.setdefault(name, Column(kind, None, pa.nulls(good.num_rows, kind.arrow)))
        self._good = ModelBatch(columns, good.rows, good.source)
        keep = _kept(hook, returned, store)
        if keep is not None:
            self._filtered += good.num_rows - len(keep)
            self._good = self._good.take(keep)
            self._ids = [self._ids[index] for index in keep.tolist()]

    def _close(self) -> None:
        """Entries back to columns. A column that no row has any more is gone, one that was declared is there."""
        entries, self._entries = self._entries, None
        if entries is None:
            return
        records = [entry["validated_data"] or {} for entry in entries]
        gone = {name for name in self._present if not any(name in record for record in records)} if records else set()
        types = {name: kind for name, kind in self._types.items() if name not in gone} | self._declared
        self._ids = [entry["id"] for entry in entries]
        self._metadata = {entry["id"]: entry["metadata"] for entry in entries if entry.get("metadata")}
        numbers = np.array([entry["position"] for entry in entries], dtype=np.int64)
        self._good = ModelBatch.from_rows(records, types, numbers, self._good.source)
        unnamed = [name for name in self._good.columns if not isinstance(name, str)]
        if unnamed:
            raise Misuse(f"validated_data has the key {unnamed[0]!r}, and a column's name is a text")

    def result(self) -> PostHooked:
        self._close()
        return PostHooked(self._good, self._rejects, self._filtered, self._added)


def _taken(source: SourceBatch, places: Sequence[int]) -> SourceBatch:
    """Some rows of `source`."""
    indices = np.array(places, dtype=np.int64)
    batch = source.batch.take(index_array(indices)) if source.batch.num_columns else source.batch
    objects = None if source.objects is None else [source.objects[place] for place in places]
    return replace(source, batch=batch, rows=source.rows[indices], objects=objects)


# ---- column hooks ---------------------------------------------------------------------------------------------------


def _sized(batch: pa.RecordBatch, rows: int) -> pa.RecordBatch:
    """`batch`; if it has no columns, with the number of rows that it stands for."""
    return batch if batch.num_columns else pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def _checked(returned: Any, rows: int) -> pa.RecordBatch:
    if not isinstance(returned, pa.RecordBatch):
        raise Misuse(f"execute has to return a pyarrow.RecordBatch, not {type(returned).__name__}")
    if returned.num_rows != rows:
        raise Misuse(
            f"execute returned {returned.num_rows:,} rows for {rows:,}; drop rows with keep(), add them in a BaseHook"
        )
    names = returned.schema.names
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Misuse(f"execute returned a batch with two columns named {twice!r}")
    return returned


def _kept(hook: ColumnHook, batch: pa.RecordBatch, store: Store) -> RowNumbers | None:
    """int64 (m,): the indices of the rows that go on; None: all."""
    mask: Any = hook.keep(batch, store)
    if mask is None:
        return None
    if isinstance(mask, pa.ChunkedArray):
        mask = mask.combine_chunks()
    if not isinstance(mask, pa.Array) or not pa.types.is_boolean(mask.type) or len(mask) != batch.num_rows:
        shown = f"{len(mask):,} of {mask.type}" if isinstance(mask, pa.Array) else f"a {type(mask).__name__}"
        raise Misuse(f"keep has to return a pyarrow array of {batch.num_rows:,} booleans, or None, not {shown}")
    return np.flatnonzero(np.asarray(mask.fill_null(False), dtype=bool)).astype(np.int64)


def _same_memory(left: pa.Array, right: pa.Array) -> bool:
    def place(array: pa.Array) -> list[Any]:
        return [array.offset, len(array), *(None if b is None else b.address for b in array.buffers())]

    # The buffers of a dictionary array are its indices only.
    return left.type == right.type and "dictionary" not in str(left.type) and place(left) == place(right)


# ---- naming ---------------------------------------------------------------------------------------------------------


@contextmanager
def _naming(hook: Hook, where: str) -> Iterator[None]:
    """Turn whatever a hook raises into an error that names the hook and the rows."""
    try:
        yield
    except Misuse as error:
        raise HookError(f"the hook {hook.name} failed {where}: {error}") from error.__cause__
    except Exception as error:
        raise HookError(f"the hook {hook.name} raised {type(error).__name__} {where}: {error}") from error


def _rows_text(source: str, rows: RowNumbers) -> str:
    known = rows[rows > 0]
    if not len(known):
        return f"on rows that hooks added to {source}" if len(rows) else f"on a batch of {source} without rows"
    return f"on rows {int(known.min()):,} to {int(known.max()):,} of {source}"
