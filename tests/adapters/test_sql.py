"""SQL adapters: what is asked, what is shown, what comes back."""

import datetime as dt
import pickle
import uuid
from decimal import Decimal
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import SecretStr

from tests.adapters.sql_support import (
    IDS,
    PEOPLE,
    batches_of,
    load,
    read,
    read_types,
    rows_of,
)
from tests.databases import execute
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.sql import SQLInputAdapter, SQLOutputAdapter
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.source import SourceKind, number_rows
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceNotFoundError, SpecError

UTC = dt.UTC
DAY = dt.timedelta(days=1)

# ---- what an adapter is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "label"),
    [
        ("duckdb:///wh.db", "duckdb:///wh.db::t"),
        ("duckdb:////data/wh.db", "duckdb:////data/wh.db::t"),
        ("sqlite:///app.db", "sqlite:///app.db::t"),
        ("postgresql://me:secret@host:5433/sales", "postgresql://host:5433/sales::t"),
        ("postgres://host/sales", "postgresql://host/sales::t"),
        ("postgresql+psycopg2://me:secret@host/sales", "postgresql://host/sales::t"),
        ("postgresql://me@/sales?host=/var/run&password=secret", "postgresql:///sales::t"),
        ("postgresql://me:p%40ss@a:1,b:2/sales", "postgresql://a:1,b:2/sales::t"),
        (SecretStr("postgresql://me:secret@host/sales"), "postgresql://host/sales::t"),
    ],
)
def test_a_label_names_database_and_table_and_no_secret(uri: Any, label: str) -> None:
    source, target = SQLInputAdapter(uri, table_name="t"), SQLOutputAdapter(uri, "t")
    assert source.label == target.label == label
    for shown in (repr(source), str(source), repr(target), str(target)):
        assert label.removesuffix("::t") in shown
        assert "secret" not in shown
        assert "ss@" not in shown


def test_a_callable_is_not_called_before_the_adapter_is_opened() -> None:
    def vault() -> str:
        raise AssertionError("called")

    adapter = SQLOutputAdapter(vault, "t")
    assert adapter.label == "vault()::t"
    assert "vault()" in repr(adapter)


def test_a_callable_and_a_secret_name_the_database(database_uri: str) -> None:
    load(lambda: SecretStr(database_uri), "t", IDS, [(1,)])
    assert read(SecretStr(database_uri), "t") == read(lambda: database_uri, "t") == [(1,)]


@pytest.mark.parametrize(
    "adapter", [SQLInputAdapter("duckdb:///a.db", "SELECT 1"), SQLOutputAdapter("sqlite:///a", "t")]
)
def test_adapters_are_values_that_pickle(adapter: Any) -> None:
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    with pytest.raises(AttributeError):
        adapter.uri = "duckdb:///b.db"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "give either query= or table_name=, not neither"),
        ({"query": "SELECT 1", "table_name": "t"}, "give either query= or table_name=, not both"),
        ({"query": "  "}, "query has to be a SELECT"),
        ({"table_name": ""}, "no table name"),
        ({"table_name": "a.b.c"}, "no table name"),
        ({"table_name": "a."}, "no table name"),
        ({"table_name": '"a'}, "no table name"),
        ({"table_name": "a\0b"}, "NUL"),
        ({"table_name": "a\ud800"}, "surrogate"),
        ({"table_name": 5}, "has to be a text"),
        ({"table_name": "t", "limit": -1}, "limit has to be 0 or more"),
    ],
)
def test_an_input_that_cannot_work_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SQLInputAdapter("duckdb:///wh.db", **arguments)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("wh.db", "no scheme://"),
        ("mysql://me:secret@host/db", "known for mysql://; known are duckdb:///"),
        ("duckdb://wh.db", r"three slashes for a file, duckdb:///wh\.db"),
        ("duckdb:///:memory:", "in memory"),
        ("duckdb://", "in memory"),
        ("sqlite:///", "in memory"),
        ("duckdb:///wh.db?access_mode=read_only", "no parameters"),
        ("postgresql://me:secret/x@host/db", "percent-encoded"),
        ("postgresql://me:secret?x@host/db", "percent-encoded"),
        ("postgresql://me:x@secret/y@host/db", "percent-encoded"),
        (5, "not by int"),
    ],
)
def test_a_url_that_cannot_work_is_refused_without_showing_it(uri: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        SQLOutputAdapter(uri, "t")
    assert "secret" not in str(caught.value)


def test_an_unknown_mode_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SpecError, match="'append', 'fail', 'merge', 'replace', not 'upsert'"):
        SQLOutputAdapter("duckdb:///wh.db", "t", mode="upsert")


