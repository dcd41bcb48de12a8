"""DAGs of `@task.zoopipe` for tests/airflow."""

import os
from pathlib import Path

from airflow.sdk import dag, task

from zoopipe_core import Pipe


def path(name):
    return Path(os.environ["LOAD_FOLDER"], name)


@dag(schedule=None)
def decorated():
    @task
    def find():
        return str(path("users.csv"))

    @task.zoopipe
    def one(file, ti=None):
        return Pipe(file, path(f"{ti.task_id}-{{{{ run_id | length > 0 }}}}.jsonl"))

    @task.zoopipe(workers=2, engine="zoosync", retries_per_pipe=1)
    def shards(file):
        return Pipe(file, path("shards.jsonl"))

    @task.zoopipe(engine="zoosync")
    def several(file):
        yield Pipe(file, path("several-0.jsonl"))
        yield Pipe(file, path("several-1.jsonl"))

    @task.zoopipe
    def mapped(name, file):
        return Pipe(file, path(f"mapped-{name}.jsonl"))

    file = find()
    one(file) >> shards(file) >> several(file) >> mapped.partial(file=file).expand(name=["a", "b"])


@dag(schedule=None)
def decorated_wrongly():
    @task.zoopipe
    def nothing():
        return None

    @task.zoopipe(workers=2)
    def several_by_workers():
        return [Pipe(path("users.csv"), path("users.jsonl"))]

    nothing()
    several_by_workers()


decorated()
decorated_wrongly()
