"""The jobs, what each is held against, and the curves that are drawn through them."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.contenders import OURS

ROWS = 1_000_000
BAD = 0.01
PEERS = ("zoopipe", "polars", "duckdb")


@dataclass(frozen=True)
class Job:
    """One load and who does it.

    name: on the command line and in the results. title: in tables.
    contenders: keys of `CONTENDERS`, ours first.
    scale: how many times as many rows as the others it has.
    mode: what a load does to a table; where it is not ``append``, half of the rows are in the table before.
    bad: the share of bad rows. The other fields: see `benchmarks.task.Task`.
    """

    name: str
    title: str
    contenders: tuple[str, ...]
    target: str
    source_format: str = "csv"
    hook: str = "none"
    columns: int = 8
    bad: float = BAD
    scale: float = 1.0
    mode: str = "append"


@dataclass(frozen=True)
class Target:
    """What ours has to reach: at least `factor` times the speed of `peer` in `job`."""

    job: str
    peer: str
    factor: float


@dataclass(frozen=True)
class Limit:
    """What ours must not pass, in memory or at start-up.

    metric: a key of `benchmarks.render.METRICS`. unit: shown behind the figure.
    """

    title: str
    metric: str
    at_most: float
    unit: str


@dataclass(frozen=True)
class Curve:
    """Jobs that differ in one thing. points: (what the table shows, job)."""

    title: str
    heading: str
    points: tuple[tuple[str, str], ...]


_ALL = (
    Job(
        "validate", "read + validate, no writer", (OURS, "arrow-stream", "arrow-at-once", "polars", "pydantic"), "none"
    ),
    Job("jsonl", "CSV -> JSONL", (OURS, "core-1-thread", *PEERS, "pydantic"), "jsonl"),
    Job("csv", "CSV -> CSV", (OURS, *PEERS), "csv"),
    Job("parquet", "CSV -> Parquet (zstd)", (OURS, *PEERS), "parquet"),
    Job("duckdb", "CSV -> DuckDB table in a file", (OURS, "duckdb"), "duckdb"),
    Job("postgresql", "CSV -> PostgreSQL", (OURS, "adbc"), "postgresql"),
    Job("jsonl-parquet", "JSONL -> Parquet (zstd)", (OURS, "zoopipe"), "parquet", source_format="jsonl"),
    Job("row-hook", "row hook, CSV -> JSONL", (OURS, "zoopipe"), "jsonl", hook="row"),
    Job("column-hook", "ColumnHook, CSV -> JSONL", (OURS, "polars"), "jsonl", hook="column"),
    Job("half-bad", "50% bad rows, CSV -> JSONL", (OURS, *PEERS), "jsonl", bad=0.5),
    Job("jsonl-clean", "no bad rows, CSV -> JSONL", (OURS, *PEERS), "jsonl", bad=0.0),
    Job("jsonl-10-bad", "10% bad rows, CSV -> JSONL", (OURS, *PEERS), "jsonl", bad=0.1),
    Job("jsonl-4-columns", "4 columns, CSV -> JSONL", (OURS, *PEERS), "jsonl", columns=4),
    Job("jsonl-40-columns", "40 columns, CSV -> JSONL", (OURS, *PEERS), "jsonl", columns=40),
    Job("jsonl-small", "a tenth of the rows, CSV -> JSONL", (OURS, *PEERS), "jsonl", scale=0.1),
    Job("jsonl-large", "ten times the rows, CSV -> JSONL", (OURS, *PEERS), "jsonl", scale=10.0),
)
JOBS: dict[str, Job] = {job.name: job for job in _ALL}

TARGETS: tuple[Target, ...] = (
    Target("validate", "arrow-stream", 0.75),
    Target("jsonl", "zoopipe", 20),
    Target("jsonl", "polars", 1.8),
    Target("csv", "zoopipe", 15),
    Target("csv", "polars", 1.3),
    Target("parquet", "zoopipe", 15),
    Target("parquet", "polars", 1.3),
    Target("duckdb", "duckdb", 1.2),
    Target("postgresql", "adbc", 0.9),
    Target("jsonl-parquet", "zoopipe", 5),
    Target("row-hook", "zoopipe", 2),
    Target("column-hook", "polars", 2),
    Target("half-bad", "zoopipe", 3),
)

LIMITS: tuple[Limit, ...] = (
    Limit("peak memory, CSV -> JSONL", "memory", 300, "MB"),
    Limit("peak memory, ten times the rows", "memory_growth", 1.15, "x"),
    Limit("`import zoopipe_core`, beyond the start of Python", "import_seconds", 0.15, "s"),
    Limit("ten rows in a fresh process, no kernel cache", "ten_rows_seconds", 0.8, "s"),
    Limit("kernels ready from a warm cache, beyond NumPy", "kernels_seconds", 0.2, "s"),
)

CURVES: tuple[Curve, ...] = (
    Curve("How many rows", "rows", (("0.1x", "jsonl-small"), ("1x", "jsonl"), ("10x", "jsonl-large"))),
    Curve("How many columns", "columns", (("4", "jsonl-4-columns"), ("8", "jsonl"), ("40", "jsonl-40-columns"))),
    Curve(
        "How many bad rows",
        "bad",
        (("0%", "jsonl-clean"), ("1%", "jsonl"), ("10%", "jsonl-10-bad"), ("50%", "half-bad")),
    ),
)
