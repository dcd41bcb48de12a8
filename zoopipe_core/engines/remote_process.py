"""A process on a cluster as its driver sees it: placed, asked how it goes, told to stop, ended.

    step() is called by the engine's thread again and again; everything else only leaves a wish, and returns at once

No step waits for the cluster: what was asked is looked at in a later step.
"""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from zoopipe_core import errors
from zoopipe_core.engines.node import Answer
from zoopipe_core.errors import EngineError, LoadAbortedError, WorkerDiedError, ZoopipeError

__all__ = ["Asked", "Host", "LostError", "NeverBegunError", "RemoteProcess"]

UNANSWERED_SECONDS = 0.8
"""How long after `kill` the node's word is waited for."""
LEAVING_SECONDS = 3.0
"""How long a process that has given its result may take to end."""
SHOWN_STDERR_CHARS = 600
SHOWN_REASON_CHARS = 700
PLACES = 3
"""How many hosts are asked for, if the cluster takes them back before they begin."""
BEFORE_IT_BEGAN = "its worker was ended before it began"


class LostError(Exception):
    """The actor, its process or its node is gone; the message is the cluster's own."""


class NeverBegunError(LostError):
    """Its host is gone, and the cluster knows that it had not begun: an order to it may be given to another one."""


class Asked(ABC):
    """A call that was sent to a node."""

    @abstractmethod
    def is_answered(self) -> bool:
        """Whether `answer` returns, or raises, at once."""

    @abstractmethod
    def answer(self) -> Any:
        """What the call returned.

        Raises:
            LostError: there is nobody left to answer.
            Exception: what the call raised.
        """


class Host(ABC):
    """A `zoopipe_core.engines.node.ProcessHost` on some node."""

    @abstractmethod
    def ask(self, method: str, *arguments: Any) -> Asked:
        """Call one of its methods, without waiting for it.

        Raises:
            LostError: there is nobody left to be asked.
        """

    @abstractmethod
    def release(self) -> None:
        """End the actor. What it still runs is killed."""


