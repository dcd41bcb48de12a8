"""`MultiProcessEngine`: a fresh process for each pipe."""

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.contracts.deeds import final, is_running, wait_until
from tests.contracts.engine_contract import EngineContract
from zoopipe_core import BaseHook, MultiProcessEngine, PipeManager, PipeStatus, ZoosyncPoolEngine
from zoopipe_core.engines.base import BaseEngine, WorkerTask
from zoopipe_core.engines.local import LocalWorker
from zoopipe_core.errors import SpecError


class TestMultiProcessEngine(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[MultiProcessEngine]:
        engine = MultiProcessEngine(max_workers=2)
        yield engine
        engine.close()


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_a_number_of_workers_is_a_positive_whole_number(count: object) -> None:
    with pytest.raises(SpecError, match="max_workers"):
        MultiProcessEngine(count)  # type: ignore[arg-type]


class TellOfCollector(BaseHook):
    """Leaves a note of whether garbage is collected, and whether what was imported is left out."""

    def __init__(self, note: Path) -> None:
        super().__init__()
        self.note = str(note)

    def setup(self, store: dict[str, Any]) -> None:
        Path(self.note).write_text(f"{gc.isenabled()} {gc.get_freeze_count() > 0}")

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        return entries


@pytest.mark.parametrize("engine", [MultiProcessEngine(1), ZoosyncPoolEngine(1)], ids=["cold", "warm"])
def test_garbage_is_collected_during_a_load_but_not_among_imports(engine: BaseEngine, tmp_path: Path) -> None:
    hook = TellOfCollector(tmp_path / "note")
    worker = engine.launch(WorkerTask(0, EngineContract.pipe(tmp_path, hooks=(hook,))))
    assert final(worker).status is PipeStatus.COMPLETED
    engine.close()
    assert (tmp_path / "note").read_text() == "True True"


# ---- processes that are started before their tasks ------------------------------------------------------------------


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


class Expected:
    """An engine that has been told to expect tasks.

    Attributes:
        processes: those that it has started for them.
    """

    def __init__(self, engine: MultiProcessEngine, count: int, folder: Path) -> None:
        self.engine, self._folder = engine, folder
        before = children()
        engine.expect(count)
        self.processes = children() - before

    def launch(self) -> LocalWorker:
        return self.engine.launch(WorkerTask(0, EngineContract.pipe(self._folder)))

    def are_gone(self) -> bool:
        return not any(map(is_running, self.processes))


@pytest.fixture
def expect(tmp_path: Path) -> Iterator[Callable[[int], Expected]]:
    engine = MultiProcessEngine(max_workers=2)
    yield lambda count: Expected(engine, count, tmp_path)
    engine.close()


def test_an_expected_task_is_done_by_the_process_that_was_started_for_it(expect: Callable[[int], Expected]) -> None:
    expected = expect(1)
    worker = expected.launch()
    assert {worker.pid} == expected.processes
    assert final(worker).status is PipeStatus.COMPLETED


def test_no_more_processes_are_started_than_may_run(expect: Callable[[int], Expected]) -> None:
    assert len(expect(5).processes) == 2


def test_processes_end_whose_tasks_are_not_expected_any_more(expect: Callable[[int], Expected]) -> None:
    expected = expect(2)
    expected.engine.expect(0)
    wait_until(expected.are_gone, "the processes to end")


def test_processes_end_with_their_engine(expect: Callable[[int], Expected]) -> None:
    expected = expect(2)
    expected.engine.close()
    wait_until(expected.are_gone, "the processes to end")


@pytest.mark.parametrize("change", ["environment", "folder", "path"])
def test_a_process_with_other_surroundings_gets_no_task(
    expect: Callable[[int], Expected], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    expected = expect(1)
    if change == "environment":
        monkeypatch.setenv("ZOOPIPE_TEST_SETTING", "new")
    elif change == "folder":
        monkeypatch.chdir(tmp_path)
    else:
        monkeypatch.syspath_prepend(str(tmp_path))
    worker = expected.launch()
    assert worker.pid not in expected.processes
    assert final(worker).status is PipeStatus.COMPLETED
    wait_until(expected.are_gone, "the process to end")


def test_a_process_that_has_died_is_replaced(expect: Callable[[int], Expected]) -> None:
    expected = expect(1)
    (pid,) = expected.processes
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: pid not in children(), "the process to end")
    worker = expected.launch()
    assert worker.pid != pid
    assert final(worker).status is PipeStatus.COMPLETED


def test_a_load_that_cannot_be_planned_leaves_no_process(tmp_path: Path) -> None:
    before = children()
    pipe = EngineContract.pipe(tmp_path, str(tmp_path / "missing.csv"))
    engine = MultiProcessEngine(max_workers=2)
    assert not PipeManager.parallelize_pipe(pipe, 2, engine=engine).run(on_report_update=None)
    wait_until(lambda: children() <= before, "the processes to end")
