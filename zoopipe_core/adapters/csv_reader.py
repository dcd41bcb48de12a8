"""The reading side of CSV: pyarrow's parser, one file after the other, as batches of undecoded columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from zoopipe_core.adapters.base import Reader, ReadRequest
from zoopipe_core.adapters.csv_dialect import END_MARK
from zoopipe_core.adapters.csv_header import HEAD_BYTES, read_header, refuse_binary, unique_names
from zoopipe_core.adapters.csv_stream import (
    CommentFilter,
    ParserInput,
    ParserStream,
    Pushback,
    mark_bytes,
    restore_bytes,
)
from zoopipe_core.adapters.encodings import Utf8Stream
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.paths import file_size, strip_credentials
from zoopipe_core.adapters.splitting import Piece
from zoopipe_core.batches.source import Fault, SourceBatch, SourceKind, number_rows
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.errors import CorruptSourceError, RecordTooLongError

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv import CSVInputAdapter

__all__ = ["CSVReader", "OpenCSV"]

# Each batch costs a few hundred calls from Python, whatever its size, and as many turns at the interpreter's lock;
# large ones cost memory.
BLOCK_BYTES = 2 * 2**20
MAX_RAW_CHARS = 64 * 1024
_MARK_TEXT = END_MARK.decode()


class _TooLong(Exception):
    """A record did not fit the block; read again with a larger one."""


class OpenCSV:
    """One CSV file, or a piece of it, its header read.

    Attributes:
        piece: which one. Its bytes begin at a record, or with the file.
        names: the columns.
        duplicates: names that stand in the header twice.
        encoding: what the file is in, byte order marks looked at.
        mark_bytes: how long its byte order mark is.
        source, body: the bytes of the piece, and as the text from its first record on.

    Raises:
        SourceError: it cannot be read, its header not be parsed, or it has changed.
    """

    def __init__(self, adapter: CSVInputAdapter, piece: Piece) -> None:
        self.adapter = adapter
        self.piece = piece
        self.label = strip_credentials(piece.path)
        piece.check()
        names = self._open()
        self.names, self.duplicates = unique_names(names)

    def _open(self) -> list[str]:
        adapter, piece = self.adapter, self.piece
        is_inner = bool(piece.start)
        self.source = self._source(0, None if is_inner else piece.stop)
        try:
            text = Utf8Stream(self.source, adapter.encoding, self.label)
            self.encoding, self.mark_bytes = text.encoding, text.mark_bytes
            stream = Pushback(text)
            refuse_binary(stream.peek(HEAD_BYTES), self.label)
            stream.skip_lines(adapter.skip_rows)
            self.body = stream = self._without_comments(stream)
            names = adapter.fieldnames
            if names is None:
                names = read_header(stream, adapter.dialect, self.label, adapter.max_record_bytes)
            if is_inner:
                self.source.close()
                self.source = self._source(piece.start or 0, piece.stop)
                text = Utf8Stream(self.source, self.encoding, self.label, from_start=False)
                self.body = self._without_comments(Pushback(text))
        except BaseException:
            self.source.close()
            raise
        return list(names)

    def _source(self, start: int, stop: int | None) -> ByteSource:
        return ByteSource(self.piece.path, self.adapter.compression, self.adapter.limits, start, stop)

    def _without_comments(self, stream: Pushback) -> Pushback:
        adapter = self.adapter
        if adapter.comment is None:
            return stream
        record = adapter.dialect.record_pattern()
        return Pushback(CommentFilter(stream, adapter.comment, record, adapter.max_record_bytes, self.label))

    def reopen(self) -> None:
        """Back to the first record."""
        self.source.close()
        self._open()

    def close(self) -> None:
        """Close the file; harmless if done already."""
        self.source.close()


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
        self._parsing: _Parse | None = None
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
                self._parsing = _Parse(self._request, file, block)
                for batch in self._parsing.batches():
                    kept = _between(batch, passed, limit)
                    passed = max(passed, _last_number(batch))
                    if kept is not None:
                        yield kept
                    if limit is not None and passed >= limit:
                        return
                return
            except _TooLong:
                if block >= largest or not file.source.can_reopen:
                    raise _record_too_long(file, passed, block) from None
                block = largest
            file.reopen()


def _record_too_long(file: OpenCSV, passed: int, block: int) -> RecordTooLongError:
    if block < file.adapter.max_record_bytes:
        cure = "it is a pipe, which cannot be read again with more room: save it to a file first"
    else:
        cure = "Raise max_record_bytes if it is right, or pass quotechar=None if quotes mean nothing in this file"
    return RecordTooLongError(
        f"{file.label}: the record after row {passed:,} or soon behind it is longer than {block:,} bytes; an unclosed "
        f"quote? {cure}"
    )


class _Parse:
    """One pass of pyarrow's parser over a file."""

    def __init__(self, request: ReadRequest, file: OpenCSV, block: int) -> None:
        adapter = file.adapter
        self._file = file
        self._dialect = adapter.dialect
        self._input = ParserInput(file.body)
        self._stream: ParserStream | None = None
        self._before = file.piece.first_row - 1
        self._faults: list[Fault] = []
        self._closed = False
        self._width = len(file.names)
        self._wanted = [i for i, name in enumerate(file.names) if request.wants(name)]
        nulls = [mark_bytes(text.encode("utf-8", "surrogatepass")).decode() for text in adapter.null_values]
        # The records are counted by a column. With one column, the end mark is a row like any other.
        included = [str(i) for i in self._wanted or [0]]
        self._read = arrow_csv.ReadOptions(
            use_threads=False, block_size=block, column_names=[str(i) for i in range(self._width)]
        )
        self._parse = arrow_csv.ParseOptions(
            delimiter=adapter.delimiter,
            quote_char=adapter.quotechar or False,
            double_quote=adapter.doublequote,
            escape_char=adapter.escapechar or False,
            newlines_in_values=True,
            ignore_empty_lines=True,
            invalid_row_handler=self._on_invalid_row,
        )
        self._convert = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(included, pa.binary()),
            include_columns=included,
            null_values=nulls,
            strings_can_be_null=bool(nulls),
            quoted_strings_can_be_null=adapter.quoted_nulls,
            check_utf8=False,
        )

    # ---- records that are no rows -----------------------------------------------------------------------------

    def _on_invalid_row(self, row: arrow_csv.InvalidRow) -> str:
        text, number = row.text, self._before + row.number
        if text == _MARK_TEXT:
            self._closed = True
        elif _MARK_TEXT in text:
            self._closed = True
            self._faults.append(self._unclosed(number, _readable(_without_mark(text))))
        else:
            cells = "1 cell" if row.actual_columns == 1 else f"{row.actual_columns:,} cells"
            message = f"the row has {cells} where the header has {self._width:,}"
            self._faults.append(Fault(number, "ragged_row", message, _readable(text)))
        return "skip"

    def _unclosed(self, number: int, raw: str) -> Fault:
        escape = self._dialect.escapechar
        if escape is not None and raw.endswith(escape):
            message = "an escape character ends the file"
        else:
            message = "a quote opens in this record and is never closed"
        return Fault(number, "unclosed_quote", message, raw)

    # ---- batches ----------------------------------------------------------------------------------------------

    def batches(self) -> Iterator[SourceBatch]:
        """The batches, the end mark taken out of the last one."""
        first = self._before + 1
        held: pa.RecordBatch | None = None
        try:
            self._stream = ParserStream(self._input, self._read, self._parse, self._convert)
            for record_batch in self._stream:
                if held is not None:
                    batch = self._numbered(held, first)
                    first = max(first, _last_number(batch) + 1)
                    yield batch
                held = record_batch
        except pa.ArrowInvalid as error:
            if held is not None:
                yield self._numbered(held, first)
            raise self._translated(error) from error
        finally:
            self.end()
        if held is None:
            # The parser yields no batch where there is no row; there may be faults all the same.
            schema = self._stream.schema
            held = pa.RecordBatch.from_arrays([pa.nulls(0, field.type) for field in schema], schema=schema)
        yield self._numbered(self._without_end_mark(held, first), first, final=True)

    def end(self) -> None:
        """Stop parsing, wherever it is."""
        if self._stream is not None:
            self._stream.end()

    def _translated(self, error: pa.ArrowInvalid) -> Exception:
        text = str(error)
        if "straddling" in text:
            return _TooLong()
        return CorruptSourceError(f"{self._file.label} cannot be parsed as CSV: {text}")

    def _numbered(self, record_batch: pa.RecordBatch, first: int, final: bool = False) -> SourceBatch:
        """The batch with its row numbers: faults found so far that lie between its rows take up numbers too."""
        count = record_batch.num_rows
        last, taken = first + count - 1, 0
        while taken < len(self._faults) and (final or self._faults[taken].row <= last + 1):
            taken += 1
            last += 1
        faults, self._faults = self._faults[:taken], self._faults[taken:]
        numbers = number_rows(first, last - first + 1)
        if faults:
            numbers = np.setdiff1d(numbers, [fault.row for fault in faults], assume_unique=True)
        columns = record_batch.columns[: len(self._wanted)]
        if self._input.marked:
            columns = [_restored(column) for column in columns]
        batch = pa.RecordBatch.from_arrays(columns, names=[self._file.names[i] for i in self._wanted])
        return SourceBatch(self._file.label, SourceKind.TEXT, batch, numbers[:count], faults)

    def _without_end_mark(self, last: pa.RecordBatch, first: int) -> pa.RecordBatch:
        """The last batch without the end mark. If the mark did not come back as a record, a quote was left open and
        the last row swallowed it: that row is no row.
        """
        count = last.num_rows
        if self._closed or not count:
            return last
        cells = [column[count - 1].as_py() or b"" for column in last.columns]
        if self._width == 1 and cells == [END_MARK]:
            return last.slice(0, count - 1)
        # What was swallowed ends with the mark's own line break, unless that one ended the record.
        quoted = not cells[-1].endswith(END_MARK)
        cells[-1] = cells[-1].partition(b"\n" + END_MARK)[0]
        raw = self._dialect.join([cell.decode() for cell in cells], open_last=quoted)
        if not quoted:
            raw += self._dialect.escapechar or ""
        number = first + count - 1 + len(self._faults)
        self._faults.append(self._unclosed(number, _readable(raw)))
        return last.slice(0, count - 1)


