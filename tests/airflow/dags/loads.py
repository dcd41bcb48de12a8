"""DAGs for tests/airflow. What they load is in the folder that $LOAD_FOLDER names when the task runs."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag

from zoopipe_airflow import ZooPipeOperator
from zoopipe_core import BaseHook, Pipe, SingleThreadExecutor


def users():
    folder = os.environ["LOAD_FOLDER"]
    return Pipe(f"{folder}/users.csv", f"{folder}/users.jsonl")


class Slow(BaseHook):
    """Takes a second for ten rows, and says when it has begun."""

    def setup(self, store):
        Path(os.environ["LOAD_FOLDER"], "begun").touch()

    def execute(self, entries, store):
        time.sleep(0.1)
        return entries


def slow_users():
    folder = os.environ["LOAD_FOLDER"]
    return Pipe(
        f"{folder}/users.csv",
        f"{folder}/users.jsonl",
        pre_validation_hooks=[Slow()],
        executor=SingleThreadExecutor(batch_size=1),
    )


def slow_users_of_a_killed_task():
    os.kill(os.getpid(), signal.SIGTERM)
    return slow_users()


@dag(schedule=None)
def loads_users():
    ZooPipeOperator(task_id="load", pipe=users)


@dag(schedule=None)
def loads_users_slowly():
    ZooPipeOperator(task_id="load", pipe=slow_users)


@dag(schedule=None)
def is_killed_before_the_load():
    ZooPipeOperator(task_id="load", pipe=slow_users_of_a_killed_task)


@dag(schedule=None)
def times_out():
    ZooPipeOperator(task_id="load", pipe=slow_users, execution_timeout=timedelta(seconds=0.5))


@dag(schedule=None)
def builds_no_pipe():
    ZooPipeOperator(task_id="load", pipe=lambda: "users.csv")


for make in (loads_users, loads_users_slowly, is_killed_before_the_load, times_out, builds_no_pipe):
    make()
