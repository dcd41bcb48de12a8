"""Reading the result of a query or a table, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic_core import to_json

from zoopipe_core.adapters.base import Reader
from zoopipe_core.adapters.sql_database import Database, Decoded, ResultSet
from zoopipe_core.adapters.watermark import Mark
from zoopipe_core.batches.source import Fault, SourceBatch, SourceKind, mask_array
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.batches.values import python_values
from zoopipe_core.errors import UnsupportedValueError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_window import Window

__all__ = ["SQLReader"]


class SQLReader(Reader):
    """Yields the batches of one result.

    Args:
        database: open; the reader closes it.
        select: prepares the result.
        first_row: the number of the first row in the whole input.
        state: the state of the database to read; None: that of now.
        window: which of the rows are new; None: all.
    """

    def __init__(
        self,
        database: Database,
        select: Callable[[], ResultSet],
        batch_size: int,
        label: str,
        first_row: int = 1,
        state: str | None = None,
        window: Window | None = None,
    ) -> None:
        self._database = database
        self._label = label
        self._batch_size = batch_size
        self._first_row, self._state, self._window = first_row, state, window
        self._ended = False
        self._raw: Iterator[pa.RecordBatch] | None = None
        try:
            if state is not None:
                database.enter_state(state)
            self._result = select()
        except BaseException:
            database.close()
            raise

    @property
    def kind(self) -> SourceKind:
        return SourceKind.TYPED

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        return self._result.all_types

    @property
    def duplicates(self) -> frozenset[str]:
        return self._result.duplicates

    @property
    def first_record(self) -> int:
        return self._first_row

    def __iter__(self) -> Iterator[SourceBatch]:
        names = [column.name for column in self._result.columns]
        self._raw = self._result.batches()
        start = self._first_row
        for raw in self._pieces(self._raw):
            if start == self._first_row and self._state is not None:
                self._database.enter_state(self._state)
            decoded = [
                Decoded(array) if column.decode is None else column.decode(array)
                for column, array in zip(self._result.columns, raw.columns, strict=True)
            ]
            rows = np.arange(start, start + raw.num_rows, dtype=np.int64)
            start += raw.num_rows
            if self._window is not None:
                kept = self._window.keep({name: column.array for name, column in zip(names, decoded, strict=True)})
                if kept is not None:
                    decoded, rows = [column.only(kept) for column in decoded], rows[kept]
            if not len(rows):
                continue
            batch = pa.RecordBatch.from_arrays([column.array for column in decoded], names=names)
            bad = [column.bad for column in decoded if column.bad is not None]
            if not bad:
                yield SourceBatch(self._label, SourceKind.TYPED, batch, rows)
                continue
            wrong = np.logical_or.reduce(bad)
            faults = [self._fault(int(index), int(rows[index]), batch, decoded) for index in np.flatnonzero(wrong)]
            right = batch.filter(mask_array(~wrong))
            yield SourceBatch(self._label, SourceKind.TYPED, right, rows[~wrong], faults)
        self._ended = True

    @property
    def mark(self) -> Mark | None:
        return self._window.next_mark if self._window is not None and self._ended else None

    @property
    def notes(self) -> tuple[str, ...]:
        return self._window.notes if self._window is not None and self._ended else ()

    def _pieces(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Drivers cut by bytes or as they like: pieces of at most the wanted size, none of them empty."""
        for batch in batches:
            for start in range(0, batch.num_rows, self._batch_size):
                yield batch.slice(start, self._batch_size)

    def _fault(self, index: int, row: int, batch: pa.RecordBatch, decoded: list[Decoded]) -> Fault:
        """A row with a cell that no column can hold."""
        name, column = next(
            (name, column)
            for name, column in zip(batch.schema.names, decoded, strict=True)
            if column.bad is not None and column.bad[index]
        )
        cells: dict[str, Any] = {
            field: _shown(array, index) for field, array in zip(batch.schema.names, batch.columns, strict=True)
        }
        cells[name] = f"({column.code})"
        raw = to_json(cells, fallback=repr, inf_nan_mode="constants").decode()
        return Fault(row, column.code, f"column {name!r}: {column.why}", raw)

    def close(self) -> None:
        raw, self._raw = self._raw, None
        close = getattr(raw, "close", None)  # a generator that still holds a cursor
        if close is not None:
            close()
        self._database.close()


def _shown(array: pa.Array, index: int) -> Any:
    """A cell for a person to read."""
    try:
        return python_values(array.slice(index, 1))[0]
    except UnsupportedValueError:
        return str(array[index])
