"""What DAGs name by its place."""

import os
from pathlib import Path

from zoopipe_core import Pipe


def users():
    folder = Path(os.environ["LOAD_FOLDER"])
    return Pipe(folder / "users.csv", folder / "users.jsonl")


def others():
    folder = Path(os.environ["LOAD_FOLDER"])
    return Pipe(folder / "users.csv", folder / "others-{{ ti.map_index }}.jsonl")
