"""One step of writing in a thread of its own, while the next rows are prepared."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

__all__ = ["Background"]

R = TypeVar("R")


class Background(Generic[R]):
    """A thread that does one thing at a time; it is started with the first one.

    >>> background = Background("zoopipe-example")
    >>> background.start(sum, [1, 2])
    >>> background.wait()
    3
    >>> background.end()

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        self._under_way: Future[R] | None = None

    def start(self, function: Callable[..., R], *arguments: Any, **options: Any) -> None:
        """Begin with something. What was begun before has been waited for."""
        assert self._under_way is None
        self._pool = self._pool or ThreadPoolExecutor(1, self._name)
        self._under_way = self._pool.submit(function, *arguments, **options)

    def wait(self) -> R | None:
        """What came of that which was begun; None if nothing was. Raises what it raised."""
        under_way, self._under_way = self._under_way, None
        return None if under_way is None else under_way.result()

    def end(self) -> None:
        """Let what is under way come to its end, whatever becomes of it; harmless if done already."""
        self._under_way = None
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None
