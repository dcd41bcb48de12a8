"""What Prefect shows of a load while it runs and when it has ended, sent from threads of its own.

load.run() ──report──▶ Watch.update ──▶ thread: progress artifact, every two seconds
                                    └─▶ thread: flow run cancelled? ─▶ load.shutdown()
load ended ──report──▶ Watch.keep ───▶ threads: report, table, last progress, side by side

A request takes a server some 10 to 100 ms. None holds up the load, and those at its end are waited for together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

import httpx
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run, task_run

from zoopipe_core import Pipe, PipeManager, PipeReport
from zoopipe_prefect.artifacts import artifact_key, report_markdown, report_table
from zoopipe_prefect.compatibility import SYNC

__all__ = ["Watch", "reporting_failures_as_warnings"]

PROGRESS_SECONDS = 2.0  # the UI itself asks every few seconds
CANCEL_SECONDS = 5.0
SENDERS = 3


class Watch:
    """Shows how a load goes, if it is long enough to be watched, and ends it when its flow run is cancelled.

    Prefect interrupts a task that is called, and none that is submitted: that one has to look by itself.

    Args:
        load: that is about to run, in the task run that this is made in.
        logger: of the task run.

    A context manager: when it is left, everything is sent.
    """

    def __init__(self, load: Pipe | PipeManager, logger: Any) -> None:
        self._load = load
        self._logger = logger
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="zoopipe-prefect")
        self._showing = _Repeated(PROGRESS_SECONDS)
        self._looking = _Repeated(CANCEL_SECONDS)
        self._lock = threading.Lock()  # of the progress artifact: it is made before it is updated
        self._artifact: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._senders.shutdown()

    def update(self, report: PipeReport) -> None:
        """Take the newest report of the load; returns at once."""
        if report.is_finished:
            return
        if self._looking.is_due(report):
            self._looking.sent = self._send(self._end_if_cancelled)
        if report.fraction_done is not None and self._showing.is_due(report):
            self._showing.sent = self._send(self._show, report)

    def keep(self, report: PipeReport, pipes: Sequence[PipeReport], name: str) -> None:
        """Leave the report of a load that has ended as artifacts, and wait until the server has them.

        Args:
            report: of the load as a whole.
            pipes: of its pipes or shards.
            name: of the load; the artifacts' keys are made from it.
        """
        key, status = artifact_key(name), report.status.name
        page, table = report_markdown(report, pipes, _links()), report_table(pipes or [report])
        sent = [
            self._send(create_markdown_artifact, page, key, status, **SYNC),
            self._send(create_table_artifact, table, f"{key}-pipes", status, **SYNC),
        ]
        if self._showing.sent is not None and report.fraction_done is not None:
            sent.append(self._send(self._show, report))
        wait(sent)  # what went wrong has been logged

    def _send(self, request: Callable[..., Any], *args: Any, **options: Any) -> Future[None]:
        """Call `request` in a thread, which has the task run's context, and with it its client."""

        def send() -> None:
            with reporting_failures_as_warnings(self._logger):
                request(*args, **options)

        return self._senders.submit(copy_context().run, send)

    def _show(self, report: PipeReport) -> None:
        text = f"{report.source} → {report.target}: {report.read_rows:,} rows, {report.rejected_rows:,} rejected"
        percent = (report.fraction_done or 0.0) * 100
        with self._lock:
            if self._artifact is None:
                self._artifact = create_progress_artifact(percent, None, text, **SYNC)
            else:
                update_progress_artifact(self._artifact, percent, text, **SYNC)

    def _end_if_cancelled(self) -> None:
        run_id = flow_run.id
        if run_id is None:  # the task runs without a flow
            return
        state = get_client(sync_client=True).read_flow_run(run_id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self._logger.warning("The flow run was cancelled: the load is undone.")
            self._load.shutdown()


class _Repeated:
    """What is sent now and then: not before some seconds have passed, and not while the last is still on its way."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = 0.0
        self.sent: Future[None] | None = None

    def is_due(self, report: PipeReport) -> bool:
        on_its_way = self.sent is not None and not self.sent.done()
        if on_its_way or report.duration_seconds - self._last < self._seconds:
            return False
        self._last = report.duration_seconds
        return True


def _links() -> dict[str, str]:
    """The pages of the runs, where there is a UI."""
    links = {"flow run": flow_run.ui_url, "task run": task_run.ui_url}
    return {name: url for name, url in links.items() if url}


@contextmanager
def reporting_failures_as_warnings(logger: Any) -> Iterator[None]:
    """The load is what counts: that Prefect could not be told about it neither aborts it nor makes it run again."""
    try:
        yield
    except Exception as error:
        trace = None if isinstance(error, httpx.HTTPError | PrefectException) else error
        logger.warning("Prefect could not be told of the load: %s: %s", type(error).__name__, error, exc_info=trace)
