"""Files of machine code: whole and ours, or not read at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from zoopipe_core.errors import KernelError
from zoopipe_core.kernels import cache

MARK = "0123456789abcdef" * 2
OTHER = "f" * 32
SYMBOLS = {"numbers.double(int64[])": "symbol_of_double"}
CODE = bytes(range(256))
STRANGER = 54_321
DAY = 86_400


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder; the installation and the temporary folder are elsewhere, and there is no home."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("ZOOPIPE_CACHE_DIR", str(folder))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    return folder


def write(folder: Path, mark: str = MARK, **options: bool) -> Path:
    return cache.publish(cache.store(folder, mark, SYMBOLS, CODE, **options), mark)


def age(path: Path, days: float) -> None:
    os.utime(path, (time.time() - days * DAY,) * 2, follow_symlinks=False)


# ---- whole --------------------------------------------------------------------------------------------------------


def test_what_was_stored_is_found(folder: Path) -> None:
    path = write(folder)
    assert cache.find(MARK) == cache.Compiled(SYMBOLS, CODE, path)
    assert cache.find(OTHER) is None


def test_a_file_cut_at_any_length_is_not_read(folder: Path) -> None:
    path = write(folder)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert cache.find(MARK) is None, length
    path.write_bytes(whole)
    assert cache.find(MARK) is not None


def test_a_file_with_any_bit_flipped_or_a_byte_too_many_is_not_read(folder: Path) -> None:
    path = write(folder)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert cache.find(MARK) is None, bit
    path.write_bytes(whole + b"\0")
    assert cache.find(MARK) is None


def test_a_file_of_another_version_under_a_new_name_is_not_read(folder: Path) -> None:
    write(folder, OTHER).rename(folder / f"kernels-{MARK}.bin")
    assert cache.find(MARK) is None


def test_a_damaged_file_of_the_user_does_not_hide_the_whole_one_of_the_installation(folder: Path) -> None:
    cache.system_folder().mkdir(parents=True)
    shared = write(cache.system_folder(), shared=True)
    write(folder).write_bytes(b"damaged")
    found = cache.find(MARK)
    assert found is not None
    assert found.path == shared


def test_a_disk_that_is_full_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import resource, signal, sys
from pathlib import Path
from zoopipe_core.kernels import cache
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    cache.store(Path(sys.argv[1]), "0" * 32, {}, bytes(1000))
except OSError:
    sys.exit(7)
"""
    assert subprocess.run([sys.executable, "-c", code, str(folder)], check=False).returncode == 7
    assert list(folder.iterdir()) == []


# ---- ours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_to_is_not_read(folder: Path, mode: int) -> None:
    write(folder).chmod(mode)
    assert cache.find(MARK) is None


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("replace", [_link, _pipe, _folder, Path.unlink])
def test_what_is_no_file_is_not_read_nor_waited_for(folder: Path, replace: Callable[[Path], None]) -> None:
    replace(write(folder))
    assert cache.find(MARK) is None


