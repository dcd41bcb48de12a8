"""DAGs whose loads go on elsewhere, while their task is deferred. A run says by its parameters where."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, get_current_context

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


def load_elsewhere(**options):
    ZooPipeParallelOperator(
        task_id="load",
        pipe=users_when_told,
        workers=2,
        engine="dask",
        deferrable=True,
        cluster="{{ params.cluster }}",
        dependencies="off",
        poll_seconds=0.5,
        **options,
    )


@dag(schedule=None, params=WHERE)
def loads_elsewhere():
    load_elsewhere()


@dag(schedule=None, params=WHERE)
def loads_elsewhere_in_time():
    load_elsewhere(execution_timeout=timedelta(seconds=20))


loads_elsewhere()
loads_elsewhere_in_time()
