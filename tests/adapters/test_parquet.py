import datetime as dt
import random
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings

from tests.batches.strategies import all_same, tables
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.parquet import ParquetInputAdapter, ParquetOutputAdapter
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import number_rows
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.errors import (
    CorruptSourceError,
    SourceError,
    SourceNotFoundError,
    SourceReadError,
    SpecError,
    TargetError,
    TargetWriteError,
    UnsupportedTypeError,
    UnsupportedValueError,
)
from zoopipe_core.testing import read_rows, rows_of, write_rows

INT = ColumnType(pa.int64())
OPEN = ColumnType(pa.timestamp("us", tz="UTC"), open_zone=True)
NOON = dt.datetime(2024, 6, 1, 12)


def written(path: Path, table: pa.Table, **options: Any) -> Path:
    pq.write_table(table, path, **options)
    return path


# ---- both ways ------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(tables())
def test_rows_of_every_type_come_back_the_same(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[dict[str, ColumnType], list[dict[str, Any]]]
) -> None:
    types, rows = table
    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    write_rows(ParquetOutputAdapter(path, row_group_size=3), rows, types, batch_size=2)
    assert all_same(read_rows(ParquetInputAdapter(path)), rows)


def test_uuid_and_json_columns_carry_the_types_of_parquet(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows: list[dict[str, Any]] = [{"u": uuid.UUID(int=7), "j": {"a": [1, None]}}, {"u": None, "j": None}]
    write_rows(ParquetOutputAdapter(path), rows, {"u": ColumnType(pa.uuid()), "j": JSON})
    logical = [str(pq.ParquetFile(path).schema.column(index).logical_type) for index in range(2)]
    assert logical == ["UUID", "JSON"]
    with ParquetInputAdapter(path).open(ReadRequest()) as reader:
        assert reader.columns == {"u": ColumnType(pa.uuid()), "j": JSON}
        (batch,) = reader
    assert rows_of(batch) == rows
    # Written by something that knows neither Arrow's schema nor its extension types: the Parquet types are enough.
    bare = written(tmp_path / "bare.parquet", pq.read_table(path), store_schema=False)
    assert read_rows(ParquetInputAdapter(bare)) == rows


def test_other_tools_read_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    types = {"n": INT, "at": ColumnType(pa.timestamp("us", tz="UTC")), "price": ColumnType(pa.decimal128(10, 2))}
    rows = [{"n": 1, "at": NOON.replace(tzinfo=dt.UTC), "price": Decimal("9.90")}]
    write_rows(ParquetOutputAdapter(path), rows, types)
    assert pl.read_parquet(path).to_dicts() == rows


# ---- reading --------------------------------------------------------------------------------------------------------


def test_only_the_wanted_columns_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet", pa.table({"a": [1, 2], "b": ["x", "y"], "c": [None, True]}))
    data = bytearray(path.read_bytes())
    start = pq.ParquetFile(path).metadata.row_group(0).column(1).data_page_offset
    data[start : start + 20] = bytes(20)  # column b is destroyed
    path.write_bytes(data)
    adapter = ParquetInputAdapter(path)
    assert read_rows(adapter, ReadRequest(columns=frozenset({"c", "a"}))) == [{"a": 1, "c": None}, {"a": 2, "c": True}]
    with pytest.raises(CorruptSourceError, match=r"rows\.parquet is damaged"):
        read_rows(adapter)


def test_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    arrays = [pa.array([1]), pa.array(["x"]), pa.array([2.5]), pa.array([True])]
    path = written(tmp_path / "rows.parquet", pa.Table.from_arrays(arrays, names=["x", "x_2", "x", "x"]))
    adapter = ParquetInputAdapter(path)
    with adapter.open(ReadRequest()) as reader:
        assert reader.duplicates == {"x"}
        assert reader.columns is not None
        assert {name: str(kind.arrow) for name, kind in reader.columns.items()} == {
            "x": "int64", "x_2": "string", "x_3": "double", "x_4": "bool",
        }  # fmt: skip
    assert read_rows(adapter) == [{"x": 1, "x_2": "x", "x_3": 2.5, "x_4": True}]
    assert read_rows(adapter, ReadRequest(columns=frozenset({"x_3"}))) == [{"x_3": 2.5}]
    assert read_rows(adapter, ReadRequest(columns=frozenset({"x", "x_4"}))) == [{"x": 1, "x_4": True}]


def test_a_dot_in_a_name_is_no_path_into_another_column(tmp_path: Path) -> None:
    whole = {"a": {"b": 1, "c": 2}, "a.b": "flat", "d": None}
    path = written(tmp_path / "rows.parquet", pa.Table.from_pylist([whole]))
    for wanted in ({"a.b"}, {"a"}, {"a", "a.b"}, {"d", "a.b"}, set[str]()):
        rows = read_rows(ParquetInputAdapter(path), ReadRequest(columns=frozenset(wanted)))
        assert rows == [{name: value for name, value in whole.items() if name in wanted}]


def test_files_of_other_columns_are_read_by_their_own(tmp_path: Path) -> None:
    written(tmp_path / "1.parquet", pa.table({"a": [1], "b": ["x"]}))
    written(tmp_path / "2.parquet", pa.table({"b": [2.5, 3.5], "c": [None, dt.date(2024, 1, 1)]}))
    adapter = ParquetInputAdapter(str(tmp_path / "*.parquet"))
    with adapter.open(ReadRequest()) as reader:
        batches = list(reader)
        assert reader.columns == {"a": INT, "b": STRING}
        assert reader.fraction == 1.0
        assert reader.bytes_read == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert [(batch.source, batch.rows.tolist()) for batch in batches] == [
        (str(tmp_path / "1.parquet"), [1]),
        (str(tmp_path / "2.parquet"), [1, 2]),
    ]
    assert rows_of(batches[1]) == [{"b": 2.5, "c": None}, {"b": 3.5, "c": dt.date(2024, 1, 1)}]


def test_a_limit_counts_in_each_file(tmp_path: Path) -> None:
    for number in (1, 2):
        written(tmp_path / f"{number}.parquet", pa.table({"a": [number, number, number]}))
    paths = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    assert [row["a"] for row in read_rows(ParquetInputAdapter(paths, limit=2))] == [1, 1, 2, 2]


def test_a_column_is_what_its_values_are_however_they_are_stored(tmp_path: Path) -> None:
    stored = pa.table(
        {
            "dictionary": pa.array(["x", None, "x"]).dictionary_encode(),
            "view": pa.array(["a", "b", None], pa.string_view()),
            "large": pa.array(["a", "b", None], pa.large_string()),
        }
    )
    path = written(tmp_path / "rows.parquet", stored)
    with ParquetInputAdapter(path).open(ReadRequest()) as reader:
        assert reader.columns is not None
        assert [str(kind.arrow) for kind in reader.columns.values()] == ["string", "string", "large_string"]
        (batch,) = reader
        assert [column.type for column in batch.batch.columns] == [kind.arrow for kind in reader.columns.values()]
    assert rows_of(batch) == stored.to_pylist()


def test_old_timestamps_do_not_wrap_around(tmp_path: Path) -> None:
    days = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59), dt.datetime(2024, 1, 1, 0, 0, 0, 5)]
    table = pa.table({"at": pa.array(days, pa.timestamp("us"))})
    path = written(tmp_path / "rows.parquet", table, use_deprecated_int96_timestamps=True, store_schema=False)
    assert [row["at"] for row in read_rows(ParquetInputAdapter(path))] == days