def test_a_callable_has_to_return_a_url() -> None:
    with pytest.raises(SpecError, match="has to return a URL, not int"):
        SQLOutputAdapter(lambda: 5, "t").open()  # type: ignore[arg-type,return-value]


def test_relative_paths_are_relative_to_the_working_directory(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for scheme in ("duckdb", "sqlite"):
        load(f"{scheme}:///new/folder/{scheme}.db", "t", IDS, [(1,)])
        assert read(f"{scheme}:///{tmp_path}/new/folder/{scheme}.db", "t") == [(1,)]


# ---- round trip -----------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    # PostgreSQL's json keeps any text but a half surrogate; the text of a NUL is an escape.
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "integer": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "float": (pa.float64(), st.floats(allow_nan=False)),
    "text": (pa.string(), st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)),
    "boolean": (pa.bool_(), st.booleans()),
    "date": (pa.date32(), st.dates()),
    "naive": (pa.timestamp("us"), st.datetimes()),
    "aware": (pa.timestamp("us", "UTC"), st.datetimes(timezones=st.just(UTC))),
    "time": (pa.time64("us"), st.times()),
    "duration": (pa.duration("us"), st.timedeltas(-100_000_000 * DAY, 100_000_000 * DAY)),
    "decimal": (pa.decimal128(20, 3), st.decimals(-(10**16), 10**16, places=3)),
    "uuid": (pa.uuid(), st.uuids()),
    "json": (pa.json_(), json_values),
    "bytes": (pa.binary(), st.binary(max_size=20)),
}
TYPES = {name: kind for name, (kind, _) in VALUES.items()}
ROWS = st.lists(st.tuples(*(st.none() | values for _, values in VALUES.values())), max_size=25)
EDGES: list[tuple[Any, ...]] = [
    (
        *(2**63 - 1, float("inf"), "", True, dt.date.min, dt.datetime.min, dt.datetime.min.replace(tzinfo=UTC)),
        *(dt.time.min, -200_000 * DAY, Decimal("1.500"), uuid.UUID(int=0), {"a": [1, 2.5, None, {"b": ""}]}, b""),
    ),
    (
        *(-(2**63), 5e-324, "\U0001f600\n\t\"'\\;--", False, dt.date.max, dt.datetime.max),
        *(dt.datetime.max.replace(tzinfo=UTC), dt.time.max, 200_000 * DAY, Decimal("-99999999999999999.999")),
        *(uuid.UUID(int=2**128 - 1), [], bytes(range(256))),
    ),
    (None,) * len(TYPES),
]


@given(rows=ROWS)
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_written_is_read_back_as_the_same_values_of_the_same_types(database_uri: str, rows: list[Any]) -> None:
    for mode in ("replace", "append"):
        load(database_uri, "t", TYPES, [*rows, *EDGES], mode=mode)
    found = read(database_uri, "t")
    assert found == [*rows, *EDGES] * 2
    for row, given_row in zip(found, [*rows, *EDGES] * 2, strict=True):
        assert list(map(type, row)) == list(map(type, given_row))
    execute(database_uri, 'DROP TABLE "t"')


def test_a_table_read_back_has_the_types_it_was_written_with(database_uri: str) -> None:
    load(database_uri, "t", TYPES)
    assert read_types(database_uri, "t") == TYPES


