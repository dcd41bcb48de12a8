"""Shards of loads into tables, those of PostgreSQL above all: what they publish is what a serial load does, and nothing
is left over.
"""

import datetime as dt
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.coordinators.support import Chunks, sharded
from tests.databases import execute, tables_of, with_password
from tests.warehouse.loads import LEDGER, Person, people, pipe
from zoopipe_core import (
    BaseHook,
    MultiProcessEngine,
    Pipe,
    PipeManager,
    PipeStatus,
    SQLOutputAdapter,
    ZoosyncPoolEngine,
)
from zoopipe_core.adapters.sql_connect import DatabaseURL, connect
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_names import TableName
from zoopipe_core.adapters.sql_staging import StageNote, StageOwner, find_stages
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.coordinators.replay import ReplayCoordinator
from zoopipe_core.coordinators.tables import TablePart
from zoopipe_core.engines.base import BaseEngine
from zoopipe_core.errors import SpecError, TargetError, TargetWriteError
from zoopipe_core.ledger import loads
from zoopipe_core.testing import ThreadEngine

OWNER = StageOwner("0123456789abcdef")


class Row(BaseModel):
    id: int
    name: str | None = None
    at: dt.datetime | None = None


def staged(uri: str, table: str = "t", mode: str = "append", **options: Any) -> SQLOutputAdapter:
    return SQLOutputAdapter(uri, table, mode, staging="tables", **options)


@contextmanager
def connected(uri: str) -> Iterator[Database]:
    with closing(connect(DatabaseURL.parse(uri), read_only=False)) as database:
        yield database


# ---- the same as in a serial run ------------------------------------------------------------------------------------

ONE, OTHER = {"id": 1, "name": "a"}, {"id": 1, "name": "b"}
CELLS = st.fixed_dictionaries({"id": st.integers(1, 6), "name": st.none() | st.sampled_from(["a", "b", ""])})


def _literal(text: str | None) -> str:
    return "NULL" if text is None else f"'{text}'"


