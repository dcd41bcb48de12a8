"""What goes wrong in a load by processes: the target is old or complete, the report true, nothing left behind."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.coordinators.support import names_in
from tests.manager.loads import ROWS, manager_of, write_input
from zoopipe_core import PipeManager, PipeStatus
from zoopipe_core.managing import workers

PATIENCE_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]
NAMES = ["out.jsonl", "out.parquet"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An input, and an older target."""
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.3)  # what hangs here would use up all of it
    write_input(tmp_path)
    (tmp_path / "out").mkdir()
    for name in NAMES:
        (tmp_path / "out" / name).write_text("old")
    return tmp_path


def wait_until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return value


def reached(folder: Path, point: str, count: int = 1) -> list[int]:
    """The processes that are at a point, once so many are."""
    notes = wait_until(lambda: found if len(found := list(folder.glob(f"{point}.*[0-9]"))) >= count else None)
    return [int(note.suffix[1:]) for note in notes]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def check_old(folder: Path) -> None:
    assert names_in(folder / "out") == sorted(NAMES)
    assert [(folder / "out" / name).read_text() for name in NAMES] == ["old", "old"]


def check_new(folder: Path) -> None:
    lines = (folder / "out" / "out.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == list(range(ROWS))
    assert names_in(folder / "out") == sorted(["bad.jsonl", *NAMES])


def failure(manager: PipeManager) -> str:
    assert manager.report.status is PipeStatus.FAILED
    assert manager.report.exception is not None
    return f"{manager.report.exception.type}: {manager.report.exception.message}"


# ---- workers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["start", "middle", "last row"])
def test_a_worker_that_is_killed_fails_the_load(folder: Path, point: str) -> None:
    manager = manager_of(folder, "out.jsonl", point)
    manager.start()
    victim, *others = reached(folder, point, 3)
    os.kill(victim, signal.SIGKILL)
    assert manager.wait(PATIENCE_SECONDS)
    assert "WorkerDiedError: shard " in failure(manager)
    assert "SIGKILL" in failure(manager)
    assert sorted(report.status for report in manager.pipe_reports) == ["aborted", "aborted", "failed"]
    assert not any(is_running(pid) for pid in others)
    check_old(folder)


def test_a_worker_that_is_killed_is_replaced_where_retries_are_allowed(folder: Path) -> None:
    manager = manager_of(folder, "out.jsonl", "middle", retries=1)
    manager.start()
    os.kill(reached(folder, "middle", 3)[0], signal.SIGKILL)
    (folder / "go").touch()
    assert manager.wait(PATIENCE_SECONDS)
    assert manager.report.status is PipeStatus.COMPLETED, manager.report
    assert sorted(report.attempt for report in manager.pipe_reports) == [1, 1, 2]
    assert manager.report.loaded_rows == ROWS
    check_new(folder)


# ---- the target -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_disk_that_is_full_while_merging_is_told_of(folder: Path, name: str) -> None:
    """A limit on the size of a file stands for the disk: the parts fit, and the whole does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    manager = manager_of(folder, name, "last row")
    manager.start()
    reached(folder, "last row", 3)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        (folder / "go").touch()
        assert manager.wait(PATIENCE_SECONDS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert failure(manager).startswith("TargetWriteError: ")
    assert f"out/{name} cannot be written: File too large" in failure(manager)
    assert [report.status for report in manager.pipe_reports] == [PipeStatus.COMPLETED] * 3
    check_old(folder)


@pytest.mark.parametrize("point", ["middle", "last row"])
def test_a_target_folder_that_is_removed_meanwhile_is_told_of(folder: Path, point: str) -> None:
    manager = manager_of(folder, "out.jsonl", point)
    manager.start()
    reached(folder, point, 3)
    shutil.rmtree(folder / "out")
    (folder / "go").touch()
    assert manager.wait(PATIENCE_SECONDS)
    assert "TargetWriteError: " in failure(manager)
    assert str(folder / "out") in failure(manager)
    assert names_in(folder / "out") == []


def test_of_two_managers_on_one_target_the_second_is_told_so(folder: Path) -> None:
    first, second = manager_of(folder, "out.jsonl", "middle"), manager_of(folder, "out.jsonl")
    first.start()
    reached(folder, "middle", 3)
    assert not second.run()
    assert "out.jsonl is being written by another load" in failure(second)
    (folder / "go").touch()
    assert first.wait(PATIENCE_SECONDS)
    assert first.report.status is PipeStatus.COMPLETED
    check_new(folder)
    assert second.run()
    check_new(folder)


# ---- the manager's own process --------------------------------------------------------------------------------------


@pytest.fixture
def launch(folder: Path) -> Iterator[Callable[[str], "subprocess.Popen[bytes]"]]:
    """Starts the load in a process that does nothing else."""
    processes: list[subprocess.Popen[bytes]] = []

    def launch(point: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.manager.loads", str(folder), "out.jsonl", point]
        processes.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        return processes[-1]

    yield launch
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("point", ["middle", "merge"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_manager_that_is_told_to_end_undoes_the_load_first(
    folder: Path, launch: Callable[[str], "subprocess.Popen[bytes]"], number: signal.Signals, point: str
) -> None:
    process = launch(point)
    pids = reached(folder, point, 1 if point == "merge" else 3)
    process.send_signal(number)
    time.sleep(0.2)  # so that the signal is there before the load goes on
    (folder / "go").touch()
    assert process.wait(PATIENCE_SECONDS) == -number
    assert not any(is_running(pid) for pid in pids)
    check_old(folder)


@pytest.mark.parametrize("point", ["middle", "merge"])
def test_a_manager_that_is_killed_leaves_the_old_target_and_the_next_run_removes_the_rest(
    folder: Path, launch: Callable[[str], "subprocess.Popen[bytes]"], point: str
) -> None:
    process = launch(point)
    pids = reached(folder, point, 1 if point == "merge" else 3)
    process.kill()
    process.wait()
    wait_until(lambda: not any(is_running(pid) for pid in pids))
    assert (folder / "out" / "out.jsonl").read_text() == "old"
    assert ".out.jsonl.zoopipe" in names_in(folder / "out")
    manager = manager_of(folder, "out.jsonl")
    assert manager.run()
    check_new(folder)


def test_a_worker_that_is_killed_during_the_merge_makes_no_difference(
    folder: Path, launch: Callable[[str], "subprocess.Popen[bytes]"]
) -> None:
    process = launch("merge")
    assert reached(folder, "merge") == [process.pid]
    for path in Path(f"/proc/{process.pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            os.kill(child, signal.SIGKILL)
    (folder / "go").touch()
    assert process.wait(PATIENCE_SECONDS) == 0
    check_new(folder)
    report = json.loads((folder / "report.json").read_text())
    assert (report["status"], report["loaded_rows"]) == ("completed", ROWS)


def test_a_manager_in_another_thread_ends_when_the_block_is_left(folder: Path) -> None:
    def work() -> None:
        with manager:
            reached(folder, "middle", 3)

    manager = manager_of(folder, "out.jsonl", "middle")
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert manager.report.status is PipeStatus.ABORTED
    wait_until(lambda: not any(is_running(int(path.suffix[1:])) for path in folder.glob("middle.*[0-9]")))
    check_old(folder)
