"""The counters of a running load, and snapshots of them.

One thread counts (the run), others look (the display, a caller's loop): every look is a whole `PipeReport`.
"""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from zoopipe_core._text import shorten, without_secrets
from zoopipe_core.batches.rejects import RejectBatch, RejectTally
from zoopipe_core.report import MAX_LABEL_CHARS, PipeReport, PipeStatus, describe_exception, merge_notes, now

__all__ = ["LoadProgress", "resident_bytes"]

RECENT_SECONDS = 3.0
SAMPLE_SECONDS = 0.1


class LoadProgress:
    """Counts what a run does. Methods may be called from any thread.

    Args:
        source, target, rejects_target: labels for the report.
    """

    def __init__(self, source: str, target: str, rejects_target: str | None = None) -> None:
        self._lock = threading.Lock()
        self._report = PipeReport(
            source=shorten(source, MAX_LABEL_CHARS),
            target=shorten(target, MAX_LABEL_CHARS),
            rejects_target=None if rejects_target is None else shorten(rejects_target, MAX_LABEL_CHARS),
        )
        self._counts: dict[str, Any] = {}
        self._notes: tuple[str, ...] = ()
        self._tally = RejectTally()
        self._clock = 0.0
        self._samples: deque[tuple[float, int]] = deque()

    def start(self) -> None:
        """The load begins now; once it has begun, this does nothing."""
        with self._lock:
            if self._report.status is PipeStatus.PENDING:
                self._clock = time.perf_counter()
                self._samples.append((self._clock, 0))
                self._sample_memory()
                self._report = replace(self._report, status=PipeStatus.RUNNING, started_at=now())

    def add(self, **counts: float) -> None:
        """Add to counters, by the names of `PipeReport`'s fields."""
        with self._lock:
            for name, value in counts.items():
                self._counts[name] = self._counts.get(name, 0) + value
            if "read_rows" in counts:
                clock = time.perf_counter()
                if clock - self._samples[-1][0] >= SAMPLE_SECONDS:
                    self._samples.append((clock, self._counts["read_rows"]))

    def set(self, **values: Any) -> None:
        """Set fields of the report, by their names."""
        with self._lock:
            self._counts.update(values)
            self._sample_memory()

    def note(self, *notes: str) -> None:
        """Add remarks to the report, also to one that is final."""
        with self._lock:
            self._notes = merge_notes((*self._notes, *map(without_secrets, notes)))
            self._report = replace(self._report, notes=self._notes)

    def count_rejects(self, batch: RejectBatch) -> None:
        """Count rejects, and their kinds for the summary."""
        with self._lock:
            self._counts["rejected_rows"] = self._counts.get("rejected_rows", 0) + len(batch)
            self._tally.add(batch)

    @contextmanager
    def timing(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to a counter."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(**{name: time.perf_counter() - start})

    def count(self, name: str) -> int:
        """A counter's present value."""
        with self._lock:
            return int(self._counts.get(name, 0))

    def recall(self, report: PipeReport, note: str) -> None:
        """The load was done before, and `report` is what was said of it then; nothing else changes any more."""
        with self._lock:
            self._notes = merge_notes((*report.notes, note))
            self._report = replace(
                report, status=PipeStatus.COMPLETED, pipe_index=self._report.pipe_index, notes=self._notes
            )

    def finish(self, status: PipeStatus, error: BaseException | None = None) -> None:
        """The load has ended; but for notes, nothing changes any more."""
        text = "" if error is None else "".join(traceback.format_exception(error))
        with self._lock:
            self._sample_memory()
            report = self._snapshot()
            self._report = replace(
                report,
                status=status,
                finished_at=now(),
                fraction_done=1.0 if status is PipeStatus.COMPLETED else report.fraction_done,
                exception=None if error is None else describe_exception(error, text),
                cause=error,
            )

    def snapshot(self) -> PipeReport:
        """The report as of now."""
        with self._lock:
            return self._snapshot()

    def _snapshot(self) -> PipeReport:
        if self._report.status is not PipeStatus.RUNNING:
            return self._report
        clock = time.perf_counter()
        return replace(
            self._report,
            **self._counts,
            duration_seconds=clock - self._clock,
            recent_rows_per_second=self._recent_rate(clock),
            rejections=self._tally.summary(),
        )

    def _recent_rate(self, clock: float) -> float:
        """Rows read per second since the newest sample that is old enough; since the start while none is."""
        while len(self._samples) > 1 and self._samples[1][0] <= clock - RECENT_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        return (int(self._counts.get("read_rows", 0)) - before) / (clock - since) if clock > since else 0.0

    def _sample_memory(self) -> None:
        used = resident_bytes()
        self._counts["ram_bytes"] = used
        self._counts["peak_ram_bytes"] = max(used, int(self._counts.get("peak_ram_bytes", 0)))


def resident_bytes() -> int:
    """What this process has in memory."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except OSError:  # no Linux. Where it is one, a worker does without psutil, whose import takes a while
        import psutil

        return int(psutil.Process().memory_info().rss)


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
