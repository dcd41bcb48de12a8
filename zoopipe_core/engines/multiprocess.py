"""`MultiProcessEngine`: one fresh process for each pipe, on this machine."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.local import LocalEngine, LocalWorker, Message
from zoopipe_core.engines.process import Interpreter, child_path
from zoopipe_core.errors import EngineError

__all__ = ["MultiProcessEngine"]


class MultiProcessEngine(LocalEngine):
    """Runs each pipe in a Python process of its own.

    Args:
        max_workers: how many processes run at a time; None: one for each core that this process may use.

    Each process is a fresh interpreter, with this one's `sys.path`, folder and environment. It does not run the
    caller's ``__main__`` again, inherits neither threads nor signal handlers, and ends with this process, however that
    one ends. Models and hooks may be defined anywhere: in a script, a notebook, a DAG file. NumPy's linear algebra has
    one thread in each, unless ``OPENBLAS_NUM_THREADS`` says otherwise: the processes share the cores already.

    >>> MultiProcessEngine(max_workers=2)
    MultiProcessEngine(max_workers=2)

    Raises:
        SpecError: `max_workers` is below 1.
    """

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__("max_workers", max_workers)

    @property
    def max_workers(self) -> int | None:
        """The number that was given."""
        return self._count

    def expect(self, count: int) -> None:
        """Start so many processes, at most `capacity`: they import what they need while shards are planned."""
        with self._lock:
            surplus = self._ready[min(count, self.capacity) :]
            del self._ready[min(count, self.capacity) :]
            with contextlib.suppress(EngineError):  # `launch` tries again, and tells of it
                while len(self._ready) < min(count, self.capacity):
                    self._ready.append(_Ready())
        for ready in surplus:
            ready.interpreter.kill()

    def close(self) -> None:
        self.expect(0)
        super().close()

    def _disown(self) -> None:
        super()._disown()
        self._ready: list[_Ready] = []

    def _launch(self, task: WorkerTask) -> LocalWorker:
        with contextlib.closing(Message(task, {})) as message:
            while (ready := self._take()) is not None:
                if ready.is_fresh():
                    with contextlib.suppress(EngineError):  # it has died a moment ago
                        return LocalWorker(task, ready.interpreter, message)
                ready.interpreter.kill()
            interpreter = Interpreter(keep=False)
            try:
                return LocalWorker(task, interpreter, message)
            except BaseException:
                interpreter.kill()
                raise

    def _take(self) -> _Ready | None:
        with self._lock:
            return self._ready.pop(0) if self._ready else None


class _Ready:
    """A process without a task, and what it has inherited.

    Raises:
        EngineError: it cannot be started.
    """

    def __init__(self) -> None:
        self._surroundings = _surroundings()
        self.interpreter = Interpreter(keep=False)

    def is_fresh(self) -> bool:
        """Whether it lives, and is as one that would be started now."""
        return not self.interpreter.ended.is_set() and self._surroundings == _surroundings()


def _surroundings() -> tuple[Any, ...]:
    try:
        folder = os.stat(".")
    except FileNotFoundError:  # removed
        return child_path(), None, dict(os.environ)
    return child_path(), (folder.st_dev, folder.st_ino), dict(os.environ)
