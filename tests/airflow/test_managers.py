"""Managers as tasks of real DAG runs, with real processes below them."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zoopipe_core import PipeReport, PipeStatus
from zoopipe_core.ledger import loads

ROWS = 200
Run = Callable[..., Any]


def xcom(task: Any, key: str = "return_value") -> Any:
    return task.xcom_pull(task_ids="load", key=key)


def names(folder: Path) -> list[str]:
    """What a user sees in the folder."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def processes(folder: Path) -> list[int]:
    """The workers that have begun, by what they left in the folder."""
    return [int(path.name.partition("-")[2]) for path in folder.glob("begun-*")]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("dag", ["loads_in_parallel", "loads_on_an_engine_of_its_own"])
def test_workers_load_what_one_would_and_report_each(run: Run, folder: Path, dag: str) -> None:
    task = run(dag)
    assert task.state == "success"
    value = xcom(task)
    assert json.loads(json.dumps(value)) == value
    assert (value["status"], value["loaded_rows"]) == ("completed", ROWS)
    assert [each["pipe_index"] for each in value["pipes"]] == [0, 1]
    assert sum(PipeReport.from_dict(each).loaded_rows for each in value["pipes"]) == ROWS
    rows = [json.loads(line) for line in (folder / "users.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == [str(number) for number in range(ROWS)]


def test_shards_that_are_not_merged_are_numbered_files(run: Run, folder: Path) -> None:
    assert run("loads_in_parallel_without_merging").state == "success"
    assert names(folder) == ["users-00000-of-00002.jsonl", "users-00001-of-00002.jsonl", "users.csv"]


@pytest.mark.parametrize("dag", ["loads_several", "loads_several_of_one_function"])
def test_of_several_pipes_one_that_fails_fails_the_task_and_the_others_are_published(
    run: Run, folder: Path, dag: str
) -> None:
    task = run(dag)
    assert task.state == "failed"
    assert xcom(task) is None
    report = xcom(task, "report")
    assert [each["status"] for each in report["pipes"]] == ["completed", "failed"]
    assert report["exception"]["type"] == "SourceNotFoundError"
    assert names(folder) == ["users.csv", "users.jsonl"]


def test_pipes_of_one_task_have_load_ids_of_their_own(run: Run, folder: Path) -> None:
    task = run("loads_several")
    [load] = loads(folder / "users.jsonl")
    assert load.load_id == f"loads_several/load/{task.run_id}#0"


@pytest.mark.parametrize("kill", [True, False])
def test_a_task_that_is_killed_or_times_out_leaves_no_process_and_no_row(run: Run, folder: Path, kill: bool) -> None:
    killed_at = []

    def strike() -> None:
        while len(processes(folder)) < 2:
            time.sleep(0.02)
        killed_at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGTERM)

    if kill:
        killer = threading.Thread(target=strike)
        killer.start()
        task = run("loads_endlessly")
        killer.join()
        assert time.monotonic() - killed_at[0] < 10  # Airflow waits for five seconds; the machine may be busy
    else:
        task = run("loads_until_it_times_out")
    assert task.state == "failed"
    assert PipeReport.from_dict(xcom(task, "report")).status is PipeStatus.ABORTED
    assert not any(map(is_alive, processes(folder)))
    assert not (folder / "users.jsonl").exists()


def test_a_pipe_is_named_by_its_place(run: Run, folder: Path) -> None:
    assert run("loads_from_an_import_string").state == "success"
    assert names(folder) == ["users.csv", "users.jsonl"]


def test_mapped_tasks_are_loads_of_their_own(airflow_dag: Callable[[str], Any], folder: Path) -> None:
    dag_run = airflow_dag("loads_each_place").test()
    assert dag_run.state == "success"
    assert names(folder) == ["others-1.jsonl", "users.csv", "users.jsonl"]
    [load] = loads(folder / "others-1.jsonl")
    assert load.load_id == f"loads_each_place/load/{dag_run.run_id}[1]"


def test_templates_of_a_given_pipe_are_rendered(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_LOAD_FOLDER", str(folder))
    task = run("renders_what_is_given")
    assert task.state == "success"
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        day = task.run_after.strftime("%Y%m%d")
        assert connection.sql(f"SELECT count(*) FROM users_{day}").fetchall() == [(ROWS,)]
    assert xcom(task)["load_id"] == f"users of {task.run_after:%Y-%m-%d}"


def test_templates_of_a_pipe_that_a_function_builds_are_rendered(run: Run, folder: Path) -> None:
    duckdb.connect(str(folder / "warehouse.duckdb")).close()
    assert run("renders_what_is_built").state == "success"
    with duckdb.connect(str(folder / "warehouse.duckdb")) as connection:
        assert connection.sql("SELECT * FROM from_users").fetchall() == [(7, "users")]


@pytest.mark.parametrize("dag", ["skips_if_empty", "skips_in_parallel_if_empty"])
def test_an_empty_source_skips_the_task_and_leaves_its_report(run: Run, dag: str) -> None:
    task = run(dag)
    assert task.state == "skipped"
    assert (xcom(task, "report")["status"], xcom(task, "report")["read_rows"]) == ("completed", 0)


@pytest.mark.parametrize("dag", ["fails_on_errors", "fails_on_errors_in_parallel"])
def test_too_many_rejects_fail_the_task_with_nothing_published_but_the_rejects(
    run: Run, folder: Path, dag: str
) -> None:
    task = run(dag)
    assert task.state == "failed"
    assert xcom(task, "report")["exception"]["type"] == "TooManyRejectsError"
    assert names(folder) == ["checked.csv", "rejects.csv", "users.csv"]


def test_as_many_rejects_as_are_allowed_do_not_fail_the_task(run: Run) -> None:
    task = run("takes_half_of_the_rows")
    assert task.state == "success"
    assert (xcom(task)["loaded_rows"], xcom(task)["rejected_rows"]) == (2, 2)
