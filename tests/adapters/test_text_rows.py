"""Rows written by kernels and rows written by Python are the same bytes, whatever the columns and the dialect."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AwareDatetime, TypeAdapter

from zoopipe_core.adapters.csv import CSVOutputAdapter
from zoopipe_core.adapters.csv_writer import CSVWriter
from zoopipe_core.adapters.json import JSONOutputAdapter
from zoopipe_core.adapters.json_text import json_text, json_texts
from zoopipe_core.adapters.json_writer import JSONWriter
from zoopipe_core.adapters.text_rows import encode_csv_rows, encode_json_rows
from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.types import JSON, STRING, ColumnType, infer_column_type
from zoopipe_core.errors import UnsupportedValueError
from zoopipe_core.kernels import native
from zoopipe_core.kernels.switch import SWITCH


@pytest.fixture(scope="module", autouse=True)
def _compiled(compiled_kernels: Path) -> None:
    assert native.load()


@pytest.fixture
def _ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels are used for batches of any size."""
    monkeypatch.setattr(SWITCH, "worthwhile", lambda rows: True)


class Colour(Enum):
    RED = "red"
    TEXT = '="x"'
    GONE = None


class Level(IntEnum):
    LOW = -1
    HIGH = 2


class Word(StrEnum):
    FORMULA = "=1"
    COMMA = "a,b"


NO_ROWS_LESS = st.integers(0, 3)
utc = st.just(UTC)
nasty = st.sampled_from(["", "NA", "=1", '"', "a,b", "\n", "\ufeffx", "é😀", "\x00\x1f", "'", "-"])
int64s = st.integers(-(2**63), 2**63 - 1)
texts = st.text(max_size=9) | nasty

ARROW_CELLS: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.null(): st.none(),
    pa.bool_(): st.booleans(),
    pa.int8(): st.integers(-128, 127),
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.int64(): int64s,
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.string(): texts,
    pa.large_string(): texts,
    pa.string_view(): texts,
    pa.dictionary(pa.int32(), pa.string()): texts,
    pa.binary(): texts.map(str.encode),
    pa.large_binary(): texts.map(str.encode),
    pa.date32(): st.dates(),
    pa.date64(): st.dates(),
    pa.timestamp("s"): st.datetimes().map(lambda value: value.replace(microsecond=0)),
    pa.timestamp("ms"): st.datetimes().map(lambda value: value.replace(microsecond=7000)),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("ns"): st.datetimes(datetime(1700, 1, 1), datetime(2200, 1, 1)),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=utc),
    pa.timestamp("us", "Europe/Berlin"): st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=utc),
    pa.time32("s"): st.times().map(lambda value: value.replace(microsecond=0)),
    pa.time64("us"): st.times(),
    pa.time64("ns"): st.times(),
    pa.duration("s"): st.integers(-(10**12), 10**12).map(lambda n: timedelta(seconds=n)),
    pa.duration("us"): st.timedeltas(timedelta(-10**8), timedelta(10**8)),
    pa.decimal128(9, 2): st.decimals(-(10**6), 10**6, places=2),
    pa.decimal128(38, 20): st.decimals(-1, 1, places=20) | st.decimals(-(10**6), 10**6, places=20),
    pa.decimal128(12, 0): st.decimals(-(10**9), 10**9, places=0),
    pa.decimal256(50, 9): st.decimals(-(10**9), 10**9, places=9),
    pa.list_(pa.int64()): st.lists(int64s, max_size=3),
}  # fmt: skip

VALUE_CELLS: dict[str, st.SearchStrategy[Any]] = {
    "int": int64s,
    "large int": st.integers(),
    "float": st.floats(),
    "bool": st.booleans(),
    "str": texts,
    "bytes": texts.map(str.encode),
    "date": st.dates(),
    "datetime": st.datetimes(),
    "aware": st.datetimes(timezones=utc),
    "zoned": st.datetimes(timezones=st.sampled_from([UTC, ZoneInfo("Asia/Tokyo"), timezone(timedelta(hours=-3))])),
    "either": st.datetimes(timezones=st.none() | utc),
    "validated": st.datetimes(timezones=utc).map(
        lambda value: TypeAdapter(AwareDatetime).validate_python(value.isoformat())
    ),
    "time": st.times(),
    "aware time": st.times(timezones=utc),
    "timedelta": st.timedeltas(),
    "decimal": st.decimals(),
    "uuid": st.uuids(),
    "enum": st.sampled_from(Colour),
    "int enum": st.sampled_from(Level),
    "text enum": st.sampled_from(Word),
    "list": st.lists(st.integers() | st.none() | st.text(max_size=2), max_size=2),
    "dict": st.dictionaries(st.text(max_size=2), st.floats() | st.dates(), max_size=2),
    "anything": st.integers() | st.text(max_size=3) | st.dates() | st.floats() | st.just(Level.LOW),
}


