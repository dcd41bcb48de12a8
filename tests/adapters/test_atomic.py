"""Output files that appear complete or not at all, on every kind of place."""

import bz2
import gzip
import os
import random
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.local import LocalFileSystem

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.errors import SpecError, TargetWriteError


def write(path: Path | str, data: bytes = b"new") -> None:
    file = AtomicFile(str(path))
    file.write(data)
    file.prepare()
    file.publish()


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder: name -> content, None for a folder."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def umask() -> Iterator[int]:
    before = os.umask(0o027)
    yield 0o027
    os.umask(before)


# ---- all or nothing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[], ["write"], ["write", "prepare"]])
def test_until_it_is_published_the_old_file_stands_and_then_no_other_is_left(tmp_path: Path, steps: list[str]) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    file = AtomicFile(str(path))
    for step in steps:
        file.write(b"new") if step == "write" else file.prepare()
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 2
    file.publish()
    file.publish()
    file.abort()
    assert tree(tmp_path) == {"out.csv": b"new" if steps else b""}


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("steps", [[], ["write"], ["write", "prepare"]])
def test_an_abort_leaves_no_trace(tmp_path: Path, steps: list[str], suffix: str) -> None:
    (tmp_path / f"out{suffix}").write_bytes(b"old")
    for place in (f"out{suffix}", f"new/deep/out{suffix}"):
        file = AtomicFile(str(tmp_path / place))
        for step in steps:
            file.write(random.Random(1).randbytes(100_000)) if step == "write" else file.prepare()
        file.abort()
        file.abort()
        file.publish()  # too late: it stays undone
        assert tree(tmp_path) == {f"out{suffix}": b"old"}


def test_folders_that_another_load_uses_stay(tmp_path: Path) -> None:
    first, second = (AtomicFile(str(tmp_path / "a" / "b" / name)) for name in ("1.csv", "2.csv"))
    first.abort()
    second.write(b"x")
    second.publish()
    assert tree(tmp_path) == {"a": None, "a/b": None, "a/b/2.csv": b"x"}


def test_loads_that_make_and_remove_one_folder_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(30):
                file = AtomicFile(str(tmp_path / "a" / "b" / f"{number}.csv"))
                file.write(b"x")
                file.abort() if turn % 2 else file.publish()
                if not turn % 2:
                    os.unlink(tmp_path / "a" / "b" / f"{number}.csv")
        except BaseException as error:  # noqa: BLE001  looked at below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


# Kept running by the parent until it is killed in the middle of writing.
WRITE_FOR_EVER = """
import sys
from zoopipe_core.adapters.atomic import AtomicFile
file = AtomicFile(sys.argv[1])
while True:
    file.write(b"x" * 100_000)
    print("written", flush=True)
"""


def test_a_process_killed_while_it_writes_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.kill()
    assert path.read_bytes() == b"old"
    write(path)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
def test_what_is_written_is_compressed_by_suffix(tmp_path: Path, suffix: str) -> None:
    path, data = tmp_path / f"out.csv{suffix}", b"a,b\n" * 50_000
    write(path, data)
    raw = path.read_bytes()
    decompress: dict[str, Any] = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress}
    if suffix in decompress:
        assert decompress[suffix](raw) == data
    source = ByteSource(str(path))
    assert source.read() == data
    source.close()
    assert (len(raw) < len(data) / 20) == (suffix != "")
    with pytest.raises(SpecError, match="zip files can be read but not written"):
        AtomicFile(str(tmp_path / "out.csv.zip"))


def test_bytes_are_counted_behind_the_compressor(tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / "out.gz"))
    for data in (b"x" * 100_000, memoryview(b"yy"), pa.py_buffer(b"zzz")):
        file.write(data)
    file.publish()
    assert file.bytes_written == (tmp_path / "out.gz").stat().st_size


# ---- names and permissions ------------------------------------------------------------------------------------------


def test_nobody_else_can_read_what_is_not_published(tmp_path: Path, umask: int) -> None:
    file = AtomicFile(str(tmp_path / "out.csv"))
    [hidden] = tmp_path.iterdir()
    assert hidden.name.startswith(".out.csv.")
    assert stat.S_IMODE(hidden.stat().st_mode) == 0o600
    file.publish()
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o777, 0o400])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, umask: int, mode: int) -> None:
    path = tmp_path / "out.csv"
    path.write_bytes(b"old")
    path.chmod(mode)
    write(path)
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"new", mode)


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_one(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "real").mkdir()
    target = tmp_path / "real" / "out.csv"
    if exists:
        target.write_bytes(b"old")
    link = tmp_path / "link.csv"
    link.symlink_to("real/out.csv")
    write(link)
    assert link.is_symlink()
    assert tree(tmp_path / "real") == {"out.csv": b"new"}


