"""Loads that read only what is new: whatever comes late, fails or is killed, each row of the source is loaded once."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, NaiveDatetime

from tests.adapters.splits import Copies, read
from tests.databases import execute, tables_of
from zoopipe_core import (
    ColumnHook,
    Pipe,
    PipeManager,
    PyGeneratorOutputAdapter,
    SQLInputAdapter,
    SQLOutputAdapter,
    SQLPaginationInputAdapter,
    Watermark,
)
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.errors import SpecError
from zoopipe_core.ledger import loads, watermarks
from zoopipe_core.testing.engines import ThreadEngine
from zoopipe_core.testing.faults import POINTS, fault
from zoopipe_core.undo import undoable

NOON = dt.datetime(2024, 1, 31, 12)
HOUR = dt.timedelta(hours=1)


class Event(BaseModel):
    id: int
    seen: NaiveDatetime | None
    note: str = ""


class Numbered(BaseModel):
    id: int


def moment(hours: float) -> str:
    return f"{NOON + hours * HOUR:%Y-%m-%d %H:%M:%S.%f}"


def insert(uri: str, *rows: tuple[Any, ...]) -> None:
    """Events: (id, hours after noon or None, note)."""
    cells = [(number, "NULL" if hours is None else f"'{moment(hours)}'", note) for number, hours, note in rows]
    values = ", ".join(f"({number}, {seen}, '{note}')" for number, seen, note in cells)
    execute(uri, f"INSERT INTO events VALUES {values}")


@pytest.fixture
def source(database_uri: str) -> str:
    """A database of each kind, with a table of events."""
    execute(database_uri, "CREATE TABLE events (id INTEGER, seen TIMESTAMP, note VARCHAR(20))")
    return database_uri


@pytest.fixture
def lite(tmp_path: Path) -> str:
    """A table of events in SQLite."""
    uri = f"sqlite:///{tmp_path}/source.sqlite"
    execute(uri, "CREATE TABLE events (id INTEGER, seen TIMESTAMP, note VARCHAR(20))")
    return uri


@pytest.fixture
def target(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/target.sqlite"


def pipe(source: str, target: str, mode: str = "append", *, pages: bool = False, **options: Any) -> Pipe:
    """A load of events; what is no option of `Pipe` is one of `Watermark`."""
    of_pipe = {name: options.pop(name) for name in ("load_id", "if_loaded", "max_errors") if name in options}
    watermark = Watermark("seen", **{"lateness": HOUR, **options})
    adapter: Any = SQLInputAdapter(source, table_name="events", watermark=watermark)
    if pages:
        adapter = SQLPaginationInputAdapter(source, table_name="events", key="id", page_size=7, watermark=watermark)
    key: dict[str, Any] = {"key": ["id"]} if mode == "merge" else {}
    return Pipe(adapter, SQLOutputAdapter(target, "t", mode, **key), None, Event, **of_pipe)


def run(*args: Any, **options: Any) -> Pipe:
    load = pipe(*args, **options)
    assert load.run(on_report_update=None), str(load.report)
    return load


def failed(*args: Any, **options: Any) -> str:
    load = pipe(*args, **options)
    assert not load.run(on_report_update=None)
    assert load.report.exception is not None
    return load.report.exception.message


def ids(uri: str) -> list[int]:
    return [number for (number,) in execute(uri, "SELECT id FROM t ORDER BY id")]


# ---- what is new ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pages", [False, True], ids=["whole", "pages"])
def test_the_next_load_reads_what_is_new_and_what_came_late(source: str, target: str, pages: bool) -> None:
    insert(source, *((n, n / 4, "a") for n in range(40)))
    assert run(source, target, pages=pages).report.read_rows == 40
    again = run(source, target, pages=pages).report
    assert (again.read_rows, again.loaded_rows) == (0, 0)
    assert "5 rows of the overlap were loaded before" in again.notes[0]
    last = 39 / 4
    insert(source, (100, last + 5, "new"), (101, last, "tie"), (102, last - 1, "late"), (103, last - 1.001, "too late"))
    assert run(source, target, pages=pages).report.loaded_rows == 3
    assert ids(target) == [*range(40), 100, 101, 102]
    (mark,) = watermarks(target, "t")
    assert mark.text == moment(last + 5).removesuffix(".000000")
    assert mark.name == f"{pipe(source, target).input_adapter.label}.seen"


@pytest.mark.parametrize(("kind", "lateness"), [("INTEGER", 1), ("DATE", dt.timedelta(hours=20))])
def test_integers_and_dates_are_watermarks_too(database_uri: str, target: str, kind: str, lateness: Any) -> None:
    execute(database_uri, f"CREATE TABLE events (id INTEGER, seen {kind})")
    adapter = SQLInputAdapter(database_uri, table_name="events", watermark=Watermark("seen", lateness, key="id"))
    load = Pipe(adapter, SQLOutputAdapter(target, "t", "append"))
    for first, new in [(0, [5, 10]), (10, [8, 9, 10]), (20, [30, 9, 8])]:  # a part of a day is a day
        values = [str(n) if kind == "INTEGER" else f"'2024-01-{n:02}'" for n in new]
        rows = ", ".join(f"({number}, {value})" for number, value in enumerate(values, first))
        execute(database_uri, f"INSERT INTO events VALUES {rows}")
        assert load.run(on_report_update=None), str(load.report)
    assert ids(target) == [0, 1, 11, 12, 20, 21]


@pytest.mark.parametrize(
    ("place", "kind", "zone", "tick"),
    [
        *(("duckdb", kind, "", tick) for kind, tick in [("TIMESTAMP_S", "01"), ("TIMESTAMP_MS", "00.001")]),
        *(("duckdb", kind, zone, "00.000000001") for kind, zone in [("TIMESTAMP_NS", ""), ("TIMESTAMPTZ", "+02:00")]),
        ("postgresql", "timestamptz", "+02:00", "00.000001"),
        ("sqlite", "TIMESTAMPTZ", "+00:00", "00.000001"),
    ],
)
def test_moments_of_any_unit_and_zone_are_watermarks(
    request: pytest.FixtureRequest, tmp_path: Path, target: str, place: str, kind: str, zone: str, tick: str
) -> None:
    uri = f"{place}:///{tmp_path}/t.{place}" if place != "postgresql" else request.getfixturevalue("postgres_uri")
    execute(uri, f"CREATE TABLE events (id INTEGER, seen {kind})")
    adapter = SQLInputAdapter(uri, table_name="events", watermark=Watermark("seen", key="id"))
    load = Pipe(adapter, SQLOutputAdapter(target, "t", "append"), None, Numbered)
    for number, second in enumerate(["00", "00", tick, tick, "59"]):
        execute(uri, f"INSERT INTO events VALUES ({number}, '2024-01-31 00:00:{second}{zone}')")
        assert load.run(on_report_update=None), str(load.report)
        assert ids(target) == list(range(number + 1))


def test_parts_are_the_same_in_another_process(source: str) -> None:
    insert(source, *((n, n / 4, "a") for n in range(40)))
    adapter = pipe(source, "sqlite:///none", lateness=HOUR).input_adapter
    with adapter.resume(None, True).open(ReadRequest()) as reader:
        assert sum(batch.num_rows for batch in reader) == 40
        mark = reader.mark
    insert(source, (50, 9, "late"), (51, 30, "new"))
    increment = adapter.resume(mark, True)
    split = increment.split(3)
    with increment.open(ReadRequest()) as reader:
        list(reader)
        assert reader.mark is not None
        assert split.mark is not None
        assert sorted(reader.mark.hashes) == sorted(split.mark.hashes)
    for _ in range(2):  # a shard that failed is read again
        found = read(Copies(split), columns=frozenset(["note"])).rows
        assert [row["note"] for _, _, row in found] == ["late", "new"]
    split.release()


def test_a_first_load_begins_where_it_is_told(source: str, target: str) -> None:
    insert(source, (1, 0, ""), (2, 1, ""), (3, 2, ""))
    run(source, target, initial=NOON + HOUR)
    assert ids(target) == [2, 3]
    insert(source, (4, 3, ""))
    run(source, target, initial=NOON)  # there is a mark by now
    assert ids(target) == [2, 3, 4]


@pytest.mark.parametrize("pages", [False, True], ids=["whole", "pages"])
def test_a_row_without_a_value_is_what_was_declared(source: str, target: str, pages: bool) -> None:
    insert(source, (1, 0, ""), (2, None, ""))
    assert "NULL, of which nobody knows whether they are new" in failed(source, target, pages=pages)
    assert run(source, target, pages=pages, nulls="skip").report.read_rows == 1
    insert(source, (3, None, ""), (4, 9, ""))
    run(source, target, pages=pages, nulls="load")
    run(source, target, pages=pages, nulls="load")
    assert ids(target) == [1, 2, 3, 4]


def test_rejected_rows_count_as_read(lite: str, target: str) -> None:
    insert(lite, (1, 0, ""), (2, 0.5, ""))
    execute(lite, f"INSERT INTO events VALUES ('x', '{moment(2)}', '')")
    assert run(lite, target).report.rejected_rows == 1
    assert run(lite, target).report.read_rows == 0


def test_a_row_that_changes_is_a_new_version_and_merge_keeps_the_last(source: str, target: str, tmp_path: Path) -> None:
    merged = f"duckdb:///{tmp_path}/merged.duckdb"
    insert(source, (1, 0, "a"), (2, 0, "a"))
    for note in ("b", "c"):
        run(source, target, key=["id"])
        run(source, merged, "merge")
        execute(source, f"UPDATE events SET note = '{note}', seen = '{moment(ord(note) / 200)}' WHERE id = 2")
        insert(source, (ord(note), -0.5, "late"))
    run(source, target, key=["id"])
    assert run(source, merged, "merge").report.read_rows == 4  # the overlap as well
    late = [(98, "late"), (99, "late")]
    query = "SELECT id, note FROM t ORDER BY 1, 2"
    assert execute(target, query) == [(1, "a"), (2, "a"), (2, "b"), (2, "c"), *late]
    assert execute(merged, query) == [(1, "a"), (2, "c"), *late]


# ---- whatever happens -----------------------------------------------------------------------------------------------

rows_of_a_step = st.lists(
    st.tuples(st.integers(0, 3), st.integers(-6, 6), st.sampled_from("ab")), min_size=1, max_size=6
)


@pytest.mark.parametrize("key", [None, "id"])
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(rows_of_a_step, st.none() | st.sampled_from(POINTS), st.booleans()), max_size=5),
    late=st.integers(0, 4),
)
def test_each_row_is_loaded_once_whatever_comes_late_and_fails(
    tmp_path_factory: pytest.TempPathFactory, key: str | None, steps: list[Any], late: int
) -> None:
    """Half hours after the greatest so far; equal rows are several, unless a key tells that they are one."""
    folder = tmp_path_factory.mktemp("steps")
    source, target = f"sqlite:///{folder}/source.sqlite", f"sqlite:///{folder}/target.sqlite"
    execute(source, "CREATE TABLE events (id INTEGER, seen TIMESTAMP, note TEXT)")
    there: Counter[tuple[int, int, str]] = Counter()
    loaded: Counter[tuple[int, int, str]] = Counter()
    top, mark, number = 0, None, 100
    for new, point, by_pages in [*steps, ([(1, 9, "a")], None, False)]:
        for identity, behind, note in new:
            # With pages, and with a key of the watermark, ids are unique.
            number += 1
            there[(identity if key is None else number, top + behind, note)] += 1
        execute(source, "DELETE FROM events")
        insert(source, *((one, half / 2, note) for (one, half, note), count in there.items() for _ in range(count)))
        top = max(half for _, half, _ in there)
        load = pipe(source, target, pages=by_pages and key is not None, lateness=late * HOUR / 2, key=key or ())
        if point is None:
            assert load.run(on_report_update=None), str(load.report)
        else:
            with fault(point, "raise"):
                load.run(on_report_update=None)
        if point is None or point == "after_commit" or load.report.status == "completed":
            for row, count in there.items():
                if mark is None or row[1] >= mark - late:
                    loaded[row] = max(loaded[row], count)
            mark = top
        found = execute(target, "SELECT id, seen, note FROM t") if "t" in tables_of(target) else []
        assert Counter((one, moment_of(seen), note) for one, seen, note in found) == +loaded


def moment_of(text: str) -> int:
    """The inverse of `moment`, in half hours."""
    return round((dt.datetime.fromisoformat(text) - NOON) / HOUR * 2)


class Writing(ColumnHook):
    """Somebody who writes to the source while it is read: rows that are new, late, in front and behind of each page."""

    def __init__(self, uri: str) -> None:
        super().__init__()
        self.uri = uri
        self.written: list[int] = []

    def execute(self, batch: pa.RecordBatch, store: Any) -> pa.RecordBatch:
        place = len(self.written)
        numbers = [-100 - place, 100 + place, 200 + place, -200 - place]
        insert(self.uri, *zip(numbers, (9.2, 9.3, 20 + place / 100, 9.75), "abcd", strict=True))
        self.written += numbers
        return batch


@pytest.mark.parametrize("pages", [False, True], ids=["whole", "pages"])
def test_what_is_written_while_a_load_reads_is_loaded_once(postgres_uri: str, target: str, pages: bool) -> None:
    execute(postgres_uri, "CREATE TABLE events (id INTEGER, seen TIMESTAMP, note VARCHAR(20))")
    insert(postgres_uri, *((n, n / 4, "a") for n in range(40)))
    writing = Writing(postgres_uri)
    load = replace(pipe(postgres_uri, target, pages=pages, lateness=20 * HOUR), pre_validation_hooks=[writing])
    for _ in range(3):
        assert load.run(on_report_update=None), str(load.report)
    run(postgres_uri, target, pages=pages, lateness=20 * HOUR)
    assert ids(target) == sorted([*range(40), *writing.written])
    assert len(writing.written) >= 12


@pytest.mark.parametrize("mode", ["append", "merge"])
def test_shards_load_what_one_process_would(source: str, target: str, mode: str) -> None:
    insert(source, *((n, n / 4, "a") for n in range(40)))
    steps: list[tuple[list[Any], int]] = [
        ([], 40),
        ([(100, 9, "late"), (101, 7, "too late"), (102, 20, "new"), (103, 20.5, "new")], 3),
        ([(104, None, "none"), (105, 30, "new")], 2),
    ]
    for new, expected in steps:
        if new:
            insert(source, *new)
        manager = PipeManager.parallelize_pipe(pipe(source, target, mode, nulls="load"), 3, engine=ThreadEngine())
        assert manager.run(on_report_update=None), str(manager.report)
        if mode == "append":
            assert manager.report.read_rows == manager.report.loaded_rows == expected
    assert ids(target) == [*range(40), 100, 102, 103, 104, 105]
    assert run(source, target, mode, nulls="load").report.read_rows == (0 if mode == "append" else 2)


def test_pages_and_plans_made_too_early_are_not_read_in_shards(lite: str, target: str) -> None:
    insert(lite, (1, 0, ""))
    manager = PipeManager.parallelize_pipe(pipe(lite, target, pages=True), 2, engine=ThreadEngine())
    assert not manager.run(on_report_update=None)
    assert "only one process can" in str(manager.report)
    early = PipeManager.parallelize_pipe(pipe(lite, target), 2, engine=ThreadEngine())
    with pytest.raises(SpecError, match="known only when the load has begun"):
        _ = early.pipes
    assert early.run(on_report_update=None)
    assert ids(target) == [1]


KILLED = """
import sys, datetime as dt
from tests.warehouse.test_watermark import pipe
from zoopipe_core.testing.faults import fault
with fault("after_ledger", "kill"):
    pipe(*sys.argv[1:]).run()
