"""Rows that were not accepted, as rejects: their source columns as they were read, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic_core import to_json

from zoopipe_core.batches.model import MISSING, Column
from zoopipe_core.batches.rejects import Errors, RejectBatch, reject_faults
from zoopipe_core.batches.row_dicts import dicts_of_columns
from zoopipe_core.batches.source import JSON_COLUMN, SourceBatch, SourceKind, index_array
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.schema.cells import readable_cells

__all__ = ["ErrorsByRow", "dicts_of", "reject_rows", "rejects_of", "source_rows"]

MAX_RAW_CHARS = 64 * 1024

ErrorsByRow: TypeAlias = dict[int, Errors]
"""Index of the row in its batch -> pydantic's error list."""


def rejects_of(batch: SourceBatch, errors: Mapping[int, Errors]) -> RejectBatch:
    """The rejected rows of a validated batch as they were read, before hooks, and its faults."""
    hooked = batch.hooked
    if hooked is None:
        return reject_rows(batch, errors)
    added = list(hooked.failed_rows)
    by_origin = dict(hooked.failed)
    for index, why in errors.items():
        place = int(hooked.places[index])
        if place >= 0:
            by_origin[place] = why
        else:
            added.append((_row_as_hooked(batch, index), why))
    return reject_rows(hooked.origin, by_origin, added)


def _row_as_hooked(batch: SourceBatch, index: int) -> Any:
    """A row of `batch` as pre-validation hooks left it."""
    if batch.objects is not None:
        return batch.objects[index]
    return source_rows(batch, [index])[0]


def reject_rows(
    batch: SourceBatch,
    errors: Mapping[int, Errors],
    added: Sequence[tuple[Mapping[str, Any], Errors]] = (),
) -> RejectBatch:
    """The rows of `batch` at the indices of `errors` as rejects, together with its faults and with rows that hooks
    had added.
    """
    indices = np.array(sorted(errors), dtype=np.int64)
    places: list[int] = indices.tolist()
    cells: dict[str, Column] = {}
    raws: Sequence[str | None] | None = None
    if batch.kind is SourceKind.JSON:
        lines = batch.batch.column(JSON_COLUMN).take(index_array(indices)).to_pylist() if places else []
        raws = [bytes(line).decode("utf-8", "backslashreplace")[:MAX_RAW_CHARS] for line in lines]
    elif batch.kind is SourceKind.OBJECTS:
        cells, raws = _cells_of_objects([(batch.objects or ())[place] for place in places])
    else:
        taken = batch.take(indices)
        for name, array in zip(taken.schema.names, taken.columns, strict=True):
            cells[name] = _cells(array, batch.kind)
    rejects = RejectBatch.of(batch.source, batch.rows[indices], [errors[place] for place in places], cells, raws)
    if batch.faults:
        rejects = rejects.merged(reject_faults(batch.source, batch.faults))
    if added:
        texts = [to_json(row, fallback=repr).decode()[:MAX_RAW_CHARS] for row, _ in added]
        whys = [why for _, why in added]
        rejects = rejects.merged(RejectBatch.of(batch.source, np.zeros(len(added), np.int64), whys, {}, texts))
    return rejects


def _cells(array: pa.Array, kind: SourceKind) -> Column:
    """A source column as it was read."""
    if kind is not SourceKind.TEXT:
        return Column(ColumnType(array.type), readable_cells(array, kind))
    if pa.types.is_binary(array.type):
        try:
            return Column(STRING, None, array.cast(pa.string()))
        except pa.ArrowInvalid:
            pass  # a byte that is no UTF-8 is shown with escapes
    return Column(STRING, readable_cells(array, kind))


def _cells_of_objects(rows: Sequence[Any]) -> tuple[dict[str, Column], list[str | None]]:
    """The keys of those rows that have some, and the others as text."""
    records = [{str(key): value for key, value in row.items()} if isinstance(row, Mapping) else None for row in rows]
    names = dict.fromkeys(name for record in records if record is not None for name in record)
    cells = {
        name: Column(JSON, [MISSING if record is None else record.get(name, MISSING) for record in records])
        for name in names
    }
    raws = [repr(row)[:MAX_RAW_CHARS] if record is None else None for row, record in zip(rows, records, strict=True)]
    return cells, raws


def source_rows(batch: SourceBatch, indices: Sequence[int]) -> list[dict[str, Any]]:
    """Whole rows as they were read."""
    taken = batch.take(np.asarray(indices, dtype=np.int64))
    cells = {
        name: readable_cells(column, batch.kind) for name, column in zip(taken.schema.names, taken.columns, strict=True)
    }
    return dicts_of(cells, len(indices))


def dicts_of(cells: Mapping[str, list[Any]], count: int) -> list[dict[str, Any]]:
    """The rows of `count` cells a column."""
    if not cells:
        return [{} for _ in range(count)]
    return list(dicts_of_columns(cells))
