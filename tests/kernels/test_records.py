"""Record ends: found as one would find them byte by byte, in any dialect, from any state, wherever blocks are cut."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from tests.kernels.conftest import RunKernel
from zoopipe_core.adapters.csv_scan import scan_block
from zoopipe_core.kernels.records import (
    BLANK_LINE,
    COMMENT,
    FIELD,
    NONE,
    PLAIN,
    PLAIN_ESCAPE,
    QUOTED,
    QUOTED_ESCAPE,
    QUOTED_QUOTE,
    START,
    VISIBLE_LINE,
    scan_lines,
    scan_records,
)

Characters = tuple[int, int, int, int, int]
"""delimiter, quote, escape, comment, doubled"""
ScanBlock = Callable[..., None]

STATES = [START, QUOTED, FIELD, PLAIN, PLAIN_ESCAPE, QUOTED_ESCAPE, QUOTED_QUOTE, COMMENT]
ESCAPING = {PLAIN_ESCAPE, QUOTED_ESCAPE}

characters = st.tuples(
    st.sampled_from(b",;"),
    st.sampled_from([ord('"'), ord('"'), ord("'"), NONE]),
    st.sampled_from([NONE, NONE, ord("\\")]),
    st.sampled_from([NONE, ord("#")]),
    st.sampled_from([0, 1, 1]),
)
PIECES = [b'"', b'"', b'""', b',"', b'",', b'","', b'"\n"', b",", b";", b"'", b"\\", b"#", b"\n", b"\r", b"\r\n", b"a"]
OTHERS = [b"some text", "é日".encode(), b"\xff\0", b" " * 9]
texts = st.lists(st.sampled_from([*PIECES, *OTHERS]), max_size=40).map(b"".join)


@pytest.fixture(scope="session", params=["kernel", "numpy"])
def scan(request: pytest.FixtureRequest, run_kernel: RunKernel) -> ScanBlock:
    """Scan a block as the kernel does, as Python and compiled, and as NumPy does."""
    return scan_block if request.param == "numpy" else lambda *arguments: run_kernel(scan_records, *arguments)


def bytewise(text: bytes, characters: Characters, state: int) -> tuple[int, int, int]:
    """State, records and the end of the first of them, one byte after the other."""
    delimiter, quote, escape, comment, doubled = characters
    count, first_end, at = 0, NONE, 0
    while at < len(text):
        byte = text[at]
        at += 1
        if state == QUOTED_QUOTE:
            state = QUOTED if byte == quote else PLAIN
            if state == QUOTED:
                continue
        if state in ESCAPING:
            state = PLAIN if state == PLAIN_ESCAPE else QUOTED
        elif state == QUOTED:
            if byte == escape:
                state = QUOTED_ESCAPE
            elif byte == quote:
                state = QUOTED_QUOTE if doubled else PLAIN
        elif state == START and byte == comment:
            state = COMMENT
        elif byte in b"\r\n":
            if text[at - 1 : at + 1] == b"\r\n":
                at += 1
            if state not in (START, COMMENT):
                count += 1
                first_end = at if first_end == NONE else first_end
            state = START
        elif state == COMMENT:
            pass
        elif byte == escape:
            state = PLAIN_ESCAPE
        elif byte == quote and state in (START, FIELD):
            state = QUOTED
        else:
            state = FIELD if byte == delimiter else PLAIN
    return state, count, first_end


def scanned(scan: ScanBlock, blocks: list[bytes], characters: Characters, state: int) -> tuple[int, int, int]:
    """The same by `scan`, block after block."""
    first_end, position = NONE, 0
    notes = np.array([state, 0, NONE], np.int64)
    for block in blocks:
        scan(np.frombuffer(block, np.uint8), *characters, notes)
        if first_end == NONE and notes[2] != NONE:
            first_end = position + int(notes[2])
        position += len(block)
    return int(notes[0]), int(notes[1]), first_end


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """The text in blocks, none of which ends between CR and LF."""
    bounds = sorted({place % (len(text) + 1) for place in places})
    bounds = [0, *(at for at in bounds if text[at - 1 : at + 1] != b"\r\n"), len(text)]
    return [text[start:stop] for start, stop in itertools.pairwise(bounds)]


def is_possible(state: int, characters: Characters) -> bool:
    """Whether a text in this dialect can come into the state."""
    _, quote, escape, comment, doubled = characters
    lacking = {
        QUOTED: quote == NONE,
        QUOTED_QUOTE: quote == NONE or not doubled,
        QUOTED_ESCAPE: quote == NONE or escape == NONE,
        PLAIN_ESCAPE: escape == NONE,
        COMMENT: comment == NONE,
    }
    return not lacking.get(state, False)


@given(texts, characters, st.sampled_from(STATES), st.lists(st.integers(0, 200), max_size=4))
@example(b'"a","b","c"\n"d"', (ord(","), ord('"'), NONE, NONE, 1), START, [4])
@example(b'"a","', (ord(","), ord('"'), NONE, NONE, 0), START, [])
@example(b'\\,"\n,"\n', (ord(","), ord('"'), ord("\\"), NONE, 1), START, [2])
@example(b'x,"a\\"b"\n#"\n', (ord(","), ord('"'), ord("\\"), ord("#"), 1), QUOTED, [5])
def test_records_end_where_they_do_byte_by_byte(
    scan: ScanBlock, text: bytes, characters: Characters, state: int, places: list[int]
) -> None:
    if not is_possible(state, characters):
        state = PLAIN
    if text[:1] == b"\n" and state == START:
        text = b"\r" + text  # else it might be told from a line break that was cut in two
    expected = bytewise(text, characters, state)
    assert scanned(scan, cut(text, places), characters, state) == expected


@given(texts, characters.filter(lambda found: found[3] == NONE))
def test_as_many_records_end_as_the_parser_finds_rows(scan: ScanBlock, text: bytes, characters: Characters) -> None:
    delimiter, quote, escape, _, doubled = characters
    state, count, _ = scanned(scan, [text := text.replace(b"\0", b"")], characters, START)
    if state != START or not count:
        return
    rows = 0

    def skip(row: arrow_csv.InvalidRow) -> str:
        nonlocal rows
        rows += 1
        return "skip"

    found = arrow_csv.read_csv(
        pa.BufferReader(text.replace(b"\xff", b"x")),
        arrow_csv.ReadOptions(use_threads=False, column_names=["a"]),
        arrow_csv.ParseOptions(
            delimiter=chr(delimiter),
            quote_char=False if quote == NONE else chr(quote),
            escape_char=False if escape == NONE else chr(escape),
            double_quote=bool(doubled),
            newlines_in_values=True,
            invalid_row_handler=skip,
        ),
        arrow_csv.ConvertOptions(column_types={"a": pa.binary()}),
    )
    assert rows + found.num_rows == count


def test_a_record_may_be_longer_than_any_block(scan: ScanBlock) -> None:
    record = b'1,"' + b"line\n" * 5000 + b'"\n'
    blocks = [record[at : at + 997] for at in range(0, len(record), 997)]
    assert scanned(scan, blocks, (ord(","), ord('"'), NONE, NONE, 1), START) == (START, 1, len(record))


# ---- lines


def lines_of(text: bytes) -> Iterator[bytes]:
    return (line for line in text.split(b"\n")[:-1] if line.strip(b" \t\r"))


@given(
    st.lists(st.sampled_from([b"\n", b"\n", b"\r\n", b" ", b"\t", b"\r", b"\v", b'{"a": 1}', b"x" * 20])).map(b"".join),
    st.lists(st.integers(0, 200), max_size=4),
)
def test_lines_count_if_there_is_something_in_them(run_kernel: RunKernel, text: bytes, places: list[int]) -> None:
    notes = np.array([BLANK_LINE, 0], np.int64)
    bounds = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    for start, stop in itertools.pairwise(bounds):
        run_kernel(scan_lines, np.frombuffer(text[start:stop], np.uint8), notes)
    rest = text[text.rfind(b"\n") + 1 :]
    assert notes.tolist() == [VISIBLE_LINE if rest.strip(b" \t\r") else BLANK_LINE, len(list(lines_of(text)))]


def test_the_first_line_goes_on_from_the_state(run_kernel: RunKernel) -> None:
    found: dict[int, Any] = {}
    for state in (BLANK_LINE, VISIBLE_LINE):
        notes = np.array([state, 5], np.int64)
        run_kernel(scan_lines, np.frombuffer(b"  \nx", np.uint8), notes)
        found[state] = notes.tolist()
    assert found == {BLANK_LINE: [VISIBLE_LINE, 5], VISIBLE_LINE: [VISIBLE_LINE, 6]}
