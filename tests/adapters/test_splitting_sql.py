"""Tables and queries in parts: every row is in one of them, with one number, in one state of the database."""

from __future__ import annotations

import datetime as dt
import gc
import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.adapters.splits import assert_exact, parts_of, read
from tests.adapters.sql_support import load
from tests.databases import execute
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.sql import SQLInputAdapter
from zoopipe_core.adapters.sql_split import SQLPart
from zoopipe_core.errors import SourceError

DAY, NOON = dt.date(2020, 2, 28), dt.datetime(2020, 2, 28, 12, 0, 0, 5)
TYPES = {
    "id": pa.int64(),
    "day": pa.date32(),
    "at": pa.timestamp("us"),
    "seen": pa.timestamp("us", "UTC"),
    "name": pa.string(),
}
COUNTS = [2, 12]


def rows(count: int) -> list[tuple[Any, ...]]:
    """In the order of each key; the first one has none."""
    zoned = NOON.replace(tzinfo=dt.UTC)
    step = dt.timedelta(days=1, hours=7, microseconds=3)
    return [
        (None, None, None, None, "nobody"),
        *((3 * n - 50, DAY + n * dt.timedelta(1), NOON + n * step, zoned + n * step, f"é{n}") for n in range(count)),
    ]


@pytest.fixture
def uri(database_uri: str) -> str:
    """A database of each kind with a table in it."""
    load(database_uri, "people", TYPES, rows(200))
    return database_uri


@pytest.mark.parametrize("column", ["id", "day", "at", "seen"])
def test_a_table_in_ranges_of_a_key_is_the_same_table(uri: str, column: str) -> None:
    assert len(assert_exact(SQLInputAdapter(uri, table_name="people", partition_column=column), 3)) == 3


@pytest.mark.parametrize("count", COUNTS)
def test_a_query_in_ranges_of_a_key_is_the_same_query(uri: str, count: int) -> None:
    query = "SELECT name, id + 1 AS place, id FROM people WHERE id > 7 -- not all;"
    parts = assert_exact(SQLInputAdapter(uri, query, partition_column="place"), count)
    assert len(parts) == count


def test_only_columns_that_are_wanted_are_read(uri: str) -> None:
    adapter = SQLInputAdapter(uri, table_name="people", partition_column="id")
    assert_exact(adapter, 3, columns=frozenset(["name"]))


def test_rows_in_any_order_are_each_in_one_part(uri: str) -> None:
    shuffled = rows(300)
    random.Random(1).shuffle(shuffled)
    load(uri, "mixed", TYPES, shuffled)
    adapter = SQLInputAdapter(uri, table_name="mixed", partition_column="id")
    found = read(parts_of(adapter, 7))
    assert [number for _, number, _ in found.rows] == list(range(1, 302))
    key = lambda row: row["name"]  # noqa: E731
    assert sorted((row for _, _, row in found.rows), key=key) == sorted(
        (row for _, _, row in read([adapter]).rows), key=key
    )


def test_keys_that_are_not_spread_evenly_give_fewer_parts(uri: str) -> None:
    load(uri, "skewed", {"id": pa.int64()}, [(1,), (2,), (3,), (4,), (2**62,)])
    adapter = SQLInputAdapter(uri, table_name="skewed", partition_column="id")
    assert len(assert_exact(adapter, 5)) == 2
    assert "spread evenly" in (adapter.split(5).note or "")


@pytest.mark.parametrize("table", ["empty", "nothing"])
def test_a_column_without_values_is_one_part(uri: str, table: str) -> None:
    load(uri, table, {"id": pa.int64()}, [] if table == "empty" else [(None,)] * 5)
    adapter = SQLInputAdapter(uri, table_name=table, partition_column="id")
    split = adapter.split(3)
    assert split.parts == (adapter,)
    assert "has no values" in (split.note or "")


def test_a_text_is_no_key(uri: str) -> None:
    with pytest.raises(SourceError, match="'name' of type string: partition_column has to be a column of integers"):
        SQLInputAdapter(uri, table_name="people", partition_column="name").split(2)


def test_a_key_that_is_not_there_is_named_with_those_that_are(uri: str) -> None:
    with pytest.raises(SourceError, match=r"no column 'nr' to split by; it has id, day, at"):
        SQLInputAdapter(uri, table_name="people", partition_column="nr").split(2)


def test_with_a_limit_there_is_one_part(uri: str) -> None:
    adapter = SQLInputAdapter(uri, table_name="people", partition_column="id", limit=10)
    assert adapter.split(2).parts == (adapter,)
    assert "limit=10" in (adapter.split(2).note or "")


def test_names_are_quoted(uri: str) -> None:
    name = 'id"; DROP TABLE people; --'
    load(uri, "odd", {name: pa.int64()}, [(n,) for n in range(9)])
    assert len(assert_exact(SQLInputAdapter(uri, table_name="odd", partition_column=name), 3)) == 3