@pytest.fixture(scope="module", params=["duckdb", "postgresql", "sqlite"])
def shared_uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all examples."""
    if request.param != "postgresql":
        return f"{request.param}:///{tmp_path_factory.mktemp('staged')}/x.db"
    server: str = request.getfixturevalue("postgres_server")
    execute(server, "CREATE DATABASE staged")
    return server.replace("/postgres?", "/staged?")


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(CELLS, max_size=5), min_size=1, max_size=4),
    st.lists(CELLS, max_size=4, unique_by=lambda row: row["id"]),
    st.sampled_from(["append", "replace", "merge first", "merge last", "merge fail"]),
)
@example([[ONE], [], [OTHER, ONE]], [OTHER], "merge first")
@example([[ONE], [OTHER]], [], "merge last")
def test_any_shards_give_what_a_serial_load_gives(shared_uri: str, chunks: Any, old: Any, how: str) -> None:
    mode, _, duplicates = how.partition(" ")
    options = {"key": ["id"], "on_duplicate": duplicates} if duplicates else {}
    outcomes = []
    for table, run in (("serial", lambda p: p.run(on_report_update=None)), ("parallel", lambda p: sharded(p).run())):
        execute(
            shared_uri,
            f"DROP TABLE IF EXISTS {table}",
            f'CREATE TABLE {table} (id bigint, name text, "at" timestamp)',
            *(f"INSERT INTO {table} (id, name) VALUES ({row['id']}, {_literal(row['name'])})" for row in old),
        )
        staging = "tables" if shared_uri.startswith("postgresql") else "parts"
        target = SQLOutputAdapter(shared_uri, table, mode, staging=staging, **options)
        done = run(Pipe(Chunks(chunks), target, None, Row))
        outcomes.append((done, execute(shared_uri, f"SELECT id, name FROM {table}")))
    # In order too: rows of a table lie as they were put in.
    assert outcomes[0] == outcomes[1]
    assert tables_of(shared_uri) == {"serial", "parallel", LEDGER}


NAIVE, AWARE = dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
EVENTS = [[{"id": 1, "at": None}], [{"id": 2, "at": NAIVE}], [], [{"id": 3, "at": None}, {"id": 4, "at": NAIVE}]]


SAME = "CREATE TABLE {} (id bigint PRIMARY KEY, name text, at timestamp)"
OTHER_TYPES = "CREATE TABLE {} (id smallint PRIMARY KEY, name varchar(9), at timestamptz, more int DEFAULT 7)"
NARROW = "CREATE TABLE {} (id int PRIMARY KEY, at timestamp)"
STRICT = "CREATE TABLE {} (id bigint PRIMARY KEY, name text, at timestamp, must int NOT NULL)"


@pytest.mark.parametrize(
    ("mode", "before", "options"),
    [
        ("append", None, {}),
        ("merge", None, {"post_sql": "ALTER TABLE {} ADD CHECK (id > 0)"}),
        ("append", SAME, {}),
        ("replace", SAME, {}),
        ("append", OTHER_TYPES, {}),
        ("replace", OTHER_TYPES, {}),
        ("merge", OTHER_TYPES, {}),
        ("append", NARROW, {"on_drift": "evolve"}),
        ("replace", NARROW, {"on_drift": "evolve"}),
        ("merge", NARROW, {"on_drift": "ignore"}),
        ("append", None, {"pre_sql": "CREATE TABLE {} (at date, id numeric PRIMARY KEY, name text)"}),
        ("merge", None, {"pre_sql": "CREATE TABLE {} (at timestamp, id numeric PRIMARY KEY, name text)"}),
        ("append", STRICT, {}),
        ("fail", SAME, {}),
    ],
)
def test_a_table_takes_the_form_that_a_serial_load_gives_it(
    postgres_uri: str, mode: str, before: str | None, options: dict[str, str]
) -> None:
    def outcome(table: str, load: Pipe | PipeManager) -> Any:
        done = load.run(on_report_update=None)
        columns = execute(
            postgres_uri,
            "SELECT column_name, data_type, is_nullable, ordinal_position FROM information_schema.columns"
            f" WHERE table_name = '{table}' ORDER BY 1",
        )
        held = execute(postgres_uri, f"SELECT * FROM {table} ORDER BY id") if columns else None
        notes = [note.replace(table, "t") for note in load.report.notes]
        return done, columns, held, notes

    def made(table: str) -> Pipe:
        if before is not None:
            execute(postgres_uri, before.format(table))
        own = {name: value.format(table) for name, value in options.items()}
        key = ["id"] if mode == "merge" else []
        return Pipe(Chunks(EVENTS), staged(postgres_uri, table, mode, key=key, **own), None, Row)

    expected = outcome("serial", made("serial"))
    assert outcome("parallel", sharded(made("parallel"))) == expected
    assert tables_of(postgres_uri) <= {"serial", "parallel", LEDGER}


@pytest.mark.parametrize(
    "chunks",
    [
        [[{"a": 1.5}], [{"a": 2}]],  # numbers of another type that fit
        [[{"a": 1}], [{"a": "x"}]],  # values that do not
        [[{"a": None}], [{"a": 3}], [{"a": 4}]],
        [[{"a": 1, "b": 2}], [{"a": 3}]],  # a column that is missing
        [[{"a": 1}], [{"a": 2, "b": 3}]],  # one too many
    ],
)
def test_shards_whose_values_say_what_the_columns_are_agree_as_in_a_serial_load(
    postgres_uri: str, chunks: list[list[dict[str, Any]]]
) -> None:
    serial = Pipe(Chunks(chunks), SQLOutputAdapter(postgres_uri, "serial"))
    manager = sharded(Pipe(Chunks(chunks), staged(postgres_uri, "parallel")))
    assert manager.run() == serial.run()
    assert [table in tables_of(postgres_uri) for table in ("serial", "parallel")] in ([True] * 2, [False] * 2)
    if "serial" in tables_of(postgres_uri):
        assert execute(postgres_uri, "SELECT * FROM serial") == execute(postgres_uri, "SELECT * FROM parallel")
    assert tables_of(postgres_uri) <= {"serial", "parallel", LEDGER}


def test_naive_and_aware_times_in_two_shards_are_refused_as_within_one(postgres_uri: str) -> None:
    chunks = [[{"id": 1, "at": NAIVE}], [{"id": 2, "at": AWARE}]]
    assert not Pipe(Chunks(chunks), SQLOutputAdapter(postgres_uri, "t"), None, Row).run()
    assert not sharded(Pipe(Chunks(chunks), staged(postgres_uri), None, Row)).run()
    assert tables_of(postgres_uri) <= {LEDGER}


def test_rejects_in_a_table_are_published_when_there_are_too_many(postgres_uri: str) -> None:
    chunks = [[{"id": 1}, {"id": "x"}], [{"id": 2}]]
    rejects = staged(postgres_uri, "bad", "replace")
    manager = sharded(Pipe(Chunks(chunks), staged(postgres_uri), rejects, Row, max_errors=0))
    assert not manager.run()
    assert execute(postgres_uri, "SELECT _row FROM bad") == [(2,)]
    assert tables_of(postgres_uri) <= {"bad", LEDGER}
    assert sharded(Pipe(Chunks(chunks), staged(postgres_uri), rejects, Row, max_errors=1)).run()
    assert execute(postgres_uri, "SELECT id FROM t") == [(1,), (2,)]
    assert tables_of(postgres_uri) == {"t", "bad", LEDGER}


# ---- life and death -------------------------------------------------------------------------------------------------


def leave_stage(uri: str, owner: StageOwner = OWNER, shard: int = 0, attempt: int = 1) -> None:
    """A staging table of two rows, as a shard leaves it; the owner lives."""
    writer = TablePart(staged(uri), owner, shard, attempt).open()
    writer.start({"id": ColumnType(STRING.arrow), "name": STRING})
    writer.write(ModelBatch.from_rows([{"id": "1", "name": "x"}] * 2, {"id": STRING, "name": STRING}))
    writer.prepare()
    writer.publish()


def stages(uri: str) -> set[str]:
    return {name for name in tables_of(uri) if name.startswith("_zoopipe_stage_")}


@pytest.mark.parametrize("parallel", [False, True])
def test_the_next_load_removes_what_a_dead_one_has_left_and_nothing_of_a_living_one(
    postgres_uri: str, tmp_path: Path, parallel: bool
) -> None:
    source, living = people(tmp_path, 1, 2, 3), StageOwner("fedcba9876543210")
    execute(postgres_uri, "CREATE UNLOGGED TABLE _zoopipe_stage_mine (x int)")  # by somebody who likes such names
    with connected(postgres_uri) as holder:
        living.hold(holder)
        with connected(postgres_uri) as dying:
            OWNER.hold(dying)
            for shard in range(3):
                leave_stage(postgres_uri, OWNER, shard)
            leave_stage(postgres_uri, living)
        load = Pipe(source, staged(postgres_uri, "other"), None, Person)
        assert load.run()
        assert len(stages(postgres_uri)) == 5  # the loads of another table are none of its business
        load = Pipe(source, staged(postgres_uri), None, Person)
        assert sharded(load).run() if parallel else load.run()
        left = stages(postgres_uri) - {"_zoopipe_stage_mine"}
        assert len(left) == 1
        assert living.name in next(iter(left))
    assert execute(postgres_uri, "SELECT count(*) FROM t") == [(3,)]


def test_a_shard_that_outlives_its_load_leaves_nothing(postgres_uri: str) -> None:
    with connected(postgres_uri) as holder:
        OWNER.hold(holder)
        writer = TablePart(staged(postgres_uri), OWNER, 0).open()
        writer.start({"id": STRING})
        writer.write(ModelBatch.from_rows([{"id": "1"}], {"id": STRING}))
        writer.prepare()
    while execute(postgres_uri, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") != [(0,)]:
        pass  # the server has yet to notice
    with pytest.raises(TargetWriteError, match="has ended"):
        writer.publish()
    writer.abort()
    assert stages(postgres_uri) == set()
    with pytest.raises(TargetWriteError, match="has ended"):
        TablePart(staged(postgres_uri), OWNER, 0).open()


# Killed with its rows copied and its record written, just before the commit.
KILLED = """
import sys
from tests.coordinators.test_tables import staged
from tests.warehouse.loads import Person
from zoopipe_core import Pipe, PipeManager
from zoopipe_core.testing import ThreadEngine
from zoopipe_core.testing.faults import fault