@st.composite
def arrow_columns(draw: st.DrawFn, count: int, kinds: Sequence[pa.DataType] = tuple(ARROW_CELLS)) -> Column:
    """A column held as an array, which may be a slice of a longer one."""
    kind = draw(st.sampled_from(kinds))
    cells = ARROW_CELLS[kind]
    front, back = draw(NO_ROWS_LESS), draw(NO_ROWS_LESS)
    nullable = draw(st.booleans())
    size = front + count + back
    values = draw(st.lists(st.none() | cells if nullable else cells, min_size=size, max_size=size))
    return Column(ColumnType(kind), None, pa.array(values, kind).slice(front, count))


@st.composite
def value_columns(draw: st.DrawFn, count: int) -> Column:
    """A column held as Python values."""
    cells = VALUE_CELLS[draw(st.sampled_from(sorted(VALUE_CELLS)))]
    values = draw(st.lists(st.none() | cells, min_size=count, max_size=count))
    return Column(infer_column_type(values) or STRING, values)


@st.composite
def batches(draw: st.DrawFn) -> Callable[[], ModelBatch]:
    """Makes the same batch again and again: writing one fills in the other form of its columns."""
    count = draw(st.integers(1, 5))
    columns = draw(st.lists(arrow_columns(count) | value_columns(count), min_size=1, max_size=4))
    names = draw(st.permutations(["a", 'q"', "é", "=n,"]))

    def make() -> ModelBatch:
        fresh = {name: _copy(column) for name, column in zip(names, columns, strict=False)}
        return ModelBatch(fresh, np.arange(1, count + 1), "here")

    return make


def _copy(column: Column) -> Column:
    array = column.held_array
    return Column(column.type, None if array is not None else column.values, array)


def encoded(open_writer: Callable[[], JSONWriter | CSVWriter], make: Callable[[], ModelBatch]) -> list[Any]:
    """What is written for a batch with kernels and without; or why it is not."""
    results: list[Any] = []
    for ready in (True, False):
        writer = open_writer()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(SWITCH, "worthwhile", lambda rows, ready=ready: ready)
            batch = make()
            writer.start(batch.types)
            try:
                results.append(bytes(writer.encode(batch)))
            except UnsupportedValueError as error:
                results.append(str(error))
        writer.abort()
    return results


@given(make=batches(), array=st.booleans())
def test_json_is_the_same_bytes_with_kernels_and_without(make: Callable[[], ModelBatch], array: bool) -> None:
    adapter = JSONOutputAdapter("/dev/null", format="array" if array else "jsonl")
    by_kernels, by_python = encoded(lambda: JSONWriter(adapter), make)
    assert by_kernels == by_python


DIALECTS = st.fixed_dictionaries({
    "delimiter": st.sampled_from(",;\t|-.:0eT"),
    "quotechar": st.sampled_from("\"'2a"),
    "null_text": st.sampled_from(["", "NA", "null", "0", "nan", "true", "é", "1970-01-01"]),
    "escape_formulas": st.booleans(),
    "lineterminator": st.sampled_from(["\n", "\r\n"]),
})  # fmt: skip


@given(make=batches(), dialect=DIALECTS, chosen=st.booleans())
def test_csv_is_the_same_bytes_with_kernels_and_without(
    make: Callable[[], ModelBatch], dialect: dict[str, Any], chosen: bool
) -> None:
    if dialect["delimiter"] in dialect["null_text"] or dialect["quotechar"] in dialect["null_text"]:
        dialect["null_text"] = ""
    names = list(make().columns)[::-1] if chosen else None
    adapter = CSVOutputAdapter("/dev/null", fieldnames=names, **dialect)
    by_kernels, by_python = encoded(lambda: CSVWriter(adapter), make)
    assert by_kernels == by_python


BY_VALUES = (
    pa.list_(pa.int64()), pa.timestamp("us", "Europe/Berlin"), pa.date64(), pa.dictionary(pa.int32(), pa.string()),
)  # fmt: skip
BY_KERNELS = [kind for kind in ARROW_CELLS if kind not in BY_VALUES]


@pytest.mark.parametrize("kind", BY_KERNELS, ids=str)
def test_a_column_of_this_type_makes_no_python_values(kind: pa.DataType) -> None:
    cells = [0, None] if pa.types.is_integer(kind) or pa.types.is_floating(kind) else [None, None]
    column = Column(ColumnType(kind), None, pa.array(cells, kind))
    batch = ModelBatch({"a": column}, np.arange(1, 3))
    assert encode_json_rows(batch, b"\n") is not None
    assert encode_csv_rows(batch, ["a"], CSVOutputAdapter("x").format) is not None
    assert column.held_array is not None


