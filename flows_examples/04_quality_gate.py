"""Let only good data into the warehouse: with too many rejects a load fails, and what depends on it does not run.

    python flows_examples/04_quality_gate.py [--max-share 0.001] [--warehouse warehouse.duckdb]

One of the 26,115 weather reports tells of a wind of 1,048 miles per hour. With `--max-share 0` that is one too many:
the old table stays, and `rejects/weather.csv` tells which row it was, and why.
"""

import examples_common.private_prefect  # noqa: F401

# isort: split
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from prefect import flow, task
from prefect.states import State

from examples_common.nycflights import Weather, source
from zoopipe_core import CSVInputAdapter, Pipe, SQLOutputAdapter
from zoopipe_prefect import run_pipe


@task
def strongest_wind(warehouse: Path) -> float:
    """What needs good data: runs after the gate only."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        [(speed,)] = connection.sql("SELECT max(wind_speed) FROM weather").fetchall()
    return float(speed)


@flow
def quality_gate(warehouse: Path, max_share: float) -> float:
    pipe = Pipe(
        input_adapter=CSVInputAdapter(source("weather"), null_values=["NA"]),
        output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse}", "weather", mode="replace"),
        error_output_adapter=warehouse.parent / "rejects" / "weather.csv",
        schema_model=Weather,
        max_errors=max_share,
    )
    report = run_pipe(pipe, name="weather")  # raises if the gate stays closed; there is no use in trying again
    print(f"{report['loaded_rows']:,} rows passed, {report['rejected_rows']:,} were rejected")
    return strongest_wind(warehouse)


def main(
    max_share: Annotated[float, typer.Option(help="of rows that may be rejected", min=0, max=1)] = 0.001,
    warehouse: Annotated[Path, typer.Option(envvar="ZOOPIPE_WAREHOUSE")] = Path("warehouse.duckdb"),
) -> None:
    state: State[float] = quality_gate(warehouse, max_share, return_state=True)
    if not state.is_completed():
        print(f"The gate stays closed.\n{state.message}")
        raise typer.Exit(1)
    print(f"The strongest wind was of {state.result():.1f} miles per hour.")


if __name__ == "__main__":
    typer.run(main)
