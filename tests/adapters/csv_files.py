"""CSV texts of every kind, what Python's own csv module makes of them, and what the adapter does."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from zoopipe_core.adapters import csv_reader
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.adapters.csv_header import split_lines
from zoopipe_core.batches.source import Fault, SourceBatch

COMMENT = "#"
# What means something to a parser, or to this one's own bookkeeping; ``\udcXX`` is a byte that is no UTF-8.
SPECIAL = ["\n", "\n", "\r", "\r\n", " ", COMMENT, "\0", "\x05", "\ufeff", "\x85", "\u2028", "\U0010f780", "\udc80"]
PLAIN = ["a", "b", "1", "é", "日", "😀", "\udcff", "\udcc3"]
_END = "\x1aend of the text\x1a"


@dataclass(frozen=True)
class Style:
    """A dialect, in the words of the csv module."""

    delimiter: str = ","
    quotechar: str | None = '"'
    escapechar: str | None = None
    doublequote: bool = True

    @property
    def quoting(self) -> int:
        return csv.QUOTE_NONE if self.quotechar is None else csv.QUOTE_MINIMAL


styles = st.builds(
    Style,
    delimiter=st.sampled_from([",", ";", "\t", "|", " "]),
    quotechar=st.sampled_from(['"', '"', "'", None]),
    escapechar=st.sampled_from([None, "\\"]),
    doublequote=st.booleans(),
)


def texts(style: Style) -> st.SearchStrategy[str]:
    """Any text, well formed or not, rich in what means something in this style."""
    marks = [style.delimiter, style.quotechar, style.escapechar]
    own = [mark for mark in marks if mark is not None]
    text = st.lists(st.sampled_from(own * 3 + SPECIAL + PLAIN), max_size=40).map("".join)
    if style.quotechar is None or style.escapechar is None:
        return text
    # Behind a closing quote, an escape character is a plain one for the csv module and none for pyarrow.
    return text.filter(lambda text: f"{style.quotechar}{style.escapechar}" not in text)


@dataclass(frozen=True)
class Record:
    """A record as the csv module sees it: its cells, its text without the line break, whether it ends."""

    cells: list[bytes]
    text: str
    closed: bool = True


def records_of(text: str, style: Style = Style(), comment: str | None = None) -> list[Record]:
    """The records of a text, without blank lines and comments."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in split_lines(f"{text}\n{_END}"):
            if taken or comment is None or not line.startswith(comment):
                taken.append(line)
                yield line

    records = []
    for cells in csv.reader(lines(), **vars(style), quoting=style.quoting):
        raw = "".join(taken)
        taken.clear()
        if cells and raw != _END:
            closed = _END not in raw
            raw = re.sub(r"(\r\n|\r|\n)\Z", "", raw.removesuffix(_END))
            records.append(Record([encode(cell) for cell in cells], raw, closed))
    return records


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


@contextmanager
def blocks_of(size: int) -> Iterator[None]:
    """Let the parser look at blocks of this size, so that records lie across their borders."""
    before = csv_reader.BLOCK_BYTES
    csv_reader.BLOCK_BYTES = size
    try:
        yield
    finally:
        csv_reader.BLOCK_BYTES = before


def read_batches(adapter: CSVInputAdapter, **request: Any) -> list[SourceBatch]:
    with adapter.open(ReadRequest(**request)) as reader:
        return list(reader)


def read_records(adapter: CSVInputAdapter, **request: Any) -> dict[int, list[bytes | None] | Fault]:
    """Number -> cells or fault, of one file; that numbers rise and that no batch is too long is checked."""
    records: dict[int, list[bytes | None] | Fault] = {}
    last = 0
    for batch in read_batches(adapter, **request):
        assert batch.num_rows <= request.get("batch_size", 65_536)
        numbers = batch.rows.tolist()
        found: dict[int, list[bytes | None] | Fault] = {fault.row: fault for fault in batch.faults}
        assert len(found) == len(batch.faults)
        assert found.keys().isdisjoint([*numbers, *records])
        columns = [column.to_pylist() for column in batch.batch.columns]
        found.update((number, [column[index] for column in columns]) for index, number in enumerate(numbers))
        assert [last, *numbers] == sorted({last, *numbers})
        last = max([last, *numbers])
        records.update(found)
    return dict(sorted(records.items()))


def read_rows(adapter: CSVInputAdapter, **request: Any) -> list[list[str | None]]:
    """The cells of all rows as text; there must be no faults."""
    rows: list[list[str | None]] = []
    for batch in read_batches(adapter, **request):
        assert not batch.faults
        columns = [[None if cell is None else cell.decode() for cell in c.to_pylist()] for c in batch.batch.columns]
        rows.extend(list(row) for row in zip(*columns, strict=True))
    return rows


def read_faults(adapter: CSVInputAdapter, **request: Any) -> list[Fault]:
    return [fault for batch in read_batches(adapter, **request) for fault in batch.faults]
