"""`MultiProcessEngine`: one fresh process for each pipe, on this machine."""

from __future__ import annotations

import contextlib

from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.local import LocalEngine, LocalWorker, Message
from zoopipe_core.engines.process import Interpreter

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

    def _launch(self, task: WorkerTask) -> LocalWorker:
        with contextlib.closing(Message(task, {})) as message:
            interpreter = Interpreter(keep=False)
            try:
                return LocalWorker(task, interpreter, message)
            except BaseException:
                interpreter.kill()
                raise