def test_a_relative_path_means_the_folder_in_which_the_load_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    file = AtomicFile("out/out.csv")
    monkeypatch.chdir(tmp_path / "elsewhere")
    file.publish()
    assert tree(tmp_path) == {"elsewhere": None, "out": None, "out/out.csv": b""}
    monkeypatch.setenv("HOME", str(tmp_path))
    write("~/home.csv")
    write(f"file://{tmp_path}/url.csv")
    assert {"home.csv", "url.csv"} < set(tree(tmp_path))


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", "é" * 125 + ".csv", "日本 'x' \n.csv"])
def test_any_name_that_the_system_takes_is_taken(tmp_path: Path, name: str) -> None:
    write(tmp_path / name)
    assert tree(tmp_path) == {name: b"new"}


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("{}", "{} is a folder; an output is a file: {}/rows.csv"),
        ("{}/new/", "{}/new/ is a folder; an output is a file: {}/new/rows.csv"),
        ("{}/file/out.csv", "{}/file/out.csv cannot be written: {}/file is a file and no folder"),
        ("{}/" + "x" * 256, "cannot be written: File name too long; a name may have 255 bytes"),
        ("{}/new/" + "x" * 256, "cannot be written: File name too long; a name may have 255 bytes"),
        ("/proc/out.csv", "/proc/out.csv cannot be written: No such file or directory"),
    ],
)
def test_a_place_that_takes_no_file_is_an_error_when_it_is_opened(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(TargetWriteError) as caught:
        AtomicFile(path.replace("{}", str(tmp_path)))
    assert message.replace("{}", str(tmp_path)) in str(caught.value)
    assert tree(tmp_path) == {"file": b"x"}


def test_a_folder_that_comes_in_the_way_fails_the_publication(tmp_path: Path) -> None:
    file = AtomicFile(str(tmp_path / "out.csv"))
    (tmp_path / "out.csv").mkdir()
    with pytest.raises(TargetWriteError, match=r"out\.csv cannot be written: Is a directory"):
        file.publish()
    file.abort()
    assert tree(tmp_path) == {"out.csv": None}


# ---- devices and pipes ----------------------------------------------------------------------------------------------


def test_a_device_is_written_to_and_stays_one() -> None:
    write("/dev/null")
    AtomicFile("/dev/null").abort()
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_full_device_fails_the_write_and_can_still_be_aborted(tmp_path: Path, suffix: str) -> None:
    link = tmp_path / f"full{suffix}"
    link.symlink_to("/dev/full")
    file = AtomicFile(str(link))

    def fill() -> None:
        for _ in range(100):
            file.write(random.randbytes(10_000))
        file.prepare()

    with pytest.raises(TargetWriteError, match=r"No space left on device; free some space, or write elsewhere"):
        fill()
    file.abort()


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(path.read_bytes()))
    reader.start()
    write(path, b"x" * 200_000)
    reader.join()
    assert received == [b"x" * 200_000]
    assert stat.S_ISFIFO(path.stat().st_mode)


# ---- other file systems ---------------------------------------------------------------------------------------------


class ObjectStore(LocalFileSystem):
    """Shows an object when its upload is committed, as S3 does; no folder has to be made."""

    protocol = "oss"

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("oss://")


fsspec.register_implementation("oss", ObjectStore)


@pytest.fixture(params=["memory", "oss"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A file that is not there yet, on a file system with a rename, or without one."""
    return f"{request.param}://{tmp_path}/out/deep/rows.csv.gz"


def stored(url: str) -> list[str]:
    filesystem, path = fsspec.url_to_fs(url)
    return [file.partition("/out/")[2] for file in filesystem.find(path.partition("/out/")[0])]


def test_a_url_shows_the_file_when_it_is_published(url: str) -> None:
    for data in (b"old", b"new"):
        file = AtomicFile(url)
        file.write(data)
        file.prepare()
        if data == b"new":
            with fsspec.open(url, compression="gzip") as seen:
                assert seen.read() == b"old"
        file.publish()
        file.abort()
    source = ByteSource(url)
    assert source.read() == b"new"
    source.close()
    assert stored(url) == ["deep/rows.csv.gz"]


@pytest.mark.parametrize("steps", [[], ["write"], ["write", "prepare"]])
def test_an_aborted_url_leaves_no_trace(url: str, steps: list[str]) -> None:
    file = AtomicFile(url)
    for step in steps:
        file.write(b"x") if step == "write" else file.prepare()
    file.abort()
    file.abort()
    assert stored(url) == []
    assert not fsspec.filesystem("memory").exists(url.removeprefix("memory://").partition("/out/")[0])


def test_a_url_that_is_a_folder_or_has_no_file_system_is_an_error() -> None:
    fsspec.filesystem("memory").makedirs("/folder/deep")
    with pytest.raises(TargetWriteError, match=r"/folder is a folder; an output is a file: /folder/rows\.csv"):
        AtomicFile("memory://folder")
    with pytest.raises(SpecError, match=r"^nonsense://bucket/out\.csv cannot be opened by fsspec"):
        AtomicFile("nonsense://key:canary@bucket/out.csv")
    fsspec.filesystem("memory").rm("/folder", recursive=True)
