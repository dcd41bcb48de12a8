import copy
import pickle
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batches.strategies import COLUMNS, all_same, tables
from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.source import number_rows
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.errors import DuplicateColumnError, UnsupportedValueError

INT = ColumnType(pa.int64())
FLOAT = ColumnType(pa.float64())
OPEN = COLUMNS["open"][0]


class Touchy:
    """Has no truth value once compared, as NumPy's and pandas' arrays."""

    def __eq__(self, other: object) -> Any:
        raise ValueError("the truth value is ambiguous")

    __hash__ = None  # type: ignore[assignment]


@given(tables())
def test_rows_become_columns_and_come_back(table: tuple[dict[str, ColumnType], list[dict[str, Any]]]) -> None:
    types, rows = table
    batch = ModelBatch.from_rows(rows, types)
    assert batch.types == types
    assert batch.num_rows == len(rows)
    assert all_same(list(batch.dicts()), rows)


@given(tables())
def test_rows_survive_the_way_through_arrow(table: tuple[dict[str, ColumnType], list[dict[str, Any]]]) -> None:
    types, rows = table
    arrow = ModelBatch.from_rows(rows, types).to_arrow()
    assert arrow.num_rows == len(rows)
    back = ModelBatch.from_arrow(arrow, number_rows(1, len(rows)), "x", types)
    assert all_same(list(back.dicts()), rows)
    assert back.to_arrow(types).schema == arrow.schema


@given(tables(), st.data(), st.integers(0, 3))
def test_to_filter_is_to_take_where_the_mask_is_true(
    table: tuple[dict[str, ColumnType], list[dict[str, Any]]], data: st.DataObject, offset: int
) -> None:
    types, rows = table
    batch = ModelBatch.from_rows(rows, types)
    arrow = ModelBatch.from_rows(rows, types).to_arrow().slice(offset)
    sliced = ModelBatch.from_arrow(arrow, number_rows(1, arrow.num_rows), "x", types)
    for each in (batch, sliced):
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=each.num_rows, max_size=each.num_rows)), np.bool_)
        for column in each.columns.values():
            kept = column.filter(mask)
            assert len(kept) == np.count_nonzero(mask)
            assert all_same([kept.values], [column.take(np.flatnonzero(mask)).values])


@given(tables(), st.data())
def test_taking_rows_is_the_same_before_and_after_conversion(
    table: tuple[dict[str, ColumnType], list[dict[str, Any]]], data: st.DataObject
) -> None:
    types, rows = table
    chosen = data.draw(st.lists(st.integers(0, len(rows) - 1)) if rows else st.just([]))
    indices = np.array(chosen, dtype=np.int64)
    batch = ModelBatch.from_rows(rows, types, json_lines=[str(n).encode() for n in range(len(rows))])
    expected = [rows[index] for index in chosen]
    taken = batch.take(indices)
    assert all_same(list(taken.dicts()), expected)
    assert taken.rows.tolist() == [index + 1 for index in chosen]
    assert taken.json_lines == [str(index).encode() for index in chosen]
    through_arrow = ModelBatch.from_arrow(batch.to_arrow(), batch.rows, "", types)
    assert all_same(list(through_arrow.take(indices).dicts()), expected)


def test_a_missing_key_stays_missing_in_rows_and_is_null_in_arrow() -> None:
    batch = ModelBatch.from_rows([{"a": 1}, {"b": "x", "c": None}, {}], {"a": INT})
    assert list(batch.dicts()) == [{"a": 1}, {"b": "x", "c": None}, {}]
    assert list(batch.columns) == ["a", "b", "c"]
    assert batch.columns["a"].has_gaps
    assert batch.types["b"] == STRING
    assert batch.types["c"] == ColumnType(pa.null())
    assert batch.to_arrow().to_pylist() == [
        {"a": 1, "b": None, "c": None},
        {"a": None, "b": "x", "c": None},
        {"a": None, "b": None, "c": None},
    ]


def test_missing_is_the_one_and_only_however_it_is_copied() -> None:
    assert pickle.loads(pickle.dumps(MISSING)) is MISSING
    assert copy.deepcopy([MISSING])[0] is MISSING
    assert repr(MISSING) == "MISSING"


def test_a_value_with_its_own_idea_of_equality_is_left_alone() -> None:
    value = Touchy()
    batch = ModelBatch.from_rows([{"a": value}, {}], {"a": JSON})
    assert next(batch.dicts())["a"] is value
    with pytest.raises(UnsupportedValueError, match=r"column 'a', row 1 of the source"):
        batch.to_arrow()