def test_what_is_written_meanwhile_is_in_no_part(uri: str) -> None:
    adapter = SQLInputAdapter(uri, table_name="people", partition_column="id")
    before = read([adapter])
    parts = adapter.split(3).parts
    execute(uri, "DELETE FROM people WHERE id > 100", "INSERT INTO people (id, name) VALUES (1, 'late')")
    found = read(parts)
    if uri.startswith("postgresql"):
        assert found == before
    else:
        assert found.error is not None
        assert "has changed since it was split" in found.error[1]
        assert not found.rows


# ---- one kind -------------------------------------------------------------------------------------------------------


def test_a_database_of_which_nothing_is_known_asks_for_a_key(uri: str) -> None:
    adapter = SQLInputAdapter(uri, query="SELECT * FROM people")
    split = adapter.split(3)
    assert split.parts == (adapter,)
    assert "name a partition_column=" in (split.note or "")


@pytest.mark.parametrize("count", COUNTS)
def test_a_postgresql_table_is_split_by_the_places_of_its_rows(postgres_uri: str, count: int) -> None:
    execute(
        postgres_uri,
        "CREATE TABLE t AS SELECT n, repeat('x', n % 50) AS text FROM generate_series(1, 5000) n",
        "DELETE FROM t WHERE n % 7 = 0",
    )
    parts = assert_exact(SQLInputAdapter(postgres_uri, table_name="t"), count)
    assert len(parts) > count // 2  # the last pages of a growing table may be empty
    plan = execute(
        postgres_uri,
        "CREATE FUNCTION plan(query text) RETURNS SETOF text AS"
        " 'BEGIN RETURN QUERY EXECUTE ''EXPLAIN '' || query; END' LANGUAGE plpgsql",
        "SELECT plan($$SELECT * FROM t WHERE ctid >= '(3,0)'::tid AND ctid < '(9,0)'::tid$$)",
    )
    assert "Tid Range Scan" in plan[0][0]


def test_a_view_and_a_table_with_children_are_not_split_by_places(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        "CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE TABLE parent (n int)",
        "CREATE TABLE child () INHERITS (parent)",
        "INSERT INTO child SELECT * FROM t",
        "CREATE TABLE ranged (n int) PARTITION BY RANGE (n)",
    )
    for name in ("v", "parent", "ranged"):
        split = SQLInputAdapter(postgres_uri, table_name=name).split(3)
        assert len(split.parts) == 1
        assert "no plain table" in (split.note or "")


def test_infinite_dates_are_in_the_outer_parts(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        "CREATE TABLE t AS SELECT n, DATE '2020-01-01' + n AS day FROM generate_series(0, 99) n",
        "INSERT INTO t VALUES (-1, '-infinity'), (100, 'infinity'), (101, NULL)",
    )
    query = "SELECT n, day FROM t"
    parts = SQLInputAdapter(postgres_uri, query, partition_column="day").split(4).parts
    found = [{row["n"] for _, _, row in read([part], columns=frozenset(["n"])).rows} for part in parts]
    assert sorted(n for one in found for n in one) == list(range(-1, 102))
    assert {-1, 101} <= found[0]
    assert 100 in found[-1]


def sessions_become(uri: str, expected: int) -> bool:
    """Whether the database soon has so many other sessions: a server ends one a moment after its client has."""
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    deadline = time.monotonic() + 20
    while execute(uri, sessions) != [(expected,)]:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_snapshot_lives_as_long_as_its_parts(postgres_uri: str) -> None:
    execute(postgres_uri, "CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n")
    parts = SQLInputAdapter(postgres_uri, table_name="t").split(3).parts
    sent = list(parts_of(SQLInputAdapter(postgres_uri, table_name="t"), 2))  # copies, whose originals are gone
    gc.collect()
    assert sessions_become(postgres_uri, 1)
    with pytest.raises(SourceError, match="snapshot"):
        sent[0].open(ReadRequest())
    assert sum(len(read([part]).rows) for part in parts) == 5000
    del parts
    gc.collect()
    assert sessions_become(postgres_uri, 0)
    split = SQLInputAdapter(postgres_uri, table_name="t").split(3)
    split.release()
    split.release()
    assert sessions_become(postgres_uri, 0)


def test_parts_show_no_password(postgres_uri: str) -> None:
    uri = postgres_uri.replace("postgres:@", "postgres:canary@")
    execute(postgres_uri, "CREATE TABLE t AS SELECT n FROM generate_series(1, 5000) n")
    parts = SQLInputAdapter(uri, table_name="t").split(2).parts
    assert all(isinstance(part, SQLPart) for part in parts)
    assert "canary" not in repr(parts)


def test_sqlite_columns_have_the_types_of_the_whole_in_each_part(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/test.sqlite"
    load(uri, "t", {"id": pa.int64(), "x": pa.float64()}, [(n, n / 2) for n in range(20)])
    query = "SELECT id, CASE WHEN id > 9 THEN CAST(x AS INTEGER) ELSE x END AS x FROM t"
    assert len(assert_exact(SQLInputAdapter(uri, query, partition_column="id"), 4)) == 4
