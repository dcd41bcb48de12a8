"""Which pipes a manager runs: those that it was given, or the shards of one."""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, Scan
from zoopipe_core.coordinators.base import BaseCoordinator
from zoopipe_core.coordinators.mergeable import is_mergeable
from zoopipe_core.coordinators.outputs import KeptPart
from zoopipe_core.coordinators.replay import ReplayCoordinator
from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.worker import first_report
from zoopipe_core.errors import SpecError
from zoopipe_core.executors import BatchExecutor
from zoopipe_core.managing.progress import ManagerProgress
from zoopipe_core.memory import LoadMemory
from zoopipe_core.pipe import Pipe
from zoopipe_core.report import PipeReport

__all__ = ["GivenPipes", "Plan", "Planner", "ShardedPipe"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """The pipes of one run.

    Attributes:
        pipes: what the workers run.
        coordinator: publishes what they wrote, as one load; None if each of them is a load of its own.
        max_errors: as `Pipe` has it, for all of them together.
        notes: for the report.
    """

    pipes: tuple[Pipe, ...]
    coordinator: BaseCoordinator | None = None
    max_errors: int | float | None = None
    notes: tuple[str, ...] = ()


class Planner(ABC):
    """What a manager was told to run."""

    @abstractmethod
    def outline(self) -> PipeReport:
        """A pending report that names source and targets; no I/O."""

    @abstractmethod
    def plan(self, merge: bool, scan: Scan, shares_files: bool = True) -> Plan:
        """The pipes to run; may read the source.

        Args:
            merge: False: what shards write to files stays in files of their own.
            scan: how to look at the source.
            shares_files: whether the workers see the files of this process.

        Raises:
            SourceError, SpecError: they cannot be made.
        """

    def recall(self, report: PipeReport, merge: bool) -> tuple[str | None, int]:
        """Look whether all of it is loaded already; the name of the load, and the how manieth try this is.

        Raises:
            AlreadyLoadedError, LoadIdError, LoadLockedError: it is, or must not be.
        """
        return None, 1

    @property
    @abstractmethod
    def most(self) -> int:
        """How many pipes there may be."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks of the target, once the load is complete."""
        return ()

    @property
    def fails_if_loaded(self) -> bool:
        """Whether a load that is done already is an error."""
        return False

    def forget(self, progress: ManagerProgress) -> None:
        """The load that was to be done has failed."""
        return

    def release(self, plan: Plan) -> Plan:
        """The plan as it is kept when the run has ended, without what was there for the run only."""
        return plan


def _outline(pipe: Pipe) -> PipeReport:
    # Not the pipe's own report, which may be that of an earlier run.
    return first_report(WorkerTask(0, pipe))


class GivenPipes(Planner):
    """Pipes as they are.

    Args:
        pipes: at least one.
        coordinator: makes one load of them.

    Raises:
        SpecError: there is none, one is no pipe, or two write to one file.
    """

    def __init__(self, pipes: Sequence[Pipe], coordinator: BaseCoordinator | None) -> None:
        self._pipes = tuple(pipes)
        self._coordinator = coordinator
        if not self._pipes:
            raise SpecError("a PipeManager needs at least one pipe; does a pattern of input files match nothing?")
        for pipe in self._pipes:
            if not isinstance(pipe, Pipe):
                raise SpecError(f"pipes has to be a list of Pipe, not of {type(pipe).__name__}")
        if coordinator is None:
            _refuse_common_files(self._pipes)

    @property
    def most(self) -> int:
        return len(self._pipes)

    def outline(self) -> PipeReport:
        return PipeReport.merge(_outline(pipe) for pipe in self._pipes)

    def plan(self, merge: bool, scan: Scan, shares_files: bool = True) -> Plan:
        pipes = self._pipes
        outputs = [pipe.output_adapter for pipe in pipes]
        if self._coordinator is None or outputs[0] is None:
            return Plan(pipes, self._coordinator)
        shards = self._coordinator.prepare_shards(outputs[0], len(pipes))
        if shards:
            _check_alike(outputs)
            # What has a name are loads, and these are parts of one.
            pipes = tuple(
                _changed(pipe, output_adapter=shard, load_id=None) for pipe, shard in zip(pipes, shards, strict=True)
            )
        return Plan(pipes, self._coordinator)


def _refuse_common_files(pipes: Sequence[Pipe]) -> None:
    """Two pipes that replace one file would lose the rows of one of them."""
    seen: set[str] = set()
    for pipe in pipes:
        for output in (pipe.output_adapter, pipe.error_output_adapter):
            if output is None or output.place is None or not is_mergeable(output):
                continue
            if output.place in seen:
                raise SpecError(f"two pipes write to {output.label}; give each one an output of its own")
            seen.add(output.place)


def _check_alike(outputs: Sequence[OutputAdapter | None]) -> None:
    """What is merged has to be of one format with the same options."""
    alike = {type(output).__name__: output for output in outputs}
    if len(alike) > 1:
        raise SpecError(f"outputs of different kinds cannot be merged: {', '.join(sorted(alike))}")
    forms = [_form(output) for output in outputs]
    if any(form != forms[0] for form in forms):
        raise SpecError(f"outputs with different options cannot be merged: {outputs[0]!r} and others")


def _form(output: Any) -> Any:
    """An output without its place, if it is a file."""
    return replace(output, path="same") if output is not None and is_mergeable(output) else output


class ShardedPipe(Planner):
    """One pipe in pieces.

    Args:
        pipe: what is sharded.
        workers: how many shards there may be.
        merge: whether the results become one file.
        executor: used by each shard instead of the pipe's own.
        load_id, if_loaded: instead of the pipe's own.
    """

    def __init__(
        self,
        pipe: Pipe,
        workers: int,
        merge: bool,
        executor: BatchExecutor | None,
        load_id: str | None = None,
        if_loaded: str | None = None,
    ) -> None:
        if not isinstance(pipe, Pipe):
            raise SpecError(f"parallelize_pipe takes a Pipe, not a {type(pipe).__name__}")
        if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
            raise SpecError(f"workers has to be a number of at least 1, not {workers!r}")
        self._workers, self._merge, self._executor = workers, merge, executor
        self._pipe = _changed(
            pipe,
            load_id=pipe.load_id if load_id is None else load_id,
            if_loaded=pipe.if_loaded if if_loaded is None else if_loaded,
        )
        self._memory: LoadMemory | None = None

    @property
    def most(self) -> int:
        return self._workers

    def recall(self, report: PipeReport, merge: bool) -> tuple[str | None, int]:
        output = self._pipe.output_adapter
        # Of numbered files nobody keeps a memory.
        whole = output is None or not is_mergeable(output) or (merge and self._merge)
        self._memory = LoadMemory(self._pipe) if whole else None
        if self._memory is None:
            return self._pipe.load_id, 1
        self._memory.begin(report)
        return self._memory.load_id, self._memory.attempt

    @property
    def notes(self) -> tuple[str, ...]:
        return () if self._memory is None else self._memory.notes

    @property
    def fails_if_loaded(self) -> bool:
        return self._pipe.if_loaded == "fail"

    def forget(self, progress: ManagerProgress) -> None:
        if self._memory is not None:
            self._memory.tell(progress)

    def outline(self) -> PipeReport:
        return _outline(self._pipe)

    def plan(self, merge: bool, scan: Scan, shares_files: bool = True) -> Plan:
        pipe = self._pipe
        source = pipe.input_adapter if self._memory is None else self._memory.source
        split = source.split(self._workers, scan)
        if self._memory is not None:
            self._memory.advance(split.mark)
        count = len(split.parts)
        coordinator = ReplayCoordinator(
            merge=merge and self._merge, memory=lambda: self._memory, shares_files=shares_files
        )
        rows = _shards(coordinator, pipe.output_adapter, count)
        rejects = _shards(coordinator, pipe.error_output_adapter, count)
        limit = pipe.max_errors
        if isinstance(limit, int):
            rejects = [None if part is None else KeptPart(part) for part in rejects]
        pipes = tuple(
            _changed(
                pipe,
                input_adapter=part,
                output_adapter=row_part,
                error_output_adapter=reject_part,
                executor=self._executor or pipe.executor,
                load_id=None,
                # A share can be told at the end only, of all rows together.
                max_errors=limit if isinstance(limit, int) else None,
            )
            for part, row_part, reject_part in zip(split.parts, rows, rejects, strict=True)
        )
        if split.note is not None:
            logger.info("%s", split.note)
        return Plan(pipes, coordinator, limit, () if split.note is None else (split.note,))

    def release(self, plan: Plan) -> Plan:
        # A part may keep a state of its database readable for as long as it lives; a copy, as for a worker, does not.
        return replace(plan, pipes=tuple(_changed(pipe, input_adapter=_copied(pipe)) for pipe in plan.pipes))


def _copied(pipe: Pipe) -> InputAdapter:
    try:
        return copy.copy(pipe.input_adapter)
    except SpecError:  # an iterator, which has no copy
        return pipe.input_adapter


def _shards(coordinator: BaseCoordinator, adapter: OutputAdapter | None, count: int) -> list[OutputAdapter | None]:
    return [None] * count if adapter is None else coordinator.prepare_shards(adapter, count)


def _changed(pipe: Pipe, **changes: Any) -> Pipe:
    """The same pipe with other parts."""
    return Pipe(**{**pipe.__getstate__(), **changes})
