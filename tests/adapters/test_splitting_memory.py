"""Rows and tables in memory, in parts."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.splits import assert_exact
from zoopipe_core.adapters.arrow import ArrowStreamInputAdapter
from zoopipe_core.adapters.base import InputAdapter
from zoopipe_core.adapters.python import PyGeneratorInputAdapter


@given(st.lists(st.integers(), max_size=40), st.integers(1, 16), st.integers(1, 7), st.booleans())
def test_a_list_in_parts_is_the_same_list(numbers: list[int], count: int, batch_size: int, is_tuple: bool) -> None:
    rows: Any = [{"n": n} for n in numbers]
    adapter = PyGeneratorInputAdapter(tuple(rows) if is_tuple else rows, name="fixtures")
    assert len(assert_exact(adapter, count, batch_size=batch_size)) == min(count, max(1, len(rows)))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), st.integers(1, 16), st.integers(1, 7))
def test_a_table_in_parts_is_the_same_table(sizes: list[int], count: int, batch_size: int) -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string()), ("a", pa.dictionary(pa.int8(), pa.string()))])
    batches = []
    for size in sizes:
        codes = pa.DictionaryArray.from_arrays(pa.array([n % 2 for n in range(size)], pa.int8()), ["x", "y"])
        columns = [pa.array(range(size), pa.int64()), pa.array(["é"] * size, pa.string()), codes]
        batches.append(pa.RecordBatch.from_arrays(columns, schema=schema))
    whole = pa.Table.from_batches(batches, schema)
    assert_exact(ArrowStreamInputAdapter(whole, name="numbers"), count, batch_size=batch_size)
    assert_exact(ArrowStreamInputAdapter(batches[0]), count, batch_size=batch_size)


def test_a_part_travels_without_the_others() -> None:
    table = pa.table({"a": np.arange(1_000_000)})
    parts = ArrowStreamInputAdapter(table).split(10).parts
    assert all(len(pickle.dumps(part)) < table.nbytes / 9 for part in parts)
    rows = PyGeneratorInputAdapter([{"n": n} for n in range(10_000)])
    assert all(len(pickle.dumps(part)) < len(pickle.dumps(rows)) / 9 for part in rows.split(10).parts)


def test_parts_of_a_list_do_not_show_its_rows() -> None:
    parts = PyGeneratorInputAdapter([{"password": "secret"}] * 4, name="people").split(2).parts
    assert [repr(part) for part in parts] == ["RowsPart('people', first_row=1)", "RowsPart('people', first_row=3)"]


def generate() -> Iterator[dict[str, int]]:
    yield from ({"n": n} for n in range(9))


@pytest.mark.parametrize(
    ("adapter", "reason"),
    [
        (PyGeneratorInputAdapter(generate), "list or tuple"),
        (PyGeneratorInputAdapter(generate()), "list or tuple"),
        (PyGeneratorInputAdapter({1, 2, 3}), "list or tuple"),
        (PyGeneratorInputAdapter([pa.table({"a": [1, 2]})] * 3), "one table"),
        (ArrowStreamInputAdapter(pa.table({"a": [1, 2, 3]}).to_reader()), "RecordBatchReader"),
    ],
)
def test_what_cannot_be_sliced_is_one_part_and_says_so(adapter: InputAdapter, reason: str) -> None:
    split = adapter.split(3)
    assert split.parts == (adapter,)
    assert reason in (split.note or "")


def test_a_row_that_is_a_table_is_as_wrong_in_a_part_as_in_the_whole() -> None:
    assert_exact(PyGeneratorInputAdapter([{"n": 1}] * 5 + [pa.table({"a": [1]})]), 3)
