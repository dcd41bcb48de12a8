"""Types that are a database's own: the values that its own Python driver would give, or a reject that says why."""

import datetime as dt
import json
import uuid
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import example, given

from tests.adapters.sql_support import batches_of, load, read, read_types, rows_of
from tests.databases import execute
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.sql import SQLInputAdapter
from zoopipe_core.adapters.sql_results import decimals, integers

UTC = dt.UTC
DUCKDB = pytest.mark.parametrize("database_uri", ["duckdb"], indirect=True)
SQLITE = pytest.mark.parametrize("database_uri", ["sqlite"], indirect=True)

# ---- PostgreSQL -----------------------------------------------------------------------------------------------------

POSTGRESQL = [
    ("1::smallint", 1),
    ("4.50::numeric(10,2)", Decimal("4.50")),
    ("5.123::numeric", Decimal("5.123")),
    ("1e-30::numeric", Decimal("1E-30")),
    (
        "12345678901234567890123456789012345678901234567890.5::numeric",
        Decimal("12345678901234567890123456789012345678901234567890.5"),
    ),
    ("1200::numeric(5,-2)", Decimal("1200")),
    ("'{\"a\": [1, null]}'::json", {"a": [1, None]}),
    ("'{\"a\": 1}'::jsonb", {"a": 1}),
    ("timestamptz '2024-07-01 12:00:00+02'", dt.datetime(2024, 7, 1, 10, tzinfo=UTC)),
    ("timestamp '0001-01-01'", dt.datetime.min),
    ("interval '3 days 1 hour'", dt.timedelta(days=3, hours=1)),
    ("interval '-2562050 hours -1 microsecond'", -dt.timedelta(hours=2562050, microseconds=1)),
    ("timetz '12:00:00+02'", "12:00:00+02"),
    ("'sad'::mood", "sad"),
    ("'abc'::varchar(5)", "abc"),
    ("'ab'::char(4)", "ab  "),
    ("inet '10.0.0.1'", "10.0.0.1"),
    ("int4range(1, 5)", "[1,5)"),
    ("money '$5.10'", "$5.10"),
    ("B'101'", "101"),
    ("point(1, 2)", "(1,2)"),
    ("ARRAY[1, 2]", [1, 2]),
    ("ARRAY[1.5, 2]", "{1.5,2}"),
    ("ARRAY['a', NULL]", ["a", None]),
    ("4000000000::oid", 4000000000),
    ("ROW(1, 'x')", "(1,x)"),
    ("'untyped'", "untyped"),
    ("NULL", None),
]


def test_postgresqls_types_as_its_python_driver_gives_them(postgres_uri: str) -> None:
    execute(postgres_uri, "SET lc_monetary = 'C'", "CREATE TYPE mood AS ENUM ('glad', 'sad')")
    columns = ", ".join(f"{sql} AS c{place}" for place, (sql, _) in enumerate(POSTGRESQL))
    (row,) = read(postgres_uri, query=f"SELECT {columns}")
    for (sql, expected), found in zip(POSTGRESQL, row, strict=True):
        assert (found, type(found)) == (expected, type(expected)), sql
    execute(postgres_uri, "CREATE TABLE t AS SELECT interval '1 day' AS i, 'glad'::mood AS m, 1.5::numeric AS n")
    assert read(postgres_uri, "t") == [(dt.timedelta(days=1), "glad", Decimal("1.5"))]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("'NaN'::numeric", "decimal_not_finite"),
        ("'-Infinity'::numeric", "decimal_not_finite"),
        ("10::numeric ^ 80", "decimal_not_finite"),
        ("interval '1 month'", "interval_months"),
        ("'infinity'::interval", "interval_months"),
    ],
)
def test_a_postgresql_value_without_a_type_in_arrow_makes_its_row_a_fault(
    postgres_uri: str, value: str, code: str
) -> None:
    fine = "interval '1 day'" if "interval" in value else "1.5"
    query = f"SELECT 1 AS id, {fine} AS x UNION ALL SELECT 2, {value} UNION ALL SELECT 3, {fine} ORDER BY id"
    (batch,) = batches_of(SQLInputAdapter(postgres_uri, query))
    assert batch.rows.tolist() == batch.batch.column("id").to_pylist() == [1, 3]
    (fault,) = batch.faults
    assert (fault.row, fault.type) == (2, code)
    assert "column 'x'" in fault.message
    assert json.loads(fault.raw) == {"id": 2, "x": f"({code})"}
    assert batch.num_records == 3


@pytest.mark.parametrize(
    "value", ["'infinity'::timestamptz", "'-infinity'::timestamp", "'infinity'::date", "date '0001-01-01 BC'"]
)
def test_a_postgresql_date_outside_of_pythons_calendar_is_no_other_date(postgres_uri: str, value: str) -> None:
    from zoopipe_core.errors import UnsupportedValueError

    with pytest.raises(UnsupportedValueError):
        read(postgres_uri, query=f"SELECT {value} AS x")


