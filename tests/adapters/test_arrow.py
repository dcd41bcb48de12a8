import datetime as dt
import gzip
import pickle
import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pytest
from hypothesis import given, settings

from tests.batches.strategies import all_same, tables
from zoopipe_core.adapters.arrow import ArrowInputAdapter, ArrowOutputAdapter, ArrowStreamInputAdapter
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import number_rows
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.errors import CorruptSourceError, SourceError, SpecError, TargetError, TargetWriteError
from zoopipe_core.testing import read_rows, rows_of, write_rows

INT = ColumnType(pa.int64())
OPEN = ColumnType(pa.timestamp("us", tz="UTC"), open_zone=True)
TABLE = pa.table({"n": range(100), "s": [f"text {number}" for number in range(100)]})
ROWS = TABLE.to_pylist()


def written(path: Path, table: pa.Table = TABLE, format: str = "file", chunk: int = 30, **options: Any) -> Path:
    new = pa.ipc.new_file if format == "file" else pa.ipc.new_stream
    with (
        pa.OSFile(str(path), "wb") as sink,
        new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer,
    ):
        writer.write_table(table, max_chunksize=chunk)
    return path


# ---- files and streams ----------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(tables())
def test_rows_of_every_type_come_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[dict[str, ColumnType], list[dict[str, Any]]]
) -> None:
    types, rows = table
    folder = tmp_path_factory.mktemp("arrow")
    for output in (
        ArrowOutputAdapter(folder / "file.arrow"),
        ArrowOutputAdapter(folder / "stream.arrow", format="stream", compression="lz4"),
    ):
        write_rows(output, rows, types, batch_size=3)
        assert all_same(read_rows(ArrowInputAdapter(output.path)), rows)


@pytest.mark.parametrize("suffix", [".arrow", ".arrow.gz", ".feather.zst"])
@pytest.mark.parametrize("format", ["file", "stream"])
@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
def test_each_way_of_writing_can_be_read(tmp_path: Path, suffix: str, format: Any, compression: Any) -> None:
    path = tmp_path / f"rows{suffix}"
    write_rows(ArrowOutputAdapter(path, format, compression), ROWS, {"n": INT, "s": STRING})
    assert read_rows(ArrowInputAdapter(path)) == ROWS
    for wanted in ({"s"}, {"n"}, set[str]()):
        rows = read_rows(ArrowInputAdapter(path), ReadRequest(columns=frozenset(wanted)))
        assert rows == [{name: value for name, value in row.items() if name in wanted} for row in ROWS]


def test_a_local_file_is_read_where_it_lies(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.arrow", pa.table({"n": range(1_000_000)}), chunk=100_000)
    before = pa.total_allocated_bytes()
    with ArrowInputAdapter(path).open(ReadRequest(batch_size=10_000)) as reader:
        peak = max(pa.total_allocated_bytes() - before for _ in reader)
    assert peak < 1_000_000


def test_a_stream_is_read_in_constant_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.arrow", pa.table({"n": range(1_000_000)}), "stream", chunk=10_000)
    before = pa.total_allocated_bytes()
    with ArrowInputAdapter(path).open(ReadRequest(batch_size=10_000)) as reader:
        peak = max(pa.total_allocated_bytes() - before for _ in reader)
    assert peak < 1_000_000


def test_tiny_batches_are_joined(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.arrow", chunk=1)
    with ArrowInputAdapter(path).open(ReadRequest(batch_size=40)) as reader:
        assert [batch.rows.tolist()[0] for batch in reader] == [1, 41, 81]


def test_batches_of_other_schemas_are_not_joined(tmp_path: Path) -> None:
    written(tmp_path / "1.arrow", pa.table({"a": [1]}))
    written(tmp_path / "2.arrow", pa.table({"a": ["x"], "b": [2]}), "stream")
    adapter = ArrowInputAdapter([tmp_path / "1.arrow", tmp_path / "2.arrow"], limit=5)
    with adapter.open(ReadRequest()) as reader:
        batches = list(reader)
    assert [rows_of(batch) for batch in batches] == [[{"a": 1}], [{"a": "x", "b": 2}]]
    assert [batch.source for batch in batches] == [str(tmp_path / "1.arrow"), str(tmp_path / "2.arrow")]


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array([3])], names=["x", "y", "x"])
    for format in ("file", "stream"):
        adapter = ArrowInputAdapter(written(tmp_path / "rows.arrow", table, format))
        with adapter.open(ReadRequest(columns=frozenset({"x_2", "y"}))) as reader:
            assert reader.duplicates == {"x"}
            assert list(reader.columns or ()) == ["x", "y", "x_2"]
            assert [row for batch in reader for row in rows_of(batch)] == [{"y": 2, "x_2": 3}]


