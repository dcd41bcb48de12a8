"""A day's flights into a DuckDB warehouse, every day, and those of the week before when the DAG is switched on.

Two tasks a day: `arrive` stands for whatever brings the file of the day, `in/<day>.csv`; `load` merges it into the
table `flights`. A row that is there already, by its key, takes the new values, so that a file that comes a second time
changes nothing but what it corrects. A retry loads nothing twice, since the load is named after the task's run.

All of it is in the folder `$ZOOPIPE_FLIGHTS`, or in the worker's folder.
"""

from __future__ import annotations

import csv
import io
import os
import zipfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import dag, task

from examples_common.nycflights import Flight, source
from zoopipe_airflow import ZooPipeOperator

if TYPE_CHECKING:
    from zoopipe_core import Pipe


def folder() -> Path:
    return Path(os.environ.get("ZOOPIPE_FLIGHTS", "."))


@task(retries=2)
def arrive(ds: Any = None) -> None:
    """Write the day's file, once: a load whose file was written anew is another load."""
    target = folder() / "in" / f"{ds}.csv"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    day = [str(int(part)) for part in ds.split("-")]
    with zipfile.ZipFile(source("flights")) as archive, archive.open("flights.csv") as raw:
        rows = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        kept = [next(rows), *(row for row in rows if row[:3] == day)]
    unfinished = target.with_suffix(".unfinished")
    with unfinished.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(kept)
    unfinished.rename(target)


def flights() -> Pipe:
    """The load. Called when its task runs, so that parsing this file stays cheap; its templates are rendered then."""
    from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter

    return Pipe(
        input_adapter=CSVInputAdapter(f"{folder()}/in/{{{{ ds }}}}.csv", null_values=["NA"]),
        output_adapter=SQLOutputAdapter(
            f"duckdb:///{folder()}/warehouse.duckdb", "flights", mode="merge", key=["time_hour", "carrier", "flight"]
        ),
        error_output_adapter=f"{folder()}/rejects/{{{{ ds }}}}.csv",
        schema_model=Flight,
    )


@dag(
    schedule="@daily",
    start_date=datetime(2013, 1, 1),
    end_date=datetime(2013, 1, 7),  # the data end some day; yours will not
    catchup=True,
    max_active_runs=1,  # a DuckDB file takes one writing process at a time
    tags=["zoopipe"],
)
def daily_flights_to_duckdb() -> None:
    arrive() >> ZooPipeOperator(task_id="load", pipe=flights, max_errors=0.01, retries=2, infer_outlets=True)


daily_flights_to_duckdb()
