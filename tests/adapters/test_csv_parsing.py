"""What a CSV text means: what Python's csv module says it means, for any text, in any dialect, whatever the blocks."""

import csv
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.adapters.csv_files import (
    COMMENT,
    Style,
    blocks_of,
    encode,
    read_batches,
    read_faults,
    read_records,
    read_rows,
    records_of,
    styles,
    texts,
)
from zoopipe_core.adapters import csv_reader
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.batches.source import Fault
from zoopipe_core.errors import RecordTooLongError

styled_texts = styles.flatmap(lambda style: st.tuples(st.just(style), texts(style)))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that is written over and over."""
    return tmp_path_factory.mktemp("csv") / "in.csv"


class _Switch:
    """In place of the switch: whether kernels may cut."""

    def __init__(self, on: bool) -> None:
        self._on = on

    def ready(self, rows: int) -> bool:
        return self._on


@pytest.fixture(scope="module", params=["pyarrow", "kernel"], autouse=True)
def cut_by(request: pytest.FixtureRequest) -> Iterator[str]:
    """What cuts the texts: pyarrow's parser, or a kernel, run as Python where it was not compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "SWITCH", _Switch(request.param == "kernel"))
        yield request.param


# ---- against the csv module -----------------------------------------------------------------------------------------


def expected(text: str, style: Style, width: int, comment: str | None) -> dict[int, list[bytes] | Fault]:
    """What the adapter has to make of the text; a fault's message is left out."""
    outcome: dict[int, list[bytes] | Fault] = {}
    for number, record in enumerate(records_of(text, style, comment), 1):
        if not record.closed:
            outcome[number] = Fault(number, "unclosed_quote", "", "")
        elif len(record.cells) == width:
            outcome[number] = record.cells
        else:
            outcome[number] = Fault(number, "ragged_row", "", encode(record.text).decode("utf-8", "backslashreplace"))
    return outcome


def found(adapter: CSVInputAdapter, batch_size: int) -> dict[int, list[bytes | None] | Fault]:
    return {
        number: Fault(row.row, row.type, "", row.raw if row.type == "ragged_row" else "")
        if isinstance(row, Fault)
        else row
        for number, row in read_records(adapter, batch_size=batch_size).items()
    }


@given(
    styled_texts,
    st.integers(1, 3),
    st.sampled_from([None, COMMENT]),
    st.sampled_from([16, 100, 4096]),
    st.sampled_from([2, 1000]),
)
@example((Style(), 'x,y\n"1\n'), 2, None, 4096, 1000)
@example((Style(), "\ufeff"), 1, None, 4096, 1000)
@example((Style(), ","), 3, None, 4096, 1000)
def test_any_text_is_cut_as_the_csv_module_cuts_it(
    path: Path, styled: tuple[Style, str], width: int, comment: str | None, block: int, batch_size: int
) -> None:
    style, text = styled
    path.write_bytes(b"a title\n" + encode(text))
    names = [f"c{n}" for n in range(width)]
    adapter = CSVInputAdapter(path, **vars(style), fieldnames=names, comment=comment, skip_rows=1)
    with blocks_of(block):
        assert found(adapter, batch_size) == expected(text, style, width, comment)


cells = st.text(st.sampled_from("\",;\n\r\t\\'# aé日😀\0\ufeff"), max_size=6)


@given(
    styles,
    st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1)),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([16, 100, 4096]),
)
@example(Style(), [["", "\0日", '"😀\r', ";;;"]], "\n", 16)  # a NUL hides the quotes behind it from pyarrow
def test_what_the_csv_module_quotes_comes_back_as_it_was(
    path: Path, style: Style, rows: list[list[str]], lineterminator: str, block: int
) -> None:
    if style.quotechar is None:
        style = Style(style.delimiter, '"', style.escapechar, style.doublequote)
    if style.escapechar is None:
        style = Style(style.delimiter, style.quotechar, None, True)
    buffer = io.StringIO(newline="")
    csv.writer(buffer, **vars(style), quoting=csv.QUOTE_ALL, lineterminator=lineterminator).writerows(rows)
    path.write_bytes(f"a title\n{buffer.getvalue()}".encode("utf-8-sig"))
    adapter = CSVInputAdapter(path, **vars(style), fieldnames=[f"c{n}" for n in range(len(rows[0]))], skip_rows=1)
    with blocks_of(block):
        assert read_rows(adapter) == rows


