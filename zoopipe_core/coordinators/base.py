"""What a coordinator is: the one who turns the work of several shards into one published result.

    prepare_shards(adapter, workers)     -> the adapters of the shards, or [] if it is not its business
    on_start(manager)                    before the first worker begins
    on_shard(manager, result)            a shard has succeeded, while others still run
    on_finish(manager, results)          every shard succeeded: publish
    on_error(manager, error)             something failed: leave the target as it was

Exactly one of `on_finish` and `on_error` follows an `on_start`; if `on_finish` raises, `on_error` follows it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from zoopipe_core.report import PipeReport

if TYPE_CHECKING:
    from zoopipe_core.pipe import Pipe

__all__ = ["BaseCoordinator", "CompositeCoordinator", "Managed", "WorkerResult"]


class Managed(Protocol):
    """What a coordinator may ask of its manager, a `PipeManager`."""

    @property
    def pipes(self) -> list[Pipe]:
        """The pipes that the workers run."""

    @property
    def report(self) -> PipeReport:
        """The load as a whole, so far."""

    def raise_if_stopped(self) -> None:
        """For coordinators that take their time: looked at now and then, it ends what is under way.

        Raises:
            LoadAbortedError: the load was cancelled.
        """


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """What one worker did.

    Attributes:
        worker_id: the shard's place, from 0.
        success: whether its load completed.
        output_path: the label of what it wrote.
        report: its final report.
    """

    worker_id: int
    success: bool
    output_path: str
    report: PipeReport


class BaseCoordinator(ABC):
    """Plans the shards of a load, and publishes or undoes what they wrote."""

    @property
    def priority(self) -> int:
        """Lower ones start first and finish last."""
        return 50

    @abstractmethod
    def prepare_shards(self, adapter: Any, workers: int) -> list[Any]:
        """The adapters that stand for `adapter` in each shard; an empty list leaves it to other coordinators.

        A manager asks for the output of a load first and for its error output, if there is one, next. Nothing is
        opened or made here: `on_start` may never come.
        """

    def on_start(self, manager: Managed) -> None:
        """Called before the first worker begins."""
        return

    def on_shard(self, manager: Managed, result: WorkerResult) -> None:
        """Called when a shard has succeeded, in whatever order they do; it is not run again.

        Others run meanwhile, and are not looked at until this returns: what takes long is for a thread.
        """
        return

    def on_finish(self, manager: Managed, results: Sequence[WorkerResult]) -> None:
        """Called when every shard has succeeded; the load is complete when this returns."""
        return

    def on_error(self, manager: Managed, error: BaseException) -> None:
        """Called when the load has failed or was aborted; undoes everything.

        A `TooManyRejectsError` means that the rejects, which tell why, are still to be published.
        """
        return


class CompositeCoordinator(BaseCoordinator):
    """Several coordinators as one: started in the order of priority, finished in the reverse order."""

    def __init__(self, coordinators: Iterable[BaseCoordinator]) -> None:
        self.coordinators = sorted(coordinators, key=lambda coordinator: coordinator.priority)

    @property
    def priority(self) -> int:
        return 0

    def prepare_shards(self, adapter: Any, workers: int) -> list[Any]:
        """What the first coordinator gives whose business it is."""
        for coordinator in self.coordinators:
            shards = coordinator.prepare_shards(adapter, workers)
            if shards:
                return shards
        return []

    def on_start(self, manager: Managed) -> None:
        for coordinator in self.coordinators:
            coordinator.on_start(manager)

    def on_shard(self, manager: Managed, result: WorkerResult) -> None:
        for coordinator in self.coordinators:
            coordinator.on_shard(manager, result)

    def on_finish(self, manager: Managed, results: Sequence[WorkerResult]) -> None:
        for coordinator in reversed(self.coordinators):
            coordinator.on_finish(manager, results)

    def on_error(self, manager: Managed, error: BaseException) -> None:
        """Every coordinator is called; what one of them raises is noted on `error`."""
        for coordinator in reversed(self.coordinators):
            try:
                coordinator.on_error(manager, error)
            except Exception as second:  # noqa: BLE001  kept as a note of the error that ended the load
                error.add_note(f"while undoing the load, {type(second).__name__}: {second}")
