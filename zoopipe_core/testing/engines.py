"""An engine without processes, for tests of coordinators, of adapters and of whatever else runs in a worker."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.report import ExceptionInfo, PipeReport, PipeStatus, now

__all__ = ["ThreadEngine"]


class ThreadEngine(BaseEngine):
    """Runs each pipe in a thread of this process.

    A thread cannot be killed: a worker that was is reported as aborted, and its load is told to end.

    Args:
        workers: how many run at a time.

    >>> from zoopipe_core.pipe import Pipe
    >>> worker = ThreadEngine().launch(WorkerTask(0, Pipe([{"id": 1}], None)))
    >>> while not worker.report().is_finished:
    ...     pass
    >>> worker.report().loaded_rows
    1
    """

    def __init__(self, workers: int = 4) -> None:
        self._workers = workers

    @property
    def capacity(self) -> int:
        return self._workers

    def launch(self, task: WorkerTask) -> Worker:
        return _ThreadWorker(task)


class _ThreadWorker(Worker):
    def __init__(self, task: WorkerTask) -> None:
        self._task = task
        self._lock = threading.Lock()
        self._killed: PipeReport | None = None
        self._pipe = copy.copy(task.pipe)  # its own state: one pipe may be run by several tasks
        self._pipe.start()

    def report(self) -> PipeReport:
        with self._lock:
            return self._killed or replace(self._pipe.report, pipe_index=self._task.index, attempt=self._task.attempt)

    def stop(self) -> None:
        self._pipe.shutdown(0)

    def kill(self) -> None:
        report = self.report()
        if not report.is_finished:
            told = ExceptionInfo("LoadAbortedError", "the load was cancelled: its worker was killed")
            with self._lock:
                self._killed = replace(report, status=PipeStatus.ABORTED, finished_at=now(), exception=told)
        self.stop()

    def close(self) -> None:
        self.kill()