@pytest.mark.parametrize("cell", ["a\r\nb", "\r\n\r\n", "\n\r", "\0,\0\n", '"\0\r"', '\0日\n"\'"'])
def test_a_cell_is_the_same_wherever_blocks_cut_it(path: Path, cell: str) -> None:
    quoted = cell.replace('"', '""')
    for size in range(40):
        record = f'{"x" * size},"{quoted}"'
        path.write_text("a,b\n" + "1,2\n" * 9 + f"{record}\n{record}\r\n", newline="")
        with blocks_of(64):
            assert read_rows(CSVInputAdapter(path)) == [["1", "2"]] * 9 + [["x" * size, cell]] * 2


@given(st.lists(st.sampled_from(["1,a\n", '"x\ny",b\r\n', ",\n", '"#",c\n', 'd,"#\n#"\n']), max_size=20), st.data())
def test_comments_between_records_change_nothing(path: Path, records: list[str], data: st.DataObject) -> None:
    remark = st.sampled_from(["", "", "#\n", '# an "odd" one\r\n', '#",\n##\n'])
    path.write_text("".join(data.draw(remark) + record for record in records) + data.draw(remark), newline="")
    commented = read_records(CSVInputAdapter(path, fieldnames=["x", "y"], comment="#"))
    path.write_text("".join(records), newline="")
    assert commented == read_records(CSVInputAdapter(path, fieldnames=["x", "y"]))


# ---- records that are no rows ---------------------------------------------------------------------------------------


def test_a_ragged_row_is_a_fault_with_its_number_and_text_and_its_neighbours_stay(path: Path) -> None:
    path.write_text('a,b\n1,2\n3\n"4",5,"6\n7"\n\n8,9\n')
    first, short, long, last = read_records(CSVInputAdapter(path)).values()
    assert (first, last) == ([b"1", b"2"], [b"8", b"9"])
    assert short == Fault(2, "ragged_row", "the row has 1 cell where the header has 2", "3")
    assert long == Fault(3, "ragged_row", "the row has 3 cells where the header has 2", '"4",5,"6\n7"')


@pytest.mark.parametrize("count", [1, 2, 3000])
def test_a_file_of_ragged_rows_alone_loses_none_of_them(path: Path, count: int) -> None:
    path.write_text("a,b\n" + "x\n" * count)
    with blocks_of(256):
        assert [fault.row for fault in read_faults(CSVInputAdapter(path))] == list(range(1, count + 1))


@pytest.mark.parametrize("columns", [frozenset({"a"}), frozenset({"b"}), frozenset(), None])
@pytest.mark.parametrize(
    ("tail", "raw"),
    [
        ('"', '"'),
        ('x,"y\n3,4\n5,6', 'x,"y\n3,4\n5,6'),
        ('x,"y\n3,4\n5,6\n', 'x,"y\n3,4\n5,6\n'),
        ('x,"y""', 'x,"y""'),
        ('"x\ny,z', '"x\ny,z'),
        ('x,y,"z', 'x,y,"z'),
        ('"é\udcff', '"é\\xff'),
    ],
)
def test_a_last_record_whose_quote_is_never_closed_is_a_fault_with_what_it_swallowed(
    path: Path, tail: str, raw: str, columns: frozenset[str] | None
) -> None:
    path.write_bytes(encode("a,b\n1,2\nragged\n" + tail))
    batches = read_batches(CSVInputAdapter(path), columns=columns, keep_all=columns is not None and "a" in columns)
    assert [number for batch in batches for number in batch.rows.tolist()] == [1]
    ragged, unclosed = [fault for batch in batches for fault in batch.faults]
    assert (ragged.row, ragged.type) == (2, "ragged_row")
    assert (unclosed.row, unclosed.type) == (3, "unclosed_quote")
    assert unclosed.message == "a quote opens in this record and is never closed"
    if columns is None or "a" in columns:  # otherwise the record's other cells were never read
        assert unclosed.raw.rstrip("\n") == raw.rstrip("\n")


