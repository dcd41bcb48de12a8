"""A batch on its way through pre-validation hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.source import (
    JSON_COLUMN,
    Hooked,
    RowNumbers,
    SourceBatch,
    SourceKind,
    mask_array,
    number_rows,
)
from zoopipe_core.hooking.columns import checked, kept, sized
from zoopipe_core.hooking.rows import (
    Misuse,
    Naming,
    Shown,
    columns_of,
    errors_of,
    json_text,
    new_entry,
    raw_rows,
    run_row_hook,
)
from zoopipe_core.hooks import BaseHook, ColumnHook, EntryStatus, Store

__all__ = ["BeforeValidation"]


class BeforeValidation:
    """A batch on its way through pre-validation hooks: in `_batch`, or in `_shown` where that is no None."""

    def __init__(
        self, origin: SourceBatch, first_id: int, wanted: frozenset[str] | None, new_ids: Iterator[int]
    ) -> None:
        self._origin, self._first, self._wanted, self._new_ids = origin, first_id, wanted, new_ids
        self._batch = replace(origin, faults=())
        self._ids: RowNumbers = number_rows(first_id, origin.num_rows)
        self._shown: Shown | None = None
        self._lines: dict[int, bytes] = {}
        self._metadata: dict[int, dict[str, Any]] = {}
        self._failed: dict[int, Sequence[Mapping[str, Any]]] = {}
        self._failed_rows: list[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = []
        self._filtered = self._added = 0

    @property
    def num_rows(self) -> int:
        return self._batch.num_rows if self._shown is None else len(self._shown)

    def _place(self, identity: int) -> int:
        return identity - self._first if identity > 0 else -1

    def _fail(self, identity: int, row: Mapping[str, Any], errors: Sequence[Mapping[str, Any]]) -> None:
        place = self._place(identity)
        if place >= 0:
            self._failed[place] = errors
        else:
            self._failed_rows.append((row, errors))

    def run_rows(self, hooks: Sequence[BaseHook], store: Store, naming: Naming) -> None:
        for hook in hooks:
            if not self.num_rows:
                return
            with naming(hook, self._origin.rows):
                self._run_rows(hook, store)

    def _run_rows(self, hook: BaseHook, store: Store) -> None:
        if self._shown is None:
            self._shown = self._opened()
        outcome = run_row_hook(hook, self._shown, "raw_data", store, self._new_ids)
        for entry in outcome.failed:
            self._fail(entry["id"], entry.get("raw_data") or {}, errors_of(entry, hook))
        self._shown = outcome.going
        self._filtered += outcome.filtered
        self._added += outcome.added

    def _opened(self) -> Shown:
        """The batch as entries. A row that is no dict fails here: no hook could look at it."""
        rows, bad = raw_rows(self._batch, self._wanted)
        ids = self._ids.tolist()
        if self._batch.kind is SourceKind.JSON:
            self._lines = dict(zip(ids, self._batch.batch.column(JSON_COLUMN).to_pylist(), strict=True))
        for index, why in bad.items():
            self._fail(ids[index], rows[index], [why])
        numbers = self._batch.rows.tolist()
        if bad:
            ids, numbers, rows = (
                [item for index, item in enumerate(all_) if index not in bad] for all_ in (ids, numbers, rows)
            )
        entries = [
            new_entry(identity, number, EntryStatus.PENDING, row, None, self._metadata.get(identity))
            for identity, number, row in zip(ids, numbers, rows, strict=True)
        ]
        return Shown(entries, ids, numbers)

    def run_columns(self, hook: ColumnHook, store: Store) -> None:
        if self._batch.kind is SourceKind.OBJECTS:
            raise Misuse(
                "a ColumnHook before validation needs a source with columns, and this one gives rows; use a BaseHook, "
                "move the hook behind validation, or give the source as record batches"
            )
        self._close(as_columns=True)
        batch = self._batch
        returned = checked(hook.execute(sized(batch.batch, batch.num_rows), store), batch.num_rows)
        if batch.kind is SourceKind.JSON and returned.schema.names != [JSON_COLUMN]:
            raise Misuse(
                f"before validation a JSON source has the one column {JSON_COLUMN!r}, the text of each record; change "
                "that text, use a BaseHook, or move the hook behind validation"
            )
        if batch.kind is SourceKind.JSON and not pa.types.is_binary(returned.column(0).type):
            returned = pa.RecordBatch.from_arrays([returned.column(0).cast(pa.binary())], names=[JSON_COLUMN])
        self._batch = replace(batch, columns=returned, objects=None)
        keep = kept(hook, returned, store)
        if keep is not None:
            self._filtered += batch.num_rows - int(keep.sum())
            self._ids = self._ids[keep]
            self._batch = replace(self._batch, columns=returned.filter(mask_array(keep)), rows=batch.rows[keep])

    def _close(self, as_columns: bool) -> None:
        """Entries back to a batch: JSON stays JSON, other rows become objects, or columns if those are wanted."""
        shown, self._shown = self._shown, None
        if shown is None:
            return
        entries = shown.entries
        self._metadata = {entry["id"]: entry["metadata"] for entry in entries if entry.get("metadata")}
        self._ids, numbers = np.array(shown.ids, dtype=np.int64), np.array(shown.positions, dtype=np.int64)
        rows, kind, source = [entry["raw_data"] for entry in entries], self._batch.kind, self._batch.source
        if kind is SourceKind.JSON:
            # The law for JSON is model_validate_json: rows stay text.
            texts = [json_text(self._lines.get(key), row) for key, row in zip(shown.ids, rows, strict=True)]
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