def test_a_wider_decimal_widens_its_batch_and_not_the_column(postgres_uri: str) -> None:
    query = "SELECT CASE WHEN i = 5 THEN 1e-20::numeric ELSE i END AS x FROM generate_series(1, 6) i ORDER BY i"
    adapter = SQLInputAdapter(postgres_uri, query)
    batches = batches_of(adapter, ReadRequest(batch_size=2))
    assert [str(batch.batch.schema.types[0]) for batch in batches] == [
        "decimal128(38, 9)",
        "decimal128(38, 9)",
        "decimal256(76, 20)",
    ]
    assert rows_of(batches) == [(1,), (2,), (3,), (4,), (Decimal("1E-20"),), (6,)]


# ---- DuckDB ---------------------------------------------------------------------------------------------------------

DUCKDB_VALUES = [
    ("2::HUGEINT", 2),
    ("170141183460469231731687303715884105727::HUGEINT", 2**127 - 1),
    ("sum(1::BIGINT)", 1),
    ("4.5::DECIMAL(38,3)", Decimal("4.500")),
    ("uuid '12345678-1234-5678-1234-567812345678'", uuid.UUID("12345678123456781234567812345678")),
    ("'{\"a\": [1, null]}'::JSON", {"a": [1, None]}),
    ("timestamptz '2024-07-01 12:00:00+02'", dt.datetime(2024, 7, 1, 10, tzinfo=UTC)),
    ("timestamp_s '2024-01-01 00:00:01'", dt.datetime(2024, 1, 1, 0, 0, 1)),
    ("timestamp_ns '2024-01-01 00:00:00.000001'", dt.datetime(2024, 1, 1, 0, 0, 0, 1)),
    ("'12:00:00+02'::TIMETZ", "12:00:00+02"),
    ("interval 3 day + interval 1 hour", dt.timedelta(days=3, hours=1)),
    ("interval '-2562050 hours'", -dt.timedelta(hours=2562050)),
    ("'b'::ENUM('a', 'b')", "b"),
    ("'101'::BIT", "101"),
    ("[1, 2]", [1, 2]),
    ("{'a': 1, 'b': [NULL]}", {"a": 1, "b": [None]}),
    ("MAP {'a': 1}", {"a": 1}),
    ("1.5::FLOAT", 1.5),
    ("18446744073709551615::UBIGINT", 2**64 - 1),
    ("'x'::BLOB", b"x"),
    ("NULL", None),
]


@DUCKDB
def test_duckdbs_types_as_its_python_client_gives_them(database_uri: str) -> None:
    columns = ", ".join(f"{sql} AS c{place}" for place, (sql, _) in enumerate(DUCKDB_VALUES))
    execute(database_uri, "SET TimeZone = 'America/New_York'", f"CREATE TABLE t AS SELECT {columns}")
    for (row,) in (read(database_uri, "t"), read(database_uri, query="SELECT * FROM t")):
        for (sql, expected), found in zip(DUCKDB_VALUES, row, strict=True):
            assert found == expected, sql
            if not isinstance(expected, int):
                assert type(found) is type(expected), sql


