"""The reading side of CSV: one file after the other, as batches of undecoded columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoopipe_core.adapters.base import Reader, ReadRequest
from zoopipe_core.adapters.csv_faults import LongRecordError
from zoopipe_core.adapters.csv_fields import FieldParser
from zoopipe_core.adapters.csv_file import OpenCSV
from zoopipe_core.adapters.csv_parser import ArrowParser, BlockTooSmallError
from zoopipe_core.adapters.paths import file_size
from zoopipe_core.adapters.splitting import Piece
from zoopipe_core.batches.source import SourceBatch, SourceKind
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.errors import RecordTooLongError
from zoopipe_core.kernels.switch import SWITCH

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv import CSVInputAdapter

__all__ = ["CSVReader"]

# Each batch costs a few hundred calls from Python, whatever its size, and as many turns at the interpreter's lock;
# large ones cost memory.
BLOCK_BYTES = 4 * 2**20


class CSVReader(Reader):
    """Batches of binary columns, with the number of each row and the records that are no rows.

    Args:
        adapter: the whole input.
        pieces: what to read of it.
        first: its first file, whose columns are those of the reader.
    """

    def __init__(self, adapter: CSVInputAdapter, request: ReadRequest, pieces: Sequence[Piece], first: Piece) -> None:
        self._adapter = adapter
        self._request = request
        self._pieces = pieces
        self._file: OpenCSV | None = OpenCSV(adapter, pieces[0])
        self._parsing: ArrowParser | FieldParser | None = None
        head = self._file
        if first.path != head.piece.path:
            try:
                head = OpenCSV(adapter, first)
                head.close()
            except BaseException:
                self._file.close()
                raise
        self._first_names = list(head.names)
        self._duplicates = head.duplicates  # of the file that is read now, or was read last
        self._sizes = [file_size(piece.path) if piece.size is None else piece.size for piece in pieces]
        self._done_bytes = 0

    @property
    def kind(self) -> SourceKind:
        return SourceKind.TEXT

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        return dict.fromkeys(self._first_names, STRING)

    @property
    def duplicates(self) -> frozenset[str]:
        return self._duplicates

    @property
    def first_record(self) -> int:
        return self._pieces[0].first_row

    @property
    def bytes_read(self) -> int:
        return self._done_bytes + (self._file.source.position if self._file else 0)

    @property
    def any_thread(self) -> bool:
        return True

    @property
    def size(self) -> int | None:
        sizes = [size for size in self._sizes if size is not None]
        return sum(sizes) if len(sizes) == len(self._sizes) else None

    @property
    def fraction(self) -> float | None:
        return min(1.0, self.bytes_read / self.size) if self.size else None

    def close(self) -> None:
        if self._parsing is not None:
            self._parsing.end()
            self._parsing = None
        if self._file is not None:
            self._done_bytes += self._file.source.position
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[SourceBatch]:
        for index, piece in enumerate(self._pieces):
            if index:
                self._file = OpenCSV(self._adapter, piece)
            if self._file is None:  # closed before it was read
                return
            self._duplicates = self._file.duplicates
            for batch in self._read_file(self._file):
                yield from batch.split(self._request.batch_size)
            self.close()

    def _read_file(self, file: OpenCSV) -> Iterator[SourceBatch]:
        """All batches of one file. Where a block turns out too small for a record, the file is read once more from
        its start with the largest block, and what was already handed on is passed over.
        """
        largest, limit = self._adapter.max_record_bytes, self._adapter.limit
        block, passed = min(BLOCK_BYTES, largest), file.piece.first_row - 1
        while True:
            try:
                self._parsing = self._parser(file, block)
                for batch in self._parsing.batches():
                    kept = _between(batch, passed, limit)
                    passed = max(passed, batch.last_record)
                    if kept is not None:
                        yield kept
                    if limit is not None and passed >= limit:
                        return
                return
            except LongRecordError:
                raise _record_too_long(file, passed, largest) from None
            except BlockTooSmallError:
                if block >= largest or not file.source.can_reopen:
                    raise _record_too_long(file, passed, block) from None
                block = largest
            file.reopen()

    def _parser(self, file: OpenCSV, block: int) -> ArrowParser | FieldParser:
        """What cuts the file into cells."""
        adapter = self._adapter
        wanted = [index for index, name in enumerate(file.names) if self._request.wants(name)]
        if adapter.escapechar is not None or not SWITCH.ready(0):
            return ArrowParser(file, wanted, block)
        return FieldParser(
            file.body,
            adapter.dialect,
            file.names,
            wanted,
            adapter.null_values,
            adapter.quoted_nulls,
            file.label,
            file.piece.first_row,
            self._request.batch_size,
            block,
            adapter.max_record_bytes,
        )


def _record_too_long(file: OpenCSV, passed: int, block: int) -> RecordTooLongError:
    if block < file.adapter.max_record_bytes:
        cure = "it is a pipe, which cannot be read again with more room: save it to a file first"
    else:
        cure = "Raise max_record_bytes if it is right, or pass quotechar=None if quotes mean nothing in this file"
    return RecordTooLongError(
        f"{file.label}: the record after row {passed:,} or soon behind it is longer than {block:,} bytes; an unclosed "
        f"quote? {cure}"
    )


def _between(batch: SourceBatch, passed: int, limit: int | None) -> SourceBatch | None:
    """The records of `batch` numbered above `passed` and up to `limit`; None if there are none."""
    start = int(np.searchsorted(batch.rows, passed, side="right"))
    stop = batch.num_rows if limit is None else int(np.searchsorted(batch.rows, limit, side="right"))
    faults = [f for f in batch.faults if f.row > passed and (limit is None or f.row <= limit)]
    kept = batch.slice(start, max(start, stop))
    if not kept.num_rows and not faults:
        return None
    return SourceBatch(kept.source, kept.kind, kept.columns, kept.rows, faults)
