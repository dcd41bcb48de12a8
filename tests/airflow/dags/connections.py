"""DAGs for tests/airflow whose databases are Airflow connections."""

import os
from pathlib import Path

from airflow.sdk import dag

from zoopipe_airflow import AirflowConnection, ZooPipeOperator, ZooPipeParallelOperator
from zoopipe_core import BaseHook, Pipe, SQLInputAdapter, SQLOutputAdapter


class ShowsProcesses(BaseHook):
    """Keeps what all processes were started with, as any user of the machine could see it."""

    def setup(self, store):
        lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline")]
        Path(os.environ["LOAD_FOLDER"], f"cmdlines-{os.getpid()}").write_bytes(b"\n".join(lines))

    def execute(self, entries, store):
        return entries


@dag(schedule=None, params={"connection": "canary_postgres"})
def loads_into_connections():
    server = AirflowConnection("{{ params.connection }}")
    folder = "{{ var.value.load_folder }}"
    hooks = [ShowsProcesses()]
    load = ZooPipeParallelOperator(
        task_id="load",
        pipe=Pipe(f"{folder}/users.csv", SQLOutputAdapter(server, "users"), pre_validation_hooks=hooks),
        workers=2,
    )
    copies = [
        ZooPipeOperator(
            task_id=f"copy_{kind}",
            pipe=Pipe(
                SQLInputAdapter(server, table_name="users"), SQLOutputAdapter(AirflowConnection(f"a_{kind}"), "users")
            ),
        )
        for kind in ("duckdb", "sqlite")
    ]
    unknown = ZooPipeOperator(task_id="unknown", pipe=Pipe([{}], SQLOutputAdapter(AirflowConnection("a_web"), "t")))
    load >> copies >> unknown


loads_into_connections()
