"""DAGs for the real scheduler of the tests. What a run loads is in the folder that its parameter names."""

import os
import time
from datetime import timedelta

from airflow.sdk import dag, task
from places import path

from zoopipe_airflow import ZooPipeManagerOperator, ZooPipeOperator, ZooPipeParallelOperator
from zoopipe_core import BaseHook, Pipe, SingleThreadExecutor

FOLDER = {"folder": "/nowhere"}
AT_ONCE = {"retries": 1, "retry_delay": timedelta(seconds=0)}


class Waits(BaseHook):
    """Tells the number of its process, and waits until there is a file `go`. Its worker has to import Airflow."""

    def __init__(self):
        self.folder = path("")

    def setup(self, store):
        (self.folder / f"worker-{os.getpid()}").touch()

    def execute(self, entries, store):
        while not (self.folder / "go").exists():
            time.sleep(0.05)
        return entries


class FailsOnce(BaseHook):
    """Fails in the middle of the first try."""

    def __init__(self, folder):
        self.failed = folder / "failed"

    def execute(self, entries, store):
        if any(entry["raw_data"]["id"] == "100" for entry in entries) and not self.failed.exists():
            self.failed.touch()
            raise RuntimeError("the first try fails")
        return entries


def users():
    from pydantic import BaseModel

    class User(BaseModel, extra="forbid"):
        id: int
        name: str

    return Pipe(path("users.json"), path("users.parquet"), path("rejects.csv"), User)


def good_users():
    return Pipe(path("users.csv"), path("users.jsonl"))


def users_at_the_second_try():
    target = f"sqlite:///{path('users.sqlite')}::users"
    return Pipe(
        path("users.csv"), target, None, None, [FailsOnce(path(""))], executor=SingleThreadExecutor(batch_size=10)
    )


def users_when_told():
    path(f"task-{os.getpid()}").touch()
    return Pipe(path("users.csv"), path("users.jsonl"), None, None, [Waits()])


def missing():
    return Pipe(path("missing.csv"), path("missing.jsonl"))


@dag(schedule=None, params=FOLDER)
def loads():
    ZooPipeOperator(task_id="load", pipe=users)


@dag(schedule=None, params=FOLDER)
def loads_several():
    ZooPipeManagerOperator(task_id="load", pipes=[users, missing])


@dag(schedule=None, params=FOLDER)
def loads_at_the_second_try():
    ZooPipeOperator(task_id="load", pipe=users_at_the_second_try, **AT_ONCE)


@dag(schedule=None, params=FOLDER)
def loads_when_told():
    ZooPipeParallelOperator(task_id="load", pipe=users_when_told, workers=2, **AT_ONCE)


@dag(schedule=None, params=FOLDER)
def loads_mapped():
    ZooPipeOperator.partial(task_id="load").expand(pipe=["places:users_of_each_index"] * 2)


@dag(schedule=None, params=FOLDER)
def loads_below_a_daemon():
    ZooPipeParallelOperator(task_id="load", pipe=good_users, workers=2, executor="DaemonicExecutor")


@dag(schedule=None, params=FOLDER)
def secret():
    @task.zoopipe
    def load():
        return users()

    load()


@dag(schedule=None)
def loads_nothing():
    @task
    def load():
        return {"status": "completed", "source": "no report", "read_rows": "<script>alert(1)</script>"}

    load()


for make in (
    loads,
    loads_several,
    loads_at_the_second_try,
    loads_when_told,
    loads_mapped,
    loads_below_a_daemon,
    secret,
    loads_nothing,
):
    make()
