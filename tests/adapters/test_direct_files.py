"""Files that are written past the page cache have the bytes that they were given, whatever the file system says."""

import ctypes
import errno
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zoopipe_core.adapters import direct_files
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.direct_files import BUFFER_BYTES, DirectFile, DirectReader

PATTERN = bytes(range(251)) * (9 * BUFFER_BYTES // 251)  # longer than all pieces of a test

sizes = st.one_of(
    st.integers(0, 5000),
    st.sampled_from([4095, 4096, 4097, BUFFER_BYTES - 1, BUFFER_BYTES, BUFFER_BYTES + 1, 2 * BUFFER_BYTES + 4096]),
)


def write_pieces(path: Path, before: int, pieces: list[int]) -> bytes:
    """Write pieces of `PATTERN` behind `before` bytes of it; what the file has to hold."""
    path.write_bytes(PATTERN[:before])
    with open(path, "r+b", buffering=0) as raw:
        raw.seek(before)
        file, at = DirectFile(raw, before), before
        for size in pieces:
            assert file.write(memoryview(PATTERN)[at : at + size]) == size
            at += size
        file.drain()
    return PATTERN[:at]


@given(before=st.sampled_from([0, 1, 4096, 10_000]), pieces=st.lists(sizes, max_size=4))
@example(before=3, pieces=[BUFFER_BYTES])
@example(before=0, pieces=[BUFFER_BYTES, 1, BUFFER_BYTES])
@example(before=10_000, pieces=4 * [2 * BUFFER_BYTES + 4096])
def test_a_file_has_the_bytes_in_order(
    tmp_path_factory: pytest.TempPathFactory, before: int, pieces: list[int]
) -> None:
    path = tmp_path_factory.mktemp("direct") / "file"
    assert write_pieces(path, before, pieces) == path.read_bytes()


def refuse(*arguments: Any) -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def test_a_file_system_without_such_access_is_written_in_the_usual_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct_files, "_set_direct", refuse)
    expected = write_pieces(tmp_path / "file", 5, [BUFFER_BYTES, 7, 2 * BUFFER_BYTES, 3])
    assert (tmp_path / "file").read_bytes() == expected


class Reluctant:
    """A file that takes less than it is given."""

    def __init__(self, file: Any, most: int) -> None:
        self.file, self.most = file, most
        self.fileno = file.fileno

    def write(self, data: memoryview) -> int:
        return int(self.file.write(data[: self.most]))


@pytest.mark.parametrize("most", [1_000, 4096, BUFFER_BYTES - 4096])
def test_what_a_file_does_not_take_at_once_it_is_given_again(tmp_path: Path, most: int) -> None:
    with open(tmp_path / "file", "wb", buffering=0) as raw:
        file = DirectFile(Reluctant(raw, most))
        file.write(memoryview(PATTERN)[: 2 * BUFFER_BYTES + 9])
        file.drain()
    assert (tmp_path / "file").read_bytes() == PATTERN[: 2 * BUFFER_BYTES + 9]


def test_a_size_limit_is_told_of_as_such(tmp_path: Path) -> None:
    code = """
import resource, signal, sys
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.errors import TargetWriteError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
file = AtomicFile(sys.argv[1])
try:
    for _ in range(5):
        file.write(bytes(1_000_000))
    file.prepare()
except TargetWriteError as error:
    print(error)
file.abort()
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], capture_output=True, text=True, check=True)
    assert "ulimit -f" in done.stdout
    assert os.listdir(tmp_path) == []


def cached_bytes(path: Path) -> int:
    """How much of a file the page cache has."""
    size = path.stat().st_size
    pages = -(-size // mmap.PAGESIZE)
    states = (ctypes.c_ubyte * pages)()
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), size) as mapped:
        view = ctypes.c_char.from_buffer(mapped)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mincore(ctypes.byref(view), ctypes.c_size_t(size), states):
            raise OSError(ctypes.get_errno(), "mincore")
        del view
    return sum(state & 1 for state in states) * mmap.PAGESIZE


def takes_direct_writes(folder: Path) -> bool:
    try:
        os.close(os.open(folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
    except OSError:
        return False
    return True


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what the page cache has")
def test_a_load_leaves_little_of_its_output_in_the_page_cache(tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / "file"))
    for start in range(0, 10_000_000, 1_000_000):
        file.write(PATTERN[start : start + 1_000_000])
    file.publish()
    cached = cached_bytes(tmp_path / "file")
    assert cached < BUFFER_BYTES + 4096 or not takes_direct_writes(tmp_path)
    assert (tmp_path / "file").read_bytes() == PATTERN[:10_000_000]


@pytest.mark.parametrize("start", [0, 1, 4096, BUFFER_BYTES - 1, 9_999_999, 10_000_000])
def test_a_reader_gives_the_bytes_from_anywhere_on(tmp_path: Path, start: int) -> None:
    (tmp_path / "file").write_bytes(PATTERN[:10_000_000])
    with open(tmp_path / "file", "rb", buffering=0) as file:
        reader = DirectReader(file.fileno()) if takes_direct_writes(tmp_path) else DirectReader.of(file.fileno())
        assert (reader is None) == (not takes_direct_writes(tmp_path))
        if reader is not None:
            found = bytes(reader.read(start, 5000))
            assert found == PATTERN[start : min(start + len(found), 10_000_000)]
            assert len(found) == min(5000, 10_000_000 - start, BUFFER_BYTES - start % 4096)
