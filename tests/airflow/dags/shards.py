"""DAGs for tests/airflow whose shards are tasks."""

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag
from pydantic import BaseModel

from zoopipe_airflow import zoopipe_task_group
from zoopipe_core import BaseHook, Pipe


class User(BaseModel):
    id: int
    name: str


class FailsOnce(BaseHook):
    """In the shard that has the last user, the first time."""

    def setup(self, store):
        folder = Path(os.environ["LOAD_FOLDER"])
        (folder / f"tried-{len(list(folder.glob('tried-*')))}").touch()

    def execute(self, entries, store):
        failed = Path(os.environ["LOAD_FOLDER"], "failed")
        if any(entry["validated_data"]["id"] == 199 for entry in entries) and not failed.exists():
            failed.touch()
            raise RuntimeError("for the first time")
        return entries


def users():
    folder = Path(os.environ["LOAD_FOLDER"])
    return Pipe(
        folder / "users.csv", folder / "users.jsonl", folder / "rejects.csv", User, post_validation_hooks=[FailsOnce()]
    )


@dag(schedule=None)
def loads_in_shards():
    zoopipe_task_group(users, 3, retries=1, retry_delay=timedelta(0), infer_outlets=True)


@dag(schedule=None)
def loads_a_table_in_shards():
    folder = "{{ var.value.load_folder }}"
    pipe = Pipe(f"{folder}/users.csv", f"duckdb:///{folder}/w.duckdb::users", f"{folder}/rejects.csv", User)
    zoopipe_task_group(pipe, 3, group_id="many", staging=f"{folder}/staging", max_errors=1)


loads_in_shards()
loads_a_table_in_shards()
