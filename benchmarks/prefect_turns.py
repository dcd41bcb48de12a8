"""A load by itself and as a Prefect task, in turns: what the second costs, and what the server is asked meanwhile."""

from __future__ import annotations

import logging
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client

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


def measure(rows: int, repeat: int, folder: Path) -> dict[str, Any]:
    """Seconds of a load of `rows` rows without and with Prefect, the medians of `repeat` turns, and what was sent.

    A server has to be known to Prefect.
    """
    data = make_dataset(folder, rows, 0.01, 8, "csv")
    plain: list[float] = []
    tasks: list[float] = []
    sent: list[Requests] = []

    def pipe(name: str) -> Pipe:
        return Pipe(data.path, folder / f"{name}.jsonl", folder / f"{name}-rejects.csv", User, None, [Tidy()])

    def by_itself() -> None:
        load = pipe("plain")
        start = time.perf_counter()
        load.run(on_report_update=None)
        plain.append(time.perf_counter() - start)
        load.report.raise_for_status()

    def as_a_task() -> None:
        load = pipe("task")
        # Loads that run by themselves leave the connection idle, and the first request after some seconds of that may
        # take two seconds: not on the task's bill.
        get_client(sync_client=True).hello()
        with counted_requests() as requests:
            start = time.perf_counter()
            run_pipe(load, name="cost")
            tasks.append(time.perf_counter() - start)
        sent.append(requests)

    @flow(name="cost")
    def turns() -> None:
        as_a_task()  # imports and first connections are no cost of the second task
        tasks.clear()
        sent.clear()
        for turn in range(repeat):
            for run in (by_itself, as_a_task) if turn % 2 else (as_a_task, by_itself):
                run()

    turns()
    without = statistics.median(plain)
    # Of neighbouring turns, since a machine that others use is not equally fast all the time.
    added = statistics.median(task - alone for task, alone in zip(tasks, plain, strict=True))
    return {
        "rows": rows,
        "plain_seconds": round(without, 3),
        "task_seconds": round(without + added, 3),
        "added_seconds": round(added, 3),
        "added_share": round(added / without, 4),
        "requests": dict(sorted(Counter(what for _, what in sent[-1].sent).items())),
        "artifacts_per_second": max(each.most_artifacts_in_a_second() for each in sent),
        "turns": {"plain": [round(one, 3) for one in plain], "task": [round(one, 3) for one in tasks]},
    }
