"""Loads into tables, in each mode: ``python -m benchmarks warehouse`` measures, ``render`` fills docs/warehouse.md.

Contenders that go row by row take minutes for what others do in a second; they are in jobs of their own. Into DuckDB,
where dlt with rows of a model takes minutes and gigabytes for 300,000 of them, they get no more than that.
"""

from __future__ import annotations

from benchmarks import render
from benchmarks.contenders import EVERYBODY, OURS
from benchmarks.jobs import Job
from benchmarks.results import Results

__all__ = ["GOALS", "JOBS", "SECTIONS"]

_ALL = (
    Job("duckdb-append", "DuckDB, append", (OURS, "copy", "duckdb-ready", "dlt-arrow"), "duckdb"),
    Job("duckdb-replace", "DuckDB, replace", (OURS, "dlt-arrow"), "duckdb", mode="replace"),
    Job("duckdb-merge", "DuckDB, merge", (OURS, "dlt-arrow"), "duckdb", mode="merge"),
    Job("duckdb-rows", "DuckDB, append, row by row", (OURS, "dlt-pydantic"), "duckdb", scale=0.3),
    Job("postgresql-append", "PostgreSQL, append", (OURS, "copy", "adbc", "dlt-arrow"), "postgresql"),
    Job("postgresql-replace", "PostgreSQL, replace", (OURS, "dlt-arrow"), "postgresql", mode="replace"),
    Job("postgresql-merge", "PostgreSQL, merge", (OURS, "dlt-arrow"), "postgresql", mode="merge"),
    Job(
        "postgresql-rows",
        "PostgreSQL, append, row by row",
        (OURS, "dlt-pydantic", "zoopipe-sql", "pandas"),
        "postgresql",
    ),
)
JOBS: dict[str, Job] = {job.name: job for job in _ALL}

_BY_HAND = ("append", 0.7), ("replace", 0.7), ("merge", 0.35)
GOALS: tuple[tuple[str, str, str, float], ...] = (
    ("duckdb-rows", "dlt-pydantic", "duckdb-rows", 100),
    ("postgresql-rows", "dlt-pydantic", "postgresql-rows", 100),
    *((f"duckdb-{mode}", "dlt-arrow", f"duckdb-{mode}", 2.5) for mode, _ in _BY_HAND),
    *((f"postgresql-{mode}", "dlt-arrow", f"postgresql-{mode}", 5) for mode, _ in _BY_HAND),
    ("postgresql-rows", "pandas", "postgresql-rows", 20),
    *((f"{database}-{mode}", "copy", f"{database}-append", factor)
      for database in ("duckdb", "postgresql") for mode, factor in _BY_HAND),
)  # fmt: skip
"""(our job, a peer, its job, how many times as fast ours has to be). COPY by hand only appends."""


def speed(results: Results, job: str, contender: str) -> float | None:
    """Rows a second; None if it was not measured, or failed."""
    record = results["jobs"].get(job, {"contenders": {}})
    seconds = record["contenders"].get(contender, {}).get("seconds")
    return None if seconds is None else float(record["rows"] / seconds)


def _goals(results: Results) -> str:
    rows = []
    for job, peer, where, factor in GOALS:
        ours, theirs = speed(results, job, OURS), speed(results, where, peer)
        against = EVERYBODY[peer].name + (", append" if where != job else "")
        row = (JOBS[job].title, f"at least {factor:g} x {against}")
        if ours is None or theirs is None:
            rows.append((*row, render.NOT_MEASURED, ""))
        else:
            rows.append((*row, f"{ours / theirs:.2f} x", "yes" if ours / theirs >= factor else "**no**"))
    return render.table(("load", "goal", "measured", "met"), rows, right=(2,))


def _jobs(results: Results) -> str:
    rows = []
    for name, job in JOBS.items():
        record = results["jobs"].get(name, {"contenders": {}})
        for who, figures in record["contenders"].items():
            rows.append((job.title, EVERYBODY[who].name, *_figures(record, figures)))
    if not rows:
        return "Nothing has been measured yet."
    return render.table(("load", "contender", "rows", "M rows/s", "slowest to fastest", "peak MB"), rows, (2, 3, 4, 5))


def _figures(record: Results, figures: Results) -> tuple[str, ...]:
    if "failed" in figures:
        return f"{record['rows']:,}", "failed", " ".join(figures["failed"].split()).replace("|", "\\|")[:100], ""
    rates = [record["rows"] / figures[key] / 1e6 for key in ("seconds", "seconds_max", "seconds_min")]
    shown = [f"{rate:.3f}" if rate < 0.1 else f"{rate:.2f}" for rate in rates]
    return f"{record['rows']:,}", shown[0], f"{shown[1]} to {shown[2]}", f"{figures['peak_bytes'] / 1e6:,.0f}"


def _contenders(_: Results) -> str:
    names = dict.fromkeys(name for job in _ALL for name in job.contenders if name != OURS)
    return render.table(
        ("contender", "package", "how it is set up"),
        ((EVERYBODY[name].name, f"`{EVERYBODY[name].distribution}`", EVERYBODY[name].settings) for name in names),
    )


SECTIONS = {
    "warehouse_contenders": _contenders,
    "warehouse_goals": _goals,
    "warehouse_jobs": _jobs,
    "warehouse_machine": render.machines,
}
"""What stands between the markers of docs/warehouse.md."""
