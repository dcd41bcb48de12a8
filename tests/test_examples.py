"""Each example is run as its reader would run it, and what it leaves is compared with what DuckDB itself reads."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest

from examples_common.nycflights import MODELS, source

ROOT = Path(__file__).resolve().parent.parent
LOADED = {"airlines": 16, "airports": 1_458, "planes": 3_322, "weather": 26_114, "flights": 336_776}


def contents(warehouse: Path) -> dict[str, Any]:
    """For each table: its columns with their types, the number of its rows, and a checksum of them in any order."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        tables = [name for (name,) in connection.sql("SHOW TABLES").fetchall() if not name.startswith("_")]
        return {
            table: (
                connection.sql(f"DESCRIBE {table}").fetchall(),
                connection.sql(f"SELECT count(*), sum(hash(t)::HUGEINT) FROM {table} t").fetchall(),
            )
            for table in tables
        }


def differences(warehouse: Path, table: str, csv: Path) -> tuple[list[Any], list[Any]]:
    """Rows of the file that the table lacks, and rows of the table that the file lacks."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        types = {name: kind for name, kind, *_ in connection.sql(f"DESCRIBE {table}").fetchall()}
        file = connection.read_csv(str(csv), na_values="NA", columns=types)
        rows = connection.table(table)
        return file.except_(rows).fetchall(), rows.except_(file).fetchall()


def check(folder: Path) -> None:
    """The warehouse in `folder` holds the five tables, and the one bad row is in the rejects."""
    warehouse = folder / "warehouse.duckdb"
    assert {table: rows for table, (_, [(rows, _)]) in contents(warehouse).items()} == LOADED
    for table in MODELS:
        csv = source(table)
        if csv.suffix == ".zip":
            with zipfile.ZipFile(csv) as archive:
                csv = Path(archive.extract("flights.csv", folder))
        missing, surplus = differences(warehouse, table, csv)
        assert surplus == []
        assert [row[9] for row in missing] == ([1048.36058] if table == "weather" else [])
        rejects = (folder / "rejects" / f"{table}.csv").read_text().splitlines()
        assert len(rejects) == (2 if table == "weather" else 1)
        assert all("less_than_equal" in row and "1048.36058" in row for row in rejects[1:])


@pytest.mark.timeout(300)
def test_the_flow_loads_the_same_tables_each_time(prefect_api: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    seen = []
    for _ in range(2):
        run = subprocess.run(
            [sys.executable, str(ROOT / "flows_examples" / "01_flights_to_duckdb.py")],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(home), "PREFECT_API_URL": prefect_api},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (run.returncode, run.stderr) == (0, "")
        assert run.stdout.count("COMPLETED") == len(MODELS)
        assert "30 and more" in run.stdout
        seen.append(contents(tmp_path / "warehouse.duckdb"))
    assert seen[0] == seen[1]
    check(tmp_path)
    assert list(home.iterdir()) == []
