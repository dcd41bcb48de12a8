"""What happens to the target of a load: it is old or complete, the report true, nothing left behind."""

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.coordinators.support import names_in
from tests.manager.checks import check_new, check_old, failure, reached
from tests.manager.loads import SHARDS, Pauses, manager_of
from tests.manager.targets import Target
from zoopipe_core import PipeStatus
from zoopipe_core.engines.base import BaseEngine

PATIENCE_SECONDS = 60.0
PAIRS = [("multiprocess", "duckdb"), ("multiprocess", "jsonl"), ("zoosync", "csv"), ("zoosync", "parquet")]
each_pair = pytest.mark.parametrize(("engine", "target"), PAIRS, indirect=True)


@contextmanager
def small_disk() -> Iterator[None]:
    """A limit on the size of a file stands for the disk: what shards write fits, and the whole does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@each_pair
def test_a_disk_that_is_full_while_merging_is_told_of(folder: Path, engine: BaseEngine, target: Target) -> None:
    manager = manager_of(folder, target, engine, Pauses(folder, "last row"))
    manager.start()
    reached(folder, "last row")
    with small_disk():
        (folder / "go").touch()
        assert manager.wait(PATIENCE_SECONDS)
    assert failure(manager).startswith("TargetWriteError: ")
    assert target.file in failure(manager)
    assert "File too large" in failure(manager)
    assert [report.status for report in manager.pipe_reports] == [PipeStatus.COMPLETED] * SHARDS
    # Rejects are shown before the transaction is committed that fails.
    check_old(folder, ["bad.jsonl"] if target.table else [])


@each_pair
@pytest.mark.parametrize("point", ["middle", "last row"])
def test_a_target_folder_that_is_removed_meanwhile_is_told_of(
    folder: Path, engine: BaseEngine, target: Target, point: str
) -> None:
    manager = manager_of(folder, target, engine, Pauses(folder, point))
    manager.start()
    reached(folder, point)
    shutil.rmtree(folder / "out")
    (folder / "go").touch()
    assert manager.wait(PATIENCE_SECONDS)
    assert "TargetWriteError: " in failure(manager)
    assert str(folder / "out") in failure(manager)
    assert names_in(folder / "out") == []
    assert os.listdir(folder / "temporary") == []


@pytest.mark.parametrize(("engine", "target"), PAIRS[1:], indirect=True)
def test_of_two_managers_on_one_file_the_second_is_told_so(folder: Path, engine: BaseEngine, target: Target) -> None:
    first = manager_of(folder, target, engine, Pauses(folder, "middle"))
    second = manager_of(folder, target, engine)
    first.start()
    reached(folder, "middle")
    assert not second.run(on_report_update=None)
    assert f"{target.file} is being written by another load" in failure(second)
    (folder / "go").touch()
    assert first.wait(PATIENCE_SECONDS)
    assert first.report.status is PipeStatus.COMPLETED
    check_new(folder, target)
    assert second.run(on_report_update=None)
    check_new(folder, target)