@pytest.mark.parametrize("record", ["2\\", "\\", "2,\\", "2,3\\", "2,3,4\\"])
def test_an_escape_character_at_the_end_of_the_file_is_a_fault(path: Path, record: str) -> None:
    path.write_text("a,b\n1,2\n" + record)
    [fault] = read_faults(CSVInputAdapter(path, escapechar="\\"))
    assert (fault.row, fault.message, fault.raw) == (2, "an escape character ends the file", record)
    path.write_text("a\n1\n2\\")
    [fault] = read_faults(CSVInputAdapter(path, escapechar="\\"))
    assert (fault.row, fault.message, fault.raw) == (2, "an escape character ends the file", "2\\")


def test_bytes_that_are_no_utf_8_arrive_as_they_are(path: Path) -> None:
    path.write_bytes(b"a,b\n\xff,\xc3\n\xe2\x82,\xf4\x90\x80\x80\n\xed\xa0\x80\n")
    first, second, ragged = read_records(CSVInputAdapter(path)).values()
    assert (first, second) == ([b"\xff", b"\xc3"], [b"\xe2\x82", b"\xf4\x90\x80\x80"])
    assert isinstance(ragged, Fault)
    assert ragged.raw == "\\xed\\xa0\\x80"


def test_cells_beside_such_bytes_stay_as_they_are_and_none_stays_none(path: Path) -> None:
    path.write_bytes(b"a,b\nNA,\xff\nx,NA\n,\0\n\0\0,y\nNA,NA\n")
    rows = list(read_records(CSVInputAdapter(path, null_values=["NA"]), batch_size=2).values())
    assert rows == [[None, b"\xff"], [b"x", None], [b"", b"\0"], [b"\0\0", b"y"], [None, None]]


# ---- records that are long ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("comment", [None, "#"])
def test_a_record_longer_than_a_block_is_read_and_nothing_is_read_twice(path: Path, comment: str | None) -> None:
    rows = [[str(number), "x" * (3000 if number in (50, 90) else 3)] for number in range(100)]
    path.write_text("".join(f"{number},{text}\n" for number, text in rows))
    with blocks_of(256):
        adapter = CSVInputAdapter(path, fieldnames=["a", "b"], comment=comment, limit=98)
        assert read_rows(adapter, batch_size=7) == rows[:98]


@pytest.mark.parametrize("comment", [None, "#"])
def test_a_record_longer_than_the_cap_fails_and_the_rows_before_it_were_given(path: Path, comment: str | None) -> None:
    path.write_text("a,b\n" + "1,2\n" * 1000 + '3,"' + "x" * 20_000 + '"\n')
    message = r"in\.csv: .*record.* is longer than 5,000 bytes; an unclosed quote\? Raise max_record_bytes"
    adapter = CSVInputAdapter(path, comment=comment, max_record_bytes=5000)
    with blocks_of(1000), adapter.open(ReadRequest()) as reader:
        batches = iter(reader)
        assert next(batches).num_rows > 0
        with pytest.raises(RecordTooLongError, match=message):
            list(batches)


def test_a_pipe_is_read_once_and_a_record_that_would_need_a_second_time_says_so(tmp_path: Path, cut_by: str) -> None:
    fifo = tmp_path / "pipe.csv"

    def read(text: str) -> list[list[str | None]]:
        os.mkfifo(fifo)
        writer = threading.Thread(target=fifo.write_text, args=(text,))
        writer.start()
        try:
            with blocks_of(1000):
                return read_rows(CSVInputAdapter(fifo))
        finally:
            writer.join()
            fifo.unlink()

    assert read("a,b\n1,2\n") == [["1", "2"]]
    if cut_by == "kernel":  # which goes on with a larger block
        assert read("a,b\n1," + "x" * 5000 + "\n") == [["1", "x" * 5000]]
        return
    with pytest.raises(RecordTooLongError, match="it is a pipe, which cannot be read again"):
        read("a,b\n1," + "x" * 5000 + "\n")
