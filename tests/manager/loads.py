"""Loads in shards that something happens to, in processes of an engine; also as a program of their own.

    python -m tests.manager.loads FOLDER TARGET ENGINE [POINT]

loads FOLDER/in.csv into a target of `tests.manager.targets`. At POINT it leaves a note with its process, and goes on
when FOLDER/go exists.
"""

import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tests.manager.targets import TARGETS, Target
from zoopipe_core import (
    BaseHook,
    MultiProcessEngine,
    Pipe,
    PipeManager,
    SingleThreadExecutor,
    ZoosyncPoolEngine,
)
from zoopipe_core.engines.base import BaseEngine
from zoopipe_core.managing import workers

ROWS = 3_000
SHARDS = 3
BATCH_ROWS = 200
BAD_EVERY = 500
SECONDS = 60.0

ENGINES: dict[str, Callable[[], BaseEngine]] = {
    "multiprocess": lambda: MultiProcessEngine(max_workers=SHARDS),
    "zoosync": lambda: ZoosyncPoolEngine(n_workers=SHARDS),
}
GOOD_IDS = [number for number in range(ROWS) if number % BAD_EVERY != BAD_EVERY - 1]


class Row(BaseModel):
    id: int
    text: str


def write_input(folder: Path) -> Path:
    """3,000 rows of some 70 bytes, every 500th of them none of the model's."""
    path = folder / "in.csv"
    lines = [f"{'x' if n % BAD_EVERY == BAD_EVERY - 1 else n},{_text(n)}" for n in range(ROWS)]
    path.write_text("\n".join(["id,text", *lines, ""]))
    return path


def _text(number: int) -> str:
    """64 characters that do not compress."""
    return hashlib.sha256(str(number).encode()).hexdigest()


def wait_for(path: Path, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Wait until there is a file; `meanwhile` is called again and again."""
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        meanwhile()
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.005)


def leave_note(folder: str, point: str) -> None:
    """Say which process has reached a point."""
    note = Path(folder, f"{point}.{os.getpid()}")
    new = note.with_suffix(note.suffix + ".new")
    new.write_text("")
    new.rename(note)


def reach(folder: str, point: str) -> None:
    """Leave a note, and wait until the load may go on."""
    leave_note(folder, point)
    wait_for(Path(folder, "go"))


@dataclass(frozen=True)
class Cell:
    """Returned by what happens, it becomes a cell of a row."""

    value: Any


class _At(BaseHook):
    """Something that happens in a worker: in `setup` ("start"), in the third batch ("middle"), in `teardown`."""

    def __init__(self, folder: Path, point: str) -> None:
        super().__init__()
        self.folder, self.point = str(folder), point
        self.batches = 0

    def setup(self, store: dict[str, Any]) -> None:
        self._pass("start")

    def execute(self, entries: Any, store: dict[str, Any]) -> Any:
        self.batches += 1
        if self.batches == 3:
            changed = self._pass("middle")
            if isinstance(changed, Cell):
                entries[0]["validated_data"]["text"] = changed.value
            elif changed is not None:
                return changed
        return entries

    def teardown(self, store: dict[str, Any]) -> None:
        self._pass("last row")

    def _pass(self, point: str) -> Any:
        return self.act() if point == self.point else None

    def act(self) -> Any:
        raise NotImplementedError


class Pauses(_At):
    """Every shard stops at the point."""

    def act(self) -> Any:
        reach(self.folder, self.point)


class Strikes(_At):
    """The first shard that reaches the point does something, once; what comes of it is what the hook returns."""

    def __init__(self, folder: Path, point: str, action: Callable[[], Any]) -> None:
        super().__init__(folder, point)
        self.action = action

    def act(self) -> Any:
        try:
            os.close(os.open(Path(self.folder, "struck"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return None
        leave_note(self.folder, "victim")
        return self.action()


def manager_of(
    folder: Path, target: Target, engine: BaseEngine, hook: BaseHook | None = None, **options: Any
) -> PipeManager:
    """Three shards of the input."""
    pipe = Pipe(
        str(folder / "in.csv"),
        target.output(folder),
        str(folder / "out" / "bad.jsonl"),
        Row,
        post_validation_hooks=[] if hook is None else [hook],
        executor=SingleThreadExecutor(BATCH_ROWS),
    )
    return PipeManager.parallelize_pipe(pipe, SHARDS, engine=engine, **options)


def pause_coordinator(manager: PipeManager, folder: Path, point: str) -> None:
    """Stop what joins parts until the load may go on or is to end: ``"join"``, once it has joined the first, or
    ``"merge"``, once all shards have ended.
    """
    looks, look = itertools.count(), manager.raise_if_stopped

    def pause() -> None:
        look()
        if point == "merge" and not all(report.is_finished for report in manager.pipe_reports):
            return
        if next(looks) == 1:
            leave_note(str(folder), point)
            wait_for(folder / "go", look)

    manager.raise_if_stopped = pause  # type: ignore[method-assign]


def main(folder: Path, target: str, engine: str, point: str = "") -> None:
    """Run the load, and leave its report."""
    workers.STOP_SECONDS = 0.3  # what pauses here does not hear that it is to stop
    hook = Pauses(folder, point) if point not in ("", "join", "merge") else None
    manager = manager_of(folder, TARGETS[target], ENGINES[engine](), hook)
    if point in ("join", "merge"):
        pause_coordinator(manager, folder, point)
    completed = manager.run(on_report_update=None)
    (folder / "report.json").write_text(json.dumps(manager.report.to_dict()))
    sys.exit(0 if completed else 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
