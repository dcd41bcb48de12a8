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
from zoopipe_core.errors import CorruptSourceError

__all__ = ["open_ipc"]

FILE_MAGIC = b"ARROW1"
FEATHER_1_MAGIC = b"FEA1"
HEAD_BYTES = 8  # the magic of a file and its padding; the stream within begins here


def open_ipc(path: str, request: ReadRequest) -> TypedFile:
    """Open an IPC file or stream; which of the two is seen from its first bytes.

    Raises:
        SourceNotFoundError, SourceReadError, CorruptSourceError
    """
    size = file_size(path)
    if size is None or infer_compression(path) is not None:
        return StreamedSource(path, request)
    with reading(path), open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    return MappedSource(path, size, request) if head.startswith(FILE_MAGIC) else StreamedSource(path, request)


class MappedSource(TypedFile):
    """An IPC file in the local file system, mapped into memory."""

    def __init__(self, path: str, size: int, request: ReadRequest) -> None:
        self._path, self._size = path, size
        self._done = 0
        with reading_columns(path):
            self._map = pa.memory_map(path)
            try:
                self.layout = Layout(pa.ipc.open_file(self._map).schema, request)
                # No column at all cannot be asked for; then all are read, and left out.
                options = pa.ipc.IpcReadOptions(included_fields=self.layout.wanted)
                self._file = pa.ipc.open_file(self._map, options=options)
                self._count = int(self._file.num_record_batches)
            except BaseException:
                self._map.close()
                raise

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        for index in range(self._count):
            with reading_columns(self._path):
                batch = self._file.get_batch(index)
                check_batch(batch)
            self._done += 1
            yield self.layout.dress(batch)

    @property
    def fraction(self) -> float:
        return self._done / self._count if self._count else 1.0

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
