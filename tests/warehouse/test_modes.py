"""What becomes of a table that is there: merging by key, drift of columns, statements of the user's own."""

import datetime as dt
import random
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.adapters.sql_support import (
    IDS,
    PEOPLE,
    Types,
    batch_of,
    column_types,
    drop_row_2,
    load,
    read,
    read_types,
)
from tests.databases import execute, tables_of
from tests.warehouse.loads import ids, people, pipe
from zoopipe_core import SQLOutputAdapter
from zoopipe_core.adapters.sql_connect import connect, resolve_uri
from zoopipe_core.adapters.sql_names import TableName
from zoopipe_core.errors import (
    DatabaseError,
    SpecError,
    TableMismatchError,
    TargetError,
    UnsupportedValueError,
)

SERVERS = pytest.mark.parametrize("database_uri", ["duckdb", "postgresql"], indirect=True)


def put(uri: str, types: Types, *parts: Any, mode: str = "append", table: str = "t", **options: Any) -> tuple[str, ...]:
    """A whole load of rows, one batch for each part; the notes of its writer."""
    writer = SQLOutputAdapter(uri, table, mode, **options).open()
    try:
        writer.start(column_types(types))
        for part in parts:
            writer.write(batch_of(types, part))
        writer.prepare()
        writer.publish()
    finally:
        writer.abort()
    return writer.notes


def merge(uri: str, *parts: Any, types: Types = PEOPLE, key: Any = ("id",), **options: Any) -> tuple[str, ...]:
    return put(uri, types, *parts, mode="merge", key=key, **options)


def found(uri: str, columns: str = "id, name") -> list[tuple[Any, ...]]:
    return execute(uri, f"SELECT {columns} FROM t ORDER BY id")


# ---- merge ----------------------------------------------------------------------------------------------------------


def test_merge_updates_what_is_there_and_adds_the_rest(database_uri: str) -> None:
    merge(database_uri, [(1, "a"), (2, "b"), (3, None)])
    notes = merge(database_uri, [(2, "B"), (4, "d")], [(3, "c")])
    assert found(database_uri) == [(1, "a"), (2, "B"), (3, "c"), (4, "d")]
    assert notes == ("merged: 1 rows inserted, 2 updated",)


def test_a_table_that_merge_makes_has_the_key_as_its_primary_key(database_uri: str) -> None:
    merge(database_uri, [(1, "a")])
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        execute(database_uri, "INSERT INTO t VALUES (1, 'again')")
    with pytest.raises(Exception, match=r"(?i)not.null|null value"):
        execute(database_uri, "INSERT INTO t (name) VALUES ('nobody')")


@pytest.mark.parametrize(("rule", "expected"), [("first", "a"), ("last", "z")])
def test_of_several_rows_of_one_key_the_declared_one_counts(database_uri: str, rule: str, expected: str) -> None:
    for old in ([], [(1, "old")]):
        execute(database_uri, "DROP TABLE IF EXISTS t", "CREATE TABLE t (id BIGINT, name TEXT)")
        merge(database_uri, old)
        notes = merge(database_uri, [(1, "a"), (2, "b")], [(1, "m"), (1, "z")], on_duplicate=rule)
        assert found(database_uri) == [(1, expected), (2, "b")]
        assert notes[-1] == f"2 rows of a key that stands twice in the load gave way to the {rule} one"


def test_duplicate_keys_without_a_rule_fail_the_load_and_are_named(database_uri: str) -> None:
    merge(database_uri, [(1, "old")])
    with pytest.raises(UnsupportedValueError, match=r"2 rows for .*::t have the same key \(id=7\)"):
        merge(database_uri, [(7, "a"), (1, "b"), (7, "c")])
    assert found(database_uri) == [(1, "old")]
    assert tables_of(database_uri) == {"t"}


def test_a_key_without_a_value_fails_the_load(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT, name TEXT)")
    with pytest.raises(
        UnsupportedValueError, match=r"1 rows for .*::t have no value in 'id', which is part of the key"
    ):
        merge(database_uri, [(1, "a"), (None, "b")])
    assert found(database_uri) == []