def test_a_value_that_does_not_fit_is_found_by_column_row_and_source() -> None:
    rows = np.array([7, 0, 9], dtype=np.int64)
    batch = ModelBatch.from_rows([{"a": 1}, {"a": 2**63}, {"a": 2}], {"a": INT}, rows, "in.csv")
    with pytest.raises(UnsupportedValueError, match=r"column 'a', a row that a hook added: the value 9223") as caught:
        batch.to_arrow()
    assert caught.value.index == 1
    with pytest.raises(UnsupportedValueError, match=r"column 'a', row 9 of in\.csv: the value 'x'"):
        ModelBatch.from_rows([{"a": 1}, {"a": 2}, {"a": "x"}], {"a": INT}, rows, "in.csv").array("a")


def test_a_batch_is_given_the_columns_that_are_asked_for() -> None:
    batch = ModelBatch.from_rows([{"a": 1, "b": "x"}], {"a": INT, "b": STRING})
    arrow = batch.to_arrow({"b": STRING, "z": FLOAT, "u": COLUMNS["uuid"][0]})
    assert arrow.schema.names == ["b", "z", "u"]
    assert arrow.to_pylist() == [{"b": "x", "z": None, "u": None}]
    assert batch.to_arrow({}).num_rows == 1
    assert ModelBatch({}, number_rows(1, 3)).to_arrow().num_rows == 3
    assert list(ModelBatch({}, number_rows(1, 3)).dicts()) == [{}, {}, {}]
    assert list(ModelBatch.from_rows([], {"a": INT}).dicts()) == []


def test_two_columns_of_one_name_are_refused() -> None:
    arrow = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(DuplicateColumnError, match="'x' twice"):
        ModelBatch.from_arrow(arrow, number_rows(1, 1))


def test_arrays_keep_their_own_type_unless_the_given_one_is_the_same_in_arrow() -> None:
    arrow = pa.record_batch({"a": pa.array([1]), "b": pa.array([None], pa.timestamp("us"))})
    batch = ModelBatch.from_arrow(
        arrow, number_rows(1, 1), "", {"a": ColumnType(pa.int64(), nullable=False), "b": OPEN}
    )
    assert batch.types == {"a": ColumnType(pa.int64(), nullable=False), "b": ColumnType(pa.timestamp("us"))}


@pytest.mark.parametrize(
    ("given_array", "wanted", "values"),
    [
        (pa.array([1, None]), FLOAT, [1.0, None]),
        (pa.array([1, None], pa.int8()), INT, [1, None]),
        (pa.array([1.0, None]), INT, [1, None]),
        (pa.array([1.5], pa.float32()), FLOAT, [1.5]),
        (pa.nulls(2), COLUMNS["uuid"][0], [None, None]),
        (pa.nulls(2), STRING, [None, None]),
        (pa.array(["a"], pa.large_string()), STRING, ["a"]),
        (pa.array(["a"], pa.string_view()), STRING, ["a"]),
        (pa.array([0], pa.timestamp("s")), OPEN, COLUMNS["naive"][0].to_values(pa.array([0], pa.timestamp("us")))),
        (pa.array([[1, 2]]), JSON, [[1, 2]]),
        (pa.array(["a"]), JSON, ["a"]),
        (
            pa.array([1]),
            COLUMNS["decimal"][0],
            COLUMNS["decimal"][0].to_values(pa.array([1]).cast(pa.decimal128(38, 9))),
        ),
        (pa.array([1_000], pa.timestamp("ns")), COLUMNS["naive"][0], pa.array([1], pa.timestamp("us")).to_pylist()),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_an_array_is_converted_where_nothing_is_lost(given_array: pa.Array, wanted: ColumnType, values: Any) -> None:
    column = Column(ColumnType(given_array.type), None, given_array)
    assert all_same(wanted.to_values(column.array(wanted)), values)


@pytest.mark.parametrize(
    ("given_array", "wanted"),
    [
        (pa.array([1.5]), INT),
        (pa.array([2**53 + 1]), FLOAT),
        (pa.array([5]), STRING),
        (pa.array(["5"]), INT),
        (pa.array([True]), INT),
        (pa.array([5]), ColumnType(pa.bool_())),
        (pa.array([0.1]), COLUMNS["decimal"][0]),
        (pa.array([0], pa.timestamp("us")), COLUMNS["aware"][0]),
        (pa.array([0], pa.timestamp("us", tz="UTC")), COLUMNS["naive"][0]),
        (pa.array([1], pa.timestamp("us")), COLUMNS["date"][0]),
        (pa.array([1], pa.timestamp("ns")), COLUMNS["naive"][0]),
        (pa.array([5]), COLUMNS["naive"][0]),
        (pa.array([b"x"]), STRING),
        (COLUMNS["decimal"][0].to_array([1]), FLOAT),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_an_array_is_never_bent_to_fit(given_array: pa.Array, wanted: ColumnType) -> None:
    batch = ModelBatch({"a": Column(ColumnType(given_array.type), None, given_array)}, number_rows(1, 1), "t")
    with pytest.raises(UnsupportedValueError, match="column 'a', row 1 of t"):
        batch.to_arrow({"a": wanted})
