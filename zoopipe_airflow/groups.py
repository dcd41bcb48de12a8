"""`zoopipe_task_group`: Airflow itself as the engine. Each shard of a load is a task of its own.

    plan ─▶ shard[0], shard[1], ... (mapped) ─▶ publish

A shard that fails is tried again alone, on any worker; what the others have done stays. Tasks hand each other plain
JSON, and rows by a folder that all workers reach.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import TaskGroup

from zoopipe_airflow.base import LoadOperator, PipeOperator
from zoopipe_airflow.load_ids import load_id_of
from zoopipe_airflow.sources import PipeSource

if TYPE_CHECKING:
    from airflow.sdk import Context

    from zoopipe_core import Pipe, ShardedLoad, ShardPublication

__all__ = ["GroupOperator", "PlanShardsOperator", "PublishShardsOperator", "RunShardOperator", "zoopipe_task_group"]


@dataclass(frozen=True)
class _Group:
    """What names the load of a group: the same for all of its tasks."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int | None = None


class GroupOperator(PipeOperator):
    """What the tasks of the group have in common: each builds the pipe anew.

    Args:
        pipe, staging: as for `zoopipe_task_group`.
        group: the full name of the group.
        kwargs: as for any operator.
    """

    template_fields: Collection[str] = ("pipe", "staging")
    template_fields_renderers: ClassVar[dict[str, str]] = {"pipe": "json"}

    def __init__(self, *, pipe: PipeSource, group: str, staging: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipe = pipe
        self.group = group
        self.staging = staging

    def sharded(self, context: Context) -> ShardedLoad:
        """The load of the group.

        Raises:
            SpecError: it cannot be shared out to tasks.
        """
        from zoopipe_core import ShardedLoad

        task = context["ti"]
        pipe = self.pipe.build(self.renderer(context))
        if pipe.load_id is None:
            pipe = replace(pipe, load_id=load_id_of(_Group(task.dag_id, self.group, task.run_id)))
        return ShardedLoad(self.finished(pipe, context), self.staging)


class PlanShardsOperator(GroupOperator):
    """Cuts the input; its return value has one item for each shard.

    Args:
        shards: how many at most.
        kwargs: as for any task of the group.
    """

    def __init__(self, *, shards: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shards = shards

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Plan, and return the shards as plain JSON."""
        shards = self.sharded(context).plan(self.shards)
        self.log.info("%d shards", len(shards))
        return shards


class RunShardOperator(GroupOperator, LoadOperator):
    """Reads and validates one shard; its return value is the report of it.

    Args:
        shard: what `PlanShardsOperator` has returned of it.
        kwargs: as for any task of the group.
    """

    def __init__(self, *, shard: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    @contextmanager
    def open_load(self, context: Context) -> Iterator[Pipe]:
        pipe = self.sharded(context).shard_pipe(self.shard)
        self.forget()  # what is loaded, the task tells that publishes it
        yield pipe


class PublishShardsOperator(GroupOperator, LoadOperator):
    """Makes the parts of all shards the target; its return value is the report of the load.

    Args:
        plan: the task that has planned the shards.
        shard: the task that has run them.
        kwargs: as for `ZooPipeOperator`, and as for any task of the group.
    """

    def __init__(self, *, plan: str, shard: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.shard = shard

    @contextmanager
    def open_load(self, context: Context) -> Iterator[ShardPublication]:
        from zoopipe_core import PipeReport

        task = context["ti"]
        shards = task.xcom_pull(task_ids=self.plan)
        reports = task.xcom_pull(task_ids=self.shard, map_indexes=list(range(len(shards))))
        yield self.sharded(context).publication(shards, [PipeReport.from_dict(report) for report in reports])


def zoopipe_task_group(
    pipe: Pipe | Callable[[], Pipe] | str,
    shards: int,
    *,
    group_id: str = "load",
    staging: str | None = None,
    max_errors: int | float | None = None,
    fail_on_errors: bool = False,
    skip_if_empty: bool = False,
    infer_outlets: bool = False,
    outlets: Any = None,
    **kwargs: Any,
) -> TaskGroup:
    """A load as a group of tasks: ``plan``, mapped ``shard`` tasks, ``publish``.

    The load is published once, by the last task, with the result of one worker. It reads files; `staging` is on a file
    system that all workers reach, where validated rows are kept until then.

    Args:
        pipe: as for `ZooPipeOperator`. Each task builds it anew.
        shards: how many there are at most.
        group_id: the name of the group; the load is named after it, DAG and run.
        staging: a folder; may hold a template. None: that of the target, if it is a file.
        max_errors: as for `ZooPipeOperator`; it is looked at when all shards have ended.
        fail_on_errors: the same as ``max_errors=0``.
        skip_if_empty: the last task is skipped, and with it those behind the group, if the source has no rows.
        infer_outlets: as for `ZooPipeOperator`.
        outlets: of the last task.
        kwargs: as for any operator, such as ``retries`` or ``pool``: for each of the tasks.

    Returns:
        The group. The report of the load is the return value of the task ``publish`` in it.

    >>> from datetime import datetime
    >>> from airflow.sdk import DAG
    >>> with DAG("nightly", schedule=None):
    ...     group = zoopipe_task_group("loads.users:daily", shards=8, staging="/shared/staging")
    >>> sorted(group.children)
    ['load.plan', 'load.publish', 'load.shard']
    """
    with TaskGroup(group_id) as group:
        common = {"pipe": PipeSource(pipe), "group": str(group.group_id), "staging": staging, **kwargs}
        plan = PlanShardsOperator(task_id="plan", shards=shards, **common)
        shard = RunShardOperator.partial(task_id="shard", **common).expand(shard=plan.output)
        publish = PublishShardsOperator(
            task_id="publish",
            plan=plan.task_id,
            shard=shard.task_id,
            max_errors=max_errors,
            fail_on_errors=fail_on_errors,
            skip_if_empty=skip_if_empty,
            infer_outlets=infer_outlets,
            outlets=outlets,
            **common,
        )
        shard >> publish
    return group
