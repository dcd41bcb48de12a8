"""Loads as Airflow's database knows them: task instances, and the reports that they left as XComs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import and_, select
from sqlalchemy.orm import aliased

from zoopipe_airflow.history import LEDGER_KEY
from zoopipe_airflow.links import LINK_KEY, report_path
from zoopipe_airflow.pages.reports import History, LoadReport, read_histories, read_report

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import Session

__all__ = ["Load", "TaskKey", "dags_with_loads", "earlier_loads", "find_load", "recent_loads"]

# Where a task leaves its report: the first if it succeeded, the second if it did not.
_REPORT_KEYS = ("return_value", "report")


@dataclass(frozen=True)
class TaskKey:
    """Which task instance. `map_index` is -1 for a task that is not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1

    @property
    def path(self) -> str:
        """Of its report, below the address of Airflow's UI."""
        return report_path(self.dag_id, self.run_id, self.task_id, self.map_index)


@dataclass(frozen=True)
class Load:
    """The latest try of a task instance.

    Attributes:
        key: which task instance.
        state: Airflow's; None if it has none yet.
        try_number: counts from 1.
        started_at: when this try began; None if it has not.
        ended_at: when it ended; None if it has not.
        report: None if it has left none.
        histories: what the targets remembered when it ended.
    """

    key: TaskKey
    state: str | None
    try_number: int
    started_at: datetime | None
    ended_at: datetime | None
    report: LoadReport | None = None
    histories: tuple[History, ...] = ()

    @property
    def has_ended(self) -> bool:
        return self.state in ("success", "failed", "skipped", "upstream_failed", "removed")

    @property
    def was_loaded_before(self) -> bool:
        """The report is of an earlier try or run: this one found the load done, and loaded nothing."""
        finished = self.report.total.finished_at if self.report else None
        return finished is not None and self.started_at is not None and finished < self.started_at


def find_load(session: Session, key: TaskKey) -> Load | None:
    """The load of a task instance; None if there is no such task instance."""
    found = _loads(session, _instances().where(*_is(key)), with_histories=True)
    return found[0] if found else None


def earlier_loads(session: Session, key: TaskKey, limit: int) -> list[Load]:
    """What the same task did in other runs of its DAG, the latest first.

    Args:
        session: of Airflow's database.
        key: the task instance that is looked at; of a mapped task, those of its index are found.
        limit: how many at most.
    """
    others = _instances().where(
        TaskInstance.dag_id == key.dag_id,
        TaskInstance.task_id == key.task_id,
        TaskInstance.map_index == key.map_index,
        TaskInstance.run_id != key.run_id,
        TaskInstance.start_date.is_not(None),
    )
    return _loads(session, others.order_by(TaskInstance.start_date.desc()).limit(limit))


def dags_with_loads(session: Session) -> set[str]:
    """The ids of all DAGs that loads have ended in."""
    return set(session.scalars(select(XComModel.dag_id).where(XComModel.key == LINK_KEY).distinct()))


def recent_loads(session: Session, dags: Collection[str], limit: int, before: datetime | None = None) -> list[Load]:
    """Loads that have ended, the latest first.

    Args:
        session: of Airflow's database.
        dags: the ids of the DAGs to look at.
        limit: how many at most.
        before: only those that ended before.
    """
    link = aliased(XComModel, name="link")
    # By its key, which has an index: reading every return value for what might be a report would not do.
    ended = (
        _instances()
        .join(link, and_(*_joined(link)))
        .where(link.key == LINK_KEY, link.dag_id.in_(dags), TaskInstance.end_date.is_not(None))
        .order_by(TaskInstance.end_date.desc())
        .limit(limit)
    )
    if before is not None:
        ended = ended.where(TaskInstance.end_date < before)
    return _loads(session, ended)


def _instances() -> Select[Any]:
    columns: list[Any] = [
        TaskInstance.dag_id,
        TaskInstance.run_id,
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance.state,
        TaskInstance.try_number,
        TaskInstance.start_date,
        TaskInstance.end_date,
        DagRun.id.label("dag_run_id"),
    ]
    its_run = and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id)
    return select(*columns).join(DagRun, its_run)


def _is(key: TaskKey) -> list[Any]:
    return [
        TaskInstance.dag_id == key.dag_id,
        TaskInstance.run_id == key.run_id,
        TaskInstance.task_id == key.task_id,
        TaskInstance.map_index == key.map_index,
    ]


def _joined(xcom: Any) -> list[Any]:
    return [
        xcom.dag_run_id == DagRun.id,
        xcom.task_id == TaskInstance.task_id,
        xcom.map_index == TaskInstance.map_index,
    ]


def _loads(session: Session, instances: Select[Any], *, with_histories: bool = False) -> list[Load]:
    """The loads of task instances, in their order."""
    rows = session.execute(instances).all()
    values: dict[tuple[int, str, int, str], object] = {}
    if rows:
        found = select(
            XComModel.dag_run_id, XComModel.task_id, XComModel.map_index, XComModel.key, XComModel.value
        ).where(
            XComModel.dag_run_id.in_({row.dag_run_id for row in rows}),
            XComModel.task_id.in_({row.task_id for row in rows}),
            XComModel.key.in_((*_REPORT_KEYS, LEDGER_KEY) if with_histories else _REPORT_KEYS),
        )
        values = {(run, task, index, key): value for run, task, index, key, value in session.execute(found)}
    loads = []
    for row in rows:
        reports = (read_report(values.get((row.dag_run_id, row.task_id, row.map_index, key))) for key in _REPORT_KEYS)
        loads.append(
            Load(
                key=TaskKey(row.dag_id, row.run_id, row.task_id, row.map_index),
                state=row.state,
                try_number=row.try_number,
                started_at=row.start_date,
                ended_at=row.end_date,
                report=next((report for report in reports if report is not None), None),
                histories=read_histories(values.get((row.dag_run_id, row.task_id, row.map_index, LEDGER_KEY))),
            )
        )
    return loads
