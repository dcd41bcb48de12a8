"""What `RayEngine` and `DaskEngine` have in common: pipes as orders, one thread that looks after all workers.

    launch(task) ─▶ RemoteWorker ◀── step() ── Keeper (a thread of the engine) ── calls ──▶ ProcessHosts on the nodes
    report() ◀──── cached ───────────┘

The keeper also connects to the cluster, and lives until the engine is closed: the processes of a cluster that Ray has
started end with the thread that started them.
"""

from __future__ import annotations

import atexit
import base64
import functools
import io
import itertools
import json
import os
import pickle
import struct
import threading
import time
import weakref
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import cloudpickle

from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.engines.dependencies import find_project, needs_of
from zoopipe_core.engines.environment import Bundle, Need, lacking
from zoopipe_core.engines.keeper import TICK_SECONDS, Keeper
from zoopipe_core.engines.modules import is_installed
from zoopipe_core.engines.node import HEADER, Answer
from zoopipe_core.engines.node_main import CALL, TASK
from zoopipe_core.engines.payload import dump
from zoopipe_core.engines.remote_process import Asked, Host, RemoteProcess
from zoopipe_core.engines.sources import LocalSources
from zoopipe_core.engines.worker import failed_report, first_report
from zoopipe_core.errors import EngineError, LoadAbortedError, SpecError, ZoopipeError
from zoopipe_core.report import PipeReport, PipeStatus

__all__ = ["RemoteEngine", "RemoteWorker"]

T = TypeVar("T")
R = TypeVar("R")

CAPACITY_SECONDS = 5.0
MODES = ("sync", "check", "off")


class RemoteWorker(RemoteProcess, Worker):
    """A pipe at work on a cluster."""

    def __init__(
        self, task: WorkerTask, keeper: Keeper, place: Callable[[], Host], start: Callable[[Host], Asked]
    ) -> None:
        super().__init__(place, start)
        self._task = task
        self._keeper = keeper
        self._report = first_report(task)
        self._seen = ""

    def report(self) -> PipeReport:
        return self._report

    def stop(self) -> None:
        self._want("stop")

    def kill(self) -> None:
        self._want("kill")

    def close(self) -> None:
        super().close()
        self._keeper.wake()

    def _want(self, name: str) -> None:
        if not self.ended.is_set():
            self.wish(name)
            self._keeper.wake()

    def _take(self, answer: Answer) -> bool:
        if answer.report != self._seen:
            self._seen = answer.report
            self._report = PipeReport.from_dict(json.loads(answer.report))
        return self._report.is_finished

    def _end(self, error: ZoopipeError) -> None:
        report = failed_report(self._task, error, self._report)
        if isinstance(error, LoadAbortedError):
            report = replace(report, status=PipeStatus.ABORTED)
        self._report = report


class RemoteCall(RemoteProcess):
    """A function called on a cluster for some items, one after the other."""

    def __init__(self, place: Callable[[], Host], start: Callable[[Host], Asked]) -> None:
        super().__init__(place, start)
        self.error: ZoopipeError | None = None
        self.results: list[Any] = []

    def _take(self, answer: Answer) -> bool:
        if answer.result:
            self.results = _ResultUnpickler(io.BytesIO(base64.b64decode(answer.result))).load()
        return bool(answer.result)

    def _end(self, error: ZoopipeError) -> None:
        self.error = error


