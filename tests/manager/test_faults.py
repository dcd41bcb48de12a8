"""What happens to a worker of a load: the target is old or complete, the report true, nothing left behind."""

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.deeds import exit_with_3, fail, give_a_lock, hang, hang_in_c, kill_oneself, use_up_memory
from tests.manager.checks import check_gone, check_new, check_old, failure, reached
from tests.manager.loads import GOOD_IDS, SHARDS, Cell, Pauses, Strikes, manager_of
from tests.manager.targets import TARGETS, Target
from zoopipe_core import PipeStatus, ZoosyncPoolEngine
from zoopipe_core.engines.base import BaseEngine

PATIENCE_SECONDS = 60.0


def fill_the_disk() -> None:
    """A limit on the size of a file stands for the disk: some of a part fits, and the whole does not."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, resource.RLIM_INFINITY))


# What strikes one of the three shards, where, and what the report says then.
STROKES: dict[str, tuple[str, Callable[[], Any], str, str]] = {
    "killed at the start": ("start", kill_oneself, "WorkerDiedError", "SIGKILL"),
    "killed in the middle": ("middle", kill_oneself, "WorkerDiedError", "SIGKILL"),
    "killed after the last row": ("last row", kill_oneself, "WorkerDiedError", "SIGKILL"),
    "exits": ("middle", exit_with_3, "WorkerDiedError", "exit code 3"),
    "raises": ("middle", fail, "HookError", "no such thing as a row"),
    "returns no rows": ("middle", give_a_lock, "HookError", "lock"),
    "out of memory": ("middle", use_up_memory, "HookError", "MemoryError"),
    "disk full": ("middle", fill_the_disk, "TargetWriteError", "File too large"),
}
each_stroke = pytest.mark.parametrize("stroke", STROKES)


@pytest.fixture(scope="module")
def pool() -> Iterator[BaseEngine]:
    engine = ZoosyncPoolEngine(n_workers=SHARDS)
    yield engine
    engine.close()


def check_struck(folder: Path, target: Target, engine: BaseEngine, stroke: str) -> None:
    """A load in which one of three shards is struck, without retries."""
    point, action, kind, told = STROKES[stroke]
    manager = manager_of(folder, target, engine, Strikes(folder, point, action))
    assert not manager.run(on_report_update=None)
    message = failure(manager)
    assert message.startswith(f"{kind}: shard ")
    assert f"{folder}/in.csv" in message
    assert told in message
    assert [report.status for report in manager.pipe_reports].count(PipeStatus.FAILED) == 1
    check_gone(reached(folder, "victim", 1))
    check_old(folder)


@each_stroke
def test_a_worker_that_is_struck_leaves_each_target_as_it_was(
    folder: Path, pool: BaseEngine, target: Target, stroke: str
) -> None:
    check_struck(folder, target, pool, stroke)


def check_struck_and_replaced(folder: Path, target: Target, engine: BaseEngine, stroke: str) -> None:
    """The same, and the load once more with a retry."""
    check_struck(folder, target, engine, stroke)
    for note in [folder / "struck", *folder.glob("victim.*")]:
        note.unlink()
    point, action, *_ = STROKES[stroke]
    manager = manager_of(folder, target, engine, Strikes(folder, point, action), retries=1)
    assert manager.run(on_report_update=None), manager.report
    assert sorted(report.attempt for report in manager.pipe_reports) == [1, 1, 2]
    assert manager.report.loaded_rows == len(GOOD_IDS)
    check_new(folder, target)


@each_stroke
def test_a_worker_that_is_struck_ends_the_load_or_is_replaced(folder: Path, engine: BaseEngine, stroke: str) -> None:
    target = list(TARGETS.values())[list(STROKES).index(stroke) % len(TARGETS)]
    check_struck_and_replaced(folder, target, engine, stroke)


@pytest.mark.slow
@pytest.mark.parametrize(("stroke", "name"), [("killed in the middle", "duckdb"), ("raises", "parquet")])
def test_on_a_cluster_a_worker_that_is_struck_ends_the_load_or_is_replaced(
    folder: Path, cluster: BaseEngine, stroke: str, name: str
) -> None:
    check_struck_and_replaced(folder, TARGETS[name], cluster, stroke)


@pytest.mark.slow
def test_on_a_cluster_a_hook_that_hangs_is_ended(folder: Path, cluster: BaseEngine) -> None:
    check_hanging(folder, cluster, hang_in_c, "shutdown")


@pytest.mark.parametrize("name", ["jsonl", "parquet", "duckdb"])
def test_a_value_that_no_target_holds_is_told_of(folder: Path, engine: BaseEngine, name: str) -> None:
    """Of CSV each value is its text."""
    manager = manager_of(folder, TARGETS[name], engine, Strikes(folder, "middle", lambda: Cell(give_a_lock())))
    assert not manager.run(on_report_update=None)
    assert "lock" in failure(manager)
    check_old(folder)


def test_a_worker_that_is_killed_from_outside_ends_the_others_too(folder: Path, engine: BaseEngine) -> None:
    manager = manager_of(folder, TARGETS["jsonl"], engine, Pauses(folder, "middle"))
    manager.start()
    victim, *others = reached(folder, "middle")
    os.kill(victim, signal.SIGKILL)
    assert manager.wait(PATIENCE_SECONDS)
    assert "WorkerDiedError: shard " in failure(manager)
    assert "SIGKILL" in failure(manager)
    assert sorted(report.status for report in manager.pipe_reports) == ["aborted", "aborted", "failed"]
    check_gone([victim, *others])
    check_old(folder)


def check_hanging(folder: Path, engine: BaseEngine, how: Callable[[], None], end: str) -> None:
    manager = manager_of(folder, TARGETS["parquet"], engine, Strikes(folder, "middle", how))
    if end == "timeout":
        assert not manager.run(timeout=1.0, on_report_update=None)
    elif end == "shutdown":
        manager.start()
        reached(folder, "victim", 1)
        manager.shutdown(timeout=0.1)
    else:
        with manager:
            reached(folder, "victim", 1)
    assert not manager.is_running
    assert manager.report.status is PipeStatus.ABORTED
    assert manager.report.exception is not None
    assert manager.report.exception.type == "LoadAbortedError"
    assert len(manager.pipe_reports) == SHARDS
    check_gone([int(note.suffix[1:]) for note in folder.glob("victim.*[0-9]")])
    check_old(folder)


@pytest.mark.parametrize("how", [hang, hang_in_c])
@pytest.mark.parametrize("end", ["timeout", "shutdown", "leaving the block"])
def test_a_hook_that_hangs_is_ended(folder: Path, engine: BaseEngine, how: Callable[[], None], end: str) -> None:
    check_hanging(folder, engine, how, end)
