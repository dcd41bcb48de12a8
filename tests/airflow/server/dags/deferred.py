"""DAGs whose loads go on elsewhere, while their task is deferred. A run says by its parameters where."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, get_current_context

from zoopipe_airflow import ZooPipeParallelOperator
from zoopipe_core import BaseHook, Pipe

WHERE = {"folder": "/nowhere", "cluster": "tcp://127.0.0.1:1"}


class Waits(BaseHook):
    """Tells the number of its process, and waits until there is a file `go`."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def setup(self, store):
        (self.folder / f"worker-{os.getpid()}").touch()

    def execute(self, entries, store):
        while not (self.folder / "go").exists():
            time.sleep(0.05)
        return entries


def users_when_told():
    folder = get_current_context()["params"]["folder"]
    return Pipe(f"{folder}/users.csv", f"{folder}/users.jsonl", None, None, [Waits(folder)])


DAGS = {
    "loads_on_dask": ("dask", {}),
    "loads_on_dask_in_time": ("dask", {"execution_timeout": timedelta(seconds=40)}),
    "loads_on_ray": ("ray", {}),
}
for dag_id, (engine, options) in DAGS.items():
    with DAG(dag_id, schedule=None, params=WHERE):
        ZooPipeParallelOperator(
            task_id="load",
            pipe=users_when_told,
            workers=2,
            engine=engine,
            deferrable=True,
            cluster="{{ params.cluster }}",
            dependencies="off",
            poll_seconds=0.5,
            **options,
        )
