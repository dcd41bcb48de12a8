"""Loads on a Dask cluster whose tasks are deferred, looked at by Airflow's own triggerer."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.airflow.real_airflow import ROWS, Begun, RealAirflow, write_users
from tests.airflow.test_scheduler import OLD, lines, number_of, wait_until_gone
from tests.engines.clusters import DASK, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def elsewhere(real_airflow: RealAirflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Begun]]:
    """Runs whose load is on the cluster, begun at once."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(Path(sys.executable), DASK, [str(port), str(folder)], {}) as address:
        begun = {}
        for name in ("told", "in_time", "marked", "missing"):
            dag_id = "loads_elsewhere_in_time" if name == "in_time" else "loads_elsewhere"
            write_users(folder / name)
            (folder / name / "users.jsonl").write_text(OLD)
            if name == "missing":
                (folder / name / "users.csv").unlink()
            run_id = real_airflow.run(dag_id, folder / name, cluster=address)
            begun[name] = Begun(dag_id, run_id, folder / name)
        yield begun


def test_a_load_goes_on_while_its_task_is_deferred_and_the_triggerer_brings_its_report(
    real_airflow: RealAirflow, elsewhere: dict[str, Begun]
) -> None:
    run = elsewhere["told"]
    target = run.folder / "users.jsonl"
    real_airflow.wait_for_files(run.folder, "worker-*", 2)
    real_airflow.wait_for(run.dag_id, run.run_id, ["deferred"])
    assert target.read_text() == OLD
    (run.folder / "go").touch()
    assert real_airflow.wait_for(run.dag_id, run.run_id)["state"] == "success"
    report = real_airflow.xcom(run.dag_id, run.run_id)
    assert (report["status"], report["loaded_rows"], len(report["pipes"])) == ("completed", ROWS, 2)
    assert report["load_id"] == f"{run.dag_id}/load/{run.run_id}"
    assert lines(target) == ROWS
    [history] = real_airflow.xcom(run.dag_id, run.run_id, "ledger")
    assert [load["load_id"] for load in history["loads"]] == [report["load_id"]]


def test_a_deferred_load_that_takes_too_long_is_undone_and_leaves_its_report(
    real_airflow: RealAirflow, elsewhere: dict[str, Begun]
) -> None:
    run = elsewhere["in_time"]
    workers = [number_of(path) for path in real_airflow.wait_for_files(run.folder, "worker-*", 2)]
    assert real_airflow.wait_for(run.dag_id, run.run_id)["state"] == "failed"
    assert real_airflow.xcom(run.dag_id, run.run_id, "report")["status"] == "aborted"
    wait_until_gone(workers, 30)
    assert (run.folder / "users.jsonl").read_text() == OLD


def test_a_deferred_load_that_fails_fails_its_task(real_airflow: RealAirflow, elsewhere: dict[str, Begun]) -> None:
    run = elsewhere["missing"]
    assert real_airflow.wait_for(run.dag_id, run.run_id)["state"] == "failed"
    report = real_airflow.xcom(run.dag_id, run.run_id, "report")
    assert report["exception"]["type"] == "SourceNotFoundError"
    assert (run.folder / "users.jsonl").read_text() == OLD


def test_a_deferred_task_that_is_marked_failed_undoes_its_load(
    real_airflow: RealAirflow, elsewhere: dict[str, Begun]
) -> None:
    run = elsewhere["marked"]
    workers = [number_of(path) for path in real_airflow.wait_for_files(run.folder, "worker-*", 2)]
    real_airflow.wait_for(run.dag_id, run.run_id, ["deferred"])
    path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances/load"
    real_airflow.call("PATCH", path, {"new_state": "failed"})
    wait_until_gone(workers, 60)
    assert (run.folder / "users.jsonl").read_text() == OLD
