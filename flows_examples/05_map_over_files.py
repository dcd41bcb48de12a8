"""Turn files into Parquet, each by a task run of its own: what fails is retried alone, and stops none of the others.

    python flows_examples/05_map_over_files.py [--folder parquet]

Tasks that are mapped run in threads of the flow's process, and Prefect shows one progress bar and one report for each.
Loads that need more than one core each are better off with `run_pipes`, which has processes.
"""

import examples_common.private_prefect  # noqa: F401

# isort: split
from pathlib import Path

import typer
from prefect import flow
from prefect.futures import wait

from examples_common.nycflights import MODELS, source
from zoopipe_core import CSVInputAdapter, Pipe
from zoopipe_prefect import run_pipe


@flow
def map_over_files(folder: Path) -> None:
    pipes = [
        Pipe(
            input_adapter=CSVInputAdapter(source(table), null_values=["NA"]),
            output_adapter=folder / f"{table}.parquet",
            error_output_adapter=folder / "rejects" / f"{table}.csv",
            schema_model=model,
        )
        for table, model in MODELS.items()
    ]
    futures = run_pipe.with_options(tags={"parquet"}).map(pipes, name=list(MODELS))
    wait(futures)
    for table, future in zip(MODELS, futures, strict=True):
        print(f"{table:10} {future.state.name}: {future.state.message}")
    futures.result()  # raises if one of them failed


def main(folder: Path = Path("parquet")) -> None:
    map_over_files(folder)


if __name__ == "__main__":
    typer.run(main)
