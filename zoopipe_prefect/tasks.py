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


@load_task(_run_name("pipe"))
def run_pipe(pipe: Pipe, name: str | None = None, as_report: bool = False) -> Any:
    """Run a pipe as a Prefect task and return its report as plain JSON.

    Args:
        pipe: the load.
        name: what the task run (``load-{name}``) and its artifact are called; default: the pipe's target.
        as_report: return a `PipeReport` instead.

    The report is kept as a Markdown artifact whose key is made from the name, so that Prefect shows the history of
    the load. It is written before the task succeeds or fails. A load of more than a second shows its progress.
    The task run ends as ``Completed``, or ``CompletedWithErrors`` if rows were rejected, with their number.

    A fault that may pass (connection lost, worker died) is tried again, twice, after 10 and 20 seconds; one that
    stays (a bad model, a missing column, too many rejects) is not. Cancelling the flow run, a timeout or a signal
    undoes the load.

    Prefect looks for futures inside of what a task is given. A pipe over many rows in memory is spared that with
    ``run_pipe(quote(pipe))`` (``prefect.utilities.annotations.quote``).

    Raises:
        LoadFailedError: the load failed and nothing was published; its cause is the original exception, its
            ``report`` the `PipeReport`.
        LoadAbortedError: the load was cancelled.

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
    return run_load(pipe, _name(pipe, name), as_report=as_report)


@load_task(_run_name("pipes"))
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
        manager = PipeManager(pipes, used)
        return run_load(manager, _name(pipes, name), as_report=as_report, independent=True)


@load_task(_run_name("pipe"))
def parallelize_pipe(
    pipe: Pipe,
    workers: int,
    engine: BaseEngine | str | None = None,
    merge: bool = True,
    retries: int = 0,
    name: str | None = None,
    as_report: bool = False,
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

    Raises:
        LoadFailedError: a shard failed, and nothing was published.
        LoadAbortedError: the load was cancelled.
        SpecError: an argument is out of range.
        ValueError: there is no engine of this name.

    .. code-block:: python

        parallelize_pipe(Pipe("flights.csv", "duckdb:///warehouse.duckdb::flights", None, Flight), workers=4)
    """
    with engine_in_use(engine) as used:
        manager = PipeManager.parallelize_pipe(pipe, workers, merge, engine=used, retries=retries)
        return run_load(manager, _name(pipe, name), as_report=as_report)
