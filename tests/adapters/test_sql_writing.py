"""SQL outputs: modes, one transaction, and values that no column may change."""

import datetime as dt
import json
import sqlite3
import subprocess
import sys
import threading
import uuid
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from tests.adapters.sql_support import (
    DROPS,
    IDS,
    PEOPLE,
    batch_of,
    begun,
    column_types,
    drop_row_2,
    finish,
    load,
    read,
    read_types,
)
from tests.databases import execute, path_of, tables_of
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.sql import SQLInputAdapter, SQLOutputAdapter
from zoopipe_core.adapters.sql_duckdb import DuckDB
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.source import number_rows
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    DatabaseError,
    TableExistsError,
    TableMismatchError,
    TargetError,
    UnsupportedTypeError,
    UnsupportedValueError,
)

UTC = dt.UTC
FILES = pytest.mark.parametrize("database_uri", ["duckdb", "sqlite"], indirect=True)
DUCKDB = pytest.mark.parametrize("database_uri", ["duckdb"], indirect=True)
SQLITE = pytest.mark.parametrize("database_uri", ["sqlite"], indirect=True)

# ---- modes ----------------------------------------------------------------------------------------------------------


def test_replace_leaves_the_new_rows_only(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a"), (2, "b")])
    load(database_uri, "t", PEOPLE, [(3, "c")])
    assert read(database_uri, "t") == [(3, "c")]


def test_replace_takes_new_columns_and_types(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a")])
    load(database_uri, "t", {"id": pa.string(), "when": pa.date32()}, [("x", dt.date(2024, 1, 1))])
    assert read(database_uri, "t") == [("x", dt.date(2024, 1, 1))]
    assert tables_of(database_uri) == {"t"}


def test_replace_of_the_same_columns_keeps_what_belongs_to_the_table(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)", "CREATE VIEW v AS SELECT id FROM t")
    execute(database_uri, "INSERT INTO t VALUES (1, 'old')")
    not_null = {"id": ColumnType(pa.int64(), nullable=False), "name": pa.string()}
    load(database_uri, "t", not_null, [(1, "new"), (2, "new")])
    assert execute(database_uri, "SELECT count(*) FROM v") == [(2,)]
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        execute(database_uri, "INSERT INTO t VALUES (1, 'again')")


def test_append_adds_rows_and_makes_a_table_that_is_missing(database_uri: str) -> None:
    for number in (1, 2):
        load(database_uri, "t", IDS, [(number,)], mode="append")
    assert read(database_uri, "t") == [(1,), (2,)]


def test_fail_makes_a_table_and_refuses_one_that_is_there_before_anything_is_written(database_uri: str) -> None:
    load(database_uri, "t", IDS, [(1,)], mode="fail")
    with pytest.raises(TableExistsError, match=r'::t exists and mode="fail"'):
        SQLOutputAdapter(database_uri, "t", "fail").open()
    assert read(database_uri, "t") == [(1,)]


@pytest.mark.parametrize("mode", ["append", "fail", "replace"])
def test_without_rows_the_table_is_there_with_its_columns(database_uri: str, mode: str) -> None:
    load(database_uri, "t", PEOPLE, mode=mode)
    assert execute(database_uri, "SELECT * FROM t") == []
    assert read_types(database_uri, "t") == PEOPLE


def test_a_view_is_no_target(database_uri: str) -> None:
    load(database_uri, "t", IDS, [(1,)])
    execute(database_uri, "CREATE VIEW v AS SELECT * FROM t")
    for mode in ("append", "replace"):
        with pytest.raises(TableMismatchError, match="::v is a view"):
            SQLOutputAdapter(database_uri, "v", mode).open()


@pytest.mark.parametrize("database_uri", ["duckdb", "postgresql"], indirect=True)
def test_a_schema_is_part_of_the_name(database_uri: str) -> None:
    execute(database_uri, "CREATE SCHEMA one", "CREATE SCHEMA two")
    for number, schema in enumerate(("one", "two")):
        load(database_uri, f"{schema}.t", IDS, [(number,)])
        load(database_uri, f"{schema}.t", IDS, [(number,)], mode="append")
    assert read(database_uri, "one.t") == [(0,), (0,)]
    assert read(database_uri, "two.t") == [(1,), (1,)]
    with pytest.raises(TargetError, match="no schema three"):
        SQLOutputAdapter(database_uri, "three.t").open()


@SQLITE
def test_sqlite_has_no_schemas_but_main(database_uri: str) -> None:
    load(database_uri, "main.t", IDS, [(1,)])
    assert read(database_uri, "t") == read(database_uri, "main.t") == [(1,)]
    with pytest.raises(TargetError, match="SQLite has no schemas"):
        SQLOutputAdapter(database_uri, "other.t").open()


def test_a_column_of_the_model_that_is_never_null_is_not_null(database_uri: str) -> None:
    types = {"id": ColumnType(pa.int64(), nullable=False), "name": ColumnType(pa.string())}
    load(database_uri, "t", types, [(1, None)])
    with pytest.raises(Exception, match=r"(?i)not.null"):
        execute(database_uri, "INSERT INTO t VALUES (NULL, 'x')")


# ---- one transaction ------------------------------------------------------------------------------------------------

OTHER: Any = {"id": pa.int64(), "extra": pa.string()}


@pytest.mark.parametrize("types", [PEOPLE, OTHER], ids=["same columns", "other columns"])
@pytest.mark.parametrize("end", ["abort at once", "abort later", "publish"])
def test_others_see_the_old_table_until_publish(database_uri: str, types: Any, end: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "old")])
    writer = begun(database_uri, "t", types, [(number, "new") for number in range(50_000)], [(2, "new")])
    assert execute(database_uri, "SELECT * FROM t") == [(1, "old")]
    if end != "abort at once":
        writer.prepare()
        if types is PEOPLE or not database_uri.startswith("postgresql"):  # there, a prepared DROP lets nobody read
            assert execute(database_uri, "SELECT * FROM t") == [(1, "old")]
    if end == "publish":
        writer.publish()
        writer.abort()
    else:
        writer.abort()
        writer.abort()
    left = (50_001,) if end == "publish" else (1,)
    assert execute(database_uri, "SELECT count(*) FROM t") == [left]
    assert tables_of(database_uri) == {"t"}


