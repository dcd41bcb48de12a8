"""Flows with models and hooks of their own file, which tests copy to where nobody can import it from.

python loads.py call FOLDER      run the flow of all engines in this process
python loads.py publish POOL     deploy what is here to a work pool, and serve it
"""

import shutil
import sys
import time
from pathlib import Path
from typing import Any

import psutil
from prefect import flow, serve
from prefect.runtime import flow_run as this_run
from prefect.task_runners import TaskRunner
from pydantic import BaseModel

from zoopipe_core import BaseHook, Pipe, SingleThreadExecutor, SQLOutputAdapter
from zoopipe_prefect import parallelize_pipe, run_pipe

ENGINES = ("multiprocess", "zoosync", "dask", "ray")
FACTOR = 2


class Number(BaseModel):
    id: int


class Doubled(BaseHook):
    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        for entry in entries:
            entry["validated_data"]["id"] *= FACTOR
        return entries


class Where(BaseHook):
    """Leaves a note of the processes that this one was started by."""

    def __init__(self, note: Path) -> None:
        self.note = note

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        self.note.write_text("\n".join(str(process.pid) for process in psutil.Process().parents()))
        return entries


class Held(BaseHook):
    """A batch takes a second, until there is a file ``go``: many of them last longer than any test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        if not (self.folder / "go").exists():
            (self.folder / "begun").touch()
            time.sleep(1.0)
        return entries


@flow
def all_engines(folder: Path, place: str, submitted: bool = False) -> None:
    """The same load by a worker of each engine."""
    for engine in ENGINES:
        name = f"{place}-{engine}"
        rows, rejects = folder / f"{name}.jsonl", folder / f"{name}-rejects.csv"
        pipe = Pipe(folder / "numbers.csv", rows, rejects, Number, post_validation_hooks=[Doubled()])
        if submitted:
            parallelize_pipe.submit(pipe, 1, engine, name=name).result()
        else:
            parallelize_pipe(pipe, 1, engine, name=name)


def under_a_runner(folder: Path, engine: str, runner: TaskRunner[Any]) -> None:
    """Called in the process of the flow, and submitted to the cluster that the flow's tasks run on."""

    @flow(task_runner=runner)
    def under() -> None:
        for manner in ("called", "submitted"):
            pipe = Pipe(folder / "numbers.csv", None, None, Number, [Where(folder / f"{engine}-{manner}.txt")])
            if manner == "called":
                parallelize_pipe(pipe, 1, engine, name=f"{engine}-{manner}")
            else:
                parallelize_pipe.submit(pipe, 1, engine, name=f"{engine}-{manner}").result()

    under()


def remove_work(flow: Any, flow_run: Any, state: Any) -> None:
    """What a flow run has put aside is found by its id."""
    folder = Path(flow_run.parameters["folder"])
    shutil.rmtree(folder / f"work-{flow_run.id}")
    (folder / "removed").write_text(state.name)


@flow(on_cancellation=[remove_work])
def held(folder: Path, into_table: bool, in_shards: bool, submitted: bool) -> None:
    """A load that is done at once, which only its flow run tells from others, and one that waits in the middle."""
    work = folder / f"work-{this_run.id}"
    work.mkdir(exist_ok=True)
    done = SQLOutputAdapter(f"duckdb:///{folder}/done.duckdb", "numbers", mode="append")
    run_pipe(Pipe([{"id": 1}, {"id": 2}], done, None, Number), name="done")

    source = work / "numbers.csv"
    if not source.exists():
        shutil.copy(folder / "numbers.csv", source)
    table = SQLOutputAdapter(f"duckdb:///{folder}/held.duckdb", "numbers", mode="append")
    target = table if into_table else folder / "held.jsonl"
    pipe = Pipe(source, target, None, Number, [Held(folder)], executor=SingleThreadExecutor(batch_size=1))
    load, arguments = (parallelize_pipe, (pipe, 2)) if in_shards else (run_pipe, (pipe,))
    if submitted:
        load.submit(*arguments, name="held").result()
    else:
        load(*arguments, name="held")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["call", folder]:
            all_engines(Path(folder), "called")
            all_engines(Path(folder), "submitted", submitted=True)
        case ["under", folder, dask, ray]:
            from prefect_dask import DaskTaskRunner
            from prefect_ray import RayTaskRunner

            under_a_runner(Path(folder), "dask", DaskTaskRunner(address=dask))
            under_a_runner(Path(folder), "ray", RayTaskRunner(address=ray, init_kwargs={"log_to_driver": False}))
        case ["publish", pool]:
            for each in (all_engines, held):
                source = each.from_source(str(Path(__file__).parent), f"{Path(__file__).name}:{each.fn.__name__}")
                source.deploy("pool", work_pool_name=pool, print_next_steps=False)
            serve(all_engines.to_deployment("served"), held.to_deployment("served"))
