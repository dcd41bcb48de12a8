"""SQL adapters when things go wrong: errors that say what and what next, and never a password."""

import os
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.adapters.sql_support import IDS, PEOPLE, batch_of, begun, column_types, finish, load, read
from tests.databases import execute, path_of, tables_of, with_password
from zoopipe_core.adapters import sql_sqlite
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.sql import SQLInputAdapter, SQLOutputAdapter
from zoopipe_core.errors import (
    CorruptSourceError,
    DatabaseConnectionError,
    DatabaseError,
    MissingDependencyError,
    SourceError,
    SourceNotFoundError,
    TargetWriteError,
    ZoopipeError,
)

ROOT = Path(__file__).parents[2]
CANARY = "c4n4ry/pa:ss@w?rd"
FILES = pytest.mark.parametrize("database_uri", ["duckdb", "sqlite"], indirect=True)
DUCKDB = pytest.mark.parametrize("database_uri", ["duckdb"], indirect=True)
SQLITE = pytest.mark.parametrize("database_uri", ["sqlite"], indirect=True)

# ---- sources --------------------------------------------------------------------------------------------------------


@FILES
def test_a_missing_file_is_not_made_by_looking_for_it(database_uri: str) -> None:
    with pytest.raises(SourceNotFoundError, match="there is no file"):
        read(database_uri, "t")
    assert not path_of(database_uri).exists()


@FILES
def test_a_file_that_is_no_database_is_said_to_be_none(database_uri: str) -> None:
    path_of(database_uri).write_bytes(b"this is no database" * 1000)
    with pytest.raises(CorruptSourceError, match=r"is no (DuckDB|SQLite) database"):
        read(database_uri, "t")
    with pytest.raises(TargetWriteError, match=r"is no (DuckDB|SQLite) database"):
        load(database_uri, "t", IDS)
    assert path_of(database_uri).read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELEC 1", "syntax error|no such"),
        ("SELECT nothing FROM t", "nothing"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT 1; SELECT 2", "multiple commands|one statement|syntax error"),
    ],
)
def test_a_query_that_the_database_refuses_fails_with_its_words(database_uri: str, query: str, says: str) -> None:
    load(database_uri, "t", IDS)
    with pytest.raises(
        DatabaseError, match=rf"^{database_uri.partition('?')[0].replace('postgres:@', '')}: .*({says})"
    ):
        read(database_uri, query=query)


@pytest.mark.parametrize("statement", ["DELETE FROM t", "DROP TABLE t", "CREATE TABLE u (x INTEGER)"])
def test_an_input_changes_nothing(database_uri: str, statement: str) -> None:
    load(database_uri, "t", IDS, [(1,)])
    with pytest.raises((DatabaseError, SourceError)):
        read(database_uri, query=statement)
    assert execute(database_uri, "SELECT id FROM t") == [(1,)]
    assert tables_of(database_uri) == {"t"}


def test_a_query_that_fails_in_the_middle_fails_the_reading(database_uri: str) -> None:
    load(
        database_uri, "t", {"x": pa.int64(), "j": pa.string()}, [(number, "[1]") for number in range(5000)], [(0, "[")]
    )
    query = {
        "duckdb": "SELECT 1 / x AS y, CASE WHEN j = '[' THEN error('broken') END AS e FROM t",
        "sqlite": "SELECT json_extract(j, '$[0]') AS y FROM t",
        "postgresql": "SELECT 1 / (5000 - x - 2) AS y FROM t",
    }[database_uri.partition(":")[0]]
    with pytest.raises(DatabaseError, match=r"broken|malformed JSON|division by zero"):
        read(database_uri, query=query)


@SQLITE
def test_text_that_is_no_utf8_is_an_error(database_uri: str) -> None:
    execute(database_uri, "CREATE TABLE t (x TEXT)", "INSERT INTO t VALUES (CAST(x'ff41' AS TEXT))")
    with pytest.raises(DatabaseError, match=r"UTF-8"):
        read(database_uri, "t")


# ---- targets --------------------------------------------------------------------------------------------------------


@FILES
def test_a_folder_or_a_file_in_the_way_is_an_error(database_uri: str) -> None:
    path_of(database_uri).mkdir()
    with pytest.raises(TargetWriteError, match="is a folder"):
        load(database_uri, "t", IDS)
    (path_of(database_uri) / "file").write_text("x")
    with pytest.raises(TargetWriteError, match=r"cannot be made|Not a directory|not a directory"):
        load(f"{database_uri}/file/wh.db", "t", IDS)
    assert os.listdir(path_of(database_uri)) == ["file"]


