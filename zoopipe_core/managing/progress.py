"""What is known of all pipes of a manager: the latest report of each, and one of all together."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import replace

from zoopipe_core._text import without_secrets
from zoopipe_core.report import (
    ExceptionInfo,
    PipeReport,
    PipeStatus,
    RejectionSummary,
    describe_exception,
    merge_notes,
    now,
)

__all__ = ["ManagerProgress"]

NOTHING = PipeReport.merge(())


def _shared(one: RejectionSummary) -> RejectionSummary:
    return replace(one, field=sys.intern(one.field), type=sys.intern(one.type), source=sys.intern(one.source))


class ManagerProgress:
    """The reports of a run of a manager. Methods may be called from any thread.

    Reports of pipes that have ended are added up once: a look costs as much as there are pipes at work.

    Args:
        outline: a pending report that names source and targets.
    """

    def __init__(self, outline: PipeReport) -> None:
        self._lock = threading.Lock()
        self._own = replace(outline, notes=())
        self._notes: tuple[str, ...] = ()
        self._clock = 0.0
        self._count: int | None = None
        self._live: dict[int, PipeReport] = {}
        self._final: dict[int, PipeReport] = {}
        self._done = NOTHING
        self._peak = 0
        self._planned = threading.Event()

    def start(self) -> None:
        """The run begins now; once it has begun, this does nothing."""
        with self._lock:
            if self._own.status is PipeStatus.PENDING:
                self._clock = time.perf_counter()
                self._own = replace(self._own, status=PipeStatus.RUNNING, started_at=now())

    def name(self, load_id: str | None, attempt: int) -> None:
        """Which load it is, and the how manieth try of it."""
        with self._lock:
            self._own = replace(self._own, load_id=load_id, attempt=attempt)

    def recall(self, report: PipeReport, note: str) -> None:
        """The load was done before, and `report` is what was said of it then; nothing else changes any more."""
        with self._lock:
            notes = merge_notes((*self._notes, *report.notes, note))
            self._own = replace(report, status=PipeStatus.COMPLETED, notes=notes)
        self._planned.set()

    def expect(self, count: int, notes: Sequence[str] = ()) -> None:
        """There will be so many pipes."""
        with self._lock:
            self._count = count
        self.note(*notes)
        self._planned.set()

    def wait_for_plan(self, timeout: float) -> bool:
        """Whether it is known by now how many pipes there are."""
        return self._planned.wait(timeout)

    def update(self, index: int, report: PipeReport) -> None:
        """The latest report of a pipe that runs."""
        with self._lock:
            self._live[index] = report
            self._peak = max(self._peak, sum(live.ram_bytes for live in self._live.values()))

    def settle(self, index: int, report: PipeReport) -> None:
        """The final report of a pipe."""
        with self._lock:
            self._live.pop(index, None)
            # An exception holds on to everything that its frames do. Names are those of other shards: one copy will do.
            rejections = tuple(map(_shared, report.rejections))
            self._final[index] = replace(report, cause=None, rejections=rejections)
            self._done = PipeReport.merge([self._done, replace(report, ram_bytes=0)])

    def note(self, *notes: str) -> None:
        """Add remarks to the report, also to one that is final."""
        with self._lock:
            self._notes = merge_notes((*self._notes, *map(without_secrets, notes)))

    def reports(self) -> list[PipeReport]:
        """One report for each pipe, in order."""
        with self._lock:
            return [
                self._final.get(index) or self._live.get(index) or replace(NOTHING, pipe_count=1, pipe_index=index)
                for index in range(self._count or 0)
            ]

    def total(self) -> PipeReport:
        """The reports of all pipes added up, whatever the manager itself does."""
        with self._lock:
            return self._total()

    def _total(self) -> PipeReport:
        waiting = (self._count or 0) - len(self._final) - len(self._live)
        pending = [] if waiting <= 0 else [PipeReport(pipe_count=waiting)]
        return PipeReport.merge([self._done, *self._live.values(), *pending])

    def finish(self, status: PipeStatus, error: BaseException | None = None, info: ExceptionInfo | None = None) -> None:
        """The run has ended; but for notes, nothing changes any more.

        Args:
            status: how.
            error: what ended it.
            info: what the report says of it, by default what `error` says.
        """
        if error is not None and info is None:
            info = describe_exception(error, "".join(traceback.format_exception(error)))
        with self._lock:
            report = self._snapshot()
            self._own = replace(
                report,
                status=status,
                finished_at=now(),
                fraction_done=1.0 if status is PipeStatus.COMPLETED else report.fraction_done,
                exception=info,
                cause=error,
            )
        self._planned.set()

    def snapshot(self) -> PipeReport:
        """The report of all pipes together, as of now."""
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> PipeReport:
        own = self._own
        if own.status is not PipeStatus.RUNNING:
            return replace(own, notes=merge_notes((*self._notes, *own.notes)))
        total = self._total()
        return replace(
            total,
            pipe_index=0,
            pipe_count=self._count or 1,
            load_id=own.load_id,
            attempt=max(own.attempt, total.attempt),
            status=own.status,
            source=own.source,
            target=own.target,
            rejects_target=own.rejects_target,
            started_at=own.started_at,
            finished_at=None,
            duration_seconds=time.perf_counter() - self._clock,
            peak_ram_bytes=self._peak,
            exception=None,
            cause=None,
            notes=merge_notes((*self._notes, *total.notes)),
        )
