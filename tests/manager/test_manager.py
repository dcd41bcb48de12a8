"""PipeManager: what it promises, with workers in threads of this process."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.coordinators.support import Chunks, names_in, sharded
from zoopipe_core import (
    BaseCoordinator,
    BaseHook,
    CompositeCoordinator,
    FileMergeCoordinator,
    JSONOutputAdapter,
    MultiThreadExecutor,
    Pipe,
    PipeManager,
    PipeReport,
    PipeStatus,
    PyGeneratorInputAdapter,
    PyGeneratorOutputAdapter,
    SingleThreadExecutor,
    WorkerResult,
)
from zoopipe_core.adapters.base import InputAdapter, Split
from zoopipe_core.coordinators.base import Managed
from zoopipe_core.engines.base import Worker, WorkerTask
from zoopipe_core.errors import EngineError, LoadAbortedError, LoadFailedError, SpecError
from zoopipe_core.testing.engines import ThreadEngine

SECONDS = 20.0


class Row(BaseModel):
    id: int


def rows(*numbers: Any) -> list[dict[str, Any]]:
    return [{"id": n} for n in numbers]


class Gate(BaseHook):
    """Waits in each batch until it is opened; as all hooks here, one object for all threads."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.opened = threading.Event(), threading.Event()

    def execute(self, entries: Any, store: dict[str, Any]) -> Any:
        self.reached.set()
        assert self.opened.wait(SECONDS)
        return entries


class FailsAt(BaseHook):
    """Raises at a row, as often as it is told."""

    def __init__(self, number: int, times: int = 1_000) -> None:
        super().__init__()
        self.number, self.times = number, times

    def execute(self, entries: Any, store: dict[str, Any]) -> Any:
        if any(entry["validated_data"]["id"] == self.number for entry in entries) and self.times:
            self.times -= 1
            raise LookupError("no such row")
        return entries


def pipe_of(path: Path, *chunks: Sequence[dict[str, Any]], **options: Any) -> Pipe:
    return Pipe(Chunks(chunks), JSONOutputAdapter(path), schema_model=Row, **options)


def ids(path: Path) -> list[int]:
    return [int(line.removeprefix('{"id":').removesuffix("}")) for line in path.read_text().splitlines()]


# ---- before the start -----------------------------------------------------------------------------------------------


def test_building_a_manager_does_no_io_and_pipes_are_planned_when_they_are_looked_at(tmp_path: Path) -> None:
    looked: list[int] = []

    class Looked(Chunks):
        def split(self, count: int, *scan: Any) -> Split:
            looked.append(count)
            return super().split(count)

    pipe = Pipe(Looked([rows(1), rows(2)]), tmp_path / "out.jsonl", schema_model=Row)
    manager = PipeManager.parallelize_pipe(pipe, 7, engine=ThreadEngine())
    assert manager.report.status is PipeStatus.PENDING
    assert looked == []
    assert manager.pipe_count == len(manager.pipes) == 2
    assert [report.status for report in manager.pipe_reports] == [PipeStatus.PENDING] * 2
    assert names_in(tmp_path) == []
    assert manager.run()
    assert looked == [7]
    assert manager.run()
    assert looked == [7, 7]


def test_calls_before_the_start_say_what_to_do() -> None:
    manager = PipeManager([Pipe(rows(1), None)], engine=ThreadEngine())
    for call in (lambda: manager.get_pipe_report(0), manager.wait):
        with pytest.raises(RuntimeError, match="not started"):
            call()
    assert not manager.is_running
    manager.shutdown()


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: PipeManager([]), "at least one pipe"),
        (lambda: PipeManager(["in.csv"]), "not of str"),
        (lambda: PipeManager([Pipe([], None)], engine="ray"), "engine has to be"),
        (lambda: PipeManager([Pipe([], None)], retries=-1), "retries"),
        (lambda: PipeManager.parallelize_pipe(Pipe([], None), 0), "workers"),
        (lambda: PipeManager.parallelize_pipe([Pipe([], None)], 2), "takes a Pipe"),
        (lambda: PipeManager([Pipe([], "out.csv"), Pipe([], "out.csv")]), "two pipes write to out.csv"),
        (lambda: PipeManager([Pipe([], "a.csv", "r.csv"), Pipe([], "b.csv", "r.csv")]), "two pipes write to r.csv"),
    ],
)
def test_what_cannot_work_is_refused_at_once(build: Callable[[], Any], told: str) -> None:
    with pytest.raises(SpecError, match=told):
        build()


