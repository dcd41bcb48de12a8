"""JSON files written: every row as pydantic writes it, in a file that appears complete or not at all."""

import json
import math
import os
import pickle
import random
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter

from zoopipe_core.adapters.json import JSONOutputAdapter
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import JSON
from zoopipe_core.errors import SpecError, TargetWriteError, UnsupportedValueError

Format = Literal["jsonl", "array"]


def write_rows(adapter: JSONOutputAdapter, *groups: list[dict[str, Any]]) -> None:
    write_batches(adapter, *(ModelBatch.from_rows(rows, {}) for rows in groups))


def write_batches(adapter: JSONOutputAdapter, *batches: ModelBatch) -> None:
    writer = adapter.open()
    writer.start({})
    for batch in batches:
        writer.write(batch)
    writer.prepare()
    writer.publish()


class Colour(Enum):
    RED = "red"
    NONE = None


class Level(IntEnum):
    LOW = 1


class Inner(BaseModel):
    price: Decimal
    parts: list[dict[str, int]] = []


class Everything(BaseModel):
    id: int
    name: str
    ratio: float
    price: Decimal | None
    at: datetime
    day: date
    clock: time
    span: timedelta
    key: UUID
    raw: bytes
    colour: Colour
    level: Level
    inner: Inner
    tags: set[str]
    pair: tuple[int, str]
    where: Path
    address: IPv4Address
    anything: Any = None


def everything(number: int, **changes: Any) -> Everything:
    values = {
        "id": number, "name": "},{", "ratio": 0.1, "price": Decimal("1.10"), "at": datetime(2024, 1, 2, tzinfo=UTC),
        "day": date(1, 1, 1), "clock": time(1, 2, 3, 4), "span": timedelta(days=-1, microseconds=1), "key": UUID(int=7),
        "raw": b"\xc3\xa9", "colour": Colour.RED, "level": 1, "tags": {"x"}, "pair": (1, "y"), "where": "/tmp",
        "address": "127.0.0.1", "inner": {"price": "1e30", "parts": [{"a": 1}, {"b": 2}]},
    }  # fmt: skip
    return Everything.model_validate(values | changes)


def parsed(path: Path, format: Format) -> list[Any]:
    text = path.read_text(encoding="utf-8")
    if format == "array":
        values: list[Any] = json.loads(text)
        return values
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


LAYOUTS: list[tuple[Format, int | None]] = [("jsonl", None), ("array", None), ("array", 0), ("array", 2)]
all_layouts = pytest.mark.parametrize(("format", "indent"), LAYOUTS)


@all_layouts
def test_what_is_written_parses_to_what_model_dump_json_parses_to(
    tmp_path: Path, format: Format, indent: int | None
) -> None:
    models = [
        everything(1),
        everything(10**40, ratio=math.inf, price=None),
        everything(-(2**63), ratio=math.nan, at=datetime(9999, 12, 31, 23, 59, 59, 999999)),
        everything(2**64 - 1, ratio=-0.0, anything={"x": [math.nan, -math.inf, {1: None}], "é": "\u2028\x00\x7f"}),
        everything(0, ratio=5e-324, colour=Colour.NONE, price=Decimal("-0.0")),
    ]
    path = tmp_path / "out"
    groups = [[model.model_dump() for model in models[:3]], [], [model.model_dump() for model in models[3:]]]
    write_rows(JSONOutputAdapter(path, format=format, indent=indent), *groups)
    assert parsed(path, format) == [json.loads(model.model_dump_json()) for model in models]


ANY = TypeAdapter(dict[str, Any])
cells = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.decimals() | st.datetimes()
    | st.dates() | st.times() | st.timedeltas() | st.uuids() | st.sampled_from(["},{", "\n", *Colour, *Level])
    | st.datetimes(timezones=st.just(UTC)) | st.binary(max_size=3).filter(lambda data: data.isascii()),
    lambda inner: st.lists(inner, max_size=2) | st.tuples(inner)
    | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    | st.dictionaries(st.integers() | st.booleans(), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
rows_of_cells = st.lists(st.dictionaries(st.sampled_from(["a", "b", "},{"]), cells), min_size=1, max_size=4)


@given(rows_of_cells, st.sampled_from(LAYOUTS))
def test_any_values_are_written_as_pydantic_writes_them(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], layout: tuple[Format, int | None]
) -> None:
    format, indent = layout
    path = tmp_path_factory.getbasetemp() / "any.json"
    write_rows(JSONOutputAdapter(path, format=format, indent=indent), rows, rows)
    assert parsed(path, format) == [json.loads(ANY.dump_json(row)) for row in rows] * 2


