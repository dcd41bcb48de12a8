"""`ZoosyncPoolEngine`: warm processes on this machine, kept across runs."""

from __future__ import annotations

import contextlib
import os

from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.local import LocalEngine, LocalWorker, Message
from zoopipe_core.engines.pool import shared_pool

__all__ = ["ZoosyncPoolEngine"]


class ZoosyncPoolEngine(LocalEngine):
    """Runs pipes in processes that have imported everything and loaded the kernels before, and are used again.

    Args:
        n_workers: how many processes there are; None: one for each core that this process may use.

    Engines of equal size share one pool. Its processes start when they are first needed and stay until `close`, or
    until this process ends. A pipe runs as in a fresh process: in the folder and with the environment of the moment,
    and never with code that was changed since it was imported. What earlier pipes left in the memory of modules, it
    sees; where that matters, use `MultiProcessEngine`.

    >>> ZoosyncPoolEngine(n_workers=2)
    ZoosyncPoolEngine(n_workers=2)

    Raises:
        SpecError: `n_workers` is below 1.
    """

    def __init__(self, n_workers: int | None = None) -> None:
        super().__init__("n_workers", n_workers)

    @property
    def n_workers(self) -> int | None:
        """The number that was given."""
        return self._count

    def warm(self) -> None:
        """Start the processes of the pool that are missing, without waiting for them.

        Raises:
            EngineError: a process cannot be started.
        """
        shared_pool(self.capacity).fill()

    def close(self) -> None:
        """End the workers that this engine has launched, and the idle processes of its pool."""
        super().close()
        shared_pool(self.capacity).clear()

    def _launch(self, task: WorkerTask) -> LocalWorker:
        surroundings = {"folder": _folder(), "environment": dict(os.environ)}
        with contextlib.closing(Message(task, surroundings)) as message:
            return shared_pool(self.capacity).launch(task, message)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except FileNotFoundError:  # removed; a fresh process would be nowhere too
        return None