def test_several_pipes_may_write_to_one_table(tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path}/x.db::t"
    assert PipeManager([Pipe(rows(1), target), Pipe(rows(2), None)]).pipe_count == 2
    assert PipeManager([Pipe(rows(1), target), Pipe(rows(2), target)]).pipe_count == 2


# ---- running --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["run", "run without waiting", "start", "with"])
def test_however_it_is_run_the_result_is_published_before_the_report_is_final(tmp_path: Path, how: str) -> None:
    seen: list[bool] = []

    class Slow(FileMergeCoordinator):
        def on_finish(self, manager: Managed, results: Sequence[WorkerResult]) -> None:
            time.sleep(0.1)
            seen.append(manager.report.is_finished)
            super().on_finish(manager, results)

    pipes = [pipe_of(tmp_path / f"{n}.jsonl", rows(n)) for n in range(3)]
    manager = PipeManager(pipes, engine=ThreadEngine(), coordinator=Slow(tmp_path / "all.jsonl"))
    if how == "run":
        assert manager.run()
    elif how == "run without waiting":
        assert manager.run(wait=False)
        while not manager.report.is_finished:
            assert not (tmp_path / "all.jsonl").exists() or manager.report.is_finished or manager.is_running
    elif how == "start":
        manager.start()
        assert manager.wait()
    else:
        with manager:
            assert manager.wait()
    assert seen == [False]
    assert manager.report.status is PipeStatus.COMPLETED
    assert names_in(tmp_path) == ["all.jsonl"]
    assert ids(tmp_path / "all.jsonl") == [0, 1, 2]


def test_a_running_manager_cannot_be_started_again(tmp_path: Path) -> None:
    gate = Gate()
    manager = sharded(pipe_of(tmp_path / "out.jsonl", rows(1), rows(2), post_validation_hooks=[gate]))
    manager.start()
    assert gate.reached.wait(SECONDS)
    assert manager.is_running
    for again in (manager.start, manager.run, manager.__enter__):
        with pytest.raises(RuntimeError, match="already running"):
            again()
    assert not manager.wait(timeout=0.05)
    live = manager.pipe_reports
    assert [report.status for report in live] == [PipeStatus.RUNNING] * 2
    assert manager.get_pipe_report(1).is_alive
    with pytest.raises(IndexError, match="has 2"):
        manager.get_pipe_report(2)
    with pytest.raises(IndexError):
        manager.get_pipe_report(-1)
    gate.opened.set()
    assert manager.wait()
    assert manager.report.success_count == 2
    assert manager.report.pipe_count == 2


