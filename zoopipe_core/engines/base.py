"""What an engine is: something that runs pipes elsewhere, and says of each how it goes.

    engine.expect(count)                 so many tasks will come: a time to get ready
    engine.launch(task) -> Worker        at most `capacity` of them at a time
    worker.report()                      the latest PipeReport, final once the worker has ended in whatever way
    worker.stop(), worker.kill()         ask it to undo its load; end it now
    worker.close()                       release everything that belongs to it
    engine.close()                       end what is still there

An engine only launches, watches, stops and collects. Which pipes run, how often one is tried, and what is published is
the manager's business; what happens within a worker is `zoopipe_core.engines.worker`'s, the same for every engine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from zoopipe_core.executors import MultiThreadExecutor
from zoopipe_core.report import PipeReport

if TYPE_CHECKING:
    from zoopipe_core.pipe import Pipe

__all__ = ["BaseEngine", "Worker", "WorkerTask"]

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class WorkerTask:
    """A pipe to be run by one worker.

    Attributes:
        index: the pipe's place in its manager, from 0; becomes `PipeReport.pipe_index`.
        pipe: runs as it is; a shard of a larger load names its own part of input and output.
        attempt: from 1; becomes `PipeReport.attempt`.
    """

    index: int
    pipe: Pipe
    attempt: int = 1


class Worker(ABC):
    """One pipe at work, as the manager sees it. All methods return at once, and may be called from any thread."""

    @abstractmethod
    def report(self) -> PipeReport:
        """The latest snapshot, with the task's index and attempt; PENDING until the worker has begun.

        Final once the worker has ended, in whatever way: a worker that died is FAILED, and its exception is a
        `WorkerDiedError` that tells exit code or signal. A final report stays what it is.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ask the worker to abort its load and undo it. Its report becomes ABORTED unless it has ended before."""

    @abstractmethod
    def kill(self) -> None:
        """End the worker and all that it started, now. Its report becomes final within a second."""

    @abstractmethod
    def close(self) -> None:
        """Release what belongs to the worker, which is killed if it still runs. May be called twice."""


class BaseEngine(ABC):
    """Runs pipes elsewhere. One engine may serve several managers, one after the other or at a time."""

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many workers may usefully run at a time; the manager keeps the others waiting."""

    @property
    def shares_files(self) -> bool:
        """Whether the workers are sure to see the files of this process, its temporary ones among them."""
        return True

    @abstractmethod
    def launch(self, task: WorkerTask) -> Worker:
        """Start a worker for `task`, without waiting for it.

        Raises:
            SpecError: the pipe cannot be sent to another process; the message names the part.
            EngineError: no worker can be started at all.
        """

    def expect(self, count: int) -> None:
        """So many tasks are about to be launched, and no more: an engine may get ready for them meanwhile.

        What was made ready for a larger number before is given up; 0 gives up all. Never needed: it saves time only,
        and whatever fails is left for `launch` to tell.
        """
        return

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """``function(item)`` for each item, in order: for planning, such as finding where shards begin.

        By default in threads of this process; an engine whose machines are nearer to the data may do it there.
        """
        return list(MultiThreadExecutor().map(function, items))

    def close(self) -> None:
        """End all workers, and release what the engine holds. It may be used again afterwards."""
        return

    def __repr__(self) -> str:
        """The same in each process, and without secrets: schedulers keep it, and take another one for a change."""
        return f"{type(self).__name__}()"
