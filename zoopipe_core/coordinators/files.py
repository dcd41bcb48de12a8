"""`FileMergeCoordinator`: shards write parts, and one file appears."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zoopipe_core.adapters.base import OutputAdapter
from zoopipe_core.adapters.paths import PathLike
from zoopipe_core.coordinators.base import BaseCoordinator, Managed, WorkerResult
from zoopipe_core.coordinators.mergeable import is_mergeable, merged_file
from zoopipe_core.coordinators.outputs import NumberedFiles, ShardCount, StagedOutput
from zoopipe_core.errors import SpecError, TooManyRejectsError
from zoopipe_core.report import PipeReport

__all__ = ["FileMergeCoordinator"]


class FileMergeCoordinator(BaseCoordinator):
    """Merges what shards write into one file, which appears complete or not at all.

    Shards write parts into a hidden folder beside the target. A part is joined to those before it while other shards
    still run, and when all have succeeded, the file is there: the same as a serial run would have written (Parquet:
    with the row groups of the shards). Rejects are merged too, and shown just before the rows. The folder is locked: a
    second load of the same target fails at once.

    Args:
        target: the file that several pipes write together; the format and the options are those of their own outputs,
            whose paths are not used. None: the output of the pipe that is sharded, or of the first of several.
        merge: False to leave complete, numbered files instead: ``users-00000-of-00004.jsonl``.

    >>> from zoopipe_core import JSONOutputAdapter
    >>> parts = FileMergeCoordinator().prepare_shards(JSONOutputAdapter("out/users.jsonl"), 2)
    >>> [part.path.rpartition("/")[2] for part in parts]
    ['part-00000.jsonl', 'part-00001.jsonl']
    """

    def __init__(self, target: PathLike | None = None, merge: bool = True) -> None:
        self.target = target
        self.merge = merge
        self._outputs: list[StagedOutput] = []

    @property
    def priority(self) -> int:
        return 100

    def prepare_shards(self, adapter: Any, workers: int) -> list[Any]:
        """The adapters of parts of a file; an empty list for an adapter that writes none."""
        if not isinstance(adapter, OutputAdapter):
            return []
        if self.target is not None:
            if not is_mergeable(adapter):
                raise SpecError(f"{adapter.label} is no file, and cannot be merged into {self.target}")
            adapter = replace(adapter, path=self.target)  # type: ignore[type-var]  # a dataclass
        output = self.stage(adapter, workers)
        if output is None:
            return []
        self._outputs.append(output)
        return output.parts(workers)

    def stage(self, adapter: OutputAdapter, workers: int) -> StagedOutput | None:
        """How parts of so many workers become the target `adapter`; None if this coordinator does not know."""
        merged = merged_file(adapter)
        return merged if merged is None or self.merge else NumberedFiles(adapter)

    def on_start(self, manager: Managed) -> None:
        first = manager.pipes[0]
        # Others are of plans that were given up.
        self._outputs = [
            output
            for output in self._outputs
            if output.takes(first.output_adapter) or output.takes(first.error_output_adapter)
        ]
        for output in self._outputs:
            output.start()

    def on_shard(self, manager: Managed, result: WorkerResult) -> None:
        for output in self._outputs:
            output.take(result.worker_id, manager.raise_if_stopped)

    def on_finish(self, manager: Managed, results: Sequence[WorkerResult]) -> None:
        rows = manager.pipes[0].output_adapter
        for output in self._outputs:
            is_rows = output.takes(rows)
            output.expect([_count(result.report, is_rows) for result in results])
            output.prepare(manager.raise_if_stopped)
        manager.raise_if_stopped()
        for output in self._outputs:
            self.remember(output, manager.report)
        # The rejects, which were asked for last, are shown first.
        for output in reversed(self._outputs):
            output.publish()
        self._outputs = []

    def remember(self, output: StagedOutput, report: PipeReport) -> None:
        """Called for each output that is about to be published, with the report of the load."""
        return

    def on_error(self, manager: Managed, error: BaseException) -> None:
        outputs, self._outputs = self._outputs, []
        if isinstance(error, TooManyRejectsError):
            rejects = manager.pipes[0].error_output_adapter
            for output in outputs:
                if output.takes(rejects):
                    _publish_rejects(output, error)
        for output in reversed(outputs):
            try:
                output.abort()
            except Exception as second:  # noqa: BLE001  kept as a note of the error that ended the load
                error.add_note(f"while undoing the load, {type(second).__name__}: {second}")


def _count(report: PipeReport, is_rows: bool) -> ShardCount:
    return ShardCount(report.attempt, report.loaded_rows if is_rows else report.rejected_rows)


def _publish_rejects(output: StagedOutput, error: BaseException) -> None:
    """Show the rejects so far: they are what the user needs now."""
    try:
        output.prepare(lambda: None, partial=True)
        output.publish()
    except Exception as second:  # noqa: BLE001  it would hide why the load fails
        error.add_note(f"  the rejects could not be published: {type(second).__name__}: {second}")
    else:
        error.add_note(f"  the rejects so far are in {output.adapter.label}")
