"""Loads that a test starts in a process of its own, and what goes wrong in them.

    python -m tests.manager.loads FOLDER NAME [POINT]

loads FOLDER/in.csv into FOLDER/out/NAME in three shards. It goes on past POINT only when FOLDER/go exists.
"""

import itertools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from zoopipe_core import BaseHook, Pipe, PipeManager
from zoopipe_core.engines.multiprocess import MultiProcessEngine

ROWS = 3_000
SECONDS = 60.0


class Row(BaseModel):
    id: int
    text: str


def write_input(folder: Path, bad: int = 0) -> Path:
    """3,000 rows, every `bad`-th of them none of the model's."""
    path = folder / "in.csv"
    lines = [f"{'x' if bad and n % bad == 0 else n},row {n}" for n in range(ROWS)]
    path.write_text("\n".join(["id,text", *lines, ""]))
    return path


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.005)


def reach(folder: str, point: str) -> None:
    """Say that a point is reached, and wait until the load may go on."""
    note = Path(folder, f"{point}.{os.getpid()}")
    note.with_suffix(note.suffix + ".new").write_text(str(os.getpid()))
    note.with_suffix(note.suffix + ".new").rename(note)
    wait_for(Path(folder, "go"))


class Pauses(BaseHook):
    """Stops at a point of a shard."""

    def __init__(self, folder: Path, point: str) -> None:
        super().__init__()
        self.folder, self.point = str(folder), point

    def setup(self, store: dict[str, Any]) -> None:
        self._pass("start")

    def execute(self, entries: Any, store: dict[str, Any]) -> Any:
        self._pass("middle")
        return entries

    def teardown(self, store: dict[str, Any]) -> None:
        self._pass("last row")

    def _pass(self, point: str) -> None:
        if point == self.point:
            reach(self.folder, point)


def manager_of(folder: Path, name: str, point: str = "", **options: Any) -> PipeManager:
    """Three shards of the input; at the point "merge" the manager stops, at others the shards do."""
    hooks = [Pauses(folder, point)] if point not in ("", "merge") else []
    pipe = Pipe(
        str(folder / "in.csv"),
        str(folder / "out" / name),
        str(folder / "out" / "bad.jsonl"),
        Row,
        post_validation_hooks=hooks,
    )
    return PipeManager.parallelize_pipe(pipe, 3, engine=MultiProcessEngine(max_workers=3), **options)


def pause_within_merge(manager: PipeManager, folder: Path) -> None:
    """Stop when the first part is in the result, where the coordinator looks whether it is to go on."""
    looks, look = itertools.count(), manager.raise_if_stopped

    def pause() -> None:
        if next(looks) == 1:
            reach(str(folder), "merge")
        look()

    manager.raise_if_stopped = pause  # type: ignore[method-assign]


def main(folder: Path, name: str, point: str = "") -> None:
    """Run the load, and leave its report."""
    manager = manager_of(folder, name, point)
    if point == "merge":
        pause_within_merge(manager, folder)
    completed = manager.run(on_report_update=None)
    (folder / "report.json").write_text(json.dumps(manager.report.to_dict()))
    sys.exit(0 if completed else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
