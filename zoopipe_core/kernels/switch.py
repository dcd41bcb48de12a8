"""When a load begins to use kernels.

A small load never touches them. From `MIN_ROWS` on they are loaded, if they were compiled before; if not, they are
compiled by a process of its own while the load goes on with pydantic, and taken up when they are there.
"""

from __future__ import annotations

import logging
import os
import threading

from zoopipe_core.errors import KernelError

__all__ = ["SWITCH", "KernelSwitch"]

logger = logging.getLogger(__name__)

MIN_ROWS = 20_000
"""Rows that pydantic validates in about the time that loading the kernels takes."""

MIN_BATCH_ROWS = 64
"""Rows that Python writes in about the time that it takes to call kernels for each column."""


class KernelSwitch:
    """Decides for the loads of one process; used by several threads."""

    def __init__(self) -> None:
        self._ready = False
        self.after_fork()

    def after_fork(self) -> None:
        """Begin anew in a child process: locks and threads of the parent are not its own; what was loaded is."""
        self._lock = threading.Lock()
        self._rows = 0
        self._tried = False

    def ready(self, rows: int) -> bool:
        """Whether a batch of `rows` rows may go through kernels.

        One call in the life of a process loads them, which takes about as long as pydantic takes for a batch, and
        the calls of other threads wait for that one. None waits for a compiler.
        """
        if self._ready:
            return True
        with self._lock:
            if not self._tried:
                self._rows += rows
                if self._rows >= MIN_ROWS:
                    self._tried = True
                    self._ready = self._load()
            return self._ready

    def expect_many(self) -> None:
        """So many rows are about to come that the first batch of them loads the kernels."""
        with self._lock:
            self._rows = max(self._rows, MIN_ROWS)

    def worthwhile(self, rows: int) -> bool:
        """Whether the text of so many rows, which were counted before, is better made by kernels."""
        return rows >= MIN_BATCH_ROWS and self.ready(0)

    def _load(self) -> bool:
        from zoopipe_core.kernels import native  # a small load does not pay for the import

        if native.is_disabled():
            return False
        if native.load():
            return True
        if os.environ.get("ZOOPIPE_KERNELS", "").lower() != "cached":
            threading.Thread(target=self._compile, name="zoopipe-kernels", daemon=True).start()
        return False

    def _compile(self) -> None:
        from zoopipe_core.kernels import native
        from zoopipe_core.kernels.compiler import compile_kernels

        try:
            compile_kernels(background=True)
        except (KernelError, OSError) as error:
            logger.warning("kernels are not used, pydantic does it all: %s", error)
            return
        self._ready = native.load()


SWITCH = KernelSwitch()
"""The switch of this process."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SWITCH.after_fork)
