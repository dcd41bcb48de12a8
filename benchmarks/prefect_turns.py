"""A load by itself and as a Prefect task, in turns: what the second costs, and what the server is asked meanwhile."""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow

from benchmarks.data import make_dataset
from benchmarks.model import User
from zoopipe_core import BaseHook, Pipe
from zoopipe_prefect import run_pipe

__all__ = ["GOALS", "counted_requests", "measure"]

# For a long load: of a moment, the share says nothing.
GOALS = {"added_seconds": 1.0, "added_share": 0.05, "artifacts_per_second": 2}


class Tidy(BaseHook):
    """A hook by rows, so that the load is long without a file of many gigabytes."""

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        for entry in entries:
            entry["validated_data"]["username"] = entry["validated_data"]["username"].strip()
        return entries


class Requests(logging.Handler):
    """What httpx says that it has sent: when, and to where."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.sent: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        method, url = record.args[:2] if isinstance(record.args, tuple) else ("", "")
        path = [part for part in str(url).partition("/api/")[2].split("/") if part]
        # artifacts/latest/filter reads; what is shown is written by POST artifacts/ and PATCH artifacts/ID
        what = path[0] if path and path[-1] != "filter" else "other"
        self.sent.append((time.monotonic(), f"{method} {what}"))

    def most_artifacts_in_a_second(self) -> int:
        """Of progress; the pages at the end of a load come once."""
        times = [when for when, what in self.sent if what == "PATCH artifacts"]
        return max((sum(first <= when < first + 1 for when in times) for first in times), default=0)


@contextmanager
def counted_requests() -> Iterator[Requests]:
    log, counter = logging.getLogger("httpx"), Requests()
    before = log.level, log.propagate
    log.setLevel(logging.INFO)
    log.propagate = False
    log.addHandler(counter)
    try:
        yield counter
    finally:
        log.removeHandler(counter)
        log.setLevel(before[0])
        log.propagate = before[1]


class Turns:
    """What each turn of one kind took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []
        self.beside_seconds: list[float] = []

    def take(self, load: Pipe, run: Callable[[], Any]) -> None:
        start, cpu_start = time.perf_counter(), time.process_time()
        run()
        self.seconds.append(time.perf_counter() - start)
        self.cpu_seconds.append(time.process_time() - cpu_start)
        report = load.report.raise_for_status()
        self.beside_seconds.append(self.seconds[-1] - report.duration_seconds)


def measure(rows: int, repeat: int, folder: Path) -> dict[str, Any]:
    """What a load of `rows` rows takes without and with Prefect, the medians of `repeat` turns, and what was sent.

    A server has to be known to Prefect.

    Returns:
        ``plain_seconds``, ``task_seconds``, ``added_seconds``, ``added_share``: by the clock. ``added_cpu_seconds``: of
        this process. ``beside_seconds``: what the task takes before and after its load; what others do on the machine
        changes it little. ``requests``: kind -> how many there were in the last turn. ``artifacts_per_second``: updates
        of progress, at most. ``turns``: the seconds of each turn.
    """
    data = make_dataset(folder, rows, 0.01, 8, "csv")
    plain, tasks, sent = Turns(), Turns(), list[Requests]()

    def pipe(name: str) -> Pipe:
        return Pipe(data.path, folder / f"{name}.jsonl", folder / f"{name}-rejects.csv", User, None, [Tidy()])

    def by_itself() -> None:
        load = pipe("plain")
        plain.take(load, lambda: load.run(on_report_update=None))

    def as_a_task() -> None:
        load = pipe("task")
        with counted_requests() as requests:
            tasks.take(load, lambda: run_pipe(load, name="cost"))
        sent.append(requests)

    @flow(name="cost")
    def turns() -> None:
        # Imports and first connections are no cost of the second task.
        run_pipe(Pipe([{"id": 1}], folder / "first.jsonl"), name="first")
        for turn in range(repeat):
            for run in (by_itself, as_a_task) if turn % 2 else (as_a_task, by_itself):
                run()

    turns()
    without = statistics.median(plain.seconds)
    added = _median_difference(tasks.seconds, plain.seconds)
    return {
        "rows": rows,
        "plain_seconds": round(without, 3),
        "task_seconds": round(without + added, 3),
        "added_seconds": round(added, 3),
        "added_share": round(added / without, 4),
        "added_cpu_seconds": round(_median_difference(tasks.cpu_seconds, plain.cpu_seconds), 3),
        "beside_seconds": round(statistics.median(tasks.beside_seconds), 3),
        "requests": dict(sorted(Counter(what for _, what in sent[-1].sent).items())),
        "artifacts_per_second": max(each.most_artifacts_in_a_second() for each in sent),
        "turns": {name: [round(one, 3) for one in each.seconds] for name, each in (("plain", plain), ("task", tasks))},
    }


def _median_difference(more: list[float], less: list[float]) -> float:
    """Of neighbouring turns, since a machine that others use is not equally fast all the time."""
    return statistics.median(one - other for one, other in zip(more, less, strict=True))
