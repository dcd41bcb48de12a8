"""CSV cut into cells by a kernel: the cells stay where they were read, and are judged there.

This is how CSV is read once kernels are ready; before, and where a dialect has an escape character, pyarrow's parser
does it, with the same outcome.

    read 4 MiB ──▶ block: [ rest of the last record | text | margin | room for unquoted cells ]
                     └─ split_fields ──▶ starts, ends of each cell ──▶ TextColumns
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from zoopipe_core.adapters.csv_dialect import Dialect
from zoopipe_core.adapters.csv_faults import LongRecordError, ragged_fault, readable, unclosed_fault
from zoopipe_core.adapters.encodings import Readable, read_into
from zoopipe_core.batches.pools import place_array, source_block
from zoopipe_core.batches.source import Fault, SourceBatch, SourceKind, number_rows
from zoopipe_core.batches.text_columns import TextColumns
from zoopipe_core.kernels._jit import SURE
from zoopipe_core.kernels.buffers import TextCells
from zoopipe_core.kernels.fields import CONTROLS, FAULT_NUMBERS, MARGIN, NOT_ASCII, split_fields
from zoopipe_core.kernels.text import match_words, word_table

__all__ = ["FieldParser"]

MAX_FAULTS = 1024
"""Records that are no rows and are found in one call."""

BLANK, NEWLINE = b" \n"
_CONTROLS = frozenset({*range(BLANK), ord("\\")})
_BEYOND_ASCII = frozenset(range(128, 256))

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
Offsets = npt.NDArray[np.int32]


class FieldParser:
    """One pass over the records of a text.

    Args:
        source: the text, UTF-8, from a record on.
        dialect: without an escape character.
        names: the columns.
        wanted: indices of those to deliver.
        nulls: texts that stand for null.
        quoted_nulls: whether they do within quotes, too.
        label: the source's name.
        first: the number of the first record.
        batch_size: rows that a batch has at most.
        block: bytes to read at a time.
        longest: bytes that a record may have at most.
    """

    def __init__(
        self,
        source: Readable,
        dialect: Dialect,
        names: Sequence[str],
        wanted: Sequence[int],
        nulls: Sequence[str],
        quoted_nulls: bool,
        label: str,
        first: int,
        batch_size: int,
        block: int,
        longest: int,
    ) -> None:
        self._source = source
        self._delimiter = ord(dialect.delimiter)
        self._quote = -1 if dialect.quotechar is None else ord(dialect.quotechar)
        self._doubled = int(dialect.doublequote)
        self._width = len(names)
        self._names = [names[index] for index in wanted]
        self._slots = np.full(len(names), -1, np.int32)
        self._slots[list(wanted)] = np.arange(len(wanted), dtype=np.int32)
        self._nulls = word_table([text.encode("utf-8", "surrogatepass") for text in nulls]) if nulls else None
        self._quoted_nulls = quoted_nulls
        marks = frozenset({self._delimiter, self._quote, *b"\r\n"}) - {-1}
        self._absent = [[_absent(unusual, marks, marked) for marked in (False, True)] for unusual in range(4)]
        self._label = label
        self._next = first
        self._batch_size = batch_size
        self._block, self._longest = block, longest
        self._stopped = False

    def end(self) -> None:
        """Read no further block."""
        self._stopped = True

    def batches(self) -> Iterator[SourceBatch]:
        """The batches; at least one, which may be without a row.

        Raises:
            LongRecordError: a record is longer than it may be.
        """
        rest: Bytes = np.zeros(0, np.uint8)
        told = ended = False
        while not ended and not self._stopped:
            data, size, ended = self._filled(rest)
            notes = np.array([0, size, size + MARGIN, 0, 0, 0], np.int64)
            full = True
            while full and not self._stopped:
                batch, full = self._split(data, notes)
                if batch.num_records:
                    told = True
                    yield batch
            rest = data[int(notes[0]) : size]
            if len(rest) > self._longest:
                raise LongRecordError
        # A line break was put at the end: what did not end there is within quotes.
        if len(rest) and not self._stopped:
            told = True
            yield self._last(unclosed_fault(self._next, readable(rest[:-1].tobytes()), None))
        if not told:
            yield self._last()

    def _filled(self, rest: Bytes) -> tuple[Bytes, int, bool]:
        """Memory with `rest` and the text behind it, as `split_fields` takes it; how much text; whether it is all."""
        # What a long record has so far is cut again each time: it has to grow by as much as there is.
        size, most = len(rest), len(rest) + max(self._block, len(rest))
        data = source_block(2 * (most + 1 + MARGIN))
        data[:size] = rest
        view, ended = data.data, False
        while size < most and not ended:
            count = read_into(self._source, view[size:most])
            size += count
            ended = not count
        if ended:
            data[size] = NEWLINE
            size += 1
        data[size : size + MARGIN] = BLANK
        return data, size, ended

    def _split(self, data: Bytes, notes: Numbers) -> tuple[SourceBatch, bool]:
        """The records from ``notes[0]`` on; and whether there may be more."""
        slots, size = self._slots, int(notes[1])
        shortest = max(2, self._width)  # bytes that a record takes at least
        capacity = max(1, min(self._batch_size, (size - int(notes[0])) // shortest))
        starts, ends = (place_array(max(1, len(self._names)) * capacity) for _ in range(2))
        marked = np.zeros(len(self._names), np.uint8)
        found = np.zeros(MAX_FAULTS * FAULT_NUMBERS, np.int64)
        split_fields(data, self._delimiter, self._quote, self._doubled, slots, starts, ends, marked, found, notes)
        count, wrong = int(notes[3]), int(notes[4])
        absent = self._absent[int(notes[5])]
        cells = []
        for index in range(len(self._names)):
            place = slice(index * capacity, index * capacity + count)
            cells.append(self._cells(data, size, starts[place], ends[place], absent[marked[index]]))
        first, self._next = self._next, self._next + count + wrong
        numbers = number_rows(first, count + wrong)
        faults = []
        for index, (before, start, end, fields) in enumerate(found[: wrong * FAULT_NUMBERS].reshape(-1, 4).tolist()):
            raw = readable(data[start:end].tobytes())
            faults.append(ragged_fault(first + before + index, fields, self._width, raw))
        if faults:
            numbers = np.setdiff1d(numbers, [fault.row for fault in faults], assume_unique=True)
        batch = SourceBatch(self._label, SourceKind.TEXT, TextColumns(self._names, cells, count), numbers, faults)
        return batch, count == capacity or wrong == MAX_FAULTS

    def _cells(self, data: Bytes, size: int, starts: Offsets, ends: Offsets, absent: frozenset[int]) -> TextCells:
        nulls = None
        if self._nulls is not None and len(starts):
            state = np.full(len(starts), SURE, np.uint8)
            match_words(data, starts, ends, *self._nulls, np.zeros(len(starts), np.int32), state)
            nulls = state == SURE
            if not self._quoted_nulls:
                # Behind a quote, or out of place since there was more within the quotes than text.
                nulls &= (starts == 0) | ((data[starts - 1] != self._quote) & (starts < size))
            if not nulls.any():
                nulls = None
        return TextCells(data, starts, ends, nulls, absent=absent)

    def _last(self, *faults: Fault) -> SourceBatch:
        """A batch without rows."""
        nothing = np.zeros(0, np.uint8), np.zeros(0, np.int32), np.zeros(0, np.int32), None
        columns = TextColumns(self._names, [TextCells(*nothing) for _ in self._names], 0)
        return SourceBatch(self._label, SourceKind.TEXT, columns, number_rows(1, 0), faults)


def _absent(unusual: int, marks: frozenset[int], marked: bool) -> frozenset[int]:
    """Bytes that are in no cell of a column, given what `split_fields` says that there may be."""
    absent = _CONTROLS if not unusual & CONTROLS else frozenset[int]()
    absent = absent - marks if marked else absent | marks
    return absent if unusual & NOT_ASCII else absent | _BEYOND_ASCII
