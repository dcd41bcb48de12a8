"""The reading side of CSV: pyarrow's parser, one file after the other, as batches of undecoded columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from zoopipe_core.adapters.base import Reader, ReadRequest
from zoopipe_core.adapters.csv_dialect import (
    END_MARK,
    CommentFilter,
    ParserInput,
    Pushback,
    read_header,
    restore_bytes,
    unique_names,
)
from zoopipe_core.adapters.encodings import Readable, Utf8Stream
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.paths import expand_paths, file_size, strip_credentials
from zoopipe_core.batches.source import Fault, SourceBatch, SourceKind, number_rows
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.errors import CorruptSourceError, RecordTooLongError

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv import CSVInputAdapter

__all__ = ["CSVReader"]

BLOCK_BYTES = 4 * 2**20
MAX_RAW_CHARS = 64 * 1024
_MARK_TEXT = END_MARK.decode()


class _TooLong(Exception):
    """A record did not fit the block; read again with a larger one."""


class _File:
    """One CSV file, its header read."""

    def __init__(self, adapter: CSVInputAdapter, path: str) -> None:
        self.adapter = adapter
        self.path = path
        self.label = strip_credentials(path)
        self.source, self.body, names = self._open()
        self.names, self.duplicates = unique_names(names)

    def _open(self) -> tuple[ByteSource, Readable, list[str]]:
        adapter = self.adapter
        source = ByteSource(self.path, adapter.compression, adapter.limits)
        try:
            stream = Pushback(Utf8Stream(source, adapter.encoding))
            stream.skip_lines(adapter.skip_rows)
            if adapter.comment is not None:
                stream = Pushback(CommentFilter(stream, adapter.dialect, adapter.max_record_bytes))
            if adapter.fieldnames is not None:
                return source, stream, list(adapter.fieldnames)
            names, body = read_header(stream, adapter.dialect, self.label, adapter.max_record_bytes)
        except BaseException:
            source.close()
            raise
        return source, body, names

    def reopen(self) -> None:
        """Back to the first record."""
        self.source.close()
        self.source, self.body, _ = self._open()

    def close(self) -> None:
        self.source.close()


class CSVReader(Reader):
    """Batches of binary columns, with the number of each row and the records that are no rows."""

    def __init__(self, adapter: CSVInputAdapter, request: ReadRequest) -> None:
        self._adapter = adapter
        self._request = request
        self._paths = expand_paths(adapter.path)  # type: ignore[arg-type]  # normalized by the adapter
        self._file: _File | None = _File(adapter, self._paths[0])
        self._first_names = list(self._file.names)
        self._duplicates = self._file.duplicates
        self._sizes = _sizes(self._paths)
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
    def bytes_read(self) -> int:
        return self._done_bytes + (self._file.source.position if self._file else 0)

    @property
    def fraction(self) -> float | None:
        total = sum(self._sizes) if None not in self._sizes else 0  # type: ignore[arg-type]
        return min(1.0, self.bytes_read / total) if total else None

    def close(self) -> None:
        if self._file is not None:
            self._done_bytes += self._file.source.position
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[SourceBatch]:
        for index, path in enumerate(self._paths):
            if self._file is None:
                if index == 0:
                    return
                self._file = _File(self._adapter, path)
            for batch in self._read_file(self._file):
                yield from batch.split(self._request.batch_size)
            self.close()

    def _read_file(self, file: _File) -> Iterator[SourceBatch]:
        """All batches of one file. Where a block turns out too small for a record, the file is read once more from
        its start with the largest block, and what was already handed on is passed over.
        """
        block, passed = BLOCK_BYTES, 0
        limit = self._adapter.limit
        while True:
            try:
                for batch in _Parse(self._adapter, self._request, file, block).batches():
                    kept = _between(batch, passed, limit)
                    passed = max(passed, _last_number(batch))
                    if kept is not None:
                        yield kept
                    if limit is not None and passed >= limit:
                        return
                return
            except _TooLong:
                if block >= self._adapter.max_record_bytes:
                    raise RecordTooLongError(
                        f"{file.label}: the record after row {passed:,} or soon behind it is longer than "
                        f"{self._adapter.max_record_bytes:,} bytes; an unclosed quote? Raise max_record_bytes if it is "
                        "right, or pass quotechar=None if quotes mean nothing in this file"
                    ) from None
                block = self._adapter.max_record_bytes
            file.reopen()


class _Parse:
    """One pass of pyarrow's parser over a file."""

    def __init__(self, adapter: CSVInputAdapter, request: ReadRequest, file: _File, block: int) -> None:
        self._file = file
        self._input = ParserInput(file.body)
        self._faults: list[Fault] = []
        self._closed = False
        self._width = len(file.names)
        self._wanted = [i for i, name in enumerate(file.names) if request.wants(name)]
        nulls = list(adapter.null_values)
        # With one column the end mark is a row like any other, and has to be seen.
        included = self._wanted or ([0] if self._width else [])
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
            column_types={str(i): pa.binary() for i in included},
            include_columns=[str(i) for i in included],
            null_values=nulls,
            strings_can_be_null=bool(nulls),
            quoted_strings_can_be_null=adapter.quoted_nulls,
            check_utf8=False,
        )

    def _on_invalid_row(self, row: arrow_csv.InvalidRow) -> str:
        text = row.text
        if text == _MARK_TEXT:
            self._closed = True
            return "skip"
        self._faults.append(self._ragged(row.number, row.actual_columns, text))
        return "skip"

    def _ragged(self, number: int, actual: int, text: str) -> Fault:
        raw, open_quote = self._original(text)
        if open_quote:
            self._closed = True
            return _unclosed(number, raw)
        message = f"the row has {actual} cells where the header has {self._width}"
        return Fault(number, "ragged_row", message, raw)

    def _original(self, text: str) -> tuple[str, bool]:
        """The record's text as it stood in the file, and whether it swallowed the end mark."""
        open_quote = _MARK_TEXT in text
        if open_quote:
            text = text[: text.index(_MARK_TEXT)].removesuffix("\n")
        return restore_bytes(text[:MAX_RAW_CHARS]).decode("utf-8", "backslashreplace"), open_quote

    def batches(self) -> Iterator[SourceBatch]:
        first = 1
        held: SourceBatch | None = None
        try:
            reader = arrow_csv.open_csv(pa.PythonFile(self._input, mode="r"), self._read, self._parse, self._convert)
            while True:
                try:
                    record_batch = reader.read_next_batch()
                except StopIteration:
                    break
                batch = self._numbered(record_batch, first)
                first = _last_number(batch) + 1 if batch.num_records else first
                if held is not None:
                    yield held
                held = batch
        except pa.ArrowInvalid as error:
            raise self._translated(error) from error
        rest = self._numbered(pa.RecordBatch.from_arrays([], names=[]), first, final=True)
        if held is not None:
            yield from self._without_end_mark(held, rest)
        elif rest.num_records:
            yield rest

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
        names = [self._file.names[i] for i in self._wanted]
        columns = record_batch.columns[: len(names)] if record_batch.num_columns else []
        if self._input.marked:
            columns = [_restored(column) for column in columns]
        batch = pa.RecordBatch.from_arrays(columns, names=names[: len(columns)])
        return SourceBatch(self._file.label, SourceKind.TEXT, batch, numbers[:count], faults)

    def _without_end_mark(self, last: SourceBatch, rest: SourceBatch) -> Iterator[SourceBatch]:
        """The last batch without the end mark. If the mark did not come back as a record, a quote was left open and
        the last row swallowed it: that row is no row.
        """
        faults = [*last.faults, *rest.faults]
        count = last.num_rows
        if self._width == 1 and count:
            # The mark is a row of its own.
            text = bytes(last.batch.column(0)[count - 1].as_py() or b"") if last.batch.num_columns else END_MARK
            count -= 1
            if text != END_MARK:
                raw, _ = self._original(text.decode("utf-8", "backslashreplace"))
                faults.append(_unclosed(int(last.rows[count]), raw))
        elif not self._closed and count:
            count -= 1
            cells = [_cell(column[count].as_py()) for column in last.batch.columns]
            raw, _ = self._original(self._file.adapter.delimiter.join(cells))
            faults.append(_unclosed(int(last.rows[count]), raw))
        kept = last.slice(0, count)
        yield SourceBatch(kept.source, kept.kind, kept.batch, kept.rows, sorted(faults, key=lambda f: f.row))


def _unclosed(row: int, raw: str) -> Fault:
    return Fault(row, "unclosed_quote", "a quote opens in this record and is never closed", raw[:MAX_RAW_CHARS])


def _cell(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")


def _restored(column: pa.Array) -> pa.Array:
    """The column with the bytes that `ParserInput` replaced put back."""
    cells = (None if cell is None else restore_bytes(cell.decode()) for cell in column.to_pylist())
    return pa.array(cells, pa.binary())


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


def _sizes(paths: list[str]) -> list[int | None]:
    return [file_size(path) for path in paths]
