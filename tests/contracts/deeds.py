"""What the pipes of engines' tests read, and what is done to their workers.

Workers import this file, and nothing here that only tests need.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from zoopipe_core import BaseHook, PipeReport
from zoopipe_core.engines.base import Worker

PATIENCE_SECONDS = 60.0


class Row(BaseModel):
    id: int
    text: str = ""


class Counted:
    """Rows 0 to `count`; where a row is no row of the model, every `bad`-th one."""

    def __init__(self, count: int, bad: int = 0) -> None:
        self.count, self.bad = count, bad

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for number in range(self.count):
            yield {"id": "x" if self.bad and number % self.bad == 0 else number, "text": f"row {number}"}


class Endless:
    """Rows without end, some thousand a second."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        number = 0
        while True:
            number += 1
            if number % 10 == 0:
                time.sleep(0.002)
            yield {"id": number}


class At(BaseHook):
    """Leaves a note at some point of the run, and then does something."""

    def __init__(self, point: str, action: Callable[[], Any], folder: Path) -> None:
        super().__init__()
        self.point, self.action, self.folder = point, action, str(folder)
        self.batches = 0

    def setup(self, store: dict[str, Any]) -> None:
        self._pass("start")

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        self.batches += 1
        if self.batches == 3:
            changed = self._pass("middle")
            if changed is not None:
                entries[0]["validated_data"]["text"] = changed
        return entries

    def teardown(self, store: dict[str, Any]) -> None:
        self._pass("last row")

    def _pass(self, point: str) -> Any:
        if point != self.point:
            return None
        note = Path(self.folder, "pid")
        note.with_suffix(".new").write_text(str(os.getpid()))
        note.with_suffix(".new").replace(note)
        return self.action()


def nothing() -> None:
    return


def wait_for_file(path: Path) -> Callable[[], None]:
    name = str(path)

    def wait() -> None:
        while not os.path.exists(name):
            time.sleep(0.005)

    return wait


def hang() -> None:
    while True:
        time.sleep(3600)


def hang_in_c() -> None:
    """A regular expression that takes years, during which no other Python thread runs."""
    import re

    re.match(r"(a|a)*b", "a" * 1000)


def fail() -> None:
    raise LookupError("no such thing as a row")


def exit_with_3() -> None:
    os._exit(3)


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def leave_python() -> None:
    sys.exit("enough")


def give_a_lock() -> Any:
    return threading.Lock()


def use_up_memory() -> None:
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
    kept = []
    while True:
        kept.append(bytearray(16 << 20))


def use_up_memory_for_good() -> None:
    """Not even what is needed to tell of it is left."""
    import resource

    sys.dont_write_bytecode = True
    kept = store_of_memory()
    resource.setrlimit(resource.RLIMIT_AS, (1 << 20, resource.RLIM_INFINITY))
    size = 1 << 20
    while size > 16:
        try:
            kept.append(bytearray(size))
        except MemoryError:
            size //= 2
    raise MemoryError


def store_of_memory() -> list[bytearray]:
    """A list that outlives its user."""
    return sys.__dict__.setdefault("kept_memory", [])


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS:g} s for {what}"
        time.sleep(0.005)
    return value


def final(worker: Worker) -> PipeReport:
    wait_until(lambda: worker.report().is_finished, "the final report")
    return worker.report()


def is_running(pid: int) -> bool:
    """Whether a process lives; one that nobody has reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
