"""A pipe at work in a process of this machine, as its launcher sees it: what both local engines have in common."""

from __future__ import annotations

import json
import os
import threading
import weakref
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from zoopipe_core._cores import usable_cores
from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.engines.payload import dump
from zoopipe_core.engines.process import Interpreter
from zoopipe_core.engines.slots import Slot, memory_file
from zoopipe_core.engines.worker import failed_report, first_report
from zoopipe_core.errors import EngineError, LoadAbortedError, SpecError, WorkerDiedError
from zoopipe_core.report import PipeReport, PipeStatus, describe_exception

__all__ = ["LocalEngine", "LocalWorker", "Message"]


class Message:
    """A task as it is sent: pickled, with the surroundings that a process has to take over, in memory of no name.

    Args:
        task: what is to be run.
        surroundings: see `zoopipe_core.engines.child`; empty for a process that inherits ours.

    Raises:
        SpecError: the pipe cannot be sent; the message names the part.
        EngineError: there is no memory for it.
    """

    def __init__(self, task: WorkerTask, surroundings: Mapping[str, Any]) -> None:
        data = dump(task)
        try:
            self.descriptor = memory_file("zoopipe-task")
        except OSError as error:
            raise EngineError(f"no worker can be started: {error}") from error
        try:
            with open(self.descriptor, "wb", closefd=False) as file:
                file.write(json.dumps(surroundings).encode() + b"\n" + data)
            os.lseek(self.descriptor, 0, os.SEEK_SET)
        except OSError as error:
            self.close()
            raise EngineError(f"no worker can be started: {error}") from error

    def close(self) -> None:
        """Give up this end; who has received it keeps it."""
        os.close(self.descriptor)


class LocalWorker(Worker):
    """Watches one task through its slot.

    Args:
        task: what is to be run.
        interpreter: the process that runs it.
        message: the task as it is sent; it stays the caller's.
        give_back: called once when the process has done the task and may do others, which it may not after a
            failure. None: it does this one only, and ends by itself.

    Raises:
        EngineError: the process does not take the task.
    """

    def __init__(
        self,
        task: WorkerTask,
        interpreter: Interpreter,
        message: Message,
        give_back: Callable[[], None] | None = None,
    ) -> None:
        self._lock = threading.Lock()
        self._task = task
        self._interpreter = interpreter
        self._give_back = give_back
        self._is_ours = True
        self._told_to_end = False
        self._latest = first_report(task)
        try:
            self._slot = Slot.create()
        except OSError as error:
            raise EngineError(f"no worker can be started: {error}") from error
        try:
            interpreter.send(message.descriptor, self._slot.descriptor)
        except EngineError:
            self._slot.close()
            raise

    @property
    def pid(self) -> int:
        """The process that runs the pipe, for whoever looks after the machine."""
        return self._interpreter.pid

    def report(self) -> PipeReport:
        with self._lock:
            return self._look()

    def stop(self) -> None:
        with self._lock:
            if not self._look().is_finished:
                self._told_to_end = True
                self._slot.request_stop()

    def kill(self) -> None:
        with self._lock:
            self._told_to_end |= not self._look().is_finished
            if self._is_ours:
                self._interpreter.kill()

    def close(self) -> None:
        with self._lock:
            if not self._look().is_finished:
                self._finish(_aborted(self._task, "its worker was closed", self._latest))
            if self._is_ours:
                self._interpreter.kill()

    def _look(self) -> PipeReport:
        if self._latest.is_finished:
            return self._latest
        has_ended = self._interpreter.ended.is_set()  # asked first: what was written before the end still counts
        self._latest = self._slot.read(self._latest) or self._latest
        if self._latest.is_finished:
            self._finish(self._latest)
            if self._give_back is not None and not has_ended:
                if self._latest.status is PipeStatus.FAILED:
                    self._interpreter.finish()  # who knows what state it is in; out of memory, perhaps
                else:
                    self._is_ours = False
                    self._give_back()
        elif has_ended:
            how = self._interpreter.describe_end()
            if self._told_to_end:
                self._finish(_aborted(self._task, how, self._latest))
            else:
                error = WorkerDiedError(how)
                report = failed_report(self._task, error, self._latest)
                # There was no exception here: what the worker said of its end takes the place of the traceback.
                told = describe_exception(error, self._interpreter.last_words)
                self._finish(replace(report, exception=told))
        return self._latest

    def _finish(self, report: PipeReport) -> None:
        self._latest = report
        self._slot.close()


def _aborted(task: WorkerTask, how: str, latest: PipeReport) -> PipeReport:
    report = failed_report(task, LoadAbortedError(f"the load was cancelled: {how}"), latest)
    return replace(report, status=PipeStatus.ABORTED)


class LocalEngine(BaseEngine):
    """An engine of this machine, described by a number of workers.

    Args:
        name, count: the number as the constructor of the subclass calls it; None: one for each core that this process
            may use.

    Raises:
        SpecError: it is below 1.
    """

    def __init__(self, name: str, count: int | None) -> None:
        if count is not None and (not isinstance(count, int) or isinstance(count, bool) or count < 1):
            raise SpecError(f"{name} has to be a whole number of at least 1, or None, not {count!r}")
        self._name = name
        self._count = count
        self._disown()
        _engines.add(self)

    def _disown(self) -> None:
        """Forget all workers, as a forked child has to: they are its parent's, and so may be who holds the lock."""
        self._lock = threading.Lock()
        self._workers: weakref.WeakSet[LocalWorker] = weakref.WeakSet()

    @property
    def capacity(self) -> int:
        return self._count or usable_cores()

    def launch(self, task: WorkerTask) -> LocalWorker:
        worker = self._launch(task)
        with self._lock:
            self._workers.add(worker)
        return worker

    @abstractmethod
    def _launch(self, task: WorkerTask) -> LocalWorker: ...

    def close(self) -> None:
        """End the workers that this engine has launched."""
        with self._lock:
            workers = tuple(self._workers)
        for worker in workers:
            worker.close()

    def __repr__(self) -> str:
        shown = "" if self._count is None else f"{self._name}={self._count}"
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, LocalEngine) and self._count == other._count

    def __hash__(self) -> int:
        return hash((type(self), self._count))

    def __getstate__(self) -> dict[str, Any]:
        return {"name": self._name, "count": self._count}

    def __setstate__(self, state: dict[str, Any]) -> None:
        LocalEngine.__init__(self, **state)


_engines: weakref.WeakSet[LocalEngine] = weakref.WeakSet()


def _after_fork() -> None:
    for engine in tuple(_engines):
        engine._disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
