"""The name of a load: that of the task's logical run, the same for each try of it."""

from __future__ import annotations

import hashlib
from typing import Protocol

__all__ = ["load_id_of"]

MAX_CHARS = 180


class TaskInstance(Protocol):
    """What names a run of a task; Airflow's own has more."""

    @property
    def dag_id(self) -> str: ...

    @property
    def task_id(self) -> str: ...

    @property
    def run_id(self) -> str: ...

    @property
    def map_index(self) -> int | None: ...


def load_id_of(task: TaskInstance, index: int | None = None) -> str:
    """The load id of a task's run.

    Args:
        task: the task instance.
        index: which of the task's pipes it is; None if it has one only.

    Returns:
        ``dag/task/run``, with ``[map index]`` and ``#index`` where there are such; at most 200 printable characters.
        One that would be longer, or not printable, ends in a digest instead.
    """
    text = f"{task.dag_id}/{task.task_id}/{task.run_id}"
    if task.map_index is not None and task.map_index >= 0:
        text += f"[{task.map_index}]"
    if index is not None:
        text += f"#{index}"
    if len(text) <= MAX_CHARS and text.isprintable():
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return "".join(letter for letter in text if letter.isprintable())[:MAX_CHARS] + f"~{digest}"
