"""What the pages find in Airflow's database, after real DAG runs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from airflow.utils.session import create_session

from zoopipe_airflow.pages.queries import TaskKey, dags_with_loads, earlier_loads, find_load, recent_loads
from zoopipe_core import PipeStatus

ROWS = 200


def test_loads_are_found_latest_first_page_by_page(run: Callable[..., Any], folder: Path) -> None:
    runs = [run("loads_users").run_id]
    (folder / "users.csv").rename(folder / "kept.csv")
    runs.append(run("loads_users").run_id)
    (folder / "kept.csv").rename(folder / "users.csv")
    runs.append(run("loads_users").run_id)
    run("builds_no_pipe")

    with create_session() as session:
        dags = {"loads_users"}
        first = recent_loads(session, dags, 2)
        rest = recent_loads(session, dags, 9, before=first[-1].ended_at)
        assert [load.key.run_id for load in [*first, *rest]][:3] == runs[::-1]
        assert recent_loads(session, set(), 9) == []
        assert dags_with_loads(session) >= {"loads_users", "builds_no_pipe"}

        failed, last = first[1], first[0]
        assert (failed.state, last.state) == ("failed", "success")
        assert failed.report is not None
        assert failed.report.total.status is PipeStatus.FAILED
        found = find_load(session, failed.key)
        assert found is not None
        assert replace(found, histories=()) == failed
        [history] = found.histories
        assert history.target.endswith("users.jsonl")
        assert [(past.load_id, past.status, past.loaded_rows) for past in history.loads] == [
            (f"loads_users/load/{runs[0]}", "completed", ROWS)
        ]
        assert history.load_ids == (f"loads_users/load/{runs[1]}",)
        assert [load.key for load in earlier_loads(session, last.key, 2)] == [failed.key, rest[0].key]

        [without] = recent_loads(session, {"builds_no_pipe"}, 1)
        assert (without.state, without.report) == ("failed", None)
        assert find_load(session, TaskKey("loads_users", runs[0], "load", 7)) is None