def test_a_column_is_what_its_values_are_however_they_are_stored(tmp_path: Path) -> None:
    stored = pa.table(
        {
            "dictionary": pa.array(["x", None, "x"]).dictionary_encode(),
            "runs": pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]),
            "view": pa.array(["a", "b", None], pa.string_view()),
            "bytes": pa.array([b"a", b"b", None], pa.binary_view()),
            "large": pa.array(["a", "b", None], pa.large_string()),
        }
    )
    for adapter in (ArrowInputAdapter(written(tmp_path / "rows.arrow", stored)), ArrowStreamInputAdapter(stored)):
        with adapter.open(ReadRequest()) as reader:
            assert reader.columns is not None
            kinds = [kind.arrow for kind in reader.columns.values()]
            assert kinds == [pa.string(), pa.string(), pa.string(), pa.binary(), pa.large_string()]
            (batch,) = reader
            assert [column.type for column in batch.batch.columns] == kinds
        assert rows_of(batch) == stored.to_pylist()


@pytest.mark.parametrize("content", [b"", b"ARROW1", b"id,name\n1,x\n" * 100, b"FEA1" + bytes(100)], ids=repr)
def test_what_is_no_arrow_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.arrow"
    path.write_bytes(content)
    with pytest.raises(CorruptSourceError, match=r"rows\.arrow"):
        ArrowInputAdapter(path).open(ReadRequest())


@pytest.mark.parametrize("format", ["file", "stream"])
def test_a_truncated_file_is_never_a_short_one(tmp_path: Path, format: str) -> None:
    path = written(tmp_path / "rows.arrow", format=format)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 8, 24):
        path.write_bytes(whole[:length])
        with pytest.raises(CorruptSourceError):
            read_rows(ArrowInputAdapter(path))


def test_a_stream_that_stops_between_two_batches_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.arrow", format="stream")
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptSourceError, match="without the mark that ends an Arrow stream"):
        read_rows(ArrowInputAdapter(path))


@pytest.mark.parametrize("format", ["file", "stream"])
def test_damage_is_an_error_and_no_crash(tmp_path: Path, format: str) -> None:
    path = written(tmp_path / "rows.arrow", pa.table({"s": ["text"] * 50, "l": [[1, 2]] * 50}), format)
    good = path.read_bytes()
    rng = random.Random(3)
    for _ in range(150):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        with suppress(SourceError), ArrowInputAdapter(path).open(ReadRequest()) as reader:
            for batch in reader:
                for column in batch.batch.columns:
                    column.to_string()


def test_text_that_is_no_utf8_concerns_its_own_row_only(tmp_path: Path) -> None:
    offsets = pa.array([0, 1, 2], pa.int32()).buffers()[1]
    column = pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"a\xff")])
    path = written(tmp_path / "rows.arrow", pa.Table.from_arrays([column], names=["s"]))
    with ArrowInputAdapter(path).open(ReadRequest()) as reader:
        (batch,) = reader
    assert batch.batch.column(0).cast(pa.binary()).to_pylist() == [b"a", b"\xff"]


def test_a_url_is_read_and_written_through_fsspec() -> None:
    path = "memory://lake/rows.arrow"
    write_rows(ArrowOutputAdapter(path), ROWS, {"n": INT, "s": STRING})
    assert read_rows(ArrowInputAdapter(path)) == ROWS