class RemoteProcess(ABC):
    """One order, carried out on a cluster. Subclasses say what becomes of answers, and of the end.

    Args:
        place: asks the cluster for a host, and returns at once.
        start: asks a host to begin.
    """

    def __init__(self, place: Callable[[], Host], start: Callable[[Host], Asked]) -> None:
        self.ended = threading.Event()
        """Set when the outcome is known."""
        self._lock = threading.RLock()
        self._place = place
        self._start = start
        self._host: Host | None = None
        self._places = 0
        self._starting: Asked | None = None
        self._polling: Asked | None = None
        self._next_poll = 0.0
        self._wishes: dict[str, float] = {}
        self._granted: set[str] = set()
        self._ended_at = 0.0

    # ---- for subclasses -----------------------------------------------------------------------------------------

    @abstractmethod
    def _take(self, answer: Answer) -> bool:
        """Look at an answer of a process that was not found to have ended; True if its work is done."""

    @abstractmethod
    def _end(self, error: ZoopipeError) -> None:
        """It has ended without a result; for a LoadAbortedError, since it was told to."""

    # ---- from any thread ----------------------------------------------------------------------------------------

    def wish(self, name: str) -> None:
        """Ask for "stop", "kill" or "close" in the next step."""
        self._wishes.setdefault(name, time.monotonic())

    def close(self) -> None:
        """The outcome is settled now; the process, if there is one, is killed in the next steps."""
        self._finish(LoadAbortedError("the load was cancelled: its worker was closed"))
        self.wish("close")

    # ---- in the engine's thread ---------------------------------------------------------------------------------

    def step(self, interval: float) -> bool:
        """Go as far as is possible without waiting; True once there is nothing left to do.

        Args:
            interval: seconds from one poll to the next.
        """
        try:
            return self._step(interval)
        except LostError as error:
            self._finish(self._died(f"the worker was lost: {str(error).strip()[:SHOWN_REASON_CHARS]}"))
        except Exception as error:  # noqa: BLE001  the report tells; the engine's thread serves other workers too
            failure = EngineError(f"the worker cannot be reached: {type(error).__name__}: {str(error)[:1000]}")
            failure.__cause__ = error
            self._finish(failure)
        self._leave()
        return True

    def _step(self, interval: float) -> bool:
        if self._host is None:
            if self._wishes:
                self._finish(self._died(BEFORE_IT_BEGAN))
                return True
            self._host = self._place()
            self._places += 1
            self._starting = self._start(self._host)
        if self._starting is not None and self._starting.is_answered():
            started, self._starting = self._starting, None
            try:
                started.answer()
            except NeverBegunError:
                if self._wishes or self._places >= PLACES:
                    raise
                self._leave()  # the next step asks for another one
                return False
        self._grant(self._host)
        self._poll(self._host, interval)
        return self._is_over()

    def _grant(self, host: Host) -> None:
        for name in ("stop", "kill"):
            wanted = name in self._wishes or (name == "kill" and "close" in self._wishes)
            if wanted and name not in self._granted and self._starting is None:
                self._granted.add(name)
                host.ask(name)
                self._next_poll = 0.0

    def _poll(self, host: Host, interval: float) -> None:
        now = time.monotonic()
        if self._polling is not None and self._polling.is_answered():
            asked, self._polling = self._polling, None
            self._look_at(Answer(*json.loads(asked.answer())))
        if self._polling is None and self._starting is None and now >= self._next_poll:
            self._polling = host.ask("poll")
            self._next_poll = now + interval

    def _look_at(self, answer: Answer) -> None:
        with self._lock:
            if not self.ended.is_set() and self._take(answer):
                self._finish(None)
        if answer.exit_code is None:
            return
        if answer.error is not None:
            self._finish(_as_raised(*answer.error))
        else:
            self._finish(self._died(_describe_end(answer) if answer.pid else BEFORE_IT_BEGAN))
        self._ended_at = 0.0  # there is no process left to wait for

    def _is_over(self) -> bool:
        if self._is_overdue("kill", "close"):
            self._finish(self._died("its worker was killed; the node has not answered since"))
            self._ended_at = 0.0
        elif self._starting is not None and self._is_overdue("stop"):
            self._finish(self._died(BEFORE_IT_BEGAN))  # it waits for room in the cluster
            self._ended_at = 0.0
        if self.ended.is_set() and time.monotonic() > self._ended_at + LEAVING_SECONDS:
            self._leave()
            return True
        return False

    def _is_overdue(self, *names: str) -> bool:
        told = min((self._wishes[name] for name in names if name in self._wishes), default=math.inf)
        return time.monotonic() > told + UNANSWERED_SECONDS

    def _finish(self, error: ZoopipeError | None) -> None:
        with self._lock:
            if not self.ended.is_set():
                if error is not None:
                    self._end(error)
                self._ended_at = time.monotonic()
                self.ended.set()

    def _died(self, how: str) -> ZoopipeError:
        return LoadAbortedError(f"the load was cancelled: {how}") if self._wishes else WorkerDiedError(how)

    def _leave(self) -> None:
        host, self._host = self._host, None
        if host is not None:
            host.release()


def _as_raised(name: str, message: str) -> ZoopipeError:
    """The error that a node told of, which travels as two strings; those that are not ours as an EngineError."""
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, ZoopipeError):
        return kind(message)
    return EngineError(f"{name}: {message}")


def _describe_end(answer: Answer) -> str:
    code = answer.exit_code or 0
    if code >= 0:
        how = f"with exit code {code}"
    else:
        try:
            how = f"killed by {signal.Signals(-code).name}"
        except ValueError:  # a real-time signal
            how = f"killed by signal {-code}"
        if -code == signal.SIGKILL:
            how += ", which is also how the system answers a lack of memory"
    words = answer.stderr.strip()
    tail = f"; the end of its standard error:\n{words[-SHOWN_STDERR_CHARS:]}" if words else ""
    return f"the worker process {answer.pid} on {answer.node} ended without a result, {how}{tail}"
