"""Reading JSON: files are cut into records, and each record goes on as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from zoopipe_core.adapters.base import Reader, ReadRequest
from zoopipe_core.adapters.encodings import Utf8Stream
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.json_records import array_records, line_records
from zoopipe_core.adapters.paths import file_size, strip_credentials
from zoopipe_core.adapters.splitting import Piece
from zoopipe_core.batches.source import JSON_COLUMN, SourceBatch, SourceKind, number_rows

if TYPE_CHECKING:
    from zoopipe_core.adapters.json import JSONInputAdapter

__all__ = ["JSONReader", "file_encoding"]

BLOCK_BYTES = 2 * 2**20


class JSONReader(Reader):
    """Batches of one binary column, `JSON_COLUMN`: the text of each record.

    Args:
        adapter: the whole input.
        pieces: what to read of it, cut at line ends.
    """

    def __init__(self, adapter: JSONInputAdapter, request: ReadRequest, pieces: Sequence[Piece]) -> None:
        self._adapter = adapter
        self._batch_size = request.batch_size
        self._pieces = pieces
        sizes = [file_size(piece.path) if piece.size is None else piece.size for piece in pieces]
        self._total = None if None in sizes else sum(size for size in sizes if size is not None)
        self._done_bytes = 0
        self._source: ByteSource | None = self._open_piece(pieces[0])

    @property
    def kind(self) -> SourceKind:
        return SourceKind.JSON

    @property
    def columns(self) -> None:
        return None

    @property
    def bytes_read(self) -> int:
        source = self._source
        return self._done_bytes + (source.position if source else 0)

    @property
    def any_thread(self) -> bool:
        return True

    @property
    def size(self) -> int | None:
        return self._total

    @property
    def fraction(self) -> float | None:
        return min(1.0, self.bytes_read / self._total) if self._total else None

    @property
    def first_record(self) -> int:
        return self._pieces[0].first_row

    def _open_piece(self, piece: Piece) -> ByteSource:
        piece.check()
        adapter = self._adapter
        return ByteSource(piece.path, adapter.compression, adapter.limits, piece.start or 0, piece.stop)

    def __iter__(self) -> Iterator[SourceBatch]:
        for index, piece in enumerate(self._pieces):
            if index:
                self._source = self._open_piece(piece)
            if self._source is None:  # closed before it was read
                return
            yield from self._read_piece(self._source, piece)
            self.close()

    def _read_piece(self, source: ByteSource, piece: Piece) -> Iterator[SourceBatch]:
        adapter, row, label = self._adapter, piece.first_row, strip_credentials(piece.path)
        stop = None if adapter.limit is None else adapter.limit + 1
        if stop is not None and row >= stop:
            return
        if adapter.format == "array":
            stream = Utf8Stream(source, adapter.encoding, label)
            parts = array_records(stream, label, BLOCK_BYTES, adapter.max_record_bytes)
        else:
            encoding = file_encoding(adapter, piece.path)[0] if piece.start else adapter.encoding
            stream = Utf8Stream(source, encoding, label, from_start=not piece.start)
            parts = line_records(stream, label, BLOCK_BYTES, adapter.max_record_bytes, row)
        for records in parts:
            if stop is not None:
                records = records[: stop - row]
            batch = pa.RecordBatch.from_arrays([records], names=[JSON_COLUMN])
            numbers = number_rows(row, len(records))
            yield from self._portions(SourceBatch(label, SourceKind.JSON, batch, numbers))
            row += len(records)
            if row == stop:
                return

    def _portions(self, batch: SourceBatch) -> list[SourceBatch]:
        """Batches of about equal size, none above the size asked for: no small remainder after each block."""
        count = -(-batch.num_rows // self._batch_size)
        return batch.split(-(-batch.num_rows // count))

    def close(self) -> None:
        if self._source is not None:
            source, self._source = self._source, None
            self._done_bytes += source.position
            source.close()


def file_encoding(adapter: JSONInputAdapter, path: str) -> tuple[str, int]:
    """What a file is in, and how long its byte order mark is.

    Raises:
        SourceError: it cannot be read, or needs such a mark and has none.
    """
    source = ByteSource(path, adapter.compression, adapter.limits)
    try:
        stream = Utf8Stream(source, adapter.encoding, strip_credentials(path))
    finally:
        source.close()
    return stream.encoding, stream.mark_bytes
