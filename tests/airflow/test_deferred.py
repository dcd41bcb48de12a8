"""A load whose driver lives on a Dask cluster, while its task is deferred."""

import asyncio
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engines.clusters import DASK, running
from zoopipe_airflow import ZooPipeParallelOperator
from zoopipe_airflow.triggers import DetachedLoadTrigger
from zoopipe_core import Pipe, PipeStatus
from zoopipe_core.detached import open_detached

ROWS = 200


def test_a_load_goes_on_without_its_task_and_its_report_comes_back(
    airflow_dag: Callable[[str], Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        arguments = [str(free.getsockname()[1]), str(folder)]
    with running(Path(sys.executable), DASK, arguments, {}) as address:
        monkeypatch.setenv("AIRFLOW_VAR_CLUSTER", address)
        run = airflow_dag("loads_on_a_cluster").test()
        tasks = {task.task_id: task for task in run.get_task_instances()}
        assert {name: str(task.state) for name, task in tasks.items()} == {"load": "success", "fail": "failed"}
        report = tasks["load"].xcom_pull(task_ids="load")
        assert (report["status"], report["loaded_rows"]) == ("completed", ROWS)
        assert report["load_id"] == f"loads_on_a_cluster/load/{run.run_id}"
        assert sum(each["read_rows"] for each in report["pipes"]) == ROWS
        assert len((folder / "users.jsonl").read_text().splitlines()) == ROWS
        failed = tasks["fail"].xcom_pull(task_ids="fail", key="report")
        assert failed["exception"]["type"] == "SourceNotFoundError"

        with open_detached("dask", address) as cluster:
            pipe = Pipe(folder / "users.csv", folder / "killed.jsonl", load_id="killed")
            cluster.start("killed", pipe, 2, dependencies="off")
            trigger = DetachedLoadTrigger("dask", address, "killed", 0.2)
            asyncio.run(trigger.on_kill())
            event = asyncio.run(first(trigger))
            assert event.payload["state"]["report"]["status"] in (PipeStatus.ABORTED, PipeStatus.COMPLETED)
            assert asyncio.run(first(DetachedLoadTrigger("dask", address, "unknown"))).payload == {"state": None}


async def first(trigger: DetachedLoadTrigger) -> Any:
    async for event in trigger.run():
        return event
    raise AssertionError("the trigger ended without an event")


def test_only_what_runs_on_a_cluster_can_be_deferred() -> None:
    with pytest.raises(ValueError, match="deferrable=True needs the engine 'dask' or 'ray'"):
        ZooPipeParallelOperator(task_id="load", pipe="loads.users:daily", workers=2, deferrable=True)


def test_a_trigger_is_made_again_of_what_airflow_keeps_of_it() -> None:
    trigger = DetachedLoadTrigger("ray", "10.0.0.1:6379", "load", 3.0)
    place, arguments = trigger.serialize()
    assert place == "zoopipe_airflow.triggers.DetachedLoadTrigger"
    assert DetachedLoadTrigger(**arguments).serialize() == (place, arguments)
