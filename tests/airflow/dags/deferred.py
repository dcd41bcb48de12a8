"""DAGs for tests/airflow whose loads go on elsewhere."""

import os
from pathlib import Path

from airflow.sdk import dag
from pydantic import BaseModel

from zoopipe_airflow import ZooPipeParallelOperator
from zoopipe_core import Pipe


class User(BaseModel):
    id: int
    name: str


def users(source="users.csv"):
    folder = Path(os.environ["LOAD_FOLDER"])
    return Pipe(folder / source, folder / "users.jsonl", schema_model=User)


def missing():
    return users("missing.csv")


@dag(schedule=None)
def loads_on_a_cluster():
    for name, pipe in (("load", users), ("fail", missing)):
        ZooPipeParallelOperator(
            task_id=name,
            pipe=pipe,
            workers=2,
            engine="dask",
            deferrable=True,
            cluster="{{ var.value.cluster }}",
            dependencies="off",
            poll_seconds=0.5,
            infer_outlets=True,
        )


loads_on_a_cluster()
