"""CSV cut into columns by pyarrow's parser: without kernels, and where a dialect has an escape character."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from zoopipe_core.adapters.csv_dialect import END_MARK
from zoopipe_core.adapters.csv_faults import MAX_RAW_CHARS, ragged_fault, readable, unclosed_fault
from zoopipe_core.adapters.csv_file import OpenCSV
from zoopipe_core.adapters.csv_stream import ParserInput, ParserStream, mark_bytes, restore_bytes
from zoopipe_core.batches.source import Fault, SourceBatch, SourceKind, number_rows
from zoopipe_core.errors import CorruptSourceError

__all__ = ["ArrowParser", "BlockTooSmallError"]

_MARK_TEXT = END_MARK.decode()


class BlockTooSmallError(Exception):
    """A record did not fit the block; read again with a larger one."""


class ArrowParser:
    """One pass of pyarrow's parser over a file."""

    def __init__(self, file: OpenCSV, wanted: Sequence[int], block: int) -> None:
        adapter = file.adapter
        self._file = file
        self._dialect = adapter.dialect
        self._input = ParserInput(file.body)
        self._stream: ParserStream | None = None
        self._before = file.piece.first_row - 1
        self._faults: list[Fault] = []
        self._closed = False
        self._width = len(file.names)
        self._wanted = wanted
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
            self._faults.append(unclosed_fault(number, _readable(_without_mark(text)), self._dialect.escapechar))
        else:
            self._faults.append(ragged_fault(number, row.actual_columns, self._width, _readable(text)))
        return "skip"

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
                    first = max(first, batch.last_record + 1)
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
            return BlockTooSmallError()
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
        self._faults.append(unclosed_fault(number, _readable(raw), self._dialect.escapechar))
        return last.slice(0, count - 1)


def _readable(text: str) -> str:
    return readable(restore_bytes(text[:MAX_RAW_CHARS]))


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