def test_a_table_with_several_rows_of_one_key_is_refused(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a"), (1, "b"), (2, "c")])
    with pytest.raises(TableMismatchError, match="has several rows of one key"):
        merge(database_uri, [(1, "z")])
    assert execute(database_uri, "SELECT name FROM t ORDER BY name") == [("a",), ("b",), ("c",)]


@pytest.mark.parametrize(
    ("table", "index", "key", "unique"),
    [
        ("id BIGINT PRIMARY KEY, name TEXT", "", ["id"], True),
        ("id BIGINT, name TEXT, UNIQUE (name, id)", "", ["id", "name"], True),
        ("id BIGINT UNIQUE, name TEXT", "", ["id", "name"], True),
        ("id BIGINT, name TEXT", "CREATE UNIQUE INDEX ON t (id) INCLUDE (name)", ["id"], True),
        ("id BIGINT, name TEXT", "", ["id"], False),
        ("id BIGINT, name TEXT, UNIQUE (id, name)", "", ["id"], False),
        ("id BIGINT, name TEXT", "CREATE INDEX ON t (id)", ["id"], False),
        ("id BIGINT, name TEXT", "CREATE UNIQUE INDEX ON t (id) WHERE name <> ''", ["id"], False),
        ("id BIGINT, name TEXT", "CREATE UNIQUE INDEX ON t ((id + 1))", ["id"], False),
        ("id BIGINT UNIQUE DEFERRABLE, name TEXT", "", ["id"], False),
        ("id BIGINT PRIMARY KEY, name TEXT", "CREATE TABLE child () INHERITS (t)", ["id"], False),
        ("id BIGINT, name TEXT", 'CREATE UNIQUE INDEX ON t (name COLLATE "C")', ["name"], False),
    ],
)
def test_whether_a_key_is_unique_is_known_of_the_table(
    postgres_uri: str, table: str, index: str, key: list[str], unique: bool
) -> None:
    execute(postgres_uri, f"CREATE TABLE t ({table})", *filter(None, [index]))
    with closing(connect(resolve_uri(postgres_uri), read_only=True)) as database:
        assert database.is_unique(TableName("t"), key) is unique


def test_the_keys_of_all_partitions_are_one_key(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE high PARTITION OF t FOR VALUES FROM (10) TO (20)",
    )
    with closing(connect(resolve_uri(postgres_uri), read_only=True)) as database:
        assert database.is_unique(TableName("t"), ["id"])
    merge(postgres_uri, [(1, "a"), (11, "b")])
    assert merge(postgres_uri, [(1, "a"), (11, "B"), (12, "c")]) == (
        "merged: 1 rows inserted, 1 updated, 1 were the same already",
    )


def test_a_key_of_several_columns_and_nothing_but_a_key(database_uri: str) -> None:
    types: Types = {"a": pa.int64(), "b": pa.string()}
    for _ in range(2):
        merge(database_uri, [(1, "x"), (1, "y"), (2, "x")], types=types, key=["a", "b"])
    assert execute(database_uri, "SELECT * FROM t ORDER BY a, b") == [(1, "x"), (1, "y"), (2, "x")]


def test_the_rest_is_added_wherever_known_rows_stand_in_the_load(database_uri: str) -> None:
    for known in ([], [0, 1], [1, 2], [2, 3], [0, 2], [0, 1, 2, 3]):
        execute(database_uri, "DROP TABLE IF EXISTS t", "CREATE TABLE t (id BIGINT, name TEXT)")
        merge(database_uri, [(number, "old") for number in known])
        notes = merge(database_uri, [(0, "a"), (1, "gone"), (1, "b")], [(2, "c"), (3, "d")], on_duplicate="last")
        assert notes[0] == f"merged: {4 - len(known)} rows inserted, {len(known)} updated"
        assert found(database_uri) == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]


def test_columns_that_the_rows_lack_keep_what_they_hold(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT, name TEXT, note TEXT DEFAULT 'new')")
    execute(database_uri, "INSERT INTO t VALUES (1, 'a', 'kept')")
    merge(database_uri, [(1, "A"), (2, "b")])
    assert found(database_uri, "*") == [(1, "A", "kept"), (2, "b", "new")]