@pytest.mark.usefixtures("_ready")
def test_kernels_write_what_is_documented() -> None:
    table = pa.record_batch({
        "n": pa.array([1, None]), "x": pa.array([1e-05, math.nan]), "t": pa.array(['é"\n', ""]),
        "d": pa.array([date(2024, 2, 29), None]), "at": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None]),
        "p": pa.array([Decimal("1.50"), Decimal("-0.00")], pa.decimal128(9, 2)),
        "u": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([UUID(int=1).bytes, None], pa.binary(16))),
    })  # fmt: skip
    batch = ModelBatch.from_arrow(table, np.array([1, 2]))
    text = encode_json_rows(batch, b"\n")
    assert text is not None
    assert text.to_pybytes().decode() == (
        '{"n":1,"x":0.00001,"t":"é\\"\\n","d":"2024-02-29","at":"2024-01-01T00:00:00Z","p":"1.50",'
        '"u":"00000000-0000-0000-0000-000000000001"}\n'
        '{"n":null,"x":null,"t":"","d":null,"at":null,"p":"0.00","u":null}'
    )
    assert [json.loads(line)["n"] for line in text.to_pybytes().splitlines()] == [1, None]
    records = encode_csv_rows(batch, [*batch.columns, "lacking"], CSVOutputAdapter("x").format)
    assert records is not None
    assert records.to_pybytes().decode() == (
        '1,1e-05,"é""\n",2024-02-29,2024-01-01T00:00:00Z,1.50,00000000-0000-0000-0000-000000000001,\n,nan,"",,,0.00,,\n'
    )


def uuids(values: Sequence[UUID | None]) -> pa.Array:
    storage = pa.array([value and value.bytes for value in values], pa.binary(16))
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def test_uuids_and_json_columns_of_sliced_arrays_are_the_same_both_ways() -> None:
    keys = uuids([UUID(int=9), None, UUID(int=2**128 - 1), UUID(int=0), None]).slice(1, 3)
    storage = pa.array(["1", '{"x": [1, null]}', None, '"t"', "2"]).slice(1, 3)
    table = pa.record_batch({"u": keys, "j": pa.ExtensionArray.from_storage(JSON.arrow, storage)})

    def make() -> ModelBatch:
        return ModelBatch.from_arrow(table, np.arange(1, 4))

    for escape in (False, True):
        adapter = CSVOutputAdapter("/dev/null", delimiter="-", escape_formulas=escape)
        by_kernels, by_python = encoded(lambda adapter=adapter: CSVWriter(adapter), make)
        assert by_kernels == by_python
    by_kernels, by_python = encoded(lambda: JSONWriter(JSONOutputAdapter("/dev/null")), make)
    assert by_kernels == by_python


OUT_OF_RANGE = [
    pa.array([0, -719_163], pa.int32()).view(pa.date32()),
    pa.array([0, 2_932_897], pa.int32()).view(pa.date32()),
    pa.array([0, -(2**63)], pa.int64()).view(pa.timestamp("us")),
    pa.array([0, 253_402_300_800_000_000], pa.int64()).view(pa.timestamp("us")),
    pa.array([0, 1], pa.timestamp("ns")),
    pa.array([b"a", b"\xff"]).view(pa.string()),
]


@pytest.mark.parametrize("array", OUT_OF_RANGE, ids=lambda array: str(array.type))
def test_a_cell_that_python_cannot_hold_fails_the_same_way(array: pa.Array) -> None:
    def make() -> ModelBatch:
        return ModelBatch.from_arrow(pa.record_batch({"a": array}), np.arange(1, 3), "here")

    for open_writer in (
        lambda: JSONWriter(JSONOutputAdapter("/dev/null")),
        lambda: CSVWriter(CSVOutputAdapter("/dev/null")),
    ):
        by_kernels, by_python = encoded(open_writer, make)
        assert isinstance(by_python, str)
        assert by_kernels == by_python


@pytest.mark.parametrize("value", ["\ud800", object(), {"x": "\udfff"}], ids=repr)
def test_a_value_that_cannot_be_written_is_named_all_the_same(value: Any) -> None:
    def make() -> ModelBatch:
        return ModelBatch.from_rows([{"a": 1, "b": "x"}, {"a": 2, "b": value}], {}, source="here")

    by_kernels, by_python = encoded(lambda: JSONWriter(JSONOutputAdapter("/dev/null")), make)
    assert "column 'b', row 2 of here" in by_python
    assert by_kernels == by_python


