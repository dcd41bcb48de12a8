"""The airports of each region into a table of their own, with `@task.zoopipe`.

One task looks which regions there are; a mapped task loads each of them by a function that returns its pipe, one after
the other, since a DuckDB file takes one writing process at a time; the last task reads their reports.

The warehouse is `$ZOOPIPE_WAREHOUSE`, or `warehouse.duckdb` in the worker's folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from airflow.sdk import dag, task

from examples_common.nycflights import Airport, source

ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles")


@task
def zones() -> list[str]:
    """What is mapped over: known when the DAG runs, not before."""
    return [zone for zone in ZONES if zone in source("airports").read_text()]


@task.zoopipe(max_active_tis_per_dagrun=1, max_errors=0.01, retries=1)
def load_zone(zone: str) -> Any:
    """Called when its task runs; what it returns is run."""
    from zoopipe_core import ColumnHook, CSVInputAdapter, Pipe, SQLOutputAdapter

    class OfTheZone(ColumnHook):
        def execute(self, batch: Any, store: Any) -> Any:
            return batch

        def keep(self, batch: Any, store: Any) -> Any:
            import pyarrow.compute as pc

            return pc.equal(batch.column("tzone"), zone)

    warehouse = Path(os.environ.get("ZOOPIPE_WAREHOUSE", "warehouse.duckdb"))
    table = "airports_" + zone.rpartition("/")[2].lower()
    return Pipe(
        input_adapter=CSVInputAdapter(source("airports"), null_values=["NA"]),
        output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse}", table, mode="replace"),
        schema_model=Airport,
        post_validation_hooks=[OfTheZone()],
    )


@task
def total(reports: Any) -> int:
    """The reports are plain JSON."""
    return sum(report["loaded_rows"] for report in reports)


@dag(schedule=None, tags=["zoopipe"])
def airports_by_zone() -> None:
    total(load_zone.expand(zone=zones()))


airports_by_zone()