load = Pipe(sys.argv[2], staged(sys.argv[1], mode=sys.argv[3], key=["id"]), None, Person, load_id="a")
with fault("after_ledger", "kill"):
    PipeManager.parallelize_pipe(load, 2, engine=ThreadEngine()).run()
"""


def test_a_coordinator_that_is_killed_leaves_what_the_retry_removes(postgres_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, *range(1, 50))
    assert pipe(people(tmp_path, 1, 100, name="old.csv"), postgres_uri, key=["id"]).run()
    done = subprocess.run([sys.executable, "-c", KILLED, postgres_uri, str(source), "merge"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(stages(postgres_uri)) == 2
    assert execute(postgres_uri, "SELECT count(*) FROM t") == [(2,)]
    load = Pipe(source, staged(postgres_uri, mode="merge", key=["id"]), None, Person, load_id="a")
    assert sharded(load).run()
    assert [n for (n,) in execute(postgres_uri, "SELECT id FROM t ORDER BY id")] == [*range(1, 50), 100]
    assert tables_of(postgres_uri) == {"t", LEDGER}
    assert [(r.status, r.attempt) for r in loads(postgres_uri, "t") if r.load_id == "a"] == [("completed", 2)]


class KillsItself(BaseHook):
    """The first worker that comes here dies, once."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.mark = str(folder / "struck")

    def execute(self, entries: Any, store: dict[str, Any]) -> Any:
        return entries

    def teardown(self, store: dict[str, Any]) -> None:
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)


