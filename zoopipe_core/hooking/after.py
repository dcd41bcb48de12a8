"""Accepted rows on their way through post-validation hooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, cast

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.source import RowNumbers, SourceBatch
from zoopipe_core.batches.types import ColumnType, column_type_of
from zoopipe_core.errors import UnsupportedValueError
from zoopipe_core.hooking.columns import checked, kept, same_memory
from zoopipe_core.hooking.entries import Opened, RawRows, metadata_of
from zoopipe_core.hooking.gathering import Gathering
from zoopipe_core.hooking.rows import Misuse, Naming, errors_of, run_row_hook
from zoopipe_core.hooks import BaseHook, ColumnHook, Entry, Hook, Store
from zoopipe_core.schema.rejecting import reject_rows
from zoopipe_core.schema.validate import Validated

__all__ = ["AfterValidation", "PostHooked", "added_types"]

CHUNK_ROWS = 2**12
"""Rows that are Python objects at a time: some 6 MB. Of fewer, what a chunk costs whatever its size tells; of more,
that the processor's cache does not hold them."""


@dataclass(frozen=True, slots=True)
class PostHooked:
    """What post-validation hooks left of a batch."""

    good: ModelBatch
    rejects: RejectBatch
    filtered: int = 0
    added: int = 0


def added_types(hook: Hook) -> dict[str, ColumnType]:
    """The columns that a hook declares to add."""
    return {name: column_type_of(kind) for name, kind in hook.adds.items()}


class AfterValidation:
    """Accepted rows on their way through post-validation hooks."""

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
        self._known_ids: RowNumbers | None = None
        self._metadata = {first_id + place: notes for place, notes in metadata.items()}
        self._filtered = self._added = 0

    @property
    def _ids(self) -> RowNumbers:
        """int64 (n,): the id of each row. Column hooks alone never ask for them."""
        if self._known_ids is None:
            self._known_ids = self._first + np.searchsorted(self._source.rows, self._good.rows)
            added = np.flatnonzero(self._good.rows == 0)
            self._known_ids[added] = [next(self._new_ids) for _ in added]
        return self._known_ids

    @property
    def num_rows(self) -> int:
        return self._good.num_rows

    def run_rows(self, hooks: Sequence[BaseHook], store: Store, naming: Naming) -> None:
        """Rows to entries and back to columns, a chunk at a time, which stays in the processor's cache meanwhile."""
        good = self._good
        gathering = Gathering(good, {name: kind for hook in hooks for name, kind in added_types(hook).items()})
        ids, numbers, metadata = [], [], {}
        failed: list[tuple[Entry, BaseHook]] = []
        for start in range(0, good.num_rows, CHUNK_ROWS):
            # Returns none of the Python objects: they are gone before the next rows are made, in the same memory.
            known, positions, notes = self._run_chunk(start, hooks, store, naming, gathering, failed)
            ids.append(known)
            numbers.append(positions)
            metadata.update(notes)
        with naming(hooks[-1], good.rows):
            columns = gathering.columns()
            _check_names(columns)
            self._reject(failed)
        self._known_ids, self._metadata = _joined(ids), metadata
        self._good = ModelBatch(columns, _joined(numbers), good.source)

    def _run_chunk(
        self,
        start: int,
        hooks: Sequence[BaseHook],
        store: Store,
        naming: Naming,
        gathering: Gathering,
        failed: list[tuple[Entry, BaseHook]],
    ) -> tuple[list[int], list[int], dict[int, dict[str, Any]]]:
        """Rows from `start` on; the ids, positions and notes of those that go on, which are in `gathering` then."""
        chunk = self._good.slice(start, start + CHUNK_ROWS)
        opened = self._opened(chunk, self._ids[start : start + CHUNK_ROWS])
        given = shown = opened.shown()
        for hook in hooks:
            if not shown.ids:
                break
            with naming(hook, chunk.rows):
                outcome = run_row_hook(hook, shown, "validated_data", store, self._new_ids)
                failed.extend((entry, hook) for entry in outcome.failed)
                self._filtered += outcome.filtered
                self._added += outcome.added
                shown = outcome.going
        rows = shown.rows
        if rows is None:
            rows = cast(list[dict[str, Any]], [entry["validated_data"] for entry in shown.entries])
        places = None if shown.ids is given.ids else _places(given.ids, shown.ids)
        gathering.add(rows, opened.cells, start, places)
        return shown.ids, shown.positions, metadata_of(shown.entries) if shown.noted else {}

    def _opened(self, chunk: ModelBatch, ids: RowNumbers) -> Opened:
        raw = RawRows(self._source, self._wanted, np.where(ids > 0, ids - self._first, -1))
        return Opened(chunk, ids, raw, self._metadata)

    def _reject(self, failed: Sequence[tuple[Entry, BaseHook]]) -> None:
        if not failed:
            return
        places = {e["id"] - self._first: errors_of(e, hook) for e, hook in failed if e["id"] > 0}
        added = [(e.get("validated_data") or {}, errors_of(e, hook)) for e, hook in failed if e["id"] <= 0]
        new = reject_rows(replace(self._source, faults=()), places, added)
        self._rejects = self._rejects.merged(new)

    def run_columns(self, hook: ColumnHook, store: Store) -> None:
        good = self._good
        try:
            given = good.to_arrow()
        except UnsupportedValueError as error:
            raise Misuse(f"the rows cannot be given to it as a record batch: {error}") from error
        returned = checked(hook.execute(given, store), good.num_rows)
        declared = added_types(hook)
        columns: dict[str, Column] = {}
        for name, array in zip(returned.schema.names, returned.columns, strict=True):
            old = good.columns.get(name)
            if old is not None and same_memory(array, given.column(name)):
                columns[name] = old  # keeps its exact values, such as the digits of a Decimal
            else:
                kind = declared.get(name)
                if kind is None:
                    kind = old.type if old is not None and old.type.arrow == array.type else ColumnType(array.type)
                columns[name] = Column(kind, None, array)
        for name, kind in declared.items():
            columns.setdefault(name, Column(kind, None, pa.nulls(good.num_rows, kind.arrow)))
        self._good = ModelBatch(columns, good.rows, good.source)
        keep = kept(hook, returned, store)
        if keep is not None:
            self._filtered += good.num_rows - int(keep.sum())
            self._good = self._good.filter(keep)
            if self._known_ids is not None:
                self._known_ids = self._known_ids[keep]

    def result(self) -> PostHooked:
        return PostHooked(self._good, self._rejects, self._filtered, self._added)


def _places(before: Sequence[int], after: Sequence[int]) -> list[int]:
    """For each id `after`, its place `before`; -1 if it was not there."""
    known = dict(zip(before, range(len(before)), strict=True))
    return [known.get(identity, -1) for identity in after]


def _joined(lists: Iterable[Sequence[int]]) -> RowNumbers:
    return np.fromiter(chain.from_iterable(lists), np.int64)


def _check_names(columns: Iterable[Any]) -> None:
    for name in columns:
        if not isinstance(name, str):
            raise Misuse(f"validated_data has the key {name!r}, and a column's name is a text")