def test_the_layouts_are_as_documented(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": [{}, {}]}, {}]
    path = tmp_path / "out"
    write_rows(JSONOutputAdapter(path), rows[:1], rows[1:])
    assert path.read_text() == '{"a":1,"b":[{},{}]}\n{}\n'
    write_rows(JSONOutputAdapter(path, format="array"), rows[:1], rows[1:])
    assert path.read_text() == '[\n{"a":1,"b":[{},{}]},\n{}\n]'
    write_rows(JSONOutputAdapter(path, format="array", indent=2), rows[:1], rows[1:])
    assert path.read_text() == json.dumps(rows, indent=2)


def test_without_rows_lines_are_an_empty_file_and_an_array_is_two_brackets(tmp_path: Path) -> None:
    for format, indent in LAYOUTS:
        write_rows(JSONOutputAdapter(tmp_path / "out", format=format, indent=indent), [])
        assert (tmp_path / "out").read_bytes() == (b"" if format == "jsonl" else b"[]")


@all_layouts
def test_the_models_own_json_is_written_where_there_is_one(tmp_path: Path, format: Format, indent: int | None) -> None:
    lines = [b'{"a":"x","n":%d,"f":1.5}' % 10**40, b'{"a":NaN,"b":[{},{"c":"},{"}]}']
    batch = ModelBatch.from_rows([{"a": 1}, {"a": 2}], {}, json_lines=lines)
    adapter = JSONOutputAdapter(tmp_path / "out", format=format, indent=indent)
    assert adapter.wants_json
    write_batches(adapter, batch, batch)
    assert repr(parsed(tmp_path / "out", format)) == repr([json.loads(line) for line in lines] * 2)


def test_arrow_columns_are_written_as_their_values(tmp_path: Path) -> None:
    table = pa.record_batch({
        "j": pa.ExtensionArray.from_storage(JSON.arrow, pa.array(['{"x": [1, null]}', None])),
        "d": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)),
        "t": pa.array([datetime(2024, 1, 1, tzinfo=UTC), None], pa.timestamp("us", "UTC")),
    })  # fmt: skip
    write_batches(JSONOutputAdapter(tmp_path / "out"), ModelBatch.from_arrow(table, np.array([1, 2])))
    first, second = parsed(tmp_path / "out", "jsonl")
    assert first == {"j": {"x": [1, None]}, "d": "1.50", "t": "2024-01-01T00:00:00Z"}
    assert second == {"j": None, "d": None, "t": None}


def test_rows_need_not_have_the_same_keys(tmp_path: Path) -> None:
    write_rows(JSONOutputAdapter(tmp_path / "out"), [{"a": 1}, {"b": 2}], [{"c": 3}])
    assert parsed(tmp_path / "out", "jsonl") == [{"a": 1}, {"b": 2}, {"c": 3}]


@all_layouts
@pytest.mark.parametrize("value", [b"\xff", "\ud800", object(), {"x": ["\ud800"]}])
def test_a_value_without_json_form_is_named_with_its_column_and_row(
    tmp_path: Path, format: Format, indent: int | None, value: Any
) -> None:
    adapter = JSONOutputAdapter(tmp_path / "out", format=format, indent=indent)
    rows = [{"id": 1, "v": "ok"}, {"id": 2, "v": value}]
    writer = adapter.open()
    writer.start({})
    with pytest.raises(UnsupportedValueError, match=r"out: column 'v', row 12 of in\.csv: the value .* as JSON"):
        writer.write(ModelBatch.from_rows(rows, {}, np.array([11, 12]), "in.csv"))
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl.gz"
    write_rows(JSONOutputAdapter(path), [{"a": 1}])
    before = path.read_bytes()
    writer = JSONOutputAdapter(path).open()
    writer.start({})
    writer.write(ModelBatch.from_rows([{"a": 2}], {}))
    writer.prepare()
    assert path.read_bytes() == before
    writer.abort()
    writer.abort()
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["out.jsonl.gz"]


@all_layouts
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_a_full_disk_is_a_clear_error(format: Format, indent: int | None, compression: str | None) -> None:
    writer = JSONOutputAdapter("/dev/full", format=format, indent=indent, compression=compression).open()
    writer.start({})
    batch = ModelBatch.from_rows([{"a": str(random.random())} for _ in range(10_000)], {})

    def fill() -> None:
        for _ in range(10):
            writer.write(batch)
        writer.prepare()

    with pytest.raises(TargetWriteError, match=r"/dev/full cannot be written"):
        fill()
    writer.abort()


def test_output_arguments_are_checked_and_the_writer_counts_its_bytes(tmp_path: Path) -> None:
    adapter = JSONOutputAdapter(tmp_path / "out.jsonl")
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    assert JSONOutputAdapter("s3://key:canary@bucket/out.jsonl").label == "s3://bucket/out.jsonl"
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"format": "xml"}, 'format has to be "jsonl" or "array", not \'xml\''),
        ({"indent": 2}, 'indent=2 needs format="array"'),
        ({"format": "array", "indent": -1}, "indent has to be 0 to 16, or None, not -1"),
        ({"compression": "zip"}, "compression has to be 'infer', 'gzip', 'bz2', 'zstd' or None, not 'zip'"),
    ]
    for arguments, message in wrong:
        with pytest.raises(SpecError) as caught:
            JSONOutputAdapter("out", **arguments)
        assert message in str(caught.value)
    with pytest.raises(SpecError, match="one file"):
        JSONOutputAdapter(["a", "b"])  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == []
    writer = adapter.open()
    writer.start({})
    writer.write(ModelBatch.from_rows([{"a": 1}], {}))
    writer.publish()
    assert writer.bytes_written == 8
    writer.abort()
    assert os.listdir(tmp_path) == ["out.jsonl"]