@pytest.mark.parametrize("how", ["leave the block", "shutdown", "timeout"])
def test_what_is_ended_early_is_undone(tmp_path: Path, how: str) -> None:
    (tmp_path / "out.jsonl").write_text("old")

    def endless() -> Any:
        while True:
            yield {"id": 1}

    class Endless(Chunks):
        def split(self, count: int, *scan: Any) -> Split:
            return Split((PyGeneratorInputAdapter(endless),) * 2)

    manager = sharded(Pipe(Endless([]), tmp_path / "out.jsonl", tmp_path / "new" / "bad.csv", Row))
    if how == "timeout":
        assert not manager.run(timeout=0.2)
        assert "aborted: not done after 0.2 s, the timeout" in manager.report.notes
    elif how == "shutdown":
        manager.start()
        while manager.is_running and not manager.report.loaded_rows:
            time.sleep(0.01)
        manager.shutdown()
    else:
        with manager:
            time.sleep(0.05)
    assert not manager.is_running
    assert manager.report.status is PipeStatus.ABORTED
    assert {report.status for report in manager.pipe_reports} <= {PipeStatus.ABORTED}
    with pytest.raises(LoadAbortedError):
        manager.report.raise_for_status()
    assert names_in(tmp_path) == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_a_load_that_is_cancelled_while_it_is_merged_publishes_nothing(tmp_path: Path) -> None:
    class Cancels(FileMergeCoordinator):
        def on_finish(self, manager: Managed, results: Sequence[WorkerResult]) -> None:
            threading.Thread(target=managers[0].shutdown).start()
            while True:
                try:
                    manager.raise_if_stopped()
                except LoadAbortedError:
                    break
            super().on_finish(manager, results)

    managers: list[PipeManager] = []
    pipes = [pipe_of(tmp_path / f"{n}.jsonl", rows(n)) for n in range(2)]
    managers.append(PipeManager(pipes, ThreadEngine(), Cancels(tmp_path / "all.jsonl")))
    assert not managers[0].run()
    assert managers[0].report.status is PipeStatus.ABORTED
    assert names_in(tmp_path) == []


def test_everything_of_the_pipe_travels_to_its_shards(tmp_path: Path) -> None:
    hook, executor = FailsAt(-1), MultiThreadExecutor(2)
    pipe = Pipe(
        Chunks([rows(1), rows(2)]), tmp_path / "a.csv", tmp_path / "b.csv", Row, [FailsAt(-2)], [hook], executor,
        max_errors=3,
    )  # fmt: skip
    for shard in sharded(pipe).pipes:
        assert shard.schema_model is Row
        assert shard.post_validation_hooks == (hook,)
        assert shard.pre_validation_hooks == pipe.pre_validation_hooks
        assert shard.executor == executor
        assert shard.max_errors == 3
        assert shard.error_output_adapter is not None
    other = SingleThreadExecutor(10)
    assert [shard.executor for shard in sharded(pipe, executor=other).pipes] == [other] * 2


def test_no_more_workers_run_than_the_engine_has_room_for(tmp_path: Path) -> None:
    running: list[int] = []

    class Counting(ThreadEngine):
        def launch(self, task: WorkerTask) -> Worker:
            worker = super().launch(task)
            running.append(sum(not other.report().is_finished for other in workers) + 1)
            workers.append(worker)
            return worker

    workers: list[Worker] = []
    manager = PipeManager([Pipe(rows(n), None) for n in range(9)], engine=Counting(2))
    assert manager.run()
    assert manager.report.loaded_rows == 9
    assert max(running) <= 2


def test_an_earlier_run_of_the_pipe_is_nobody_s_business(tmp_path: Path) -> None:
    pipe = pipe_of(tmp_path / "out.jsonl", rows(1), rows(2))
    assert pipe.run()
    for manager in (sharded(pipe), PipeManager([pipe], engine=ThreadEngine())):
        assert (manager.report.status, manager.report.read_rows) == (PipeStatus.PENDING, 0)
        assert (manager.report.source, manager.report.target) == ("chunks", str(tmp_path / "out.jsonl"))
        assert {report.status for report in manager.pipe_reports} == {PipeStatus.PENDING}
        seen: list[PipeReport] = []
        assert manager.run(on_report_update=seen.append)
        assert manager.report.loaded_rows == 2
        assert [report.is_finished for report in seen] == [False] * (len(seen) - 1) + [True]


# ---- failures -------------------------------------------------------------------------------------------------------


