"""Add the flights of a day to the warehouse, each day at six, one run at a time.

    python flows_examples/03_scheduled_daily_load.py --day 2013-02-28     one day, now
    python flows_examples/03_scheduled_daily_load.py --serve              wait for the schedule, with a server and UI:
                                                                          `make prefect`

The load is named after its day: run it again, by hand or by Prefect's retries, and nothing is added twice. The data are
of 2013, so a day of any year stands for that day of 2013.
"""

import examples_common.private_prefect  # noqa: F401

# isort: split
from datetime import date
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
import typer
from prefect.runtime import flow_run

from examples_common.nycflights import Flight, source
from zoopipe_core import ColumnHook, CSVInputAdapter, Pipe, PipeReport, SQLOutputAdapter
from zoopipe_prefect import load_flow


class OfDay(ColumnHook):
    """Lets the flights of one day pass."""

    def __init__(self, month: int, day: int) -> None:
        super().__init__()
        self.month, self.day = month, day

    def execute(self, batch: pa.RecordBatch, store: dict[str, Any]) -> pa.RecordBatch:
        return batch

    def keep(self, batch: pa.RecordBatch, store: dict[str, Any]) -> pa.BooleanArray:
        return pc.and_(pc.equal(batch["month"], self.month), pc.equal(batch["day"], self.day))


def flights_of_day(warehouse: str, day: str | None = None) -> Pipe:
    """The load of a day; without one, of the day for which the flow run was scheduled."""
    wanted = flow_run.scheduled_start_time.date() if day is None else date.fromisoformat(day)
    return Pipe(
        input_adapter=CSVInputAdapter(source("flights"), null_values=["NA"]),
        output_adapter=SQLOutputAdapter(f"duckdb:///{warehouse}", "daily_flights", mode="append"),
        schema_model=Flight,
        post_validation_hooks=[OfDay(wanted.month, wanted.day)],
        load_id=f"2013-{wanted:%m-%d}",
    )


def main(
    day: str | None = None,
    serve: bool = False,
    warehouse: Annotated[Path, typer.Option(envvar="ZOOPIPE_WAREHOUSE")] = Path("warehouse.duckdb"),
) -> None:
    load = {
        "pipe": f"{Path(__file__).resolve()}:flights_of_day",
        "arguments": {"warehouse": str(warehouse.resolve()), "day": day},
        "name": "daily flights",
    }
    if serve:
        load_flow.serve("daily-flights", cron="0 6 * * *", limit=1, parameters=load)
    else:
        print(PipeReport.from_dict(load_flow(**load)))


if __name__ == "__main__":
    typer.run(main)
