"""Faults at named points of a load, for tests of what a load leaves behind.

with fault("after_ledger", "raise"):          in this process
    pipe.run()

with fault("after_ledger", "kill_writing"):   in a process of its own, which dies with half of the COMMIT on the disk
    pipe.run()

with CommitProxy("/run/postgresql/.s.PGSQL.5432", deliver=True) as proxy:
    Pipe(source, SQLOutputAdapter(f"postgresql://me@127.0.0.1:{proxy.port}/db", "t", "append")).run()
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

from zoopipe_core._faults import POINTS, handlers

__all__ = ["FAULTS", "POINTS", "CommitProxy", "InjectedError", "fault"]


class InjectedError(Exception):
    """What a fault of the kind ``"raise"`` raises."""


def _raise() -> None:
    raise InjectedError("injected")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


TORN_BYTES = 1_000
"""Less than any target writes to commit a load, and no multiple of a page."""

FAULTS: dict[str, Callable[[], None]] = {
    "disk_full": lambda: _limit_files(0),
    "kill": _kill,
    "kill_writing": lambda: _limit_files(TORN_BYTES),
    "raise": _raise,
}


@contextmanager
def fault(point: str, kind: str | Callable[[], None]) -> Iterator[None]:
    """Make something go wrong whenever a load of this process comes to a point. To be used in the main thread.

    Args:
        point: one of `POINTS`.
        kind: ``"raise"`` an `InjectedError`; ``"kill"`` this process with SIGKILL; ``"disk_full"``: from there on no
            file takes a byte; ``"kill_writing"``: from there on the process dies of the first write that goes beyond
            `TORN_BYTES` of a file, with the bytes before them written. Or what to call.

    Raises:
        KeyError: there is no such point or fault.
    """
    if point not in POINTS:
        raise KeyError(f"there is no point {point!r}; there are {', '.join(POINTS)}")
    action = FAULTS[kind] if isinstance(kind, str) else kind
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Python itself ignores this signal, and sees the error.
    before = signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kind == "kill_writing" else signal.SIG_IGN)
    handlers[point] = action
    try:
        yield
    finally:
        del handlers[point]
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)


class CommitProxy:
    """Stands in front of a PostgreSQL server on the loopback interface, and cuts a connection at its first COMMIT.

    Args:
        path: of the server's socket.
        deliver: let the server have the COMMIT, whose answer is then lost; else the COMMIT is lost.
        times: how many connections are cut so; later ones are left alone.

    Attributes:
        port: to connect to.
        cuts: how many connections were cut at a COMMIT so far.
    """

    def __init__(self, path: str, *, deliver: bool = True, times: int = 1) -> None:
        self._path, self._deliver, self._times = path, deliver, times
        self._links: list[_Link] = []
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def cut(self) -> None:
        """Cut all connections now, whatever they are at."""
        for link in self._links:
            link.close()

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._path)
            link = _Link(client, server)
            self._links.append(link)
            self._start(lambda link=link: self._forward(link))  # type: ignore[misc]
            self._start(lambda link=link: self._answer(link))  # type: ignore[misc]

    def _forward(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.client.recv(65_536):
                if b"COMMIT\0" in data and self.cuts < self._times:
                    self.cuts += 1
                    link.is_cut = True
                    if not self._deliver:
                        break
                link.server.sendall(data)
                if link.is_cut:
                    link.answered.wait(10)
                    break
        link.close()

    def _answer(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.server.recv(65_536):
                if link.is_cut:
                    link.answered.set()
                    break
                link.client.sendall(data)
        if not link.is_cut:
            link.close()


class _Link:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.is_cut = False
        self.answered = threading.Event()

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