def test_pipes_of_their_own_fail_by_themselves(tmp_path: Path) -> None:
    hook = FailsAt(2)
    pipes = [pipe_of(tmp_path / f"{n}.jsonl", rows(n), post_validation_hooks=[hook]) for n in range(4)]
    manager = PipeManager(pipes, engine=ThreadEngine(1))
    assert not manager.run()
    assert [report.status for report in manager.pipe_reports] == [
        PipeStatus.FAILED if n == 2 else PipeStatus.COMPLETED for n in range(4)
    ]
    assert names_in(tmp_path) == ["0.jsonl", "1.jsonl", "3.jsonl"]
    assert manager.report.has_error
    assert manager.report.exception is not None
    assert "no such row" in manager.report.exception.message
    with pytest.raises(LoadFailedError, match="no such row"):
        manager.report.raise_for_status()


def test_a_shard_that_fails_ends_the_others_and_nothing_is_published(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("old")
    chunks = [rows(n) for n in range(50)]
    manager = sharded(pipe_of(tmp_path / "out.jsonl", *chunks, post_validation_hooks=[FailsAt(5)]))
    assert not manager.run()
    report = manager.report
    assert report.status is PipeStatus.FAILED
    assert report.exception is not None
    assert report.exception.type == "HookError"
    assert report.exception.message.startswith("shard 5 of 50 (chunks): ")
    states = [each.status for each in manager.pipe_reports]
    assert states[5] is PipeStatus.FAILED
    assert states[49] is PipeStatus.ABORTED
    assert all(state.is_final for state in states)
    assert names_in(tmp_path) == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == "old"


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_failed_shard_alone_is_run_again_as_often_as_allowed(tmp_path: Path, times: int) -> None:
    launched: list[tuple[int, int]] = []

    class Noting(ThreadEngine):
        def launch(self, task: WorkerTask) -> Worker:
            launched.append((task.index, task.attempt))
            return super().launch(task)

    pipe = pipe_of(tmp_path / "out.jsonl", rows(1), rows(2), rows(3), post_validation_hooks=[FailsAt(2, times)])
    manager = PipeManager.parallelize_pipe(pipe, 3, engine=Noting(), retries=2)
    assert manager.run() == (times <= 2)
    assert launched == [(0, 1), (1, 1), (2, 1), (1, 2), (1, 3)][: 3 + times]
    assert [report.attempt for report in manager.pipe_reports] == [1, min(times, 2) + 1, 1]
    if times <= 2:
        assert ids(tmp_path / "out.jsonl") == [1, 2, 3]
        assert manager.report.read_rows == 3
    else:
        assert manager.report.exception is not None
        assert "attempt 3: " in manager.report.exception.message
        assert names_in(tmp_path) == []


def test_a_source_that_cannot_be_split_fails_the_run_and_not_the_caller(tmp_path: Path) -> None:
    manager = sharded(Pipe(str(tmp_path / "none.csv"), tmp_path / "out.csv"))
    assert not manager.run()
    assert manager.report.exception is not None
    assert manager.report.exception.type == "SourceNotFoundError"
    assert names_in(tmp_path) == []


def test_an_engine_that_starts_no_worker_fails_the_load(tmp_path: Path) -> None:
    class Broken(ThreadEngine):
        def launch(self, task: WorkerTask) -> Worker:
            raise EngineError("no room for workers")

    pipe = pipe_of(tmp_path / "out.jsonl", rows(1), rows(2))
    for manager in (PipeManager.parallelize_pipe(pipe, 2, engine=Broken()), PipeManager([pipe], engine=Broken())):
        assert not manager.run()
        assert manager.report.exception is not None
        assert manager.report.exception.type == "EngineError"
        assert "no room for workers" in manager.report.exception.message
        assert names_in(tmp_path) == []


def test_a_shard_whose_rows_do_not_add_up_is_not_published(tmp_path: Path) -> None:
    from dataclasses import replace

    class Forgetful(ThreadEngine):
        def launch(self, task: WorkerTask) -> Worker:
            worker = super().launch(task)
            true = worker.report
            worker.report = lambda: replace(true(), read_rows=99)  # type: ignore[method-assign]
            return worker

    manager = PipeManager.parallelize_pipe(pipe_of(tmp_path / "out.jsonl", rows(1)), 2, engine=Forgetful())
    assert not manager.run()
    assert manager.report.exception is not None
    assert "do not add up: 99 read" in manager.report.exception.message
    assert names_in(tmp_path) == []


# ---- too many rejects -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "passes"), [(0, False), (2, False), (3, True), (0.29, False), (0.3, True), (None, True), (1.0, True)]
)
def test_max_errors_holds_for_the_load_as_a_whole(tmp_path: Path, limit: Any, passes: bool) -> None:
    chunks = [rows(1, "x", 2, 3), rows(4, "y"), rows("z", 5, 6, 7)]
    pipe = Pipe(Chunks(chunks), tmp_path / "out.jsonl", tmp_path / "bad.jsonl", Row, max_errors=limit)
    manager = PipeManager.parallelize_pipe(pipe, 3, engine=ThreadEngine(1), retries=1)
    assert manager.run() is passes
    assert (tmp_path / "out.jsonl").exists() is passes
    assert (tmp_path / "bad.jsonl").exists()
    assert names_in(tmp_path) == (["bad.jsonl", "out.jsonl"] if passes else ["bad.jsonl"])
    if passes:
        assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 3
        return
    exception = manager.report.exception
    assert exception is not None
    assert exception.type == "TooManyRejectsError"
    assert f"the rejects so far are in {tmp_path}/bad.jsonl" in exception.message
    assert max(report.attempt for report in manager.pipe_reports) == 1
    rejected = len((tmp_path / "bad.jsonl").read_text().splitlines())
    assert rejected == 3 if limit else rejected >= 1


