"""`load_flow`: a flow that runs any load, told which one by parameters alone."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.runtime import flow_run

from zoopipe_core import Pipe
from zoopipe_prefect.credentials import load_uri
from zoopipe_prefect.places import build_pipes
from zoopipe_prefect.tasks import parallelize_pipe, run_pipe, run_pipes

__all__ = ["load_flow"]


def _run_name() -> str:
    parameters = flow_run.parameters
    return f"load-{parameters.get('name') or parameters['pipe']}"


@flow(name="zoopipe-load", flow_run_name=_run_name, description="Load rows from one place to another, all or nothing.")
def load_flow(
    pipe: str,
    arguments: dict[str, Any] | None = None,
    workers: int = 1,
    engine: str | None = None,
    merge: bool = True,
    retries: int = 0,
    name: str | None = None,
    credentials: str | None = None,
    load_id_column: str | None = None,
) -> dict[str, Any]:
    """Run the load that is defined at a place, and return its report as plain JSON.

    Args:
        pipe: where the load is defined: ``"package.module:name"`` or ``"path/to/file.py:name"`` of a
            `zoopipe_core.Pipe`, or of a function that returns one, or a list of them.
        arguments: for the function, by name. Prefect keeps and shows them: they are no place for secrets.
        workers: by how many workers one load is done.
        engine: where they run: ``"multiprocess"``, ``"zoosync"``, ``"ray"`` or ``"dask"``.
        merge: False to leave what shards wrote as numbered files.
        retries: how often a shard that failed is run again.
        name: what the runs and artifacts are called; default: the place of the pipe, and its target.
        credentials: a stored block, as ``"zoopipe-warehouse-credentials/warehouse"``, whose URL is given to the
            function as its argument ``uri``.
        load_id_column: as for `run_pipe`.

    Each night at two, one at a time:

    .. code-block:: python

        from zoopipe_prefect import load_flow

        load_flow.serve("users", cron="0 2 * * *", limit=1, parameters={"pipe": "loads.py:users"})

    Deployed to a work pool, its entrypoint is ``zoopipe_prefect.flows.load_flow``.

    Raises:
        LoadFailedError: the load failed and nothing was published.
        LoadAbortedError: the load was cancelled.
        ImportError, AttributeError, TypeError, ValueError: the parameters define no load.
    """
    built = build_pipes(pipe, (arguments or {}) | ({} if credentials is None else {"uri": load_uri(credentials)}))
    report: dict[str, Any]
    if not isinstance(built, Pipe):
        if workers != 1 or not merge or retries or load_id_column is not None:
            raise ValueError(
                f"workers, merge, retries and load_id_column are for one pipe; {pipe!r} makes {len(built)}"
            )
        report = run_pipes(built, engine, name=name)
    elif workers == 1 and engine is None and merge:
        report = run_pipe(built, name=name, load_id_column=load_id_column)
    else:
        report = parallelize_pipe(
            built, workers, engine, merge=merge, retries=retries, name=name, load_id_column=load_id_column
        )
    return report
