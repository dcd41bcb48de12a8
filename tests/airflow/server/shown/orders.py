"""What the pictures of the documentation show."""

from airflow.sdk import dag

from zoopipe_airflow import ZooPipeOperator, ZooPipeParallelOperator


def orders():
    from datetime import date
    from decimal import Decimal

    from pydantic import BaseModel, Field

    from zoopipe_core import CSVInputAdapter, Pipe

    class Order(BaseModel):
        order_id: int
        customer: str = Field(min_length=1)
        ordered_on: date
        amount: Decimal = Field(gt=0)

    source = CSVInputAdapter("in/orders/{{ ds }}.csv")
    return Pipe(source, "duckdb:///warehouse.duckdb::orders", "rejects/orders/{{ ds }}.csv", Order)


def customers():
    from zoopipe_core import Pipe

    return Pipe("in/customers/{{ ds }}.csv", "out/customers/{{ ds }}.parquet")


@dag(schedule=None)
def daily_orders():
    ZooPipeParallelOperator(task_id="load", pipe=orders, workers=2)


@dag(schedule=None)
def daily_customers():
    ZooPipeOperator(task_id="load", pipe=customers)


daily_orders()
daily_customers()
