"""`AirflowConnection`: URLs out of the fields of a connection, and where its password does not go."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from airflow.sdk import Connection

from tests.databases import execute
from zoopipe_airflow import AirflowConnection
from zoopipe_airflow.connections import connection_url
from zoopipe_airflow.hooks import DuckDBHook
from zoopipe_airflow.templates import describe_pipe, render_pipe
from zoopipe_core import Pipe, SQLOutputAdapter

PASSWORD = "ein/Geheimnis?@:#%"
ROWS = 200


def connection(kind: str, **fields: Any) -> Any:
    return Connection(conn_id="warehouse", conn_type=kind, **fields)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (connection("postgres", host="db", login="me", schema="sales", port=6432), "postgresql://me@db:6432/sales"),
        (connection("postgresql", host="db"), "postgresql://db/"),
        (connection("postgres", host="::1", schema="s"), "postgresql://[::1]/s"),
        (connection("postgres", host="a,b", schema="s"), "postgresql://a,b/s"),
        (connection("postgres", host="/run/pg", port=5433), "postgresql:///?host=%2Frun%2Fpg&port=5433"),
        (
            connection("postgres", host="db", extra='{"sslmode": "require", "keepalives": true, "cursor": "dict"}'),
            "postgresql://db/?sslmode=require&keepalives=1",
        ),
        (connection("sqlite", host="/data/a b.db"), "sqlite:////data/a b.db"),
        (Connection(conn_id="warehouse", uri="sqlite:////data/app.db"), "sqlite:////data/app.db"),
        (connection("duckdb", host="warehouse.duckdb"), "duckdb:///warehouse.duckdb"),
    ],
)
def test_a_url_is_built_of_the_fields_of_a_connection(given: Any, url: str) -> None:
    assert connection_url(given) == url
    SQLOutputAdapter(url, "users")  # takes it


@pytest.mark.parametrize("text", [PASSWORD, " ", "pass word", "übung", "a&b=c"])
def test_whatever_is_in_a_field_stays_within_it(text: str) -> None:
    given = connection(
        "postgres", host="db", login=text, password=text, schema=text, extra=json.dumps({"options": text})
    )
    parts = urlsplit(connection_url(given))
    assert (parts.hostname, unquote(parts.username or ""), unquote(parts.password or "")) == ("db", text, text)
    assert unquote(parts.path[1:]) == text
    assert parse_qs(parts.query, keep_blank_values=True) == {"options": [text]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (connection("http", host="db", password=PASSWORD), "is of the type 'http'; loads know 'duckdb', 'postgres'"),
        (connection("sqlite"), "names no file"),
        (connection("duckdb", host="a", schema="b"), "has both a host and a schema"),
        (connection("duckdb", host="a", password=PASSWORD), "not MotherDuck"),
        (connection("postgres", host="db", password=PASSWORD, extra='{"iam": true}'), "a URL with a token"),
    ],
)
def test_a_connection_that_no_load_can_use_is_refused_without_its_password(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        connection_url(given)
    assert PASSWORD not in str(caught.value)


def test_what_is_shown_of_a_pipe_is_the_name_of_the_connection() -> None:
    pipe = Pipe([{"id": 1}], SQLOutputAdapter(AirflowConnection("{{ params.c }}"), "users"))
    rendered = render_pipe(pipe, lambda text: text.replace("{{ params.c }}", "warehouse"))
    assert (
        describe_pipe(rendered)["output"]
        == "SQLOutputAdapter('AirflowConnection:warehouse()', 'users', mode='replace')"
    )


def test_a_duckdb_connection_can_be_tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    execute(f"duckdb:///{tmp_path}/w.duckdb", "CREATE TABLE t AS SELECT 7 AS id")
    for name in ("w", "missing"):
        fields = {"conn_type": "duckdb", "host": f"{tmp_path}/{name}.duckdb"}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(fields))
    assert DuckDBHook("w").test_connection() == (True, "The file can be read.")
    with DuckDBHook("w").get_conn() as opened:
        assert opened.sql("FROM t").fetchall() == [(7,)]
    works, why = DuckDBHook("missing").test_connection()
    assert not works
    assert "missing.duckdb" in why


def test_a_password_reaches_workers_and_nothing_that_is_kept_or_shown(
    airflow_dag: Callable[[str], Any],
    folder: Path,
    postgres_uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    from airflow.models.renderedtifields import RenderedTaskInstanceFields
    from airflow.serialization.serialized_objects import DagSerialization

    caplog.set_level(logging.DEBUG)
    server = urlsplit(postgres_uri)
    fields = {
        "canary_postgres": {
            "conn_type": "postgres",
            "host": parse_qs(server.query)["host"][0],
            "schema": server.path[1:],
            "login": server.username,
            "password": PASSWORD,
        },
        "a_duckdb": {"conn_type": "duckdb", "host": f"{folder}/w.duckdb"},
        "a_sqlite": {"conn_type": "sqlite", "host": f"{folder}/w.sqlite"},
        "a_web": {"conn_type": "http", "host": "web", "password": PASSWORD},
    }
    for name, value in fields.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(value))
    monkeypatch.setenv("AIRFLOW_VAR_LOAD_FOLDER", str(folder))
    dag = airflow_dag("loads_into_connections")
    run = dag.test()
    tasks = {task.task_id: task for task in run.get_task_instances()}
    assert {name: task.state for name, task in tasks.items()} == {
        "load": "success",
        "copy_duckdb": "success",
        "copy_sqlite": "success",
        "unknown": "failed",
    }
    for uri in (postgres_uri, f"duckdb:///{folder}/w.duckdb", f"sqlite:///{folder}/w.sqlite"):
        assert execute(uri, "SELECT count(*) FROM users") == [(ROWS,)]
    seen = [json.dumps(DagSerialization.to_dict(dag)), caplog.text, *capfd.readouterr()]
    for task in tasks.values():
        seen.append(str(RenderedTaskInstanceFields.get_templated_fields(task)))
        seen += [str(task.xcom_pull(task_ids=task.task_id, key=key)) for key in ("return_value", "report", "ledger")]
    for name in ("load", "copy_duckdb", "copy_sqlite"):
        [history] = tasks[name].xcom_pull(task_ids=name, key="ledger")
        assert [load["status"] for load in history["loads"]] == ["completed"]
    assert "AirflowConnection:canary_postgres()" in str(RenderedTaskInstanceFields.get_templated_fields(tasks["load"]))
    seen += [path.read_bytes().decode(errors="replace") for path in folder.glob("cmdlines-*")]
    assert len(list(folder.glob("cmdlines-*"))) == 2
    for text in seen:
        assert PASSWORD not in text
        assert "Geheimnis" not in text
