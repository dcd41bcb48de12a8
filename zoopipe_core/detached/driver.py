"""What the driver of a detached load does, on whatever cluster: it runs a manager, and tells how it goes.

Only this package runs here: an order is unpickled as a worker's task is, from who may run code on the cluster anyway.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from zoopipe_core.engines.base import BaseEngine
from zoopipe_core.engines.payload import load
from zoopipe_core.manager import PipeManager
from zoopipe_core.report import PipeReport, PipeStatus, describe_exception, now

__all__ = ["TELL_SECONDS", "Order", "drive"]

TELL_SECONDS = 1.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Order:
    """A load for a driver.

    Attributes:
        task: the pipe, as `zoopipe_core.engines.payload` sends it.
        workers, merge, retries, dependencies: as for `DetachedLoads.start`.
    """

    task: bytes
    workers: int
    merge: bool
    retries: int
    dependencies: str


def drive(
    order: Order,
    make_engine: Callable[[str], BaseEngine],
    tell: Callable[[dict[str, Any]], None],
    should_stop: Callable[[], bool],
) -> None:
    """Run the load of an order to its end.

    Args:
        order: what to run.
        make_engine: builds the engine, given the order's `dependencies`; it is closed at the end.
        tell: called about once a second with what `DetachedState.to_dict` gives, and with the final state.
        should_stop: looked at as often.
    """
    try:
        pipe = load(order.task).pipe
        engine = make_engine(order.dependencies)
    except Exception as error:  # noqa: BLE001  nobody is there to raise it to: the report tells
        info = describe_exception(error, "".join(traceback.format_exception(error)))
        failed = PipeReport(status=PipeStatus.FAILED, started_at=now(), finished_at=now(), exception=info)
        tell({"report": failed.to_dict(), "pipes": []})
        return
    try:
        manager = PipeManager.parallelize_pipe(pipe, order.workers, order.merge, engine=engine, retries=order.retries)
        manager.start()
        while not manager.wait(TELL_SECONDS):
            if should_stop():
                manager.shutdown(STOP_SECONDS)
            tell({"report": manager.report.to_dict(), "pipes": []})
        pipes = [replace(each, cause=None).to_dict() for each in manager.pipe_reports]
        tell({"report": manager.report.to_dict(), "pipes": pipes})
    finally:
        engine.close()