@pytest.mark.parametrize("prepared", [True, False])
def test_an_aborted_load_leaves_nothing(database_uri: str, prepared: bool) -> None:
    execute(database_uri, "CREATE TABLE canary (x INTEGER)")
    writer = begun(database_uri, "t", PEOPLE, [(1, "a")])
    if prepared:
        writer.prepare()
    writer.abort()
    assert tables_of(database_uri) == {"canary"}


@FILES
@pytest.mark.parametrize("prepared", [True, False])
def test_an_aborted_load_removes_the_file_and_folders_it_made(
    database_uri: str, tmp_path: Path, prepared: bool
) -> None:
    uri = database_uri.replace("/test.", "/new/folder/test.")
    writer = begun(uri, "t", PEOPLE, [(number, "a") for number in range(30_000)])
    if prepared:
        writer.prepare()
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@FILES
def test_a_file_with_another_table_in_it_stays(database_uri: str) -> None:
    writer = begun(database_uri, "t", IDS, [(1,)])
    load(database_uri, "rejects", IDS, [(2,)])
    writer.abort()
    assert tables_of(database_uri) == {"rejects"}


@FILES
def test_of_two_loads_into_a_new_file_one_may_fail(database_uri: str) -> None:
    rows, rejects = begun(database_uri, "t", IDS, [(1,)]), begun(database_uri, "rejects", IDS, [(2,)])
    rows.abort()
    rejects.prepare()
    rejects.publish()
    assert tables_of(database_uri) == {"rejects"}
    rows, rejects = begun(database_uri, "t", IDS, [(1,)]), begun(database_uri, "rejects", IDS, [(2,)])
    rows.abort()
    rejects.abort()
    assert tables_of(database_uri) == {"rejects"}


def test_rows_and_rejects_may_go_into_one_database(database_uri: str) -> None:
    rows, rejects = begun(database_uri, "t", IDS, [(1,)]), begun(database_uri, "rejects", IDS, [(2,)])
    rows.prepare()
    rejects.prepare()
    rejects.publish()
    rows.publish()
    assert (read(database_uri, "t"), read(database_uri, "rejects")) == ([(1,)], [(2,)])


