import copy
import datetime as dt
import pickle
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from pydantic import BaseModel

from tests.batches.strategies import all_same, tables
from zoopipe_core.adapters.arrow import ArrowStreamInputAdapter
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.python import PyGeneratorInputAdapter, PyGeneratorOutputAdapter
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import SourceKind, number_rows
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.errors import SourceError, SpecError, TargetError, UnsupportedValueError
from zoopipe_core.testing import read_rows, rows_of, write_rows

INT = ColumnType(pa.int64())
OPEN = ColumnType(pa.timestamp("us", tz="UTC"), open_zone=True)
NOON = dt.datetime(2024, 6, 1, 12)
ROWS = [{"n": number} for number in range(10)]
BATCH = pa.record_batch({"n": range(10)})


class User(BaseModel):
    n: int


@dataclass
class Point:
    n: int


def generated() -> Iterator[dict[str, Any]]:
    yield from ROWS


def failing(after: int) -> Iterator[dict[str, Any]]:
    yield from ROWS[:after]
    raise RuntimeError("no more pages")


# ---- input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", [ROWS, tuple(ROWS), generated(), generated, iter(ROWS), lambda: ROWS], ids=repr)
def test_rows_come_from_any_iterable(source: Any) -> None:
    with PyGeneratorInputAdapter(source).open(ReadRequest(batch_size=4)) as reader:
        assert reader.kind is SourceKind.OBJECTS
        assert reader.columns is None
        batches = list(reader)
    assert [batch.rows.tolist() for batch in batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert [row for batch in batches for row in rows_of(batch)] == ROWS


def test_objects_are_handed_on_as_they_are() -> None:
    objects = [User(n=1), Point(2), {"n": 3}, None, "no row"]
    with PyGeneratorInputAdapter(objects).open(ReadRequest()) as reader:
        (batch,) = reader
    assert list(batch.objects or ()) == objects


@pytest.mark.parametrize(
    "items",
    [
        [BATCH],
        [BATCH.slice(0, 3), BATCH.slice(3)],
        [pa.table(BATCH.to_pydict())],
        [BATCH.slice(0, 3), pa.Table.from_batches([BATCH.slice(3)])],
        [pl.DataFrame(ROWS[:5]), pl.DataFrame(ROWS[5:])],
    ],
    ids=["batch", "batches", "table", "both", "frames"],
)
def test_record_batches_and_tables_are_typed_sources(items: list[Any]) -> None:
    with PyGeneratorInputAdapter(items, name="chunks").open(ReadRequest(batch_size=4)) as reader:
        assert reader.kind is SourceKind.TYPED
        assert reader.columns is not None
        assert list(reader.columns) == ["n"]
        batches = list(reader)
        assert reader.fraction == 1.0
    assert [number for batch in batches for number in batch.rows.tolist()] == list(range(1, 11))
    assert [row for batch in batches for row in rows_of(batch)] == ROWS
    assert {batch.source for batch in batches} == {"chunks"}


def test_batches_of_other_columns_are_read_by_their_own() -> None:
    items = [pa.record_batch({"a": [1]}), pa.record_batch({"b": ["x"], "a": [2]})]
    adapter = PyGeneratorInputAdapter(items)
    assert read_rows(adapter) == [{"a": 1}, {"b": "x", "a": 2}]
    assert read_rows(adapter, ReadRequest(columns=frozenset({"a"}))) == [{"a": 1}, {"a": 2}]
    twice = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with PyGeneratorInputAdapter([twice]).open(ReadRequest()) as reader:
        assert reader.duplicates == {"x"}


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([{"n": 1}, BATCH], "row 2 is a RecordBatch after rows"),
        ([BATCH, {"n": 1}], "row 11 is a dict after record batches"),
    ],
)
def test_rows_and_batches_are_not_mixed(items: list[Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read_rows(PyGeneratorInputAdapter(items))


def test_a_generator_that_was_read_says_so_instead_of_giving_nothing() -> None:
    adapter = PyGeneratorInputAdapter(generated())
    assert read_rows(adapter) == ROWS
    with pytest.raises(SourceError, match="generated: this generator was read before and is used up; give a function"):
        adapter.open(ReadRequest())
    used = generated()
    list(used)
    with pytest.raises(SourceError, match="used up"):
        PyGeneratorInputAdapter(used).open(ReadRequest())
    with pytest.raises(SourceError, match="this list_iterator was read before"):
        read_rows(adapter := PyGeneratorInputAdapter(iter(ROWS))), read_rows(adapter)


def test_a_generator_cannot_be_pickled_and_says_what_can() -> None:
    with pytest.raises(SpecError, match="cannot be sent to another process; give a function"):
        pickle.dumps(PyGeneratorInputAdapter(generated()))
    copied = pickle.loads(pickle.dumps(PyGeneratorInputAdapter(generated)))
    assert copied == PyGeneratorInputAdapter(generated)
    assert read_rows(copied) == read_rows(copied) == ROWS


def test_what_the_iterable_raises_is_the_cause_and_its_row_is_named() -> None:
    adapter = PyGeneratorInputAdapter(lambda: failing(7), name="api")
    with adapter.open(ReadRequest(batch_size=4)) as reader:
        batches = iter(reader)
        assert next(batches).num_rows == 4
        with pytest.raises(SourceError, match="api: row 8: RuntimeError: no more pages") as caught:
            next(batches)
    assert isinstance(caught.value.__cause__, RuntimeError)
    with pytest.raises(SourceError, match="api: row 1: RuntimeError"):
        PyGeneratorInputAdapter(failing(0), name="api").open(ReadRequest())
    with pytest.raises(SourceError, match="api: ZeroDivisionError"):
        PyGeneratorInputAdapter(lambda: [1 / 0], name="api").open(ReadRequest())
    with pytest.raises(SourceError, match="api: TypeError: 'int' object is not iterable"):
        PyGeneratorInputAdapter(lambda: 5, name="api").open(ReadRequest())  # type: ignore[arg-type, return-value]


def test_a_generator_is_closed_with_its_reader() -> None:
    closed = []

    def rows() -> Iterator[dict[str, int]]:
        try:
            yield from ({"n": number} for number in range(1000))
        finally:
            closed.append(True)

    with PyGeneratorInputAdapter(rows).open(ReadRequest(batch_size=10)) as reader:
        next(iter(reader))
        assert not closed
    assert closed


def test_a_slow_iterable_is_left_when_the_load_is_cancelled() -> None:
    stop = threading.Event()

    def endless() -> Iterator[dict[str, int]]:
        for number in range(10**9):
            if number == 1000:
                stop.set()
            yield {"n": number}

    with PyGeneratorInputAdapter(endless).open(ReadRequest(batch_size=10**8, stop=stop)) as reader:
        assert list(reader) == []


@pytest.mark.parametrize("source", [[], (), iter(()), list], ids=repr)
def test_no_items_are_no_rows(source: Any) -> None:
    with PyGeneratorInputAdapter(source).open(ReadRequest()) as reader:
        assert reader.kind is SourceKind.OBJECTS
        assert list(reader) == []


async def asynchronous() -> Any:
    yield {"n": 1}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("rows.csv", "a str is no iterable of rows"),
        (b"rows", "a bytes is no iterable of rows"),
        ({"n": 1}, "a dict is no iterable of rows; put rows in a list"),
        (pa.table({"n": [1]}), "a Table is one table: use ArrowStreamInputAdapter"),
        (pl.DataFrame(ROWS), "a DataFrame is one table"),
        (asynchronous(), "asynchronous"),
        (5, "a int is no iterable of rows, and no function"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_iterable_of_rows_is_refused_when_the_adapter_is_built(source: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        PyGeneratorInputAdapter(source)


def test_the_label_is_the_name_or_what_the_iterable_is_called() -> None:
    assert PyGeneratorInputAdapter(ROWS).label == "list"
    assert PyGeneratorInputAdapter(generated).label == "generated"
    assert PyGeneratorInputAdapter(generated()).label == "generated"
    assert PyGeneratorInputAdapter(iter(ROWS)).label == "list_iterator"
    assert PyGeneratorInputAdapter(ROWS, name="fixtures").label == "fixtures"
    assert repr(PyGeneratorInputAdapter([{"password": "s3cret"}])) == "PyGeneratorInputAdapter('list')"


# ---- output ---------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(tables())
def test_rows_of_every_type_come_back_the_same(
    table: tuple[dict[str, ColumnType], list[dict[str, Any]]],
) -> None:
    types, rows = table
    output = PyGeneratorOutputAdapter()
    write_rows(output, rows, types, batch_size=3)
    assert len(output) == len(rows)
    assert all_same(list(output), rows)
    assert all_same(list(output), rows)
    assert output.to_table().num_rows == len(rows)
    assert all_same(read_rows(ArrowStreamInputAdapter(output)), rows)


def test_rows_are_asked_for_after_the_run() -> None:
    output = PyGeneratorOutputAdapter()
    for ask in (iter, list, len, PyGeneratorOutputAdapter.to_table, pl.DataFrame):
        with pytest.raises(TargetError, match="run the pipe first"):
            ask(output)
    assert output
    writer = output.open()
    writer.start({"n": INT})
    writer.write(ModelBatch.from_rows(ROWS, {"n": INT}))
    writer.prepare()
    assert not output.is_published
    writer.publish()
    assert output.is_published
    assert list(output) == ROWS
    second = output.open()
    second.start({"n": INT})
    assert list(output) == ROWS
    second.publish()
    assert list(output) == []
    assert len(output) == 0
    assert output


def test_a_copy_starts_empty_and_is_the_same_adapter() -> None:
    output = PyGeneratorOutputAdapter()
    write_rows(output, ROWS, {"n": INT})
    for copied in (pickle.loads(pickle.dumps(output)), copy.deepcopy(output)):
        assert copied == output
        assert hash(copied) == hash(output)
        with pytest.raises(TargetError, match="a copy of the adapter"):
            list(copied)
    assert repr(output) == "PyGeneratorOutputAdapter('memory')"


def test_results_go_to_polars_and_duckdb() -> None:
    output = PyGeneratorOutputAdapter()
    write_rows(output, ROWS, {"n": INT})
    assert pl.DataFrame(output).to_dicts() == ROWS
    connection = duckdb.connect()
    connection.register("results", output.to_table())
    assert connection.sql("select sum(n) from results").fetchall() == [(45,)]


def test_a_table_has_the_columns_even_without_rows() -> None:
    output = PyGeneratorOutputAdapter()
    write_rows(output, [], {"n": INT, "at": OPEN})
    assert output.to_table().schema == pa.schema([("n", pa.int64()), ("at", pa.timestamp("us", tz="UTC"))])


def test_open_columns_are_settled_over_all_batches() -> None:
    output = PyGeneratorOutputAdapter()
    rows = [{"at": None, "x": None}, {"at": NOON, "x": None}, {"at": None, "x": 1.5}]
    write_rows(output, rows, {"at": OPEN, "x": ColumnType(pa.null())}, batch_size=1)
    assert output.to_table().schema == pa.schema([("at", pa.timestamp("us")), ("x", pa.float64())])
    mixed = [{"at": NOON}, {"at": NOON.replace(tzinfo=dt.UTC)}]
    write_rows(output, mixed, {"at": OPEN}, batch_size=1)
    assert list(output) == mixed
    with pytest.raises(UnsupportedValueError, match="declare AwareDatetime or NaiveDatetime"):
        output.to_table()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], pa.float64()),
        ([None, 1, 2], pa.int64()),
        (["a", 1, None], pa.json_()),
        ([None, None], pa.null()),
        ([NOON, None, NOON], pa.timestamp("us")),
        ([[1], {"a": 2}], pa.json_()),
    ],
    ids=repr,
)
def test_a_column_beyond_the_declared_ones_gets_a_type_that_holds_all_its_values(
    values: list[Any], kind: pa.DataType
) -> None:
    output = PyGeneratorOutputAdapter()
    rows = [{"n": 1, "x": value} for value in values]
    writer = output.open()
    writer.start({"n": INT})
    for row in rows:
        writer.write(ModelBatch.from_rows([row], {"n": INT}))
    writer.publish()
    table = output.to_table()
    assert table.schema.field("x").type == kind
    found = [ColumnType(kind).to_values(chunk) for chunk in table["x"].chunks]
    assert [value for chunk in found for value in chunk] == values
    assert list(output) == rows


def test_keys_that_a_row_lacks_are_absent_in_rows_and_null_in_the_table() -> None:
    output = PyGeneratorOutputAdapter()
    write_rows(output, [{"a": 1}, {"b": "x"}], {"a": INT, "b": STRING})
    assert list(output) == [{"a": 1}, {"b": "x"}]
    assert output.to_table().to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]


def test_columns_of_arrays_are_rows_too() -> None:
    output = PyGeneratorOutputAdapter()
    writer = output.open()
    writer.start({"n": INT, "j": JSON})
    array = JSON.to_array([{"a": 1}, None])
    writer.write(
        ModelBatch({"n": Column(INT, None, pa.array([1, 2])), "j": Column(JSON, None, array)}, number_rows(1, 2))
    )
    writer.publish()
    assert list(output) == [{"n": 1, "j": {"a": 1}}, {"n": 2, "j": None}]
