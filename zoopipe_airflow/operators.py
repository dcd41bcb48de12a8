"""`ZooPipeOperator`, `ZooPipeManagerOperator`, `ZooPipeParallelOperator`: loads as Airflow tasks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from zoopipe_airflow.base import LoadOperator
from zoopipe_airflow.compatibility import TaskDeferralError, TaskDeferralTimeout
from zoopipe_airflow.deferring import EndedLoad, detached_name, end_detached
from zoopipe_airflow.engines import check_engine, open_engine
from zoopipe_airflow.sources import PipeSource, PipesSource

if TYPE_CHECKING:
    from airflow.sdk import Context

    from zoopipe_airflow.engines import EngineLike
    from zoopipe_core import Pipe, PipeManager
    from zoopipe_core.detached import DetachedLoads

__all__ = ["ZooPipeManagerOperator", "ZooPipeOperator", "ZooPipeParallelOperator"]


class ZooPipeOperator(LoadOperator):
    """Runs a pipe; the task succeeds when all of it is published, and fails with nothing published.

    Args:
        pipe: the load; or a function without arguments that builds it; or the place of either, as
            ``"package.module:name"``. Airflow parses a DAG file again and again; a function is called, and a place
            imported, only when the task runs, so that what they need costs nothing until then.
        max_errors: how many rows may be rejected (a number, or a share from 0.0 to 1.0) before the load fails with
            nothing published, instead of what the pipe says of it.
        fail_on_errors: the same as ``max_errors=0``.
        skip_if_empty: the task is skipped, and with it those behind it, if the source has no rows. The load has run
            then: a target that is replaced is empty.
        kwargs: as for any operator: ``task_id``, ``retries``, ``execution_timeout``, ...

    **Templates.** Paths, URLs, queries, table names and the load id may hold Jinja templates, also within adapters and
    in what a function builds: ``CSVInputAdapter("in/{{ ds }}/*.csv")``. A `SecretStr` is left as it is.

    **Load id.** That of the task's logical run (DAG, task, run, map index), unless the pipe has one of its own: trying
    again, or clearing the task, does not load the same input twice.

    **Report.** It is logged every few seconds. At the end it is the task's return value (XCom, plain JSON); of a load
    that failed, was killed or skipped, it is in the XCom ``report``. Killing the task, or its timeout, undoes the load.

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
            return Pipe("in/{{ ds }}/users.csv", "duckdb:///warehouse.duckdb::users", "rejects/{{ ds }}/users.csv")

        @dag(schedule="@daily")
        def nightly():
            ZooPipeOperator(task_id="load_users", pipe=users)

        nightly()
    """

    template_fields: Collection[str] = ("pipe",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"pipe": "json"}

    def __init__(self, *, pipe: Pipe | Callable[[], Pipe] | str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipe = PipeSource(pipe)

    @contextmanager
    def open_load(self, context: Context) -> Iterator[Pipe]:
        yield self.finished(self.pipe.build(self.renderer(context)), context)


class ZooPipeManagerOperator(LoadOperator):
    """Runs several pipes in parallel, each in a worker; the task succeeds when all of them have been published.

    Each pipe is a load of its own: one that fails undoes itself only. The others are published, and when the task is
    tried again, they are not loaded a second time.

    Args:
        pipes: a list of pipes, of functions that build one, or of their places; or a function that returns a list of
            pipes; or its place.
        engine: where they run: ``"multiprocess"`` (the default), ``"zoosync"``, ``"ray"``, ``"dask"``, an engine, a
            function without arguments that builds one, or the place of either. One that is built for the task is
            closed with it.
        retries_per_pipe: how often a pipe that failed is run again within one try of the task.
        kwargs: as for `ZooPipeOperator`; `max_errors` holds for each pipe, and `skip_if_empty` for all together.

    The report is that of all pipes together; ``pipes`` in it are the reports of each.

    >>> from zoopipe_core import Pipe
    >>> pipes = [Pipe(f"{name}.csv", f"{name}.parquet") for name in ("users", "orders")]
    >>> ZooPipeManagerOperator(task_id="load", pipes=pipes).pipes.serialize()[1]["input"]
    "CSVInputAdapter('orders.csv')"
    """

    template_fields: Collection[str] = ("pipes",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"pipes": "json"}

    def __init__(
        self,
        *,
        pipes: Iterable[Pipe | Callable[[], Pipe] | str] | Callable[[], Iterable[Pipe]] | str,
        engine: EngineLike | None = None,
        retries_per_pipe: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_engine(engine)
        self.pipes = PipesSource.of(pipes)
        self.engine = engine
        self.retries_per_pipe = retries_per_pipe

    @contextmanager
    def open_load(self, context: Context) -> Iterator[PipeManager]:
        from zoopipe_core import PipeManager

        built = self.pipes.build(self.renderer(context))
        pipes = [self.finished(pipe, context, index) for index, pipe in enumerate(built)]
        with open_engine(self.engine) as engine:
            yield PipeManager(pipes, engine, retries=self.retries_per_pipe)


class ZooPipeParallelOperator(LoadOperator):
    """Runs one pipe by several workers: the same result as `ZooPipeOperator`, published at once.

    Args:
        pipe: as for `ZooPipeOperator`.
        workers: how many shards the input is cut into, at most.
        engine: as for `ZooPipeManagerOperator`.
        merge: True: one result, the same as that of one worker. False: numbered files.
        retries_per_shard: how often a shard that failed is run again within one try of the task.
        deferrable: with the engine ``"dask"`` or ``"ray"``: the load's driver lives on the cluster, too, while the task
            is deferred and takes no slot of a worker. The nodes need this package, and have to reach the target.
        cluster: where the cluster is, for a deferrable load; may hold a template. None: what ``DASK_SCHEDULER_ADDRESS``
            or ``RAY_ADDRESS`` names.
        dependencies: of a deferrable load, as for `RayEngine` and `DaskEngine`.
        poll_seconds: how often a deferrable load is looked at.
        kwargs: as for `ZooPipeOperator`. ``execution_timeout`` holds for all the time that the load is deferred.

    The report is that of the load; ``pipes`` in it are the reports of the shards.

    >>> from zoopipe_core import Pipe
    >>> ZooPipeParallelOperator(task_id="load", pipe=Pipe("users.csv", "users.parquet"), workers=4).engine
    'multiprocess'
    """

    template_fields: Collection[str] = ("pipe", "cluster")
    template_fields_renderers: ClassVar[dict[str, str]] = {"pipe": "json"}

    def __init__(
        self,
        *,
        pipe: Pipe | Callable[[], Pipe] | str,
        workers: int,
        engine: EngineLike = "multiprocess",
        merge: bool = True,
        retries_per_shard: int = 0,
        deferrable: bool = False,
        cluster: str | None = None,
        dependencies: str = "sync",
        poll_seconds: float = 10.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_engine(engine)
        if deferrable and engine not in ("dask", "ray"):
            raise ValueError(
                f"deferrable=True needs the engine 'dask' or 'ray', where a load can go on, not {engine!r}"
            )
        self.pipe = PipeSource(pipe)
        self.workers = workers
        self.engine = engine
        self.merge = merge
        self.retries_per_shard = retries_per_shard
        self.deferrable = deferrable
        self.cluster = cluster
        self.dependencies = dependencies
        self.poll_seconds = poll_seconds

    @contextmanager
    def open_load(self, context: Context) -> Iterator[PipeManager]:
        from zoopipe_core import PipeManager

        pipe = self.finished(self.pipe.build(self.renderer(context)), context)
        with open_engine(self.engine) as engine:
            yield PipeManager.parallelize_pipe(
                pipe, self.workers, self.merge, engine=engine, retries=self.retries_per_shard
            )

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the load and return its report; or have it begin on the cluster, and go on when it has ended."""
        if self.deferrable:
            self._begin_elsewhere(context)
        return super().execute(context)

    def _begin_elsewhere(self, context: Context) -> NoReturn:
        """Have the load begin on the cluster.

        Raises:
            TaskDeferred: always; Airflow calls `conclude` when the trigger has fired.
        """
        from zoopipe_airflow.triggers import DetachedLoadTrigger

        self.forget()
        attempt = context["ti"].try_number
        pipe = self.finished(self.pipe.build(self.renderer(context)), context)
        name = detached_name(pipe.load_id, attempt)
        may_run = False
        try:
            with self._detached() as cluster:
                if attempt > 1:  # its task has failed; if the load itself has not, it would be in the way
                    cluster.stop(detached_name(pipe.load_id, attempt - 1))
                may_run = True
                cluster.start(name, pipe, self.workers, self.merge, self.retries_per_shard, self.dependencies)
        except BaseException as error:  # such as a timeout, while the load has begun
            if may_run:
                self._give_up(name, context, error)
            raise
        self.log.info("the load goes on as %s on the %s cluster", name, self.engine)
        self.defer(
            trigger=DetachedLoadTrigger(str(self.engine), self.cluster, name, self.poll_seconds),
            method_name="conclude",
            timeout=self.execution_timeout,
        )

    def conclude(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Called when a deferred load has ended, with what the trigger has seen; returns the report.

        Raises:
            LoadFailedError, LoadAbortedError: as for any load; also if the cluster has lost it.
        """
        from zoopipe_core import PipeReport, PipeStatus
        from zoopipe_core.detached import DetachedState

        self.forget()
        pipe = self.finished(self.pipe.build(self.renderer(context)), context)
        lost = PipeReport(status=PipeStatus.FAILED, notes=("the cluster knows nothing of this load any more",))
        state = DetachedState(lost) if event["state"] is None else DetachedState.from_dict(event["state"])
        with self._detached() as cluster:
            cluster.forget(detached_name(pipe.load_id, context["ti"].try_number))
        return self.run_load(EndedLoad(state), context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """As for any operator; a load that is given up, such as for a timeout, is undone, and leaves its report."""
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except (TaskDeferralError, TaskDeferralTimeout) as error:
            pipe = self.finished(self.pipe.build(self.renderer(context)), context)
            self._give_up(detached_name(pipe.load_id, context["ti"].try_number), context, error)
            raise

    def _give_up(self, name: str, context: Context, error: BaseException) -> None:
        """Have a load undone that nobody waits for any more, for `error`, and keep its report."""
        try:
            with self._detached() as cluster:
                state = end_detached(cluster, name)
        except Exception as second:  # noqa: BLE001  kept as a note of what ended the task
            error.add_note(f"the load {name} may go on, since it cannot be told to end: {second}")
            return
        if state is not None:
            load = EndedLoad(state)
            self._push(load, context)
            self._log(load)

    def _detached(self) -> DetachedLoads:
        from zoopipe_core.detached import open_detached

        return open_detached(str(self.engine), self.cluster)