def test_a_load_may_read_and_write_the_same_database(database_uri: str) -> None:
    load(database_uri, "a", PEOPLE, [(number, "x") for number in range(5000)])
    for _ in range(2):
        with SQLInputAdapter(database_uri, table_name="a").open(ReadRequest(batch_size=1000)) as reader:
            writer = SQLOutputAdapter(database_uri, "b").open()
            writer.start(reader.columns or {})
            for batch in reader:
                writer.write(ModelBatch.from_arrow(batch.batch, batch.rows, batch.source))
            finish(writer)
    assert execute(database_uri, "SELECT count(*), min(id), max(id) FROM b") == [(5000, 0, 4999)]


@DUCKDB
def test_a_notebook_that_has_the_duckdb_file_open_sees_the_load(database_uri: str) -> None:
    """Two instances in one process would not see each other's rows and corrupt the file."""
    with duckdb.connect(str(path_of(database_uri))) as mine:
        mine.execute("CREATE TABLE mine AS SELECT 1 AS id")
        load(database_uri, "t", IDS, [(7,)])
        assert mine.execute("SELECT * FROM t").fetchall() == [(7,)]
        assert read(database_uri, "mine") == [(1,)]
        mine.execute("INSERT INTO t VALUES (8)")
    assert read(database_uri, "t") == [(7,), (8,)]


@SQLITE
def test_another_sqlite_connection_of_the_process_does_no_harm(database_uri: str) -> None:
    """With a second copy of the library, a SELECT during a large load left a corrupt file."""
    load(database_uri, "t", PEOPLE, [(number, f"old{number}") for number in range(50_000)])
    writer = begun(database_uri, "t", PEOPLE, [(number, f"new{number}") for number in range(80_000)])
    assert execute(database_uri, "SELECT count(*), min(name) FROM t") == [(50_000, "old0")]
    writer.prepare()
    assert execute(database_uri, "SELECT count(*), min(name) FROM t") == [(50_000, "old0")]
    writer.publish()
    assert execute(database_uri, "SELECT count(*), min(name) FROM t") == [(80_000, "new0")]
    assert execute(database_uri, "PRAGMA integrity_check") == [("ok",)]


def test_of_two_loads_that_replace_at_the_same_time_one_stays(postgres_uri: str) -> None:
    load(postgres_uri, "t", PEOPLE, [(0, "old")])
    first = begun(postgres_uri, "t", PEOPLE, [(1, "first")])
    first.prepare()
    second = threading.Thread(target=load, args=(postgres_uri, "t", PEOPLE, [(2, "second")]))
    second.start()
    second.join(0.3)
    assert second.is_alive()  # waits for the lock, since it would not see the first one's rows
    first.publish()
    second.join(20)
    assert read(postgres_uri, "t") == [(2, "second")]


def test_a_table_that_comes_up_during_the_load_is_not_written_over(database_uri: str) -> None:
    writer = SQLOutputAdapter(database_uri, "t", "fail").open()
    writer.start(column_types(IDS))
    execute(database_uri, "CREATE TABLE t (id BIGINT)", "INSERT INTO t VALUES (99)")
    writer.write(batch_of(IDS, [(1,)]))
    with pytest.raises((TargetError, DatabaseError), match=r"(?i)exists|created"):
        finish(writer)
    writer.abort()
    assert execute(database_uri, "SELECT id FROM t") == [(99,)]


def test_a_violated_constraint_fails_the_load_with_its_name_and_changes_nothing(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)", "INSERT INTO t VALUES (1, 'old')")
    with pytest.raises(DatabaseError, match=r"(?i)unique|duplicate"):
        load(database_uri, "t", PEOPLE, [(2, "new"), (1, "new")], mode="append")
    assert execute(database_uri, "SELECT * FROM t") == [(1, "old")]


@pytest.mark.parametrize("mode", ["append", "replace"])
@pytest.mark.parametrize("database_uri", ["postgresql", "sqlite"], indirect=True)
def test_a_trigger_that_drops_rows_is_noticed(database_uri: str, mode: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT)", "INSERT INTO t VALUES (0)")
    drop_row_2(database_uri)
    load(database_uri, "t", IDS, [(1,)], mode=mode)
    before = read(database_uri, "t")
    with pytest.raises(TargetError, match=r"2 rows were given to .* holds 1 of them"):
        load(database_uri, "t", IDS, [(2,), (3,)], mode=mode)
    assert read(database_uri, "t") == before


