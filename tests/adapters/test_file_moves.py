"""Bytes and names that are moved without being looked at."""

import errno
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from zoopipe_core.adapters import file_moves
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.direct_files import BUFFER_BYTES, DirectFile, DirectReader
from zoopipe_core.adapters.file_moves import copy_range, make_folders, replace_all
from zoopipe_core.errors import TargetWriteError

DATA = bytes(range(256)) * 40_000  # 10 MB


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(DATA)
    return path


def refuse(number: int) -> Any:
    def call(*arguments: Any, **options: Any) -> int:
        raise OSError(number, os.strerror(number))

    return call


def without_direct_access(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DirectReader, "of", lambda descriptor: None)


@pytest.mark.parametrize("refusals", range(4))
@pytest.mark.parametrize(("start", "end"), [(0, len(DATA)), (1, 5_000_001), (7, 7)])
def test_whatever_the_file_system_can_do_the_bytes_are_the_same(
    source: Path, tmp_path: Path, refusals: int, start: int, end: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refusals:
        without_direct_access(monkeypatch)
    for name in ("copy_file_range", "sendfile")[: max(refusals - 1, 0)]:
        monkeypatch.setattr(os, name, refuse(errno.EXDEV))
    monkeypatch.setattr(file_moves, "STEP_BYTES", 3_000_000)
    target = DirectFile(open(tmp_path / "target", "wb", buffering=0))  # noqa: SIM115  closed below
    target.write(memoryview(b"before"))
    steps = list(copy_range(str(source), target, start, end))
    target.write(memoryview(b"after"))
    target.drain()
    target.close()
    assert (tmp_path / "target").read_bytes() == b"before" + DATA[start:end] + b"after"
    assert sum(steps) == end - start
    assert max(steps, default=0) <= 3_000_000


@pytest.mark.parametrize(("size", "asked"), [(BUFFER_BYTES, 0), (BUFFER_BYTES + 1, 1)])
def test_a_small_file_is_read_where_it_was_written_into_the_page_cache(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, asked: int
) -> None:
    seen = []
    monkeypatch.setattr(DirectReader, "of", seen.append)
    monkeypatch.setattr(DirectFile, "is_on_disk", lambda file: True)
    (tmp_path / "part").write_bytes(DATA[:1000] * (size // 1000 + 1))
    with open(tmp_path / "target", "wb", buffering=0) as raw:
        target = DirectFile(raw)
        list(copy_range(str(tmp_path / "part"), target, 0, size))
        target.drain()
    assert len(seen) == asked
    assert (tmp_path / "target").read_bytes() == (tmp_path / "part").read_bytes()[:size]


def test_a_target_without_a_descriptor_is_written_by_way_of_memory(source: Path) -> None:
    class Remote(io.RawIOBase):
        data = b""

        def write(self, data: Any, /) -> int:
            taken = bytes(data[:100_000])  # a raw file may take less than it is given
            self.data += taken
            return len(taken)

    class Nameless:
        def __init__(self) -> None:
            self.remote = Remote()
            self.write = self.remote.write

    target = Nameless()
    assert sum(copy_range(str(source), target, 0, 1_000_000)) == 1_000_000
    assert target.remote.data == DATA[:1_000_000]


def test_a_file_that_is_shorter_than_expected_is_an_error(source: Path, tmp_path: Path) -> None:
    with open(tmp_path / "target", "wb", buffering=0) as file, pytest.raises(OSError, match="5 bytes too early"):
        list(copy_range(str(source), DirectFile(file), 0, len(DATA) + 5))


def test_a_full_disk_is_not_taken_for_a_file_system_that_cannot_copy(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_direct_access(monkeypatch)
    monkeypatch.setattr(os, "copy_file_range", refuse(errno.ENOSPC))
    file = AtomicFile(str(tmp_path / "target"))
    with pytest.raises(TargetWriteError, match="free some space"):
        list(file.append_file(str(source)))
    file.abort()
    assert os.listdir(tmp_path) == ["source"]


# ---- into an atomic file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [None, 1_000])
def test_an_adopted_file_is_the_beginning_and_not_a_copy(source: Path, tmp_path: Path, end: int | None) -> None:
    (tmp_path / "more").write_bytes(b"more")
    inode = source.stat().st_ino
    file = AtomicFile(str(tmp_path / "target"))
    list(file.adopt_file(str(source), end))
    list(file.append_file(str(tmp_path / "more"), 1, 3))
    file.write(b"end")
    assert file.bytes_written == len(DATA[:end]) + 5
    file.publish()
    assert (tmp_path / "target").read_bytes() == DATA[:end] + b"orend"
    assert (tmp_path / "target").stat().st_ino == inode
    assert sorted(os.listdir(tmp_path)) == ["more", "target"]


def test_an_adopted_file_goes_when_the_target_is_given_up(source: Path, tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / "target"))
    list(file.adopt_file(str(source)))
    file.abort()
    assert os.listdir(tmp_path) == []


def test_where_a_file_cannot_be_adopted_it_is_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = AtomicFile(str(tmp_path / "target"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse(errno.EXDEV))
        list(file.adopt_file(str(source)))
    file.publish()
    assert (tmp_path / "target").read_bytes() == DATA == source.read_bytes()


def test_until_it_is_published_a_file_may_be_in_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    file = AtomicFile(str(tmp_path / "out" / "target"), folder=str(tmp_path / "parts"))
    file.write(b"x")
    file.prepare()
    assert os.listdir(tmp_path / "out") == []
    assert len(os.listdir(tmp_path / "parts")) == 1
    file.publish()
    assert (tmp_path / "out" / "target").read_bytes() == b"x"
    assert os.listdir(tmp_path / "parts") == []


# ---- several files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("links", [True, False])
def test_several_files_are_renamed_or_none(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not links:
        monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    staged, final = tmp_path / "staged", tmp_path / "final"
    staged.mkdir()
    final.mkdir()
    for name in "abc":
        (staged / name).write_text("new")
    (final / "a").write_text("old")
    (final / "a").chmod(0o640)
    moves = {str(staged / name): str(final / name) for name in "abc"}
    (final / "c").mkdir()
    with pytest.raises(OSError, match="directory"):
        replace_all(moves)
    assert sorted(os.listdir(final)) == ["a", "c"]
    assert (final / "a").read_text() == "old"
    assert (final / "a").stat().st_mode & 0o777 == 0o640
    (final / "c").rmdir()
    for name in "ab":
        (staged / name).write_text("new")
    replace_all(moves)
    assert [(final / name).read_text() for name in "abc"] == ["new"] * 3
    assert (final / "a").stat().st_mode & 0o777 == 0o640


def test_loads_that_make_one_folder_at_the_same_time_all_find_it(tmp_path: Path) -> None:
    workers, rounds = 6, 200
    together = threading.Barrier(workers)

    def make(_: int) -> list[str]:
        made: list[str] = []
        for number in range(rounds):
            together.wait(30)
            make_folders(str(tmp_path / str(number) / "out" / "rejects"), made, "the target")
        return made

    with ThreadPoolExecutor(workers) as pool:
        made = [folder for folders in pool.map(make, range(workers)) for folder in folders]
    assert len(made) == len(set(made)) == rounds * 3
