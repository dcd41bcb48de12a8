"""DAGs of managers for tests/airflow, with real processes below their tasks."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag

from zoopipe_airflow import ZooPipeManagerOperator, ZooPipeOperator, ZooPipeParallelOperator
from zoopipe_core import (
    BaseHook,
    CSVInputAdapter,
    MultiProcessEngine,
    Pipe,
    SingleThreadExecutor,
    SQLInputAdapter,
    SQLOutputAdapter,
)


def path(name):
    return Path(os.environ["LOAD_FOLDER"], name)


def users():
    return Pipe(path("users.csv"), path("users.jsonl"))


def missing():
    return Pipe(path("missing.csv"), path("missing.jsonl"))


def both():
    return [users(), missing()]


class Endless(BaseHook):
    """Tells the number of its process, which does not end by itself, nor by being asked to."""

    def __init__(self, seconds=float("inf")):
        self.seconds = seconds

    def setup(self, store):
        path(f"begun-{os.getpid()}").touch()

    def execute(self, entries, store):
        end = time.monotonic() + self.seconds
        while time.monotonic() < end:
            time.sleep(0.05)
        return entries


def endless():
    return Pipe(path("users.csv"), path("users.jsonl"), pre_validation_hooks=[Endless()])


def slow():
    """Ten seconds for each shard, in steps after each of which it can be stopped."""
    one_by_one = SingleThreadExecutor(batch_size=1)
    return Pipe(path("users.csv"), path("users.jsonl"), pre_validation_hooks=[Endless(0.1)], executor=one_by_one)


def own_engine():
    return MultiProcessEngine(max_workers=1)


@dag(schedule=None)
def loads_in_parallel():
    ZooPipeParallelOperator(task_id="load", pipe=users, workers=2)


@dag(schedule=None)
def loads_in_parallel_without_merging():
    ZooPipeParallelOperator(task_id="load", pipe=users, workers=2, engine="zoosync", merge=False)


@dag(schedule=None)
def loads_on_an_engine_of_its_own():
    ZooPipeParallelOperator(task_id="load", pipe=users, workers=2, engine=own_engine)


@dag(schedule=None)
def loads_several():
    ZooPipeManagerOperator(task_id="load", pipes=[users, missing])


@dag(schedule=None)
def loads_several_of_one_function():
    ZooPipeManagerOperator(task_id="load", pipes=both, engine="zoosync")


@dag(schedule=None)
def loads_endlessly():
    ZooPipeParallelOperator(task_id="load", pipe=endless, workers=2)


@dag(schedule=None)
def loads_until_it_times_out():
    ZooPipeParallelOperator(task_id="load", pipe=slow, workers=2, execution_timeout=timedelta(seconds=3))


@dag(schedule=None)
def loads_from_an_import_string():
    ZooPipeOperator(task_id="load", pipe="load_place:users")


@dag(schedule=None)
def loads_each_place():
    ZooPipeOperator.partial(task_id="load").expand(pipe=["load_place:users", "load_place:others"])


@dag(schedule=None, params={"name": "users", "id": 7})
def renders_what_is_given():
    folder = "{{ var.value.load_folder }}"
    ZooPipeOperator(
        task_id="load",
        pipe=Pipe(
            CSVInputAdapter([f"{folder}/{{{{ params.name }}}}.csv"]),
            f"duckdb:///{folder}/warehouse.duckdb::{{{{ params.name }}}}_{{{{ ds_nodash }}}}",
            load_id="users of {{ ds }}",
        ),
    )


@dag(schedule=None, params={"name": "users", "id": 7})
def renders_what_is_built():
    def build():
        warehouse = f"duckdb:///{path('warehouse.duckdb')}"
        query = "SELECT {{ params.id }} AS id, '{{ params.name }}' AS name"
        return Pipe(SQLInputAdapter(warehouse, query), SQLOutputAdapter(warehouse, "from_{{ params.name }}"))

    ZooPipeManagerOperator(task_id="load", pipes=lambda: [build()], engine="multiprocess")


def empty():
    path("empty.csv").write_text("id,name\n")
    return Pipe(path("empty.csv"), path("empty.jsonl"))


@dag(schedule=None)
def skips_if_empty():
    ZooPipeOperator(task_id="load", pipe=empty, skip_if_empty=True)


@dag(schedule=None)
def skips_in_parallel_if_empty():
    ZooPipeParallelOperator(task_id="load", pipe=empty, workers=2, skip_if_empty=True)


def checked():
    from pydantic import BaseModel

    class Below(BaseModel):
        id: int
        name: str

    path("checked.csv").write_text("id,name\n1,a\nx,b\ny,c\n3,d\n")
    return Pipe(path("checked.csv"), path("checked.jsonl"), path("rejects.csv"), schema_model=Below)


@dag(schedule=None)
def fails_on_errors():
    ZooPipeOperator(task_id="load", pipe=checked, fail_on_errors=True)


@dag(schedule=None)
def fails_on_errors_in_parallel():
    ZooPipeParallelOperator(task_id="load", pipe=checked, workers=2, max_errors=1)


@dag(schedule=None)
def takes_half_of_the_rows():
    ZooPipeOperator(task_id="load", pipe=checked, max_errors=0.5)


for make in (
    loads_in_parallel,
    loads_in_parallel_without_merging,
    loads_on_an_engine_of_its_own,
    loads_several,
    loads_several_of_one_function,
    loads_endlessly,
    loads_until_it_times_out,
    loads_from_an_import_string,
    loads_each_place,
    renders_what_is_given,
    renders_what_is_built,
    skips_if_empty,
    skips_in_parallel_if_empty,
    fails_on_errors,
    fails_on_errors_in_parallel,
    takes_half_of_the_rows,
):
    make()
