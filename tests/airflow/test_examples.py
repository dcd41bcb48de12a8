"""The DAGs of dags_examples, run on real files; `01` and `02` have tests of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest


def counts(warehouse: Path) -> dict[str, int]:
    """The rows of each table of a warehouse, without the ledger."""
    with duckdb.connect(str(warehouse), read_only=True) as connection:
        tables = [name for (name,) in connection.sql("SHOW TABLES").fetchall() if not name.startswith("_")]
        return {table: connection.sql(f"SELECT count(*) FROM {table}").fetchall()[0][0] for table in tables}


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "warehouse.duckdb"
    monkeypatch.setenv("ZOOPIPE_WAREHOUSE", str(path))
    return path


def test_a_decorated_function_is_mapped_over_the_zones_that_another_task_finds(
    airflow_dag: Callable[[str], Any], warehouse: Path
) -> None:
    run = airflow_dag("airports_by_zone").test()
    assert run.state == "success"
    [total] = [task for task in run.get_task_instances() if task.task_id == "total"]
    tables = counts(warehouse)
    assert set(tables) == {"airports_new_york", "airports_chicago", "airports_denver", "airports_los_angeles"}
    assert total.xcom_pull(task_ids="total") == sum(tables.values()) == 1_156


def test_each_shard_of_the_weather_is_a_task(
    airflow_dag: Callable[[str], Any], warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_ZOOPIPE_STAGING", str(warehouse.parent / "staging"))
    run = airflow_dag("weather_in_shards").test()
    assert run.state == "success"
    assert counts(warehouse) == {"weather": 26_114}
    assert len((warehouse.parent / "rejects" / "weather.csv").read_text().splitlines()) == 2
    assert list((warehouse.parent / "staging").iterdir()) == []
    assert len([task for task in run.get_task_instances() if task.task_id == "load_weather.shard"]) == 4
