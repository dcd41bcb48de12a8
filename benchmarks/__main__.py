"""``python -m benchmarks``: run every job with every contender, print the table, keep it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.contenders import CONTENDERS
from benchmarks.data import users_csv

JOBS = ("validate", "jsonl", "csv", "parquet", "duckdb")
RESULTS = Path(__file__).parent / "results"
OURS = "zoopipe_core, 2 threads"


def run_once(contender: str, job: str, source: Path) -> dict[str, Any]:
    """One run in a process of its own, into a folder of its own."""
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.contenders", contender, job, str(source), folder],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent.parent,
            check=False,
        )
    if done.returncode:
        return {"supported": True, "failed": done.stderr.strip().splitlines()[-1] if done.stderr else "no message"}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def run_job(job: str, source: Path, repeat: int, console: Console) -> dict[str, Any]:
    """All contenders in turn, `repeat` times; the median of each."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for turn in range(repeat):
        for name in CONTENDERS:
            if turn and not runs[name][0].get("seconds"):
                continue
            console.print(f"  {job}: {name}, run {turn + 1} of {repeat}", style="dim", highlight=False)
            runs[name].append(run_once(name, job, source))
    summary: dict[str, Any] = {}
    for name, results in runs.items():
        if not results[0]["supported"]:
            continue
        if any("failed" in result for result in results):
            summary[name] = {"failed": next(r["failed"] for r in results if "failed" in r)}
            continue
        summary[name] = {
            "seconds": statistics.median(r["seconds"] for r in results),
            "seconds_min": min(r["seconds"] for r in results),
            "seconds_max": max(r["seconds"] for r in results),
            "rows": results[0]["rows"],
            "peak_bytes": max(r["peak_bytes"] for r in results),
        }
    return summary


def show(console: Console, rows: int, bad: float, jobs: dict[str, Any]) -> None:
    """The table for people: rows a second, and how often ours is faster."""
    table = Table(title=f"{rows:,} rows, {bad:.0%} bad", title_justify="left")
    for heading in ("job", "contender", "rows/s", "ours is x faster", "peak MB", "rows written"):
        table.add_column(heading, justify="left" if heading in ("job", "contender") else "right")
    for job, contenders in jobs.items():
        ours = contenders.get(OURS, {}).get("seconds")
        for name, figures in contenders.items():
            if "failed" in figures:
                table.add_row(job, name, "failed", "", "", figures["failed"][:40])
                continue
            ratio = "" if name == OURS or not ours else f"{figures['seconds'] / ours:.2f}"
            table.add_row(
                job, name, f"{rows / figures['seconds']:,.0f}", ratio,
                f"{figures['peak_bytes'] / 1e6:,.0f}", f"{figures['rows']:,}",
            )  # fmt: skip
        table.add_section()
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--bad", type=float, default=0.01, help="share of bad rows")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=list(JOBS))
    parser.add_argument("--save", default="peers", help="name of the file in benchmarks/results, without .json")
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        source = users_csv(Path(folder), arguments.rows, arguments.bad)
        jobs = {job: run_job(job, source, arguments.repeat, console) for job in arguments.jobs}
    show(console, arguments.rows, arguments.bad, jobs)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{arguments.save}.json"
    record = {
        "rows": arguments.rows,
        "bad": arguments.bad,
        "repeat": arguments.repeat,
        "when": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)),
        "jobs": jobs,
    }
    path.write_text(json.dumps(record, indent=2) + "\n")
    console.print(f"kept in benchmarks/results/{path.name}")


if __name__ == "__main__":
    main()
