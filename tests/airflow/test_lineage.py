"""What tasks tell of their loads: asset events, and lineage as OpenLineage's provider takes it."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from zoopipe_airflow.datasets import dataset_of, inputs_of, output_of
from zoopipe_core import CSVInputAdapter, Pipe, SQLInputAdapter, ZoopipeError

ROWS = 200


@pytest.mark.parametrize(
    ("label", "namespace", "name", "uri"),
    [
        ("/data/a b.csv", "file", "/data/a b.csv", "file:///data/a%20b.csv"),
        ("s3://bucket/in/u.csv", "s3://bucket", "in/u.csv", "s3://bucket/in/u.csv"),
        ("postgresql://db/sales::users", "postgres://db:5432", "sales.public.users", "postgres://db:5432/sales/public/users"),
        ("postgresql://db:6432/s::a.b", "postgres://db:6432", "s.a.b", "postgres://db:6432/s/a/b"),
        ("postgresql:///s::t", "postgres://localhost:5432", "s.public.t", "postgres://localhost:5432/s/public/t"),
        ('duckdb:////d/w.duckdb::s."a.b"', "duckdb:///d/w.duckdb", "s.a.b", "duckdb:///d/w.duckdb/s/a.b"),
        ("sqlite:////d/w.db::t", "sqlite:///d/w.db", "main.t", "sqlite:///d/w.db/main/t"),
    ],
)  # fmt: skip
def test_files_and_tables_are_named_as_lineage_names_them(label: str, namespace: str, name: str, uri: str) -> None:
    from airflow.sdk import Asset

    found = dataset_of(label)
    assert found is not None
    assert (found.namespace, found.name, found.uri) == (namespace, name, uri)
    assert Asset(uri).name == uri  # Airflow takes it


def test_relative_paths_are_of_the_folder_in_which_the_task_runs() -> None:
    assert output_of(Pipe([{}], "out.csv")) == dataset_of(os.path.abspath("out.csv"))
    assert [each.name for each in inputs_of(Pipe(CSVInputAdapter(["/a.csv", "/b*.csv"]), None))] == [
        "/a.csv",
        "/b*.csv",
    ]


@pytest.mark.parametrize("source", [[{"id": 1}], SQLInputAdapter("sqlite:////d/w.db", "SELECT 1 AS id")])
def test_what_has_no_name_is_no_dataset(source: Any) -> None:
    assert inputs_of(Pipe(source, None)) == []
    assert output_of(Pipe(source, None)) is None
    assert dataset_of("warehouse()::users") is None


def test_events_of_assets_have_the_counts_of_their_load(airflow_dag: Callable[[str], Any], folder: Path) -> None:
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    run = airflow_dag("loads_assets").test()
    states = {task.task_id: task.state for task in run.get_task_instances()}
    assert states == {"declared": "success", "inferred": "success", "aliased": "success", "fails": "failed"}
    with create_session() as session:
        found = session.execute(
            select(AssetEvent.source_task_id, AssetModel.uri, AssetEvent.extra)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.source_run_id == run.run_id)
        ).all()
    events = {(task, uri.replace(str(folder), "")): extra for task, uri, extra in found}
    assert set(events) == {
        ("declared", "a_name_of_its_own"),
        ("inferred", "file:///checked.jsonl"),
        ("inferred", "file:///rejects.csv"),
        # Airflow writes URIs without a host like this, those of who waits for them too.
        ("aliased", "duckdb:/one.duckdb/main/users"),
        ("aliased", "duckdb:/two.duckdb/main/users"),
    }
    for (task, _), extra in events.items():
        counts = (extra["read_rows"], extra["loaded_rows"], extra["rejected_rows"])
        assert counts == ((ROWS, ROWS, 0) if task == "aliased" else (3, 2, 1))
        assert extra["load_id"].startswith(f"loads_assets/{task}/{run.run_id}")


def lineage(task: Any, state: str) -> Any:
    """What OpenLineage's provider makes of a task that has run."""
    from airflow.providers.openlineage.extractors.manager import ExtractorManager
    from airflow.utils.state import TaskInstanceState

    return ExtractorManager().extract_metadata(
        dagrun=SimpleNamespace(run_id="run"),
        task=task,
        task_instance_state=TaskInstanceState(state),
        task_instance=None,
    )


def test_lineage_has_columns_rows_and_bytes(airflow_dag: Callable[[str], Any], folder: Path) -> None:
    from airflow.sdk.execution_time.context import OutletEventAccessors

    names = {"dag_id": "loads_assets", "task_id": "inferred", "run_id": "run", "map_index": -1}
    context = {"ti": SimpleNamespace(**names), "outlet_events": OutletEventAccessors()}
    task = airflow_dag("loads_assets").get_task("inferred").prepare_for_execution()
    report = task.execute(context)
    found = lineage(task, "success")
    [source] = found.inputs
    target, rejects = found.outputs
    assert (source.namespace, source.name) == ("file", f"{folder}/checked.csv")
    assert (source.inputFacets["inputStatistics"].rowCount, source.inputFacets["inputStatistics"].size) == (3, 20)
    assert (target.name, rejects.name) == (f"{folder}/checked.jsonl", f"{folder}/rejects.csv")
    assert [(each.name, each.type) for each in target.facets["schema"].fields] == [
        ("id", "int"),
        ("name", "str | None"),
    ]
    statistics = target.outputFacets["outputStatistics"]
    assert (statistics.rowCount, statistics.size) == (2, report["bytes_written"])
    assert rejects.outputFacets["outputStatistics"].rowCount == 1


def test_lineage_of_a_load_that_failed_has_no_rows(airflow_dag: Callable[[str], Any], folder: Path) -> None:
    names = {"dag_id": "loads_assets", "task_id": "fails", "run_id": "run", "map_index": -1}
    task = airflow_dag("loads_assets").get_task("fails").prepare_for_execution()
    task.do_xcom_push = False
    with pytest.raises(ZoopipeError):
        task.execute({"ti": SimpleNamespace(**names)})
    found = lineage(task, "failed")
    assert [each.name for each in found.inputs] == [f"{folder}/missing.csv"]
    assert [(each.name, each.outputFacets) for each in found.outputs] == [(f"{folder}/missing.jsonl", {})]
