"""Columns to dicts and back."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.batches.row_dicts import MAX_LITERAL, columns_of_dicts, dicts_of_columns


class Color(StrEnum):
    RED = "red"


NAMES = st.lists(st.text() | st.sampled_from(["\ud800", "'", '"', "\\", "\n", "{", "None", Color.RED]), unique=True)


@given(names=NAMES, count=st.integers(0, 5))
def test_columns_become_dicts_and_come_back(names: list[str], count: int) -> None:
    columns = {name: [(name, row) for row in range(count)] for name in names}
    expected = [{name: (name, row) for name in names} for row in range(count)]
    if names:
        found = list(dicts_of_columns(columns))
        assert found == expected
        assert [list(row) for row in found] == [names] * count
    assert columns_of_dicts(expected, None) == (columns if count else {})


@pytest.mark.parametrize("width", [MAX_LITERAL, MAX_LITERAL + 1, 3000])
def test_any_number_of_columns_will_do(width: int) -> None:
    columns = {f"c{n}": [n, -n] for n in range(width)}
    assert list(dicts_of_columns(columns)) == [{f"c{n}": n for n in range(width)}, {f"c{n}": -n for n in range(width)}]


def test_columns_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        dicts_of_columns({"a": [1, 2], "b": [1]})


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", 3]), st.integers(), max_size=3), max_size=4))
def test_rows_with_any_keys_become_columns_with_gaps(rows: list[dict[Any, int]]) -> None:
    found = columns_of_dicts(rows, "gap")
    assert list(found) == list(dict.fromkeys(key for row in rows for key in row))
    assert all(cells == [row.get(key, "gap") for row in rows] for key, cells in found.items())
