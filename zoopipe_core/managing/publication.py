"""The parts of shards that have run elsewhere become the target, by one writer in one transaction.

is it loaded already? ─▶ all shards complete, the account right, not too many rejects ─▶ parts ─▶ prepare, publish
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from zoopipe_core._arrow import import_arrow
from zoopipe_core.adapters.base import Writer
from zoopipe_core.display import ReportCallback, progress_display
from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.worker import first_report
from zoopipe_core.errors import (
    AlreadyLoadedError,
    LoadAbortedError,
    LoadFailedError,
    SourceNotFoundError,
    TooManyRejectsError,
)
from zoopipe_core.managing.progress import ManagerProgress
from zoopipe_core.managing.workers import check_account, too_many_rejects
from zoopipe_core.memory import LoadMemory
from zoopipe_core.pipe import Pipe
from zoopipe_core.report import PipeReport, PipeStatus
from zoopipe_core.running import Run, follow

if TYPE_CHECKING:
    from zoopipe_core.coordinators.batch_parts import Part

__all__ = ["ShardPublication"]

logger = logging.getLogger(__name__)


class ShardPublication:
    """Publishes what the shards of one load have left. Made by `ShardedLoad.publication`.

    Args:
        pipe: the load.
        reports: of each shard, in order.
        rows, rejects: the part files of each shard.
        key: of the parts.
        check_input: raises if the input is not what the shards have read.
        clean_up: called when the load is complete, and its parts are of no use any more.
    """

    def __init__(
        self,
        pipe: Pipe,
        reports: Sequence[PipeReport],
        rows: Sequence[str],
        rejects: Sequence[str],
        key: bytes,
        *,
        check_input: Callable[[], None],
        clean_up: Callable[[], None],
    ) -> None:
        self._pipe, self._reports = pipe, list(reports)
        self._rows, self._rejects, self._key = rows, rejects, key
        self._check_input, self._clean_up = check_input, clean_up
        self._progress = self._new_progress()
        self._run: Run | None = None

    def run(self, timeout: float | None = None, on_report_update: ReportCallback | None = progress_display) -> bool:
        """Publish; True if the load is complete. What fails does not raise: see `report`.

        Args:
            timeout: seconds after which it is aborted and False returned.
            on_report_update: as for `Pipe.run`.

        Raises:
            RuntimeError: it is running already.
        """
        if self._run is not None and not self._run.ended.is_set():
            raise RuntimeError("this publication is already running")
        self._progress = self._new_progress()
        run = self._run = Run("publication", self._progress, self._work)
        run.begin()
        return follow(run, timeout, on_report_update)

    def shutdown(self, timeout: float = 5.0) -> None:
        """Abort it if it is running, and wait up to `timeout` seconds until it is undone."""
        if self._run is not None:
            self._run.end(timeout)

    @property
    def report(self) -> PipeReport:
        """That of the load: what all shards have read, rejected and loaded, and whether it is published."""
        return self._progress.snapshot()

    @property
    def pipe_reports(self) -> list[PipeReport]:
        """Those of the shards."""
        return list(self._reports)

    def __repr__(self) -> str:
        report = self.report
        return f"ShardPublication({report.source} -> {report.target})"

    def _new_progress(self) -> _Progress:
        return _Progress(first_report(WorkerTask(0, self._pipe)))

    # ---- in the background ------------------------------------------------------------------------------------

    def _work(self, stop: threading.Event) -> None:
        progress, memory = self._progress, LoadMemory(self._pipe)
        import_arrow()
        try:
            memory.begin(progress.snapshot(), at_once=True)
            progress.name(memory.load_id, memory.attempt)
            progress.expect(len(self._reports))
            for index, report in enumerate(self._reports):
                progress.settle(index, report)
            self._check(progress.total())
            self._publish(memory, stop)
        except AlreadyLoadedError as error:
            if error.record is None or self._pipe.if_loaded == "fail":
                progress.finish(PipeStatus.FAILED, error)
                return
            progress.recall(error.record.report, f"{error}; nothing was published again")
        except BaseException as error:
            aborted = isinstance(error, LoadAbortedError | KeyboardInterrupt)
            progress.finish(PipeStatus.ABORTED if aborted else PipeStatus.FAILED, error)
            logger.warning("%r failed: %s", self, type(error).__name__)
            memory.tell(progress)
            if not isinstance(error, Exception):
                raise
            return
        else:
            progress.finish(PipeStatus.COMPLETED)
        finally:
            memory.release()
        self._clean_up()

    def _check(self, total: PipeReport) -> None:
        """Raises:
        LoadFailedError: a shard has not completed.
        SourceReadError: the input has changed.
        EngineError: rows are missing.
        """
        unfinished = [r.pipe_index for r in self._reports if r.status is not PipeStatus.COMPLETED]
        if unfinished:
            raise LoadFailedError(f"shard {unfinished[0]} of {len(self._reports)} has not completed")
        self._check_input()
        for report in self._reports:
            check_account(report)
        check_account(total)

    def _publish(self, memory: LoadMemory, stop: threading.Event) -> None:
        pipe, progress = self._pipe, self._progress
        writers: list[Writer] = []
        started = time.perf_counter()

        def check() -> None:
            if stop.is_set():
                raise LoadAbortedError("the load was cancelled; nothing was published")

        try:
            writer = memory.open_writer()
            if writer is not None:
                writers.append(writer)
            rejects = None if pipe.error_output_adapter is None else pipe.error_output_adapter.open()
            if rejects is not None:
                writers.append(rejects)
                self._replay(self._rejects, rejects, check)
            excess = self._too_many(progress.total())
            if excess is not None:
                raise self._with_rejects(excess, rejects)
            if writer is not None:
                self._replay(self._rows, writer, check)
                writer.prepare()
            if rejects is not None:
                rejects.prepare()
            check()
            if rejects is not None:
                rejects.publish()
            if writer is not None:
                progress.written(writer.bytes_written, time.perf_counter() - started)
                progress.note(*memory.notes)
                memory.remember(writer, progress.snapshot())
                writer.publish()
                progress.note(*memory.notes)
                progress.written(writer.bytes_written, time.perf_counter() - started)
        except BaseException as error:
            for each in reversed(writers):
                try:
                    each.abort()
                except Exception as second:  # noqa: BLE001  kept as a note of the error that ended the load
                    error.add_note(f"while undoing the load, {type(second).__name__}: {second}")
            raise

    def _replay(self, paths: Sequence[str], writer: Writer, check: Callable[[], None]) -> None:
        """Give a writer the rows of all parts, in order."""
        from zoopipe_core.coordinators.batch_parts import replay

        replay(paths, self._read, writer, check)

    def _read(self, path: str) -> Part:
        from zoopipe_core.coordinators.batch_parts import read_part

        try:
            yield from read_part(path, self._key)
        except FileNotFoundError as error:
            raise SourceNotFoundError(
                f"{path}, the part of a shard, is not there; a staging folder has to be one that all shards reach"
            ) from error

    def _too_many(self, total: PipeReport) -> TooManyRejectsError | None:
        limit, rejected = self._pipe.max_errors, total.rejected_rows
        if isinstance(limit, float) and rejected and rejected / max(total.read_rows, 1) > limit:
            return too_many_rejects(total, f"{limit * 100:g}% of {total.read_rows:,} rows")
        if isinstance(limit, int) and rejected > limit:
            return too_many_rejects(total, f"{limit:,}")
        return None

    def _with_rejects(self, error: TooManyRejectsError, rejects: Writer | None) -> TooManyRejectsError:
        """The error, with the rejects published: they are what the user needs now."""
        if rejects is None or self._pipe.error_output_adapter is None:
            return error
        try:
            rejects.prepare()
            rejects.publish()
        except Exception as second:  # noqa: BLE001  it would hide why the load fails
            error.add_note(f"  the rejects could not be published: {type(second).__name__}: {second}")
        else:
            error.add_note(f"  the rejects are in {self._pipe.error_output_adapter.label}")
        return error


class _Progress(ManagerProgress):
    """The shards' counts, with what the target really took instead of the size of the parts."""

    def __init__(self, outline: PipeReport) -> None:
        super().__init__(outline)
        self._bytes, self._seconds = 0, 0.0

    def written(self, size: int, seconds: float) -> None:
        """The target has so many bytes by now, and so many seconds were spent."""
        with self._lock:
            self._bytes, self._seconds = size, seconds

    def _total(self) -> PipeReport:
        total = super()._total()
        return replace(total, bytes_written=self._bytes, write_seconds=total.write_seconds + self._seconds)
