"""Groups of numbers: what Python's comparisons give, also where a float would not be exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.functions import cut

INTEGERS = [pa.int8(), pa.int64(), pa.uint64()]
FLOATS = [pa.float16(), pa.float32(), pa.float64()]


def python_group(value: Any, breaks: list[Any]) -> str | None:
    if value is None or value != value:
        return None
    return str(sum(value >= each for each in breaks))


@st.composite
def numbers_and_breaks(draw: st.DrawFn) -> tuple[pa.Array, list[Any]]:
    kind = draw(st.sampled_from(INTEGERS + FLOATS))
    if pa.types.is_integer(kind):
        info = np.iinfo(kind.to_pandas_dtype())
        near = st.sampled_from([info.min, info.max, 2**53 + 1]).filter(lambda n: n <= info.max)
        values: Any = near | st.integers(int(info.min), int(info.max)) | st.integers(0, 12)
    else:
        values = st.floats(width=kind.bit_width) | st.integers(0, 12).map(float)
    marks = st.integers(-(2**64), 2**64) | st.integers(-1, 13) | st.floats(allow_nan=False) | st.just(2.5)
    breaks = draw(st.lists(marks, max_size=12))
    rising = [each for index, each in enumerate(sorted(breaks)) if not any(each == b for b in sorted(breaks)[:index])]
    return pa.array(draw(st.lists(st.none() | values)), kind, from_pandas=False), rising


@given(case=numbers_and_breaks(), first=st.integers(0, 2))
def test_a_group_is_told_by_pythons_own_comparison(case: tuple[pa.Array, list[Any]], first: int) -> None:
    array, breaks = case
    if pa.types.is_floating(array.type):
        breaks = sorted({float(each) for each in breaks})
    found = cut(array[first:], breaks, [str(n) for n in range(len(breaks) + 1)])
    found.validate(full=True)
    assert found.to_pylist() == [python_group(value, breaks) for value in array[first:].to_pylist()]


def test_groups_may_be_many_and_all_below() -> None:
    breaks = list(range(-1000, 0))
    assert cut(pa.array([0, 5], pa.uint8()), breaks, [str(n) for n in range(1001)]).to_pylist() == ["1000", "1000"]


def test_the_groups_of_a_chunked_array_have_its_chunks() -> None:
    found = cut(pa.chunked_array([[1], [], [3, None]], pa.int64()), [2], ["low", "high"])
    assert [chunk.to_pylist() for chunk in found.chunks] == [["low"], [], ["high", None]]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((pa.array(["a"]), [1], ["a", "b"]), TypeError, "integers or floats, not string"),
        (([1], [1], ["a", "b"]), TypeError, "an array of pyarrow, not list"),
        ((pa.array([1]), [1], ["a", 2]), TypeError, "labels have to be texts"),
        ((pa.array([1]), [1, 2], ["a", "b"]), ValueError, "2 breaks make 3 groups, but there are 2 labels"),
        ((pa.array([1]), [2, 2], ["a", "b", "c"]), ValueError, "breaks have to rise"),
        ((pa.array([1]), [math.nan], ["a", "b"]), ValueError, "breaks have to rise"),
    ],
    ids=["texts", "list", "labels", "count", "equal", "nan"],
)
def test_groups_of_something_else_are_an_error(arguments: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        cut(*arguments)
