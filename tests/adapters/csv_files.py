"""CSV files made by Python's own csv module, and what an adapter reads from them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from zoopipe_core.adapters import csv_reader
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.batches.source import Fault, SourceBatch

# Everything that has a meaning in some dialect or in the parser's own bookkeeping.
SPECIAL = ['"', "'", ",", ";", "\t", "|", "\n", "\r", "\r\n", "\\", "#", " ", "\0", "\ufeff", "\x05", "\x15"]
PLAIN = ["a", "b", "0", "NA", "é", "ÿ", "日本", "😀", "\U0010f780\U0010f7ff", "\u2028", "\x85"]
cells = st.lists(st.sampled_from(SPECIAL + PLAIN), max_size=6).map("".join)


@dataclass(frozen=True)
class Style:
    """How a file is written, in the words of the csv module."""

    delimiter: str = ","
    quotechar: str | None = '"'
    escapechar: str | None = None
    doublequote: bool = True
    quoting: int = csv.QUOTE_MINIMAL
    lineterminator: str = "\n"

    def write(self, rows: Sequence[Sequence[str]]) -> str:
        buffer = io.StringIO(newline="")
        csv.writer(buffer, **vars(self)).writerows(rows)
        return buffer.getvalue()

    def read(self, text: str) -> list[list[str]]:
        options = {name: value for name, value in vars(self).items() if name != "lineterminator"}
        return [row for row in csv.reader(io.StringIO(text, newline=""), **options) if row]

    @property
    def options(self) -> dict[str, Any]:
        """What the adapter has to be told."""
        return {
            "delimiter": self.delimiter,
            "quotechar": None if self.quoting == csv.QUOTE_NONE else self.quotechar,
            "escapechar": self.escapechar,
            "doublequote": self.doublequote,
        }


_quoted = st.builds(
    Style,
    delimiter=st.sampled_from([",", ";", "\t", "|", " "]),
    quotechar=st.sampled_from(['"', "'"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    lineterminator=st.sampled_from(["\n", "\r\n", "\r"]),
)
_escaped = st.builds(
    Style,
    delimiter=st.sampled_from([",", "\t"]),
    escapechar=st.just("\\"),
    doublequote=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    lineterminator=st.sampled_from(["\n", "\r\n"]),
)
_unquoted = st.builds(
    Style, escapechar=st.just("\\"), quoting=st.just(csv.QUOTE_NONE), lineterminator=st.sampled_from(["\n", "\r\n"])
)
styles = st.one_of(_quoted, _escaped, _unquoted)


@st.composite
def tables(draw: st.DrawFn, style: Style = Style(), min_rows: int = 0, max_rows: int = 30) -> list[list[str]]:
    """Rows of equal width that the csv module itself writes and reads without loss in this style."""
    width = draw(st.integers(1, 5))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=min_rows, max_size=max_rows))
    if style.quoting != csv.QUOTE_ALL:
        # The csv module quotes only the line breaks of its own line ends, but cuts lines at all of them.
        rows = [[cell if set(cell) & set(style.lineterminator) else _on_one_line(cell) for cell in row] for row in rows]
        if len(style.lineterminator) == 1:
            other = "\r" if style.lineterminator == "\n" else "\n"
            rows = [[cell.replace(other, "") for cell in row] for row in rows]
    if style.quoting == csv.QUOTE_NONE and width == 1:
        rows = [[row[0] or "x"] for row in rows]
    return rows


def _on_one_line(cell: str) -> str:
    return cell.replace("\r", "").replace("\n", "")


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


def read_rows(adapter: CSVInputAdapter, **request: Any) -> dict[int, list[bytes | None]]:
    """Row number -> cells, of the rows alone; that numbers rise and that no batch is too long is checked."""
    rows: dict[int, list[bytes | None]] = {}
    for batch in read_batches(adapter, **request):
        assert batch.num_rows <= request.get("batch_size", 65_536)
        columns = [column.to_pylist() for column in batch.batch.columns]
        for index, number in enumerate(batch.rows.tolist()):
            assert not rows or number > max(rows)
            rows[number] = [column[index] for column in columns]
    return rows


def read_faults(adapter: CSVInputAdapter, **request: Any) -> list[Fault]:
    return [fault for batch in read_batches(adapter, **request) for fault in batch.faults]
