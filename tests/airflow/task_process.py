"""A task's process as Airflow has it: descriptor 0 is the socket of its supervisor, and SIGTERM calls `on_kill`.

    python -m tests.airflow.task_process FOLDER

starts a supervisor, which starts the task. The load waits until there is a file `go`; the files `task-*` and `worker-*`
tell the numbers of the processes, and `ended` how long the task has lived after it was killed, and what it has left.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def supervise(folder: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "tests.airflow.task_process", str(folder), "task"]
        sys.exit(subprocess.run(command, stdin=theirs, check=False).returncode)


def run_task(folder: Path) -> None:
    import psutil

    from zoopipe_airflow import ZooPipeParallelOperator
    from zoopipe_core import BaseHook, Pipe, ZoopipeError

    class Waits(BaseHook):
        def setup(self, store: Any) -> None:
            (folder / f"worker-{os.getpid()}").touch()

        def execute(self, entries: Any, store: Any) -> Any:
            while not (folder / "go").exists():
                time.sleep(0.05)
            return entries

    def pipe() -> Pipe:
        return Pipe(folder / "users.csv", folder / "users.jsonl", pre_validation_hooks=[Waits()])

    operator = ZooPipeParallelOperator(task_id="load", pipe=pipe, workers=2, do_xcom_push=False)
    killed_at = []

    def kill(number: int, frame: object) -> None:
        killed_at.append(time.monotonic())
        operator.on_kill()

    signal.signal(signal.SIGTERM, kill)
    (folder / f"task-{os.getpid()}").touch()
    task = SimpleNamespace(dag_id="dag", task_id="load", run_id="run", map_index=-1)
    try:
        operator.execute({"ti": task})  # type: ignore[typeddict-item]
    except ZoopipeError as error:
        seconds = time.monotonic() - killed_at[0] if killed_at else None
        left = [process.name() for process in psutil.Process().children(recursive=True)]
        told = {"seconds": seconds, "left": left, "error": type(error).__name__}
        (folder / "ended.part").write_text(json.dumps(told))
        (folder / "ended.part").rename(folder / "ended")


if __name__ == "__main__":
    (run_task if len(sys.argv) > 2 else supervise)(Path(sys.argv[1]))
