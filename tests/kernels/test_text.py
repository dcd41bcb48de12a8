"""Texts: UTF-8 is what Python decodes; lengths, stripping, case and words of a list are what pydantic makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import StringConstraints, TypeAdapter, ValidationError

from tests.kernels.conftest import Column, RunKernel, byte_column
from tests.kernels.disturbed import SEED
from zoopipe_core.kernels._jit import SURE, UNSURE, Kernel
from zoopipe_core.kernels.text import (
    check_length,
    check_utf8,
    lower_ascii,
    match_words,
    strip_ascii,
    upper_ascii,
    word_table,
)

EVERY_CHARACTER = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
WIDE_SPACES = (
    "\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
ASCII_SPACES = "\t\n\x0b\x0c\r "
NEARLY_SPACES = "\x1c\x1d\x1e\x1f\x84\x86\x9f\xa1\u180e\u200b\u2060\ufeff\u2800\u1681\u3001\u203f\u0105\u0160"

texts = st.text(st.characters(codec="utf-8") | st.sampled_from("aZ09 é日😀"), max_size=12)
padded = st.builds("".join, st.tuples(*[st.text(ASCII_SPACES + WIDE_SPACES + NEARLY_SPACES, max_size=3), texts] * 2))
BYTE_EDGES = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED]
BYTE_EDGES += [0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF8, 0xFE, 0xFF]
nearly_utf8 = st.one_of(
    texts.map(str.encode),
    st.lists(st.sampled_from(BYTE_EDGES), max_size=12).map(bytes),
    st.builds(
        lambda text, at, byte: text[:at] + byte + text[at:],
        texts.map(str.encode),
        st.integers(0, 20),
        st.binary(max_size=2),
    ),
    st.binary(max_size=40),
)


def fresh_state(column: Column) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.full(len(column[1]), SURE, np.uint8)


def column_of(cells: Sequence[str]) -> Column:
    return byte_column([cell.encode() for cell in cells])


def accepted_by_pydantic(kind: Any, cells: Sequence[str]) -> list[bool]:
    judge = TypeAdapter(kind).validate_python

    def accepts(cell: str) -> bool:
        try:
            judge(cell)
        except ValidationError:
            return False
        return True

    return [accepts(cell) for cell in cells]


# ---- UTF-8


def decodes(cell: bytes) -> bool:
    try:
        cell.decode()
    except UnicodeDecodeError:
        return False
    return True


def valid_utf8(run_kernel: RunKernel, cells: Sequence[bytes]) -> list[bool]:
    column = byte_column(cells)
    state = fresh_state(column)
    run_kernel(check_utf8, *column, state)
    return (state == SURE).tolist()


@given(cells=st.lists(nearly_utf8, max_size=150))
@example(cells=[b"a" * 64, b"\xff"])
@example(cells=[b"\xc3", b"\xa9"])  # one character, cut into two cells
@example(
    cells=[
        b"",
        b"\xf4\x8f\xbf\xbf",
        b"\xf4\x90\x80\x80",
        b"\xed\x9f\xbf",
        b"\xed\xa0\x80",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
    ]
)
def test_utf8_is_what_python_decodes(cells: list[bytes], run_kernel: RunKernel) -> None:
    assert valid_utf8(run_kernel, cells) == [decodes(cell) for cell in cells]


def test_every_character_is_utf8_and_every_lone_surrogate_is_not(run_compiled: RunKernel) -> None:
    assert all(valid_utf8(run_compiled, [character.encode() for character in EVERY_CHARACTER]))
    surrogates = [chr(code).encode("utf-8", "surrogatepass") for code in range(0xD800, 0xE000)]
    assert not any(valid_utf8(run_compiled, surrogates))


def test_all_sequences_of_two_and_many_of_four_bytes_are_judged_as_python_does(run_compiled: RunKernel) -> None:
    rng = np.random.default_rng(SEED)
    pairs = [bytes(pair) for pair in np.ndindex(256, 256)]
    quads = [bytes(quad) for quad in rng.choice(BYTE_EDGES, (100_000, 4)).tolist()]
    long = [rng.bytes(3) + b"a" * 20 + bytes(tail) for tail in rng.choice(BYTE_EDGES, (20_000, 3)).tolist()]
    for cells in (pairs, quads, long):
        found = valid_utf8(run_compiled, cells)
        wrong = [cell for cell, valid in zip(cells, found, strict=True) if valid != decodes(cell)]
        assert not wrong, f"seed {SEED}: {wrong[:5]}"


# ---- lengths


def long_enough(run_kernel: RunKernel, column: Column, shortest: int, longest: int) -> list[bool]:
    state = fresh_state(column)
    run_kernel(check_length, *column, shortest, longest, state)
    return (state == SURE).tolist()


LIMITS = st.none() | st.integers(0, 12) | st.sampled_from([2**31, 2**61, 2**63 - 1])


@given(cells=st.lists(texts, max_size=20), shortest=LIMITS, longest=LIMITS)
def test_lengths_are_those_of_pydantic(
    cells: list[str], shortest: int | None, longest: int | None, run_kernel: RunKernel
) -> None:
    limits = StringConstraints(min_length=shortest, max_length=longest)
    found = long_enough(
        run_kernel,
        column_of(cells),
        -1 if shortest is None else shortest,
        -1 if longest is None else longest,
    )
    assert found == accepted_by_pydantic(Annotated[str, limits], cells)


def test_every_character_is_one_character_long(run_compiled: RunKernel) -> None:
    column = column_of(EVERY_CHARACTER)
    assert all(long_enough(run_compiled, column, 1, 1))
    assert not any(long_enough(run_compiled, column, 2, -1))
    assert not any(long_enough(run_compiled, column, -1, 0))


# ---- stripping


def stripped(run_kernel: RunKernel, cells: Sequence[str]) -> list[str | None]:
    """What is left of each cell, or None where that is not sure."""
    column = column_of(cells)
    data, starts, ends = column
    new_starts, new_ends, state = (
        np.full(len(cells), -1, np.int32),
        np.full(len(cells), -1, np.int32),
        fresh_state(column),
    )
    run_kernel(strip_ascii, *column, new_starts, new_ends, state)
    whole = data.tobytes()
    unsure = state == UNSURE
    assert np.array_equal(new_starts[unsure], starts[unsure])
    assert np.array_equal(new_ends[unsure], ends[unsure])
    bounds = zip(new_starts.tolist(), new_ends.tolist(), unsure.tolist(), strict=True)
    return [None if doubt else whole[start:end].decode() for start, end, doubt in bounds]


def assert_stripped_as_pydantic_does(cells: Sequence[str], found: Sequence[str | None]) -> None:
    kind = Annotated[str, StringConstraints(strip_whitespace=True)]
    expected = TypeAdapter(list[kind]).validate_python(cells)
    for cell, text, value in zip(cells, found, expected, strict=True):
        bare = cell.strip(ASCII_SPACES)
        has_wide_space = bare != "" and (bare[0] in WIDE_SPACES or bare[-1] in WIDE_SPACES)
        assert text == (None if has_wide_space else value), repr(cell)


@given(cells=st.lists(padded, max_size=20))
def test_stripping_is_that_of_pydantic(cells: list[str], run_kernel: RunKernel) -> None:
    assert_stripped_as_pydantic_does(cells, stripped(run_kernel, cells))


def test_every_character_is_stripped_or_kept_as_pydantic_does(run_compiled: RunKernel) -> None:
    for cells in (
        [character + "a" for character in EVERY_CHARACTER],
        ["a " + character + " " for character in EVERY_CHARACTER],
        EVERY_CHARACTER,
    ):
        assert_stripped_as_pydantic_does(cells, stripped(run_compiled, cells))


def test_stripping_keeps_the_bounds_of_cells_that_were_not_sure(run_kernel: RunKernel) -> None:
    column = column_of([" a ", " b "])
    new_starts, new_ends = np.zeros(2, np.int32), np.zeros(2, np.int32)
    state = np.array([UNSURE, SURE], np.uint8)
    run_kernel(strip_ascii, *column, new_starts, new_ends, state)
    assert (new_starts.tolist(), new_ends.tolist(), state.tolist()) == ([0, 4], [3, 5], [UNSURE, SURE])


# ---- case

CASES = {"to_lower": lower_ascii, "to_upper": upper_ascii}


def recased(run_kernel: RunKernel, kernel: Kernel, cells: Sequence[str]) -> list[str | None]:
    column = column_of(cells)
    data, starts, ends = column
    out, state = np.zeros(len(data), np.uint8), fresh_state(column)
    run_kernel(kernel, *column, out, state)
    whole = out.tobytes()
    bounds = zip(starts.tolist(), ends.tolist(), (state == SURE).tolist(), strict=True)
    return [whole[start:end].decode() if sure else None for start, end, sure in bounds]


@pytest.mark.parametrize("constraint", CASES)
@given(cells=st.lists(texts | st.text(st.characters(max_codepoint=127)), max_size=150))
@example(cells=["@AZ[`az{", "é", "Ab", ""])
def test_ascii_changes_its_case_as_with_pydantic(constraint: str, cells: list[str], run_kernel: RunKernel) -> None:
    kind = Annotated[str, StringConstraints(**{constraint: True})]  # type: ignore[arg-type]
    judged = TypeAdapter(list[kind]).validate_python(cells)
    expected = [value if cell.isascii() else None for cell, value in zip(cells, judged, strict=True)]
    assert recased(run_kernel, CASES[constraint], cells) == expected


# ---- words of a list


class Colour(Enum):
    RED = "red"
    GREEN = "green"
    NONE = ""
    GRÜN = "grün"


COLOURS = [colour.value for colour in Colour]


def matched(run_kernel: RunKernel, words: Sequence[str], cells: Sequence[str]) -> list[int | None]:
    """The index of each cell's word, or None where there is none."""
    column = column_of(cells)
    out, state = np.full(len(cells), -1, np.int32), fresh_state(column)
    run_kernel(match_words, *column, *word_table([word.encode() for word in words]), out, state)
    return [index if sure else None for index, sure in zip(out.tolist(), (state == SURE).tolist(), strict=True)]


