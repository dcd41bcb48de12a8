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
CALL_SECONDS = 60.0
# report() and stop() are answered while the load runs.
CALLS_AT_A_TIME = 4


class RayDetachedLoads(DetachedLoads):
    """Those of a Ray cluster. This process is connected to one cluster at a time, as Ray has it.

    Args:
        address: ``"host:port"`` or ``"auto"``.

    Raises:
        EngineError: it cannot be reached.
    """

    def __init__(self, address: str) -> None:
        self._is_ours = not ray.is_initialized()
        if self._is_ours:
            from zoopipe_core.engines.ray import reaching

            try:
                with reaching(address):
                    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except (OSError, RuntimeError) as error:
                raise EngineError(f"the Ray cluster at {address} does not answer: {error}") from error

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
        if self._is_ours:
            ray.shutdown()


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
