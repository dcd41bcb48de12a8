"""What has to be true when a load has ended, in whatever way."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

from tests.contracts.deeds import is_running, wait_until
from tests.coordinators.support import names_in
from tests.manager.loads import GOOD_IDS, ROWS, SHARDS
from tests.manager.targets import OLD, TARGETS, Target
from zoopipe_core import PipeManager, PipeStatus

CHILDREN_GONE_SECONDS = 2.0


def reached(folder: Path, point: str, count: int = SHARDS) -> list[int]:
    """The processes that are at a point, once so many are."""
    notes = wait_until(
        lambda: found if len(found := list(folder.glob(f"{point}.*[0-9]"))) >= count else None, f"{count} at {point}"
    )
    return [int(note.suffix[1:]) for note in notes]


def check_gone(pids: list[int]) -> None:
    """Processes that have ended, or do so within the two seconds that they may take."""
    deadline = time.monotonic() + CHILDREN_GONE_SECONDS
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not [pid for pid in pids if is_running(pid)]


def check_old(folder: Path, besides: Iterable[str] = ()) -> None:
    """Every target is as it was, and nothing is left behind but for what is named."""
    assert [target.ids(folder) for target in TARGETS.values()] == [[OLD]] * len(TARGETS)
    assert names_in(folder / "out") == sorted([*besides, *(target.file for target in TARGETS.values())])
    assert os.listdir(folder / "temporary") == []


def check_new(folder: Path, target: Target) -> None:
    """The target is complete, and nothing but the result is there."""
    assert target.ids(folder) == GOOD_IDS
    assert len((folder / "out" / "bad.jsonl").read_text().splitlines()) == ROWS - len(GOOD_IDS)
    assert names_in(folder / "out") == sorted(["bad.jsonl", *(target.file for target in TARGETS.values())])
    assert os.listdir(folder / "temporary") == []


def failure(manager: PipeManager) -> str:
    """What the report of a load that failed says of it."""
    assert manager.report.status is PipeStatus.FAILED, manager.report
    assert manager.report.exception is not None
    return f"{manager.report.exception.type}: {manager.report.exception.message}"
