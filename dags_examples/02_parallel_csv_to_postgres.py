"""A day's orders into PostgreSQL by all cores: one CSV file, cut into shards, published in one transaction.

The file is `orders/<day>.csv` in `$ZOOPIPE_ORDERS`, or in the worker's folder; rejected rows go to
`rejects/<day>.csv` beside it. `$ZOOPIPE_POSTGRES` is the URL of the database. Rows are added to the table `orders`.

The load is named after the task's run. So a retry, and a task that is cleared, add no row twice; a day whose file has
changed since is refused.
"""

from __future__ import annotations

import os
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from airflow.sdk import dag
from pydantic import BaseModel, Field

from zoopipe_airflow import ZooPipeParallelOperator

if TYPE_CHECKING:
    from zoopipe_core import Pipe


class Order(BaseModel):
    """What a good row is."""

    order_id: int
    customer: Annotated[str, Field(min_length=1)]
    ordered_on: date
    amount: Annotated[Decimal, Field(ge=0, max_digits=10, decimal_places=2)]


def database() -> str:
    """The URL with its password: asked for by each process that connects, and kept nowhere."""
    return os.environ["ZOOPIPE_POSTGRES"]


def orders() -> Pipe:
    """The load. Called when the task runs, so that parsing this file stays cheap; its templates are rendered then."""
    from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter

    folder = os.environ.get("ZOOPIPE_ORDERS", ".")
    return Pipe(
        input_adapter=CSVInputAdapter(f"{folder}/orders/{{{{ ds }}}}.csv"),
        output_adapter=SQLOutputAdapter(database, "orders", mode="append"),
        error_output_adapter=f"{folder}/rejects/{{{{ ds }}}}.csv",
        schema_model=Order,
    )


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, max_active_runs=1, tags=["zoopipe"])
def orders_to_postgres() -> None:
    ZooPipeParallelOperator(
        task_id="load_orders", pipe=orders, workers=4, retries_per_shard=1, max_errors=0.01, retries=2
    )


orders_to_postgres()