def test_a_trigger_that_a_new_table_is_given_is_noticed(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        f"CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS $$ {DROPS} $$",
        "CREATE FUNCTION adorn() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN IF to_regclass('t') IS NOT NULL"
        " THEN CREATE TRIGGER drops BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION drops(); END IF; END $$",
        "CREATE EVENT TRIGGER adorns ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION adorn()",
    )
    with pytest.raises(TargetError, match=r"2 rows were given to .* holds 1 of them"):
        load(postgres_uri, "t", IDS, [(2,), (3,)])
    assert tables_of(postgres_uri) == set()


@DUCKDB
@pytest.mark.parametrize(
    ("most_bytes", "chunks"), [(10_000, [300, 200]), (1700, [200, 200, 100]), (100, [15] * 33 + [5])]
)
def test_duckdb_is_given_whole_row_groups_if_they_are_not_too_large(
    database_uri: str, monkeypatch: pytest.MonkeyPatch, most_bytes: int, chunks: list[int]
) -> None:
    given = []
    ingest = DuckDB.ingest

    def counted(self: DuckDB, table: Any, chunk: Any, **options: Any) -> int:
        given.append(sum(batch.num_rows for batch in chunk))
        return ingest(self, table, chunk, **options)

    monkeypatch.setattr(DuckDB, "ingest", counted)
    monkeypatch.setattr(DuckDB, "chunk_rows", 100)
    monkeypatch.setattr(DuckDB, "chunks_at_once", 3)
    monkeypatch.setattr("zoopipe_core.adapters.sql_writer.CHUNK_BYTES", most_bytes)
    rows = [(number,) for number in range(500)]
    load(database_uri, "t", IDS, *(rows[start : start + 15] for start in range(0, 500, 15)))
    assert given == chunks
    assert read(database_uri, "t") == rows


# ---- append: into columns that are there ----------------------------------------------------------------------------