def _dask() -> BaseEngine:
    from zoopipe_core.engines.dask import DaskEngine

    return DaskEngine(n_workers=2, dependencies="off")


ENGINES: dict[str, Callable[[], BaseEngine]] = {
    "dask": _dask,
    "multiprocess": lambda: MultiProcessEngine(2),
    "zoosync": lambda: ZoosyncPoolEngine(2),
}


@pytest.mark.parametrize("name", ENGINES)
def test_a_worker_that_is_killed_is_replaced_and_its_rows_are_there_once(
    postgres_uri: str, tmp_path: Path, name: str
) -> None:
    source, secret = people(tmp_path, *range(1, 200)), with_password(postgres_uri, "canary")

    def url() -> str:  # called where it is needed, in each process
        (tmp_path / f"asked.{os.getpid()}").touch()
        return secret

    load = Pipe(source, staged(url), None, Person, post_validation_hooks=[KillsItself(tmp_path)])  # type: ignore[arg-type]
    engine = ENGINES[name]()
    try:
        manager = PipeManager.parallelize_pipe(load, 2, engine=engine, retries=1)
        assert manager.run(on_report_update=None), manager.report
    finally:
        engine.close()
    assert sorted(n for (n,) in execute(postgres_uri, "SELECT id FROM t")) == list(range(1, 200))
    assert tables_of(postgres_uri) == {"t", LEDGER}
    assert len(list(tmp_path.glob("asked.*"))) >= 3
    assert max(report.attempt for report in manager.pipe_reports) == 2
    assert "canary" not in repr([manager.report, manager.pipes[0].output_adapter])


def test_a_load_whose_shard_fails_leaves_no_table_of_any_shard(postgres_uri: str) -> None:
    chunks = [[{"id": 1}], [{"id": 2}], [{"id": 2**70}]]
    manager = one_after_the_other(Pipe(Chunks(chunks), staged(postgres_uri), None, Row))
    assert not manager.run()
    assert [report.status for report in manager.pipe_reports] == [PipeStatus.COMPLETED] * 2 + [PipeStatus.FAILED]
    assert manager.report.exception is not None
    assert "row 3 of chunks" in manager.report.exception.message
    assert tables_of(postgres_uri) <= {LEDGER}


# ---- the parts of a load, one by one --------------------------------------------------------------------------------