def test_an_open_column_is_settled_by_its_first_value(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    rows = [{"at": None, "x": None}, {"at": dt.datetime(2024, 1, 1), "x": None}, {"at": None, "x": "text"}]
    writer = ArrowOutputAdapter(path).open()
    writer.start({"at": OPEN, "x": ColumnType(pa.null())})
    for row in rows:
        writer.write(ModelBatch.from_rows([row], {"at": OPEN}))
    writer.publish()
    assert read_rows(ArrowInputAdapter(path)) == rows


def test_dictionaries_that_differ_between_batches_are_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    writer = ArrowOutputAdapter(path).open()
    kind = ColumnType(pa.dictionary(pa.int32(), pa.string()))
    writer.start({"s": kind})
    for word in ("x", "y"):
        writer.write(ModelBatch({"s": Column(kind, None, pa.array([word]).dictionary_encode())}, number_rows(1, 1)))
    writer.publish()
    assert read_rows(ArrowInputAdapter(path)) == [{"s": "x"}, {"s": "y"}]


def test_rows_without_columns_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    write_rows(ArrowOutputAdapter(path), [{}, {}], {})
    with ArrowInputAdapter(path).open(ReadRequest()) as reader:
        assert sum(batch.num_rows for batch in reader) == 2


def test_a_later_column_is_refused(tmp_path: Path) -> None:
    writer = ArrowOutputAdapter(tmp_path / "rows.arrow").open()
    writer.start({})
    with pytest.raises(TargetError, match="'n' first appears"):
        writer.write(ModelBatch.from_rows([{"n": 1}], {}))
    writer.abort()


def test_a_device_that_is_full_fails_the_write() -> None:
    with pytest.raises(TargetWriteError, match="/dev/full cannot be written"):
        write_rows(ArrowOutputAdapter("/dev/full"), [{"n": 1}], {"n": INT})


def test_a_gzipped_stream_of_another_tool_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.arrows.gz"
    path.write_bytes(gzip.compress(written(tmp_path / "plain.arrow", format="stream").read_bytes()))
    assert read_rows(ArrowInputAdapter(path)) == ROWS


def test_feather_of_other_tools_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.feather"
    pl.DataFrame(ROWS).write_ipc(path)
    assert read_rows(ArrowInputAdapter(path)) == ROWS
    pd.DataFrame(ROWS).to_feather(path)
    assert read_rows(ArrowInputAdapter(path)) == ROWS


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "parquet"}, "format has to be 'file' or 'stream'"),
        ({"compression": "gzip"}, "compression has to be 'lz4', 'zstd' or None"),
        ({"path": ["a", "b"]}, "one file"),
        ({"path": "rows.arrow.zip"}, "zip"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_output_is_built(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ArrowOutputAdapter(**{"path": "rows.arrow", **options})


# ---- objects --------------------------------------------------------------------------------------------------------


def connection() -> duckdb.DuckDBPyConnection:
    base = duckdb.connect()
    base.execute("create table t as select range as n, 'text ' || range as s from range(100)")
    return base


@pytest.mark.parametrize(
    "make",
    [
        lambda: TABLE,
        lambda: TABLE.to_batches()[0],
        lambda: TABLE.to_reader(max_chunksize=7),
        lambda: pl.DataFrame(ROWS),
        lambda: pd.DataFrame(ROWS),
        lambda: connection().sql("from t order by n"),
    ],
    ids=["table", "batch", "reader", "polars", "pandas", "duckdb"],
)
def test_whatever_gives_an_arrow_stream_is_a_source(make: Any) -> None:
    adapter = ArrowStreamInputAdapter(make(), name="numbers")
    with adapter.open(ReadRequest(batch_size=30)) as reader:
        batches = list(reader)
        assert list(reader.columns or ()) == ["n", "s"]
        assert reader.fraction in (None, 1.0)
    assert [row for batch in batches for row in rows_of(batch)] == ROWS
    assert max(batch.num_rows for batch in batches) <= 30
    assert {batch.source for batch in batches} == {"numbers"}
    if not adapter.one_shot:
        assert read_rows(adapter) == ROWS


def test_a_stream_that_was_read_says_so_instead_of_giving_nothing() -> None:
    adapter = ArrowStreamInputAdapter(TABLE.to_reader())
    assert read_rows(adapter) == ROWS
    with pytest.raises(SourceError, match=r"arrow: this RecordBatchReader was read before and is used up"):
        adapter.open(ReadRequest())
    with pytest.raises(SpecError, match="cannot be sent to another process"):
        pickle.dumps(adapter)


def test_frames_are_compared_as_wholes() -> None:
    assert ArrowStreamInputAdapter(pl.DataFrame(ROWS)) == ArrowStreamInputAdapter(pl.DataFrame(ROWS))
    assert ArrowStreamInputAdapter(pd.DataFrame(ROWS)) != ArrowStreamInputAdapter(pd.DataFrame(ROWS[:5]))
    assert ArrowStreamInputAdapter(TABLE) != ArrowStreamInputAdapter(pl.DataFrame(ROWS))
    assert ArrowStreamInputAdapter(TABLE) != ArrowStreamInputAdapter(TABLE, name="other")
    relation = connection().sql("from t")
    assert ArrowStreamInputAdapter(relation) == ArrowStreamInputAdapter(relation)
    assert ArrowStreamInputAdapter(relation) != ArrowStreamInputAdapter(connection().sql("from t"))


def test_an_object_without_a_stream_is_refused_when_the_adapter_is_built() -> None:
    with pytest.raises(SpecError, match="list has no __arrow_c_stream__"):
        ArrowStreamInputAdapter([{"n": 1}])


def failing() -> Iterator[pa.RecordBatch]:
    yield from TABLE.to_batches(max_chunksize=60)
    raise RuntimeError("the line is down")


def test_a_stream_that_fails_says_after_which_row() -> None:
    adapter = ArrowStreamInputAdapter(pa.RecordBatchReader.from_batches(TABLE.schema, failing()), name="feed")
    with pytest.raises(SourceError, match=r"feed: after row 100: .*the line is down") as caught:
        read_rows(adapter)
    assert caught.value.__cause__ is not None


def test_an_object_whose_stream_is_no_table_is_an_error() -> None:
    with pytest.raises(SourceError, match="numbers: this Series gives no table"):
        ArrowStreamInputAdapter(pl.Series([1, 2]), name="numbers").open(ReadRequest())
    broken = connection().sql("select (n - 50)::utinyint as n from t")
    with pytest.raises(SourceError, match="feed: "):
        read_rows(ArrowStreamInputAdapter(broken, name="feed"))


def test_the_repr_holds_no_rows() -> None:
    assert repr(ArrowStreamInputAdapter(TABLE)) == "ArrowStreamInputAdapter('arrow')"
    assert repr(ArrowStreamInputAdapter(TABLE, name="t")) == "ArrowStreamInputAdapter('t', name='t')"
