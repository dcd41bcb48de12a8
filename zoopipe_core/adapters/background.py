"""Steps of writing in threads of their own, while the next rows are prepared."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

__all__ = ["Background"]

R = TypeVar("R")


class Background(Generic[R]):
    """A thread that does one thing at a time, or some of them; they are started with the first things to do.

    >>> background = Background("zoopipe-example", threads=2)
    >>> background.start(sum, [1, 2])
    >>> background.start(sum, [3, 4])
    >>> background.is_full
    True
    >>> background.wait(), background.wait()
    (3, 7)
    >>> background.end()

    Args:
        name: of the threads.
        threads: how many there are.
        waiting: how many things more may wait for a thread, which then goes on without a pause.
    """

    def __init__(self, name: str, threads: int = 1, waiting: int = 0) -> None:
        self._name, self._threads, self._most = name, threads, threads + waiting
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: deque[Future[R]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether something has to be waited for before more can be begun."""
        return len(self._under_way) >= self._most

    def start(self, function: Callable[..., R], *arguments: Any, **options: Any) -> None:
        """Begin with something; not while `is_full`."""
        assert not self.is_full
        self._pool = self._pool or ThreadPoolExecutor(self._threads, self._name)
        self._under_way.append(self._pool.submit(function, *arguments, **options))

    def wait(self) -> R | None:
        """What came of that which was begun first; None if nothing was. Raises what it raised."""
        return self._under_way.popleft().result() if self._under_way else None

    def end(self) -> None:
        """Let what is under way come to its end, whatever becomes of it; harmless if done already."""
        self._under_way.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
