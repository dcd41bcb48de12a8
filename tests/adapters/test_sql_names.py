"""Names and texts of whatever kind are data: they reach the table that they name, and nothing else."""

from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings

from tests.adapters.sql_support import IDS, load, read
from tests.databases import execute, tables_of
from zoopipe_core.adapters.sql import SQLInputAdapter, SQLOutputAdapter
from zoopipe_core.adapters.sql_names import TableName, parse_table_name, quote
from zoopipe_core.errors import SpecError, TargetError

HOSTILE = [
    "a TEXT); DROP TABLE canary; --",
    'x"; DROP TABLE canary; --',
    "x'; DROP TABLE canary; --",
    "x/*",
    "Select",
    "tab\tand\nline break",
    "ünï 🐘 ؤ",
    "$1 %s ? {x} \\",
    "zoopipe_query",
    "c0",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_tables_and_columns_are_only_names(database_uri: str, name: str) -> None:
    execute(database_uri, "CREATE TABLE canary (x INTEGER)", "INSERT INTO canary VALUES (42)")
    types = {name: pa.string(), name + "'2": pa.int64()}
    load(database_uri, name, {name: pa.int64()}, [(1,)])
    load(database_uri, name, types, [(name, 1)])  # other columns: the table is made anew
    load(database_uri, name, types, [(name, 2)], mode="append")
    assert read(database_uri, name) == [(name, 1), (name, 2)]
    assert tables_of(database_uri) == {"canary", name}
    assert execute(database_uri, "SELECT x FROM canary") == [(42,)]


def test_a_name_in_quotes_may_hold_dots(database_uri: str) -> None:
    load(database_uri, '"we.ird ""name"""', IDS, [(1,)])
    assert tables_of(database_uri) == {'we.ird "name"'}
    assert read(database_uri, '"we.ird ""name"""') == [(1,)]


def test_300_characters_are_a_name_unless_the_database_would_cut_it(database_uri: str) -> None:
    name = "n" * 300
    if not database_uri.startswith("postgresql"):
        load(database_uri, name, {name: pa.int64()}, [(1,)])
        assert read(database_uri, name) == [(1,)]
        return
    for call in (
        lambda: SQLOutputAdapter(database_uri, name),
        lambda: SQLInputAdapter(database_uri, table_name=f"{name}.t"),
        lambda: SQLOutputAdapter(lambda: database_uri, name).open(),
        lambda: SQLOutputAdapter(database_uri, "é" * 32),
    ):
        with pytest.raises(SpecError, match=r"has (300|64) bytes, but PostgreSQL cuts names off at 63"):
            call()
    with pytest.raises(TargetError, match="has 300 bytes, but PostgreSQL cuts names off at 63"):
        load(database_uri, "t", {name: pa.int64()})
    load(database_uri, "é" * 31, {"n" * 63: pa.int64()}, [(1,)])


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)


@given(name=names, text=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=10))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.parametrize("database_uri", ["duckdb", "sqlite"], indirect=True)
def test_any_text_names_a_column(database_uri: str, name: str, text: str) -> None:
    load(database_uri, "t", {name: pa.string()}, [(text,)])
    assert read(database_uri, "t") == [(text,)]


@given(parts=st.lists(names, min_size=1, max_size=2))
def test_quoted_parts_are_taken_apart_again(parts: list[str]) -> None:
    table = parse_table_name(".".join(map(quote, parts)))
    assert table == TableName(parts[-1], parts[0] if len(parts) == 2 else None)
    assert parse_table_name(table.sql) == table


@given(text=st.text(max_size=20))
def test_any_text_is_a_table_name_or_an_error_that_says_so(text: str) -> None:
    try:
        table = parse_table_name(text)
    except SpecError:
        return
    assume('"' not in text)
    assert str(table) == text


def test_hostile_values_are_only_values(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE canary (x INTEGER)")
    rows: list[Any] = [(text,) for text in HOSTILE]
    load(database_uri, "t", {"x": pa.string()}, rows)
    assert read(database_uri, "t") == rows
    assert tables_of(database_uri) == {"canary", "t"}