def test_postgresql_writes_only_rows_that_are_not_the_very_same_already(postgres_uri: str) -> None:
    types: Types = {
        "id": pa.int64(),
        "double": pa.float64(),
        "single": pa.float32(),
        "text": pa.string(),
        "json": pa.json_(),
        "day": pa.date32(),
    }
    same = (0.0, 0.0, "a", "x", None)
    changed = [
        (-0.0, *same[1:]),
        (same[0], -0.0, *same[2:]),
        (*same[:2], "A", *same[3:]),
        (*same[:3], "y", None),
        (*same[:4], dt.date(2024, 1, 1)),
    ]
    merge(postgres_uri, [(number, *same) for number in range(7)], types=types)
    execute(postgres_uri, "CREATE DOMAIN single AS real", "ALTER TABLE t ALTER single TYPE single")
    rows = "SELECT id, xmin::text FROM t ORDER BY id"
    before = execute(postgres_uri, rows)
    notes = merge(postgres_uri, [(number, *row) for number, row in enumerate([same, *changed])], types=types)
    assert notes == ("merged: 0 rows inserted, 5 updated, 1 were the same already",)
    written = [old != new for old, new in zip(before, execute(postgres_uri, rows), strict=True)]
    assert written == [False, True, True, True, True, True, False]
    held = execute(postgres_uri, "SELECT double::text, single::text, text, json::text, day FROM t ORDER BY id")
    texts = [
        (f"{double:g}", f"{single:g}", text, f'"{json}"', day)
        for double, single, text, json, day in [same, *changed, same]
    ]
    assert held == texts


@pytest.mark.parametrize("known", ["none", "the first half", "every third"])
def test_what_a_merge_adds_lies_in_the_order_of_the_load(database_uri: str, known: str) -> None:
    ids = random.Random(1).sample(range(10_000), 5000)
    before = {"none": [], "the first half": ids[:2500], "every third": ids[::3]}[known]
    execute(database_uri, "CREATE TABLE t (id BIGINT, name TEXT)")
    merge(database_uri, [(number, "a") for number in sorted(before)])
    merge(database_uri, [(number, "a") for number in ids])
    there = set(before)
    # PostgreSQL puts a changed row elsewhere: they are the same here.
    lying = [number for (number,) in execute(database_uri, "SELECT id FROM t")]
    assert lying == [*sorted(before), *(number for number in ids if number not in there)]


def test_a_merge_leaves_the_settings_of_the_planner_to_the_statements_of_the_user(postgres_uri: str) -> None:
    says = "INSERT INTO said VALUES (current_setting('enable_mergejoin'))"
    execute(postgres_uri, "CREATE TABLE said (what TEXT)")
    merge(postgres_uri, [(1, "a")], pre_sql=[says], post_sql=[says])
    merge(postgres_uri, [(1, "b")], pre_sql=["SET LOCAL enable_mergejoin = off"], post_sql=[says])
    assert execute(postgres_uri, "SELECT what FROM said") == [("on",), ("on",), ("off",)]


def test_a_merge_fires_the_triggers_of_every_row_that_is_there(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        "CREATE TABLE t (id BIGINT, name TEXT, times BIGINT DEFAULT 0)",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN new.times := old.times + 1; RETURN new; END $$",
        "CREATE TRIGGER touches BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch()",
    )
    for _ in range(2):
        merge(postgres_uri, [(1, "a")])
    assert found(postgres_uri, "*") == [(1, "a", 1)]


@pytest.mark.parametrize("database_uri", ["postgresql", "sqlite"], indirect=True)
def test_a_trigger_that_drops_a_row_is_noticed_beside_a_key_that_stands_twice(database_uri: str) -> None:
    # As many rows too many as too few.
    execute(database_uri, "CREATE TABLE t (id BIGINT, name TEXT)", "INSERT INTO t VALUES (1, 'a'), (1, 'b')")
    drop_row_2(database_uri)
    with pytest.raises(TableMismatchError, match="1 keys of the load are those of 2 rows"):
        merge(database_uri, [(1, "z"), (2, "z")])
    with pytest.raises(TargetError, match=r"2 rows were to be merged .* 1 inserted \(does a trigger drop some"):
        merge(database_uri, [(2, "z"), (3, "z")])
    assert execute(database_uri, "SELECT id, name FROM t ORDER BY name") == [(1, "a"), (1, "b")]


def test_a_key_that_the_rows_do_not_have_is_an_error(database_uri: str) -> None:
    with pytest.raises(TargetError, match="names 'nothing', which the rows do not bring"):
        merge(database_uri, [(1, "a")], key=["nothing"])
    with pytest.raises(TargetError, match="cannot be called '_zoopipe_row' in a merge"):
        merge(database_uri, types={"id": pa.int64(), "_zoopipe_row": pa.int64()})


