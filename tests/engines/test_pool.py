"""The warm pool: its processes are used again, but never show it."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.deeds import At, Endless, final, hang, is_running, wait_until
from tests.contracts.engine_contract import EngineContract
from zoopipe_core import BaseHook, Pipe, PipeReport, PipeStatus, PyGeneratorOutputAdapter, ZoosyncPoolEngine
from zoopipe_core.engines import pool
from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.local import LocalWorker

SIZE = 3  # a size of its own, so that the pool is not that of other tests


@pytest.fixture
def engine() -> Iterator[ZoosyncPoolEngine]:
    engine = ZoosyncPoolEngine(SIZE)
    yield engine
    engine.close()


def launch(engine: ZoosyncPoolEngine, hook: BaseHook | None = None, target: Any = None) -> LocalWorker:
    hooks = [] if hook is None else [hook]
    return engine.launch(WorkerTask(0, Pipe([{"id": 1}], target, post_validation_hooks=hooks)))


def run(engine: ZoosyncPoolEngine, hook: BaseHook | None = None, target: Any = None) -> tuple[int, PipeReport]:
    """The process that ran a small pipe, and the report."""
    worker = launch(engine, hook, target)
    report = final(worker)
    worker.close()
    return worker.pid, report


class Tell(BaseHook):
    """Writes what `ask` returns into a file."""

    def __init__(self, ask: Callable[[], Any], path: Path) -> None:
        super().__init__()
        self.ask, self.path = ask, str(path)

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        Path(self.path).write_text(str(self.ask()))
        return entries


def ask(engine: ZoosyncPoolEngine, question: Callable[[], Any], folder: Path) -> tuple[int, str]:
    """The process that was asked, and its answer."""
    pid, report = run(engine, Tell(question, folder / "answer"))
    report.raise_for_status()
    return pid, (folder / "answer").read_text()


def test_a_process_is_used_again_by_engines_of_one_size(engine: ZoosyncPoolEngine) -> None:
    first, _ = run(engine)
    assert run(engine)[0] == first
    assert run(ZoosyncPoolEngine(SIZE))[0] == first


def test_a_process_that_aborted_a_load_is_used_again(engine: ZoosyncPoolEngine) -> None:
    worker = engine.launch(WorkerTask(0, Pipe(Endless(), None)))
    wait_until(lambda: worker.report().status is PipeStatus.RUNNING, "the start")
    worker.stop()
    assert final(worker).status is PipeStatus.ABORTED
    assert run(engine)[0] == worker.pid


def test_a_process_that_died_is_replaced(engine: ZoosyncPoolEngine) -> None:
    idle, _ = run(engine)
    os.kill(idle, signal.SIGKILL)  # it may be found dead, or die as it is given the task
    worker = launch(engine)
    report = final(worker)
    if worker.pid == idle:
        assert report.exception is not None
        assert report.exception.type == "WorkerDiedError"
        worker = launch(engine)
        report = final(worker)
    assert worker.pid != idle
    assert report.status is PipeStatus.COMPLETED


def test_closing_an_engine_ends_its_workers_and_the_idle_ones(engine: ZoosyncPoolEngine, tmp_path: Path) -> None:
    idle, _ = run(engine)
    pipe = EngineContract.pipe(tmp_path, hooks=(At("middle", hang, tmp_path),))
    busy = engine.launch(WorkerTask(0, pipe))
    wait_until(lambda: (tmp_path / "pid").exists(), "the hook")
    engine.close()
    wait_until(lambda: not is_running(idle) and not is_running(busy.pid), "the end of both")
    assert busy.report().status is PipeStatus.ABORTED
    assert run(engine)[1].status is PipeStatus.COMPLETED


def test_another_engine_s_worker_goes_on_when_one_is_closed(engine: ZoosyncPoolEngine, tmp_path: Path) -> None:
    go = tmp_path / "go"
    name = str(go)

    def wait() -> None:
        while not os.path.exists(name):
            pass

    worker = engine.launch(WorkerTask(0, EngineContract.pipe(tmp_path, hooks=(At("middle", wait, tmp_path),))))
    wait_until(lambda: (tmp_path / "pid").exists(), "the hook")
    ZoosyncPoolEngine(SIZE).close()
    go.touch()
    assert final(worker).status is PipeStatus.COMPLETED


def test_no_more_idle_processes_are_kept_than_the_pool_has(engine: ZoosyncPoolEngine, tmp_path: Path) -> None:
    workers = []
    for index in range(SIZE + 1):
        folder = tmp_path / str(index)
        folder.mkdir()
        workers.append(engine.launch(WorkerTask(index, EngineContract.pipe(folder, Endless()))))
    wait_until(lambda: all(worker.report().loaded_rows for worker in workers), "all at work")
    for worker in workers:
        worker.stop()
    assert {final(worker).status for worker in workers} == {PipeStatus.ABORTED}
    wait_until(lambda: sum(is_running(worker.pid) for worker in workers) == SIZE, "the end of one")


def test_warming_starts_what_is_missing(engine: ZoosyncPoolEngine) -> None:
    engine.warm()
    idle = {member.interpreter.pid for member in pool.shared_pool(SIZE)._idle}
    assert len(idle) == SIZE
    engine.warm()
    assert {member.interpreter.pid for member in pool.shared_pool(SIZE)._idle} == idle
    assert run(engine)[0] in idle


def test_a_process_does_so_many_tasks_and_no_more(engine: ZoosyncPoolEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MAX_TASKS", 2)
    pids = [run(engine)[0] for _ in range(3)]
    assert pids[0] == pids[1] != pids[2]


def test_a_pipe_sees_the_folder_and_the_environment_of_the_moment(
    engine: ZoosyncPoolEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look() -> list[str | None]:
        return [os.getcwd(), os.environ.get("ONE"), os.environ.get("OTHER")]

    monkeypatch.setenv("ONE", "1")
    first = ask(engine, look, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ONE")
    monkeypatch.setenv("OTHER", "\udcff=\n")
    second = ask(engine, lambda: [os.getcwd(), os.environ.get("ONE"), ascii(os.environ.get("OTHER"))], tmp_path)
    assert first[1] == str([str(Path(__file__).parent.parent.parent), "1", None])
    assert second[1] == str([str(tmp_path), None, ascii("\udcff=\n")])


def test_a_process_with_stale_code_is_replaced(
    engine: ZoosyncPoolEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "moving_target.py"

    def write(text: str, hour: int) -> None:
        source.write_text(text)
        os.utime(source, (hour * 3600, hour * 3600))

    def look() -> Any:
        import moving_target  # type: ignore[import-not-found]

        return moving_target.ANSWER

    write("ANSWER = 1", 1)
    first = ask(engine, look, tmp_path)
    again = ask(engine, look, tmp_path)
    write("ANSWER = 2", 2)
    second = ask(engine, look, tmp_path)
    assert first[0] == again[0] != second[0]
    assert (first[1], again[1], second[1]) == ("1", "1", "2")
    source.unlink()
    assert ask(engine, lambda: "fine without it", tmp_path)[0] != second[0]


def test_a_file_that_changes_while_it_is_used_makes_its_process_unfit(
    engine: ZoosyncPoolEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "changing_target.py"
    source.write_text("ANSWER = 1")
    os.utime(source, (3600, 3600))
    name = str(source)

    def look_and_change() -> Any:
        import changing_target  # type: ignore[import-not-found]

        Path(name).write_text("ANSWER = 2")
        return changing_target.ANSWER

    def look() -> Any:
        import changing_target

        return changing_target.ANSWER

    assert ask(engine, look_and_change, tmp_path)[1] == "1"
    assert ask(engine, look, tmp_path)[1] == "2"


def test_a_longer_path_is_seen(engine: ZoosyncPoolEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(engine)
    (tmp_path / "found_later.py").write_text("ANSWER = 1")
    monkeypatch.syspath_prepend(str(tmp_path))

    def look() -> Any:
        import found_later  # type: ignore[import-not-found]

        return found_later.ANSWER

    assert ask(engine, look, tmp_path)[1] == "1"


def test_a_module_by_value_that_was_defined_anew_is_used_anew(engine: ZoosyncPoolEngine, tmp_path: Path) -> None:
    name = "unusual_prefix_4567_dag"
    text = """
