"""What memory and schedulers cost a load: the tables of docs/guarantees.md, docs/airflow.md and docs/prefect.md.

Measured by ``python -m benchmarks.ledger_price``, ``benchmarks.airflow_cost`` and ``benchmarks.prefect_cost``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import render, results
from benchmarks.results import Results

__all__ = ["PAGES", "RESULTS"]

NOTHING = "Nothing has been measured yet."


def _ledger(kept: Results) -> str:
    rows = []
    for size, record in sorted(kept.items(), key=lambda item: int(item[0])):
        for target, ways in record["figures"].items():
            bare, named = ways["no ledger"]["seconds"], ways["with a name"]["seconds"]
            rows.append((f"{int(size):,}", target, _milliseconds(bare), _more(named, bare), f"{named / bare - 1:+.1%}"))
    headings = ("rows", "target", "without a ledger", "more with a name", "share")
    return render.table(headings, rows, right=(0, 2, 3, 4)) if rows else NOTHING


def _airflow(kept: Results) -> str:
    if not kept:
        return NOTHING
    parsing = kept["parsing"]
    names = {
        "empty": "`EmptyOperator`",
        "built late": "ours, the pipe from a function",
        "given": "ours, with a model, adapters and a `Pipe`",
    }
    parsed = render.table(
        (f"a DAG file with {parsing['operators']} operators", "parsed in", "heavy libraries loaded"),
        [
            (names[name], _milliseconds(seconds), ", ".join(parsing["heavy_modules"][name]) or "none")
            for name, seconds in parsing["seconds"].items()
        ],
        right=(1,),
    )
    rows = [
        (
            f"{each['rows']:,}",
            _milliseconds(each["seconds"]["pipe"]),
            _more(each["seconds"]["task"], each["seconds"]["pipe"]),
        )
        for each in kept["running"].values()
    ]
    allowed = f"{_milliseconds(parsing['allowed_seconds'])} would be 1.2 times the first and 50 ms."
    return "\n\n".join((parsed, allowed, render.table(("rows", "by itself", "more as a task"), rows, right=(0, 1, 2))))


def _prefect(kept: Results) -> str:
    rows = [
        (
            f"{load['rows']:,}",
            _milliseconds(load["plain_seconds"]),
            _more(load["task_seconds"], load["plain_seconds"]),
            f"{load['added_share']:+.1%}",
            str(sum(load["requests"].values())),
            str(load["artifacts_per_second"]),
        )
        for load in kept.get("loads", {}).values()
    ]
    headings = ("rows", "by itself", "more as a task", "share", "requests", "most progress updates in a second")
    return render.table(headings, rows, right=range(6)) if rows else NOTHING


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms"


def _more(seconds: float, than: float) -> str:
    return f"{(seconds - than) * 1000:+,.0f} ms"


PAGES: dict[str, dict[str, Callable[[Results], str]]] = {
    "guarantees": {"ledger": _ledger},
    "airflow": {"airflow": _airflow},
    "prefect": {"prefect": _prefect},
}
"""Page -> what stands between its markers."""

RESULTS: dict[str, Path] = {
    "guarantees": results.FOLDER / "ledger.json",
    "airflow": results.FOLDER / "airflow.json",
    "prefect": results.FOLDER / "prefect.json",
}
"""Page -> where its figures are kept."""