class Meddles(BaseHook):
    """Does something to the server when the last shard is about to end."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def execute(self, entries: Any, store: dict[str, Any]) -> Any:
        if entries[0]["validated_data"]["id"] == 9:
            self.act()
        return entries


def one_after_the_other(load: Pipe) -> PipeManager:
    return PipeManager.parallelize_pipe(load, 9, engine=ThreadEngine(1))


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("DELETE FROM {}", "no longer all there|1 rows were given"),
        ("DROP TABLE {}", "the part of shard 0 of 2, .* is not there"),
    ],
)
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_rows_that_are_gone_from_a_staging_table_fail_the_load(
    postgres_uri: str, mode: str, statement: str, why: str
) -> None:
    hook = Meddles(lambda: [execute(postgres_uri, statement.format(f'"{name}"')) for name in stages(postgres_uri)])
    key = {"key": ["id"]} if mode == "merge" else {}
    load = Pipe(Chunks([[{"id": 1}], [{"id": 9}]]), staged(postgres_uri, "t", mode, **key), None, Row)
    manager = one_after_the_other(Pipe(**{**load.__getstate__(), "post_validation_hooks": [hook]}))
    assert not manager.run()
    with pytest.raises(TargetError, match=why):
        raise manager.report.cause or AssertionError
    assert tables_of(postgres_uri) <= {LEDGER}


def test_a_user_who_may_not_make_tables_is_told_so_before_any_row_is_read(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        "CREATE TABLE t (id bigint, name text, at timestamp)",
        "DROP ROLE IF EXISTS clerk",
        "CREATE ROLE clerk LOGIN",
        "GRANT INSERT, SELECT ON t TO clerk",
    )
    clerk = postgres_uri.replace("postgres:@", "clerk:@")
    manager = sharded(Pipe(Chunks([[{"id": 1}]]), staged(clerk), None, Row))
    assert not manager.run()
    assert manager.report.read_rows == 0
    assert manager.report.exception is not None
    assert "may not create tables in the schema public" in manager.report.exception.message
    assert 'staging="parts"' in manager.report.exception.message
    parts = SQLOutputAdapter(clerk, "t", "append", staging="parts")
    assert sharded(Pipe(Chunks([[{"id": 1}]]), parts, None, Row)).run()
    assert execute(postgres_uri, "SELECT id FROM t") == [(1,)]


def test_a_connection_that_is_lost_after_the_last_shard_is_made_anew(postgres_uri: str) -> None:
    class Cuts(ReplayCoordinator):
        def on_finish(self, manager: Any, results: Any) -> None:
            execute(
                postgres_uri,
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock'"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            )
            super().on_finish(manager, results)

    pipes = [Pipe([{"id": number}], staged(postgres_uri), None, Row) for number in range(2)]
    manager = PipeManager(pipes, ThreadEngine(), Cuts())
    assert manager.run(), manager.report
    assert execute(postgres_uri, "SELECT id FROM t") == [(0,), (1,)]
    assert tables_of(postgres_uri) <= {"t", LEDGER}


def test_a_load_that_is_cancelled_while_it_is_published_ends_at_once_and_leaves_nothing(postgres_uri: str) -> None:
    slow = staged(postgres_uri, post_sql="SELECT pg_sleep(600)")
    manager = sharded(Pipe(Chunks([[{"id": 1}], [{"id": 2}]]), slow, None, Row))
    manager.start()
    while execute(postgres_uri, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") == [(0,)]:
        assert manager.is_running, manager.report
    manager.shutdown(60)
    assert manager.report.status is PipeStatus.ABORTED
    assert tables_of(postgres_uri) <= {LEDGER}


def test_tables_are_only_for_a_server_and_parts_for_all(tmp_path: Path) -> None:
    manager = sharded(Pipe(Chunks([[{"id": 1}]]), staged(f"duckdb:///{tmp_path}/x.db"), None, Row))
    assert not manager.run()
    assert isinstance(manager.report.cause, SpecError)
    with pytest.raises(SpecError, match="staging has to be one of"):
        SQLOutputAdapter("sqlite:///x.db", "t", staging="tmp")


def test_a_note_tells_all_that_is_known_of_the_columns(postgres_uri: str) -> None:
    with connected(postgres_uri) as holder:
        OWNER.hold(holder)
        leave_stage(postgres_uri)
        leave_stage(postgres_uri, attempt=2)
        found = find_stages(holder, TableName("t", "public"), OWNER)
    assert [(stage.shard, stage.attempt, stage.note.rows) for stage in found] == [(0, 1, 2), (0, 2, 2)]
    note = found[0].note
    assert StageNote.load(note.dump()) == note
    assert note.types == {"id": STRING, "name": STRING}
    assert note.columns["name"].type_name == "text"
