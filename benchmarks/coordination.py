"""``python -m benchmarks.coordination SHARDS``: what a manager and its coordinator cost for so many shards.

Workers are simulated: each has written its part, of one row, and has its final report when it is launched, with as many
kinds of rejections as a report holds. What is left is all that the manager's process does for a load on a cluster:
planning, collecting the reports, joining the parts. Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.worker import peak_bytes
from zoopipe_core import JSONOutputAdapter, Pipe, PipeManager, PipeReport, PipeStatus
from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Scan, Split, scan_here
from zoopipe_core.batches.source import SourceBatch, SourceKind
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.engines.worker import first_report
from zoopipe_core.report import MAX_REJECTIONS, RejectionSummary, now

CAPACITY = 1000
REJECTIONS = tuple(
    RejectionSummary(f"field_{number}", "int_parsing", 10, "s3://bucket/in.csv", 1) for number in range(MAX_REJECTIONS)
)
ROW = b'{"id":1}\n'


@dataclass(frozen=True)
class Ranges(InputAdapter):
    """An input that can be cut into any number of parts, and is never read."""

    part: int = 0

    @property
    def label(self) -> str:
        return f"s3://bucket/in.csv, part {self.part}"

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        return Split(tuple(Ranges(part) for part in range(count)))

    def open(self, request: ReadRequest) -> Reader:
        return _Nothing()


class _Nothing(Reader):
    @property
    def kind(self) -> SourceKind:
        return SourceKind.OBJECTS

    @property
    def columns(self) -> Mapping[str, ColumnType] | None:
        return None

    def __iter__(self) -> Iterator[SourceBatch]:
        return iter(())

    def close(self) -> None:
        return


class SimulatedEngine(BaseEngine):
    """Workers that have done their work when they are launched.

    Attributes:
        last: when the last report was asked for.
    """

    def __init__(self) -> None:
        self.last = 0.0

    @property
    def capacity(self) -> int:
        return CAPACITY

    def launch(self, task: WorkerTask) -> Worker:
        output: Any = task.pipe.output_adapter
        Path(output.path).write_bytes(ROW)
        report = replace(
            first_report(task),
            status=PipeStatus.COMPLETED,
            started_at=now(),
            finished_at=now(),
            read_rows=1 + 10 * MAX_REJECTIONS,
            loaded_rows=1,
            rejected_rows=10 * MAX_REJECTIONS,
            rejections=REJECTIONS,
        )
        # As a report arrives: none of its texts is shared with another's.
        return _Done(self, PipeReport.from_dict(json.loads(json.dumps(report.to_dict()))))


class _Done(Worker):
    def __init__(self, engine: SimulatedEngine, report: PipeReport) -> None:
        self._engine, self._report = engine, report

    def report(self) -> PipeReport:
        self._engine.last = time.perf_counter()
        return self._report

    def stop(self) -> None:
        return

    def kill(self) -> None:
        return

    def close(self) -> None:
        return


def measure(shards: int) -> dict[str, float]:
    """Seconds for planning, collecting and joining; the peak of memory before and in all."""
    engine = SimulatedEngine()
    before = peak_bytes()
    with tempfile.TemporaryDirectory() as folder:
        manager = PipeManager.parallelize_pipe(
            Pipe(Ranges(), JSONOutputAdapter(Path(folder) / "out.jsonl")), shards, engine=engine
        )
        start = time.perf_counter()
        assert manager.pipe_count == shards
        planned = time.perf_counter()
        manager.run(on_report_update=None)
        end = time.perf_counter()
        assert manager.report.raise_for_status().loaded_rows == shards
        assert (Path(folder) / "out.jsonl").stat().st_size == shards * len(ROW)
    return {
        "shards": shards,
        "plan": round(planned - start, 3),
        "collect": round(engine.last - planned, 3),
        "join": round(end - engine.last, 3),
        "before_bytes": before,
        "peak_bytes": peak_bytes(),
        "report_bytes": len(json.dumps(manager.report.to_dict())),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
