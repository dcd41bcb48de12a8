"""Detached loads on Dask: a task that no client waits for, and variables of the scheduler by which it is heard of.

<name>           the task; it leaves its thread to others while its shards run
<name>/state     what it has told last
<name>/stop      is there if it is to stop
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from zoopipe_core.detached.base import DetachedLoads, DetachedState, died
from zoopipe_core.detached.driver import Order, drive
from zoopipe_core.errors import EngineError, MissingDependencyError

try:
    from distributed import Client, Variable, fire_and_forget, get_client, secede
except ImportError as error:
    raise MissingDependencyError.build("distributed", "dask", "detached loads on Dask") from error

__all__ = ["DaskDetachedLoads"]

CONNECT_SECONDS = 30.0
# A variable that is not there is waited for: there is no other way to ask.
LOOK_SECONDS = 0.3


class DaskDetachedLoads(DetachedLoads):
    """Those of a Dask scheduler.

    Args:
        address: such as ``"tcp://10.0.0.1:8786"``.

    Raises:
        EngineError: it cannot be reached.
    """

    def __init__(self, address: str) -> None:
        try:
            self._client = Client(address, set_as_default=False, timeout=CONNECT_SECONDS)
        except OSError as error:
            raise EngineError(f"the Dask scheduler at {address} does not answer: {error}") from error

    def _start(self, name: str, order: Order, first: DetachedState) -> None:
        if self._told(name) is not None:
            return
        _variable(self._client, name, "state").set(json.dumps(first.to_dict()))
        future = self._client.submit(_drive, name, order, key=name, pure=False, retries=0)
        fire_and_forget(future)
        # Not before the scheduler knows the task: it would be lost with this client.
        self._task(name)

    def look(self, name: str) -> DetachedState | None:
        status = self._task(name)
        told = self._told(name)  # after the status: what ends meanwhile has told so
        if told is None or told.report.is_finished or status not in (None, "erred", "forgotten"):
            return told
        return died(told, "its Dask worker has died, or has no zoopipe-plugins" if status else "Dask knows it no more")

    def stop(self, name: str) -> None:
        if self._told(name) is not None:
            _variable(self._client, name, "stop").set(True)

    def forget(self, name: str) -> None:
        state = self.look(name)
        if state is None:
            return
        if not state.report.is_finished:
            self.stop(name)
            return  # the driver, which undoes its load now, would only make the variable again
        for kind in ("state", "stop"):
            _variable(self._client, name, kind).delete()

    def close(self) -> None:
        self._client.close()

    def _task(self, name: str) -> str | None:
        """The state of the driver's task; None if the scheduler does not know it, or not any more."""
        scheduler: Any = self._client.scheduler
        found: dict[str, str | None] = self._client.sync(scheduler.get_task_status, keys=[name])
        return found.get(name)

    def _told(self, name: str) -> DetachedState | None:
        text = _get(_variable(self._client, name, "state"))
        return None if text is None else DetachedState.from_dict(json.loads(text))


def _variable(client: Client, name: str, kind: str) -> Variable:
    return Variable(f"{name}/{kind}", client=client)


def _get(variable: Variable) -> Any:
    try:
        return variable.get(timeout=LOOK_SECONDS)
    except (asyncio.TimeoutError, TimeoutError):  # noqa: UP041  not the same before Python 3.11
        return None


def _drive(name: str, order: Order) -> None:
    """The task, in a thread of a Dask worker."""
    from zoopipe_core.engines.dask import DaskEngine

    client = get_client()
    secede()
    state, stop = _variable(client, name, "state"), _variable(client, name, "stop")
    drive(
        order,
        lambda dependencies: DaskEngine(client=client, dependencies=dependencies),
        lambda told: state.set(json.dumps(told)),
        lambda: _get(stop) is not None,
    )
