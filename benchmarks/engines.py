"""``python -m benchmarks.engines``: what an engine costs beside the work itself.

    start     seconds from `launch` until a pipe of ten rows is done, in a cold process and in a warm one
    progress  how much longer a load takes for publishing its progress
    slot      microseconds that a look at a worker takes, and an update

Each figure is a median; runs that are compared are made in turns. ``--json`` prints the figures as JSON instead.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from benchmarks.startup import write_users
from zoopipe_core import MultiProcessEngine, Pipe, PipeReport, PipeStatus, ZoosyncPoolEngine
from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.engines.slots import Slot
from zoopipe_core.engines.worker import run_pipe
from zoopipe_core.kernels.compiler import compile_kernels

LOOK_SECONDS = 0.0005


class User(BaseModel):
    user_id: int
    username: str
    email: str
    age: int
    salary: float
    is_active: bool


def ended(worker: Worker) -> PipeReport:
    """The final report, looked for more often than a manager would."""
    while not (report := worker.report()).is_finished:
        time.sleep(LOOK_SECONDS)
    worker.close()
    return report.raise_for_status()


def seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure_start(folder: Path, repeat: int) -> dict[str, float]:
    """Seconds from launching a small pipe until it is done; less what the pipe itself takes, that is the start."""
    pipe = Pipe(str(write_users(folder / "ten.csv", 10)), str(folder / "ten.jsonl"), None, User)
    pipe.run(on_report_update=None)
    warm = ZoosyncPoolEngine(1)
    engines: dict[str, BaseEngine] = {"cold process": MultiProcessEngine(1), "warm pool": warm}
    ended(warm.launch(WorkerTask(0, pipe)))
    runs = [
        {
            **{
                name: seconds(lambda engine=engine: ended(engine.launch(WorkerTask(0, pipe))))
                for name, engine in engines.items()
            },  # type: ignore[misc]
            "no engine": seconds(lambda: pipe.run(on_report_update=None)),
        }
        for _ in range(repeat)
    ]
    warm.close()
    return {name: round(statistics.median(run[name] for run in runs), 5) for name in runs[0]}


def measure_progress(folder: Path, rows: int, repeat: int) -> dict[str, float]:
    """Seconds of a load in this process: by itself, and as a worker that writes its progress to a slot."""
    pipe = Pipe(str(write_users(folder / "many.csv", rows)), str(folder / "many.jsonl"), None, User)
    slot = Slot.create()

    def alone() -> None:
        pipe.start()
        pipe.wait()
        pipe.report.raise_for_status()

    def published() -> None:
        run_pipe(WorkerTask(0, pipe), slot.write, lambda: slot.stop_requested).raise_for_status()

    alone()
    runs = [(seconds(alone), seconds(published)) for _ in range(repeat)]
    # What one round of the loop takes, times how often it runs: far below what runs of a load differ by.
    snapshot = pipe.report
    update = measure_calls(lambda: slot.write(snapshot), 1000) + measure_calls(lambda: pipe.report, 1000)
    slot.close()
    return {
        "rows": rows,
        "alone": round(statistics.median(run[0] for run in runs), 4),
        "published": round(statistics.median(run[1] for run in runs), 4),
        "share by runs": round(statistics.median(run[1] / run[0] for run in runs) - 1, 5),
        "share by updates": round(update * 1e-6 * 20, 6),
    }


def measure_calls(work: Callable[[], Any], count: int) -> float:
    """Microseconds of one call."""
    return seconds(lambda: [work() for _ in range(count)]) / count * 1e6


def measure_slot() -> dict[str, float]:
    slot = Slot.create()
    first = PipeReport(source="in.csv", target="out.csv")
    running = PipeReport(source="in.csv", target="out.csv", status=PipeStatus.RUNNING, read_rows=10**6)
    slot.write(running)
    figures = {
        "read": round(measure_calls(lambda: slot.read(first), 20_000), 2),
        "write": round(measure_calls(lambda: slot.write(running), 20_000), 2),
    }
    slot.close()
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=9, help="runs for each figure (default: 9)")
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the load that tells its progress")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    compile_kernels()
    with tempfile.TemporaryDirectory() as name:
        figures: dict[str, dict[str, float]] = {
            "start, seconds": measure_start(Path(name), options.repeat),
            "progress, seconds": measure_progress(Path(name), options.rows, options.repeat),
            "slot, microseconds": measure_slot(),
        }
    if options.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table("what", "", "figure")
    for what, measured in figures.items():
        for step, figure in measured.items():
            table.add_row(what, step, f"{figure:g}")
            what = ""
    Console().print(table)


if __name__ == "__main__":
    main()
