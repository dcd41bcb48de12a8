"""`run_pipe`, `run_pipes`, `parallelize_pipe`: one load, or several, as one Prefect task.

Pipes parallelize inside; Prefect sees one task with a progress artifact while it runs, the report as an artifact when
it has ended, however it ended, and the report as the task's result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prefect.runtime import task_run
from prefect.utilities.annotations import quote

from zoopipe_core import Pipe, PipeManager, PipeReport
from zoopipe_prefect.engines import engine_in_use
from zoopipe_prefect.load_ids import named
from zoopipe_prefect.rollback import prepare_rollback, undo_loads
from zoopipe_prefect.running import run_load
from zoopipe_prefect.states import load_task

if TYPE_CHECKING:
    from zoopipe_core import BaseEngine

__all__ = ["parallelize_pipe", "run_pipe", "run_pipes"]


def _run_name(parameter: str) -> Callable[[], str]:
    def name() -> str:
        parameters = task_run.parameters
        return f"load-{_name(parameters[parameter], parameters.get('name'))}"

    return name


def _name(loads: Any, name: str | None) -> str:
    """What a load is called; total, since a task that is given nonsense has to get so far as to say so."""
    if name is not None:
        return name
    given = loads.unquote() if isinstance(loads, quote) else loads
    pipes = given if isinstance(given, Sequence) else [given]
    return PipeReport.merge(pipe.report for pipe in pipes if isinstance(pipe, Pipe)).target or "nothing"


@load_task(_run_name("pipe"), undo_loads)
def run_pipe(pipe: Pipe, name: str | None = None, as_report: bool = False, load_id_column: str | None = None) -> Any:
    """Run a pipe as a Prefect task and return its report as plain JSON.

    Args:
        pipe: the load.
        name: what the task run (``load-{name}``) and its artifact are called; default: the pipe's target.
        as_report: return a `PipeReport` instead.
        load_id_column: give each row the id of its load as a column of this name. If a later step of a
            ``prefect.transactions.transaction`` fails, the rows are then taken out again.

    The report is kept as a Markdown artifact whose key is made from the name, and as a table artifact (``-pipes``), so
    that Prefect shows the history of the load. They are written before the task succeeds or fails. A load of more than
    a second shows its progress. The task run ends as ``Completed``, or ``CompletedWithErrors`` if rows were rejected,
    with their number. It has made the target as an asset, and an event ``zoopipe.load.completed`` (or ``.failed``,
    ``.aborted``) tells of it.

    A pipe that adds rows and has no load id gets one of the flow run: a flow run that is tried again does not add them
    again.

    A fault that may pass (connection lost, worker died) is tried again, twice, after 10 and 20 seconds; one that
    stays (a bad model, a missing column, too many rejects) is not. Cancelling the flow run, a timeout or a signal
    undoes the load.

    Prefect looks for futures inside of what a task is given. A pipe over many rows in memory is spared that with
    ``run_pipe(quote(pipe))`` (``prefect.utilities.annotations.quote``).

    Raises:
        LoadFailedError: the load failed and nothing was published; its cause is the original exception, its
            ``report`` the `PipeReport`. It is the data of the state, see `report_of`, and its text the message.
        LoadAbortedError: the load was cancelled.
        SpecError: `load_id_column` is given, and what the load would do cannot be undone by removing rows.

    .. code-block:: python

        from prefect import flow
        from zoopipe_core import Pipe
        from zoopipe_prefect import run_pipe

        @flow
        def nightly() -> int:
            report = run_pipe(Pipe("users.csv", "users.parquet", "rejects.csv", User), name="users")
            return report["loaded_rows"]

    With Prefect's own options: ``run_pipe.with_options(retries=5, retry_delay_seconds=60)(pipe)``.
    """
    load = named(pipe, name) if load_id_column is None else prepare_rollback(pipe, name, load_id_column)
    return run_load(load, _name(pipe, name), as_report=as_report)


@load_task(_run_name("pipes"), undo_loads)
def run_pipes(
    pipes: Sequence[Pipe], engine: BaseEngine | str | None = None, name: str | None = None, as_report: bool = False
) -> Any:
    """Run pipes in parallel as one Prefect task and return their report as plain JSON.

    Args:
        pipes: loads of their own: each publishes what it has loaded, and fails by itself.
        engine: where they run: an engine, which stays open; ``"multiprocess"`` (the default), ``"zoosync"``,
            ``"ray"`` or ``"dask"``.
        name: as for `run_pipe`.
        as_report: as for `run_pipe`. The JSON has the report of each pipe, in order, under ``"pipes"``.

    The task fails if a pipe does; what the others have published stays.

    Raises:
        LoadFailedError: a pipe failed; ``report`` is that of the pipe.
        LoadAbortedError: the load was cancelled.
        SpecError: there are no pipes, or they do not fit together.
        ValueError: there is no engine of this name.

    .. code-block:: python

        run_pipes([Pipe(path, f"out/{path.stem}.parquet", None, User) for path in Path("in").glob("*.csv")])
    """
    with engine_in_use(engine) as used:
        manager = PipeManager([named(pipe, name, index) for index, pipe in enumerate(pipes)], used)
        return run_load(manager, _name(pipes, name), as_report=as_report, independent=True)


@load_task(_run_name("pipe"), undo_loads)
def parallelize_pipe(
    pipe: Pipe,
    workers: int,
    engine: BaseEngine | str | None = None,
    merge: bool = True,
    retries: int = 0,
    name: str | None = None,
    as_report: bool = False,
    load_id_column: str | None = None,
) -> Any:
    """Run one pipe by several workers as one Prefect task and return its report as plain JSON.

    Args:
        pipe: the load; the result is the same as that of `run_pipe`.
        workers: how many shards it is cut into at most.
        engine: as for `run_pipes`.
        merge: False to leave what shards wrote as numbered files.
        retries: how often a shard that failed is run again, while the others keep what they have. Prefect's own
            retries run all of it again.
        name: as for `run_pipe`.
        as_report: as for `run_pipe`. The JSON has the report of each shard, in order, under ``"pipes"``.
        load_id_column: as for `run_pipe`.

    Raises:
        LoadFailedError: a shard failed, and nothing was published.
        LoadAbortedError: the load was cancelled.
        SpecError: an argument is out of range, or `load_id_column` is of no use.
        ValueError: there is no engine of this name.

    .. code-block:: python

        parallelize_pipe(Pipe("flights.csv", "duckdb:///warehouse.duckdb::flights", None, Flight), workers=4)
    """
    with engine_in_use(engine) as used:
        load = named(pipe, name) if load_id_column is None else prepare_rollback(pipe, name, load_id_column)
        manager = PipeManager.parallelize_pipe(load, workers, merge, engine=used, retries=retries)
        return run_load(manager, _name(pipe, name), as_report=as_report)
