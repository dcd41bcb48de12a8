"""The thread of an engine that talks to a cluster: connects, steps through all processes, disconnects."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from zoopipe_core.engines.remote_process import RemoteProcess
from zoopipe_core.errors import EngineError, ZoopipeError

__all__ = ["TICK_SECONDS", "Keeper"]

TICK_SECONDS = 0.05
POLL_SECONDS = 0.25
"""From one look at a worker to the next, while there are not many."""
POLLS_PER_SECOND = 400
MAX_POLL_SECONDS = 0.7
CLOSE_SECONDS = 5.0


class Keeper(threading.Thread):
    """The thread of an engine that talks to the cluster."""

    def __init__(self, connect: Callable[[], None], disconnect: Callable[[], None]) -> None:
        super().__init__(name="zoopipe-cluster", daemon=True)
        self._connect = connect
        self._disconnect = disconnect
        self._wake = threading.Event()
        self._connected = threading.Event()
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._new: list[RemoteProcess] = []
        self._closing = False

    def connect(self) -> None:
        """Start, and wait for the connection.

        Raises:
            EngineError: there is none.
        """
        self.start()
        self._connected.wait()
        if isinstance(self._error, ZoopipeError):
            raise self._error
        if self._error is not None:
            raise EngineError(
                f"the cluster cannot be reached or started: {type(self._error).__name__}: {self._error}"
            ) from self._error

    def add(self, process: RemoteProcess) -> None:
        """Look after `process` from now on."""
        with self._lock:
            self._new.append(process)
        self._wake.set()

    def wake(self) -> None:
        """Look at all processes now rather than soon."""
        self._wake.set()

    def close(self) -> None:
        """End all processes and the connection, and wait for that up to `CLOSE_SECONDS`."""
        self._closing = True
        self._wake.set()
        if self is not threading.current_thread():
            self.join(2 * CLOSE_SECONDS)

    def run(self) -> None:
        try:
            self._connect()
        except Exception as error:  # noqa: BLE001  raised by `connect`, in the thread of who waits there
            self._error = error
            return
        finally:
            self._connected.set()
        processes: list[RemoteProcess] = []
        try:
            self._look_after(processes)
        finally:
            for process in processes:
                process.close()
            self._disconnect()

    def _look_after(self, processes: list[RemoteProcess]) -> None:
        deadline: float | None = None
        while True:
            with self._lock:
                processes += self._new
                self._new.clear()
            if self._closing:
                deadline = deadline or time.monotonic() + CLOSE_SECONDS
                for process in processes:
                    process.close()
                if not processes or time.monotonic() > deadline:
                    return
            interval = min(max(POLL_SECONDS, len(processes) / POLLS_PER_SECOND), MAX_POLL_SECONDS)
            processes[:] = [process for process in processes if not process.step(interval)]
            self._wake.wait(TICK_SECONDS if processes else None)
            self._wake.clear()