def test_append_matches_columns_by_name_and_leaves_the_others_to_the_table(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (a BIGINT NOT NULL DEFAULT 7, name TEXT, b TEXT, id BIGINT)")
    load(database_uri, "t", PEOPLE, [(1, "x")], mode="append")
    assert execute(database_uri, "SELECT a, b, id, name FROM t") == [(7, None, 1, "x")]


def test_append_refuses_columns_that_the_table_does_not_have(database_uri: str) -> None:
    load(database_uri, "t", IDS, [(1,)])
    with pytest.raises(TableMismatchError, match=r"has no column 'name'; it has id\."):
        load(database_uri, "t", PEOPLE, [(1, "x")], mode="append")


def test_append_refuses_to_leave_a_required_column_empty(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT, code TEXT NOT NULL)")
    with pytest.raises(TableMismatchError, match="'code', which is NOT NULL and has no default"):
        load(database_uri, "t", IDS, [(1,)], mode="append")


@pytest.mark.parametrize(
    ("given", "existing", "new"),
    [
        (pa.string(), "BIGINT", r"text|VARCHAR|TEXT"),
        (pa.float64(), "BIGINT", r"double|DOUBLE"),
        (pa.int64(), "TEXT", r"bigint|BIGINT"),
        (pa.timestamp("us", "UTC"), "TIMESTAMP", r"timestamp with time zone|TIMESTAMP WITH TIME ZONE|TIMESTAMPTZ"),
        (pa.float64(), "BOOLEAN", r"double|DOUBLE"),
        (pa.bool_(), "BLOB", r"boolean|BOOLEAN"),
    ],
)
def test_append_refuses_a_type_that_might_change_values(
    database_uri: str, given: pa.DataType, existing: str, new: str
) -> None:
    existing = "BYTEA" if database_uri.startswith("postgresql") and existing == "BLOB" else existing
    execute(database_uri, f"CREATE TABLE t (x {existing})")
    with pytest.raises(TableMismatchError, match=rf"the column 'x' of .* is of type .* does not take ({new})"):
        load(database_uri, "t", {"x": given}, mode="append")


@pytest.mark.parametrize("database_uri", ["duckdb", "postgresql"], indirect=True)
@pytest.mark.parametrize(
    ("given", "existing", "good", "bad"),
    [
        (pa.int64(), "INTEGER", 2**31 - 1, 2**31),
        (pa.int64(), "SMALLINT", -(2**15), 2**15),
        (pa.int64(), "DOUBLE PRECISION", 2**53, 2**53 + 1),
        (pa.int64(), "NUMERIC(10, 2)", 12345678, 123456789),
        (pa.decimal128(38, 9), "NUMERIC(10, 2)", Decimal("12345678.25"), Decimal("1.001")),
        (pa.decimal128(38, 9), "NUMERIC(10, 2)", Decimal("-0.1"), Decimal("123456789.1")),
    ],
)
def test_append_takes_values_that_fit_and_names_the_first_that_does_not(
    database_uri: str, given: pa.DataType, existing: str, good: Any, bad: Any
) -> None:
    execute(database_uri, f"CREATE TABLE t (x {existing})")
    load(database_uri, "t", {"x": given}, [(good,), (None,)], mode="append")
    assert read(database_uri, "t") == [(good,), (None,)]
    with pytest.raises(UnsupportedValueError, match=r"column 'x', row 2 of source\.csv: the value .* does not fit"):
        load(database_uri, "t", {"x": given}, [(good,), (bad,)], mode="append")
    assert read(database_uri, "t") == [(good,), (None,)]


def test_append_takes_uuids_and_json_into_text_and_reals_into_doubles(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (u TEXT, j TEXT, f DOUBLE PRECISION)")
    types = {"u": pa.uuid(), "j": pa.json_(), "f": pa.float32()}
    load(database_uri, "t", types, [(uuid.UUID(int=1), {"a": [1]}, 1.5), (None, None, None)], mode="append")
    assert read(database_uri, "t") == [(str(uuid.UUID(int=1)), '{"a":[1]}', 1.5), (None, None, None)]


def test_postgresqls_own_types_take_what_they_hold(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        "CREATE TYPE mood AS ENUM ('glad', 'sad')",
        "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
        "CREATE TABLE t (m mood, j jsonb, v varchar(3), n numeric, p positive, s serial NOT NULL)",
    )
    types = {"m": pa.string(), "j": pa.json_(), "v": pa.string(), "n": pa.decimal128(38, 9), "p": pa.int64()}
    load(postgres_uri, "t", types, [("sad", {"b": [1, None]}, "äöü", Decimal("0.000000001"), 1)], mode="append")
    load(postgres_uri, "t", types, [(None,) * 5], mode="append")
    sql = "SELECT m::text, j::text, v, n::text, p::bigint, s::bigint FROM t ORDER BY s"
    assert execute(postgres_uri, sql) == [
        ("sad", '{"b": [1, null]}', "äöü", "0.000000001", 1, 1),
        (None, None, None, None, None, 2),
    ]
    with pytest.raises(UnsupportedValueError, match=r"column 'v', row 1 .*'?abcd'?: the column takes 3 characters"):
        load(postgres_uri, "t", {"v": pa.string()}, [("abcd",)], mode="append")
    with pytest.raises(DatabaseError, match="invalid input value for enum mood"):
        load(postgres_uri, "t", {"m": pa.string()}, [("angry",)], mode="append")
    with pytest.raises(DatabaseError, match="positive_check"):
        load(postgres_uri, "t", {"p": pa.int64()}, [(-1,)], mode="append")


@pytest.mark.parametrize("database_uri", ["postgresql", "sqlite"], indirect=True)
def test_a_computed_column_takes_nothing(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT, twice BIGINT GENERATED ALWAYS AS (id * 2) STORED)")
    load(database_uri, "t", IDS, [(2,)], mode="append")
    assert execute(database_uri, "SELECT id, twice FROM t") == [(2, 4)]
    with pytest.raises(TableMismatchError, match=r"'twice' of .* is computed"):
        load(database_uri, "t", {"id": pa.int64(), "twice": pa.int64()}, mode="append")


@SQLITE
def test_sqlite_keeps_decimals_from_columns_that_would_make_them_doubles(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (x NUMERIC(10, 2))")
    with pytest.raises(TableMismatchError, match=r"NUMERIC\(10, 2\) and does not take DECIMAL_TEXT"):
        load(database_uri, "t", {"x": pa.decimal128(10, 2)}, mode="append")


# ---- columns that are open at first ---------------------------------------------------------------------------------

OPEN = {"id": ColumnType(pa.int64()), "at": ColumnType(pa.timestamp("us", "UTC"), open_zone=True)}
NAIVE, AWARE = dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("mode", ["append", "replace"])
@pytest.mark.parametrize("before", [0, 1, 70_000])
@pytest.mark.parametrize("value", [NAIVE, AWARE])
def test_the_first_datetime_decides_between_naive_and_aware(
    database_uri: str, value: Any, before: int, mode: str
) -> None:
    for _ in range(2):
        load(database_uri, "t", OPEN, [(number, None) for number in range(before)], [(-1, value)], mode=mode)
    at = [row for _, row in read(database_uri, query='SELECT id, "at" FROM t WHERE id = -1')]
    expected: Any = value
    if database_uri.startswith("sqlite"):
        expected = "2024-01-01 00:00:00.000000" + ("" if value.tzinfo is None else "+00:00")
    assert at == [expected] * (2 if mode == "append" else 1)
    assert read_types(database_uri, "t")["at"] == pa.timestamp("us", None if value.tzinfo is None else "UTC")


def test_without_any_datetime_the_column_is_aware(database_uri: str) -> None:
    load(database_uri, "t", OPEN, [(1, None)])
    assert read_types(database_uri, "t")["at"] == pa.timestamp("us", "UTC")


def test_naive_and_aware_datetimes_are_not_mixed(database_uri: str) -> None:
    with pytest.raises(
        UnsupportedValueError, match=r"column 'at', row 1 of .*holds aware datetimes and this one is naive"
    ):
        load(database_uri, "t", OPEN, [(1, AWARE)], [(2, NAIVE)])


def test_a_column_without_values_is_text_until_it_has_some(database_uri: str) -> None:
    load(database_uri, "t", {"x": pa.null()}, [(None,)])
    assert read_types(database_uri, "t") == {"x": pa.string()}
    writer = SQLOutputAdapter(database_uri, "t").open()
    writer.start(column_types({"x": pa.null()}))
    writer.write(batch_of({"x": pa.null()}, [(None,)] * 70_000))
    writer.write(batch_of({"x": pa.int64()}, [(5,)]))
    finish(writer)
    assert read_types(database_uri, "t") == {"x": pa.int64()}
    assert execute(database_uri, "SELECT count(*), max(x) FROM t") == [(70_001, 5)]


# ---- what cannot be written -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.int64()), pa.struct({"a": pa.int64()}), pa.month_day_nano_interval(), pa.decimal128(5, -2)]
)
def test_a_type_that_the_database_does_not_have_is_named_at_once(database_uri: str, kind: pa.DataType) -> None:
    writer = SQLOutputAdapter(database_uri, "t").open()
    with pytest.raises(UnsupportedTypeError) as caught:
        writer.start({"id": ColumnType(pa.int64()), "odd": ColumnType(kind)})
    writer.abort()
    assert f"'odd' is of type {kind}" in str(caught.value)
    assert "::t" in str(caught.value)


@DUCKDB
def test_duckdb_decimals_end_at_38_digits(database_uri: str) -> None:
    with pytest.raises(UnsupportedTypeError, match=r"'x' is of type decimal256\(40, 2\)"):
        load(database_uri, "t", {"x": pa.decimal256(40, 2)})


@pytest.mark.parametrize("database_uri", ["postgresql", "sqlite"], indirect=True)
def test_large_decimals_are_exact(database_uri: str) -> None:
    value = Decimal("-1234567890123456789012345678901234567890.0000000001")
    load(database_uri, "t", {"x": pa.decimal256(60, 10)}, [(value,)])
    assert read(database_uri, "t") == [(value,)]


def test_a_value_that_the_type_cannot_hold_is_named_with_its_row(database_uri: str) -> None:
    with pytest.raises(
        UnsupportedValueError, match=r"column 'id', row 2 of source\.csv: the value 9223372036854775808"
    ):
        load(database_uri, "t", IDS, [(1,), (2**63,)])
    assert tables_of(database_uri) == set()


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")])
def test_dates_outside_of_the_calendar_are_refused(database_uri: str, kind: pa.DataType) -> None:
    far = pa.array([0, 2**31 - 1], pa.int32()).cast(kind) if kind == pa.date32() else pa.array([0, 2**62]).cast(kind)
    batch = ModelBatch.from_arrow(pa.RecordBatch.from_pydict({"x": far}), number_rows(1, 2), "source.parquet")
    writer = SQLOutputAdapter(database_uri, "t").open()
    writer.start(batch.types)
    with pytest.raises(UnsupportedValueError, match=r"column 'x', row 2 of source\.parquet: .* outside of the years"):
        writer.write(batch)
    writer.abort()


def test_postgresql_texts_hold_no_nul_and_its_json_no_nan(postgres_uri: str) -> None:
    with pytest.raises(UnsupportedValueError, match=r"column 'x', row 2 of source\.csv: the value .*NUL"):
        load(postgres_uri, "t", {"x": pa.string()}, [("a",), ("a\0b",)])
    with pytest.raises(UnsupportedValueError, match=r"column 'x', row 3 of source\.csv: .*neither NaN nor infinities"):
        load(postgres_uri, "t", {"x": pa.json_()}, [(["NaN"],), ("Infinity",), ([float("nan")],)])
    load(postgres_uri, "t", {"x": pa.json_()}, [(["NaN"],), ("Infinity",), ("\0",)])
    assert read(postgres_uri, "t") == [(["NaN"],), ("Infinity",), ("\0",)]


@FILES
def test_duckdb_and_sqlite_texts_hold_nul(database_uri: str) -> None:
    load(database_uri, "t", {"x": pa.string()}, [("a\0b",)])
    assert read(database_uri, "t") == [("a\0b",)]


@SQLITE
def test_sqlite_refuses_nan_and_keeps_infinity(database_uri: str) -> None:
    with pytest.raises(UnsupportedValueError, match=r"column 'x', row 2 of source\.csv: the value nan: .*NULL"):
        load(database_uri, "t", {"x": pa.float64()}, [(1.0,), (float("nan"),)])
    load(database_uri, "t", {"x": pa.float64()}, [(float("inf"),)])
    assert read(database_uri, "t") == [(float("inf"),)]


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800"])
def test_a_column_without_a_usable_name_is_refused(database_uri: str, name: str) -> None:
    with pytest.raises(TargetError, match="cannot be created"):
        load(database_uri, "t", {name: pa.int64()})


def test_columns_that_differ_in_case_only_are_refused_where_case_does_not_count(database_uri: str) -> None:
    types = {"id": pa.int64(), "ID": pa.int64()}
    if database_uri.startswith("postgresql"):
        load(database_uri, "t", types, [(1, 2)])
        assert read(database_uri, "t") == [(1, 2)]
        return
    with pytest.raises(TargetError, match="'id' and 'ID' are one and the same"):
        load(database_uri, "t", types)


def test_a_table_needs_columns_and_keeps_to_them(database_uri: str) -> None:
    with pytest.raises(TargetError, match="without columns"):
        load(database_uri, "t", {})
    writer = begun(database_uri, "t", IDS, [(1,)])
    with pytest.raises(TargetError, match="begun without them: name"):
        writer.write(batch_of(PEOPLE, [(2, "x")]))
    writer.abort()
    writer = begun(database_uri, "t", PEOPLE, [(1, "a")])
    writer.write(batch_of(IDS, [(2,)]))
    finish(writer)
    assert read(database_uri, "t") == [(1, "a"), (2, None)]


# ---- other processes ------------------------------------------------------------------------------------------------


@FILES
def test_a_process_that_dies_within_a_load_leaves_the_old_table(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "old")])
    code = (
        "import os, sys; from tests.adapters.sql_support import *\n"
        "writer = begun(sys.argv[1], 't', PEOPLE, [(n, 'new') for n in range(50000)])\n"
        "writer.prepare(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, database_uri], check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == -9
    assert read(database_uri, "t") == [(1, "old")]
    assert tables_of(database_uri) == {"t"}
    load(database_uri, "t", PEOPLE, [(2, "new")])
    assert read(database_uri, "t") == [(2, "new")]


def test_json_is_stored_as_json_and_not_as_text_in_quotes(database_uri: str) -> None:
    load(database_uri, "t", {"x": pa.json_()}, [({"a": "ä", "n": 10**30},)])
    (text,) = execute(database_uri, "SELECT CAST(x AS VARCHAR(100)) FROM t")[0]
    assert json.loads(text) == {"a": "ä", "n": 10**30}


@SQLITE
def test_sqlite_has_plain_values_that_its_own_functions_understand(database_uri: str) -> None:
    types = {"d": pa.date32(), "at": pa.timestamp("us", "UTC"), "n": pa.decimal128(10, 2), "b": pa.bool_()}
    load(
        database_uri,
        "t",
        types,
        [(dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 12, tzinfo=UTC), Decimal("1.50"), True)],
    )
    with closing(sqlite3.connect(path_of(database_uri))) as connection:
        row = connection.execute('SELECT d, "at", n, b, strftime(\'%j\', d), unixepoch("at") FROM t').fetchone()
    assert row == ("2024-02-29", "2024-02-29 12:00:00.000000+00:00", "1.50", 1, "060", 1709208000)
