"""Reading objects that give an Arrow C stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized

import pyarrow as pa

from zoopipe_core.adapters.arrow import ArrowStreamable
from zoopipe_core.adapters.base import Reader, ReadRequest
from zoopipe_core.adapters.columnar import Layout, evened
from zoopipe_core.batches.source import SourceBatch, SourceKind, number_rows
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceError

__all__ = ["StreamReader", "open_stream", "stream_batches"]


class StreamReader(Reader):
    """Reads an Arrow C stream, whose first row is number `first` of the whole."""

    def __init__(self, obj: ArrowStreamable, name: str, request: ReadRequest, first: int = 1) -> None:
        self._name, self._size, self._first = name, request.batch_size, first
        self._total = len(obj) if isinstance(obj, Sized) else None
        self._rows_read = 0
        self._stream: pa.RecordBatchReader | None = open_stream(obj, name)
        self._layout = Layout(self._stream.schema, request)

    @property
    def kind(self) -> SourceKind:
        return SourceKind.TYPED

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        return self._layout.types

    @property
    def duplicates(self) -> frozenset[str]:
        return self._layout.duplicates

    @property
    def first_record(self) -> int:
        return self._first

    @property
    def fraction(self) -> float | None:
        return min(1.0, self._rows_read / self._total) if self._total else None

    def __iter__(self) -> Iterator[SourceBatch]:
        if self._stream is None:
            return
        for batch in evened(map(self._layout.pick, stream_batches(self._stream, self._name)), self._size):
            first, self._rows_read = self._rows_read + self._first, self._rows_read + batch.num_rows
            yield SourceBatch(self._name, SourceKind.TYPED, batch, number_rows(first, batch.num_rows))

    def close(self) -> None:
        if self._stream is not None:
            stream, self._stream = self._stream, None
            stream.close()


def open_stream(obj: ArrowStreamable, name: str) -> pa.RecordBatchReader:
    """The record batches of an object.

    Raises:
        SourceError: it fails; what it raised is the cause.
    """
    try:
        return pa.RecordBatchReader.from_stream(obj)
    except Exception as error:
        raise SourceError(f"{name}: this {type(obj).__name__} gives no table: {error}") from error


def stream_batches(stream: pa.RecordBatchReader, name: str) -> Iterator[pa.RecordBatch]:
    """Raises:
    SourceError: what gives the batches fails; what it raised is the cause.
    """
    rows = 0
    while True:
        try:
            batch = stream.read_next_batch()
        except StopIteration:
            return
        except Exception as error:
            raise SourceError(f"{name}: after row {rows:,}: {error}") from error
        rows += batch.num_rows
        yield batch
