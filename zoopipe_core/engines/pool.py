"""Warm worker processes, each of which does one task after the other."""

from __future__ import annotations

import json
import os
import threading

from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.local import LocalWorker, Message
from zoopipe_core.engines.process import Interpreter, child_path
from zoopipe_core.errors import EngineError

__all__ = ["WarmPool", "shared_pool"]

# Classes that travel by value are new ones each time, and what they leave behind adds up.
MAX_TASKS = 100


class WarmPool:
    """Processes that wait for tasks. May be used by several threads.

    Args:
        size: how many idle ones are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._idle: list[_Member] = []

    def launch(self, task: WorkerTask, message: Message) -> LocalWorker:
        """Give the task to an idle process that is fit for it, or to a new one.

        Raises:
            EngineError: no process can be started.
        """
        path = child_path()
        while (member := self._take()) is not None:
            if member.is_fit(path):
                try:
                    return self._start(task, message, member)
                except EngineError:  # killed a moment ago
                    pass
            member.interpreter.kill()
        return self._start(task, message, _Member())

    def fill(self) -> None:
        """Start processes until there are as many idle ones as are kept.

        Raises:
            EngineError: a process cannot be started.
        """
        with self._lock:
            missing = self._size - len(self._idle)
        for _ in range(missing):
            self._keep(_Member())

    def clear(self) -> None:
        """End the idle processes."""
        while (member := self._take()) is not None:
            member.interpreter.kill()

    def _start(self, task: WorkerTask, message: Message, member: _Member) -> LocalWorker:
        member.tasks += 1
        return LocalWorker(task, member.interpreter, message, give_back=lambda: self._keep(member))

    def _take(self) -> _Member | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _keep(self, member: _Member) -> None:
        with self._lock:
            is_wanted = len(self._idle) < self._size
            if is_wanted:
                self._idle.append(member)
        if not is_wanted:
            member.interpreter.kill()


class _Member:
    """A process of a pool, and what is known about the code that it has imported."""

    def __init__(self) -> None:
        self.tasks = 0
        self.path = child_path()
        self.interpreter = Interpreter(keep=True)
        self._unread = b""
        self._has_changed = False
        self._files: dict[str, list[int]] = {}

    def is_fit(self, path: list[str]) -> bool:
        """Whether it lives and has no code but what a fresh process would import.

        Args:
            path: what `sys.path` such a process would be given.
        """
        if self.interpreter.ended.is_set() or self.tasks >= MAX_TASKS or self.path != path:
            return False
        *lines, self._unread = (self._unread + self.interpreter.received()).split(b"\n")
        for line in lines:
            news = json.loads(line)
            self._has_changed |= news["changed"]
            self._files |= news["files"]
        return not self._has_changed and all(_state(file) == known for file, known in self._files.items())


def _state(file: str) -> list[int] | None:
    try:
        stat = os.stat(file)
    except OSError:
        return None
    return [stat.st_mtime_ns, stat.st_size]


_pools: dict[int, WarmPool] = {}
_pools_lock = threading.Lock()


def shared_pool(size: int) -> WarmPool:
    """The pool of this process that keeps so many processes."""
    with _pools_lock:
        return _pools.setdefault(size, WarmPool(size))


def _after_fork() -> None:
    global _pools_lock
    _pools_lock = threading.Lock()
    _pools.clear()  # its processes are the parent's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
