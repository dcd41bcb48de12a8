"""Engines by name, for flows whose parameters are plain text."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from prefect.context import FlowRunContext

if TYPE_CHECKING:
    from zoopipe_core import BaseEngine

__all__ = ["engine_in_use"]

# Tasks that run at a time share what a name stands for: a cluster that one of them has started serves all.
_lock = threading.Lock()
_engines: dict[str, BaseEngine] = {}
_users: dict[str, int] = {}

# Its processes are there to be used again, by the next task too; they end with this process.
_KEPT_WARM = "zoosync"


@contextmanager
def engine_in_use(engine: BaseEngine | str | None) -> Iterator[BaseEngine | None]:
    """The engine that is meant, for as long as the block lasts.

    Args:
        engine: one of your own, which you close; None for that of the manager; or ``"multiprocess"``, ``"zoosync"``,
            ``"ray"`` or ``"dask"``, with the settings that these engines have by default.

    What a name stands for is closed when its last user has left, but for the warm processes of ``"zoosync"``. A cluster
    that the flow's tasks run on, by prefect-dask or prefect-ray, is used and stays.

    >>> with engine_in_use("multiprocess") as engine:
    ...     type(engine).__name__
    'MultiProcessEngine'

    Raises:
        ValueError: there is no engine of this name.
        MissingDependencyError, ImportError: its extra is not installed.
    """
    if not isinstance(engine, str):
        yield engine
        return
    shared = _enter(engine)
    try:
        yield shared
    finally:
        _leave(engine)


def _enter(name: str) -> BaseEngine:
    make = _MAKERS.get(name)
    if make is None:
        raise ValueError(f"engine has to be one of {', '.join(map(repr, _MAKERS))}, or an engine, not {name!r}")
    with _lock:
        if name not in _engines:
            _engines[name] = make()
        _users[name] = _users.get(name, 0) + 1
        return _engines[name]


def _leave(name: str) -> None:
    with _lock:
        _users[name] -= 1
        if not _users[name] and name != _KEPT_WARM:
            _engines.pop(name).close()


def _dask() -> BaseEngine:
    from zoopipe_core.engines.dask import DaskEngine

    return DaskEngine(client=_client_of_the_flow())


def _client_of_the_flow() -> Any:
    """The client of the Dask cluster that the flow's tasks run on; None if they run elsewhere.

    Dask itself knows of it within such tasks only. Ray is asked by its engine, since it is one for a process.
    """
    runners, flow = sys.modules.get("prefect_dask.task_runners"), FlowRunContext.get()
    if runners is None or flow is None or not isinstance(flow.task_runner, runners.DaskTaskRunner):
        return None
    client = flow.task_runner.client
    return None if client.asynchronous else client


def _multiprocess() -> BaseEngine:
    from zoopipe_core import MultiProcessEngine

    return MultiProcessEngine()


def _ray() -> BaseEngine:
    from zoopipe_core.engines.ray import RayEngine

    return RayEngine()


def _zoosync() -> BaseEngine:
    from zoopipe_core import ZoosyncPoolEngine

    return ZoosyncPoolEngine()


_MAKERS: dict[str, Callable[[], BaseEngine]] = {
    "dask": _dask,
    "multiprocess": _multiprocess,
    "ray": _ray,
    "zoosync": _zoosync,
}
