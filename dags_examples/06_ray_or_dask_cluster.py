"""The weather of a year into DuckDB by the workers of a Ray or Dask cluster.

The task plans, watches and publishes; the rows are read and validated where the cluster's workers are. The cluster is
that of `$RAY_ADDRESS` or `$DASK_SCHEDULER_ADDRESS`; where neither is set, Dask starts one within the task, for a try.

Workers need this project's packages: what they lack, they install (see docs/clusters.md); here, they are only checked.
The warehouse is `$ZOOPIPE_WAREHOUSE`, or `warehouse.duckdb` in the worker's folder.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import dag

from examples_common.nycflights import Weather, source
from zoopipe_airflow import ZooPipeParallelOperator

if TYPE_CHECKING:
    from zoopipe_core import BaseEngine, Pipe


def cluster() -> BaseEngine:
    """The engine, built when the task runs: parsing this file loads neither Ray nor Dask."""
    if "RAY_ADDRESS" in os.environ:
        from zoopipe_core.engines.ray import RayEngine

        return RayEngine(dependencies="check")
    from zoopipe_core.engines.dask import DaskEngine

    return DaskEngine(dependencies="check", n_workers=2)


def weather() -> Pipe:
    from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter

    warehouse = Path(os.environ.get("ZOOPIPE_WAREHOUSE", "warehouse.duckdb"))
    return Pipe(
        input_adapter=CSVInputAdapter(source("weather"), null_values=["NA"]),
        output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse}", "weather", mode="replace"),
        schema_model=Weather,
    )


@dag(schedule=None, tags=["zoopipe"])
def weather_on_a_cluster() -> None:
    ZooPipeParallelOperator(
        task_id="load_weather",
        pipe=weather,
        workers=2,
        engine=cluster,
        retries_per_shard=1,
        max_errors=0.01,
        retries=2,  # DuckDB lets one process write: another DAG may be at it
    )


weather_on_a_cluster()
