"""The button on a task's page that opens the report of its load.

Airflow keeps the link of a task instance as an XCom once it has ended, whichever way. By the key of that XCom the page
of all loads finds them, whatever their operators are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.types import TaskInstanceKey

__all__ = ["LINK_KEY", "LOAD_REPORT", "URL_PREFIX", "LoadReportLink", "report_path"]

LOAD_REPORT = "Load report"
LINK_KEY = "_link_zoopipe_load_report"
URL_PREFIX = "/zoopipe"


def report_path(dag_id: str, run_id: str, task_id: str, map_index: int | None) -> str:
    """Where the report of a task instance is, below the address of Airflow's UI.

    >>> report_path("nightly", "manual__2026-01-31T00:00:00+00:00", "load", -1)
    '/zoopipe/dags/nightly/runs/manual__2026-01-31T00%3A00%3A00%2B00%3A00/tasks/load/-1'
    """
    dag, run, task = (quote(name, safe="") for name in (dag_id, run_id, task_id))
    return f"{URL_PREFIX}/dags/{dag}/runs/{run}/tasks/{task}/{-1 if map_index is None else map_index}"


class LoadReportLink(BaseOperatorLink):
    """Opens the load report of a task instance."""

    @property
    def name(self) -> str:
        return LOAD_REPORT

    @property
    def xcom_key(self) -> str:
        return LINK_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        from airflow.configuration import conf

        base = conf.get("api", "base_url", fallback="/").rstrip("/")
        return base + report_path(ti_key.dag_id, ti_key.run_id, ti_key.task_id, ti_key.map_index)
