"""A load whose rows are taken out of a table again."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.databases import execute
from zoopipe_core import Pipe, SQLOutputAdapter
from zoopipe_core.errors import LoadLockedError, SpecError, TargetError
from zoopipe_core.ledger import loads
from zoopipe_core.undo import undo_load, undoable

COLUMN = "_load_id"


class User(BaseModel):
    id: int


def table(uri: str, **options: Any) -> SQLOutputAdapter:
    return SQLOutputAdapter(uri, "users", **{"mode": "append"} | options)


def users(target: Any, load_id: str | None, *ids: int, **options: Any) -> Pipe:
    return Pipe([{"id": number} for number in ids], target, schema_model=User, load_id=load_id, **options)


def load(uri: str, load_id: str, *ids: int, **options: Any) -> Pipe:
    pipe = undoable(users(table(uri, **options), load_id, *ids), COLUMN)
    assert pipe.run(on_report_update=None), pipe.report
    return pipe


def rows(uri: str) -> list[tuple[Any, ...]]:
    return execute(uri, f"SELECT id, {COLUMN} FROM users ORDER BY 2, 1")


def test_the_rows_of_a_load_are_removed_and_no_others(database_uri: str) -> None:
    load(database_uri, "one", 1, 2)
    load(database_uri, 'it\'s "two"; --', 1, 3)
    assert undo_load(table(database_uri), "one", COLUMN) == 2
    assert rows(database_uri) == [(1, 'it\'s "two"; --'), (3, 'it\'s "two"; --')]
    assert undo_load(table(database_uri), "one", COLUMN) == 0
    assert undo_load(table(database_uri), "three", COLUMN) == 0
    assert undo_load(table(database_uri), 'it\'s "two"; --', COLUMN) == 2
    assert rows(database_uri) == []


def test_a_load_that_was_undone_is_loaded_when_it_is_run_again(database_uri: str) -> None:
    load(database_uri, "one", 1)
    undo_load(table(database_uri), "one", COLUMN)
    assert [record.status for record in loads(database_uri, "users")] == ["undone"]
    assert load(database_uri, "one", 1).report.attempt == 2
    assert load(database_uri, "one", 1).report.notes != ()  # it is loaded already
    assert rows(database_uri) == [(1, "one")]


def test_a_table_that_has_no_such_column_gets_it_only_if_it_may_grow(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE users (id BIGINT)", "INSERT INTO users VALUES (9)")
    pipe = undoable(users(table(database_uri), "one", 1), COLUMN)
    assert not pipe.run(on_report_update=None)
    load(database_uri, "one", 1, on_drift="evolve")
    assert undo_load(table(database_uri), "one", COLUMN) == 1
    assert execute(database_uri, f"SELECT id, {COLUMN} FROM users") == [(9, None)]


@pytest.mark.parametrize("change", ["DELETE FROM users WHERE id = 1", "INSERT INTO users VALUES (3, 'one')"])
def test_rows_that_are_not_those_of_the_load_any_more_stay(database_uri: str, change: str) -> None:
    load(database_uri, "one", 1, 2)
    execute(database_uri, change)
    before = rows(database_uri)
    with pytest.raises(TargetError, match="and the load brought 2: somebody has changed them since"):
        undo_load(table(database_uri), "one", COLUMN)
    assert rows(database_uri) == before
    assert [record.status for record in loads(database_uri, "users")] == ["completed"]


def test_a_load_that_is_under_way_is_not_undone(postgres_uri: str) -> None:
    load(postgres_uri, "one", 1)
    key = undoable(users(table(postgres_uri), "two", 2), COLUMN)
    other = table(postgres_uri, mode="replace").open_load(_key("three"))
    try:
        with pytest.raises(LoadLockedError):
            undo_load(table(postgres_uri), "one", COLUMN)
    finally:
        other.abort()
    assert key.run(on_report_update=None)


def _key(load_id: str) -> Any:
    from zoopipe_core.adapters.ledger import LoadKey

    return LoadKey(load_id, "run")


@pytest.mark.parametrize(
    ("pipe", "message"),
    [
        (users("users.jsonl", "one"), r"users\.jsonl is no table"),
        (users(None, "one"), "no output is no table"),
        (users(table("duckdb:///w.duckdb", mode="replace"), "one"), 'mode="replace"'),
        (users(table("duckdb:///w.duckdb", mode="merge", key=["id"]), "one"), 'mode="merge"'),
        (users(table("duckdb:///w.duckdb"), None), "has no load_id"),
        (users(table("duckdb:///w.duckdb"), "one", if_loaded="again"), "could not be told apart"),
    ],
)
def test_what_cannot_be_undone_is_said_before_anything_is_loaded(pipe: Pipe, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        undoable(pipe, COLUMN)


def test_a_column_that_the_rows_have_is_not_overwritten(tmp_path: Path) -> None:
    uri = f"duckdb:///{tmp_path}/w.duckdb"
    pipe = undoable(users(table(uri), "one", 1), "id")
    assert not pipe.run(on_report_update=None)
    assert "name another one for the load id" in str(pipe.report.exception)
