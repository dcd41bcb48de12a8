"""Events and assets: what Prefect knows of the data that loads have read and made."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prefect import flow, task
from prefect.assets import Asset
from prefect.events import Event

from tests.prefect.loads import User, artifact
from zoopipe_core import Pipe
from zoopipe_core.testing import ThreadEngine
from zoopipe_prefect import run_pipe, run_pipes
from zoopipe_prefect.lineage import asset_key

Events = Callable[[str], list[Event]]


@given(label=st.text(), scheme=st.sampled_from(["", "s3://", "duckdb:///", "Postgre-SQL://", "warehouse_url()::"]))
def test_every_target_makes_an_asset_that_prefect_takes(label: str, scheme: str) -> None:
    key = asset_key(scheme + label)
    assert Asset(key=key).key == key


def test_targets_that_differ_in_what_prefect_refuses_are_assets_of_their_own() -> None:
    labels = ["s3://bucket/a b", "s3://bucket/a#b", "s3://bucket/a_b", "S3://bucket/a b?", "s3://bucket/" + "a" * 600]
    labels.append(labels[-1] + "b")
    assert len({asset_key(label) for label in labels}) == len(labels)


def test_a_load_makes_its_target_out_of_its_source_and_sends_one_event(events: Events, folder: Path) -> None:
    pipe = Pipe("users.csv", "duckdb:///warehouse.duckdb::users", None, User)

    @task
    def ask(report: Any) -> None:
        """Depends on the table."""

    @flow
    def nightly() -> Any:
        ask(run_pipe(pipe, name="asset"))

    nightly()
    [load] = events("zoopipe.load.")
    assert (load.event, load.resource.id) == (
        "zoopipe.load.completed",
        "zoopipe.target.duckdb:///warehouse.duckdb/users",
    )
    assert load.payload["rows_loaded"] == 2
    assert load.payload["rows_rejected"] == 1
    assert load.payload["source"] == "users.csv"
    roles = {related.role for related in load.related}
    assert {"flow-run", "task-run"} <= roles
    assert f"prefect.task-run.{artifact('load-asset').task_run_id}" in [related.id for related in load.related]

    [made] = events("prefect.asset.materialization")
    assert (made.event, made.resource.id) == (
        "prefect.asset.materialization.succeeded",
        "duckdb:///warehouse.duckdb/users",
    )
    assert (made.payload["rows_loaded"], made.payload["status"]) == (2, "completed")
    assert {(related.id, related.role) for related in made.related} >= {
        (f"file://{folder}/users.csv", "asset"),
        ("zoopipe", "asset-materialized-by"),
    }
    assert [event.resource.id for event in events("prefect.asset.referenced")] == [f"file://{folder}/users.csv"]


def test_of_several_loads_those_that_completed_have_made_their_targets(events: Events, folder: Path) -> None:
    (folder / "good.csv").write_text("id\n1\n")
    pipes = [Pipe(f"{name}.csv", f"{name}.jsonl", None, User) for name in ("good", "gone")]
    flow(lambda: run_pipes.with_options(retries=1)(pipes, ThreadEngine()), name="nightly")(return_state=True)
    made = {event.resource.id: event.event.rpartition(".")[2] for event in events("prefect.asset.materialization")}
    assert made == {f"file://{folder}/good.jsonl": "succeeded", f"file://{folder}/gone.jsonl": "failed"}
    [load] = events("zoopipe.load.")
    assert load.event == "zoopipe.load.failed"


def test_each_pipe_is_a_row_of_a_table(folder: Path, prefect_api: str) -> None:
    (folder / "good.csv").write_text("id\n1\n")
    pipes = [Pipe(f"{name}.csv", f"{name}.jsonl", None, User) for name in ("good", "users")]
    flow(lambda: run_pipes(pipes, ThreadEngine(), name="table"), name="nightly")()
    kept = artifact("load-table-pipes")
    assert kept.type == "table"
    rows = json.loads(kept.data)
    assert [(row["source"], row["status"], row["loaded"], row["rejected"]) for row in rows] == [
        ("good.csv", "COMPLETED", 1, 0),
        ("users.csv", "COMPLETED", 2, 1),
    ]