# ---- coordinators of one's own --------------------------------------------------------------------------------------


class Noting(BaseCoordinator):
    def __init__(self, calls: list[Any], name: str = "", priority: int = 50, fails_in: str = "") -> None:
        self.calls, self.name, self._priority, self.fails_in = calls, name, priority, fails_in

    @property
    def priority(self) -> int:
        return self._priority

    def prepare_shards(self, adapter: Any, workers: int) -> list[Any]:
        return []

    def _note(self, what: str) -> None:
        self.calls.append(self.name + what)
        if what == self.fails_in:
            raise LookupError(f"{what} failed")

    def on_start(self, manager: Managed) -> None:
        self._note("on_start")

    def on_shard(self, manager: Managed, result: WorkerResult) -> None:
        assert result.success
        assert manager.pipes[result.worker_id].output_adapter.label == result.output_path
        self._note("on_shard")

    def on_finish(self, manager: Managed, results: Sequence[WorkerResult]) -> None:
        assert all(result.success for result in results)
        assert [result.worker_id for result in results] == list(range(len(manager.pipes)))
        self._note("on_finish")

    def on_error(self, manager: Managed, error: BaseException) -> None:
        self._note("on_error")


@pytest.mark.parametrize(
    ("fails_in", "calls"),
    [
        ("", ["on_start", "on_shard", "on_shard", "on_finish"]),
        ("on_start", ["on_start", "on_error"]),
        ("on_shard", ["on_start", "on_shard", "on_error"]),
        ("on_finish", ["on_start", "on_shard", "on_shard", "on_finish", "on_error"]),
    ],
)
def test_a_coordinator_of_ones_own_is_called(tmp_path: Path, fails_in: str, calls: list[str]) -> None:
    seen: list[str] = []
    pipes = [pipe_of(tmp_path / f"{n}.jsonl", rows(n)) for n in range(2)]
    manager = PipeManager(pipes, ThreadEngine(), Noting(seen, fails_in=fails_in))
    assert manager.run() == (not fails_in)
    assert seen == calls
    if fails_in:
        assert manager.report.exception is not None
        assert manager.report.exception.message == f"{fails_in} failed"


