"""Faults at named points of a load, for tests of what a load leaves behind.

with fault("after_ledger", "raise"):          in this process
    pipe.run()

with CommitProxy("/run/postgresql/.s.PGSQL.5432", deliver=True) as proxy:
    Pipe(source, SQLOutputAdapter(f"postgresql://me@127.0.0.1:{proxy.port}/db", "t", "append")).run()
"""

from __future__ import annotations

import os
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


FAULTS: dict[str, Callable[[], None]] = {"kill": _kill, "raise": _raise}


@contextmanager
def fault(point: str, kind: str) -> Iterator[None]:
    """Make something go wrong whenever a load of this process comes to a point.

    Args:
        point: one of `POINTS`.
        kind: ``"raise"`` an `InjectedError`, or ``"kill"`` this process with SIGKILL.

    Raises:
        KeyError: there is no such point or fault.
    """
    if point not in POINTS:
        raise KeyError(f"there is no point {point!r}; there are {', '.join(POINTS)}")
    handlers[point] = FAULTS[kind]
    try:
        yield
    finally:
        del handlers[point]


class CommitProxy:
    """Stands in front of a PostgreSQL server on the loopback interface, and cuts a connection at its first COMMIT.

    Args:
        path: of the server's socket.
        deliver: let the server have the COMMIT, whose answer is then lost; else the COMMIT is lost.
        times: how many connections are cut; later ones are left alone.

    Attributes:
        port: to connect to.
        cuts: how many connections were cut so far.
    """

    def __init__(self, path: str, *, deliver: bool, times: int = 1) -> None:
        self._path, self._deliver, self._times = path, deliver, times
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