@given(cells=st.lists(st.sampled_from([*COLOURS, "Red", "re", "redd", " red", "der", "grun", "\x00"]) | texts))
def test_a_member_of_an_enum_is_found_by_its_value(cells: list[str], run_kernel: RunKernel) -> None:
    found = matched(run_kernel, COLOURS, cells)
    assert [index is not None for index in found] == accepted_by_pydantic(Colour, cells)
    for cell, index in zip(cells, found, strict=True):
        assert index is None or Colour(cell) is list(Colour)[index]


@given(words=st.lists(texts, min_size=1, max_size=130), cells=st.lists(texts), data=st.data())
def test_a_literal_is_found_exactly_if_pydantic_accepts_it(
    words: list[str], cells: list[str], data: st.DataObject, run_kernel: RunKernel
) -> None:
    cells = cells + data.draw(st.lists(st.sampled_from(words)))
    found = matched(run_kernel, words, cells)
    assert [index is not None for index in found] == accepted_by_pydantic(Literal[tuple(words)], cells)
    assert [index for index in found if index is not None] == [words.index(cell) for cell in cells if cell in words]


def test_of_many_words_each_is_found_and_no_other(run_compiled: RunKernel) -> None:
    words = [f"item_{number:05}" for number in range(0, 20_000, 2)]
    cells = [f"item_{number:05}" for number in range(20_000)]
    assert matched(run_compiled, words, cells) == [n // 2 if n % 2 == 0 else None for n in range(20_000)]


def test_a_list_without_words_matches_nothing(run_kernel: RunKernel) -> None:
    assert matched(run_kernel, [], ["", "a"]) == [None, None]


# ---- what all have in common


def arguments_of(kernel: Kernel, column: Column) -> list[Any]:
    count = len(column[1])
    if kernel is check_length:
        return [1, 5]
    if kernel is strip_ascii:
        return [np.zeros(count, np.int32), np.zeros(count, np.int32)]
    if kernel is match_words:
        return [*word_table([b"abc"]), np.zeros(count, np.int32)]
    return [] if kernel is check_utf8 else [np.zeros(len(column[0]), np.uint8)]


KERNELS = [check_utf8, check_length, strip_ascii, lower_ascii, upper_ascii, match_words]
NAMES = [kernel.name for kernel in KERNELS]


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_a_column_may_be_empty(kernel: Kernel, run_kernel: RunKernel) -> None:
    column = byte_column([])
    run_kernel(kernel, *column, *arguments_of(kernel, column), fresh_state(column))


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_cells_may_lie_anywhere_between_other_bytes(kernel: Kernel, run_kernel: RunKernel) -> None:
    data = np.frombuffer(b"\xff\xffabc\xffabc\xfe", np.uint8)
    column = data, np.array([6, 2, 2, 0, 9], np.int32), np.array([9, 5, 5, 2, 10], np.int32)
    state = np.array([SURE, SURE, UNSURE, UNSURE, UNSURE], np.uint8)
    run_kernel(kernel, *column, *arguments_of(kernel, column), state)
    assert state.tolist() == [SURE, SURE, UNSURE, UNSURE, UNSURE]


@pytest.mark.parametrize("kernel", KERNELS, ids=NAMES)
def test_doubt_is_never_taken_back(kernel: Kernel, run_kernel: RunKernel) -> None:
    column = byte_column([b"abc"] * 3)
    state = np.array([UNSURE, SURE, UNSURE], np.uint8)
    run_kernel(kernel, *column, *arguments_of(kernel, column), state)
    assert state.tolist() == [UNSURE, SURE, UNSURE]
