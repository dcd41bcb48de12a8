"""When a load begins to use kernels.

A small load never touches them. From `MIN_ROWS` on they are loaded, if they were compiled before; if not, they are
compiled by a process of its own while the load goes on with pydantic, and taken up when they are there.
"""

from __future__ import annotations

import logging
import subprocess
import threading

from zoopipe_core.kernels import native

__all__ = ["SWITCH", "KernelSwitch"]

logger = logging.getLogger(__name__)

MIN_ROWS = 20_000
"""Rows that pydantic validates in about the time that loading the kernels takes."""


class KernelSwitch:
    """Decides for the loads of one process; used by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = 0
        self._ready = False
        self._tried = False
        self._compiler: subprocess.Popen[bytes] | None = None

    def ready(self, rows: int) -> bool:
        """Whether a batch of `rows` rows may go through kernels."""
        if self._ready:
            return True
        if native.is_disabled():
            return False
        with self._lock:
            self._rows += rows
            if self._rows >= MIN_ROWS and not self._ready:
                self._ready = self._try()
            return self._ready

    def _try(self) -> bool:
        if self._compiler is not None:
            if self._compiler.poll() is None:
                return False
            if self._compiler.returncode:
                logger.warning(
                    "compiling kernels failed (exit code %s); pydantic does it all", self._compiler.returncode
                )
            self._compiler = None
        elif self._tried:
            return False
        if native.load():
            return True
        if not self._tried:
            self._tried = True
            self._compiler = native.compile_in_background()
        return False


SWITCH = KernelSwitch()
"""The switch of this process."""
