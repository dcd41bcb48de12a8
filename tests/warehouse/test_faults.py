"""What a load leaves behind when something goes wrong at each of its steps, and that a retry completes it."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.databases import tables_of
from tests.warehouse.loads import LEDGER, ids, people, pipe
from zoopipe_core import PipeStatus
from zoopipe_core.adapters import sql_target
from zoopipe_core.errors import AlreadyLoadedError, DatabaseConnectionError, LoadLockedError
from zoopipe_core.ledger import loads
from zoopipe_core.testing.faults import POINTS, CommitProxy, InjectedError, fault

MODES = ("append", "merge", "replace")
ROWS = 200


def expected(mode: str, done: bool) -> list[int]:
    old, new = [1, 2, ROWS + 5], list(range(1, ROWS + 1))
    if not done:
        return old
    return {"append": sorted(old + new), "merge": sorted({*old, *new}), "replace": new}[mode]


def prepared(uri: str, folder: Path, *tables: str) -> Path:
    """Tables with three old rows, a key and a ledger; the file to load."""
    old = people(folder, 1, 2, ROWS + 5, name="old.csv")
    for table in tables:
        assert pipe(old, uri, table).run()
    return people(folder, *range(1, ROWS + 1), name="new.csv")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoopipe_core.adapters.sql_duckdb import DuckDB
    from zoopipe_core.adapters.sql_postgres import PostgreSQL
    from zoopipe_core.adapters.sql_sqlite import SQLite

    for kind in (DuckDB, PostgreSQL, SQLite):
        monkeypatch.setattr(kind, "chunk_rows", 50)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("point", POINTS)
def test_an_error_at_any_point_leaves_the_old_rows_or_the_new_ones_and_a_retry_the_new(
    database_uri: str, tmp_path: Path, point: str, mode: str
) -> None:
    source = prepared(database_uri, tmp_path, "t")
    load = pipe(source, database_uri, mode=mode, key=["id"], load_id="a")
    with fault(point, "raise"):
        assert not load.run()
    assert isinstance(load.report.cause, InjectedError)
    assert ids(database_uri) == expected(mode, point == "after_commit")
    assert load.run()
    assert ids(database_uri) == expected(mode, True)
    (record,) = (record for record in loads(database_uri, "t") if record.load_id == "a")
    assert (record.status, record.report.loaded_rows) == ("completed", ROWS)
    assert record.attempt == (1 if point == "after_commit" else 2)
    assert tables_of(database_uri) == {"t", LEDGER}


# One interpreter for all points: it forks, and the children are killed.
KILLS = """
import json, os, sys
from tests.warehouse.loads import pipe
from zoopipe_core.adapters.sql_sqlite import SQLite
from zoopipe_core.testing.faults import fault

uri, source, cases = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

def run(table, mode, point):
    from zoopipe_core.adapters import sql_duckdb, sql_postgres
    for kind in (sql_duckdb.DuckDB, sql_postgres.PostgreSQL, SQLite):
        kind.chunk_rows = 50
    load = pipe(source, uri, table, mode, key=["id"], load_id="a")
    if point is None:
        return load.run()
    with fault(point, "kill"):
        load.run()

for table, mode, point in cases:
    child = os.fork()
    if not child:
        run(table, mode, point)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), (table, status)
