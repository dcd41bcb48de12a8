"""What DAGs name by its place."""

from pathlib import Path

from airflow.sdk import get_current_context

from zoopipe_core import Pipe


def path(name):
    """In the folder that the run's parameter names."""
    return Path(get_current_context()["params"]["folder"], name)


def users_of_each_index():
    index = get_current_context()["ti"].map_index
    return Pipe(path("users.csv"), path(f"users-{index}.jsonl"))
