"""JSON numbers on their way to decimals: what is SURE is spelled as pydantic spells it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.kernels.conftest import RunKernel, byte_column
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.json_numbers import trim_numbers
from zoopipe_core.kernels.json_tokens import INTEGER, NUMBER, STRING

decimals = TypeAdapter(Decimal)


def trim(
    run_kernel: RunKernel, cells: Sequence[bytes], kinds: Sequence[int] | None = None, state: Any = None
) -> list[bytes | None]:
    """What is left of each cell; None where the kernel is not sure."""
    data, starts, ends = byte_column(cells)
    new_ends = np.full(len(cells), 1 << 30, np.int32)
    state = np.zeros(len(cells), np.uint8) if state is None else state
    known = np.full(len(cells), NUMBER, np.uint8) if kinds is None else np.array(kinds, np.uint8)
    run_kernel(trim_numbers, data, starts, ends, known, new_ends, state)
    text = data.tobytes()
    bounds = zip(starts.tolist(), new_ends.tolist(), state.tolist(), strict=True)
    return [text[start:end] if sure == SURE else None for start, end, sure in bounds]


whole = st.integers(0, 10**16).map(str)
fractions = st.text("0123456789", min_size=1, max_size=16) | st.text("05", min_size=1, max_size=12)
exponents = st.sampled_from(["", "", "", "e5", "E-3", "e+0"])
numbers = st.builds("{}{}.{}{}".format, st.sampled_from(["", "-"]), whole, fractions, exponents)


@given(texts=st.lists(numbers | st.builds("{}e{}".format, whole, st.integers(-9, 9)), max_size=8))
@example(texts=["0.0", "-0.0", "0.000", "12.50", "12.0", "100.00", "0.000001", "99999999.9999999", "1.0e0"])
@example(texts=["123456789012345.0", "1234567890123456.0", "0.123456789012345", "0.30000000000000004"])
def test_what_is_left_of_a_number_is_the_decimal_that_pydantic_makes(texts: list[str], run_kernel: RunKernel) -> None:
    for text, left in zip(texts, trim(run_kernel, [text.encode() for text in texts]), strict=True):
        if left is not None:
            assert Decimal(left.decode()).as_tuple() == decimals.validate_json(text).as_tuple(), text


@pytest.mark.parametrize(
    ("number", "left"),
    [
        (b"12.50", b"12.5"),
        (b"12.0", b"12"),
        (b"-0.00", b"-0"),
        (b"0.1", b"0.1"),
        (b"10.010", b"10.01"),
        (b"100.0", b"100"),
    ],
)
def test_zeros_at_the_end_of_a_fraction_are_left_out(number: bytes, left: bytes, run_kernel: RunKernel) -> None:
    assert trim(run_kernel, [number, number]) == [left, left]


@pytest.mark.parametrize("number", [b"1e5", b"1.5e3", b"0.1234567890123456", b"12345678901234567.5", b"", b"-", b"1"])
def test_exponents_and_many_digits_are_not_sure(number: bytes, run_kernel: RunKernel) -> None:
    assert trim(run_kernel, [b"0.5", number, b"0.5"]) == [b"0.5", None, b"0.5"]


def test_other_cells_stay_as_they_are(run_kernel: RunKernel) -> None:
    cells = [b"100", b"1.50", b"1.50", b"1.50"]
    state = np.array([SURE, SURE, UNSURE, SURE], np.uint8)
    assert trim(run_kernel, cells, [INTEGER, STRING, NUMBER, NUMBER], state) == [b"100", b"1.50", None, b"1.5"]


def test_a_column_may_be_empty(run_kernel: RunKernel) -> None:
    assert trim(run_kernel, []) == []