@pytest.mark.parametrize(
    "values", [[], [None], ["\0|"], [[1, "\0|", 2], 5], [["x", "\0|"], "y"], ["\0|"] * 3], ids=repr
)
def test_texts_of_a_column_are_those_of_its_values(values: list[Any]) -> None:
    assert json_texts(values) == [json_text(value) for value in values]


@given(values=st.lists(VALUE_CELLS["list"] | VALUE_CELLS["dict"] | VALUE_CELLS["anything"]))
def test_texts_of_any_column_are_those_of_its_values(values: list[Any]) -> None:
    assert json_texts(values) == [json_text(value) for value in values]


@pytest.mark.usefixtures("_ready")
def test_garbage_under_nulls_is_never_looked_at() -> None:
    valid = pa.py_buffer(b"\x01")
    micros = pa.py_buffer(np.array([0, -(2**63)], np.int64))
    broken = [None, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"a\xff")]
    arrays = {
        "at": pa.Array.from_buffers(pa.timestamp("us"), 2, [valid, micros]),
        "text": pa.Array.from_buffers(pa.string(), 2, [valid, *broken[1:]]),
        "flag": pa.Array.from_buffers(pa.bool_(), 2, [valid, pa.py_buffer(b"\x03")]),
    }
    text = encode_json_rows(ModelBatch.from_arrow(pa.record_batch(arrays), np.arange(1, 3)), b"\n")
    assert text is not None
    assert text.to_pybytes().splitlines()[1] == b'{"at":null,"text":null,"flag":null}'


@pytest.mark.usefixtures("_ready")
def test_rows_that_lack_a_key_are_left_to_python_in_json_and_null_in_csv() -> None:
    def make() -> ModelBatch:
        return ModelBatch({"a": Column(STRING, ["x", MISSING, None])}, np.arange(1, 4))

    assert encode_json_rows(make(), b"\n") is None
    by_kernels, by_python = encoded(lambda: JSONWriter(JSONOutputAdapter("/dev/null")), make)
    assert by_kernels == by_python == b'{"a":"x"}\n{}\n{"a":null}'
    by_kernels, by_python = encoded(lambda: CSVWriter(CSVOutputAdapter("/dev/null")), make)
    assert by_kernels == by_python == b'x\n""\n""\n'


@pytest.mark.usefixtures("_ready")
def test_files_with_kernels_are_whole(tmp_path: Path) -> None:
    def batch(first: int) -> ModelBatch:
        table = pa.record_batch({"n": pa.array([first, first + 1]), "t": pa.array(["é", None])})
        return ModelBatch.from_arrow(table, np.arange(first, first + 2))

    rows = '{"n":1,"t":"é"}', '{"n":2,"t":null}', '{"n":3,"t":"é"}', '{"n":4,"t":null}'
    adapters = {
        JSONOutputAdapter(tmp_path / "a.jsonl"): "\n".join(rows) + "\n",
        JSONOutputAdapter(tmp_path / "a.json", format="array"): "[\n" + ",\n".join(rows) + "\n]",
        CSVOutputAdapter(tmp_path / "a.csv"): "n,t\n1,é\n2,\n3,é\n4,\n",
    }  # fmt: skip
    for adapter, expected in adapters.items():
        writer = adapter.open()
        writer.start(batch(1).types)
        writer.write(batch(1))
        writer.write(batch(3))
        writer.prepare()
        writer.publish()
        assert Path(str(adapter.path)).read_text(encoding="utf-8") == expected
    compressed = JSONOutputAdapter(tmp_path / "a.jsonl.gz").open()
    compressed.start({})
    compressed.write(batch(1))
    compressed.prepare()
    compressed.publish()
    with pa.input_stream(tmp_path / "a.jsonl.gz") as stream:
        assert stream.read().decode() == '{"n":1,"t":"é"}\n{"n":2,"t":null}\n'


@pytest.mark.usefixtures("_ready")
def test_batches_may_be_encoded_by_many_threads_at_once(tmp_path: Path) -> None:
    writer = JSONWriter(JSONOutputAdapter(tmp_path / "out.jsonl"))
    start = threading.Barrier(4)

    def batch(seed: int) -> ModelBatch:
        rng = np.random.default_rng(seed)
        count = 2_000
        table = pa.record_batch({"n": rng.integers(-9, 10**9, count), "x": rng.random(count), "t": ["é"] * count})
        return ModelBatch.from_arrow(table, np.arange(count))

    def work(seed: int) -> list[bytes]:
        start.wait()
        return [bytes(writer.encode(batch(seed + k))) for k in range(5)]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(0, 40, 10)))
    assert found == [[bytes(writer.encode(batch(seed + k))) for k in range(5)] for seed in range(0, 40, 10)]
    writer.abort()


@pytest.fixture(autouse=True)
def _kernels_stay_loaded() -> Iterator[None]:
    yield
    assert native.load()