operations = st.lists(st.lists(st.tuples(st.integers(0, 6), st.text("ab", max_size=2)), max_size=8), max_size=4)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(loads=operations, rule=st.sampled_from(["first", "last"]))
def test_any_sequence_of_merges_equals_a_dictionary(
    database_uri: str, loads: list[list[tuple[int, str]]], rule: str
) -> None:
    execute(database_uri, "DROP TABLE IF EXISTS t")
    expected: dict[int, str] = {}
    for rows in loads:
        merge(database_uri, rows, on_duplicate=rule)
        expected |= dict(rows if rule == "last" else reversed(rows))
    if loads:
        assert found(database_uri) == sorted(expected.items())


def test_a_large_merge_with_many_duplicates_is_exact(database_uri: str) -> None:
    shuffled = random.Random(7)
    first = [(n, f"old {n}") for n in range(20_000)]
    second = [(shuffled.randrange(40_000), f"new {n}") for n in range(20_000)]
    merge(database_uri, first)
    merge(database_uri, second, on_duplicate="last")
    assert found(database_uri) == sorted((dict(first) | dict(second)).items())


def test_a_merge_of_a_file_is_done_once(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1, 2)
    assert pipe(source, database_uri, mode="merge", key=["id"]).run()
    execute(database_uri, "UPDATE t SET name = 'newer' WHERE id = 1")
    second = pipe(source, database_uri, mode="merge", key=["id"])
    assert second.run()
    assert found(database_uri) == [(1, "newer"), (2, "n2")]
    assert second.report.notes[0] == "merged: 2 rows inserted, 0 updated"


# ---- drift ----------------------------------------------------------------------------------------------------------

