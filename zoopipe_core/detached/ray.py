"""Detached loads on Ray: a detached actor for each, found by its name."""

from __future__ import annotations

import logging
import threading
from typing import Any

from zoopipe_core.detached.base import DetachedLoads, DetachedState, died
from zoopipe_core.detached.driver import Order, drive
from zoopipe_core.errors import EngineError, MissingDependencyError

try:
    import ray
    from ray.exceptions import GetTimeoutError, RayActorError
except ImportError as error:
    raise MissingDependencyError.build("ray", "ray", "detached loads on Ray") from error

__all__ = ["RayDetachedLoads"]

NAMESPACE = "zoopipe"
CONNECT_SECONDS = 30.0
CALL_SECONDS = 30.0  # in half of the time after which Ray ends a process whose cluster is gone
# report() and stop() are answered while the load runs.
CALLS_AT_A_TIME = 4


class _Connection:
    """A process is connected to one Ray cluster at a time: whoever is there for the same one shares it, others wait.

    It is left as soon as nobody needs it: Ray ends a process whose cluster has been gone for a minute.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._address: str | None = None
        self._users = 0
        self._is_ours = False

    def enter(self, address: str) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._users or self._address == address, CONNECT_SECONDS):
                raise EngineError(f"this process is connected to the Ray cluster at {self._address}, not to {address}")
            if not self._users:
                self._is_ours = not ray.is_initialized()
                if self._is_ours:
                    _connect(address)
                self._address = address
            self._users += 1

    def leave(self) -> None:
        with self._changed:
            self._users -= 1
            if not self._users and self._is_ours:
                ray.shutdown()
            self._changed.notify_all()


_CONNECTION = _Connection()


def _connect(address: str) -> None:
    from zoopipe_core.engines.ray import reaching

    try:
        with reaching(address):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError) as error:
        raise EngineError(f"the Ray cluster at {address} does not answer: {error}") from error


class RayDetachedLoads(DetachedLoads):
    """Those of a Ray cluster. Threads may look at the same cluster at once; one that wants another waits its turn.

    Args:
        address: ``"host:port"`` or ``"auto"``.

    Raises:
        EngineError: it cannot be reached, or this process does not leave another Ray cluster.
    """

    def __init__(self, address: str) -> None:
        _CONNECTION.enter(address)
        self._is_open = True

    def _start(self, name: str, order: Order, first: DetachedState) -> None:
        options = {"name": name, "namespace": NAMESPACE, "lifetime": "detached", "get_if_exists": True}
        limits = {"num_cpus": 0, "max_restarts": 0, "max_concurrency": CALLS_AT_A_TIME}
        actor: Any = ray.remote(Driver).options(**options, **limits).remote(order, first.to_dict())
        ray.get(actor.state.remote(), timeout=CALL_SECONDS)

    def look(self, name: str) -> DetachedState | None:
        actor = _find(name)
        if actor is None:
            return None
        try:
            return DetachedState.from_dict(ray.get(actor.state.remote(), timeout=CALL_SECONDS))
        except RayActorError as error:
            from zoopipe_core.report import PipeReport

            return died(DetachedState(PipeReport()), str(error))
        except GetTimeoutError as error:
            raise EngineError(f"the driver of {name} on the Ray cluster does not answer") from error

    def stop(self, name: str) -> None:
        actor = _find(name)
        if actor is not None:
            actor.stop.remote()

    def forget(self, name: str) -> None:
        actor = _find(name)
        if actor is not None:
            ray.kill(actor, no_restart=True)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            _CONNECTION.leave()


def _find(name: str) -> Any:
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None


class Driver:
    """The actor: runs one load in a thread of its own.

    Args:
        order: what to run.
        first: what is to be seen until it has begun.
    """

    def __init__(self, order: Order, first: dict[str, Any]) -> None:
        self._state = first
        self._stop = threading.Event()
        threading.Thread(target=self._run, args=(order,), name="zoopipe-driver", daemon=True).start()

    def state(self) -> dict[str, Any]:
        """The latest."""
        return self._state

    def stop(self) -> None:
        """Have the load aborted."""
        self._stop.set()

    def _run(self, order: Order) -> None:
        from zoopipe_core.engines.ray import RayEngine

        def tell(state: dict[str, Any]) -> None:
            self._state = state

        drive(order, lambda dependencies: RayEngine(dependencies=dependencies), tell, self._stop.is_set)
