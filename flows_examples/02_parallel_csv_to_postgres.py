"""Load the flights into PostgreSQL by several workers, as one transaction.

    export WAREHOUSE_URL=postgresql://user:password@localhost/warehouse
    python flows_examples/02_parallel_csv_to_postgres.py [--workers 4]

The CSV is cut into as many pieces as there are workers. Nobody sees the new table before the last row of the last
piece is in it; if one piece fails, the old table stays as it was.
"""

import examples_common.private_prefect  # noqa: F401

# isort: split
import os
import tempfile
import zipfile
from pathlib import Path

import typer
from prefect import flow

from examples_common.nycflights import Flight, source
from zoopipe_core import CSVInputAdapter, Pipe, PipeReport, SQLOutputAdapter
from zoopipe_prefect import parallelize_pipe


def warehouse_url() -> str:
    """Called when a connection is opened: the password is neither in a parameter, which Prefect keeps, nor in a log."""
    return os.environ["WAREHOUSE_URL"]


@flow
def parallel_csv_to_postgres(workers: int) -> None:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(source("flights")) as archive:
        # A compressed file cannot be cut, so it is unpacked first.
        csv = archive.extract("flights.csv", folder)
        pipe = Pipe(
            input_adapter=CSVInputAdapter(csv, null_values=["NA"]),
            output_adapter=SQLOutputAdapter(warehouse_url, "flights", mode="replace"),
            error_output_adapter=Path("rejects") / "flights.csv",
            schema_model=Flight,
        )
        report = parallelize_pipe(pipe, workers, name="flights")
    print(PipeReport.from_dict(report))
    for shard in report["pipes"]:
        print(f"  {shard['source']}: {shard['loaded_rows']:,} rows in {shard['duration_seconds']:.1f} s")


def main(workers: int = 2) -> None:
    parallel_csv_to_postgres(workers)


if __name__ == "__main__":
    typer.run(main)
