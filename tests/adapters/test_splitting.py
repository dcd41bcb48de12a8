"""Files in parts: consecutive, of about equal size, the same as a whole, and only as long as they do not change."""

from __future__ import annotations

import gzip
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.adapters.splits import assert_exact, parts_of, read
from zoopipe_core.adapters.base import InputAdapter, ReadRequest
from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.adapters.file_parts import FilePart
from zoopipe_core.adapters.json import JSONInputAdapter
from zoopipe_core.adapters.splitting import Cut, Cuts, Piece, deal, nearest_bounds, split_files
from zoopipe_core.errors import SourceError, SourceNotFoundError

# ---- arithmetic -----------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=40), st.integers(1, 50))
def test_files_are_dealt_out_in_parts_of_about_equal_size(sizes: list[int], count: int) -> None:
    plan = deal(sizes, count)
    cuts = [float(sum(sizes[:edge])) for edge in plan.edges]
    for index, offsets in plan.inside.items():
        assert all(0 < offset < sizes[index] for offset in offsets)
        assert offsets == sorted(set(offsets))
        cuts.extend(sum(sizes[:index]) + offset for offset in offsets)
    assert len(cuts) < count
    bounds = [0.0, *sorted(cuts), float(sum(sizes))]
    if any(sizes):
        assert max(stop - start for start, stop in pairwise(bounds)) <= sum(sizes) / count * 1.3 + 2


def test_files_without_a_byte_are_dealt_out_by_number() -> None:
    assert deal([0] * 6, 3).edges == {2, 4}


@given(st.lists(st.integers(0, 100), max_size=20), st.lists(st.floats(0.01, 0.99), max_size=20))
def test_bounds_rise_and_lie_within(weights: list[int], shares: list[float]) -> None:
    found = nearest_bounds(weights, sorted(shares))
    assert found == sorted(set(found))
    assert all(0 < index < len(weights) for index in found)
    assert len(found) <= len(shares)


def test_every_byte_of_every_file_is_in_one_part(tmp_path: Path) -> None:
    paths = []
    for index, size in enumerate([10, 0, 5000, 300, 1, 900]):
        (tmp_path / str(index)).write_bytes(b"x" * size)
        paths.append(str(tmp_path / str(index)))

    def cut(piece: Piece, targets: Any) -> Cuts:
        return Cuts(tuple(Cut(target, target) for target in targets))

    for count in range(1, 20):
        parts, _ = split_files(paths, count, cut)
        pieces = [piece for part in parts for piece in part]
        assert list(dict.fromkeys(piece.path for piece in pieces)) == paths
        assert sum(piece.size or 0 for piece in pieces) == 6211
        for before, after in pairwise(pieces):
            assert after.start == before.stop if before.path == after.path else not after.start


# ---- several files --------------------------------------------------------------------------------------------------


def write_many(folder: Path) -> None:
    """Files of many sizes, with other columns here and there, some compressed."""
    for index, count in enumerate([3, 2000, 0, 40, 500, 1, 300]):
        names = "id,name" if index != 3 else "name,id,id"
        cells = ['{n},"a\n{n}"', "{n},,x"][index == 3]
        text = names + "\n" + "".join(cells.replace("{n}", str(n)) + "\n" for n in range(count))
        data = text.encode()
        (folder / f"{index}.csv{'.gz' if index == 4 else ''}").write_bytes(gzip.compress(data) if index == 4 else data)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 16])
def test_a_glob_in_parts_is_the_same_glob(tmp_path: Path, count: int) -> None:
    write_many(tmp_path)
    adapter = CSVInputAdapter(tmp_path / "*.csv*")
    parts = assert_exact(adapter, count)
    assert len(parts) >= min(count, 5)


def test_small_files_are_grouped(tmp_path: Path) -> None:
    for index in range(100):
        (tmp_path / f"{index:03}.jsonl").write_text('{"n": 1}\n' * 10)
    parts = assert_exact(JSONInputAdapter(tmp_path / "*.jsonl"), 4)
    assert [len(part.pieces) for part in parts if isinstance(part, FilePart)] == [25] * 4


def test_a_large_file_is_cut_and_its_neighbours_are_not(tmp_path: Path) -> None:
    for index, count in enumerate([10, 10_000, 10]):
        (tmp_path / f"{index}.jsonl").write_text('{"n": 1}\n' * count)
    parts = assert_exact(JSONInputAdapter([tmp_path / f"{index}.jsonl" for index in range(3)]), 3)
    assert [[Path(piece.path).stem for piece in part.pieces] for part in parts if isinstance(part, FilePart)] == [
        ["0", "1"],
        ["1"],
        ["1", "2"],
    ]


