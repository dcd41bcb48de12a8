"""Pipes on a Ray cluster, each in a process of its own below an actor.

An actor holds CPUs of its node for as long as its pipe runs, so Ray places workers, and keeps others waiting, as it
does for whatever else runs there. Ray re-runs nothing: trying again is the manager's business.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

from zoopipe_core.engines import environment, node
from zoopipe_core.engines.environment import Bundle
from zoopipe_core.engines.node import ProcessHost
from zoopipe_core.engines.remote import RemoteEngine
from zoopipe_core.engines.remote_process import Asked, Host, LostError, NeverBegunError
from zoopipe_core.errors import EngineError, MissingDependencyError, SpecError

try:
    import ray
    from ray import cloudpickle
    from ray._private import ray_constants, services
    from ray.exceptions import RayActorError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise MissingDependencyError.build("ray", "ray", "RayEngine") from error

__all__ = ["RayEngine", "reaching"]

R = TypeVar("R")

NEVER_RAN = "The actor never ran"  # Ray tells it in the text of the error alone
NODE_SECONDS = 60.0
CONNECT_SECONDS = 10.0
LOOPBACK = "127.0.0.1"
# An actor's calls return at once, but start a thread or take a lock.
CALLS_AT_A_TIME = 4

# Workers may have no zoopipe yet.
for module in (environment, node):
    cloudpickle.register_pickle_by_value(module)


class RayEngine(RemoteEngine):
    """Runs pipes on a Ray cluster.

    Ray is used as it is if this process is connected already (``ray.init()``). Otherwise the engine connects to
    `address`, or to what ``RAY_ADDRESS`` names, or starts a cluster on this machine, which listens on the loopback
    interface only and ends with `close` or with this process.

    Args:
        address: ``"auto"`` or ``"host:port"`` of a cluster that runs; ``"local"``: start one in any case.
        dependencies, project: see `RemoteEngine`.
        cpus_per_worker: what each pipe holds of its node, 1 or more; take as many as its executor has threads.
        init_options: more arguments of ``ray.init``.
    """

    def __init__(
        self,
        address: str | None = None,
        dependencies: str = "sync",
        *,
        project: str | os.PathLike[str] | None = None,
        cpus_per_worker: float = 1,
        **init_options: Any,
    ) -> None:
        if not cpus_per_worker > 0:
            raise SpecError(f"cpus_per_worker has to be above 0, not {cpus_per_worker!r}")
        super().__init__(dependencies, project, address, cpus_per_worker=cpus_per_worker, **init_options)
        self._address = address
        self._cpus = cpus_per_worker
        self._options = init_options
        self._is_ours = False
        self._sent: tuple[Bundle, Any] | None = None
        self._actors = ray.remote(ProcessHost).options(
            num_cpus=cpus_per_worker, max_restarts=0, max_task_retries=0, max_concurrency=CALLS_AT_A_TIME
        )

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"} | self._options
        address = self._address or os.environ.get("RAY_ADDRESS") or "local"
        if address == "local":
            options = {"include_dashboard": False, "_node_ip_address": LOOPBACK} | options
        with reaching(address):
            ray.init(address=address, **options)
        self._is_ours = True

    def _disconnect(self) -> None:
        self._sent = None
        if self._is_ours:
            self._is_ours = False
            ray.shutdown()

    def _place(self) -> Host:
        return _RayHost(self._actors.remote())

    def _start(self, host: Host, order: bytes, bundle: Bundle) -> Asked:
        # Put once into the object store, from where each node fetches it once.
        if self._sent is None or self._sent[0] != bundle:
            self._sent = (bundle, ray.put(bundle.plain()))
        return host.ask("start", order, self._sent[1])

    def _count_slots(self) -> int:
        return int(sum(each["Resources"].get("CPU", 0) // self._cpus for each in _nodes()))

    def _on_each_node(self, function: Callable[..., R], *arguments: Any) -> dict[str, R]:
        nodes = {each["NodeID"]: each["NodeManagerAddress"] for each in _nodes()}
        task = ray.remote(function)
        asked = {
            f"{address} ({number[:8]})": task.options(
                num_cpus=0, max_retries=0, scheduling_strategy=NodeAffinitySchedulingStrategy(number, soft=False)
            ).remote(*arguments)
            for number, address in nodes.items()
        }
        try:
            return {name: ray.get(reference, timeout=NODE_SECONDS) for name, reference in asked.items()}
        except ray.exceptions.RayError as error:
            raise EngineError(f"a node of the Ray cluster does not answer: {error}") from error


def _nodes() -> list[dict[str, Any]]:
    return [each for each in ray.nodes() if each["Alive"]]


class _RayHost(Host):
    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def ask(self, method: str, *arguments: Any) -> Asked:
        return _RayAsked(getattr(self._actor, method).remote(*arguments))

    def release(self) -> None:
        ray.kill(self._actor, no_restart=True)


class _RayAsked(Asked):
    def __init__(self, reference: Any) -> None:
        self._reference = reference

    def is_answered(self) -> bool:
        return bool(ray.wait([self._reference], timeout=0)[0])

    def answer(self) -> Any:
        try:
            return ray.get(self._reference)
        except RayActorError as error:
            lost = NeverBegunError if NEVER_RAN in str(error) else LostError
            raise lost(str(error)) from error


def reaching(address: str) -> AbstractContextManager[None]:
    """Within the block, Ray may connect to `address`: also to a cluster that listens on the loopback interface alone.

    Raises:
        OSError: there is no cluster.
    """
    return _on_loopback() if address == "local" or _is_local_only(address) else nullcontext()


def _is_local_only(address: str) -> bool:
    """Whether a cluster at ``host:port`` listens on the loopback interface alone, as those do that the engine starts.

    Raises:
        OSError: there is none. Ray would try for a minute, and then end this process.
    """
    host, _, port = address.rpartition(":")
    if "/" in host or not port.isdecimal():
        return False  # "auto", or ray://, which is another protocol
    socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    if host not in (LOOPBACK, "localhost"):
        return False
    try:
        socket.create_connection((services.get_node_ip_address(), int(port)), CONNECT_SECONDS).close()
    except OSError:
        return True
    return False


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let Ray's processes listen on the loopback interface alone.

    Ray replaces a node address of 127.0.0.1 by one that other machines can reach, unless it was told that there are
    none, by a variable that it reads when it is imported.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before, constant = os.environ.get(name), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
