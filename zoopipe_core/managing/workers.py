"""The workers of one run: launched, watched, launched again where they fail, ended.

At most as many run at a time as the engine has room for. Pipes that are loads of their own fail by themselves; of one
load in shards, the first failure ends all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.engines.worker import failed_report, first_report
from zoopipe_core.errors import (
    EngineError,
    LoadAbortedError,
    ShardFailedError,
    TooManyRejectsError,
    ZoopipeError,
)
from zoopipe_core.managing.plan import Plan
from zoopipe_core.managing.progress import ManagerProgress
from zoopipe_core.pipe import Pipe
from zoopipe_core.report import ExceptionInfo, PipeReport, PipeStatus

__all__ = ["Workers", "check_account"]

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.02
STOP_SECONDS = 5.0
KILL_SECONDS = 2.0


class Workers:
    """Runs the pipes of a plan.

    Args:
        plan: what to run.
        engine: where.
        retries: how often a pipe that failed is run again, from its start.
        progress: is told how each one goes.
        stop: set to end them all.
        kill: set to end them without waiting for what they undo.
        on_completed: called with the place and the report of each that has completed; it may raise.
    """

    def __init__(
        self,
        plan: Plan,
        engine: BaseEngine,
        retries: int,
        progress: ManagerProgress,
        stop: threading.Event,
        kill: threading.Event,
        on_completed: Callable[[int, PipeReport], None] = lambda index, report: None,
    ) -> None:
        self._plan, self._engine, self._retries = plan, engine, retries
        self._progress, self._stop, self._kill = progress, stop, kill
        self._on_completed = on_completed
        self._waiting = deque(range(len(plan.pipes)))
        self._attempts: dict[int, int] = {}
        self._active: dict[int, Worker] = {}

    def run(self) -> None:
        """Run all, to the end. Afterwards no worker is left, and each pipe has a final report.

        Raises:
            LoadAbortedError: it was stopped.
            ShardFailedError, TooManyRejectsError: the plan is one load, and a shard has failed.
        """
        try:
            while self._waiting or self._active:
                self._raise_if_stopped()
                self._launch()
                self._look()
                self._check_rejects()
                if self._active:
                    self._stop.wait(POLL_SECONDS)
            self._raise_if_stopped()
        finally:
            self._end()

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise LoadAbortedError("the load was cancelled; nothing was published")

    def _launch(self) -> None:
        while self._waiting and len(self._active) < max(1, self._engine.capacity):
            index = self._waiting.popleft()
            attempt = self._attempts[index] = self._attempts.get(index, 0) + 1
            task = WorkerTask(index, _for_attempt(self._plan.pipes[index], attempt), attempt)
            try:
                self._active[index] = self._engine.launch(task)
            except ZoopipeError as error:
                self._ended(index, failed_report(task, error))

    def _look(self) -> None:
        for index, worker in list(self._active.items()):
            report = worker.report()
            if report.is_finished:
                del self._active[index]
                worker.close()
                self._ended(index, report)
            else:
                self._progress.update(index, report)

    def _ended(self, index: int, report: PipeReport) -> None:
        if report.status is PipeStatus.COMPLETED:
            if self._plan.coordinator is not None:
                check_account(report)
            self._progress.settle(index, report)
            self._on_completed(index, report)
            return
        if self._may_retry(report):
            logger.warning("%s failed and is run again: %s", self._name(index), report.exception)
            self._progress.update(index, first_report(WorkerTask(index, self._plan.pipes[index], report.attempt + 1)))
            self._waiting.append(index)
            return
        self._progress.settle(index, report)
        if self._plan.coordinator is not None:
            raise self._failure(index, report)

    def _may_retry(self, report: PipeReport) -> bool:
        again = report.exception is None or report.exception.type not in _FINAL
        return again and report.attempt <= self._retries and not self._stop.is_set()

    def _failure(self, index: int, report: PipeReport) -> Exception:
        raised = report.exception or ExceptionInfo("LoadAbortedError", "the worker was told to end")
        if raised.type == TooManyRejectsError.__name__ and self._plan.max_errors is not None:
            return self._too_many()
        tries = f", attempt {report.attempt}" if report.attempt > 1 else ""
        info = replace(raised, message=f"{self._name(index)}{tries}: {raised.message}")
        error = ShardFailedError(f"{info.type}: {info.message}")
        error.info = info
        error.__cause__ = report.cause
        return error

    def _name(self, index: int) -> str:
        pipes = self._plan.pipes
        return f"shard {index} of {len(pipes)} ({pipes[index].input_adapter.label})"

    # ---- rejects ----------------------------------------------------------------------------------------------

    def _check_rejects(self) -> None:
        limit = self._plan.max_errors
        if isinstance(limit, int) and self._progress.total().rejected_rows > limit:
            raise self._too_many()

    def _too_many(self) -> TooManyRejectsError:
        limit = self._plan.max_errors
        return too_many_rejects(self._progress.total(), f"{limit:,}")

    # ---- the end ----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """End what still runs: it is asked to, and then it has to."""
        for worker in self._active.values():
            worker.stop()
        self._wait(STOP_SECONDS, self._kill)
        for worker in self._active.values():
            worker.kill()
        self._wait(KILL_SECONDS, None)
        for index, worker in self._active.items():
            report = worker.report()
            worker.close()
            self._progress.settle(index, report if report.is_finished else replace(report, status=PipeStatus.FAILED))
        self._active.clear()
        for index in self._waiting:
            pending = first_report(WorkerTask(index, self._plan.pipes[index]))
            self._progress.settle(index, replace(pending, status=PipeStatus.ABORTED))
        self._waiting.clear()

    def _wait(self, seconds: float, until: threading.Event | None) -> None:
        deadline = time.monotonic() + seconds
        while self._active and time.monotonic() < deadline and not (until is not None and until.is_set()):
            for index, worker in list(self._active.items()):
                report = worker.report()
                if report.is_finished:
                    del self._active[index]
                    worker.close()
                    self._progress.settle(index, report)
            if self._active:
                time.sleep(POLL_SECONDS)


def _for_attempt(pipe: Pipe, attempt: int) -> Pipe:
    outputs = {"output_adapter": pipe.output_adapter, "error_output_adapter": pipe.error_output_adapter}
    changes = {name: output.for_attempt(attempt) for name, output in outputs.items() if output is not None}
    return pipe if attempt == 1 else Pipe(**{**pipe.__getstate__(), **changes})


# Running the same pipe again would end the same way.
_FINAL = frozenset({TooManyRejectsError.__name__, "SpecError", "SchemaModelError"})


def too_many_rejects(report: PipeReport, limit: str) -> TooManyRejectsError:
    """The error of a load of which more was rejected than `limit` says."""
    lines = [f"{report.rejected_rows:,} rows were rejected; max_errors allows {limit}. No row was published."]
    lines.extend(f"  {rejection}" for rejection in report.rejections[:3])
    return TooManyRejectsError("\n".join(lines))


def check_account(report: PipeReport) -> None:
    """Raises:
    ZoopipeError: a completed report in which rows are missing, or are counted twice.
    """
    came = report.read_rows + report.added_rows
    went = report.loaded_rows + report.rejected_rows + report.filtered_rows
    if came != went:
        raise EngineError(
            f"the rows of pipe {report.pipe_index} do not add up: {report.read_rows:,} read + {report.added_rows:,} "
            f"added, but {report.loaded_rows:,} loaded + {report.rejected_rows:,} rejected + "
            f"{report.filtered_rows:,} filtered"
        )