def test_small_row_groups_are_joined_and_large_ones_cut(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet", pa.table({"a": range(10_000)}), row_group_size=10)
    with ParquetInputAdapter(path).open(ReadRequest(batch_size=1000)) as reader:
        assert [batch.num_rows for batch in reader] == [1000] * 10
    written(path, pa.table({"a": range(10_000)}), row_group_size=10_000)
    with ParquetInputAdapter(path).open(ReadRequest(batch_size=1000)) as reader:
        assert [batch.num_rows for batch in reader] == [1000] * 10


def test_a_file_larger_than_memory_would_be_streamed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "rows.parquet"
    with pq.ParquetWriter(path, pa.schema([("a", pa.int64()), ("b", pa.int64())])) as writer:
        for _ in range(20):
            writer.write_table(pa.table({name: rng.integers(0, 2**62, 100_000) for name in "ab"}))
    assert path.stat().st_size > 30_000_000
    before, peak = pa.total_allocated_bytes(), 0
    with ParquetInputAdapter(path).open(ReadRequest(batch_size=10_000)) as reader:
        for _ in reader:
            peak = max(peak, pa.total_allocated_bytes() - before)
    assert peak < 10_000_000


def test_a_url_is_read_and_written_through_fsspec(tmp_path: Path) -> None:
    rows = [{"n": number} for number in range(1000)]
    write_rows(ParquetOutputAdapter("memory://lake/rows.parquet", row_group_size=100), rows, {"n": INT})
    adapter = ParquetInputAdapter("memory://lake/*.parquet")
    assert read_rows(adapter, ReadRequest(batch_size=150)) == rows
    with adapter.open(ReadRequest(batch_size=100)) as reader:
        shares = [reader.fraction for _ in reader]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    with pytest.raises(SourceNotFoundError):
        ParquetInputAdapter("memory://lake/none.parquet").open(ReadRequest())
    fsspec.filesystem("memory").rm("/lake", recursive=True)


# ---- damage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"id,name\n1,x\n" * 100, bytes(range(256)) * 50], ids=["empty", "magic", "csv", "noise"]
)
def test_what_is_no_parquet_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with pytest.raises(CorruptSourceError, match=r"rows\.parquet is damaged or of another format"):
        ParquetInputAdapter(path).open(ReadRequest())


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.parquet", pa.table({"a": range(1000)}))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptSourceError, match=r"rows\.parquet"):
        ParquetInputAdapter(path).open(ReadRequest())


