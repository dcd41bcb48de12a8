"""What happens to the process of a manager: its children are gone within two seconds, the target is old or complete."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.coordinators.support import names_in
from tests.manager.checks import check_gone, check_new, check_old, reached
from tests.manager.loads import ENGINES, GOOD_IDS, SHARDS, Pauses, manager_of
from tests.manager.targets import OLD, TARGETS, Target
from zoopipe_core import MultiProcessEngine, PipeStatus

PATIENCE_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]

Launch = Callable[[str, str, str], "subprocess.Popen[bytes]"]

each_point = pytest.mark.parametrize("point", ["middle", "join", "merge"])


@pytest.fixture
def launch(folder: Path) -> Iterator[Launch]:
    """Starts the load in a process that does nothing else."""
    processes: list[subprocess.Popen[bytes]] = []

    def launch(name: str, engine: str, point: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "tests.manager.loads", str(folder), name, engine, point]
        processes.append(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))
        return processes[-1]

    yield launch
    for process in processes:
        process.kill()
        process.wait()


def at_point(folder: Path, process: "subprocess.Popen[bytes]", point: str) -> list[int]:
    """The processes that the manager's has started, once it or its shards are at the point."""
    reached(folder, point, SHARDS if point == "middle" else 1)
    return [child.pid for child in psutil.Process(process.pid).children(recursive=True)]


@each_point
@pytest.mark.parametrize(
    ("number", "engine_name", "name"),
    [
        (signal.SIGTERM, "multiprocess", "jsonl"),
        (signal.SIGTERM, "zoosync", "duckdb"),
        (signal.SIGINT, "multiprocess", "parquet"),
        (signal.SIGINT, "zoosync", "csv"),
    ],
)
def test_a_manager_that_is_told_to_end_undoes_the_load_first(
    folder: Path, launch: Launch, number: signal.Signals, engine_name: str, name: str, point: str
) -> None:
    process = launch(name, engine_name, point)
    pids = at_point(folder, process, point)
    process.send_signal(number)
    assert process.wait(PATIENCE_SECONDS) == -number
    check_gone(pids)
    check_old(folder)


@each_point
@pytest.mark.parametrize(("engine_name", "name"), [("multiprocess", "duckdb"), ("zoosync", "parquet")])
def test_a_manager_that_is_killed_leaves_the_old_target_and_the_next_run_removes_the_rest(
    folder: Path, launch: Launch, engine_name: str, name: str, point: str
) -> None:
    process = launch(name, engine_name, point)
    pids = at_point(folder, process, point)
    process.kill()
    process.wait()
    check_gone(pids)
    target = TARGETS[name]
    assert target.ids(folder) == [OLD]
    assert any(path.endswith(".zoopipe") for path in names_in(folder / "out"))
    engine = ENGINES[engine_name]()
    assert manager_of(folder, target, engine).run(on_report_update=None)
    engine.close()
    check_new(folder, target)


def test_a_worker_that_is_killed_during_the_merge_makes_no_difference(
    folder: Path, launch: Launch, target: Target
) -> None:
    """Those of a pool are idle then, and those of single processes gone."""
    process = launch(target.file.partition(".")[2], "zoosync", "merge")
    pids = at_point(folder, process, "merge")
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    (folder / "go").touch()
    assert process.wait(PATIENCE_SECONDS) == 0
    check_new(folder, target)
    report = json.loads((folder / "report.json").read_text())
    assert (report["status"], report["loaded_rows"]) == ("completed", len(GOOD_IDS))


def test_a_manager_in_another_thread_ends_when_the_block_is_left(folder: Path) -> None:
    def work() -> None:
        with manager:
            reached(folder, "middle")

    manager = manager_of(folder, TARGETS["jsonl"], MultiProcessEngine(SHARDS), Pauses(folder, "middle"))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    assert manager.report.status is PipeStatus.ABORTED
    check_gone([int(path.suffix[1:]) for path in folder.glob("middle.*[0-9]")])
    check_old(folder)
