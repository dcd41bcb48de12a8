"""What becomes of a load whose task is killed, or whose task's supervisor is: real processes, without an Airflow."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
OLD = '{"id":"old","name":"old"}\n'
WAIT_SECONDS = 60.0


class Task:
    """A task whose load is under way, with two workers.

    Attributes:
        supervisor: its process.
        task, workers: numbers of the others.
        target: what it would replace.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.target = folder, folder / "users.jsonl"
        self.target.write_text(OLD)
        (folder / "users.csv").write_text("id,name\n" + "".join(f"{number},x\n" for number in range(200)))
        command = [sys.executable, "-m", "tests.airflow.task_process", str(folder)]
        self.supervisor = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)

    def wait_until_it_loads(self) -> None:
        self.workers = self._numbers("worker-*", 2)
        [self.task] = self._numbers("task-*", 1)

    def _numbers(self, pattern: str, count: int) -> list[int]:
        found = wait_for(lambda: len(list(self.folder.glob(pattern))) >= count and list(self.folder.glob(pattern)))
        return [int(path.name.rpartition("-")[2]) for path in found]

    def how_it_ended(self) -> Any:
        wait_for((self.folder / "ended").exists)
        return json.loads((self.folder / "ended").read_text())


def wait_for(look: Any) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {WAIT_SECONDS} s"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Task]]:
    """One for each test; they start at the same time."""
    folder = tmp_path_factory.mktemp("tasks")
    started = {name: Task(folder / name) for name in ("killed", "orphaned")}
    yield started
    for task in started.values():
        (task.folder / "go").touch()
        task.supervisor.wait(WAIT_SECONDS)


def test_a_killed_task_returns_within_two_seconds_and_leaves_no_child(tasks: dict[str, Task]) -> None:
    task = tasks["killed"]
    task.wait_until_it_loads()
    os.kill(task.task, signal.SIGTERM)
    ended = task.how_it_ended()
    assert (ended["error"], ended["left"]) == ("LoadAbortedError", [])
    assert ended["seconds"] < 2
    assert not any(psutil.pid_exists(worker) for worker in task.workers)
    assert task.target.read_text() == OLD


def test_a_task_whose_supervisor_is_killed_undoes_its_load_and_ends(tasks: dict[str, Task]) -> None:
    task = tasks["orphaned"]
    task.wait_until_it_loads()
    task.supervisor.kill()
    ended = task.how_it_ended()
    assert (ended["error"], ended["left"]) == ("LoadAbortedError", [])
    wait_for(lambda: not any(map(psutil.pid_exists, task.workers)))
    assert task.target.read_text() == OLD