class RemoteEngine(BaseEngine):
    """Runs pipes on a cluster, each in a process of its own on one of the nodes.

    Args:
        dependencies: "sync": a worker that lacks a distribution that the project needs installs it, for the pipes of
            this engine only; "check": such a worker fails with an error that lists what is missing; "off": nobody
            looks, and no modules are sent either: classes of the project travel by value.
        project: the folder whose pyproject.toml, requirements.txt or lock file says what the project needs. Default:
            the nearest one that has such a file, from the current folder upwards.
        address, others: further arguments of the subclass, for a copy in another process.

    Raises:
        SpecError: `dependencies` is none of these.
    """

    def __init__(
        self, dependencies: str, project: str | os.PathLike[str] | None, address: str | None, **others: Any
    ) -> None:
        if dependencies not in MODES:
            raise SpecError(f"dependencies has to be one of {', '.join(map(repr, MODES))}, not {dependencies!r}")
        self._arguments = {"address": address, "dependencies": dependencies, "project": project, **others}
        self._mode = dependencies
        self._project = None if project is None else Path(project)
        self._sources = LocalSources()
        self._lock = threading.RLock()
        self._keeper: Keeper | None = None
        self._needs: tuple[Need, ...] | None = None
        self._capacity = (0.0, 1)
        _open_engines.add(self)

    def __repr__(self) -> str:
        # Other options may hold a password.
        shown = {name: self._arguments[name] for name in ("address", "project") if self._arguments[name] is not None}
        if self._mode != MODES[0]:
            shown["dependencies"] = self._mode
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return functools.partial(type(self), **self._arguments), ()

    # ---- what a cluster has to offer; called in the keeper's thread unless it says otherwise ----------------------

    @abstractmethod
    def _connect(self) -> None:
        """Connect to the cluster, or start one."""

    @abstractmethod
    def _disconnect(self) -> None:
        """Undo what `_connect` did."""

    @abstractmethod
    def _place(self) -> Host:
        """Ask for a host on some node, without waiting for it."""

    @abstractmethod
    def _start(self, host: Host, order: bytes, bundle: Bundle) -> Asked:
        """Ask a host to begin."""

    @abstractmethod
    def _count_slots(self) -> int:
        """How many workers the cluster has room for. From any thread."""

    @abstractmethod
    def _on_each_node(self, function: Callable[..., R], *arguments: Any) -> dict[str, R]:
        """``function(*arguments)`` on each node that is there now, by its name. From any thread."""

    # ---- an engine ----------------------------------------------------------------------------------------------

    @property
    def shares_files(self) -> bool:
        return False

    @property
    def capacity(self) -> int:
        """The workers that the cluster's CPUs have room for, at least 1.

        Raises:
            EngineError: there is no connection.
        """
        with self._lock:
            self._connected()
            looked, capacity = self._capacity
            if time.monotonic() > looked + CAPACITY_SECONDS:
                capacity = max(1, self._count_slots())
                self._capacity = (time.monotonic(), capacity)
            return capacity

    def launch(self, task: WorkerTask) -> Worker:
        with self._lock:
            keeper = self._connected()
            bundle = self._bundle()
            order = frame(TASK, dump(task, _is_there if self._mode == "off" else self._sources.holds))
        worker = RemoteWorker(task, keeper, self._place, functools.partial(self._begin, order, bundle))
        keeper.add(worker)
        return worker

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """``function(item)`` for each item, in order, on the nodes. The results are plain values or classes of ours.

        Raises:
            ZoopipeError: what `function` raised first; other errors become an EngineError.
        """
        remaining = list(items)
        if not remaining:
            return []
        with self._lock:
            keeper = self._connected()
            bundle = self._bundle()
            count = min(self.capacity, len(remaining))
        ends = [len(remaining) * part // count for part in range(count + 1)]
        calls = []
        for start, stop in itertools.pairwise(ends):
            order = frame(CALL, cloudpickle.dumps((function, remaining[start:stop])))
            call = RemoteCall(self._place, functools.partial(self._begin, order, bundle))
            calls.append(call)
            keeper.add(call)
        try:
            for call in calls:
                while not call.ended.wait(TICK_SECONDS):
                    if not keeper.is_alive():
                        raise EngineError("the engine was closed while it was at work")
                if call.error is not None:
                    raise call.error
        finally:
            for call in calls:
                call.close()
        return [result for call in calls for result in call.results]

    def _begin(self, order: bytes, bundle: Bundle, host: Host) -> Asked:
        return self._start(host, order, bundle)

    def missing(self) -> dict[str, str]:
        """What the nodes that are there now lack of what the project needs: node -> description; nothing: all is there.

        Raises:
            EngineError: there is no connection.
            SpecError: the project's files cannot be understood.
        """
        with self._lock:
            self._connected()
            needs = self._needed()
        return {
            node: lack for node, lack in sorted(self._on_each_node(lacking, tuple(map(tuple, needs))).items()) if lack
        }

    def close(self) -> None:
        with self._lock:
            keeper, self._keeper = self._keeper, None
            self._needs = None
            self._capacity = (0.0, 1)
        if keeper is not None:
            keeper.close()

    # ---- help ---------------------------------------------------------------------------------------------------

    def _connected(self) -> Keeper:
        """The keeper, of a connection that stands. With the lock held."""
        if self._keeper is None or not self._keeper.is_alive():
            keeper = Keeper(self._connect, self._disconnect)
            keeper.connect()
            self._keeper = keeper
            if self._mode == "check":
                self._check()
        return self._keeper

    def _check(self) -> None:
        lack = self.missing()
        if lack:
            self.close()
            nodes = "\n".join(f"  {node}: {what}" for node, what in lack.items())
            raise EngineError(
                f"workers lack what the project needs:\n{nodes}\nInstall it there, or let the engine do it: "
                "dependencies='sync'."
            )

    def _needed(self) -> tuple[Need, ...]:
        if self._needs is None:
            self._needs = needs_of(find_project((self._project or Path.cwd()).resolve()))
        return self._needs

    def _bundle(self) -> Bundle:
        if self._mode == "off":
            return Bundle(folder=os.getcwd())
        return Bundle(self._mode, self._needed(), self._sources.pack(), os.getcwd())


def _is_there(module: ModuleType) -> bool:
    """Whether workers import a module that were sent none: packages, and zoopipe, without which there is no worker."""
    return module.__name__.partition(".")[0] == "zoopipe_core" or is_installed(module)


def frame(kind: bytes, body: bytes) -> bytes:
    """An order for `zoopipe_core.engines.node_main`."""
    return struct.pack(HEADER, kind, len(body)) + body


class _ResultUnpickler(pickle.Unpickler):
    """Takes plain values, arrays and classes of ours: a node is not trusted with more."""

    _TAKEN = frozenset({
        ("builtins", "complex"), ("builtins", "frozenset"), ("builtins", "range"), ("builtins", "set"),
        ("builtins", "slice"), ("datetime", "date"), ("datetime", "datetime"), ("datetime", "time"),
        ("datetime", "timedelta"), ("datetime", "timezone"), ("decimal", "Decimal"), ("numpy", "dtype"),
        ("numpy", "ndarray"), ("numpy._core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "scalar"),
        ("numpy._core.numeric", "_frombuffer"),
    })  # fmt: skip

    def find_class(self, module: str, name: str) -> Any:
        found = super().find_class(module, name) if (module, name) in self._TAKEN else None
        if found is None and module.startswith("zoopipe_core.") and "." not in name:
            found = super().find_class(module, name)
            if not isinstance(found, type) or found.__module__ != module:
                found = None
        if found is None:
            raise EngineError(f"a node sent a {module}.{name}, which is not taken from one")
        return found


_open_engines: weakref.WeakSet[RemoteEngine] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for engine in tuple(_open_engines):
        engine.close()