@DUCKDB
def test_an_interval_of_months_makes_its_row_a_fault(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t AS SELECT i AS id, to_months(i % 2) + to_days(1) AS x FROM range(4) r(i)")
    (batch,) = batches_of(SQLInputAdapter(database_uri, table_name="t"))
    assert rows_of([batch]) == [(0, dt.timedelta(days=1)), (2, dt.timedelta(days=1))]
    assert [(fault.row, fault.type) for fault in batch.faults] == [(2, "interval_months"), (4, "interval_months")]


@DUCKDB
def test_a_query_finds_tables_and_no_variables_of_this_process(database_uri: str) -> None:
    from zoopipe_core.errors import DatabaseError

    load(database_uri, "t", {"x": pa.int64()})
    url = pa.table({"x": [1]})  # noqa: F841  a name that callers up the stack have too
    for name in ("url", "table", "select"):
        with pytest.raises(DatabaseError, match="does not exist"):
            read(database_uri, query=f'SELECT * FROM "{name}"')


# ---- SQLite: any value in any column --------------------------------------------------------------------------------


@SQLITE
def test_a_query_gives_what_sqlite_gives(database_uri: str) -> None:
    types = {"d": pa.date32(), "b": pa.bool_(), "n": pa.decimal128(5, 2)}
    load(database_uri, "t", types, [(dt.date(2024, 1, 1), True, Decimal("1.50"))])
    assert read(database_uri, query="SELECT d, b, n, 1.5 AS f, x'00' AS y, NULL AS z FROM t") == [
        ("2024-01-01", 1, "1.50", 1.5, b"\0", None)
    ]


ALONE: dict[tuple[Any, ...], list[Any]] = {
    (0, 1, 2): [False, True, 2],
    ("2024-01-01", "yesterday"): [dt.date(2024, 1, 1), "yesterday"],
    ("a", b"\xffb"): ["a", b"\xffb"],
}


@SQLITE
@pytest.mark.parametrize(
    ("declared", "stored", "expected"),
    [
        ("DATE", ["2024-01-01", None], [dt.date(2024, 1, 1), None]),
        ("DATE", ["2024-01-01", "yesterday"], ["2024-01-01", "yesterday"]),
        ("DATE", [1704067200], [1704067200]),
        (
            "DATETIME",
            ["2024-01-01 10:00:00", "2024-01-01T10:00:00.5"],
            [dt.datetime(2024, 1, 1, 10), dt.datetime(2024, 1, 1, 10, 0, 0, 500000)],
        ),
        ("TIMESTAMP", ["2024-01-01 10:00:00+00:00"], ["2024-01-01 10:00:00+00:00"]),
        ("BOOLEAN", [0, 1, None], [False, True, None]),
        ("BOOLEAN", [0, 1, 2], [0, 1, 2]),
        ("BOOLEAN", ["yes"], ["yes"]),
        ("INTEGER", [1, "two", None], [1, "two", None]),
        ("INTEGER", [1, "two", 2.5], [1, "two", 2.5]),
        ("NUMERIC(10, 2)", [1, 2.5], [1, 2.5]),
        ("NUMERIC(10, 2)", [1, 2], [1, 2]),
        ("REAL", [1, 2.5], [1.0, 2.5]),
        ("", [1, "x", None], [1, "x", None]),
        ("", [2**53 + 1, 0.5], [2**53 + 1, 0.5]),
        ("TEXT", ["a", b"\xffb"], ["a", "\\xffb"]),
        ("UUID", ["not a uuid"], ["not a uuid"]),
        ("JSON_TEXT", ['{"a": 1}'], [{"a": 1}]),
        ("VARCHAR(3)", ["longer"], ["longer"]),
        ("TIME", ["25:00:00.000000"], ["25:00:00.000000"]),
        ("DECIMAL_TEXT(5, 2)", ["1.505"], ["1.505"]),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 10])
def test_a_cell_that_is_not_of_the_declared_type_is_kept_as_it_is(
    database_uri: str, declared: str, stored: list[Any], expected: list[Any], batch_size: int
) -> None:
    execute(database_uri, f"CREATE TABLE t (x {declared})")
    import sqlite3
    from contextlib import closing

    from tests.databases import path_of

    with closing(sqlite3.connect(path_of(database_uri))) as connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in stored])
        connection.commit()
    batches = batches_of(SQLInputAdapter(database_uri, table_name="t"), ReadRequest(batch_size=batch_size))
    found = [value for (value,) in rows_of(batches)]
    if batch_size == 1 and tuple(stored) in ALONE:  # a batch of one value knows nothing of the others
        assert list(map(repr, found)) == list(map(repr, ALONE[tuple(stored)]))
    else:
        assert found == expected


@SQLITE
def test_a_column_that_begins_with_nulls_takes_the_type_of_what_follows(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (x)", "INSERT INTO t VALUES (NULL), (NULL), (5), (NULL), ('a')")
    adapter = SQLInputAdapter(database_uri, "SELECT x FROM t")
    assert rows_of(batches_of(adapter, ReadRequest(batch_size=2))) == [(None,), (None,), (5,), (None,), ("a",)]
    assert read_types(database_uri, query="SELECT x FROM t WHERE x IS NULL") == {"x": pa.null()}


# ---- decoding -------------------------------------------------------------------------------------------------------

numbers = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda value: -40 < value.adjusted() < 60)


@example(values=[Decimal("5.528015870943702284349830818071E-29")], scale=0)
@example(values=[Decimal("430666385979661301439026174846")], scale=9)
@example(values=[Decimal("1e59"), Decimal("1e-39"), Decimal("12.5")], scale=9)
@example(values=[Decimal("9" * 60), Decimal("0." + "1" * 16)], scale=20)
@given(values=st.lists(st.none() | numbers, max_size=5), scale=st.integers(0, 20))
def test_decimals_are_decoded_exactly_or_not_at_all(values: list[Decimal | None], scale: int) -> None:
    texts = [None if value is None else f"{value:f}" for value in values]
    decoded = decimals(pa.decimal128(38, scale))(pa.array(texts, pa.string()))
    bad = [False] * len(values) if decoded.bad is None else decoded.bad.tolist()
    places = max((len(text.partition(".")[2]) for text in texts if text and digits_of(text) <= 76), default=0)
    for value, text, found, wrong in zip(values, texts, decoded.array.to_pylist(), bad, strict=True):
        if wrong:  # by itself, or beside the others: all of a column have the same number of places
            assert text is not None
            assert digits_of(text) > 76 or len(text.strip("-").partition(".")[0]) + places > 76
            assert found is None
        else:
            assert found == value


def digits_of(text: str) -> int:
    return len(text.replace("-", "").replace(".", ""))


@given(values=st.lists(st.none() | st.integers(-(2**128), 2**128), max_size=5))
def test_integers_are_decoded_exactly(values: list[int | None]) -> None:
    texts = pa.array([None if value is None else str(value) for value in values], pa.string())
    decoded = integers(texts)
    assert decoded.bad is None
    assert decoded.array.to_pylist() == values
    if all(value is None or -(2**63) <= value < 2**63 for value in values):
        assert decoded.array.type == pa.int64()
