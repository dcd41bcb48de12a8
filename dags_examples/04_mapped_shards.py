"""The weather of a year into DuckDB, each shard of the file a task of its own.

Airflow is the engine: the shards are mapped tasks, which any worker may run, and one that fails is tried again alone.
The last task publishes all of them at once. Rows that are validated are kept in a folder that all workers reach until
then, which the Airflow variable `zoopipe_staging` names.

The warehouse is `$ZOOPIPE_WAREHOUSE`, or `warehouse.duckdb` in the worker's folder.
"""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import dag

from examples_common.nycflights import Weather, source
from zoopipe_airflow import zoopipe_task_group

if TYPE_CHECKING:
    from zoopipe_core import Pipe


def weather() -> Pipe:
    """Called in each task of the group."""
    from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter

    warehouse = Path(os.environ.get("ZOOPIPE_WAREHOUSE", "warehouse.duckdb"))
    return Pipe(
        input_adapter=CSVInputAdapter(source("weather"), null_values=["NA"]),
        output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse}", "weather", mode="replace"),
        error_output_adapter=warehouse.parent / "rejects" / "weather.csv",
        schema_model=Weather,
    )


@dag(schedule=None, tags=["zoopipe"])
def weather_in_shards() -> None:
    zoopipe_task_group(
        weather,
        shards=4,
        group_id="load_weather",
        staging="{{ var.value.get('zoopipe_staging', 'staging') }}",
        max_errors=0.001,
        retries=2,
        retry_delay=timedelta(seconds=10),
    )


weather_in_shards()
