"""Reading Arrow IPC: files mapped into memory, streams from front to back.

ARROW1..  schema  batch  batch  ...  end  footer  ARROW1         a file: a stream, and a footer that finds its batches
          schema  batch  batch  ...  end                         a stream
"""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa

from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.columnar import Layout, TypedFile, reading_columns
from zoopipe_core.adapters.files import ByteSource, reading
from zoopipe_core.adapters.paths import file_size, infer_compression, strip_credentials
from zoopipe_core.adapters.splitting import Piece
from zoopipe_core.errors import CorruptSourceError

__all__ = ["batch_rows", "open_ipc"]

FILE_MAGIC = b"ARROW1"
FEATHER_1_MAGIC = b"FEA1"
HEAD_BYTES = 8  # the magic of a file and its padding; the stream within begins here


def open_ipc(piece: Piece, request: ReadRequest) -> TypedFile:
    """Open an IPC file or stream; which of the two is seen from its first bytes. A piece of a file is some batches.

    Raises:
        SourceNotFoundError, SourceReadError, CorruptSourceError
    """
    size = _mappable_size(piece.path)
    return StreamedSource(piece.path, request) if size is None else MappedSource(piece, size, request)


def _mappable_size(path: str) -> int | None:
    """Bytes of a plain local IPC file; None for anything else."""
    size = file_size(path)
    if size is None or infer_compression(path) is not None:
        return None
    with reading(path), open(path, "rb") as file:
        return size if file.read(HEAD_BYTES).startswith(FILE_MAGIC) else None


def batch_rows(piece: Piece) -> list[int] | None:
    """The rows of each batch of an IPC file; None if the file cannot be mapped into memory, or has no columns.

    Raises:
        SourceError: it cannot be read.
    """
    size = _mappable_size(piece.path)
    if size is None:
        return None
    layout_only = MappedSource(piece, size, ReadRequest())
    schema = layout_only.layout.schema
    layout_only.close()
    if not len(schema):
        return None
    # One column is enough to count rows, and of a compressed file nothing else has to be unpacked.
    widths = [_width(schema.field(index).type) for index in range(len(schema))]
    narrow = layout_only.layout.names[widths.index(min(widths))]
    file = MappedSource(piece, size, ReadRequest(columns=frozenset([narrow])))
    try:
        return [batch.num_rows for batch in file.stored()]
    finally:
        file.close()


def _width(kind: pa.DataType) -> int:
    return int(kind.bit_width) if pa.types.is_primitive(kind) else 2**20


class MappedSource(TypedFile):
    """An IPC file in the local file system, mapped into memory, or some batches of it."""

    def __init__(self, piece: Piece, size: int, request: ReadRequest) -> None:
        self._path = path = piece.path
        self._done = 0
        with reading_columns(path):
            self._map = pa.memory_map(path)
            try:
                self.layout = Layout(pa.ipc.open_file(self._map).schema, request)
                # No column at all cannot be asked for; then all are read, and left out.
                options = pa.ipc.IpcReadOptions(included_fields=self.layout.wanted)
                self._file = pa.ipc.open_file(self._map, options=options)
                count = int(self._file.num_record_batches)
                self._batches = range(piece.start or 0, count if piece.stop is None else piece.stop)
                self._size = size * len(self._batches) // max(count, 1)
            except BaseException:
                self._map.close()
                raise

    def stored(self) -> Iterator[pa.RecordBatch]:
        """The batches as they are stored."""
        for index in self._batches:
            with reading_columns(self._path):
                batch = self._file.get_batch(index)
            yield batch

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        for batch in self.stored():
            with reading_columns(self._path):
                check_batch(batch)
            self._done += 1
            yield self.layout.dress(batch)

    @property
    def fraction(self) -> float:
        return self._done / len(self._batches) if self._batches else 1.0

    @property
    def position(self) -> int:
        return int(self._size * self.fraction)

    def close(self) -> None:
        # Batches that were handed out keep the mapping alive; it goes with the last of them.
        del self._file
        self._map.close()


class StreamedSource(TypedFile):
    """An IPC stream, or an IPC file read as the stream that it contains, from front to back."""

    def __init__(self, path: str, request: ReadRequest) -> None:
        self._path = path
        self._source = ByteSource(path)
        self._size = file_size(path)
        try:
            with reading_columns(path):
                self._bytes = _Bytes(self._source, path)
                self._stream = pa.ipc.open_stream(pa.PythonFile(self._bytes, mode="r"))
                self.layout = Layout(self._stream.schema, request)
        except BaseException:
            self._source.close()
            raise

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        while True:
            with reading_columns(self._path):
                try:
                    batch = self._stream.read_next_batch()
                except StopIteration:
                    break
                check_batch(batch)
            yield self.layout.pick(batch)
        if self._bytes.at_end:
            raise CorruptSourceError(
                f"{strip_credentials(self._path)} stops without the mark that ends an Arrow stream; rows may be missing"
            )

    @property
    def fraction(self) -> float | None:
        return min(1.0, self._source.position / self._size) if self._size else None

    @property
    def position(self) -> int:
        return self._source.position

    def close(self) -> None:
        self._source.close()


class _Bytes(io.RawIOBase):
    """The stream's bytes for Arrow's reader, without the magic of an IPC file in front of them.

    Attributes:
        at_end: whether more bytes were asked for than there are.
    """

    def __init__(self, source: ByteSource, path: str) -> None:
        self._source = source
        self.at_end = False
        head = source.read(HEAD_BYTES)
        if not head:
            raise CorruptSourceError(f"{strip_credentials(path)} is empty; an Arrow file has at least a schema")
        if head.startswith(FEATHER_1_MAGIC):
            raise CorruptSourceError(
                f"{strip_credentials(path)} is in Feather's version 1; rewrite it with pyarrow.feather.write_feather"
            )
        self._ahead = b"" if head.startswith(FILE_MAGIC) else head

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        taken, self._ahead = self._ahead[:size], self._ahead[size:]
        data = taken if len(taken) == size else taken + self._source.read(size - len(taken))
        self.at_end = len(data) < size
        return data


def check_batch(batch: pa.RecordBatch) -> None:
    """Look at every offset and index, since a wrong one in a damaged file reads foreign memory.

    Text that is no UTF-8 is no such damage: it concerns its own row.

    Raises:
        ArrowInvalid: the batch is damaged.
    """
    for column in batch.columns:
        if pa.types.is_string(column.type):
            column = column.cast(pa.binary())
        elif pa.types.is_large_string(column.type):
            column = column.cast(pa.large_binary())
        column.validate(full=True)