def test_a_folder_is_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceReadError, match="folder"):
        ParquetInputAdapter(tmp_path).open(ReadRequest())


def test_a_missing_file_is_found_among_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path / "users.parquet", pa.table({"a": [1]}))
    with pytest.raises(SourceNotFoundError, match=r"users\.parquet"):
        ParquetInputAdapter(tmp_path / "user.parquet").open(ReadRequest())
    with pytest.raises(SourceNotFoundError):
        ParquetInputAdapter(tmp_path / "*.pq").open(ReadRequest())


def test_any_flipped_bit_of_a_page_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [{"n": number, "s": f"text {number}"} for number in range(500)]
    write_rows(ParquetOutputAdapter(path), rows, {"n": INT, "s": STRING})
    good = path.read_bytes()
    rng = random.Random(5)
    for _ in range(60):
        data = bytearray(good)
        data[rng.randrange(4, len(good) - 8)] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            found = read_rows(ParquetInputAdapter(path))
        except SourceError:
            continue
        # What no checksum covers (statistics, encodings unused here) may change, the rows may not.
        assert [list(row.values()) for row in found] == [list(row.values()) for row in rows]


# ---- writing --------------------------------------------------------------------------------------------------------


def test_row_groups_are_filled_whatever_the_batches(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows = [{"n": number} for number in range(2500)]
    write_rows(ParquetOutputAdapter(path, row_group_size=1000), rows, {"n": INT}, batch_size=70)
    metadata = pq.read_metadata(path)
    assert [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)] == [1000, 1000, 500]