WIDER: Types = {"id": pa.int64(), "name": pa.string(), "score": pa.float64()}


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_evolve_adds_columns_that_are_new(database_uri: str, mode: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a")])
    notes = put(database_uri, WIDER, [(2, "b", 0.5)], mode=mode, key=["id"], on_drift="evolve")
    assert found(database_uri, "*") == [(1, "a", None), (2, "b", 0.5)]
    assert "was changed to fit: score DOUBLE" in notes[0].replace("double precision", "DOUBLE")


def test_ignore_leaves_out_columns_that_are_new_and_says_which(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a")])
    notes = put(database_uri, WIDER, [(2, "b", 0.5)], on_drift="ignore")
    assert found(database_uri, "*") == [(1, "a"), (2, "b")]
    assert notes[0].endswith("::t does not have them: score")


@pytest.mark.parametrize("on_drift", [None, "fail"])
def test_otherwise_new_columns_fail_the_load(database_uri: str, on_drift: str | None) -> None:
    load(database_uri, "t", PEOPLE, [(1, "a")])
    with pytest.raises(TableMismatchError, match="has no column 'score'"):
        put(database_uri, WIDER, [(2, "b", 0.5)], on_drift=on_drift)
    assert found(database_uri, "*") == [(1, "a")]


@pytest.mark.parametrize("on_drift", [None, "evolve", "ignore"])
def test_columns_that_the_rows_lack_are_never_empty_without_a_word(database_uri: str, on_drift: str | None) -> None:
    load(database_uri, "t", WIDER, [(1, "a", 0.5)])
    notes = put(database_uri, PEOPLE, [(2, "b")], on_drift=on_drift)
    assert found(database_uri, "*") == [(1, "a", 0.5), (2, "b", None)]
    assert notes == ("empty in the new rows, which do not have them: score",)


def test_fail_refuses_rows_that_lack_a_column(database_uri: str) -> None:
    load(database_uri, "t", WIDER, [(1, "a", 0.5)])
    with pytest.raises(TableMismatchError, match=r"has columns that the rows do not have, .*: score; add them"):
        put(database_uri, PEOPLE, [(2, "b")], on_drift="fail")
    assert found(database_uri) == [(1, "a")]


@SERVERS
@pytest.mark.parametrize(
    ("old", "value", "new", "larger"),
    [
        (pa.int32(), 1, pa.int64(), 2**40),
        (pa.int64(), 2**62, pa.decimal128(25, 2), Decimal("12345678901234567890123.50")),
        (pa.float32(), 0.5, pa.float64(), 0.1),
        (pa.int32(), 7, pa.float64(), 0.25),
        (pa.decimal128(5, 2), Decimal("1.50"), pa.decimal128(12, 4), Decimal("12345678.1234")),
    ],
    ids=str,
)
def test_evolve_widens_types_that_would_not_hold_the_values(
    database_uri: str, old: pa.DataType, value: Any, new: pa.DataType, larger: Any
) -> None:
    load(database_uri, "t", {"x": old}, [(value,)])
    put(database_uri, {"x": new}, [(larger,)], on_drift="evolve")
    assert read_types(database_uri, "t") == {"x": new}
    assert sorted(read(database_uri, "t")) == sorted([(value,), (larger,)])


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [(pa.int64(), pa.string(), "1"), (pa.float64(), pa.bool_(), True), (pa.date32(), pa.bool_(), True)],
    ids=str,
)
def test_a_type_that_would_lose_values_fails_the_load_and_both_are_named(
    database_uri: str, old: pa.DataType, new: pa.DataType, value: Any
) -> None:
    load(database_uri, "t", {"x": old})
    with pytest.raises(TableMismatchError, match=r"the column 'x' of .* is of type \S+.* and does not take \S+"):
        put(database_uri, {"x": new}, [(value,)], on_drift="evolve")


def test_a_replaced_table_that_evolves_keeps_what_belongs_to_it(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT)", "CREATE VIEW v AS SELECT id FROM t")
    execute(database_uri, "INSERT INTO t VALUES (1, 'old')")
    put(database_uri, WIDER, [(2, "b", 0.5), (3, "c", None)], mode="replace", on_drift="evolve")
    assert found(database_uri, "*") == [(2, "b", 0.5), (3, "c", None)]
    assert execute(database_uri, "SELECT * FROM v ORDER BY id") == [(2,), (3,)]
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        execute(database_uri, "INSERT INTO t VALUES (2, 'again', 0)")


def test_a_postgresql_table_that_is_made_anew_gets_back_what_belonged_to_it(postgres_uri: str) -> None:
    role = f"reader_{postgres_uri.partition('?')[0].rpartition('/')[2]}"
    execute(
        postgres_uri,
        'CREATE TABLE t (id BIGINT, name TEXT, "go;ne" INT)',
        "CREATE UNIQUE INDEX by_id ON t (id DESC)",
        'CREATE INDEX by_gone ON t (id, "go;ne")',
        f"CREATE ROLE {role}",
        f"GRANT SELECT ON t TO {role} WITH GRANT OPTION",
        "GRANT UPDATE (name) ON t TO PUBLIC",
        "COMMENT ON TABLE t IS 'it''s people'",
        "COMMENT ON COLUMN t.name IS 'how they are called'",
        "COMMENT ON COLUMN t.\"go;ne\" IS 'lost'",
        "INSERT INTO t VALUES (1, 'old', 2)",
    )
    put(postgres_uri, WIDER, [(2, "b", 0.5)], mode="replace")
    assert found(postgres_uri, "*") == [(2, "b", 0.5)]
    assert execute(postgres_uri, "SELECT indexname::text FROM pg_indexes WHERE tablename = 't'") == [("by_id",)]
    for privilege, has in (("SELECT WITH GRANT OPTION", True), ("DELETE", False)):
        assert execute(postgres_uri, f"SELECT has_table_privilege('{role}', 't', '{privilege}')") == [(has,)]
    assert execute(postgres_uri, f"SELECT has_column_privilege('{role}', 't', 'name', 'UPDATE')") == [(True,)]
    comments = "SELECT obj_description('t'::regclass), col_description('t'::regclass, 2)"
    assert execute(postgres_uri, comments) == [("it's people", "how they are called")]


def test_readers_see_the_old_form_until_an_evolving_load_is_committed(postgres_uri: str) -> None:
    load(postgres_uri, "t", PEOPLE, [(1, "a")])
    writer = SQLOutputAdapter(postgres_uri, "t", "append", on_drift="evolve").open()
    writer.start(column_types(WIDER))
    writer.write(batch_of(WIDER, [(2, "b", 0.5)] * 70_000))
    assert found(postgres_uri, "*") == [(1, "a")]  # and is not kept waiting
    writer.prepare()
    writer.publish()
    assert execute(postgres_uri, "SELECT count(*), count(score) FROM t") == [(70_001, 70_000)]


class More(BaseModel):
    id: int
    name: str
    length: int = 0


def test_drift_is_told_in_the_report_and_in_the_ledger(database_uri: str, tmp_path: Path) -> None:
    assert pipe(people(tmp_path, 1), database_uri).run()
    second = pipe(people(tmp_path, 2, name="more.csv"), database_uri, model=More, on_drift="evolve")
    assert second.run()
    assert any("was changed to fit: length" in note for note in second.report.notes)


# ---- tables and statements ------------------------------------------------------------------------------------------


def test_a_table_that_must_not_be_made_has_to_be_there(database_uri: str) -> None:
    with pytest.raises(TargetError, match='create_table="never" forbids making it'):
        put(database_uri, IDS, [(1,)], create_table="never")
    execute(database_uri, "CREATE TABLE t (id BIGINT)")
    put(database_uri, IDS, [(1,)], create_table="never")
    assert ids(database_uri) == [1]


def test_a_key_is_the_primary_key_of_any_table_that_is_made(database_uri: str) -> None:
    put(database_uri, PEOPLE, [(1, "a")], key=["id"])
    with pytest.raises(DatabaseError, match=r"(?i)unique|duplicate"):
        put(database_uri, PEOPLE, [(1, "b")], key=["id"])
    assert found(database_uri) == [(1, "a")]


@pytest.mark.parametrize("mode", ["append", "replace", "merge"])
def test_statements_of_the_user_s_own_are_part_of_the_load(database_uri: str, mode: str) -> None:
    execute(database_uri, "CREATE TABLE log (n BIGINT)")
    load(database_uri, "t", PEOPLE, [(1, "old")])
    note = "INSERT INTO log SELECT count(*) FROM t WHERE name = 'new'"
    options: dict[str, Any] = {
        "mode": mode,
        "key": ["id"],
        "pre_sql": note,
        "post_sql": [note, "DELETE FROM t WHERE id = 3"],
    }
    put(database_uri, PEOPLE, [(2, "new"), (3, "new")], **options)
    assert execute(database_uri, "SELECT n FROM log ORDER BY n") == [(0,), (2,)]
    assert 3 not in ids(database_uri)
    with pytest.raises(DatabaseError, match="nowhere"):
        put(database_uri, PEOPLE, [(4, "new")], **{**options, "post_sql": [note, "DELETE FROM nowhere"]})
    assert execute(database_uri, "SELECT count(*) FROM log") == [(2,)]
    assert 4 not in ids(database_uri)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "upsert"}, "mode has to be one of 'append', 'fail', 'merge', 'replace', not 'upsert'"),
        ({"mode": "merge"}, r'mode="merge" needs the columns .* key=\["id"\]'),
        ({"key": "id"}, r"key has to be a list of columns, as in \['id'\], not 'id'"),
        ({"key": ["a", "a"]}, "names a column twice"),
        ({"on_duplicate": "any"}, "on_duplicate has to be one of 'fail', 'first', 'last'"),
        ({"on_drift": "add"}, "on_drift has to be one of None, 'evolve', 'fail', 'ignore', not 'add'"),
        ({"create_table": "no"}, "create_table has to be one of 'auto', 'never'"),
        ({"pre_sql": "SELECT 1; SELECT 2"}, "pre_sql takes one statement in a text"),
        ({"post_sql": ["/* now */ COMMIT"]}, "post_sql cannot begin or end a transaction"),
        ({"post_sql": ""}, "post_sql has to be a statement"),
    ],
)
def test_options_that_cannot_be_are_refused_at_once(options: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        SQLOutputAdapter("duckdb:///x.duckdb", "t", **options)


@pytest.mark.parametrize("statement", ["SELECT ';', \"a;b\" -- ;\n", "SELECT $$;$$;", "SELECT 'it''s; so' /* ; */"])
def test_a_semicolon_in_a_text_or_a_comment_is_none(statement: str) -> None:
    assert SQLOutputAdapter("duckdb:///x.duckdb", "t", pre_sql=statement).pre_sql == (statement,)


def test_the_repr_shows_the_key_but_no_statement() -> None:
    adapter = SQLOutputAdapter(
        "duckdb:///x.db", "t", "merge", key=["id"], pre_sql="SET x = 'secret'", on_drift="evolve"
    )
    assert repr(adapter) == "SQLOutputAdapter('duckdb:///x.db', 't', mode='merge', key=['id'], on_drift='evolve')"