"""


def test_a_load_that_was_killed_is_read_again(lite: str, target: str) -> None:
    insert(lite, (1, 0, ""))
    run(lite, target)
    insert(lite, (2, 1, ""), (3, -0.5, ""))
    killed = subprocess.run([sys.executable, "-c", KILLED, lite, target], check=False, capture_output=True)
    assert killed.returncode < 0, killed.stderr.decode()
    assert run(lite, target).report.loaded_rows == 2
    assert ids(target) == [1, 2, 3]


def test_a_load_that_has_a_name_is_done_once_and_the_next_name_goes_on(lite: str, target: str) -> None:
    insert(lite, (1, 0, ""))
    run(lite, target, load_id="monday")
    insert(lite, (2, 1, ""))
    assert "loaded already" in run(lite, target, load_id="monday").report.notes[-1]
    assert ids(target) == [1]
    run(lite, target, load_id="tuesday")
    assert ids(target) == [1, 2]
    assert [load.load_id for load in loads(target, "t")] == ["monday", "tuesday"]


def test_two_loads_from_one_mark_do_not_both_load_it(source: str, database_uri: str, tmp_path: Path) -> None:
    """The second one begins, and ends, while the first one is about to publish."""
    insert(source, (1, 0, ""))
    target = source.replace("/test.", "/target.")
    inner: list[Pipe] = []
    first = pipe(source, target)

    def second() -> None:
        if not inner:
            inner.append(pipe(source, target))
            inner[0].run(on_report_update=None)

    with fault("before_stage", second):
        first.run(on_report_update=None)
    assert ids(target) == [1]
    assert sorted([first.report.status, inner[0].report.status]) == ["completed", "failed"]
    bad = next(load for load in (first, *inner) if load.report.has_error)
    assert bad.report.exception is not None
    run(source, target)
    assert ids(target) == [1]


def test_what_is_read_by_a_watermark_is_not_taken_out_again(lite: str, target: str) -> None:
    with pytest.raises(SpecError, match="would not be read again"):
        undoable(pipe(lite, target, load_id="monday"), "_load_id")


def test_when_the_rows_are_gone_the_next_load_begins_anew(lite: str, target: str) -> None:
    insert(lite, (1, 0, ""))
    run(lite, target)
    execute(target, "DROP TABLE t")
    assert run(lite, target).report.loaded_rows == 1
    assert Pipe([{"id": 7, "seen": NOON}], SQLOutputAdapter(target, "t"), None, Event).run(on_report_update=None)
    assert watermarks(target, "t") == []
    assert run(lite, target).report.loaded_rows == 1
    assert ids(target) == [1, 7]


# ---- bounds, and what cannot be ------------------------------------------------------------------------------------


def test_a_memory_beyond_its_bound_fails_before_anything_is_loaded(lite: str, target: str) -> None:
    insert(lite, *((n, n / 100, "") for n in range(50)))
    assert "more than 20 rows" in failed(lite, target, max_remembered=20)
    assert "t" not in tables_of(target)
    run(lite, target, lateness=HOUR / 20, max_remembered=20)
    run(lite, target, lateness=10 * HOUR, max_remembered=20)  # what was not remembered is not read again
    assert len(ids(target)) == 50


def test_a_mark_without_memory_is_no_mark_for_append(lite: str, target: str) -> None:
    insert(lite, (1, 0, ""))
    run(lite, target, "merge")
    assert 'set by loads with mode="merge"' in failed(lite, target)
    run(lite, target, name="anew", initial=NOON + HOUR)
    assert ids(target) == [1]


@pytest.mark.parametrize(
    ("watermark", "message"),
    [
        (Watermark("nr"), "has no column 'nr', which is to be its watermark"),
        (Watermark("note"), "'note' of .* is of type string: a watermark is a column of integers, dates or timestamps"),
        (Watermark("seen", 5), "lateness has to be a timedelta, not 5"),
        (Watermark("id", HOUR), "lateness has to be a number"),
        (Watermark("seen", initial=5), "initial=5 is no value of the column 'seen'"),
        (Watermark("seen", key="nr"), "has no column 'nr', which the watermark's key names"),
    ],
)
def test_a_watermark_that_does_not_fit_its_column_is_told(lite: str, target: str, watermark: Any, message: str) -> None:
    insert(lite, (1, 0, "x"))
    adapter = SQLInputAdapter(lite, table_name="events", watermark=watermark)
    load = Pipe(adapter, SQLOutputAdapter(target, "t", "append"))
    load.run(on_report_update=None)
    with pytest.raises(Exception, match=message):
        load.report.raise_for_status()


def test_an_infinite_value_is_no_mark(postgres_uri: str, target: str) -> None:
    execute(
        postgres_uri,
        "CREATE TABLE events (id int, seen timestamp, note text)",
        "INSERT INTO events VALUES (1, 'infinity', '')",
    )
    assert "infinite values" in failed(postgres_uri, target)


def test_new_rows_can_only_be_added_to_a_table(lite: str, target: str) -> None:
    adapter = SQLInputAdapter(lite, table_name="events", watermark=Watermark("seen"))
    for output in (None, "out.csv", PyGeneratorOutputAdapter(), SQLOutputAdapter(target, "t", "replace")):
        with pytest.raises(SpecError, match="read by a watermark: its new rows have to be added"):
            Pipe(adapter, output)
    with pytest.raises(SpecError, match="limit= would leave out rows"):
        SQLInputAdapter(lite, table_name="events", watermark=Watermark("seen"), limit=5)


@pytest.mark.parametrize(
    "options",
    [
        *({"column": ""}, {"lateness": -1}, {"lateness": True}, {"lateness": -HOUR}, {"key": [1]}, {"initial": "x"}),
        *({"nulls": "no"}, {"name": ""}, {"max_remembered": 0}),
    ],
)
def test_arguments_out_of_range_are_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(SpecError):
        Watermark(**{"column": "seen", **options})
