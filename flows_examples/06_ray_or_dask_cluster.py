"""Load the weather by the workers of a Ray or Dask cluster, as one Prefect task.

    python flows_examples/06_ray_or_dask_cluster.py --engine dask --workers 2
    python flows_examples/06_ray_or_dask_cluster.py --engine ray --address ray://head:10001

Without an address the cluster is started on this machine for the time of the load. On one with an address the workers
need nothing but Python: they install what they lack. The files have to be where workers can read and write them.
"""

import examples_common.private_prefect  # noqa: F401

# isort: split
from enum import StrEnum
from pathlib import Path

import typer
from prefect import flow

from examples_common.nycflights import Weather, source
from zoopipe_core import BaseEngine, CSVInputAdapter, Pipe, PipeReport
from zoopipe_prefect import parallelize_pipe


class Cluster(StrEnum):
    dask = "dask"
    ray = "ray"


def connected(cluster: Cluster, address: str) -> BaseEngine:
    """An engine on a cluster that is there already."""
    if cluster is Cluster.dask:
        from zoopipe_core.engines.dask import DaskEngine

        return DaskEngine(address)
    from zoopipe_core.engines.ray import RayEngine

    return RayEngine(address)


@flow
def ray_or_dask_cluster(target: Path, cluster: Cluster, address: str | None, workers: int) -> None:
    pipe = Pipe(
        input_adapter=CSVInputAdapter(source("weather"), null_values=["NA"]),
        output_adapter=target,
        error_output_adapter=target.parent / "rejects" / "weather.csv",
        schema_model=Weather,
    )
    engine = cluster.value if address is None else connected(cluster, address)
    report = parallelize_pipe(pipe, workers, engine, name="weather")
    print(PipeReport.from_dict(report))
    for shard in report["pipes"]:
        print(f"  shard {shard['pipe_index']}: {shard['loaded_rows']:,} rows")
    if isinstance(engine, BaseEngine):
        engine.close()


def main(
    engine: Cluster = Cluster.dask, workers: int = 2, address: str | None = None, target: Path = Path("weather.parquet")
) -> None:
    ray_or_dask_cluster(target, engine, address, workers)


if __name__ == "__main__":
    typer.run(main)
