"""The body that all tasks share: run a load, show how it goes, keep its report, hand it back.

load.run() ─▶ progress artifact, about once a second     flow run cancelled? ─▶ load.shutdown()
    └─ ended, in whatever way ─▶ log, artifacts, event, assets ─▶ Completed with the report, or raised
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import flow_run, task_run
from prefect.settings import PREFECT_LOGGING_EXTRA_LOGGERS, PREFECT_LOGGING_LEVEL

from zoopipe_core import Pipe, PipeManager, PipeReport, PipeStatus
from zoopipe_prefect.artifacts import artifact_key, report_markdown, report_table
from zoopipe_prefect.compatibility import SYNC
from zoopipe_prefect.lineage import emit_load_event, record_assets
from zoopipe_prefect.states import completed, fault_can_pass

__all__ = ["run_load"]

# Creating an artifact takes about 40 ms, an update 7 ms: more often would cost the load, and a person sees no more.
PROGRESS_SECONDS = 1.0
CANCEL_SECONDS = 3.0


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
    try:
        load.run(on_report_update=_Watch(load, logger).update)
    finally:  # whatever ended the load, a cancellation too
        report = load.report
        pipes = load.pipe_reports if isinstance(load, PipeManager) else []
        logger.log(logging.ERROR if report.has_error else logging.INFO, "%s", report)
        _tell(report, pipes, name, independent, logger)
    if independent:
        _raise_for_pipes(pipes)
    report.raise_for_status()
    return completed(report, report if as_report else _as_json(report, load, pipes))


def _let_core_log() -> None:
    """Give the core's logger the level of Prefect's own, if it is one of the extra loggers: Prefect hands on none."""
    core = logging.getLogger("zoopipe_core")
    if core.name in PREFECT_LOGGING_EXTRA_LOGGERS.value() and core.level == logging.NOTSET:
        core.setLevel(PREFECT_LOGGING_LEVEL.value())


def _tell(report: PipeReport, pipes: Sequence[PipeReport], name: str, independent: bool, logger: Any) -> None:
    """Leave what there is to know of a load where Prefect shows it."""
    key, status = artifact_key(name), report.status.name
    with reporting_failures_as_warnings(logger):
        emit_load_event(report)
        record_assets(report, pipes if independent else ())
    with reporting_failures_as_warnings(logger):
        create_markdown_artifact(report_markdown(report, pipes, _links()), key, status, **SYNC)
        create_table_artifact(report_table(pipes or [report]), f"{key}-pipes", status, **SYNC)


def _links() -> dict[str, str]:
    """The pages of the runs, where there is a UI."""
    links = {"flow run": flow_run.ui_url, "task run": task_run.ui_url}
    return {name: url for name, url in links.items() if url}


def _as_json(report: PipeReport, load: Pipe | PipeManager, pipes: Sequence[PipeReport]) -> dict[str, Any]:
    data = report.to_dict()
    return data | {"pipes": [pipe.to_dict() for pipe in pipes]} if isinstance(load, PipeManager) else data


def _raise_for_pipes(pipes: Sequence[PipeReport]) -> None:
    """Of several loads that did not complete, tell of the first, and rather of one that may complete another time."""
    ended = [pipe for pipe in pipes if pipe.has_error]
    if not ended:
        return
    first = min(ended, key=lambda pipe: not fault_can_pass(pipe.exception.type if pipe.exception else None))
    try:
        first.raise_for_status()
    except Exception as error:
        published = sum(pipe.status is PipeStatus.COMPLETED for pipe in pipes)
        error.args = (f"{len(ended)} of {len(pipes)} loads did not complete, {published} did: {error}",)
        raise


class _Watch:
    """Shows how a load goes, if it is long enough to be watched, and ends it when its flow run is cancelled.

    Prefect interrupts a task that is called, and none that is submitted: that one has to look by itself.
    """

    def __init__(self, load: Pipe | PipeManager, logger: Any) -> None:
        self._load = load
        self._logger = logger
        self._artifact: Any = None
        self._shown = 0.0
        self._looked = 0.0

    def update(self, report: PipeReport) -> None:
        if not report.is_finished and report.duration_seconds - self._looked >= CANCEL_SECONDS:
            self._looked = report.duration_seconds
            self._end_if_cancelled()
        if report.fraction_done is None:
            return
        due = report.duration_seconds - self._shown >= PROGRESS_SECONDS
        if not due and not (report.is_finished and self._artifact):
            return
        self._shown = report.duration_seconds
        text = f"{report.source} → {report.target}: {report.read_rows:,} rows, {report.rejected_rows:,} rejected"
        with reporting_failures_as_warnings(self._logger):
            if self._artifact is None:
                self._artifact = create_progress_artifact(report.fraction_done * 100, None, text, **SYNC)
            else:
                update_progress_artifact(self._artifact, report.fraction_done * 100, text, **SYNC)

    def _end_if_cancelled(self) -> None:
        run_id = flow_run.id
        if run_id is None:  # the task runs without a flow
            return
        with reporting_failures_as_warnings(self._logger), get_client(sync_client=True) as client:
            state = client.read_flow_run(run_id).state
            if state is not None and (state.is_cancelling() or state.is_cancelled()):
                self._logger.warning("The flow run was cancelled: the load is undone.")
                self._load.shutdown()


@contextmanager
def reporting_failures_as_warnings(logger: Any) -> Iterator[None]:
    """The load is what counts: that Prefect could not be told about it neither aborts it nor makes it run again."""
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        logger.warning("Prefect could not be told of the load: %s: %s", type(error).__name__, error)
