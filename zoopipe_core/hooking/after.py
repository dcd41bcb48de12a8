"""Accepted rows on their way through post-validation hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.source import RowNumbers, SourceBatch, index_array
from zoopipe_core.batches.types import ColumnType, column_type_of
from zoopipe_core.errors import UnsupportedValueError
from zoopipe_core.hooking.columns import checked, kept, same_memory
from zoopipe_core.hooking.entries import RawRows, metadata_of, validated_entry
from zoopipe_core.hooking.rows import Misuse, errors_of, run_row_hook
from zoopipe_core.hooks import BaseHook, ColumnHook, Entry, Hook, Store
from zoopipe_core.schema.rejecting import reject_rows
from zoopipe_core.schema.validate import Validated

__all__ = ["AfterValidation", "PostHooked", "added_types"]


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
        self._known_ids: RowNumbers | None = None
        self._metadata = {first_id + place: notes for place, notes in metadata.items()}
        self._entries: list[Entry] | None = None
        self._types: dict[str, ColumnType] = {}
        self._present: list[str] = []
        self._declared: dict[str, ColumnType] = {}
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
        self._declared.update(added_types(hook))

    def _opened(self) -> list[Entry]:
        good, source = self._good, self._source
        self._types = good.types
        self._present = [name for name, column in good.columns.items() if any(v is not MISSING for v in column.values)]
        places = self._ids[self._ids > 0] - self._first
        if not np.array_equal(places, np.arange(source.num_rows)):
            source = _taken(source, places)
        raw, noted = RawRows(source, self._wanted), self._metadata
        # The rows of the source stand in the order of the ids; a row that a hook added has none.
        raws = np.where(self._ids > 0, np.cumsum(self._ids > 0) - 1, -1).tolist()
        return [
            validated_entry(identity, number, data, raw, place, noted.get(identity) if noted else None)
            for identity, number, data, place in zip(
                self._ids.tolist(), good.rows.tolist(), good.dicts(), raws, strict=True
            )
        ]

    def _reject(self, failed: Sequence[Entry], hook: BaseHook) -> None:
        places = {e["id"] - self._first: errors_of(e, hook) for e in failed if e["id"] > 0}
        added = [(e.get("validated_data") or {}, errors_of(e, hook)) for e in failed if e["id"] <= 0]
        new = reject_rows(replace(self._source, faults=()), places, added)
        self._rejects = self._rejects.merged(new)

    def run_columns(self, hook: ColumnHook, store: Store) -> None:
        self._close()
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

    def _close(self) -> None:
        """Entries back to columns. A column that no row has any more is gone, one that was declared is there."""
        entries, self._entries = self._entries, None
        if entries is None:
            return
        records = [entry["validated_data"] or {} for entry in entries]
        types = self._types | self._declared
        if records:
            gone = [name for name in self._present if not any(name in record for record in records)]
            types = {name: kind for name, kind in types.items() if name not in gone or name in self._declared}
        self._declared = {}
        ids = np.array(list(map(itemgetter("id"), entries)), dtype=np.int64)
        same_rows, self._known_ids = np.array_equal(ids, self._ids), ids
        self._metadata = {entry["id"]: entry["metadata"] for entry in entries if metadata_of(entry)}
        numbers = np.array(list(map(itemgetter("position"), entries)), dtype=np.int64)
        old, self._good = self._good, ModelBatch.from_rows(records, types, numbers, self._good.source)
        if same_rows:
            for name, column in self._good.columns.items():
                if name in old.columns:
                    self._good.columns[name] = column.or_same(old.columns[name])
        unnamed = [name for name in self._good.columns if not isinstance(name, str)]
        if unnamed:
            raise Misuse(f"validated_data has the key {unnamed[0]!r}, and a column's name is a text")

    def result(self) -> PostHooked:
        self._close()
        return PostHooked(self._good, self._rejects, self._filtered, self._added)


def _taken(source: SourceBatch, places: RowNumbers) -> SourceBatch:
    """Some rows of `source`, in the order of `places`."""
    batch = source.batch.take(index_array(places)) if source.batch.num_columns else source.batch
    objects = None if source.objects is None else [source.objects[place] for place in places.tolist()]
    return replace(source, batch=batch, rows=source.rows[places], objects=objects)