@pytest.mark.parametrize("database_uri", ["duckdb", "postgresql"], indirect=True)
def test_the_sign_of_zero_and_nan_come_back(database_uri: str) -> None:
    load(database_uri, "t", {"x": pa.float64()}, [(-0.0,), (float("nan"),), (float("-inf"),)])
    assert repr(read(database_uri, "t")) == "[(-0.0,), (nan,), (-inf,)]"


NARROW: dict[str, tuple[pa.DataType, list[Any]]] = {
    "i8": (pa.int8(), [-128, 127]),
    "i16": (pa.int16(), [-(2**15), 2**15 - 1]),
    "i32": (pa.int32(), [-(2**31), 2**31 - 1]),
    "u8": (pa.uint8(), [0, 255]),
    "u16": (pa.uint16(), [0, 2**16 - 1]),
    "u32": (pa.uint32(), [0, 2**32 - 1]),
    "f32": (pa.float32(), [1.5, -0.25]),
    "large": (pa.large_string(), ["a", ""]),
    "enum": (pa.dictionary(pa.int8(), pa.string()), ["a", "b"]),
    "ms": (pa.timestamp("ms"), [dt.datetime(2024, 2, 29, 12), dt.datetime(1900, 1, 1)]),
    "paris": (
        pa.timestamp("s", "Europe/Paris"),
        [dt.datetime(2024, 7, 1, tzinfo=UTC), dt.datetime(1999, 1, 1, tzinfo=UTC)],
    ),
    "time": (pa.time32("s"), [dt.time(1, 2, 3), dt.time()]),
    "ns": (pa.duration("ns"), [DAY, -DAY]),
    "fixed": (pa.binary(2), [b"ab", b"\0\0"]),
    "nothing": (pa.null(), [None, None]),
}


def test_columns_of_typed_sources_keep_their_values(database_uri: str) -> None:
    arrays = {name: pa.array(values, kind) for name, (kind, values) in NARROW.items()}
    batch = ModelBatch.from_arrow(pa.RecordBatch.from_pydict(arrays), number_rows(1, 2), "source.parquet")
    writer = SQLOutputAdapter(database_uri, "t").open()
    writer.start(batch.types)
    writer.write(batch)
    writer.prepare()
    writer.publish()
    assert read(database_uri, "t") == list(zip(*(values for _, values in NARROW.values()), strict=True))


# ---- reading --------------------------------------------------------------------------------------------------------


def test_rows_are_typed_and_numbered_from_one(database_uri: str) -> None:
    load(database_uri, "t", IDS, [(number,) for number in range(10)])
    batches = batches_of(SQLInputAdapter(database_uri, table_name="t"), ReadRequest(batch_size=4))
    assert {batch.kind for batch in batches} == {SourceKind.TYPED}
    assert [int(row) for batch in batches for row in batch.rows] == list(range(1, 11))
    assert {batch.source for batch in batches} == {SQLInputAdapter(database_uri, table_name="t").label}


def test_of_a_table_only_the_columns_wanted_are_read_and_all_are_known(database_uri: str) -> None:
    load(database_uri, "t", {"a": pa.int64(), "b": pa.string(), "c": pa.uuid()}, [(1, "x", uuid.UUID(int=1))])
    with SQLInputAdapter(database_uri, table_name="t").open(ReadRequest(frozenset({"b", "z"}))) as reader:
        assert reader.columns is not None
        assert list(reader.columns) == ["a", "b", "c"]
        (batch,) = reader
    assert batch.batch.to_pydict() == {"b": ["x"]}
    everything = ReadRequest(frozenset({"b"}), keep_all=True)
    assert rows_of(batches_of(SQLInputAdapter(database_uri, table_name="t"), everything)) == [
        (1, "x", uuid.UUID(int=1))
    ]


