"""What can be done with detached loads, whatever the cluster."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from types import ModuleType, TracebackType
from typing import Any, Self

from zoopipe_core.detached.driver import Order
from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.modules import is_installed
from zoopipe_core.engines.payload import dump
from zoopipe_core.engines.worker import failed_report
from zoopipe_core.errors import EngineError, SpecError
from zoopipe_core.pipe import Pipe
from zoopipe_core.report import PipeReport

__all__ = ["DetachedLoads", "DetachedState", "open_detached"]

_VARIABLES = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}


@dataclass(frozen=True)
class DetachedState:
    """How a detached load goes.

    Attributes:
        report: of the load; final when it has ended in whatever way.
        pipe_reports: of its shards.
    """

    report: PipeReport
    pipe_reports: tuple[PipeReport, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return {"report": self.report.to_dict(), "pipes": [each.to_dict() for each in self.pipe_reports]}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> DetachedState:
        """What `to_dict` gave."""
        return cls(PipeReport.from_dict(value["report"]), tuple(map(PipeReport.from_dict, value["pipes"])))


class DetachedLoads(ABC):
    """The detached loads of one cluster. Used as a context manager; they go on when it is closed."""

    def start(
        self,
        name: str,
        pipe: Pipe,
        workers: int,
        merge: bool = True,
        retries: int = 0,
        dependencies: str = "sync",
    ) -> None:
        """Start a load, unless there is one of that name already.

        Args:
            name: by which it is found again.
            pipe: what to run; give it a ``load_id``, so that it is done once however often it is started.
            workers: how many shards at most.
            merge: True: one result. False: numbered files.
            retries: how often a shard that failed is run again.
            dependencies: as for the engine of the cluster.

        Raises:
            SpecError: the pipe cannot be sent.
            EngineError: the cluster does not take it.
        """
        task = dump(WorkerTask(0, pipe), _is_on_nodes)
        self._start(name, Order(task, workers, merge, retries, dependencies), DetachedState(pipe.report))

    @abstractmethod
    def _start(self, name: str, order: Order, first: DetachedState) -> None:
        """As `start`; `first` is what is to be seen until the driver has begun."""

    @abstractmethod
    def look(self, name: str) -> DetachedState | None:
        """The latest of a load; None if there is none of that name.

        A driver that has died makes a report that has FAILED.
        """

    @abstractmethod
    def stop(self, name: str) -> None:
        """Ask a load to abort and undo what it has done; nothing if there is none of that name."""

    @abstractmethod
    def forget(self, name: str) -> None:
        """Release what the cluster keeps of a load, which is ended if it still runs."""

    @abstractmethod
    def close(self) -> None:
        """Leave the cluster."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_on_nodes(module: ModuleType) -> bool:
    """Whether a module is there already; others travel by value."""
    return module.__name__.partition(".")[0] == "zoopipe_core" or is_installed(module)


def died(latest: DetachedState, why: str) -> DetachedState:
    """The state of a load whose driver is gone."""
    error = EngineError(f"the driver of the load was lost: {why}. Its target is old, or complete: see its ledger")
    lost = failed_report(WorkerTask(0, Pipe([], None)), error, latest.report)
    return replace(latest, report=replace(lost, cause=None))


def open_detached(kind: str, address: str | None = None) -> DetachedLoads:
    """Connect to a cluster that runs.

    Args:
        kind: ``"dask"`` or ``"ray"``.
        address: of its scheduler; None: what ``DASK_SCHEDULER_ADDRESS`` or ``RAY_ADDRESS`` names.

    Raises:
        SpecError: it is of another kind, or has no address.
        EngineError: it cannot be reached.
        MissingDependencyError: its library is not installed.
    """
    variable = _VARIABLES.get(kind)
    if variable is None:
        raise SpecError(f"loads can be detached on 'dask' and 'ray', not on {kind!r}")
    address = address or os.environ.get(variable)
    if not address:
        raise SpecError(f"name the {kind} cluster with an address, or with {variable}: one that outlives this process")
    if kind == "dask":
        from zoopipe_core.detached.dask import DaskDetachedLoads

        return DaskDetachedLoads(address)
    from zoopipe_core.detached.ray import RayDetachedLoads

    return RayDetachedLoads(address)