def disown(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `path` a file of somebody else, who is not root either."""
    if os.geteuid() == 0:
        os.chown(path, STRANGER, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: STRANGER)


def test_a_file_of_another_user_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disown(write(folder), monkeypatch)
    assert cache.find(MARK) is None


def test_who_owns_our_source_is_trusted_in_the_folder_of_the_installation_only(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "cache.py"
    source.touch()
    monkeypatch.setattr(cache, "__file__", str(source))
    disown(source, monkeypatch)
    cache.system_folder().mkdir(parents=True)
    private, shared = write(folder), write(cache.system_folder(), shared=True)
    disown(private, monkeypatch)
    disown(shared, monkeypatch)
    found = cache.find(MARK)
    assert found is not None
    assert found.path == shared


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write files of root")
def test_what_root_has_warmed_is_read_by_other_users(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.system_folder().mkdir(parents=True)
    path = write(cache.system_folder(), shared=True)
    assert path.stat().st_mode & 0o777 == 0o644
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    found = cache.find(MARK)
    assert found is not None
    assert found.path == path


def test_files_and_folders_are_private_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOOPIPE_CACHE_DIR", str(tmp_path / "new" / "folder"))
    before = os.umask(0)
    try:
        folder = cache.folder_for_writing()
        path = write(folder)
        with cache.compile_lock(folder):
            pass
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert path.stat().st_mode & 0o777 == 0o600
    assert (folder / "compiling.lock").stat().st_mode & 0o777 == 0o600


# ---- folders ------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and a folder for temporary files beside it."""
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    monkeypatch.delenv("ZOOPIPE_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(cache.tempfile, "tempdir", str(temporary))
    return home


def test_the_users_cache_folder_is_the_usual_place(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.folder_for_writing() == home / ".cache" / "zoopipe"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.folder_for_writing() == tmp_path / "xdg" / "zoopipe"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder_for_writing() == home / ".cache" / "zoopipe"


def test_a_home_that_cannot_be_written_to_gives_way_to_a_private_temporary_folder(home: Path, tmp_path: Path) -> None:
    (home / ".cache").touch()  # root may write to any folder, but not below a file
    folder = cache.folder_for_writing()
    assert folder == tmp_path / "tmp" / f"zoopipe-{os.geteuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_kernels_in_a_home_that_cannot_be_written_to_are_found(home: Path) -> None:
    path = write(cache.folder_for_writing())
    path.parent.chmod(0o500)
    found = cache.find(MARK)
    assert found is not None
    assert found.path == path


def test_a_user_without_a_home_gets_the_temporary_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(cls: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", classmethod(no_home))
    assert cache.folder_for_writing().parent == tmp_path / "tmp"


def _open_to_all(path: Path) -> None:
    path.mkdir()
    path.chmod(0o777)


def _link_elsewhere(path: Path) -> None:
    path.with_name("elsewhere").mkdir(mode=0o700)
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("occupy", [_open_to_all, _link_elsewhere, Path.touch])
def test_a_temporary_folder_that_another_may_have_made_is_not_used(
    home: Path, tmp_path: Path, occupy: Callable[[Path], None]
) -> None:
    (home / ".cache").touch()
    occupy(tmp_path / "tmp" / f"zoopipe-{os.geteuid()}")
    with pytest.raises(KernelError, match="Set ZOOPIPE_CACHE_DIR to a folder that you can write to"):
        cache.folder_for_writing()


# ---- versions -----------------------------------------------------------------------------------------------------


def test_the_fingerprint_is_the_same_each_time() -> None:
    assert cache.fingerprint() == cache.fingerprint()


def _other_version(package: str) -> Callable[[pytest.MonkeyPatch, Path], None]:
    def change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        real = cache.metadata.version
        monkeypatch.setattr(cache.metadata, "version", lambda name: "99.0" if name == package else real(name))

    return change


def _other_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = SimpleNamespace(
        platform=sys.platform, implementation=sys.implementation, version_info=(3, 99, 0, "final", 0)
    )
    monkeypatch.setattr(cache, "sys", python)


def _other_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "target_cpu", lambda: "x86-64-v9")


def _other_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy_sources(monkeypatch, tmp_path)
    with (tmp_path / "sources" / "numbers.py").open("a") as file:
        file.write("\n")


def _another_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy_sources(monkeypatch, tmp_path)
    (tmp_path / "sources" / "new.py").touch()


def copy_sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sources").mkdir()
    for source in Path(cache.__file__).parent.glob("*.py"):
        (tmp_path / "sources" / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "sources" / "cache.py"))


def test_the_fingerprint_does_not_depend_on_where_the_package_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache.fingerprint()
    copy_sources(monkeypatch, tmp_path)
    assert cache.fingerprint() == before


@pytest.mark.parametrize(
    "change",
    [_other_version("numba"), _other_version("llvmlite"), _other_python, _other_processor, _other_source,
     _another_source],
    ids=["numba", "llvmlite", "Python", "processor", "source", "one more source"],
)  # fmt: skip
def test_another_version_has_another_fingerprint(
    change: Callable[[pytest.MonkeyPatch, Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = cache.fingerprint()
    change(monkeypatch, tmp_path)
    assert cache.fingerprint() != before


def test_without_numba_or_sources_there_is_no_fingerprint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise cache.metadata.PackageNotFoundError(name)

    with monkeypatch.context() as patch:
        patch.setattr(cache.metadata, "version", missing)
        with pytest.raises(KernelError, match="need Numba"):
            cache.fingerprint()
    monkeypatch.setattr(cache, "__file__", str(tmp_path / "cache.pyc"))
    with pytest.raises(KernelError, match="sources"):
        cache.fingerprint()


def test_versions_that_nobody_uses_are_removed_and_nothing_else_is(folder: Path) -> None:
    old, used = write(folder, "a" * 32), write(folder, "b" * 32)
    part = cache.store(folder, "c" * 32, SYMBOLS, CODE)
    fresh_part = cache.store(folder, "d" * 32, SYMBOLS, CODE)
    cache.note_failure(folder, "e" * 32, "why")
    failed = folder / f"kernels-{'e' * 32}.failed"
    foreign = folder / "kernels-of-mine.bin"
    foreign.touch()
    for path, days in [(old, 31), (used, 29), (part, 2), (failed, 31), (foreign, 1000)]:
        age(path, days)
    new = write(folder)
    assert set(folder.iterdir()) == {used, fresh_part, foreign, new}


def test_use_keeps_a_version_from_being_removed(folder: Path) -> None:
    path = write(folder)
    age(path, 29)
    assert cache.find(MARK) is not None
    assert time.time() - path.stat().st_mtime < DAY


# ---- one compiler at a time, and none in vain ---------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from zoopipe_core.kernels import cache
with cache.compile_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_lock_is_waited_for_and_dies_with_its_holder(folder: Path) -> None:
    got = threading.Event()

    def wait() -> None:
        with cache.compile_lock(folder):
            got.set()

    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        assert not got.wait(0.3)
        holder.kill()
        assert got.wait(30)
        thread.join()


def test_a_failure_is_remembered_for_a_day_and_forgotten_when_kernels_are_there(folder: Path) -> None:
    assert cache.failure(folder, MARK) is None
    cache.note_failure(folder, MARK, "no such luck")
    assert cache.failure(folder, MARK) == "no such luck"
    assert cache.failure(folder, OTHER) is None
    age(folder / f"kernels-{MARK}.failed", 1.01)
    assert cache.failure(folder, MARK) is None
    cache.note_failure(folder, MARK, "again")
    write(folder)
    assert cache.failure(folder, MARK) is None
