"""Pages by a key: every row once, in its order, as the whole table gives it, whatever the key is."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.adapters.splits import assert_exact, parts_of, read
from tests.adapters.sql_support import batches_of, load, rows_of
from tests.databases import execute, path_of
from zoopipe_core import SQLPaginationInputAdapter
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.sql import SQLInputAdapter
from zoopipe_core.errors import SourceError, SpecError

PEOPLE = {"id": pa.int64(), "name": pa.string(), "at": pa.timestamp("us", "UTC")}
NOON = dt.datetime(2020, 2, 28, 12, tzinfo=dt.UTC)


def people(*ids: int) -> list[tuple[Any, ...]]:
    return [(n, f"n{n}", NOON + dt.timedelta(hours=n)) for n in ids]


def pages(uri: str, table: str = "people", key: Any = "id", page_size: int = 7, **options: Any) -> Any:
    if "query" not in options:
        options["table_name"] = table
    return SQLPaginationInputAdapter(uri, key=key, page_size=page_size, **options)


def ids(adapter: Any) -> list[int]:
    return [row["id"] for _, _, row in read([adapter], columns=frozenset(["id"])).rows]


@pytest.fixture
def uri(database_uri: str) -> str:
    """A database of each kind, with a table whose rows are in disorder."""
    load(database_uri, "people", PEOPLE, people(*range(20, 40), *range(20)))
    return database_uri


# ---- the rows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [9, 20, 39])
def test_pages_give_what_the_table_gives_in_the_order_of_the_key(uri: str, page_size: int) -> None:
    ordered = "SELECT * FROM people ORDER BY id"
    found, expected = read([pages(uri, page_size=page_size)]), read([SQLInputAdapter(uri, table_name="people")])
    assert found.columns == expected.columns
    assert [row for _, _, row in found.rows] == sorted((row for _, _, row in expected.rows), key=lambda row: row["id"])
    assert [number for _, number, _ in found.rows] == list(range(1, 41))
    if not uri.startswith("sqlite") and page_size == 20:  # which has no types for a query
        queried = pages(uri, query=ordered, page_size=page_size)
        assert [row for _, _, row in read([queried]).rows] == [row for _, _, row in found.rows]


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [-(2**63), -1, 0, 1, 2**63 - 1]),
        (pa.string(), ["", "'", "''; --", "\\", "\\'", "a", "a\nb", "Å", "é", "日本", "%s $1 ?"]),
        (pa.decimal128(20, 8), [Decimal("-7.5"), Decimal("0.00000001"), Decimal("1.5"), Decimal("123456789012")]),
        (pa.date32(), [dt.date(1, 1, 1), dt.date(1999, 12, 31), dt.date(2024, 2, 29), dt.date(9999, 12, 31)]),
        (pa.timestamp("us"), [dt.datetime(1, 1, 1), dt.datetime(2024, 1, 1, 0, 0, 0, 1), dt.datetime(2024, 1, 2)]),
        (pa.timestamp("us", "UTC"), [NOON + dt.timedelta(microseconds=n) for n in range(4)]),
        (pa.uuid(), [uuid.UUID(int=n) for n in (1, 2**64, 2**127, 2**128 - 1)]),
    ],
    ids=str,
)
def test_a_key_of_any_type_is_looked_up_exactly(database_uri: str, kind: pa.DataType, values: list[Any]) -> None:
    load(database_uri, "t", {"k": kind, "n": pa.int64()}, [(value, n) for n, value in enumerate(values)])
    adapter = pages(database_uri, "t", "k", page_size=2)
    if database_uri.startswith("sqlite") and not (pa.types.is_integer(kind) or pa.types.is_string(kind)):
        with pytest.raises(SourceError, match="cannot be read in pages by the column 'k': its type is"):
            batches_of(adapter)
        return
    found = [(row["k"], row["n"]) for _, _, row in read([adapter]).rows]
    assert sorted(found, key=lambda row: row[1]) == list(zip(values, range(len(values)), strict=True))
    for place, (value, _) in list(enumerate(found))[:: len(found) // 2]:
        rest = [row["k"] for _, _, row in read([pages(database_uri, "t", "k", 2, start_after=value)]).rows]
        assert rest == [key for key, _ in found[place + 1 :]]


def test_a_key_of_several_columns_and_of_quoted_names(uri: str) -> None:
    first = 'a"; DROP TABLE people; --'
    rows = [(n % 3, f"b{n % 4}", n) for n in range(12)]
    load(uri, "t", {first: pa.int64(), "b": pa.string(), "n": pa.int64()}, rows)
    for size in (1, 5):
        adapter = pages(uri, "t", [first, "b"], size)
        assert [tuple(row.values()) for _, _, row in read([adapter]).rows] == sorted(rows)
        behind = pages(uri, "t", [first, "b"], size, start_after=(1, "b1"))
        assert [tuple(row.values()) for _, _, row in read([behind]).rows] == [
            row for row in sorted(rows) if row[:2] > (1, "b1")
        ]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.sets(st.tuples(st.integers(-3, 3), st.text("ab'\\é", max_size=3)), max_size=30),
    size=st.integers(1, 9),
    count=st.integers(2, 5),
    limit=st.none() | st.integers(0, 40),
)
def test_any_rows_in_any_pages_and_parts_are_each_there_once(
    tmp_path: Path, rows: set[tuple[int, str]], size: int, count: int, limit: int | None
) -> None:
    uri = f"sqlite:///{tmp_path}/t.sqlite"
    load(uri, "t", {"a": pa.int64(), "b": pa.string()}, list(rows))
    adapter = pages(uri, "t", ["a", "b"], size, limit=limit)
    whole = [tuple(row.values()) for _, _, row in read([adapter]).rows]
    assert whole == sorted(rows)[:limit]
    parts = parts_of(adapter, count)
    assert [(number, *row.values()) for _, number, row in read(parts).rows] == [
        (number, *row) for number, row in enumerate(whole, 1)
    ]


def test_only_columns_that_are_wanted_and_the_key_are_read(uri: str) -> None:
    batch = batches_of(pages(uri), ReadRequest(frozenset(["name"])))[0].batch
    assert set(batch.schema.names) == {"id", "name"}


def test_ranges_of_the_key_hold_as_many_rows_each(uri: str) -> None:
    execute(uri, "INSERT INTO people (id) VALUES (1000000000)")  # ranges of equal width would be one
    parts = assert_exact(pages(uri, start_after=9), 4)
    sizes = [len(read([part]).rows) for part in parts]
    assert len(sizes) == 4
    assert max(sizes) - min(sizes) <= 1


# ---- what is no key -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [2, 3, 100])
def test_two_rows_of_one_key_are_noticed_wherever_a_page_ends(uri: str, page_size: int) -> None:
    load(uri, "t", {"id": pa.int64(), "n": pa.int64()}, [(1, 1), (2, 1), (3, 1), (3, 2), (4, 1)])
    with pytest.raises(SourceError, match=r"two rows of .* have the same id: rows could be lost"):
        batches_of(pages(uri, "t", page_size=page_size))
    assert len(read([pages(uri, "t", ["id", "n"], page_size)]).rows) == 5


def test_a_row_without_a_key_is_refused_before_the_first_row(uri: str) -> None:
    execute(uri, "INSERT INTO people (name) VALUES ('nobody')")
    for adapter in (pages(uri), pages(uri, query="SELECT id FROM people"), pages(uri, key=["name", "id"])):
        with pytest.raises(SourceError, match="rows whose 'id' is NULL: they have no place"):
            adapter.open(ReadRequest())
    assert ids(pages(uri, query="SELECT id FROM people WHERE id IS NOT NULL")) == list(range(40))


def test_a_key_that_is_not_there_or_has_no_order_is_named(uri: str) -> None:
    with pytest.raises(SourceError, match=r"no column 'nr', which the key names; it has id, name, at"):
        batches_of(pages(uri, key="nr"))
    load(uri, "t", {"x": pa.float64()}, [(1.5,), (2.5,)])
    with pytest.raises(SourceError, match="by the column 'x': its type is double"):
        batches_of(pages(uri, "t", key="x"))


def test_an_enum_of_duckdb_is_no_key_and_one_of_postgresql_is(tmp_path: Path, postgres_uri: str) -> None:
    duck = f"duckdb:///{tmp_path}/t.duckdb"
    for uri in (duck, postgres_uri):
        execute(
            uri,
            "CREATE TYPE size AS ENUM ('small', 'big', 'huge')",
            "CREATE TABLE t (k size)",
            "INSERT INTO t VALUES ('huge'), ('small'), ('big')",
        )
    with pytest.raises(SourceError, match="by the column 'k': its type is ENUM"):
        batches_of(pages(duck, "t", "k", 1))
    assert rows_of(batches_of(pages(postgres_uri, "t", "k", 1))) == [("small",), ("big",), ("huge",)]


@pytest.mark.parametrize(
    "options",
    [
        {"key": []},
        {"key": ["a", "a"]},
        {"key": 5},
        {"page_size": 0},
        {"page_size": True},
        {"start_after": (1, 2)},
        {"key": ["a", "b"], "start_after": (1, None)},
        {"query": "SELECT 1", "table_name": "t"},
        {"limit": -1},
    ],
)
def test_arguments_out_of_range_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        SQLPaginationInputAdapter("sqlite:///x.db", **{"key": "id", "table_name": "t", **options})


def test_a_start_that_is_no_value_of_the_key_is_refused(postgres_uri: str) -> None:
    load(postgres_uri, "people", PEOPLE, people(1))
    with pytest.raises(SourceError, match="start_after='x' is no value of the column 'id' of type int64"):
        pages(postgres_uri, start_after="x").open(ReadRequest())


# ---- while others write ---------------------------------------------------------------------------------------------


def test_rows_that_stay_are_read_once_while_others_come_and_go(uri: str) -> None:
    found: list[int] = []
    with pages(uri, page_size=10).open(ReadRequest(frozenset(["id"]))) as reader:
        for batch in reader:
            found += batch.batch.column("id").to_pylist()
            place = found[-1]
            execute(
                uri,
                f"DELETE FROM people WHERE id IN ({place}, {place + 1})",
                f"INSERT INTO people (id) VALUES ({place - 1000}), ({place + 1000})",
            )
    assert found == sorted(set(found))
    stayed = {n for n in range(40) if n % 11 != 10}
    assert stayed <= set(found)


def test_nothing_is_open_in_the_database_between_two_pages(postgres_uri: str) -> None:
    load(postgres_uri, "people", PEOPLE, people(*range(50)))
    sql = (
        "SELECT state, backend_xmin IS NULL FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pages(postgres_uri, page_size=10).open(ReadRequest()) as reader:
        for _ in reader:
            assert execute(postgres_uri, sql) == [("idle", True)]


def test_a_file_can_be_written_while_its_pages_are_read(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/t.sqlite"
    load(uri, "people", PEOPLE, people(*range(40)))
    assert path_of(uri).exists()
    with pages(uri, page_size=10).open(ReadRequest()) as reader:
        next(iter(reader))
        load(uri, "copy", PEOPLE, people(1))


def test_sqlite_columns_keep_the_types_of_the_first_page(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/t.sqlite"
    load(uri, "t", {"id": pa.int64(), "x": pa.float64()}, [(n, n / 2) for n in range(20)])
    query = "SELECT id, CASE WHEN id > 9 THEN CAST(x AS INTEGER) ELSE x END AS x FROM t"
    batches = batches_of(pages(uri, query=query, page_size=5))
    assert {str(batch.batch.schema.field("x").type) for batch in batches} == {"double"}
