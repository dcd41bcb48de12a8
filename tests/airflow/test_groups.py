"""`zoopipe_task_group` in real DAG runs: each shard is a task."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from zoopipe_core.ledger import loads

ROWS = 200
DAY = datetime(2026, 1, 31, tzinfo=UTC)
Dag = Callable[[str], Any]


def states(run: Any) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for task in sorted(run.get_task_instances(), key=lambda task: task.map_index):
        found.setdefault(task.task_id, []).append(str(task.state))
    return found


def test_a_shard_that_fails_is_tried_again_alone_and_all_are_published_once(airflow_dag: Dag, folder: Path) -> None:
    run = airflow_dag("loads_in_shards").test()
    assert states(run) == {"load.plan": ["success"], "load.shard": ["success"] * 3, "load.publish": ["success"]}
    tries = {(task.task_id, task.map_index): task.try_number for task in run.get_task_instances()}
    assert [tries["load.shard", index] for index in range(3)] == [1, 1, 2]
    assert len(list(folder.glob("tried-*"))) == 4
    rows = [json.loads(line)["id"] for line in (folder / "users.jsonl").read_text().splitlines()]
    assert rows == list(range(ROWS))
    [publish] = [task for task in run.get_task_instances() if task.task_id == "load.publish"]
    report = publish.xcom_pull(task_ids="load.publish")
    assert (report["loaded_rows"], report["load_id"]) == (ROWS, f"loads_in_shards/load/{run.run_id}")
    assert sum(each["read_rows"] for each in report["pipes"]) == ROWS
    [load] = loads(folder / "users.jsonl")
    assert load.load_id == report["load_id"]
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []


def test_a_group_that_is_cleared_loads_nothing_twice_and_rejects_of_all_shards_are_counted(
    airflow_dag: Dag, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_LOAD_FOLDER", str(folder))
    dag, source = airflow_dag("loads_a_table_in_shards"), folder / "users.csv"
    good = source.read_text().splitlines()
    source.write_text("\n".join([*good[:3], "x,bad", *good[3:-1], "y,bad", good[-1]]))
    first = dag.test(run_after=DAY, logical_date=DAY)
    assert states(first) == {"many.plan": ["success"], "many.shard": ["success"] * 3, "many.publish": ["failed"]}
    assert len((folder / "rejects.csv").read_text().splitlines()) == 3
    assert not (folder / "w.duckdb").exists() or tables(folder) == []
    source.write_text("\n".join([*good[:3], "x,bad", *good[3:]]))
    second = dag.test(run_after=DAY, logical_date=DAY)
    third = dag.test(run_after=DAY, logical_date=DAY)
    for run in (second, third):
        assert (run.state, run.run_id) == ("success", first.run_id)
    assert tables(folder) == [("users", ROWS)]
    assert list((folder / "staging").iterdir()) == []


def tables(folder: Path) -> list[tuple[str, int]]:
    with duckdb.connect(str(folder / "w.duckdb")) as connection:
        names = [name for (name,) in connection.sql("SHOW TABLES").fetchall() if not name.startswith("_")]
        return [(name, connection.sql(f"SELECT count(*) FROM {name}").fetchall()[0][0]) for name in names]
