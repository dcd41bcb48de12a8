"""Work on what becomes ready in any order, done in order, in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable

from zoopipe_core.adapters.background import Background

__all__ = ["InOrder"]


class InOrder:
    """Does something for 0, 1, 2 ..., each as soon as it and all before it are ready, in a thread of its own.

    >>> done = []
    >>> line = InOrder("zoopipe-example", done.append)
    >>> line.ready(1)
    >>> line.ready(0)
    >>> line.wait()
    >>> done, line.count
    ([0, 1], 2)

    Args:
        name: of the thread.
        work: what to do; once it has raised, nothing more is done.
    """

    def __init__(self, name: str, work: Callable[[int], None]) -> None:
        self._work = work
        self._background: Background[None] = Background(name)
        self._lock = threading.Lock()
        self._ready: set[int] = set()
        self._is_running = False
        self._error: BaseException | None = None
        self.count = 0
        """How many were done."""

    def ready(self, index: int) -> None:
        """One of them is ready; returns at once.

        Raises:
            BaseException: what the work has raised.
        """
        if self._error is not None:
            raise self._error
        with self._lock:
            self._ready.add(index)
            if self._is_running or self.count not in self._ready:
                return
            self._is_running = True
        self._background.wait()  # the last time, which is over
        self._background.start(self._run)

    def _run(self) -> None:
        try:
            while True:
                with self._lock:
                    if self.count not in self._ready:
                        self._is_running = False
                        return
                    self._ready.remove(self.count)
                self._work(self.count)
                self.count += 1
        except BaseException as error:
            self._error = error
            raise

    def wait(self) -> None:
        """Wait until all is done that can be.

        Raises:
            BaseException: what the work has raised.
        """
        self._background.wait()
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Let what is under way come to its end; harmless if done already."""
        self._background.end()
