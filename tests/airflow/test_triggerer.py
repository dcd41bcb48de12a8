"""Loads on a Dask cluster whose tasks are deferred, looked at by Airflow's own triggerer."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.real_airflow import ROWS, Begun, RealAirflow, write_users
from tests.airflow.test_scheduler import OLD, lines, number_of, wait_until_gone
from tests.engines.clusters import DASK, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def elsewhere(real_airflow: RealAirflow, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Begun]]:
    """A run of each DAG whose load is on the cluster, begun at once."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(Path(sys.executable), DASK, [str(port), str(folder)], {}) as address:
        begun = {}
        for dag_id in ("loads_elsewhere", "loads_elsewhere_in_time"):
            place = folder / dag_id
            write_users(place)
            (place / "users.jsonl").write_text(OLD)
            begun[dag_id] = Begun(dag_id, real_airflow.run(dag_id, place, cluster=address), place)
        yield begun


def test_a_load_goes_on_while_its_task_is_deferred_and_the_triggerer_brings_its_report(
    real_airflow: RealAirflow, elsewhere: dict[str, Begun]
) -> None:
    run = elsewhere["loads_elsewhere"]
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
    run = elsewhere["loads_elsewhere_in_time"]
    workers = [number_of(path) for path in real_airflow.wait_for_files(run.folder, "worker-*", 2)]
    assert real_airflow.wait_for(run.dag_id, run.run_id)["state"] == "failed"
    assert real_airflow.xcom(run.dag_id, run.run_id, "report")["status"] == "aborted"
    wait_until_gone(workers, 30)
    assert (run.folder / "users.jsonl").read_text() == OLD
