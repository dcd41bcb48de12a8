"""Pipes on a Dask cluster, each in a process of its own below an actor.

An actor, and not a task: Dask runs the tasks of a worker that died again elsewhere, up to three times, while an actor
that is lost is lost. Trying again is the manager's business. Dask spreads actors evenly over its workers; what runs is
a process beside the Dask worker, so that heartbeats, other users' tasks and the worker's memory limit go on as before.
"""

from __future__ import annotations

import os
import pickle
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import cloudpickle

from zoopipe_core.engines import environment, node
from zoopipe_core.engines.environment import Bundle
from zoopipe_core.engines.node import ProcessHost
from zoopipe_core.engines.remote import RemoteEngine
from zoopipe_core.engines.remote_process import Asked, Host, LostError
from zoopipe_core.errors import EngineError, MissingDependencyError, SpecError

try:
    import dask
    from distributed import Client, LocalCluster, get_client
except ImportError as error:
    raise MissingDependencyError.build("distributed", "dask", "DaskEngine") from error

__all__ = ["DaskEngine"]

R = TypeVar("R")

CALL_SECONDS = 10.0
LOOPBACK = "127.0.0.1:0"

# Workers may have no zoopipe yet.
for module in (environment, node):
    cloudpickle.register_pickle_by_value(module)


class DaskEngine(RemoteEngine):
    """Runs pipes on a Dask cluster.

    The cluster is that of `client`, or the one at `address`, or that of the client which this process has already, or
    what Dask's configuration names (``DASK_SCHEDULER_ADDRESS``). Otherwise the engine starts one within this process,
    which others cannot reach, and which ends with `close`.

    Args:
        address: of a scheduler, such as ``"tcp://10.0.0.1:8786"``.
        client: one that is connected; it stays open when the engine is closed.
        dependencies, project: see `RemoteEngine`.
        n_workers: how many pipes a cluster that the engine starts runs at a time. Default: one for each CPU.
        client_options: more arguments of ``distributed.Client``, for an address.

    Raises:
        SpecError: both an address and a client are given, or the client is an asynchronous one.
    """

    def __init__(
        self,
        address: str | None = None,
        client: Client | None = None,
        dependencies: str = "sync",
        *,
        project: str | os.PathLike[str] | None = None,
        n_workers: int | None = None,
        **client_options: Any,
    ) -> None:
        if client is not None and address is not None:
            raise SpecError("DaskEngine takes an address or a client, not both")
        if client is not None and client.asynchronous:
            raise SpecError("DaskEngine needs a Client that is not asynchronous")
        if client is not None:
            address = client.scheduler_info(n_workers=0)["address"]  # for copies in other processes
        super().__init__(dependencies, project, address, n_workers=n_workers, **client_options)
        self._address = address
        self._given = client
        self._n_workers = n_workers
        self._options = client_options
        self._client: Client | None = None
        self._cluster: LocalCluster | None = None

    def _connect(self) -> None:
        self._client = self._given or self._existing() or self._new_client()
        self._check_pythons()

    def _existing(self) -> Client | None:
        if self._address is not None:
            return None
        try:
            found = get_client()
        except ValueError:  # there is none
            return None
        return None if found.asynchronous else found

    def _new_client(self) -> Client:
        address = self._address or dask.config.get("scheduler-address", None)
        if address is None:
            # In threads: Dask's own worker processes would run the caller's __main__ again.
            self._cluster = LocalCluster(
                n_workers=1,
                threads_per_worker=self._n_workers or os.cpu_count() or 1,
                processes=False,
                memory_limit=0,
                dashboard_address=LOOPBACK,
                worker_dashboard_address=LOOPBACK,
                scheduler_kwargs={"dashboard": False},
            )
            return Client(self._cluster, set_as_default=False)
        return Client(address, set_as_default=False, **self._options)

    def _check_pythons(self) -> None:
        """Code that travels by value is of one version of Python."""
        versions: Any = self._known.get_versions()
        ours = _minor(versions["client"]["host"]["python"])
        others = {name: _minor(each["host"]["python"]) for name, each in versions["workers"].items()}
        wrong = [f"{name} has {version}" for name, version in others.items() if version != ours]
        if wrong:
            self._disconnect()
            raise EngineError(f"the Dask workers need the Python of the driver, {ours}: {', '.join(wrong)}")

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None and client is not self._given and (self._cluster is not None or self._is_new(client)):
            client.close()
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def _is_new(self, client: Client) -> bool:
        return client is not self._existing()

    @property
    def _known(self) -> Client:
        if self._client is None:
            raise EngineError("the engine is not connected to a Dask cluster")
        return self._client

    def _place(self) -> Host:
        return _DaskHost(self._known)

    def _start(self, host: Host, order: bytes, bundle: Bundle) -> Asked:
        return host.ask("start", order, bundle.plain())

    def _count_slots(self) -> int:
        return sum(self._known.nthreads().values())

    def _on_each_node(self, function: Callable[..., R], *arguments: Any) -> dict[str, R]:
        try:
            found: dict[str, R] = self._known.run(function, *arguments)
        except OSError as error:
            raise EngineError(f"a worker of the Dask cluster does not answer: {error}") from error
        return found


class _Recipe:
    """Unpickles as a new ProcessHost."""

    def __reduce__(self) -> tuple[Any, ...]:
        return ProcessHost, ()


class _DaskHost(Host):
    """An actor, which may not be there yet: the first call waits for it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # As bytes, since Dask's own serialization sends a class within a graph by reference.
        self._future = client.submit(
            pickle.loads, cloudpickle.dumps(_Recipe()), actor=True, pure=False, retries=0, key=f"zoopipe-{uuid.uuid4()}"
        )
        self._actor: Any = None

    @property
    def is_lost(self) -> bool:
        """Whether Dask knows that the actor is gone. It never answers the calls that were under way then."""
        return self._future.status not in ("pending", "finished")

    def ask(self, method: str, *arguments: Any) -> Asked:
        return _DaskAsked(self, method, arguments)

    def call(self, method: str, arguments: tuple[Any, ...]) -> Any:
        """The future of a call, or None while there is no actor yet."""
        if self.is_lost:
            raise LostError(self.reason())
        if self._actor is None:
            if not self._future.done():
                return None
            with self._client.as_current():
                self._actor = self._future.result(timeout=CALL_SECONDS)
        try:
            return getattr(self._actor, method)(*arguments)
        except RuntimeError as error:  # it was lost a moment ago
            raise LostError(self.reason()) from error

    def reason(self) -> str:
        """Why it is lost."""
        if self._client.status != "running":
            return f"the connection to the Dask scheduler is {self._client.status}"
        if self._future.status == "error":
            return f"Dask could not make the actor: {self._future.exception(timeout=CALL_SECONDS)}"
        return "its Dask worker has died, or was closed"

    def release(self) -> None:
        # The order matters: an actor's own reference to its future keeps it alive.
        self._actor = None
        self._future.release()


class _DaskAsked(Asked):
    def __init__(self, host: _DaskHost, method: str, arguments: tuple[Any, ...]) -> None:
        self._host = host
        self._call = (method, arguments)
        self._future = host.call(method, arguments)

    def is_answered(self) -> bool:
        if self._host.is_lost:
            return True
        if self._future is None:
            self._future = self._host.call(*self._call)
        return self._future is not None and self._future.done()

    def answer(self) -> Any:
        if self._host.is_lost:
            raise LostError(self._host.reason())
        try:
            return self._future.result(timeout=CALL_SECONDS)
        except OSError as error:
            raise LostError(str(error)) from error


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