@FILES
def test_a_full_disk_fails_the_load_and_the_old_table_stays(database_uri: str) -> None:
    load(database_uri, "t", PEOPLE, [(1, "old")])
    code = (
        "import resource, sys, random; from tests.adapters.sql_support import *\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, 3_000_000))\n"
        "names = [random.randbytes(500).hex() for _ in range(5_000)]\n"
        "load(sys.argv[1], 't', PEOPLE, list(enumerate(names)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, database_uri], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "TargetWriteError" in done.stderr
    assert "cannot be written" in done.stderr
    assert execute(database_uri, "SELECT * FROM t") == [(1, "old")]


# ---- locks ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def another_process(database_uri: str) -> Iterator[Any]:
    """Runs a statement in another process, which then keeps the database open."""
    processes: list[subprocess.Popen[str]] = []

    def start(code: str) -> None:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import sys\n{code}\nprint('ready', flush=True)\nsys.stdin.read()",
                path_of(database_uri),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

    yield start
    for process in processes:
        process.communicate("")


@DUCKDB
def test_a_duckdb_file_locked_by_another_process_is_said_to_be(database_uri: str, another_process: Any) -> None:
    load(database_uri, "t", IDS, [(1,)])
    another_process("import duckdb; c = duckdb.connect(sys.argv[1])")
    for attempt in (lambda: read(database_uri, "t"), lambda: load(database_uri, "t", IDS)):
        with pytest.raises(
            DatabaseConnectionError, match=r"locked by another process \(held in .*PID \d+\)\); DuckDB lets one"
        ):
            attempt()


@DUCKDB
def test_two_processes_may_read_a_duckdb_file(database_uri: str, another_process: Any) -> None:
    load(database_uri, "t", IDS, [(1,)])
    another_process("import duckdb; c = duckdb.connect(sys.argv[1], read_only=True)")
    assert read(database_uri, "t") == [(1,)]


@DUCKDB
def test_a_duckdb_file_open_in_this_process_with_other_settings_is_said_to_be(database_uri: str) -> None:
    import duckdb

    load(database_uri, "t", IDS, [(1,)])
    with (
        duckdb.connect(str(path_of(database_uri)), read_only=True),
        pytest.raises(DatabaseConnectionError, match="open in this process with other settings"),
    ):
        load(database_uri, "t", IDS)


@SQLITE
def test_a_locked_sqlite_file_fails_only_the_publication(
    database_uri: str, another_process: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_sqlite, "BUSY_SECONDS", 0.2)
    load(database_uri, "t", IDS, [(1,)])
    another_process(
        "import sqlite3; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); c.execute('INSERT INTO t VALUES (2)')"
    )
    writer = begun(database_uri, "t", IDS, [(3,)])
    writer.prepare()
    with pytest.raises(DatabaseConnectionError, match="is locked by another connection"):
        writer.publish()
    writer.abort()
    assert read(database_uri, "t") == [(1,)]


def test_a_locked_postgresql_table_fails_the_load_after_a_while(
    postgres_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from adbc_driver_postgresql import dbapi

    from zoopipe_core.adapters import sql_postgres

    monkeypatch.setattr(sql_postgres, "LOCK_SECONDS", 0.2)
    load(postgres_uri, "t", IDS, [(1,)])
    with dbapi.connect(postgres_uri) as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLE t")
        with pytest.raises(DatabaseError, match=r"kept the table locked for 0.2 s"):
            load(postgres_uri, "t", IDS, [(2,)])
    assert read(postgres_uri, "t") == [(1,)]


# ---- PostgreSQL: connections ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("open_adapter", [lambda uri: read(uri, "t"), lambda uri: load(uri, "t", IDS)])
@pytest.mark.parametrize("place", ["localhost:1", "no-such-host.invalid", "192.0.2.1:5432"])
def test_an_unreachable_server_is_an_error_within_seconds(place: str, open_adapter: Any) -> None:
    start = time.monotonic()
    with pytest.raises(DatabaseConnectionError, match=rf"(?s)^postgresql://{place}/db cannot be reached: .*Check host"):
        open_adapter(f"postgresql://me:c4n4ry@{place}/db?connect_timeout=2")
    assert time.monotonic() - start < 8


def test_a_server_that_does_not_answer_is_given_up_after_seconds() -> None:
    """Without the limit that is put into the URL, libpq waits for ever."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        start = time.monotonic()
        with pytest.raises(DatabaseConnectionError, match=r"cannot be reached: .*timeout expired"):
            read(f"postgresql://127.0.0.1:{port}/db", "t")
    assert time.monotonic() - start < 10


def test_no_error_shows_the_password(postgres_uri: str) -> None:
    secret = with_password(postgres_uri, CANARY)
    load(secret, "t", PEOPLE, [(1, "a")])
    missing = secret.replace("/test_", "/no_such_")
    parameters = "".join(f"&{name}={CANARY[:6]}" for name in ("sslpassword", "sslkey", "nonsense"))
    attempts = [
        lambda: read(secret, "nowhere"),
        lambda: read(secret, query="SELECT * FROM nowhere"),
        lambda: read(missing, "t"),
        lambda: read(secret + parameters, "t"),
        lambda: read(secret.replace(CANARY[:6], "%zz" + CANARY[:6]), "t"),
        lambda: load(missing, "t", IDS),
        lambda: load(secret, "t", IDS, mode="fail"),
        lambda: load(secret, "t", {"other": pa.int64()}, mode="append"),
        lambda: load(secret, "t", {"id": pa.string()}, mode="append"),
        lambda: load(secret, "no_schema.t", IDS),
        lambda: load(secret, "t", PEOPLE, [(1, "\0")]),
    ]
    for attempt in attempts:
        with pytest.raises(ZoopipeError) as caught:
            attempt()
        text = "".join(traceback.format_exception(caught.value))
        for part in ("c4n4ry", "pa%3Ass", "pa:ss", "w%3Frd", "w?rd"):
            assert part not in text, text


def _terminate(postgres_uri: str) -> None:
    execute(
        postgres_uri,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    time.sleep(0.1)


@pytest.mark.parametrize("moment", ["start", "write", "prepare", "publish"])
def test_a_connection_lost_within_a_load_is_an_error_and_changes_nothing(postgres_uri: str, moment: str) -> None:
    load(postgres_uri, "t", PEOPLE, [(1, "old")])
    writer = SQLOutputAdapter(postgres_uri, "t").open()
    steps = {
        "start": lambda: writer.start(column_types(PEOPLE)),
        "write": lambda: writer.write(batch_of(PEOPLE, [(2, "new")] * 70_000)),
        "prepare": writer.prepare,
        "publish": writer.publish,
    }
    raised = ""
    for name, step in steps.items():
        if name == moment:
            _terminate(postgres_uri)
        try:
            step()
        except DatabaseConnectionError as error:
            raised = str(error)
            break
    writer.abort()
    assert "was lost" in raised
    assert "COMMIT" not in raised or moment in ("prepare", "publish")
    assert read(postgres_uri, "t") == [(1, "old")]


def test_an_error_without_a_text_is_a_lost_connection(postgres_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the driver gives now and then, when it is used again after it was told of the loss."""
    from adbc_driver_manager import AdbcStatusCode, OperationalError, dbapi

    def fail(connection: Any) -> None:
        raise OperationalError("IO: [libpq] Failed to rollback: ", status_code=AdbcStatusCode.IO)

    load(postgres_uri, "t", PEOPLE, [(1, "old")])
    writer = SQLOutputAdapter(postgres_uri, "t").open()
    writer.start(column_types(PEOPLE))
    with monkeypatch.context() as lost:
        lost.setattr(dbapi.Connection, "rollback", fail)
        writer.abort()
    assert read(postgres_uri, "t") == [(1, "old")]


def test_a_connection_lost_while_reading_is_an_error(postgres_uri: str) -> None:
    query = "SELECT generate_series(1, 20000000) AS n"
    with SQLInputAdapter(postgres_uri, query).open(ReadRequest()) as reader:
        batches = iter(reader)
        next(batches)
        _terminate(postgres_uri)
        with pytest.raises(DatabaseConnectionError, match=r"was lost: "):
            for _ in batches:
                pass


def test_without_the_driver_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'zoopipe-plugins\[postgres\]'"):
        read("postgresql://host/db", "t")


def test_a_callable_that_fails_is_named() -> None:
    def vault() -> str:
        raise KeyError("warehouse")

    with pytest.raises(DatabaseConnectionError, match=r"vault\(\), which names the database, raised KeyError"):
        SQLOutputAdapter(vault, "t").open()


def test_an_abort_after_an_error_lets_the_next_load_in(database_uri: str) -> None:
    load(database_uri, "t", IDS, [(1,)])
    for _ in range(3):
        with pytest.raises(ZoopipeError):
            load(database_uri, "t", IDS, [(2**63,)])
    writer = begun(database_uri, "t", IDS, [(2,)])
    finish(writer)
    assert read(database_uri, "t") == [(2,)]
