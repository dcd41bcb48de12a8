"""The folder of parts: private, locked, and gone afterwards."""

import errno
import fcntl
import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.coordinators.support import names_in
from zoopipe_core.coordinators.staging import StagingFolder, make_staging_folder
from zoopipe_core.errors import TargetWriteError

SECONDS = 20.0

# Takes the lock, says so, and is killed with it.
HOLD = """
import sys, time
from zoopipe_core.coordinators.staging import make_staging_folder
folder = make_staging_folder(sys.argv[1] or None, "target")
folder.create()
open(folder.part("part-00000"), "w").close()
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return folder


def hold(target: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLD, target], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_parts_are_nobody_else_s_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        folder = make_staging_folder(str(tmp_path / "out.csv"), "out.csv")
        assert names_in(tmp_path) == []
        folder.create()
        for path in (tmp_path / ".out.csv.zoopipe", Path(folder.path)):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / ".out.csv.zoopipe" / "lock").stat().st_mode) == 0o600
    finally:
        os.umask(before)
        folder.remove()
    folder.remove()
    assert names_in(tmp_path) == []


def test_a_second_load_of_the_target_is_told_so_and_leaves_the_first_alone(tmp_path: Path) -> None:
    target = str(tmp_path / "out.csv")
    first, second = make_staging_folder(target, "out.csv"), make_staging_folder(target, "out.csv")
    first.create()
    with pytest.raises(TargetWriteError, match=r"out\.csv is being written by another load"):
        second.create()
    first.check()
    first.remove()
    second.create()
    second.check()
    second.remove()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("beside", [True, False])
def test_the_lock_dies_with_its_holder_and_what_it_left_is_removed(
    tmp_path: Path, temporary: Path, beside: bool
) -> None:
    target = str(tmp_path / "out.csv") if beside else ""
    where = tmp_path / ".out.csv.zoopipe" if beside else temporary
    living, dead = hold(str(tmp_path / "other.csv") if beside else ""), hold(target)
    try:
        end(dead)
        left = {path.name for path in where.iterdir()}
        folder = make_staging_folder(target or None, "target")
        folder.create()
        try:
            parts = [path for path in where.rglob("part-*") if not path.is_relative_to(folder.path)]
            assert len(parts) == (0 if beside else 1), "the part of the dead is gone, that of the living is not"
            assert left
            assert os.listdir(folder.path) == []
        finally:
            folder.remove()
    finally:
        end(living)


def test_a_folder_that_is_removed_meanwhile_is_noticed(tmp_path: Path) -> None:
    import shutil

    folder = make_staging_folder(str(tmp_path / "new" / "out.csv"), "out.csv")
    folder.create()
    folder.check()
    shutil.rmtree(tmp_path / "new")
    with pytest.raises(TargetWriteError, match="was removed during the load"):
        folder.check()
    Path(folder.path).mkdir(parents=True)  # as a worker's late part would
    with pytest.raises(TargetWriteError, match="was removed during the load"):
        folder.check()
    folder.remove()
    assert names_in(tmp_path) == []


def test_folders_that_were_made_go_with_it_unless_the_target_is_in_them(tmp_path: Path) -> None:
    for keep in (False, True):
        folder = make_staging_folder(str(tmp_path / "a" / "b" / "out.csv"), "out.csv")
        folder.create()
        folder.remove(keep_folders=keep)
        assert names_in(tmp_path) == (["a", "a/b"] if keep else [])


@pytest.mark.parametrize("kind", ["file", "link", "file on the way"])
def test_what_is_in_the_way_is_named_and_left_alone(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "out.csv"
    if kind == "file on the way":
        (tmp_path / "x").write_text("mine")
        target = tmp_path / "x" / "out.csv"
    elif kind == "file":
        (tmp_path / ".out.csv.zoopipe").write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere" / "mine").touch()
        (tmp_path / ".out.csv.zoopipe").symlink_to("elsewhere")
    before = names_in(tmp_path)
    with pytest.raises(TargetWriteError, match="cannot be written"):
        make_staging_folder(str(target), "out.csv").create()
    assert names_in(tmp_path) == before


NOBODY = 65534


def test_a_folder_that_may_not_be_written_is_told_of() -> None:
    # Root may write anywhere, so root tries it as somebody else, who may not pass through pytest's own folders.
    as_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if as_root:
            os.chown(folder, NOBODY, -1)
        os.chmod(folder, 0o500)
        try:
            if as_root:
                os.seteuid(NOBODY)
            with pytest.raises(TargetWriteError, match="Permission denied"):
                make_staging_folder(os.path.join(folder, "out.csv"), "out.csv").create()
        finally:
            if as_root:
                os.seteuid(0)
            os.chmod(folder, 0o700)


def test_of_many_loads_at_once_never_two_hold_the_lock(tmp_path: Path) -> None:
    holding, most, errors = 0, 0, list[BaseException]()
    guard = threading.Lock()

    def work() -> None:
        nonlocal holding, most
        try:
            for _ in range(50):
                folder = make_staging_folder(str(tmp_path / "out.csv"), "out.csv")
                try:
                    folder.create()
                except TargetWriteError:
                    continue
                with guard:
                    holding += 1
                    most = max(most, holding)
                folder.check()
                with guard:
                    holding -= 1
                folder.remove()
        except BaseException as error:  # noqa: BLE001  looked at below
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert errors == []
    assert most == 1
    assert names_in(tmp_path) == []


def test_who_looks_for_abandoned_folders_does_not_disturb_one_that_is_being_made(temporary: Path) -> None:
    folder = make_staging_folder(None, "a table")
    home = Path(folder.path).parent
    home.mkdir()
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    threading.Timer(0.1, lambda: os.close(descriptor)).start()
    folder.create()
    folder.check()
    folder.remove()
    assert names_in(temporary) == []


def test_without_locks_a_load_goes_on_and_leaves_alone_what_others_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    first, second = (make_staging_folder(str(tmp_path / "out.csv"), "out.csv") for _ in range(2))
    first.create()
    second.create()
    assert "has no locks" in caplog.text
    assert os.path.isdir(first.path)
    second.remove()
    assert os.path.isdir(first.path)
    first.remove()
    assert names_in(tmp_path) == []


def test_a_name_of_any_length_has_a_folder(tmp_path: Path) -> None:
    folder = make_staging_folder(str(tmp_path / ("ä" * 127)), "long")
    assert isinstance(folder, StagingFolder)
    folder.create()
    folder.remove()