def _readable(text: str) -> str:
    return restore_bytes(text[:MAX_RAW_CHARS]).decode("utf-8", "backslashreplace")


def _without_mark(text: str) -> str:
    return text[: text.index(_MARK_TEXT)].removesuffix("\n")


def _restored(column: pa.Array) -> pa.Array:
    """The column with the bytes that `ParserInput` replaced put back."""
    places = pc.indices_nonzero(pc.match_substring(column, b"\xf4\x8f"))
    if not len(places):
        return column
    cells = column.to_pylist()
    for place in places.to_pylist():
        cells[place] = restore_bytes(cells[place].decode())
    # Built by hand: pa.array would import pandas.
    offsets = np.zeros(len(cells) + 1, np.int32)
    np.cumsum([len(cell or b"") for cell in cells], out=offsets[1:])
    data = pa.py_buffer(b"".join(cell for cell in cells if cell))
    return pa.Array.from_buffers(
        pa.binary(), len(cells), [column.is_valid().buffers()[1], pa.py_buffer(offsets), data], column.null_count
    )


def _last_number(batch: SourceBatch) -> int:
    last_row = int(batch.rows[-1]) if batch.num_rows else 0
    return max(last_row, max((fault.row for fault in batch.faults), default=0))


def _between(batch: SourceBatch, passed: int, limit: int | None) -> SourceBatch | None:
    """The records of `batch` numbered above `passed` and up to `limit`; None if there are none."""
    start = int(np.searchsorted(batch.rows, passed, side="right"))
    stop = batch.num_rows if limit is None else int(np.searchsorted(batch.rows, limit, side="right"))
    faults = [f for f in batch.faults if f.row > passed and (limit is None or f.row <= limit)]
    kept = batch.slice(start, max(start, stop))
    if not kept.num_rows and not faults:
        return None
    return SourceBatch(kept.source, kept.kind, kept.batch, kept.rows, faults)