@pytest.mark.parametrize("cores", [1, 3])
def test_row_groups_encoded_by_threads_make_the_file_of_one_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    monkeypatch.setattr("zoopipe_core.adapters.parquet_writer.usable_cores", lambda: cores)
    rows = [{"n": n, "word": f"word {n % 7}", "at": NOON if n % 3 else None} for n in range(5500)]
    path, plain = tmp_path / "rows.parquet", tmp_path / "plain.parquet"
    types = {"n": INT, "word": STRING, "at": ColumnType(pa.timestamp("us"))}
    write_rows(ParquetOutputAdapter(path, row_group_size=1000), rows, types, batch_size=300)
    table = pa.Table.from_pylist(rows, pa.schema([(name, kind.arrow) for name, kind in types.items()]))
    options: dict[str, Any] = {"compression": "zstd", "use_dictionary": ["word", "at"], "write_page_checksum": True}
    pq.write_table(table, plain, row_group_size=1000, **options)
    assert path.read_bytes() == plain.read_bytes()


def test_a_row_group_of_wide_rows_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoopipe_core.adapters.parquet_writer.MAX_ROW_GROUP_BYTES", 100_000)
    path = tmp_path / "rows.parquet"
    rows = [{"s": "x" * 1000} for _ in range(1000)]
    write_rows(ParquetOutputAdapter(path), rows, {"s": STRING}, batch_size=10)
    assert pq.read_metadata(path).num_row_groups == 10
    assert read_rows(ParquetInputAdapter(path)) == rows


def test_an_empty_file_has_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(ParquetOutputAdapter(path), [], {"n": INT, "at": OPEN, "x": ColumnType(pa.null())})
    assert pq.read_schema(path).names == ["n", "at", "x"]
    assert read_rows(ParquetInputAdapter(path)) == []


@pytest.mark.parametrize("aware", [True, False])
def test_the_first_datetime_settles_whether_a_column_is_aware(tmp_path: Path, aware: bool) -> None:
    path = tmp_path / "rows.parquet"
    at = NOON.replace(tzinfo=dt.UTC) if aware else NOON
    rows = [{"n": 1, "at": None}, {"n": 2, "at": None}, {"n": 3, "at": at}, {"n": 4, "at": None}]
    write_rows(ParquetOutputAdapter(path), rows, {"n": INT, "at": OPEN}, batch_size=1)
    assert (pq.read_schema(path).field("at").type.tz == "UTC") is aware
    assert read_rows(ParquetInputAdapter(path)) == rows
    rows.append({"n": 5, "at": NOON if aware else NOON.replace(tzinfo=dt.UTC)})
    with pytest.raises(UnsupportedValueError, match=r"column 'at', row 1 .*declare AwareDatetime or NaiveDatetime"):
        write_rows(ParquetOutputAdapter(path), rows, {"n": INT, "at": OPEN}, batch_size=1)


def test_a_column_of_nothing_becomes_what_its_first_value_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    rows: list[dict[str, Any]] = [{"n": 1, "x": None}, {"n": 2, "x": None}, {"n": 3, "x": 2.5}]
    writer = ParquetOutputAdapter(path).open()
    writer.start({"n": INT, "x": ColumnType(pa.null())})
    for row in rows:
        writer.write(ModelBatch.from_rows([row], {"n": INT}))
    writer.publish()
    assert read_rows(ParquetInputAdapter(path)) == rows


def test_what_is_held_back_for_an_open_column_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoopipe_core.adapters.columnar.MAX_HELD_BYTES", 10_000)
    path = tmp_path / "rows.parquet"
    rows: list[dict[str, Any]] = [{"n": n, "at": None} for n in range(5000)]
    write_rows(ParquetOutputAdapter(path), rows, {"n": INT, "at": OPEN}, batch_size=100)
    assert read_rows(ParquetInputAdapter(path)) == rows
    late = [*rows, {"n": 0, "at": NOON}]
    with pytest.raises(UnsupportedValueError, match="this one is naive"):
        write_rows(ParquetOutputAdapter(path), late, {"n": INT, "at": OPEN}, batch_size=100)


