"""Constraints on the values of a column: a value is sure exactly if pydantic accepts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from tests.kernels.conftest import RunKernel
from zoopipe_core.kernels._jit import SURE, UNSURE, Kernel
from zoopipe_core.kernels.numbers import (
    check_float64_finite,
    check_float64_range,
    check_int64_multiple,
    check_int64_range,
)

INT64 = st.integers(-(2**63), 2**63 - 1)


def accepts(kind: Any, value: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def states(run_kernel: RunKernel, kernel: Kernel, values: Sequence[Any], dtype: str, *limits: Any) -> list[bool]:
    state = np.zeros(len(values), np.uint8)
    run_kernel(kernel, np.array(values, dtype), *limits, state)
    return [value == SURE for value in state.tolist()]


@settings(deadline=None, max_examples=50)
@given(values=st.lists(INT64 | st.integers(-3, 3), max_size=10), lower=INT64 | st.integers(-2, 0), upper=INT64)
def test_integers_keep_to_their_bounds(values: list[int], lower: int, upper: int, run_kernel: RunKernel) -> None:
    kind = Annotated[int, Field(ge=lower, le=upper)]
    values += [lower, upper]
    expected = [accepts(kind, value) for value in values]
    assert states(run_kernel, check_int64_range, values, "int64", lower, upper) == expected


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(INT64 | st.integers(-20, 20), max_size=10), divisor=st.integers(1, 9) | st.integers(1, 2**63 - 1)
)
def test_integers_are_multiples(values: list[int], divisor: int, run_kernel: RunKernel) -> None:
    values += [0, divisor, -divisor, -(2**63)]
    expected = [accepts(Annotated[int, Field(multiple_of=divisor)], value) for value in values]
    assert states(run_kernel, check_int64_multiple, values, "int64", divisor) == expected


@pytest.mark.parametrize("divisor", [0, -1, -(2**63)])
def test_no_integer_is_sure_to_be_a_multiple_of_what_pydantic_does_not_allow(
    divisor: int, run_kernel: RunKernel
) -> None:
    assert not any(states(run_kernel, check_int64_multiple, [0, 5, -(2**63)], "int64", divisor))


@settings(deadline=None, max_examples=50)
@given(
    values=st.lists(st.floats() | st.floats(-2, 2), max_size=10),
    bounds=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
)
@example(values=[float("nan"), 0.0, -0.0, 5e-324, -5e-324], bounds=(0.0, 1.0))
@example(values=[float("inf"), float("-inf"), 1.7976931348623157e308], bounds=(-0.0, float("inf")))
@pytest.mark.parametrize("strict", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_floats_keep_to_their_bounds(
    values: list[float], bounds: tuple[float, float], strict: tuple[int, int], run_kernel: RunKernel
) -> None:
    (lower, upper), (above, below) = bounds, strict
    limits = {("ge", "gt")[above]: lower, ("le", "lt")[below]: upper}
    values = [*values, lower, upper]
    expected = [accepts(Annotated[float, Field(**limits)], value) for value in values]
    assert states(run_kernel, check_float64_range, values, "float64", lower, above, upper, below) == expected


@settings(deadline=None, max_examples=50)
@given(values=st.lists(st.floats(), max_size=20))
@example(values=[float("nan"), float("inf"), float("-inf"), 1.7976931348623157e308, -1.7976931348623157e308, -0.0])
def test_finite_floats_are_told_from_others(values: list[float], run_kernel: RunKernel) -> None:
    expected = [accepts(Annotated[float, Field(allow_inf_nan=False)], value) for value in values]
    assert states(run_kernel, check_float64_finite, values, "float64") == expected


def test_constraints_take_back_no_doubt(run_kernel: RunKernel) -> None:
    state = np.full(2, UNSURE, np.uint8)
    run_kernel(check_int64_range, np.array([1, 9]), 0, 5, state)
    run_kernel(check_int64_multiple, np.array([1, 9]), 1, state)
    run_kernel(check_float64_range, np.array([1.0, 9.0]), 0.0, 0, 5.0, 0, state)
    run_kernel(check_float64_finite, np.array([1.0, np.nan]), state)
    assert state.tolist() == [UNSURE, UNSURE]
