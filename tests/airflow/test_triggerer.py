"""Loads on clusters of Dask and Ray whose tasks are deferred, looked at by Airflow's own triggerer."""

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.airflow.real_airflow import ROWS, Begun, RealAirflow, write_users
from tests.airflow.test_scheduler import OLD, lines, number_of, wait_until_gone
from tests.engines.clusters import DASK, RAY, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


# A DAG, and what its runs are for: all begin at once.
RUNS = {
    "loads_on_dask": ("told", "marked", "missing"),
    "loads_on_dask_in_time": ("late",),
    "loads_on_ray": ("told", "marked"),
}
# Two nodes with room for both loads of two workers.
RAY_SLOTS = "2"


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of a cluster of each kind."""
    folder = tmp_path_factory.mktemp("clusters")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    python = Path(sys.executable)
    with (
        running(python, DASK, [str(port), str(folder)], {}) as dask,
        running(python, RAY, [RAY_SLOTS], settings) as ray,
    ):
        yield {"dask": dask, "ray": ray}


@pytest.fixture(scope="module")
def elsewhere(
    real_airflow: RealAirflow, clusters: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Begun]:
    """Runs whose load is on a cluster, by the kind of the cluster and what they are for."""
    begun = {}
    for dag_id, names in RUNS.items():
        kind = dag_id.split("_")[2]
        for name in names:
            folder = tmp_path_factory.mktemp(name)
            write_users(folder)
            (folder / "users.jsonl").write_text(OLD)
            if name == "missing":
                (folder / "users.csv").unlink()
            run_id = real_airflow.run(dag_id, folder, cluster=clusters[kind])
            begun[kind, name] = Begun(dag_id, run_id, folder)
    return begun


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_load_goes_on_while_its_task_is_deferred_and_the_triggerer_brings_its_report(
    real_airflow: RealAirflow, elsewhere: dict[tuple[str, str], Begun], kind: str
) -> None:
    run = elsewhere[kind, "told"]
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
    real_airflow: RealAirflow, elsewhere: dict[tuple[str, str], Begun]
) -> None:
    run = elsewhere["dask", "late"]
    workers = [number_of(path) for path in real_airflow.wait_for_files(run.folder, "worker-*", 2)]
    assert real_airflow.wait_for(run.dag_id, run.run_id)["state"] == "failed"
    assert real_airflow.xcom(run.dag_id, run.run_id, "report")["status"] == "aborted"
    wait_until_gone(workers, 30)
    assert (run.folder / "users.jsonl").read_text() == OLD


def test_a_deferred_load_that_fails_fails_its_task(
    real_airflow: RealAirflow, elsewhere: dict[tuple[str, str], Begun]
) -> None:
    run = elsewhere["dask", "missing"]
    assert real_airflow.wait_for(run.dag_id, run.run_id)["state"] == "failed"
    report = real_airflow.xcom(run.dag_id, run.run_id, "report")
    assert report["exception"]["type"] == "SourceNotFoundError"
    assert (run.folder / "users.jsonl").read_text() == OLD


@pytest.mark.parametrize("kind", ["dask", "ray"])
def test_a_deferred_task_that_is_marked_failed_undoes_its_load(
    real_airflow: RealAirflow, elsewhere: dict[tuple[str, str], Begun], kind: str
) -> None:
    run = elsewhere[kind, "marked"]
    workers = [number_of(path) for path in real_airflow.wait_for_files(run.folder, "worker-*", 2)]
    real_airflow.wait_for(run.dag_id, run.run_id, ["deferred"])
    path = f"dags/{run.dag_id}/dagRuns/{quote(run.run_id)}/taskInstances/load"
    real_airflow.call("PATCH", path, {"new_state": "failed"})
    wait_until_gone(workers, 60)
    assert (run.folder / "users.jsonl").read_text() == OLD
