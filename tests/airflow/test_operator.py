"""`ZooPipeOperator` in real DAG runs (`dag.test()` runs tasks in this process, with Airflow's own signal handler)."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoopipe_core import Pipe, PipeReport, PipeStatus

ROWS = 200
LEDGER = ".users.jsonl.zoopipe-loads"


def xcom(task_instance: Any, key: str = "return_value") -> Any:
    return task_instance.xcom_pull(task_ids="load", key=key)


def test_the_report_of_a_load_is_the_return_value(run: Callable[..., Any], folder: Path) -> None:
    task = run("loads_users")
    assert task.state == "success"
    value = xcom(task)
    assert json.loads(json.dumps(value)) == value
    report = PipeReport.from_dict(value)
    assert (report.status, report.read_rows, report.loaded_rows) == (PipeStatus.COMPLETED, ROWS, ROWS)
    assert len((folder / "users.jsonl").read_text().splitlines()) == ROWS
    assert xcom(task, "report") is None


def test_a_failed_load_fails_its_task_and_leaves_its_report(run: Callable[..., Any], folder: Path) -> None:
    (folder / "users.csv").unlink()
    task = run("loads_users")
    assert task.state == "failed"
    report = PipeReport.from_dict(xcom(task, "report"))
    assert report.status is PipeStatus.FAILED
    assert report.exception is not None
    assert report.exception.type == "SourceNotFoundError"
    assert xcom(task) is None


def test_a_killed_task_stops_within_two_seconds_and_publishes_nothing(run: Callable[..., Any], folder: Path) -> None:
    killed_at = []

    def kill() -> None:
        while not (folder / "begun").exists():
            time.sleep(0.02)
        killed_at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=kill)
    killer.start()
    task = run("loads_users_slowly")
    assert time.monotonic() - killed_at[0] < 2
    killer.join()
    assert task.state == "failed"
    assert PipeReport.from_dict(xcom(task, "report")).status is PipeStatus.ABORTED
    assert xcom(task, "ledger") is None, "a task that is killed has looked at what its target remembers"
    assert sorted(path.name for path in folder.iterdir()) == [LEDGER, "begun", "users.csv"]


def test_a_task_that_is_killed_before_its_load_begins_stops_too(run: Callable[..., Any], folder: Path) -> None:
    task = run("is_killed_before_the_load")
    assert task.state == "failed"
    assert PipeReport.from_dict(xcom(task, "report")).status is PipeStatus.ABORTED
    assert not (folder / "users.jsonl").exists()


def test_a_task_that_times_out_undoes_its_load(run: Callable[..., Any], folder: Path) -> None:
    task = run("times_out")
    assert task.state == "failed"
    assert PipeReport.from_dict(xcom(task, "report")).status is PipeStatus.ABORTED
    assert sorted(path.name for path in folder.iterdir()) == [LEDGER, "begun", "users.csv"]


def test_a_function_that_returns_no_pipe_fails_the_task(run: Callable[..., Any]) -> None:
    assert run("builds_no_pipe").state == "failed"


def test_what_is_no_pipe_is_refused_when_the_dag_is_parsed() -> None:
    from zoopipe_airflow import ZooPipeOperator

    with pytest.raises(TypeError, match=r"pipe has to be a zoopipe_core\.Pipe, or a function .* not 'users\.csv'"):
        ZooPipeOperator(task_id="load", pipe="users.csv")


def test_making_an_operator_looks_at_nothing(tmp_path: Path) -> None:
    from zoopipe_airflow import ZooPipeOperator

    def build() -> Pipe:
        raise AssertionError("called while the DAG was parsed")

    ZooPipeOperator(task_id="built", pipe=build)
    ZooPipeOperator(task_id="given", pipe=Pipe(tmp_path / "missing.csv", tmp_path / "out" / "users.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_the_examples_parse_without_warnings_or_anything_heavy_and_to_the_same_dags_each_time() -> None:
    code = """
import hashlib, json, os, sys
import airflow.providers.standard.operators.empty
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag(sys.argv[1])
heavy = {"dask", "distributed", "duckdb", "llvmlite", "numba", "numpy", "pandas", "prefect", "pyarrow", "ray"}
loaded = set(sys.modules)
from zoopipe_core import Pipe
Pipe("users.csv", "duckdb:///warehouse.duckdb::users", "rejects.csv")
described = sorted(heavy & {name.partition(".")[0] for name in sys.modules})
print(json.dumps({
    "errors": bag.import_errors,
    "warnings": [str(each) for each in bag.captured_warnings.values()],
    "heavy": sorted(heavy & {name.partition(".")[0] for name in loaded}),
    "described": described,
    "dags": {name: json.dumps(DagSerialization.to_dict(dag), sort_keys=True) for name, dag in bag.dags.items()},
}))
"""
    examples = Path(__file__).resolve().parents[2] / "dags_examples"
    arguments = [sys.executable, "-W", "default", "-c", code, str(examples)]
    runs = [
        subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(examples.parent)},
        )
        for seed in ("1", "2")
    ]
    said = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    found = [json.loads(text.splitlines()[-1]) for text in said]
    assert (found[0]["errors"], found[0]["warnings"]) == ({}, [])
    assert (found[0]["heavy"], found[0]["described"]) == ([], [])
    assert len(found[0]["dags"]) == 7
    assert found[0] == found[1]