"""


def test_a_load_killed_at_any_point_leaves_the_old_rows_or_the_new_ones_and_a_retry_the_new(
    database_uri: str, tmp_path: Path
) -> None:
    # All combinations are in the test above; here each point and each mode is met.
    cases = [(f"t_{point}", MODES[place % 3], point) for place, point in enumerate(POINTS)]
    source = prepared(database_uri, tmp_path, *(table for table, _, _ in cases))
    script = [sys.executable, "-c", KILLS, database_uri, str(source), json.dumps(cases)]
    done = subprocess.run(script, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for table, mode, point in cases:
        is_done = point == "after_commit"
        assert ids(database_uri, table) == expected(mode, is_done), table
        (record,) = (record for record in loads(database_uri, table) if record.load_id == "a")
        assert record.status == ("completed" if is_done else "running"), table
        load = pipe(source, database_uri, table, mode, key=["id"], load_id="a")
        assert load.run(), load.report
        assert ids(database_uri, table) == expected(mode, True), table
        (record,) = (record for record in loads(database_uri, table) if record.load_id == "a")
        assert (record.status, record.attempt) == ("completed", 1 if is_done else 2), table
    assert tables_of(database_uri) == {LEDGER, *(table for table, _, _ in cases)}


# ---- a connection that is lost during COMMIT ------------------------------------------------------------------------


def through(proxy: CommitProxy, uri: str) -> str:
    """The URL of the same database, by way of the proxy."""
    name = uri.partition("?")[0].rpartition("/")[2]
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"


def socket_of(uri: str) -> str:
    return uri.rpartition("host=")[2] + "/.s.PGSQL.5432"


@pytest.mark.parametrize("mode", MODES)
def test_a_commit_whose_answer_is_lost_is_found_in_the_ledger(postgres_uri: str, tmp_path: Path, mode: str) -> None:
    source = prepared(postgres_uri, tmp_path, "t")
    with CommitProxy(socket_of(postgres_uri), deliver=True) as proxy:
        load = pipe(source, through(proxy, postgres_uri), mode=mode, key=["id"])
        assert load.run(), load.report
        assert proxy.cuts == 1
    assert ids(postgres_uri) == expected(mode, True)
    assert load.report.loaded_rows == ROWS


def test_a_commit_that_is_lost_itself_fails_the_load_and_says_what_is_in_the_table(
    postgres_uri: str, tmp_path: Path
) -> None:
    source = prepared(postgres_uri, tmp_path, "t")
    with CommitProxy(socket_of(postgres_uri), deliver=False) as proxy:
        load = pipe(source, through(proxy, postgres_uri))
        assert not load.run()
        assert isinstance(load.report.cause, DatabaseConnectionError)
        assert load.report.exception is not None
        assert "the load is not in it, nothing was published" in load.report.exception.message
        assert ids(postgres_uri) == expected("append", False)
        assert load.run()
    assert ids(postgres_uri) == expected("append", True)


def test_where_the_ledger_cannot_be_asked_the_outcome_is_said_to_be_unknown_and_a_retry_finds_out(
    postgres_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_target, "ASK_SECONDS", 0.1)
    source = prepared(postgres_uri, tmp_path, "t")
    with CommitProxy(socket_of(postgres_uri), deliver=True) as proxy:
        load = pipe(source, through(proxy, postgres_uri))
        monkeypatch.setattr(sql_target.TargetTable, "_look_up", _unreachable(sql_target.TargetTable._look_up, proxy))
        assert not load.run()
    assert load.report.exception is not None
    assert "Whether the load was published is not known" in load.report.exception.message
    retry = pipe(source, postgres_uri)
    assert retry.run()
    assert any("loaded already" in note for note in retry.report.notes)
    assert ids(postgres_uri) == expected("append", True)


def _unreachable(look_up: object, proxy: CommitProxy) -> object:
    def close_first(self: object, error: object) -> object:
        proxy.__exit__(None, None, None)  # the server cannot be reached any more
        return look_up(self, error)  # type: ignore[operator]

    return close_first


# ---- two at a time --------------------------------------------------------------------------------------------------


def test_of_two_runs_of_one_load_at_the_same_time_one_loads(database_uri: str, tmp_path: Path) -> None:
    source = prepared(database_uri, tmp_path, "t")
    for round_ in range(5):
        pair = [pipe(source, database_uri, load_id=f"round {round_}") for _ in range(2)]
        barrier = threading.Barrier(2)

        def run(load: object, barrier: threading.Barrier = barrier) -> None:
            barrier.wait()
            load.run(on_report_update=None)  # type: ignore[attr-defined]

        threads = [threading.Thread(target=run, args=[load]) for load in pair]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ids(database_uri)) == 3 + ROWS * (round_ + 1)
        reports = [load.report for load in pair]
        assert any(report.status is PipeStatus.COMPLETED and not report.notes for report in reports)
        for report in reports:
            if report.status is not PipeStatus.COMPLETED:
                assert isinstance(report.cause, LoadLockedError | AlreadyLoadedError), report
        assert len([record for record in loads(database_uri, "t") if record.load_id == f"round {round_}"]) == 1


# Exit codes: 0 loaded, or loaded already; 3 told that another one is at it; 1 anything else.
PAIRS = """
import os, sys
from tests.warehouse.loads import pipe
from zoopipe_core.errors import DatabaseConnectionError, LoadLockedError

uri, source, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    read, write = os.pipe()
    children = []
    for _ in range(2):
        child = os.fork()
        if not child:
            os.close(write)
            os.read(read, 1)  # both begin when the other end is closed
            load = pipe(source, uri, load_id=f"round {number}")
            done = load.run(on_report_update=None)
            locked = isinstance(load.report.cause, DatabaseConnectionError | LoadLockedError)
            os._exit(0 if done else 3 if locked else 1)
        children.append(child)
    os.close(read)
    os.close(write)
    codes = sorted(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)
    assert codes in ([0, 0], [0, 3]), codes
"""


def test_of_two_processes_with_one_load_that_start_together_one_loads(database_uri: str, tmp_path: Path) -> None:
    source, rounds = prepared(database_uri, tmp_path, "t"), 10
    script = [sys.executable, "-c", PAIRS, database_uri, str(source), str(rounds)]
    done = subprocess.run(script, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(ids(database_uri)) == 3 + ROWS * rounds
    records = [record for record in loads(database_uri, "t") if record.load_id.startswith("round")]
    assert [record.status for record in records] == ["completed"] * rounds


def test_loads_that_append_may_go_side_by_side_and_others_wait(
    postgres_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoopipe_core import SQLOutputAdapter
    from zoopipe_core.adapters.ledger import LoadKey

    monkeypatch.setattr(sql_target, "TARGET_SECONDS", 0.2)
    monkeypatch.setattr(sql_target, "LOAD_SECONDS", 0.2)
    prepared(postgres_uri, tmp_path, "t")
    first = SQLOutputAdapter(postgres_uri, "t", "append").open_load(LoadKey("a", "1"))
    second = SQLOutputAdapter(postgres_uri, "t", "append").open_load(LoadKey("b", "2"))
    with pytest.raises(LoadLockedError, match=r"the load 'a' of .*::t is under way elsewhere"):
        SQLOutputAdapter(postgres_uri, "t", "append").open_load(LoadKey("a", "3"))
    with pytest.raises(LoadLockedError, match="::t is being written by another load"):
        SQLOutputAdapter(postgres_uri, "t", "replace").open_load(LoadKey("c", "4"))
    first.abort()
    second.abort()
    SQLOutputAdapter(postgres_uri, "t", "replace").open_load(LoadKey("c", "5")).abort()
