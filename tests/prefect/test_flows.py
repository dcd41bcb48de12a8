"""The examples of flows, run as their reader would run them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound

from tests.databases import execute, tables_of

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def run(prefect_api: str, folder: Path) -> "Run":
    return Run(prefect_api, folder)


class Run:
    """Runs an example in a folder of its own."""

    def __init__(self, api: str, folder: Path) -> None:
        self._environment = {**os.environ, "PREFECT_API_URL": api}
        self._folder = folder

    def __call__(self, example: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(ROOT / "flows_examples" / example), *options],
            cwd=self._folder,
            env=self._environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @contextmanager
    def serving(self, example: str, *options: str, **environment: str) -> Iterator[None]:
        """The example serves its deployments in the background."""
        with (self._folder / "served.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "flows_examples" / example), *options],
                cwd=self._folder,
                env=self._environment | environment,
                stdout=log,
                stderr=log,
            )
        with process:
            try:
                yield
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


def deployed(name: str) -> None:
    """Wait until there is a deployment."""
    deadline = time.monotonic() + 60
    with get_client(sync_client=True) as client:
        while True:
            try:
                client.read_deployment_by_name(name)
                return
            except ObjectNotFound:
                assert time.monotonic() < deadline
                time.sleep(0.2)


def test_flights_are_loaded_into_postgres_by_several_workers(run: Run, postgres_uri: str, folder: Path) -> None:
    done = run("02_parallel_csv_to_postgres.py", "--workers", "2", WAREHOUSE_URL=postgres_uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert "loaded 336,776" in done.stdout
    assert done.stdout.count(" rows in ") == 2
    sql = "SELECT count(*), count(dep_time), sum(distance)::BIGINT, count(DISTINCT tailnum) FROM flights"
    assert execute(postgres_uri, sql) == [(336_776, 328_521, 350_217_607, 4_043)]
    assert len((folder / "rejects" / "flights.csv").read_text().splitlines()) == 1


def test_what_depends_on_good_data_runs_only_if_the_gate_opens(run: Run, folder: Path) -> None:
    uri = f"duckdb:///{folder}/warehouse.duckdb"
    closed = run("04_quality_gate.py", "--max-share", "0")
    assert closed.returncode == 1
    assert "The gate stays closed." in closed.stdout
    assert "TooManyRejectsError" in closed.stdout
    assert "strongest" not in closed.stdout
    assert not (folder / "warehouse.duckdb").exists() or "weather" not in tables_of(uri)
    assert "1048.36058" in (folder / "rejects" / "weather.csv").read_text()

    opened = run("04_quality_gate.py", "--max-share", "0.001")
    assert (opened.returncode, opened.stderr) == (0, "")
    assert "26,114 rows passed, 1 were rejected" in opened.stdout
    assert "The strongest wind was of 42.6 miles per hour." in opened.stdout


def test_the_flights_of_a_day_are_loaded_when_it_is_due(run: Run, folder: Path) -> None:
    logging = {"PREFECT_LOGGING_EXTRA_LOGGERS": "zoopipe_core", "PREFECT_LOGGING_LEVEL": "INFO"}
    with run.serving("03_scheduled_daily_load.py", "--serve", **logging):
        deployed("zoopipe-load/daily-flights")
        due = run_deployment("zoopipe-load/daily-flights", timeout=100, poll_interval=0.2, _sync=True)
    assert isinstance(due, FlowRun)
    assert due.state_name == "Completed", (folder / "served.log").read_text()
    today = due.expected_start_time
    assert today is not None
    [(days, month, day, count)] = execute(
        f"duckdb:///{folder}/warehouse.duckdb",
        "SELECT count(DISTINCT month * 100 + day), any_value(month), any_value(day), count(*) FROM daily_flights",
    )
    if (today.month, today.day) == (2, 29):  # 2013 had no such day
        assert count == 0
    else:
        assert (days, month, day) == (1, today.month, today.day)
        assert 500 < count < 1_100
    with get_client(sync_client=True) as client:
        logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[due.id])))
    core = [log for log in logs if log.name == "zoopipe_core.run"]
    assert [log.message.rpartition(" ")[2] for log in core] == ["completed"]
    assert core[0].task_run_id is not None


def test_files_are_mapped_to_loads_of_their_own(run: Run, folder: Path) -> None:
    done = run("05_map_over_files.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert "weather    CompletedWithErrors: 26,114 rows, 1 rejected" in done.stdout
    rows = {path.stem: pq.ParquetFile(path).metadata.num_rows for path in (folder / "parquet").glob("*.parquet")}
    assert rows == {"airlines": 16, "airports": 1_458, "flights": 336_776, "planes": 3_322, "weather": 26_114}


def test_the_weather_is_loaded_by_a_cluster(run: Run, folder: Path) -> None:
    done = run("06_ray_or_dask_cluster.py", "--engine", "dask", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "loaded 26,114" in done.stdout
    assert done.stdout.count("shard ") == 2
    assert pq.ParquetFile(folder / "weather.parquet").metadata.num_rows == 26_114
    assert "1048.36058" in (folder / "rejects" / "weather.csv").read_text()
