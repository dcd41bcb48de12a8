"""Loads as tasks of a real scheduler with LocalExecutor: each is a process of its own, which Airflow supervises."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.real_airflow import HOSTILE, REJECTED, ROWS, Begun, RealAirflow, write_users
from tests.databases import execute
from zoopipe_core import PipeReport, PipeStatus
from zoopipe_core.ledger import loads

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

OLD = '{"id":"old","name":"old"}\n'


def names(folder: Path) -> list[str]:
    """What a load leaves in a folder: its targets, and whatever it has forgotten to remove."""
    given = ("users.csv", "users.json", "go", "failed")
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in given and not path.name.startswith(("worker-", "task-")) and "zoopipe" not in path.name
    )


def lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def number_of(marker: Path) -> int:
    return int(marker.name.rpartition("-")[2])


def wait_until_gone(processes: Iterator[int] | list[int], seconds: float) -> None:
    """Until none of the processes is there any more."""
    deadline = time.monotonic() + seconds
    left = list(processes)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [process for process in left if _is_alive(process)]
    assert not left, f"still there after {seconds} s: {left}"


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_scheduled_load_leaves_its_rows_and_its_report(real_airflow: RealAirflow, begun: dict[str, Begun]) -> None:
    run = begun["loads"]
    assert real_airflow.wait_for("loads", run.run_id)["state"] == "success"
    report = PipeReport.from_dict(real_airflow.xcom("loads", run.run_id))
    assert (report.status, report.read_rows, report.loaded_rows) == (PipeStatus.COMPLETED, ROWS, ROWS - REJECTED)
    assert [(item.field, item.count) for item in report.rejections] == [(HOSTILE, 3), ("id", 2)]
    assert names(run.folder) == ["rejects.csv", "users.parquet"]
    assert real_airflow.xcom("loads", run.run_id, "report") is None


def test_a_task_that_fails_leaves_its_report_and_what_did_not_fail(
    real_airflow: RealAirflow, begun: dict[str, Begun]
) -> None:
    run = begun["loads_several"]
    assert real_airflow.wait_for(run.dag_id, run.run_id)["state"] == "failed"
    report = real_airflow.xcom(run.dag_id, run.run_id, "report")
    assert [each["status"] for each in report["pipes"]] == ["completed", "failed"]
    assert real_airflow.xcom(run.dag_id, run.run_id) is None
    assert names(run.folder) == ["rejects.csv", "users.parquet"]


def test_rows_of_a_task_that_is_tried_again_are_added_once(real_airflow: RealAirflow, begun: dict[str, Begun]) -> None:
    run = begun["loads_at_the_second_try"]
    task = real_airflow.wait_for(run.dag_id, run.run_id)
    assert (task["state"], task["try_number"]) == ("success", 2)
    uri = f"sqlite:///{run.folder}/users.sqlite"
    assert execute(uri, "SELECT count(*), count(DISTINCT id) FROM users") == [(ROWS, ROWS)]
    assert real_airflow.xcom(run.dag_id, run.run_id)["attempt"] == 2
    assert real_airflow.xcom(run.dag_id, run.run_id, "report") is None, "the report of the first try is left"


def test_each_index_of_a_mapped_task_is_a_load(real_airflow: RealAirflow, begun: dict[str, Begun]) -> None:
    run = begun["loads_mapped"]
    assert real_airflow.wait_for_run(run.dag_id, run.run_id) == "success"
    for index in (0, 1):
        target = run.folder / f"users-{index}.jsonl"
        assert lines(target) == ROWS
        assert [load.load_id for load in loads(target)] == [f"loads_mapped/load/{run.run_id}[{index}]"]


def test_a_load_has_its_workers_below_a_daemonic_process_too(
    real_airflow: RealAirflow, begun: dict[str, Begun]
) -> None:
    run = begun["loads_below_a_daemon"]
    task = real_airflow.wait_for(run.dag_id, run.run_id)
    assert (task["state"], task["executor"]) == ("success", "DaemonicExecutor")
    report = real_airflow.xcom(run.dag_id, run.run_id)
    assert [each["status"] for each in report["pipes"]] == ["completed", "completed"]
    assert report["loaded_rows"] == ROWS


def test_a_task_that_is_marked_failed_leaves_neither_a_process_nor_a_row(
    real_airflow: RealAirflow, begun: dict[str, Begun]
) -> None:
    run = begun["failed"]
    target = run.folder / "users.jsonl"
    workers = [number_of(path) for path in real_airflow.wait_for_files(run.folder, "worker-*", 2)]
    [task] = [number_of(path) for path in run.folder.glob("task-*")]
    target.write_text(OLD)
    path = f"dags/{run.dag_id}/dagRuns/{run.run_id.replace('+', '%2B')}/taskInstances/load"
    real_airflow.call("PATCH", path, {"new_state": "failed"})
    # A heartbeat a second; two seconds for the load to end; five until Airflow kills it. The machine may be busy.
    wait_until_gone([*workers, task], 30)
    assert (names(run.folder), target.read_text()) == (["users.jsonl"], OLD)
    assert real_airflow.task(run.dag_id, run.run_id)["state"] == "failed"


def test_a_task_whose_process_is_killed_leaves_the_old_rows_and_loads_all_when_it_is_tried_again(
    real_airflow: RealAirflow, begun: dict[str, Begun]
) -> None:
    run = begun["killed"]
    target = run.folder / "users.jsonl"
    workers = [number_of(path) for path in real_airflow.wait_for_files(run.folder, "worker-*", 2)]
    [task] = [number_of(path) for path in run.folder.glob("task-*")]
    target.write_text(OLD)
    os.kill(task, signal.SIGKILL)
    wait_until_gone([*workers, task], 30)
    assert target.read_text() == OLD

    real_airflow.wait_for_files(run.folder, "task-*", 2)
    assert target.read_text() == OLD
    (run.folder / "go").touch()
    ended = real_airflow.wait_for(run.dag_id, run.run_id)
    assert (ended["state"], ended["try_number"]) == ("success", 2)
    assert lines(target) == ROWS
    assert names(run.folder) == ["users.jsonl"]


def test_a_task_that_is_cleared_loads_nothing_again_and_refuses_another_input(
    real_airflow: RealAirflow, begun: dict[str, Begun]
) -> None:
    run = begun["loads_mapped"]
    real_airflow.wait_for_run(run.dag_id, run.run_id)
    first = real_airflow.xcom(run.dag_id, run.run_id, map_index=0)
    real_airflow.clear(run.dag_id, run.run_id)
    assert real_airflow.wait_for_run(run.dag_id, run.run_id) == "success"
    again = real_airflow.xcom(run.dag_id, run.run_id, map_index=0)
    assert (again["started_at"], again["loaded_rows"]) == (first["started_at"], ROWS)

    write_users(run.folder, ROWS + 1)
    real_airflow.clear(run.dag_id, run.run_id)
    assert real_airflow.wait_for_run(run.dag_id, run.run_id) == "failed"
    error = real_airflow.xcom(run.dag_id, run.run_id, "report", map_index=1)["exception"]
    assert error["type"] == "LoadIdError"
    assert "with another input" in error["message"]
    assert lines(run.folder / "users-1.jsonl") == ROWS
