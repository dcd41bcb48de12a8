"""Parquet and Arrow in parts: row groups and batches, dealt out whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.splits import assert_exact, parts_of
from zoopipe_core.adapters.arrow import ArrowInputAdapter
from zoopipe_core.adapters.base import InputAdapter, ReadRequest
from zoopipe_core.adapters.parquet import ParquetInputAdapter

Write = Callable[[Path, list[pa.RecordBatch]], None]


def write_parquet(path: Path, groups: list[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(path, groups[0].schema) as writer:
        for group in groups:
            writer.write_table(pa.Table.from_batches([group]), row_group_size=max(1, len(group)))


def write_arrow(path: Path, groups: list[pa.RecordBatch]) -> None:
    with pa.ipc.new_file(path, groups[0].schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        for group in groups:
            writer.write_batch(group)


def write_stream(path: Path, groups: list[pa.RecordBatch]) -> None:
    with pa.ipc.new_stream(path, groups[0].schema) as writer:
        for group in groups:
            writer.write_batch(group)


def rows(first: int, count: int) -> pa.RecordBatch:
    numbers = range(first, first + count)
    codes = pa.array([n % 3 for n in numbers], pa.int8())
    columns = [
        pa.array([f"row {n}" for n in numbers], pa.string()),
        pa.array(numbers, pa.int64()),
        pa.DictionaryArray.from_arrays(codes, ["a", "b", "c"]),
    ]
    return pa.RecordBatch.from_arrays(columns, names=["name", "n", "name"])


def groups_of(sizes: list[int]) -> list[pa.RecordBatch]:
    return [rows(sum(sizes[:index]), size) for index, size in enumerate(sizes)]


FORMATS: dict[str, tuple[Write, Any]] = {
    "parquet": (write_parquet, ParquetInputAdapter),
    "arrow": (write_arrow, ArrowInputAdapter),
}
formats = pytest.mark.parametrize("form", FORMATS)


@formats
@given(st.lists(st.integers(0, 30), min_size=1, max_size=9), st.integers(1, 16), st.sampled_from([None, 0, 7, 40]))
def test_any_groups_in_parts_are_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, form: str, sizes: list[int], count: int, limit: int | None
) -> None:
    write, adapter = FORMATS[form]
    path = tmp_path_factory.getbasetemp() / f"groups.{form}"
    write(path, groups_of(sizes))
    assert_exact(adapter(path, limit=limit), count)


@formats
def test_each_group_is_a_part_if_there_are_as_many(tmp_path: Path, form: str) -> None:
    write, adapter = FORMATS[form]
    write(tmp_path / "in", groups_of([100] * 8))
    parts = assert_exact(adapter(tmp_path / "in"), 8)
    assert [len(list(part.open(ReadRequest()))) for part in parts] == [1] * 8
    fewer = adapter(tmp_path / "in").split(12)
    assert len(fewer.parts) == 8
    assert "8 row groups" in fewer.note or "8 batches" in fewer.note


@formats
def test_a_part_says_how_far_it_is_of_itself(tmp_path: Path, form: str) -> None:
    write, adapter = FORMATS[form]
    write(tmp_path / "in", groups_of([100] * 4))
    size = (tmp_path / "in").stat().st_size
    read = 0
    for part in parts_of(adapter(tmp_path / "in"), 4):
        with part.open(ReadRequest(batch_size=10)) as reader:
            seen = [reader.fraction for _ in reader]
            read += reader.bytes_read
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
    assert size - 4 <= read <= size


def test_a_part_reads_only_the_columns_that_are_wanted(tmp_path: Path) -> None:
    write_parquet(tmp_path / "in", groups_of([10, 10, 10]))
    assert_exact(ParquetInputAdapter(tmp_path / "in"), 3, columns=frozenset(["n"]))
    assert_exact(ParquetInputAdapter(tmp_path / "in"), 3, columns=frozenset())


def test_rows_without_columns_are_not_cut(tmp_path: Path) -> None:
    write_arrow(tmp_path / "in", [pa.RecordBatch.from_arrays([], names=[])])
    assert_exact(ArrowInputAdapter(tmp_path / "in"), 3)


@pytest.mark.parametrize("name", ["in.arrow", "in.arrow.gz"])
def test_an_arrow_stream_stays_whole(tmp_path: Path, name: str) -> None:
    write_stream(tmp_path / "plain", groups_of([10, 10]))
    with pa.output_stream(tmp_path / name, compression="detect") as file:
        file.write((tmp_path / "plain").read_bytes())
    adapter = ArrowInputAdapter(tmp_path / name)
    split = adapter.split(2)
    assert split.parts == (adapter,)
    assert "stream" in (split.note or "")


@formats
def test_a_damaged_file_is_for_its_reader_to_report(tmp_path: Path, form: str) -> None:
    write, adapter = FORMATS[form]
    write(tmp_path / "a", groups_of([50, 50]))
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes()[:-20])
    whole: InputAdapter = adapter([tmp_path / "a", tmp_path / "b", tmp_path / "a"])
    assert len(assert_exact(whole, 6)) > 1
