"""Numbers, decimals and booleans from text: whatever a kernel accepts is what pydantic makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import cache
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

from tests.kernels.conftest import RunKernel, byte_column
from zoopipe_core.kernels._jit import SURE, UNSURE, Kernel
from zoopipe_core.kernels.numbers import (
    check_decimal,
    parse_bool,
    parse_float64,
    parse_int64,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
SPACES = [" ", "\t", "\n", "\r", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\xa0", "\u2003"]
PIECES = [*SPACES, *"0123456789", "00", "+", "-", ".", ".0", "e", "E", "e+", "e-", "_", ",", "\x00", "\u0663", "\ud800"]
WORDS = ["inf", "-Infinity", "nan", "NaN", "0x1p3", "1_000", "1__0", "_1", "1_", "1e5", "9" * 19, "9" * 40, "0" * 30]
near_misses = st.lists(st.sampled_from([*PIECES, *WORDS]), max_size=6).map("".join)


def padded(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    space = st.sampled_from(["", "", *SPACES])
    return st.tuples(space, st.sampled_from(["", "", "+", "0", "-"]), texts, space).map("".join)


integers = padded(
    st.tuples(st.integers().map(str) | INT64.map(str), st.sampled_from(["", ".0", ".00", "."])).map("".join)
)
floats = padded(
    st.floats().map(repr)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.tuples(st.from_regex(r"[0-9]{0,25}\.?[0-9]{0,25}", fullmatch=True), st.integers(-400, 400)).map(
        lambda parts: f"{parts[0]}e{parts[1]}"
    )
)
booleans = st.sampled_from(["0", "1", "t", "f", "true", "false", "y", "n", "yes", "no", "on", "off"]).flatmap(
    lambda word: st.tuples(*(st.sampled_from([c.lower(), c.upper()]) for c in word)).map("".join)
)


@cache
def judge(kind: Any) -> Callable[[str], Any]:
    """What pydantic makes of a text; raises ValidationError."""
    return TypeAdapter(kind).validate_python


def encoded(cells: Sequence[str]) -> list[bytes]:
    return [cell.encode("utf-8", "surrogatepass") for cell in cells]


def run(
    run_kernel: RunKernel, kernel: Kernel, cells: Sequence[str], dtype: str
) -> tuple[np.ndarray[Any, Any], list[bool]]:
    """The values, and whether each is sure. What is not said to be respelled has to be just what is written."""
    out, state = np.zeros(len(cells), dtype), np.zeros(len(cells), np.uint8)
    respelled = np.zeros(len(cells), np.uint8)
    run_kernel(kernel, *byte_column(encoded(cells)), out, state, respelled)
    assert set(state.tolist()) <= {SURE, UNSURE}
    assert not respelled[state == UNSURE].any()
    values = out.astype(np.bool_).tolist() if dtype == "uint8" else out.tolist()
    for cell, value, certain, other in zip(cells, values, state == SURE, respelled, strict=True):
        if certain and not other:
            assert cell == (str(value).lower() if dtype == "uint8" else repr(value))
            assert cell == to_json(value).decode()
    return out, [value == SURE for value in state.tolist()]


def assert_pydantic_agrees(cells: Sequence[str], values: Sequence[Any], sure: Sequence[bool], kind: Any) -> None:
    for cell, value, certain in zip(cells, values, sure, strict=True):
        if certain:
            expected = judge(kind)(cell)
            assert type(expected) is type(value), cell
            assert repr(expected) == repr(value), cell  # tells -0.0 from 0.0, and any double from any other


# ---- integers -----------------------------------------------------------------------------------------------------

PLAIN_INTEGERS = [
    "0", "1", "-1", "007", "-007", "+7", "-0", "+0", "00", " 1", "1 ", "\t-12\r\n", "\x0b5\x0c", "1.0", "-1.00",
    " +3.0 ", "999999999999999999", "1000000000000000000", "9223372036854775807", "-9223372036854775808",
    "-9223372036854775807", "00009223372036854775807", "9223372036854775807.0", "-9223372036854775808.000",
    "0" * 50 + "12", "-" + "0" * 5000,
]  # fmt: skip
NOT_PLAIN_INTEGERS = [
    "", " ", "-", "+", "--1", "+-1", "- 1", "1 2", "1.", ".0", "-.0", "1.5", "1.01", "1.0x", "1. 0", "1e3", "0x1",
    "1,000", "1_000", "9223372036854775808", "-9223372036854775809", "9223372036854775808.0", "9999999999999999999",
    "18446744073709551617", "9" * 40, "\x1f1", "\u0661", "1\x00", "\x001", "n/a", "NaN", "1/", "1:", "/1", ":1",
    "12345678901234567x",
]  # fmt: skip


def test_integers_as_data_spells_them_are_sure(run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, parse_int64, PLAIN_INTEGERS, "int64")
    assert all(sure), [cell for cell, certain in zip(PLAIN_INTEGERS, sure, strict=True) if not certain]
    assert_pydantic_agrees(PLAIN_INTEGERS, values.tolist(), sure, int)


def test_what_is_no_integer_of_64_bits_is_left_to_pydantic(run_kernel: RunKernel) -> None:
    _, sure = run(run_kernel, parse_int64, NOT_PLAIN_INTEGERS, "int64")
    assert not any(sure), [cell for cell, certain in zip(NOT_PLAIN_INTEGERS, sure, strict=True) if certain]


@settings(deadline=None)
@given(cells=st.lists(integers | near_misses | INT64.map(str), max_size=30))
def test_an_accepted_integer_is_pydantics(cells: list[str], run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, parse_int64, cells, "int64")
    assert_pydantic_agrees(cells, values.tolist(), sure, int)


@pytest.mark.parametrize(
    ("kernel", "dtype", "plain", "others"),
    [
        (
            parse_int64,
            "int64",
            ["0", "7", "-7", "120", "-922337203685477580"],
            ["-0", "+7", "07", "7.0", " 7", "9223372036854775807"],
        ),
        (
            parse_float64,
            "float64",
            ["0.0", "-0.0", "7.5", "-20742.81", "0.0001", "0.00025", "12345678901234.5", "100.0", "0.1"],
            ["7", "7.50", "07.5", "+7.5", ".5", "5.", "1e5", "0.00001", "0.00009", "123456789012345.6", "00.5", "-7"],
        ),
        (parse_bool, "uint8", ["true", "false"], ["True", "1", "no", "TRUE"]),
    ],
)
def test_a_cell_that_is_spelled_as_it_is_written_is_known(
    kernel: Kernel, dtype: str, plain: list[str], others: list[str], run_kernel: RunKernel
) -> None:
    cells = [*plain, *others]
    out, state, respelled = np.zeros(len(cells), dtype), np.zeros(len(cells), np.uint8), np.zeros(len(cells), np.uint8)
    run_kernel(kernel, *byte_column(encoded(cells)), out, state, respelled)
    assert not state.any()
    assert respelled.tolist() == [0] * len(plain) + [1] * len(others)


@settings(deadline=None)
@given(numbers=st.lists(INT64, max_size=30))
def test_every_integer_of_64_bits_is_sure(numbers: list[int], run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, parse_int64, [str(number) for number in numbers], "int64")
    assert all(sure)
    assert values.tolist() == numbers


# ---- floats (all about rounding is in test_floats) ------------------------------------------------------------------

PLAIN_FLOATS = [
    "0", "-0", "-0.0", "+0", "1", "-1", "007", "007.50", ".5", "5.", "-.5", "-5.", "+.5", "1e5", "1E5", "1e+5",
    "1e-05", ".5e5", "5.e5", " 1.5", "1.5\n", "\x0b-1.5\x0c", "10.357019999999999", "0.1", "123456.78", "1e400",
    "-1e400", "1e-400", "-1e-400", "0e999", "1e99999999999999999999", "1e18446744073709551617",
    "1e-18446744073709551617", "-1e-99999999999999999999",
    "0e99999999999999999999", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308", "9999999999999999999",
    "0.0000000000000000000001", "0" * 400, "1" * 400, "1." + "0" * 400, "0." + "0" * 400 + "1e401",
    "1" + "0" * 400 + "e-400", "1" * 19 + "000.000", "0.1234567890123456", "00.123456789012345678",
]  # fmt: skip
NOT_PLAIN_FLOATS = [
    "", " ", ".", "-.", "-", "+", "e5", ".e5", "1e", "1e+", "1e 5", "1e5.0", "1e5e5", "--1", "+-1", "- 1", "1 2",
    "1f", "0x1p3", "1_000.5", "1,5", "1.2.3", "..5", "\u0661", "1\x00", "\x1f1", "n/a", "NA", "inf", "-inf", "nan",
    "Infinity", "1/5", "1:5", "1e/", "1e:",
]  # fmt: skip


def test_floats_as_data_spells_them_are_sure(run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, parse_float64, PLAIN_FLOATS, "float64")
    assert all(sure), [cell for cell, certain in zip(PLAIN_FLOATS, sure, strict=True) if not certain]
    assert_pydantic_agrees(PLAIN_FLOATS, values.tolist(), sure, float)


def test_what_is_no_plain_float_is_left_to_pydantic(run_kernel: RunKernel) -> None:
    _, sure = run(run_kernel, parse_float64, NOT_PLAIN_FLOATS, "float64")
    assert not any(sure), [cell for cell, certain in zip(NOT_PLAIN_FLOATS, sure, strict=True) if certain]


@settings(deadline=None)
@given(cells=st.lists(floats | integers | near_misses, max_size=30))
def test_an_accepted_float_is_pydantics(cells: list[str], run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, parse_float64, cells, "float64")
    assert_pydantic_agrees(cells, values.tolist(), sure, float)


# ---- booleans -----------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(cells=st.lists(booleans, max_size=30))
def test_every_spelling_of_a_boolean_is_sure(cells: list[str], run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, parse_bool, cells, "uint8")
    assert all(sure)
    assert_pydantic_agrees(cells, [bool(value) for value in values.tolist()], sure, bool)


@settings(deadline=None)
@given(cells=st.lists(st.builds(lambda a, b, c: a + b + c, near_misses, booleans | st.text(max_size=3), near_misses)))
@example(
    cells=[
        "",
        " true",
        "true ",
        "10",
        "00",
        "1.0",
        "yess",
        "ye",
        "o",
        "falsee",
        "xfalse",
        "2",
        "\x10",
        "\x11",
        "\u017f",
        "\x00t",
    ]
)
@example(
    cells=[
        "\x00",
        "\x000",
        "\x00\x00true",
        "0\x00",
        "ofF\x00",
        "ok",
        "TRU",
        "\u212a",
        "yeſ",
        "tRUE\n",
        "@",
        "[",
        "`",
        "{",
    ]
)
def test_an_accepted_boolean_is_pydantics(cells: list[str], run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, parse_bool, cells, "uint8")
    assert_pydantic_agrees(cells, [bool(value) for value in values.tolist()], sure, bool)


# ---- all text kernels -----------------------------------------------------------------------------------------------

TEXT_KERNELS = [(parse_int64, "int64", "7"), (parse_float64, "float64", "7.25"), (parse_bool, "uint8", "yes")]


@pytest.mark.parametrize(("kernel", "dtype", "cell"), TEXT_KERNELS)
def test_cells_that_are_not_sure_on_entry_are_passed_over(
    kernel: Kernel, dtype: str, cell: str, run_kernel: RunKernel
) -> None:
    out, state = np.full(4, 99, dtype), np.array([UNSURE, SURE, UNSURE, SURE], np.uint8)
    run_kernel(kernel, *byte_column(encoded([cell, cell, "?", "?"])), out, state, np.zeros(4, np.uint8))
    assert state.tolist() == [UNSURE, SURE, UNSURE, UNSURE]
    assert out.tolist()[0] == 99
    assert out.tolist()[2] == 99


@pytest.mark.parametrize(("kernel", "dtype", "cell"), TEXT_KERNELS)
def test_a_column_may_be_empty(kernel: Kernel, dtype: str, cell: str, run_kernel: RunKernel) -> None:
    values, sure = run(run_kernel, kernel, [], dtype)
    assert (len(values), sure) == (0, [])


@pytest.mark.parametrize(("kernel", "dtype", "cell"), TEXT_KERNELS)
def test_cells_may_lie_anywhere_between_other_bytes(
    kernel: Kernel, dtype: str, cell: str, run_kernel: RunKernel
) -> None:
    text = f"91{cell}.5e1{cell}"
    second = len(text) - len(cell)
    starts = np.array([second, 2, 1, second], np.int32)
    ends = np.array([len(text), 2 + len(cell), 1, second], np.int32)
    out, state = np.zeros(4, dtype), np.zeros(4, np.uint8)
    run_kernel(kernel, np.frombuffer(text.encode(), np.uint8), starts, ends, out, state, np.zeros(4, np.uint8))
    assert state.tolist() == [SURE, SURE, UNSURE, UNSURE]
    assert out[0] == out[1] != 0


# ---- decimals -----------------------------------------------------------------------------------------------------

LIMITS = [
    (-1, -1),
    (3, -1),
    (-1, 2),
    (3, 2),
    (3, 0),
    (0, -1),
    (-1, 0),
    (1, 1),
    (2, 3),
    (5, 5),
    (10, 2),
    (28, 6),
    (40, 20),
]
CANONICAL_DECIMALS = [
    "0", "1", "-1", "1.50", "-0", "0.0", "-0.0", "-0.00", "0.000001", "0.0000012", "0.0000010", "0.000000", "120",
    "100.00", "123456789012345678901234567890", "12345678901234567890123456789.12", "9" * 5000, "0." + "1" * 50,
    "99999.99",
]  # fmt: skip
OTHER_DECIMALS = [
    "", "-", ".", "-.", "+1", "007", "-007", "00", "00.1", ".5", "5.", "-.5", "1.", " 1", "1 ", "1e5", "1E+5", "1_0",
    "NaN", "inf", "--1", "0.0000001", "-0.0000001", "0.0000000", "0.00000010", "0.00000000", "\u0661", "1.5.2", "1,5",
    "1.x", "1x", "/", ":",
]  # fmt: skip
decimal_texts = (
    st.from_regex(r"-?(0|[1-9][0-9]{0,5})(\.[0-9]{1,6})?", fullmatch=True)
    | st.from_regex(r"-?(0|[1-9])0{0,4}(\.0{0,6}[0-9]{0,2}0{0,3})?", fullmatch=True)
    | st.from_regex(r"-?[0-9]{1,40}(\.[0-9]{1,40})?0{0,5}", fullmatch=True)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | near_misses
)


def decimals_kept(run_kernel: RunKernel, cells: Sequence[str], max_digits: int, decimal_places: int) -> list[bool]:
    state = np.zeros(len(cells), np.uint8)
    run_kernel(check_decimal, *byte_column(encoded(cells)), max_digits, decimal_places, state)
    return [value == SURE for value in state.tolist()]


@cache
def decimal_with(max_digits: int, decimal_places: int) -> Any:
    places = None if decimal_places < 0 else decimal_places
    return Annotated[Decimal, Field(max_digits=None if max_digits < 0 else max_digits, decimal_places=places)]


def test_decimals_that_python_writes_as_they_stand_are_sure(run_kernel: RunKernel) -> None:
    sure = decimals_kept(run_kernel, CANONICAL_DECIMALS, -1, -1)
    assert all(sure), [cell for cell, certain in zip(CANONICAL_DECIMALS, sure, strict=True) if not certain]
    assert [str(judge(Decimal)(cell)) for cell in CANONICAL_DECIMALS] == CANONICAL_DECIMALS


def test_other_spellings_of_decimals_are_left_to_pydantic(run_kernel: RunKernel) -> None:
    sure = decimals_kept(run_kernel, OTHER_DECIMALS, -1, -1)
    assert not any(sure), [cell for cell, certain in zip(OTHER_DECIMALS, sure, strict=True) if certain]


@settings(deadline=None)
@given(cells=st.lists(decimal_texts, max_size=30), limits=st.sampled_from(LIMITS))
def test_the_text_of_an_accepted_decimal_is_pydantics_value(
    cells: list[str], limits: tuple[int, int], run_kernel: RunKernel
) -> None:
    sure = decimals_kept(run_kernel, cells, *limits)
    for cell, certain in zip(cells, sure, strict=True):
        if certain:
            assert str(judge(decimal_with(*limits))(cell)) == cell


@pytest.mark.parametrize("limits", LIMITS)
def test_a_canonical_decimal_is_sure_exactly_if_pydantic_accepts_it(
    limits: tuple[int, int], run_kernel: RunKernel
) -> None:
    wholes = ["0", "-0", "1", "9", "12", "-10", "120", "100", "999", "1000", "12345", "12340", "100000"]
    cells = [
        whole + part for whole in wholes for part in ("", ".0", ".00", ".000", ".5", ".50", ".05", ".010", ".00100")
    ]
    for cell, certain in zip(cells, decimals_kept(run_kernel, cells, *limits), strict=True):
        try:
            judge(decimal_with(*limits))(cell)
        except ValidationError:
            assert not certain, cell
        else:
            assert certain, cell


def test_decimals_that_normalizing_would_round_are_left_to_pydantic(run_kernel: RunKernel) -> None:
    cell = "9" * 29 + ".0"  # of 28 digits: 1E+29, which has 30
    assert decimals_kept(run_kernel, [cell], 29, -1) == [False]
    assert decimals_kept(run_kernel, [cell], 30, -1) == [True]
