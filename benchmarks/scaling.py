"""What loads in shards cost and gain: ``python -m benchmarks scaling`` measures, ``render`` fills docs/scaling.md.

jobs          the same load by one process and by several, as in `benchmarks.jobs`
engines       `benchmarks.engines`: starts, progress, slots
boundaries    `benchmarks.boundaries`: how fast the boundaries of shards are found
coordination  `benchmarks.coordination`: a manager with 10 to 100,000 shards
tables        a load into PostgreSQL by one process and by two, whose rows wait in tables or in files
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import postgres, render, results
from benchmarks.contenders import OURS
from benchmarks.jobs import Job
from benchmarks.runner import ROOT, Settings, contender, run_job, warm_kernels

__all__ = ["GOALS", "JOBS", "PARTS", "SECTIONS", "TABLES", "load", "measure"]

Results = dict[str, Any]
"""``{part: figures + "machine"}``"""

SHARDS_AHEAD = "core-2-workers-8-shards"
"""Two workers that have more shards than one each, whose parts are joined while others are written."""

JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job(
            "hook",
            "row hook, CSV -> JSONL",
            (OURS, "core-1-thread", "core-2-workers", SHARDS_AHEAD, "zoopipe-2-workers"),
            "jsonl",
            hook="row",
            bad=0.0,
        ),
        Job(
            "hook-large",
            "row hook, CSV -> JSONL, ten times the rows",
            (OURS, "core-2-workers", SHARDS_AHEAD, "zoopipe-2-workers"),
            "jsonl",
            hook="row",
            bad=0.0,
            scale=10.0,
        ),
        Job(
            "parquet",
            "CSV -> Parquet (zstd)",
            (OURS, "core-1-workers", "core-2-workers", SHARDS_AHEAD, "core-4-workers"),
            "parquet",
            scale=10.0,
        ),
    )
}
TABLES: dict[str, Job] = {
    mode: Job(mode, f"CSV -> PostgreSQL, {mode}", (OURS, "core-2-workers-tables", "core-2-workers-parts"),
              "postgresql", mode=mode)
    for mode in ("append", "replace", "merge")
}  # fmt: skip
SHARDS = (10, 100, 1_000, 10_000, 100_000)


def _jobs(settings: Settings, folder: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    warm_kernels()
    return {name: run_job(job, settings, folder, "", progress) for name, job in JOBS.items()}


def _tables(settings: Settings, folder: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    warm_kernels()
    with postgres.server() as url:
        return {name: run_job(job, settings, folder, url, progress) for name, job in TABLES.items()}


def _engines(*_: Any) -> dict[str, Any]:
    return _run("benchmarks.engines", "--json")


def _boundaries(*_: Any) -> dict[str, Any]:
    return _run("benchmarks.boundaries", "--json")


def _coordination(settings: Settings, folder: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    figures = {}
    for shards in SHARDS:
        progress(f"coordination: {shards:,} shards")
        figures[str(shards)] = _run("benchmarks.coordination", str(shards))
    return figures


def _run(module: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


PARTS: dict[str, Callable[[Settings, Path, Callable[[str], None]], dict[str, Any]]] = {
    "boundaries": _boundaries,
    "coordination": _coordination,
    "engines": _engines,
    "jobs": _jobs,
    "tables": _tables,
}


def measure(part: str, settings: Settings, folder: Path, progress: Callable[[str], None]) -> dict[str, Any]:
    """One part's figures, with the machine and the day.

    Args:
        settings: how many rows, and how often; only jobs look at it.
        folder: for inputs and outputs.
    """
    progress(part)
    return results.stamped({"figures": PARTS[part](settings, folder, progress)}, settings.repeat)


def load(path: Path) -> Results:
    """The results kept in `path`, in the order of their names; none if it is not there."""
    return dict(sorted(results.read(path).items()))


# ---- what there is to reach -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """One figure, and what it should be.

    at_most: whether it is a limit. show: how the figure is written.
    """

    title: str
    metric: Callable[[Results], float]
    bound: float
    show: str
    at_most: bool = False


def _figures(kept: Results, part: str) -> Any:
    return kept[part]["figures"]


def _ratio(job: str, slow: str, fast: str) -> Callable[[Results], float]:
    def metric(kept: Results) -> float:
        done = _figures(kept, "jobs")[job]["contenders"]
        return float(done[slow]["seconds"] / done[fast]["seconds"])

    return metric


def _engine(group: str, name: str, factor: float = 1.0) -> Callable[[Results], float]:
    return lambda kept: float(_figures(kept, "engines")[group][name]) * factor


def _boundary(kept: Results) -> float:
    return min(float(row["scan"]) for row in _figures(kept, "boundaries").values())


def _growth(kept: Results) -> float:
    figures = _figures(kept, "coordination")
    return float(figures["1000"]["peak_bytes"] / figures["10"]["peak_bytes"])


_ONE_PROCESS = "one process with 2 threads"
_HOOK = ((OURS, _ONE_PROCESS, 1.6), ("zoopipe-2-workers", "zoopipe's `parallelize_pipe`", 3.0))
GOALS = (
    *(
        Goal(f"{work}: 2 workers{more}, to {than}", _ratio(job, slow, fast), bound, "{:.2f} x")
        for job, work, against in (
            ("hook", "row hook, 1 M rows", _HOOK),
            ("hook-large", "row hook, 10 M rows", _HOOK),
            ("parquet", "CSV -> Parquet, 10 M rows", ((OURS, _ONE_PROCESS, 0.9),)),
        )
        for slow, than, bound in against
        for fast, more in (("core-2-workers", ""), (SHARDS_AHEAD, " with 8 shards"))
    ),
    Goal("ten rows in a warm pool", _engine("start, seconds", "warm pool", 1e3), 20, "{:.1f} ms", at_most=True),
    Goal("ten rows in a cold process", _engine("start, seconds", "cold process", 1e3), 700, "{:.0f} ms", at_most=True),
    Goal(
        "progress: share of the worker's time",
        _engine("progress, seconds", "share by updates", 100),
        0.5,
        "{:.2f}%",
        at_most=True,
    ),
    Goal("progress: a look at a worker", _engine("slot, microseconds", "read"), 50, "{:.1f} µs", at_most=True),
    Goal("boundaries of shards, slowest of four texts", _boundary, 1.0, "{:.2f} GB/s a core"),
    Goal("memory of a manager, 1,000 shards to 10", _growth, 1.15, "{:.2f} x", at_most=True),
)


# ---- the page -------------------------------------------------------------------------------------------------------


def _goals(kept: Results) -> str:
    rows = []
    for goal in GOALS:
        try:
            figure = goal.metric(kept)
        except KeyError:  # not measured, or the contender failed
            rows.append((goal.title, _bound(goal), render.NOT_MEASURED, ""))
            continue
        met = figure <= goal.bound if goal.at_most else figure >= goal.bound
        rows.append((goal.title, _bound(goal), goal.show.format(figure), "yes" if met else "**no**"))
    return render.table(("what", "goal", "measured", "met"), rows, right=(2,))


def _bound(goal: Goal) -> str:
    unit = goal.show[goal.show.index("}") + 1 :]
    return f"at {'most' if goal.at_most else 'least'} {goal.bound:g}{unit}"


def _curve(kept: Results) -> str:
    return _compared(kept, "jobs", JOBS)


def _staged(kept: Results) -> str:
    return _compared(kept, "tables", TABLES)


def _compared(kept: Results, part: str, jobs: Mapping[str, Job]) -> str:
    if part not in kept:
        return "Nothing has been measured yet."
    rows = []
    for name, job in jobs.items():
        record = _figures(kept, part).get(name, {"contenders": {}})
        for who in (who for who in job.contenders if who in record["contenders"]):
            figures = record["contenders"][who]
            if "failed" in figures:
                why = figures["failed"][:100].replace("|", "\\|")
                rows.append((job.title, contender(who).name, "failed", "", "", why))
                continue
            rates = [record["rows"] / figures[key] / 1e6 for key in ("seconds", "seconds_max", "seconds_min")]
            spread = f"{rates[1]:.2f} to {rates[2]:.2f}"
            used = f"{figures['cpu_seconds']:.1f}"
            rows.append((job.title, contender(who).name, f"{rates[0]:.2f}", spread, used, f"{record['rows']:,}"))
    return render.table(("job", "contender", "M rows/s", "slowest to fastest", "CPU s", "rows"), rows, (2, 3, 4, 5))


def _coordinated(kept: Results) -> str:
    if "coordination" not in kept:
        return "Nothing has been measured yet."
    rows = [
        (
            f"{row['shards']:,}",
            *(f"{row[step]:.2f} s" for step in ("plan", "collect", "join")),
            f"{row['peak_bytes'] / 1e6:,.0f} MB",
            f"{row['report_bytes'] / 1e3:.1f} KB",
        )
        for row in _figures(kept, "coordination").values()
    ]
    headings = ("shards", "plan", "collect", "join", "peak memory of the process", "final report")
    return render.table(headings, rows, right=range(6))


def _machines(kept: Results) -> str:
    lines = []
    for part, record in kept.items():
        facts = record["machine"]
        versions = f"Python {facts['python']}, pyarrow {facts['versions'].get('pyarrow')}"
        lines.append(f"- {part}: {facts['cores']} cores of {facts['processor']}, {versions}; {record['when']}")
    return "\n".join(lines) or "Nothing has been measured yet."


SECTIONS: dict[str, Callable[[Results], str]] = {
    "coordination": _coordinated,
    "goals": _goals,
    "machines": _machines,
    "tables": _staged,
    "workers": _curve,
}
"""What stands between the markers of docs/scaling.md."""
