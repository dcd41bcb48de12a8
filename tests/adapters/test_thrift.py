"""Thrift structures and Parquet footers, against what pyarrow writes and reads."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.parquet_footer import JoinedFooter, read_footer
from zoopipe_core.adapters.thrift import Field, ListValue, MapValue, read_struct, write_struct
from zoopipe_core.coordinators.merged_columns import join_row_groups
from zoopipe_core.errors import CorruptSourceError

INTEGERS = {3: st.integers(0, 255), 4: st.integers(-(2**15), 2**15 - 1), 5: st.integers(-(2**31), 2**31 - 1)}
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    **INTEGERS,
    6: st.integers(-(2**63), 2**63 - 1),
    7: st.floats(allow_nan=False),
    8: st.binary(max_size=300),
}


def values(kind: int, depth: int) -> st.SearchStrategy[Any]:
    if kind in (1, 2):
        return st.booleans()
    if kind in SCALARS:
        return SCALARS[kind]
    if kind in (9, 10):
        return kinds(depth - 1).flatmap(
            lambda item: st.builds(ListValue, st.just(item), st.lists(values(item, depth - 1), max_size=20))
        )
    if kind == 11:
        return st.tuples(kinds(depth - 1), kinds(depth - 1)).flatmap(
            lambda pair: st.builds(
                MapValue,
                st.just(pair[0]),
                st.just(pair[1]),
                st.lists(st.tuples(*(values(one, depth - 1) for one in pair)), min_size=1, max_size=3),
            )
        )
    return structs(depth - 1)


def kinds(depth: int) -> st.SearchStrategy[int]:
    return st.sampled_from([1, *SCALARS, *([9, 10, 11, 12] if depth > 0 else [])])


def fields(depth: int) -> st.SearchStrategy[Field]:
    def field(kind: int) -> st.SearchStrategy[Field]:
        made = values(kind, depth)
        return made.map(lambda value: Field((1 if value else 2) if kind == 1 else kind, value))

    return kinds(depth).flatmap(field)


def structs(depth: int) -> st.SearchStrategy[dict[int, Field]]:
    return st.dictionaries(st.integers(-40, 400), fields(depth), max_size=5)


@given(structs(2))
def test_what_is_written_is_read_again(value: dict[int, Field]) -> None:
    assert read_struct(write_struct(value)) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        value = read_struct(data)
    except ValueError:
        return
    assert read_struct(write_struct(value)) == value


def test_a_structure_that_is_cut_off_is_refused() -> None:
    data = write_struct({1: Field(8, b"abc"), 2: Field(12, {1: Field(5, 7)})})
    for end in range(len(data)):
        with pytest.raises(ValueError, match="ends within"):
            read_struct(data[:end])


def test_a_structure_nested_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        read_struct(b"\x1c" * 1000)


# ---- Parquet --------------------------------------------------------------------------------------------------------


def table(start: int, count: int) -> pa.Table:
    numbers = range(start, start + count)
    return pa.table(
        {
            "n": pa.array(numbers, pa.int64()),
            "text": pa.array([None if n % 7 == 0 else f"text {n % 5}" for n in numbers]),
            "blob": pa.array([bytes([n % 256]) * (n % 50) for n in numbers], pa.binary()),
            "x": pa.array([n / 3 for n in numbers]),
            "ok": pa.array([n % 3 == 0 for n in numbers]),
            "day": pa.array([dt.date(2024, 1, 1 + n % 28) for n in numbers]),
            "amount": pa.array([Decimal(n).scaleb(-2) for n in numbers], pa.decimal128(20, 2)),
            "list": pa.array([[n] * (n % 4) for n in numbers], pa.list_(pa.int32())),
            "nested": pa.array([{"a": n, "b": [str(n)]} for n in numbers]),
        }
    )


WRITERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "checksums": {"write_page_checksum": True},
    "page indexes": {"write_page_index": True, "data_page_size": 500},
    "small groups": {"row_group_size": 100},
    "no dictionaries": {"use_dictionary": False, "compression": "none"},
    "pages of version 2": {"data_page_version": "2.0", "version": "2.6", "compression": "zstd"},
    "sorted": {"sorting_columns": [pq.SortingColumn(0)]},
    "bloom filters": {"bloom_filter_options": {"n": True, "text": True}},
    "oldest": {"version": "1.0", "store_schema": False},
}


@pytest.mark.parametrize("options", WRITERS)
def test_joined_row_groups_are_read_as_the_parts_are(tmp_path: Path, options: str) -> None:
    counts, parts, start = [1000, 1, 333, 2500], [], 0
    for number, count in enumerate(counts):
        parts.append(str(tmp_path / f"{number}.parquet"))
        pq.write_table(table(start, count), parts[-1], **WRITERS[options])
        start += count
    expected = [pq.ParquetFile(part) for part in parts]
    groups = [file.metadata.row_group(n) for file in expected for n in range(file.num_row_groups)]
    result = AtomicFile(str(tmp_path / "all.parquet"), None)
    total = JoinedFooter()
    for part in parts:
        join_row_groups(result, part, read_footer(part), total, lambda: None)
    result.write(total.to_bytes())
    result.publish()

    file = pq.ParquetFile(tmp_path / "all.parquet", page_checksum_verification=True)
    assert file.read().equals(table(0, sum(counts)))
    assert file.metadata.num_rows == sum(counts)
    assert file.num_row_groups == len(groups)
    for number, group in enumerate(groups):
        merged = file.metadata.row_group(number)
        assert merged.num_rows == group.num_rows
        for column in range(group.num_columns):
            one, other = merged.column(column), group.column(column)
            assert one.statistics == other.statistics
            assert one.encodings == other.encodings
            assert one.total_compressed_size == other.total_compressed_size
            assert one.has_offset_index == other.has_offset_index
    for number in (0, len(groups) - 1):
        assert file.read_row_group(number).num_rows == groups[number].num_rows
    import duckdb

    assert duckdb.sql(f"SELECT count(*), sum(n) FROM '{tmp_path}/all.parquet' WHERE n >= 1200").fetchall() == [
        (sum(counts) - 1200, sum(range(1200, sum(counts))))
    ]


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1PAR1", b"x" * 100, b"PAR1\xff\xff\xff\x7fPAR1", b"PAR1\xff\x01\x00\x00\x00PAR1"]
)
def test_what_is_no_parquet_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.parquet").write_bytes(data)
    with pytest.raises(CorruptSourceError):
        read_footer(str(tmp_path / "x.parquet"))
