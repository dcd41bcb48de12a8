"""The examples of flows, run as their reader would run them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

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