def test_a_failing_pipe_makes_a_coordinated_load_fail(tmp_path: Path) -> None:
    seen: list[str] = []
    pipes = [pipe_of(tmp_path / f"{n}.jsonl", rows(n), post_validation_hooks=[FailsAt(1)]) for n in range(2)]
    assert not PipeManager(pipes, ThreadEngine(), Noting(seen)).run()
    assert [call for call in seen if call != "on_shard"] == ["on_start", "on_error"]


def test_coordinators_start_by_priority_and_finish_the_other_way_round(tmp_path: Path) -> None:
    seen: list[str] = []
    parts = [Noting(seen, "b.", 70), Noting(seen, "a.", 10), FileMergeCoordinator(tmp_path / "all.jsonl")]
    pipes = [pipe_of(tmp_path / f"{n}.jsonl", rows(n)) for n in range(3)]
    assert PipeManager(pipes, ThreadEngine(), CompositeCoordinator(parts)).run()
    shards = ["a.on_shard", "b.on_shard"] * len(pipes)
    assert seen == ["a.on_start", "b.on_start", *shards, "b.on_finish", "a.on_finish"]
    assert ids(tmp_path / "all.jsonl") == [0, 1, 2]
    assert names_in(tmp_path) == ["all.jsonl"]


def test_a_coordinator_serves_one_run_after_the_other(tmp_path: Path) -> None:
    pipes = [pipe_of(tmp_path / f"{n}.jsonl", rows(n)) for n in range(3)]
    coordinator = FileMergeCoordinator(tmp_path / "all.jsonl")
    manager = PipeManager(pipes, ThreadEngine(), coordinator)
    assert manager.pipe_count == 3
    assert manager.run(merge=False)
    assert manager.run()
    assert PipeManager(pipes[:2], ThreadEngine(), coordinator).run()
    assert names_in(tmp_path) == ["all.jsonl"]
    assert ids(tmp_path / "all.jsonl") == [0, 1]


def test_only_like_outputs_can_be_merged_into_one_file(tmp_path: Path) -> None:
    outputs: list[list[Any]] = [
        ["a.csv", "b.jsonl"],
        [JSONOutputAdapter("a"), JSONOutputAdapter("b", format="array")],
        [PyGeneratorOutputAdapter(), PyGeneratorOutputAdapter()],
    ]
    for pair in outputs:
        pipes = [Pipe(rows(1), output) for output in pair]
        manager = PipeManager(pipes, ThreadEngine(), FileMergeCoordinator(tmp_path / "all"))
        assert not manager.run()
        assert manager.report.exception is not None
        assert manager.report.exception.type == "SpecError", manager.report


# ---- size -----------------------------------------------------------------------------------------------------------


class Instant(ThreadEngine):
    """Workers that are done when they are launched."""

    def launch(self, task: WorkerTask) -> Worker:
        return _Done(task)


class _Done(Worker):
    def __init__(self, task: WorkerTask) -> None:
        self._report = PipeReport(
            pipe_index=task.index, status=PipeStatus.COMPLETED, read_rows=10, loaded_rows=10, notes=("the same",)
        )

    def report(self) -> PipeReport:
        return self._report

    def stop(self) -> None:
        return

    def kill(self) -> None:
        return

    def close(self) -> None:
        return


class Many(Chunks):
    def split(self, count: int, *scan: Any) -> Split:
        return Split(tuple[InputAdapter, ...](Chunks([]) for _ in range(count)), "so many")


def test_a_thousand_shards_cost_a_few_kilobytes_each() -> None:
    import tracemalloc

    manager = PipeManager.parallelize_pipe(Pipe(Many([]), None, schema_model=Row), 1_000, engine=Instant())
    tracemalloc.start()
    try:
        assert manager.run()
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert manager.report.pipe_count == 1_000
    assert manager.report.read_rows == 10_000
    assert manager.report.notes == ("so many", "the same")
    assert kept < 8e6
    assert peak < 12e6
