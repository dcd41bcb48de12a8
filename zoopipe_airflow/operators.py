"""`ZooPipeOperator`: one load as one Airflow task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from zoopipe_core import Pipe, PipeReport

__all__ = ["ZooPipeOperator"]

LOG_SECONDS = 5.0


class ZooPipeOperator(BaseOperator):
    """Runs a pipe; the task succeeds when all of it is published, and fails with nothing published.

    Args:
        pipe: the load, or a function without arguments that builds it. Airflow parses a DAG file again and again;
            a function is called only when the task runs, so that what it imports costs nothing until then.
        kwargs: as for any operator: ``task_id``, ``retries``, ``execution_timeout``, ...

    The report is logged every few seconds. At the end it is the task's return value (XCom, plain JSON); of a load
    that failed, or was killed, it is in the XCom ``report``. Killing the task, or its timeout, undoes the load.

    Raises (when the task runs):
        LoadFailedError: the load failed; its cause is the original exception.
        LoadAbortedError: the task was killed.

    >>> from zoopipe_core import Pipe
    >>> ZooPipeOperator(task_id="load_users", pipe=Pipe("users.csv", "users.parquet")).task_id
    'load_users'

    A DAG file that imports no more than it needs:

    .. code-block:: python

        from airflow.sdk import dag
        from zoopipe_airflow import ZooPipeOperator

        def users():
            from zoopipe_core import Pipe
            return Pipe("users.csv", "duckdb:///warehouse.duckdb::users", "rejects/users.csv")

        @dag(schedule="@daily")
        def nightly():
            ZooPipeOperator(task_id="load_users", pipe=users)

        nightly()
    """

    _running: Pipe | None = None
    _killed = False

    def __init__(self, *, pipe: Pipe | Callable[[], Pipe], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipe = pipe
        if not callable(pipe):
            _check(pipe, "pipe")

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the load and return its report."""
        pipe = self.pipe
        if callable(pipe):
            pipe = pipe()
            _check(pipe, "what the function given as pipe returns")
        self._running = pipe
        try:
            pipe.run(on_report_update=self._progress())
            return pipe.report.raise_for_status().to_dict()
        except BaseException:
            context["ti"].xcom_push(key="report", value=pipe.report.to_dict())
            raise
        finally:
            self._running = None
            self.log.info("%s", pipe.report)

    def on_kill(self) -> None:
        """Called by Airflow in a signal handler: ask the load to stop; `execute` raises when it is undone."""
        self._killed = True
        if self._running is not None:
            self._running.shutdown(timeout=0)

    def _progress(self) -> Callable[[PipeReport], None]:
        logged = 0.0

        def update(report: PipeReport) -> None:
            nonlocal logged
            if self._killed and not report.is_finished:
                self.on_kill()  # the signal came before the load had started
            if report.duration_seconds - logged >= LOG_SECONDS:
                logged = report.duration_seconds
                self.log.info("%s", report)

        return update


def _check(pipe: Any, what: str) -> None:
    from zoopipe_core import Pipe  # what is given as a Pipe has paid for this import already

    if not isinstance(pipe, Pipe):
        raise TypeError(f"{what} has to be a zoopipe_core.Pipe, or a function that returns one, not {pipe!r}")
