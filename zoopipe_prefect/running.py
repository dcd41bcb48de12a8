"""The body that all tasks share: run a load, show how it goes, keep its report, hand it back.

load.run() ─▶ watched, see `zoopipe_prefect.watching`
    └─ ended, in whatever way ─▶ log, event, assets, artifacts ─▶ Completed with the report, or raised
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.settings import PREFECT_LOGGING_EXTRA_LOGGERS, PREFECT_LOGGING_LEVEL

from zoopipe_core import Pipe, PipeManager, PipeReport, PipeStatus, ZoopipeError
from zoopipe_prefect.lineage import emit_load_event, record_assets
from zoopipe_prefect.states import completed, counted, fault_can_pass, tag_run
from zoopipe_prefect.watching import Watch, reporting_failures_as_warnings

__all__ = ["run_load"]


def run_load(load: Pipe | PipeManager, name: str, *, as_report: bool, independent: bool = False) -> State[Any]:
    """Run a load within a task run, and return the state that the task run ends in.

    Args:
        load: a pipe, or a manager, which runs for the first time.
        name: of the load; its artifact's key is made from it.
        as_report: the state's data is a `PipeReport`; otherwise the same as plain JSON, for a manager with the reports
            of its pipes under ``"pipes"``.
        independent: each pipe of the manager publishes by itself.

    Raises:
        LoadFailedError: the load failed; its ``report`` tells how.
        LoadAbortedError: the load was cancelled.
    """
    logger = get_run_logger()
    _let_core_log()
    tag_run()
    with Watch(load, logger) as watch:
        try:
            load.run(on_report_update=watch.update)
        finally:  # whatever ended the load, a cancellation too
            report = load.report
            pipes = load.pipe_reports if isinstance(load, PipeManager) else []
            logger.log(logging.ERROR if report.has_error else logging.INFO, "%s", report)
            with reporting_failures_as_warnings(logger):
                emit_load_event(report)
                record_assets(report, pipes if independent else ())
            watch.keep(report, pipes, name)
    _raise_for_status(report, pipes if independent else ())
    return completed(report, report if as_report else _as_json(report, load, pipes))


def _let_core_log() -> None:
    """Give the core's logger the level of Prefect's own, if it is one of the extra loggers: Prefect hands on none."""
    core = logging.getLogger("zoopipe_core")
    if core.name in PREFECT_LOGGING_EXTRA_LOGGERS.value() and core.level == logging.NOTSET:
        core.setLevel(PREFECT_LOGGING_LEVEL.value())


def _as_json(report: PipeReport, load: Pipe | PipeManager, pipes: Sequence[PipeReport]) -> dict[str, Any]:
    data = report.to_dict()
    return data | {"pipes": [pipe.to_dict() for pipe in pipes]} if isinstance(load, PipeManager) else data


def _raise_for_status(report: PipeReport, pipes: Sequence[PipeReport]) -> None:
    """Raise what tells of a load that did not complete, with its counts in front: it becomes the state's message.

    Args:
        report: of the load as a whole.
        pipes: of its pipes, where each publishes by itself: of several that did not complete, the first is told of, and
            rather one that may complete another time.
    """
    ended = [pipe for pipe in pipes if pipe.has_error]

    def lasts(pipe: PipeReport) -> bool:
        return not fault_can_pass(pipe.exception.type if pipe.exception else None)

    try:
        min(ended, key=lasts, default=report).raise_for_status()
    except ZoopipeError as error:
        published = sum(pipe.status is PipeStatus.COMPLETED for pipe in pipes)
        some = f"; {len(ended)} of {len(pipes)} loads did not complete, {published} did" if len(pipes) > 1 else ""
        error.args = (f"{counted(report)}{some}: {error}",)
        raise
