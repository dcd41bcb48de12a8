"""How batches are worked on: one after the other, or by several threads with the order kept.

An executor maps a function over an iterable of batches, lazily and with a bounded number of them in flight. The
function is validation, whose columnar parts run outside the GIL.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TypeVar

from zoopipe_core._cores import usable_cores
from zoopipe_core.errors import SpecError

__all__ = ["BatchExecutor", "MultiThreadExecutor", "SingleThreadExecutor"]

DEFAULT_BATCH_SIZE = 65_536
READ_AHEAD = 1
"""Items that are taken before they are asked for."""

T = TypeVar("T")
R = TypeVar("R")


class BatchExecutor(ABC):
    """Works on the batches of one pipe. Executors are frozen dataclasses without state.

    Attributes:
        batch_size: rows that a batch has at most.
    """

    batch_size: int

    @abstractmethod
    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """``work(item)`` for each item, in order.

        Items are taken from `items` only as results are taken from the iterator, but for a bounded read-ahead, and
        always in the thread that iterates. The exception of the first item in line that fails, or of `items`, ends
        the iteration: the same one whatever the number of threads. When the iterator is closed or fails, no thread
        is left at work.
        """

    def ahead(self, items: Iterable[T]) -> Iterator[T]:
        """The same items; an executor with threads takes a few of them in advance, in a thread of its own.

        The exception of `items` is raised when its turn comes. When the iterator is closed or fails, the thread has
        ended.
        """
        yield from items


def _check(name: str, value: int | None, optional: bool = False) -> None:
    if value is None and optional:
        return
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise SpecError(f"{name} has to be a whole number of at least 1, not {value!r}")


@dataclass(frozen=True)
class SingleThreadExecutor(BatchExecutor):
    """Works on one batch after the other, in the thread of the run.

    >>> list(SingleThreadExecutor().map(lambda n: n * 2, [1, 2, 3]))
    [2, 4, 6]

    Raises:
        SpecError: `batch_size` is below 1.
    """

    batch_size: int = DEFAULT_BATCH_SIZE

    def __post_init__(self) -> None:
        _check("batch_size", self.batch_size)

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        for item in items:
            yield work(item)


@dataclass(frozen=True)
class MultiThreadExecutor(BatchExecutor):
    """Works on several batches at a time and hands the results on in order.

    Outputs, rejects and failures are those of `SingleThreadExecutor`, byte for byte.

    Args:
        max_workers: threads; None: one for each core that this process may use.
        batch_size: rows that a batch has at most.

    At most ``max_workers + 1`` batches are in flight, so memory does not grow with the input.

    >>> list(MultiThreadExecutor(max_workers=2).map(lambda n: n * 2, [1, 2, 3]))
    [2, 4, 6]

    Raises:
        SpecError: an argument is below 1.
    """

    max_workers: int | None = None
    batch_size: int = DEFAULT_BATCH_SIZE

    def __post_init__(self) -> None:
        _check("max_workers", self.max_workers, optional=True)
        _check("batch_size", self.batch_size)

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        workers = self.max_workers or usable_cores()
        tasks: SimpleQueue[_Task[T, R] | None] = SimpleQueue()
        threads: list[threading.Thread] = []
        in_flight: deque[Future[R]] = deque()
        source = iter(items)
        try:
            while True:
                future: Future[R] = Future()
                try:
                    item = next(source)
                except StopIteration:
                    break
                except Exception as error:  # noqa: BLE001  its turn comes behind the items before it
                    future.set_exception(error)
                    in_flight.append(future)
                    break
                if len(threads) < workers:
                    thread = threading.Thread(target=_serve, args=(work, tasks), name="zoopipe-batch", daemon=True)
                    thread.start()
                    threads.append(thread)
                in_flight.append(future)
                tasks.put((item, future))
                del item  # a batch must not live on while this thread waits for a result
                if len(in_flight) >= workers + 1:
                    yield in_flight.popleft().result()
            while in_flight:
                yield in_flight.popleft().result()
        finally:
            for future in in_flight:
                future.cancel()
            for _ in threads:
                tasks.put(None)
            for thread in threads:
                thread.join()

    def ahead(self, items: Iterable[T]) -> Iterator[T]:
        ready: SimpleQueue[tuple[T | None, BaseException | None, bool]] = SimpleQueue()
        room, stopped = threading.Semaphore(READ_AHEAD), threading.Event()
        thread = threading.Thread(target=_fill, args=(items, ready, room, stopped), name="zoopipe-read", daemon=True)
        thread.start()
        try:
            while True:
                item, error, ended = ready.get()
                if error is not None:
                    raise error
                if ended:
                    return
                yield item  # type: ignore[misc]  # None only if the item is
                del item
                room.release()
        finally:
            stopped.set()
            room.release()
            thread.join()


def _fill(
    items: Iterable[T],
    ready: SimpleQueue[tuple[T | None, BaseException | None, bool]],
    room: threading.Semaphore,
    stopped: threading.Event,
) -> None:
    """Hand on items as long as there is room, and then how it ended."""
    try:
        for item in items:
            ready.put((item, None, False))
            del item
            room.acquire()
            if stopped.is_set():
                return
    except BaseException as error:  # noqa: BLE001  raised where the items are taken
        ready.put((None, error, True))
    else:
        ready.put((None, None, True))


_Task = tuple[T, Future[R]]


def _serve(work: Callable[[T], R], tasks: SimpleQueue[_Task[T, R] | None]) -> None:
    """Do tasks until there is a None."""
    while (task := tasks.get()) is not None:
        item, future = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work(item))
            except BaseException as error:  # noqa: BLE001  raised where the result is taken
                future.set_exception(error)
        del task, item, future  # a batch must not live on while its thread waits for the next
