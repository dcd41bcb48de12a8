"""`PipeManager`: several pipes, or the shards of one, run by workers and published as one.

    split the input ─▶ workers write parts ─▶ all succeeded? account right? ─▶ merged and published
                                                    └─ no: nothing was published

One thread in the background does all of this, from the first look at the source to the commit; `run`, `wait` and the
``with`` block only wait for it.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import Self

from zoopipe_core._arrow import import_arrow
from zoopipe_core.coordinators.base import BaseCoordinator, WorkerResult
from zoopipe_core.display import ReportCallback, progress_display
from zoopipe_core.engines.base import BaseEngine, WorkerTask
from zoopipe_core.engines.worker import first_report
from zoopipe_core.errors import AlreadyLoadedError, LoadAbortedError, LoadFailedError, ShardFailedError, SpecError
from zoopipe_core.executors import BatchExecutor
from zoopipe_core.managing.plan import GivenPipes, Plan, Planner, ShardedPipe
from zoopipe_core.managing.progress import ManagerProgress
from zoopipe_core.managing.workers import Workers, check_account, too_many_rejects
from zoopipe_core.pipe import Pipe
from zoopipe_core.report import ExceptionInfo, PipeReport, PipeStatus, describe_exception
from zoopipe_core.running import ABORT_GRACE_SECONDS, Run, follow, watch

__all__ = ["PipeManager"]

logger = logging.getLogger(__name__)

WAIT_SECONDS = 0.1
FORCED_SECONDS = 10.0


class PipeManager:
    """Runs pipes in parallel, each in a worker of an engine.

    Several pipes are loads of their own: each publishes what it has loaded, and fails by itself. With a `coordinator`
    they are one load, as the shards of `parallelize_pipe` are: the first failure ends all, and nothing is published.

    Args:
        pipes: what to run.
        engine: where; default `MultiProcessEngine`, one process for each pipe. The caller closes an engine of its own.
        coordinator: makes one load of the pipes.
        retries: how often a pipe that failed is run again, from its start.

    >>> from zoopipe_core.testing.engines import ThreadEngine
    >>> pipes = [Pipe([{"id": 1}, {"id": 2}], None), Pipe([{"id": 3}], None)]
    >>> with PipeManager(pipes, engine=ThreadEngine()) as manager:
    ...     manager.wait()
    True
    >>> manager.report.total_processed, [report.total_processed for report in manager.pipe_reports]
    (3, [2, 1])

    Raises:
        SpecError: there are no pipes, or the arguments do not fit together.
    """

    def __init__(
        self,
        pipes: Iterable[Pipe],
        engine: BaseEngine | None = None,
        coordinator: BaseCoordinator | None = None,
        *,
        retries: int = 0,
    ) -> None:
        self._set(GivenPipes(list(pipes), coordinator), engine, retries)

    @classmethod
    def parallelize_pipe(
        cls,
        pipe: Pipe,
        workers: int,
        merge: bool = True,
        executor: BatchExecutor | None = None,
        engine: BaseEngine | None = None,
        retries: int = 0,
        load_id: str | None = None,
        if_loaded: str | None = None,
    ) -> Self:
        """A manager of the shards of `pipe`: the same result as ``pipe.run()``, by several workers.

        The input is split when the manager starts, or when its pipes are looked at. An input that cannot be split
        gives fewer shards, which the report notes.

        Args:
            pipe: what to run; all that it has travels to the shards.
            workers: how many shards at most.
            merge: True: one result, the same as that of a serial run. False: numbered files; what is no file is one
                result all the same.
            executor: how each shard works on its batches; default: as the pipe does.
            engine: where the shards run; default `MultiProcessEngine`.
            retries: how often a shard that failed is run again.
            load_id: the name of this load, instead of that of the pipe; see `Pipe`.
            if_loaded: instead of what the pipe says of it.

        Raises:
            SpecError: an argument is out of range.
        """
        manager = cls.__new__(cls)
        manager._set(ShardedPipe(pipe, workers, merge, executor, load_id, if_loaded), engine, retries)
        return manager

    def _set(self, planner: Planner, engine: BaseEngine | None, retries: int) -> None:
        if engine is not None and not isinstance(engine, BaseEngine):
            raise SpecError(f"engine has to be an engine such as MultiProcessEngine(), not {engine!r}")
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            raise SpecError(f"retries has to be a number of at least 0, not {retries!r}")
        self._planner = planner
        self._engine, self._owns_engine = engine, engine is None
        self._retries = retries
        self._merge = True
        self._lock = threading.RLock()
        self._plan: Plan | None = None
        self._plan_is_used = False
        self._progress = ManagerProgress(planner.outline())
        self._run: Run | None = None
        self._kill = threading.Event()

    # ---- running ----------------------------------------------------------------------------------------------

    def run(
        self,
        wait: bool = True,
        merge: bool = True,
        timeout: float | None = None,
        on_report_update: ReportCallback | None = progress_display,
    ) -> bool:
        """Run all pipes and publish. True if every pipe has completed and all is published.

        Args:
            wait: False to return at once (True means "started" then).
            merge: False to leave what shards wrote as numbered files.
            timeout: seconds after which all is aborted and False returned.
            on_report_update: as for `Pipe.run`, with the report of all pipes together.

        What fails does not raise: see `report` and `pipe_reports`. Ctrl-C and SIGTERM abort and undo all, and then
        take their usual course.

        Raises:
            RuntimeError: the manager is running already.
        """
        run = self._begin(merge)
        return follow(run, timeout, on_report_update) if wait else True

    def start(self) -> None:
        """Start all pipes, in the background; what they load is published there too, whether or not somebody waits.

        Raises:
            RuntimeError: the manager is already running.
        """
        self._begin(True)

    def _begin(self, merge: bool) -> Run:
        with self._lock:
            if self.is_running:
                raise RuntimeError("this PipeManager is already running; wait() for it or shutdown() first")
            if self._plan_is_used or merge != self._merge:
                self._plan, self._plan_is_used = None, False
            self._merge = merge
            self._kill = threading.Event()
            self._progress = ManagerProgress(self._planner.outline())
            run = self._run = Run("manager", self._progress, self._work)
            run.begin()
        return run

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all pipes have ended and what they loaded is published.

        Returns:
            True if they have ended, in whatever way; False if `timeout` seconds passed first. They go on then.

        Raises:
            RuntimeError: the manager was never started.
        """
        if self._run is None:
            raise RuntimeError("this PipeManager was not started; call start() or run()")
        return watch(self._run, timeout, None)

    def shutdown(self, timeout: float = 5.0) -> None:
        """Abort all that runs and undo it; after `timeout` seconds, workers that have not ended are killed."""
        run = self._run
        if run is None or run.ended.is_set():
            return
        run.end(timeout)
        if not run.ended.is_set():
            self._kill.set()
            run.end(FORCED_SECONDS)

    @property
    def is_running(self) -> bool:
        """True from `start` until all pipes have ended and what they loaded is published."""
        return self._run is not None and not self._run.ended.is_set()

    def raise_if_stopped(self) -> None:
        """For coordinators.

        Raises:
            LoadAbortedError: the run was cancelled.
        """
        if self._run is not None and self._run.stop.is_set():
            raise LoadAbortedError("the load was cancelled; nothing was published")

    def __enter__(self) -> Self:
        """Start; leaving the block aborts what has not ended: `wait` inside."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(ABORT_GRACE_SECONDS)

    # ---- what there is to see ---------------------------------------------------------------------------------

    @property
    def pipes(self) -> list[Pipe]:
        """The pipes that workers run; those of a sharded pipe are made now if they were not yet.

        Raises:
            SourceError: the source cannot be split, since it cannot be read.
        """
        return list(self._planned().pipes)

    @property
    def pipe_count(self) -> int:
        """How many pipes there are; see `pipes`."""
        return len(self._planned().pipes)

    @property
    def pipe_reports(self) -> list[PipeReport]:
        """The latest report of each pipe, in order; none if planning has failed."""
        if self._run is None:
            return [first_report(WorkerTask(index, pipe)) for index, pipe in enumerate(self._planned().pipes)]
        while not self._progress.wait_for_plan(WAIT_SECONDS) and self.is_running:
            pass
        return self._progress.reports()

    def get_pipe_report(self, index: int) -> PipeReport:
        """The latest report of one pipe.

        Args:
            index: from 0.

        Raises:
            RuntimeError: the manager was never started.
            IndexError: there is no such pipe.
        """
        if self._run is None:
            raise RuntimeError("this PipeManager was not started; call start() or run()")
        reports = self.pipe_reports
        if not 0 <= index < len(reports):
            raise IndexError(f"there is no pipe {index}: this PipeManager has {len(reports)}, numbered from 0")
        return reports[index]

    @property
    def report(self) -> PipeReport:
        """All pipes together. It is finished when what they loaded is published, and not before."""
        return self._progress.snapshot()

    def __repr__(self) -> str:
        report = self.report
        return f"PipeManager({report.source} -> {report.target})"

    # ---- in the background ------------------------------------------------------------------------------------

    def _planned(self) -> Plan:
        with self._lock:
            if self._plan is None:
                engine = self._running_engine()
                self._plan = self._planner.plan(self._merge, engine.map, engine.shares_files)
            return self._plan

    def _running_engine(self) -> BaseEngine:
        if self._engine is None:
            from zoopipe_core.engines.multiprocess import MultiProcessEngine

            self._engine = MultiProcessEngine()
        return self._engine

    def _work(self, stop: threading.Event) -> None:
        progress, load = self._progress, None
        try:
            load_id, attempt = self._planner.recall(progress.snapshot(), self._merge)
            progress.name(load_id, attempt)
            # Processes start while the source is looked at.
            self._running_engine().expect(self._planner.most)
            import_arrow()
            plan = self._planned()
            self._running_engine().expect(len(plan.pipes))
            self._plan_is_used = True
            progress.expect(len(plan.pipes), plan.notes)
            load = plan.coordinator
            if load is None:
                self._run_workers(plan, stop)
            else:
                self._run_load(plan, load, stop)
        except AlreadyLoadedError as error:
            if error.record is None or self._planner.fails_if_loaded:
                progress.finish(PipeStatus.FAILED, error)
            else:
                progress.recall(error.record.report, f"{error}; nothing was read")
            logger.info("%r was loaded already", self)
        except BaseException as error:
            aborted = isinstance(error, LoadAbortedError | KeyboardInterrupt)
            status = PipeStatus.ABORTED if aborted else PipeStatus.FAILED
            progress.finish(status, error, _described(error))
            logger.warning("%r %s: %s", self, status.value, type(error).__name__)
            self._planner.forget(progress)
            if not isinstance(error, Exception):
                raise
        else:
            total = progress.total()
            cause = None if total.exception is None else LoadFailedError(total.exception.message)
            progress.finish(total.status, total.cause or cause, total.exception)
            logger.info("%r %s", self, total.status.value)
        finally:
            if self._plan is not None:
                self._plan = self._planner.release(self._plan)
            if self._engine is not None:
                self._engine.expect(0)
            if self._owns_engine and self._engine is not None:
                self._engine.close()

    def _run_workers(self, plan: Plan, stop: threading.Event) -> None:
        coordinator = plan.coordinator

        def completed(index: int, report: PipeReport) -> None:
            if coordinator is not None:
                coordinator.on_shard(self, _result(plan, index, report))

        Workers(plan, self._running_engine(), self._retries, self._progress, stop, self._kill, completed).run()

    def _run_load(self, plan: Plan, coordinator: BaseCoordinator, stop: threading.Event) -> None:
        """One load: all shards, then the commit.

        Raises:
            BaseException: what ended it; everything is undone then.
        """
        try:
            coordinator.on_start(self)
            self._run_workers(plan, stop)
            total = self._progress.total()
            check_account(total)
            _check_share(plan, total)
            reports = self._progress.reports()
            coordinator.on_finish(self, [_result(plan, index, report) for index, report in enumerate(reports)])
            self._progress.note(*self._planner.notes)
        except BaseException as error:
            try:
                coordinator.on_error(self, error)
            except Exception as second:  # noqa: BLE001  kept as a note of the error that ended the load
                error.add_note(f"while undoing the load, {type(second).__name__}: {second}")
            raise


def _check_share(plan: Plan, total: PipeReport) -> None:
    limit, rejected = plan.max_errors, total.rejected_rows
    # Divided, since 0.29 * 100 is less than 29.
    if isinstance(limit, float) and rejected and rejected / max(total.read_rows, 1) > limit:
        raise too_many_rejects(total, f"{limit * 100:g}% of {total.read_rows:,} rows")


def _result(plan: Plan, index: int, report: PipeReport) -> WorkerResult:
    output = plan.pipes[index].output_adapter
    return WorkerResult(index, report.status is PipeStatus.COMPLETED, "" if output is None else output.label, report)


def _described(error: BaseException) -> ExceptionInfo:
    """What the report says of an error: of a shard's, what the shard said, and what was noted here."""
    if not isinstance(error, ShardFailedError):
        return describe_exception(error, "".join(traceback.format_exception(error)))
    info: ExceptionInfo = error.info
    noted = "\n".join([info.message, *getattr(error, "__notes__", ())])
    return replace(info, message=noted)