def test_rows_are_counted_even_if_no_column_is_wanted(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a"), (2, "b")])
    for adapter in (SQLInputAdapter(database_uri, table_name="t"), SQLInputAdapter(database_uri, "SELECT * FROM t")):
        assert sum(batch.num_rows for batch in batches_of(adapter, ReadRequest(frozenset()))) == 2


def test_a_query_may_compute_filter_order_end_in_a_comment_and_a_semicolon(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(3, "alice"), (1, "bob"), (2, "alice")])
    query = "SELECT id AS \"Id\", name || '!' AS shout FROM t WHERE name = 'alice' ORDER BY id -- the end;\n ;  "
    assert read(database_uri, query=query) == [(2, "alice!"), (3, "alice!")]
    (batch,) = batches_of(SQLInputAdapter(database_uri, query), ReadRequest(frozenset({"shout"})))
    assert batch.batch.schema.names == ["shout"]
    assert read(database_uri, query="WITH x AS (SELECT max(id) AS m FROM t) SELECT m FROM x -- end") == [(3,)]


@pytest.mark.parametrize("source", [{"table_name": "t"}, {"query": "SELECT id FROM t ORDER BY id DESC"}])
@pytest.mark.parametrize(("limit", "count"), [(0, 0), (3, 3), (100, 10)])
def test_a_limit_ends_the_reading(database_uri: str, source: dict[str, str], limit: int, count: int) -> None:
    load(database_uri, "t", IDS, [(number,) for number in range(10)])
    rows = rows_of(batches_of(SQLInputAdapter(database_uri, **source, limit=limit), ReadRequest(batch_size=2)))
    assert len(rows) == count
    if "query" in source:
        assert rows == [(9 - number,) for number in range(count)]


def test_a_column_that_stands_twice_is_named_and_renamed(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (x INTEGER)", "INSERT INTO t VALUES (7)")
    query = "SELECT x AS a, x + 1 AS b, x + 2 AS a, x + 3 AS a_2 FROM t"
    with SQLInputAdapter(database_uri, query).open(ReadRequest()) as reader:
        assert reader.duplicates == {"a"}
        (batch,) = reader
    assert batch.batch.to_pydict() == {"a": [7], "b": [8], "a_3": [9], "a_2": [10]}


def test_an_empty_table_has_columns_and_no_batches(database_uri: str) -> None:
    load(database_uri, "t", TYPES)
    with SQLInputAdapter(database_uri, table_name="t").open(ReadRequest()) as reader:
        assert reader.columns == {name: ColumnType(kind) for name, kind in TYPES.items()}
        assert list(reader) == []


def test_a_view_can_be_read(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a"), (2, "b")])
    execute(database_uri, "CREATE VIEW v AS SELECT name FROM t WHERE id = 2")
    assert read(database_uri, "v") == [("b",)]


def test_a_missing_table_is_an_error_that_lists_names_near_to_it(database_uri: str) -> None:
    load(database_uri, "flights", IDS)
    load(database_uri, "weather", IDS)
    with pytest.raises(
        SourceNotFoundError, match=r"no table flihgts in .*did you mean flights\?\n  tables: flights, weather"
    ):
        read(database_uri, "flihgts")


def test_reading_is_in_batches_and_can_stop_at_any_of_them(database_uri: str) -> None:
    many = "SELECT row_number() OVER () AS n FROM {} a, {} b, {} c"
    load(database_uri, "t", IDS, [(number,) for number in range(100)])
    reader = SQLInputAdapter(database_uri, many.format("t", "t", "t")).open(ReadRequest(batch_size=1000))
    first = next(iter(reader))
    assert 0 < first.num_rows <= 1000
    reader.close()
    reader.close()
    execute(database_uri, "DROP TABLE t")  # nothing holds it any more


def test_a_large_table_is_read_without_holding_it(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(number, f"{number:0>100}") for number in range(1000)])
    query = "SELECT a.id * 1000 + b.id AS id, a.name AS name FROM t a, t b"
    alive = most = count = 0
    with SQLInputAdapter(database_uri, query).open(ReadRequest(batch_size=20_000)) as reader:
        before = pa.total_allocated_bytes()
        for batch in reader:
            count += batch.num_rows
            alive = batch.batch.nbytes
            most = max(most, alive, pa.total_allocated_bytes() - before)
    assert count == 1_000_000
    assert most < 60 * 2**20  # all of it takes 120 MB
