"""What happens within a worker, the same for every engine: the pipe is run, its progress told, a wish to stop heard.

    engine's process ── run_pipe(task, publish, should_stop) ──▶ PipeReport
                            │            │            │
                     Pipe.start()   ~20 a second   ~20 a second

The load runs in a thread of its own; the thread that calls `run_pipe` looks at it. Nothing here knows how reports and
wishes travel: that is what engines differ in.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace

from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.errors import EngineError
from zoopipe_core.report import PipeReport, PipeStatus, describe_exception, now
from zoopipe_core.running import ABORT_GRACE_SECONDS

__all__ = ["PUBLISH_SECONDS", "Publish", "ShouldStop", "failed_report", "first_report", "run_pipe"]

PUBLISH_SECONDS = 0.05
"""How long a published report stays the latest. Half of what is promised, since others look at their own pace."""

Publish = Callable[[PipeReport], None]
ShouldStop = Callable[[], bool]


def run_pipe(task: WorkerTask, publish: Publish, should_stop: ShouldStop) -> PipeReport:
    """Run the pipe of `task` to its end.

    Args:
        task: what to run; its index and attempt are in every report.
        publish: called in this thread with a snapshot at least every 100 ms, and once with the final report.
        should_stop: called as often; once it returns True, the load is aborted and undone.

    Returns:
        The final report, as it was published. A load that fails is no exception here: the report tells.

    Raises:
        BaseException: what `publish`, `should_stop` or a signal handler raised, after the load was undone.
    """
    pipe = task.pipe

    def snapshot() -> PipeReport:
        report = pipe.report
        return replace(report, pipe_index=task.index, attempt=max(report.attempt, task.attempt))

    try:
        pipe.start()
    except Exception as error:  # noqa: BLE001  such as no more threads; the report is where failures are looked for
        report = failed_report(task, error)
        publish(report)
        return report
    try:
        publish(snapshot())
        while not pipe.wait(PUBLISH_SECONDS):
            if should_stop():
                pipe.shutdown(0)
            publish(snapshot())
    except BaseException:
        pipe.shutdown(ABORT_GRACE_SECONDS)
        raise
    report = snapshot()
    if not report.is_finished:
        # Its thread ended, and could not even say so.
        report = failed_report(task, EngineError("the load ended without a result; is there no memory left?"), report)
    publish(report)
    return report


def first_report(task: WorkerTask) -> PipeReport:
    """What is known of `task` before its worker has begun: PENDING, with the names of source and targets."""
    known = task.pipe.report  # of another run, perhaps; but what it names stays the same
    return PipeReport(
        pipe_index=task.index,
        attempt=task.attempt,
        source=known.source,
        target=known.target,
        rejects_target=known.rejects_target,
    )


def failed_report(task: WorkerTask, error: BaseException, latest: PipeReport | None = None) -> PipeReport:
    """The final report of a worker that ended without one of its own.

    Args:
        task: what it was to run.
        error: why there is no other report; becomes `PipeReport.exception` and `PipeReport.cause`.
        latest: the last snapshot that is known, whose counts are kept.
    """
    latest = first_report(task) if latest is None else latest
    return replace(
        latest,
        status=PipeStatus.FAILED,
        finished_at=now(),
        exception=describe_exception(error, "".join(traceback.format_exception(error))),
        cause=error,
    )