from pydantic import BaseModel
from zoopipe_core import BaseHook
class Item(BaseModel):
    id: int
    VERSION: int = {0}
class Sign(BaseHook):
    def execute(self, entries, store):
        for entry in entries:
            entry["validated_data"]["hook"] = {0}
        return entries
"""
    found = []
    try:
        for version in (1, 2):
            module = types.ModuleType(name)
            sys.modules[name] = module
            exec(text.format(version), vars(module))
            target = tmp_path / f"{version}.csv"
            pipe = Pipe([{"id": 1}], str(target), None, module.Item, post_validation_hooks=[module.Sign()])
            worker = engine.launch(WorkerTask(0, pipe))
            final(worker).raise_for_status()
            found.append((worker.pid, target.read_text()))
    finally:
        del sys.modules[name]
    assert found[0][0] == found[1][0]
    assert [text for _, text in found] == ["id,VERSION,hook\n1,1,1\n", "id,VERSION,hook\n1,2,2\n"]


class NotThere:
    """Pickles as something that no other process has."""

    def __reduce__(self) -> str:
        return "NOT_THERE"


NOT_THERE = NotThere()


def test_a_pipe_that_cannot_be_loaded_fails_and_its_process_is_replaced(engine: ZoosyncPoolEngine) -> None:
    first, _ = run(engine)
    hook = Tell(len, Path("answer"))
    hook.path = NOT_THERE  # type: ignore[assignment]
    module = sys.modules[__name__]
    NotThere.__module__ = "nowhere"
    sys.modules["nowhere"] = module
    try:
        pid, report = run(engine, hook)
    finally:
        del sys.modules["nowhere"]
    assert report.status is PipeStatus.FAILED
    assert report.source == "list"
    assert report.exception is not None
    assert "No module named 'nowhere'" in report.exception.message
    assert pid == first
    wait_until(lambda: not is_running(first), "its end")
    assert run(engine)[0] != first


def test_rows_of_a_pool_stay_where_they_were_collected(engine: ZoosyncPoolEngine) -> None:
    target = PyGeneratorOutputAdapter()
    assert run(engine, target=target)[1].status is PipeStatus.COMPLETED
    assert not target.is_published


def test_many_small_pipes_leave_no_threads_and_no_descriptors(engine: ZoosyncPoolEngine) -> None:
    run(engine)
    gc.collect()
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        run(engine)
    gc.collect()
    assert threading.active_count() <= threads
    assert len(os.listdir("/proc/self/fd")) <= descriptors
