"""The DAGs of dags_examples, run on real files; `02` has tests of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from examples_common.nycflights import source


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


def test_a_week_is_caught_up_day_by_day_and_a_corrected_file_takes_the_place_of_its_rows(
    airflow_dag: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.serialization.serialized_objects import DagSerialization

    monkeypatch.setenv("ZOOPIPE_FLIGHTS", str(tmp_path))
    dag = airflow_dag("daily_flights_to_duckdb")
    scheduled = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag))
    runs = scheduled.iter_dagrun_infos_between(dag.start_date, dag.end_date)
    days = [run.logical_date for run in runs]
    assert [day.day for day in days] == [1, 2, 3, 4, 5, 6, 7]

    def load(day: Any) -> Any:
        run = dag.test(run_after=day, logical_date=day)
        [task] = [task for task in run.get_task_instances() if task.task_id == "load"]
        assert task.state == "success"
        return task.xcom_pull(task_ids="load")

    assert [load(day)["loaded_rows"] for day in days[:2]] == [842, 943]
    assert "loaded already" in load(days[0])["notes"][-1]
    assert counts(tmp_path / "warehouse.duckdb") == {"flights": 842 + 943}

    lines = (tmp_path / "in" / "2013-01-02.csv").read_text().splitlines()
    lines[1] = lines[1].replace("N", "X", 1)
    (tmp_path / "in" / "2013-01-03.csv").write_text("\n".join(lines))  # the second day's, once more
    assert load(days[2])["loaded_rows"] == 943
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        found = connection.sql("SELECT count(*), count(*) FILTER (WHERE tailnum LIKE 'X%') FROM flights").fetchall()
    assert found == [(842 + 943, 1)]


def test_too_many_bad_rows_stop_the_dag_and_their_file_is_handed_over(
    airflow_dag: Callable[[str], Any], warehouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    def states_and_events() -> tuple[dict[str, str], list[dict[str, Any]]]:
        run = airflow_dag("weather_behind_a_gate").test()
        with create_session() as session:
            query = select(AssetEvent.extra).where(AssetEvent.source_run_id == run.run_id)
            extras = list(session.scalars(query))
        return {task.task_id: str(task.state) for task in run.get_task_instances()}, extras

    states, [event] = states_and_events()
    assert states == dict.fromkeys(["load", "refresh_reports", "hand_over"], "success")
    assert (event["status"], event["read_rows"], event["rejected_rows"]) == ("completed", 26_115, 1)
    before = counts(warehouse)

    text = source("weather").read_text().splitlines()
    bad = [line.replace("EWR", "ewr", 1) for line in text[1:101]]
    broken = warehouse.parent / "weather.csv"
    broken.write_text("\n".join([text[0], *bad, *text[101:]]))
    monkeypatch.setenv("ZOOPIPE_WEATHER", str(broken))
    states, [event] = states_and_events()
    assert states == {"load": "failed", "refresh_reports": "upstream_failed", "hand_over": "success"}
    assert (event["status"], event["rejected_rows"]) == ("failed", 101)
    assert counts(warehouse) == before

    run = airflow_dag("weather_rejects").test()
    [count] = run.get_task_instances()
    assert count.xcom_pull(task_ids="count_by_field") == {
        "origin: literal_error": 100,
        "wind_speed: less_than_equal": 1,
    }


def test_the_weather_is_loaded_by_the_workers_of_a_cluster(airflow_dag: Callable[[str], Any], warehouse: Path) -> None:
    [task] = airflow_dag("weather_on_a_cluster").test().get_task_instances()
    assert task.state == "success"
    assert [each["status"] for each in task.xcom_pull(task_ids="load_weather")["pipes"]] == ["completed"] * 2
    assert counts(warehouse) == {"weather": 26_114}