def test_a_later_column_is_refused_with_the_remedy(tmp_path: Path) -> None:
    writer = ParquetOutputAdapter(tmp_path / "rows.parquet").open()
    writer.start({"n": INT})
    batch = ModelBatch.from_rows([{"n": 1, "score": 2}], {"n": INT}, number_rows(41, 1), "in.csv")
    with pytest.raises(TargetError, match=r"'score' first appears in in\.csv, row 41.* adds = {'score': \.\.\.}"):
        writer.write(batch)
    writer.abort()
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_parquet_lacks_is_named_before_the_first_row(tmp_path: Path) -> None:
    writer = ParquetOutputAdapter(tmp_path / "rows.parquet").open()
    with pytest.raises(UnsupportedTypeError, match=r"rows\.parquet.*'i' of month_day_nano_interval"):
        writer.start({"n": INT, "i": ColumnType(pa.month_day_nano_interval())})
    writer.abort()


def test_a_value_that_does_not_fit_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedValueError, match="column 'n', row 3"):
        write_rows(ParquetOutputAdapter(tmp_path / "rows.parquet"), [{"n": 1}, {"n": 2}, {"n": 2**63}], {"n": INT})
    assert list(tmp_path.iterdir()) == []


def test_rows_without_columns_are_refused_and_none_of_them_are_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    with pytest.raises(TargetError, match="rows without columns"):
        write_rows(ParquetOutputAdapter(path), [{}, {}], {})
    write_rows(ParquetOutputAdapter(path), [], {})
    assert read_rows(ParquetInputAdapter(path)) == []


def test_encoded_arrays_of_hooks_are_written_plain(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    dictionary = pa.array(["x", "y", "x"]).dictionary_encode()
    writer = ParquetOutputAdapter(path).open()
    writer.start({"s": ColumnType(dictionary.type)})
    writer.write(ModelBatch({"s": Column(ColumnType(dictionary.type), None, dictionary)}, number_rows(1, 3)))
    writer.write(ModelBatch({"s": Column(STRING, ["z"])}, number_rows(4, 1)))
    writer.publish()
    assert [row["s"] for row in read_rows(ParquetInputAdapter(path))] == ["x", "y", "x", "z"]


def test_a_device_that_is_full_fails_the_write() -> None:
    with pytest.raises(TargetWriteError, match="/dev/full cannot be written"):
        write_rows(ParquetOutputAdapter("/dev/full"), [{"n": 1}], {"n": INT})


@pytest.mark.parametrize("compression", ["brotli", "gzip", "lz4", "none", "snappy", "zstd", None])
def test_each_compression_can_be_read_back(tmp_path: Path, compression: Any) -> None:
    path = tmp_path / "rows.parquet"
    write_rows(ParquetOutputAdapter(path, compression=compression), [{"n": 1}], {"n": INT})
    assert read_rows(ParquetInputAdapter(path)) == [{"n": 1}]
    codec = pq.read_metadata(path).row_group(0).column(0).compression
    assert codec.lower() == {None: "uncompressed", "none": "uncompressed"}.get(compression, compression)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compression": "lzo"}, "compression has to be one of brotli"),
        ({"compression": "zstd", "compression_level": 99}, "zstd has to be 1 to 22, not 99"),
        ({"compression": "snappy", "compression_level": 1}, "snappy has to be None, not 1"),
        ({"row_group_size": 0}, "row_group_size has to be 1 or more, not 0"),
        ({"path": "rows.parquet.gz"}, "not compressed as a whole"),
        ({"path": ["a.parquet", "b.parquet"]}, "one file"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_output_is_built(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ParquetOutputAdapter(**{"path": "rows.parquet", **options})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit": -1}, "limit has to be 0 or more"),
        ({"path": "rows.parquet.zst"}, "not compressed as a whole; unpack it"),
        ({"path": []}, "non-empty"),
    ],
)
def test_a_wrong_argument_is_refused_when_the_input_is_built(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        ParquetInputAdapter(**{"path": "rows.parquet", **options})


def test_the_repr_shows_what_is_not_at_its_default() -> None:
    assert repr(ParquetInputAdapter("a.parquet", limit=3)) == "ParquetInputAdapter('a.parquet', limit=3)"
    assert repr(ParquetOutputAdapter("a.parquet")) == "ParquetOutputAdapter('a.parquet')"
