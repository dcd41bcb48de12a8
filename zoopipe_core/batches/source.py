"""What readers yield: a record batch as the source holds it, with the position of each row.

A `SourceBatch` has not been judged yet. Its columns are those of the source: undecoded bytes for CSV, one column of
whole lines for JSON, typed columns for Parquet, Arrow and SQL, Python objects for iterables. Records that cannot be
rows at all (ragged, broken JSON) come beside it as `Fault`s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.text_columns import TextColumns
from zoopipe_core.kernels.buffers import TextCells, gathered_cells

__all__ = ["Fault", "RowNumbers", "SourceBatch", "SourceKind"]

RowNumbers = npt.NDArray[np.int64]
"""int64 (n,): the number of each row in its source, counted from 1."""

JSON_COLUMN = "_raw"
"""The one column of a `SourceKind.JSON` batch: each record's JSON text."""


class SourceKind(StrEnum):
    """How a source's cells are to be read, and with that which of pydantic's rules apply to them."""

    TEXT = "text"
    """Columns of type binary: UTF-8 text, undecoded. A cell is a str or None."""
    JSON = "json"
    """One binary column `JSON_COLUMN` of JSON texts. The law is ``model_validate_json``."""
    TYPED = "typed"
    """Columns of Arrow types. A cell is the Python value of its Arrow type."""
    OBJECTS = "objects"
    """No columns: `SourceBatch.objects` holds dicts, model instances or whatever the iterable gave."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A record that is no row: where it stands, what is wrong, and its text as far as it could be read.

    ``type`` is a short code in the manner of pydantic's error types (``ragged_row``, ``json_invalid``).
    """

    row: int
    type: str
    message: str
    raw: str


@dataclass(frozen=True, slots=True)
class Hooked:
    """What pre-validation hooks did to a batch.

    Attributes:
        origin: the batch as it was read; rejects keep its columns.
        places: int64 (n,), for each row of the hooked batch its index in `origin`; -1 for an added row.
        failed: index in `origin` -> errors, for rows that a hook marked FAILED or that have no readable text.
        failed_rows: rows that a hook added and marked FAILED, with their errors.
        filtered, added: rows that hooks dropped and put in.
        metadata: index in `origin` -> what hooks noted on the row for those behind validation.
    """

    origin: SourceBatch
    places: RowNumbers
    failed: Mapping[int, Sequence[Mapping[str, Any]]]
    failed_rows: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]] = ()
    filtered: int = 0
    added: int = 0
    metadata: Mapping[int, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceBatch:
    """Up to a few ten thousand rows as the source holds them.

    Attributes:
        source: the name of the file, table or object that the rows come from; holds no secret.
        kind: how cells are to be read.
        columns: the columns; for `SourceKind.OBJECTS` a batch without columns. Those of text may be `TextColumns`.
        rows: int64 (n,), each row's number in `source`, counted from 1 and rising.
        faults: records between these rows that are no rows.
        objects: the rows themselves, for `SourceKind.OBJECTS` only.
        hooked: what pre-validation hooks made of the batch, if there were any.
    """

    source: str
    kind: SourceKind
    columns: pa.RecordBatch | TextColumns
    rows: RowNumbers
    faults: Sequence[Fault] = ()
    objects: Sequence[Any] | None = field(default=None, repr=False)
    hooked: Hooked | None = field(default=None, repr=False)

    @property
    def batch(self) -> pa.RecordBatch:
        """All columns as a record batch, which is made where they are `TextColumns`."""
        return self.columns.to_batch() if isinstance(self.columns, TextColumns) else self.columns

    @property
    def names(self) -> list[str]:
        """The names of the columns."""
        held = self.columns
        return list(held.names if isinstance(held, TextColumns) else held.schema.names)

    def column(self, name: str) -> pa.Array:
        """One column."""
        return self.columns.column(name)

    def cells(self, name: str) -> TextCells | None:
        """The cells of a column where they were read; None for one that is not of `TextColumns`."""
        return self.columns.cells(name) if isinstance(self.columns, TextColumns) else None

    def column_at(self, name: str, indices: RowNumbers) -> pa.Array:
        """One column's cells in the rows at `indices`: int64 (m,)."""
        if isinstance(self.columns, TextColumns):
            return gathered_cells(self.columns.cells(name).take(indices), pa.binary())
        return self.columns.column(name).take(index_array(indices))

    def take(self, indices: RowNumbers) -> pa.RecordBatch:
        """The columns of the rows at `indices`: int64 (m,)."""
        if isinstance(self.columns, TextColumns):
            return self.columns.take(indices)
        return self.columns.take(index_array(indices)) if self.columns.num_columns else self.columns

    @property
    def num_rows(self) -> int:
        """Rows in `columns`; faults are not among them."""
        return len(self.rows)

    @property
    def num_records(self) -> int:
        """Rows and faults together: what the report counts as read."""
        return len(self.rows) + len(self.faults)

    @property
    def last_record(self) -> int:
        """The greatest number that a row or a fault has; 0 if there is neither."""
        last_row = int(self.rows[-1]) if self.num_rows else 0
        return max(last_row, max((fault.row for fault in self.faults), default=0))

    def slice(self, start: int, stop: int) -> SourceBatch:
        """Rows ``start:stop`` without a copy. The faults stay with the slice that starts at 0."""
        columns = self.columns
        if isinstance(columns, TextColumns):
            columns = columns.slice(start, stop)
        elif columns.num_columns:
            columns = columns.slice(start, stop - start)
        return SourceBatch(
            self.source,
            self.kind,
            columns,
            self.rows[start:stop],
            self.faults if start == 0 else (),
            None if self.objects is None else self.objects[start:stop],
        )

    def split(self, size: int) -> list[SourceBatch]:
        """The batch in pieces of at most `size` rows, each with the faults in front of the next one's first row."""
        if self.num_rows <= size:
            return [self]
        pieces = [self.slice(start, min(start + size, self.num_rows)) for start in range(0, self.num_rows, size)]
        if not self.faults:
            return pieces
        nexts = self.rows[size::size]
        places = np.searchsorted(nexts, [fault.row for fault in self.faults], side="right").tolist()
        faults: list[list[Fault]] = [[] for _ in pieces]
        for place, fault in zip(places, self.faults, strict=True):
            faults[place].append(fault)
        return [replace(piece, faults=found) for piece, found in zip(pieces, faults, strict=True)]


def number_rows(first: int, count: int) -> RowNumbers:
    """int64 (count,): ``first, first + 1, ...``"""
    return np.arange(first, first + count, dtype=np.int64)


def index_array(indices: RowNumbers) -> pa.Array:
    """int64 (m,) as Arrow, without a copy. Unlike ``pa.array`` this does not import pandas where it is installed."""
    contiguous = np.ascontiguousarray(indices, dtype=np.int64)
    return pa.Array.from_buffers(pa.int64(), len(contiguous), [None, pa.py_buffer(contiguous)])


def mask_array(mask: npt.NDArray[np.bool_]) -> pa.Array:
    """A mask, bool (n,), as Arrow."""
    bits = np.packbits(mask, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(bits)])


def object_batch(source: str, first: int, objects: Sequence[Any]) -> SourceBatch:
    """A batch of Python objects whose first one is row number `first`."""
    empty = pa.RecordBatch.from_arrays([], names=[])
    return SourceBatch(source, SourceKind.OBJECTS, empty, number_rows(first, len(objects)), (), objects)