def test_one_file_named_twice_is_read_twice(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n" + "1\n" * 100)
    assert_exact(CSVInputAdapter([tmp_path / "in.csv"] * 2), 5)


def test_the_note_says_which_file_stays_whole(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n" + "1\n" * 10)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(os.urandom(5000).hex().encode()))
    split = CSVInputAdapter([tmp_path / "a.csv", tmp_path / "b.csv.gz"]).split(4)
    assert len(split.parts) == 2
    assert "b.csv.gz is gzip data" in (split.note or "")


def test_an_unreadable_file_in_the_middle_ends_the_parts_as_it_ends_the_whole(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("x\n" + f"{name}\n" * 100)
    (tmp_path / "b.csv").write_bytes(b"PK\x03\x04" * 50)
    whole = CSVInputAdapter([tmp_path / f"{name}.csv" for name in "abc"])
    assert_exact(whole, 9)
    found = read(parts_of(whole, 9))
    assert len(found.rows) == 100
    assert found.error is not None


def test_a_missing_file_is_missed_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(SourceNotFoundError, match=r"b\.csv"):
        CSVInputAdapter([tmp_path / "a.csv", tmp_path / "b.csv"]).split(2)


def test_a_pipe_is_not_looked_at(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    adapter = CSVInputAdapter(tmp_path / "pipe")
    split = adapter.split(4)
    assert split.parts == (adapter,)
    assert split.note is not None


def test_one_part_is_the_input_itself(tmp_path: Path) -> None:
    adapter = CSVInputAdapter(tmp_path / "nothing is looked at.csv")
    assert adapter.split(1).parts == (adapter,)
    assert adapter.split(1).note is None


# ---- remote files ---------------------------------------------------------------------------------------------------


def test_a_remote_file_is_cut_where_it_can_be_read_in_ranges() -> None:
    import fsspec

    text = "id,name\n" + "".join(f'{n},"a\n{n}"\n' for n in range(500))
    with fsspec.open("memory://splitting/in.csv", "wb") as file:
        file.write(text.encode())
    try:
        adapter = CSVInputAdapter("memory://splitting/in.csv")
        parts = assert_exact(adapter, 4)
        assert len(parts) == 4
        with fsspec.open("memory://splitting/in.csv", "wb") as file:
            file.write(text.encode())
        with pytest.raises(SourceError, match="has changed"):
            parts[2].open(ReadRequest())
    finally:
        fsspec.filesystem("memory").rm("/splitting", recursive=True)


# ---- files that change ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["grows", "is touched", "is replaced", "is gone"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_part_of_a_file_that_has_changed_is_refused(tmp_path: Path, change: str, number: int) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a\n" + "1\n" * 1000)
    part: InputAdapter = parts_of(CSVInputAdapter(path), 4)[number]
    if change == "grows":
        with path.open("a") as file:
            file.write("2\n")
    elif change == "is touched":
        os.utime(path, ns=(0, 1))
    elif change == "is gone":
        path.unlink()
    else:
        (tmp_path / "new").write_text("a\n" + "2\n" * 1000)
        os.utime(tmp_path / "new", (1, 1))
        os.replace(tmp_path / "new", path)
    with pytest.raises(SourceError, match="cannot be looked at" if change == "is gone" else "has changed since it was"):
        part.open(ReadRequest())


def test_a_later_file_of_a_part_that_has_changed_is_refused_too(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.csv").write_text("a\n" + "1\n" * 10)
    last = parts_of(CSVInputAdapter(tmp_path / "*.csv"), 2)[1]
    (tmp_path / "3.csv").write_text("a\n" + "1\n" * 11)
    found = read([last])
    assert len(found.rows) == 10
    assert found.error is not None
    assert "has changed" in found.error[1]


def test_parts_say_which_record_of_the_whole_they_begin_with(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n" + "1\n" * 100)
    firsts = []
    for part in parts_of(CSVInputAdapter(tmp_path / "in.csv"), 4):
        with part.open(ReadRequest()) as reader:
            firsts.append((reader.first_record, next(iter(reader)).rows[0]))
    assert all(said == found for said, found in firsts)
    assert len({said for said, _ in firsts}) == 4
