"""`DetachedLoadTrigger`: waits in Airflow's triggerer for a load whose driver lives on a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

if TYPE_CHECKING:
    from zoopipe_core.detached import DetachedState

__all__ = ["DetachedLoadTrigger"]

# A cluster that does not answer for so many looks is given up, and with it the task; the load may go on.
MAX_FAILURES = 20


class DetachedLoadTrigger(BaseTrigger):
    """Fires when a detached load has ended, with its state as ``{"state": {...}}``; None if the cluster has lost it.

    Args:
        kind, address: of the cluster, as for `zoopipe_core.detached.open_detached`.
        name: of the load.
        poll_seconds: how often it is looked at.
    """

    def __init__(self, kind: str, address: str | None, name: str, poll_seconds: float = 10.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kind = kind
        self.address = address
        self.name = name
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Where this class is, and what makes another one of it."""
        arguments = {name: getattr(self, name) for name in ("kind", "address", "name", "poll_seconds")}
        return f"{type(self).__module__}.{type(self).__qualname__}", arguments

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the load has ended."""
        from zoopipe_core import ZoopipeError

        failures = 0
        while True:
            try:
                state = await asyncio.to_thread(self._look)
            except (OSError, ZoopipeError) as error:
                failures += 1
                if failures > MAX_FAILURES:
                    raise
                self.log.warning("the cluster of %s does not answer: %s", self.name, error)
            else:
                failures = 0
                if state is None or state.report.is_finished:
                    found = None if state is None else state.to_dict()
                    yield TriggerEvent({"state": found})  # type: ignore[no-untyped-call]
                    return
            await asyncio.sleep(self.poll_seconds)

    async def on_kill(self) -> None:
        """The task was cleared, or marked: the load is undone."""
        await asyncio.to_thread(self._stop)

    def _look(self) -> DetachedState | None:
        from zoopipe_core.detached import open_detached

        with open_detached(self.kind, self.address) as cluster:
            return cluster.look(self.name)

    def _stop(self) -> None:
        from zoopipe_core.detached import open_detached

        with open_detached(self.kind, self.address) as cluster:
            cluster.stop(self.name)
