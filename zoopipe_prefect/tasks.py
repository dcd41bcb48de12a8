"""`run_pipe`: one load as one Prefect task.

The pipe parallelizes inside; Prefect sees one task with a progress artifact while it runs, the report as an artifact
when it has ended, however it ended, and the report as the task's result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from prefect import task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger
from prefect.runtime import task_run
from prefect.utilities.annotations import quote

from zoopipe_prefect.artifacts import artifact_key, report_markdown

if TYPE_CHECKING:
    from zoopipe_core import Pipe, PipeReport

__all__ = ["run_pipe"]

# Creating an artifact takes about 40 ms, an update 7 ms: more often would cost the load, and a person sees no more.
PROGRESS_SECONDS = 1.0
# The task may be called from an async flow, where Prefect's functions would hand back a coroutine.
_SYNC: Any = {"_sync": True}


def _run_name() -> str:
    parameters = task_run.parameters
    return f"load-{_name(parameters['pipe'], parameters.get('name'))}"


def _name(pipe: Pipe | quote, name: str | None) -> str:
    if name is not None:
        return name
    return str((pipe.unquote() if isinstance(pipe, quote) else pipe).report.target)


@task(name="run_pipe", task_run_name=_run_name, cache_policy=NO_CACHE)
def run_pipe(pipe: Pipe, name: str | None = None) -> dict[str, Any]:
    """Run a pipe as a Prefect task and return its report as plain JSON.

    Args:
        pipe: the load.
        name: what the task run (``load-{name}``) and its artifact are called; default: the pipe's target.

    The report is kept as a Markdown artifact whose key is made from the name, so that Prefect shows the history of
    the load. It is written before the task succeeds or fails. A load of more than a second shows its progress.
    Cancelling the flow run, a timeout or a signal undoes the load.

    Prefect looks for futures inside of what a task is given. A pipe over many rows in memory is spared that with
    ``run_pipe(quote(pipe))`` (``prefect.utilities.annotations.quote``).

    Raises:
        LoadFailedError: the load failed and nothing was published; its cause is the original exception.
        LoadAbortedError: the load was cancelled.

    .. code-block:: python

        from prefect import flow
        from zoopipe_core import Pipe
        from zoopipe_prefect import run_pipe

        @flow
        def nightly() -> int:
            report = run_pipe(Pipe("users.csv", "users.parquet", "rejects.csv", User), name="users")
            return report["loaded_rows"]

    With Prefect's own options: ``run_pipe.with_options(retries=2, retry_delay_seconds=60)(pipe)``.
    """
    logger = get_run_logger()
    try:
        pipe.run(on_report_update=_Progress(logger).update)
    finally:  # whatever ended the load, a cancellation too
        report = pipe.report
        logger.log(logging.ERROR if report.has_error else logging.INFO, "%s", report)
        with _reporting_failures_as_warnings(logger):
            key = artifact_key(_name(pipe, name))
            create_markdown_artifact(report_markdown(report), key, report.status.name, **_SYNC)
    return report.raise_for_status().to_dict()


class _Progress:
    """A progress artifact for a load that is long enough to be watched."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        self._artifact: Any = None
        self._shown = 0.0

    def update(self, report: PipeReport) -> None:
        if report.fraction_done is None:
            return
        due = report.duration_seconds - self._shown >= PROGRESS_SECONDS
        if not due and not (report.is_finished and self._artifact):
            return
        self._shown = report.duration_seconds
        text = f"{report.source} → {report.target}: {report.read_rows:,} rows, {report.rejected_rows:,} rejected"
        with _reporting_failures_as_warnings(self._logger):
            if self._artifact is None:
                self._artifact = create_progress_artifact(report.fraction_done * 100, None, text, **_SYNC)
            else:
                update_progress_artifact(self._artifact, report.fraction_done * 100, text, **_SYNC)


@contextmanager
def _reporting_failures_as_warnings(logger: Any) -> Iterator[None]:
    """The load is what counts: that Prefect could not be told about it neither aborts it nor makes it run again."""
    try:
        yield
    except (httpx.HTTPError, PrefectException) as error:
        logger.warning("Prefect did not take an artifact of the load: %s: %s", type(error).__name__, error)
