"""`@task.zoopipe` in real DAG runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoopipe_core import PipeReport

ROWS = 200


def test_what_decorated_functions_return_is_run(airflow_dag: Callable[[str], Any], folder: Path) -> None:
    run = airflow_dag("decorated").test()
    assert run.state == "success"
    tasks = {(task.task_id, task.map_index): task for task in run.get_task_instances()}
    files = {path.stem: len(path.read_text().splitlines()) for path in folder.glob("*.jsonl")}
    names = ("one-True", "shards", "several-0", "several-1", "mapped-a", "mapped-b")
    assert files == dict.fromkeys(names, ROWS)

    def report(task_id: str, map_index: int = -1) -> Any:
        return tasks[task_id, map_index].xcom_pull(task_ids=task_id, map_indexes=map_index)

    assert PipeReport.from_dict(report("one")).loaded_rows == ROWS
    assert report("one")["load_id"] == f"decorated/one/{run.run_id}"
    assert [each["status"] for each in report("shards")["pipes"]] == ["completed", "completed"]
    assert [each["load_id"] for each in report("several")["pipes"]] == [
        f"decorated/several/{run.run_id}#{index}" for index in range(2)
    ]
    assert report("mapped", 1)["load_id"] == f"decorated/mapped/{run.run_id}[1]"


def test_what_returns_no_pipe_or_too_many_fails(airflow_dag: Callable[[str], Any], folder: Path) -> None:
    run = airflow_dag("decorated_wrongly").test()
    assert {task.task_id: task.state for task in run.get_task_instances()} == {
        "nothing": "failed",
        "several_by_workers": "failed",
    }
    assert list(folder.glob("*.jsonl")) == []
