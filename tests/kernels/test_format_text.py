"""Texts as JSON strings and CSV fields: byte for byte what pydantic and the CSV writer in Python write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from tests.kernels.conftest import Column, RunKernel, byte_column
from tests.kernels.formatted import constant, form_of, write_cells
from zoopipe_core.adapters.csv_text import CSVFormat
from zoopipe_core.kernels.format_text import (
    ABOVE_ASCII,
    BELOW_BLANK,
    ONE_OF_TWO,
    find_unusual,
    size_csv_text,
    size_json_text,
    size_text,
    write_csv_text,
    write_json_text,
    write_text,
)

NASTY = [
    "", " ", "a", "é", "😀", "\u2028", "\u2029", "\x7f", "\x85", "\ufeff", "\ufeffa", "a\ufeff", "\xff", "\U0010ffff",
    '"', '""', "\\", "/", ",", ";", "\t", "\n", "\r", "\r\n", "'", "a,b", 'say "hi"', "null", "NULL", "NA", "'=1", "=",
    "=1+1", "+1", "-1", "@x", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠1", "＜1", "￥", "=,", '="', "='", "-",
    *map(chr, range(32)), *[f"{'x' * size}{end}" for size in range(20) for end in ("", '"', "\n", "é", ",")],
    *[f"{start}{'x' * size}" for size in range(20) for start in ('"', "\\", "\x00", "😀", "=", "'")],
]  # fmt: skip
BROKEN = [b"\xff", b"a\xc3", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"abcdefgh\x80", b"\x80abcdefgh"]

alphabet = st.sampled_from("ab \"'\\,;\t\r\n\x00\x1f=+-@é＝\ufeff\u2028😀NA") | st.characters(exclude_categories=["Cs"])
texts = st.text(alphabet, max_size=24)
columns = st.lists(st.none() | texts | st.sampled_from(NASTY), max_size=20)

FORMATS = [
    CSVFormat(), CSVFormat(";", "'"), CSVFormat("\t"), CSVFormat("'", '"'), CSVFormat("=", "+"), CSVFormat("|"),
    CSVFormat(null_text="NA"), CSVFormat(null_text="'=1"), CSVFormat(null_text="é"), CSVFormat(null_text="null"),
]  # fmt: skip


def cells_of(values: Sequence[str | None]) -> tuple[Column, np.ndarray[Any, Any]]:
    """The column, with some bytes at null cells, and its form."""
    encoded = ["gap\\\xff,".encode("latin-1") if value is None else value.encode() for value in values]
    return byte_column(encoded), form_of([value is not None for value in values])


def format_json(run_kernel: RunKernel, values: Sequence[str | None]) -> list[bytes]:
    column, form = cells_of(values)
    flags = np.zeros(1, np.uint8)
    found = write_cells(
        run_kernel,
        len(values),
        (size_json_text, lambda sizes: (*column, form, flags, 4, sizes)),
        (write_json_text, (*column, form)),
    )
    assert flags[0] == 0
    return found


def format_csv(run_kernel: RunKernel, values: Sequence[str | None], csv: CSVFormat) -> list[bytes]:
    column, form = cells_of(values)
    flags, null_text = np.zeros(1, np.uint8), constant(csv.null_text.encode())
    delimiter, quote, escapes = ord(csv.delimiter), ord(csv.quotechar), int(csv.escape_formulas)
    found = write_cells(
        run_kernel,
        len(values),
        (size_csv_text, lambda sizes: (*column, form, flags, delimiter, quote, escapes, null_text, 4, sizes)),
        (write_csv_text, (*column, form, quote, escapes)),
    )
    assert flags[0] == 0
    return found


def csv_fields(values: Sequence[str | None], csv: CSVFormat) -> list[bytes]:
    fields = csv.fields(values)
    return [b"null" if v is None else field.encode() for v, field in zip(values, fields, strict=True)]


def test_every_character_is_escaped_in_json_as_pydantic_escapes_it(run_compiled: RunKernel) -> None:
    characters = [chr(code) for code in range(0x11_0000) if not 0xD800 <= code < 0xE000]
    whole = ["".join(characters[at : at + 7]) for at in range(0, len(characters), 7)]
    for values in (characters[:0x3000], whole):
        assert format_json(run_compiled, values) == [to_json(value) for value in values]


def test_nasty_texts_are_escaped_in_json_as_pydantic_escapes_them(run_kernel: RunKernel) -> None:
    assert format_json(run_kernel, NASTY) == [to_json(value) for value in NASTY]


@given(values=columns)
def test_any_texts_are_escaped_in_json_as_pydantic_escapes_them(
    values: list[str | None], run_kernel: RunKernel
) -> None:
    assert format_json(run_kernel, values) == [to_json(value) for value in values]


@pytest.mark.parametrize("escape_formulas", [False, True])
@pytest.mark.parametrize("csv", FORMATS, ids=repr)
def test_nasty_texts_are_quoted_in_csv_as_python_quotes_them(
    csv: CSVFormat, escape_formulas: bool, run_kernel: RunKernel
) -> None:
    csv = CSVFormat(csv.delimiter, csv.quotechar, csv.null_text, escape_formulas)
    values = [None, csv.null_text, *NASTY, None]
    assert format_csv(run_kernel, values, csv) == csv_fields(values, csv)


@given(
    values=columns,
    delimiter=st.sampled_from(",;\t|'=+-x"),
    quotechar=st.sampled_from("\"'`@"),
    null_text=st.sampled_from(["", "NA", "-", "'=", "'-1"]) | st.text("abx", max_size=2),
    escape_formulas=st.booleans(),
)
def test_any_texts_are_quoted_in_csv_as_python_quotes_them(
    values: list[str | None],
    delimiter: str,
    quotechar: str,
    null_text: str,
    escape_formulas: bool,
    run_kernel: RunKernel,
) -> None:
    if delimiter != quotechar:
        csv = CSVFormat(delimiter, quotechar, null_text, escape_formulas)
        assert format_csv(run_kernel, values, csv) == csv_fields(values, csv)


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("sizing", ["json", "csv"])
def test_a_text_that_is_not_utf8_is_flagged(broken: bytes, sizing: str, run_kernel: RunKernel) -> None:
    for cells, flagged in (([b"fine", broken, b"too"], 1), ([b"fine", "é😀".encode()], 0)):
        column, form = byte_column(cells), form_of([True] * len(cells))
        flags, sizes = np.zeros(1, np.uint8), np.zeros(len(cells), np.int64)
        if sizing == "json":
            run_kernel(size_json_text, *column, form, flags, 4, sizes)
        else:
            run_kernel(size_csv_text, *column, form, flags, 44, 34, 0, constant(b""), 0, sizes)
        assert flags.tolist() == [flagged]


@pytest.mark.parametrize("quote", [0, ord('"')])
@given(values=columns)
def test_texts_that_are_there_are_copied(values: list[str | None], quote: int, run_kernel: RunKernel) -> None:
    (data, starts, ends), form = cells_of(values)
    found = write_cells(
        run_kernel,
        len(values),
        (size_text, lambda sizes: (starts, ends, form, 2 * (quote > 0), 4, sizes)),
        (write_text, (data, starts, ends, form, quote)),
    )
    around = b'"' if quote else b""
    assert found == [b"null" if value is None else around + value.encode() + around for value in values]


@given(
    size=st.sampled_from([0, 1, 63, 64, 65, 128, 200]),
    odd=st.lists(st.tuples(st.integers(0, 199), st.sampled_from([0, 31, 32, 34, 92, 127, 128, 255])), max_size=3),
    one=st.sampled_from([34, 44, 9, 0]),
)
def test_bytes_that_matter_to_a_format_are_found_wherever_they_are(
    size: int, odd: list[tuple[int, int]], one: int, run_kernel: RunKernel
) -> None:
    data = np.full(size, ord("x"), np.uint8)
    for place, byte in odd:
        data[place:][:1] = byte
    flags = np.full(1, 77, np.uint8)
    run_kernel(find_unusual, data, one, 92, flags)
    assert flags[0] == (
        BELOW_BLANK * bool((data < 32).any())
        + ONE_OF_TWO * bool(np.isin(data, [one, 92]).any())
        + ABOVE_ASCII * bool((data > 127).any())
    )
