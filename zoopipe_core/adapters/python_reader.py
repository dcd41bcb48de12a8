"""Reading an iterator of rows, or of record batches and tables."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.arrow import ArrowStreamable
from zoopipe_core.adapters.arrow_streams import open_stream, stream_batches
from zoopipe_core.adapters.base import Reader, ReadRequest
from zoopipe_core.adapters.columnar import Layout, evened
from zoopipe_core.batches.source import SourceBatch, SourceKind, number_rows, object_batch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceError

__all__ = ["PyGeneratorReader"]

# How many rows a slow iterable may give before the reader looks whether the load was cancelled.
ROWS_BETWEEN_LOOKS = 256


class PyGeneratorReader(Reader):
    """Reads an iterator of rows, whose first is number `first` of the whole, or one of tables."""

    def __init__(
        self, name: str, iterator: Iterator[Any], count: int | None, request: ReadRequest, first: int = 1
    ) -> None:
        self._name, self._iterator, self._count, self._request = name, iterator, count, request
        self._first = first
        self._items_read = self._rows_read = 0
        self._table_types: dict[type, bool] = {}
        self._ahead = list(islice(self._items(), 1))
        self._stream: pa.RecordBatchReader | None = None
        if self._ahead and self._is_table(self._ahead[0]):
            self._stream = open_stream(self._ahead.pop(), name)
            self._layout = Layout(self._stream.schema, request)

    @property
    def kind(self) -> SourceKind:
        return SourceKind.OBJECTS if self._stream is None else SourceKind.TYPED

    @property
    def columns(self) -> Mapping[str, ColumnType] | None:
        return None if self._stream is None else self._layout.types

    @property
    def duplicates(self) -> frozenset[str]:
        return frozenset() if self._stream is None else self._layout.duplicates

    @property
    def first_record(self) -> int:
        return self._first

    @property
    def fraction(self) -> float | None:
        return min(1.0, self._items_read / self._count) if self._count else None

    def __iter__(self) -> Iterator[SourceBatch]:
        return self._rows() if self._stream is None else self._tables(self._stream)

    def _items(self) -> Iterator[Any]:
        """What the iterator gives; what it raises becomes an error that says where."""
        try:
            for item in self._iterator:
                self._items_read += 1
                yield item
        except Exception as error:
            raise SourceError(
                f"{self._name}: row {self._rows_read + self._first:,}: {type(error).__name__}: {error}"
            ) from error

    def _rows(self) -> Iterator[SourceBatch]:
        size, stop = self._request.batch_size, self._request.stop
        first, held = self._first, list[Any]()
        for row in chain(self._ahead, self._items()):
            if self._is_table(row):
                raise self._mixed(row, "rows")
            held.append(row)
            self._rows_read += 1
            if len(held) == size:
                yield object_batch(self._name, first, held)
                first, held = first + size, []
            elif self._rows_read % ROWS_BETWEEN_LOOKS == 0 and stop.is_set():
                return
        if held:
            yield object_batch(self._name, first, held)

    def _tables(self, stream: pa.RecordBatchReader) -> Iterator[SourceBatch]:
        first = 1
        for batch in evened(self._batches(stream), self._request.batch_size):
            yield SourceBatch(self._name, SourceKind.TYPED, batch, number_rows(first, batch.num_rows))
            first += batch.num_rows

    def _batches(self, stream: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        layout = self._layout
        for one in chain([stream], map(self._next_stream, self._items())):
            if not one.schema.equals(layout.schema):
                layout = Layout(one.schema, self._request)
            for batch in stream_batches(one, self._name):
                yield layout.pick(batch)
                self._rows_read += batch.num_rows

    def _next_stream(self, item: Any) -> pa.RecordBatchReader:
        if not self._is_table(item):
            raise self._mixed(item, "record batches")
        return open_stream(item, self._name)

    def _is_table(self, item: Any) -> bool:
        # The protocol's isinstance takes longer than all else that is done for a row; types are few.
        kind = type(item)
        known = self._table_types.get(kind)
        if known is None:
            known = self._table_types[kind] = isinstance(item, ArrowStreamable)
        return known

    def _mixed(self, item: Any, others: str) -> SourceError:
        number = self._rows_read + self._first
        return SourceError(
            f"{self._name}: row {number:,} is a {type(item).__name__} after {others}; an iterable gives either rows or "
            "record batches"
        )

    def close(self) -> None:
        if isinstance(self._iterator, Generator):
            self._iterator.close()
