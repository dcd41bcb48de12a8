"""Loads that go on elsewhere while their task is deferred and takes no slot of a worker.

execute ─▶ the driver begins on the cluster ─▶ deferred ······ triggerer looks ······▶ resumed ─▶ report, as always
"""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoopipe_core import PipeReport
    from zoopipe_core.detached import DetachedLoads, DetachedState

__all__ = ["EndedLoad", "detached_name", "end_detached"]

# As long as a load that is told to end may take to undo what it has done.
UNDO_SECONDS = 30.0
POLL_SECONDS = 0.25


class EndedLoad:
    """A load that has ended on a cluster, as the operators see a load.

    Args:
        state: what the cluster has said last.
    """

    def __init__(self, state: DetachedState) -> None:
        self._state = state

    def run(self, on_report_update: object = None) -> bool:
        """It has run; True if it has completed."""
        return not self.report.has_error

    def shutdown(self, timeout: float = 0) -> None:
        """There is nothing to end."""

    @property
    def report(self) -> PipeReport:
        return self._state.report

    @property
    def pipe_reports(self) -> list[PipeReport]:
        """Those of the shards."""
        return list(self._state.pipe_reports)


def detached_name(load_id: str | None, attempt: int) -> str:
    """By which the driver of a load is found on the cluster: one for each try, since a driver that failed stays one.

    >>> detached_name("dag/load/run", 1) == detached_name("dag/load/run", 2)
    False
    """
    return f"zoopipe-{hashlib.sha256(str(load_id).encode()).hexdigest()[:24]}-{attempt}"


def end_detached(cluster: DetachedLoads, name: str) -> DetachedState | None:
    """Have a load undone, wait for that, and release what the cluster keeps of it.

    Returns:
        What it has told last; None if the cluster knows nothing of it.
    """
    cluster.stop(name)
    deadline = time.monotonic() + UNDO_SECONDS
    state = cluster.look(name)
    while state is not None and not state.report.is_finished and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        state = cluster.look(name)
    cluster.forget(name)
    return state
