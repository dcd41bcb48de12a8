"""Loads that are struck by a fault, each in a process of its own: what `test_faults` starts.

    python -m tests.warehouse.matrix TARGET SOURCE '[["name", "append", "mid_stage", "kill"], ...]'

TARGET is the URL of a database, or a folder for files. One interpreter forks for all cases, and prints for each a line
of JSON: what was there after the fault, and after a retry under the same load id.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sqlite3
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from tests.databases import execute, path_of
from tests.warehouse.loads import Person, pipe
from zoopipe_core import Pipe, SingleThreadExecutor
from zoopipe_core.adapters import sql_duckdb, sql_postgres, sql_sqlite
from zoopipe_core.ledger import loads
from zoopipe_core.testing.faults import CommitProxy, fault

CHUNK_ROWS = 50
# What all children would import for themselves. Nothing is run here: a child of a process with threads may hang.
PRELOADED = (
    "adbc_driver_postgresql.dbapi",
    "pyarrow.compute",
    "pyarrow.csv",
    "zoopipe_core.adapters.csv_reader",
    "zoopipe_core.adapters.json_writer",
    "zoopipe_core.adapters.sql_target",
    "zoopipe_core.adapters.sql_writer",
    "zoopipe_core.kernels.switch",
    "zoopipe_core.run",
    "zoopipe_core.schema.columns",
)
LOAD_ID = "a"


def preload() -> None:
    """Import what forked children need."""
    for module in PRELOADED:
        importlib.import_module(module)


def is_database(target: str) -> bool:
    return "://" in target


def place_of(target: str, name: str) -> str:
    """The path of a target that is a file."""
    return f"{target}/{name}.jsonl"


def load_of(target: str, source: str, name: str, mode: str) -> Pipe:
    rejects = f"{Path(source).parent}/{name}.rejects.jsonl"
    if is_database(target):
        return pipe(source, target, name, mode, key=["id"], load_id=LOAD_ID, rejects=rejects)
    executor = SingleThreadExecutor(batch_size=CHUNK_ROWS)
    return Pipe(source, place_of(target, name), rejects, Person, load_id=LOAD_ID, executor=executor)


def rows_of(target: str, name: str) -> list[tuple[int, str]]:
    """All that is in the target, past the code under test."""
    if is_database(target):
        return [(row[0], row[1]) for row in execute(target, f"SELECT id, name FROM {name} ORDER BY id, name")]
    lines = Path(place_of(target, name)).read_text().splitlines()
    return [(row["id"], row["name"]) for row in map(json.loads, lines)]


@contextmanager
def looking(target: str, name: str, tell: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Look at the target all the while, in a thread; each number of rows is told of when it is first seen."""
    ended = threading.Event()

    def look() -> None:
        seen: set[int] = set()
        with ExitStack() as stack:
            count = _counter(target, name, stack)
            while not ended.wait(0.0005):
                found = count()
                if found is not None and found not in seen:
                    seen.add(found)
                    tell({"seen": found})

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _counter(target: str, name: str, stack: ExitStack) -> Callable[[], int | None]:
    """Counts the rows; None while nobody can look."""
    sql = f"SELECT count(*) FROM {name}"
    if target.startswith("duckdb"):
        import duckdb

        duck = stack.enter_context(duckdb.connect(str(path_of(target))))
        return lambda: int(duck.execute(sql).fetchall()[0][0])
    if target.startswith("sqlite"):
        lite = stack.enter_context(closing(sqlite3.connect(path_of(target), isolation_level=None, timeout=0)))

        def count() -> int | None:
            try:
                return int(lite.execute(sql).fetchone()[0])
            except sqlite3.OperationalError:  # locked, for the moment of the commit
                return None

        return count
    if is_database(target):
        from adbc_driver_postgresql import dbapi

        cursor = stack.enter_context(stack.enter_context(dbapi.connect(target, autocommit=True)).cursor())

        def count_there() -> int:
            cursor.execute(sql)
            return int(cursor.fetchall()[0][0])

        return count_there
    return lambda: len(Path(place_of(target, name)).read_bytes().splitlines())


def strike(target: str, source: str, case: list[str], tell: Callable[[dict[str, Any]], None]) -> None:
    """The first try, to which the fault happens."""
    name, mode, point, kind = case
    with ExitStack() as stack:
        if kind == "drop":
            server, _, socket = target.rpartition("?host=")
            proxy = stack.enter_context(CommitProxy(f"{socket}/.s.PGSQL.5432", times=0))
            database = server.rpartition("/")[2]
            load = load_of(f"postgresql://postgres@127.0.0.1:{proxy.port}/{database}", source, name, mode)
            stack.enter_context(fault(point, proxy.cut))
        else:
            load = load_of(target, source, name, mode)
            # On a full disk nobody looks: a second connection to DuckDB would keep what the first could tidy up.
            if kind in ("raise", "kill"):
                stack.enter_context(looking(target, name, tell))
            if kind != "none":
                stack.enter_context(fault(point, (lambda: terminated(load)) if kind == "terminate" else kind))
        load.run(on_report_update=None)
        exception = load.report.exception
        tell(
            {
                "status": load.report.status.value,
                "error": exception and exception.type,
                "message": exception and exception.message,
            }
        )


def terminated(load: Pipe) -> None:
    """SIGTERM for this process, and some time to notice it: the load is at a point, in a thread of its own."""
    os.kill(os.getpid(), signal.SIGTERM)
    assert load._state.run is not None
    assert load._state.run.stop.wait(60)


def judge(target: str, source: str, case: list[str], tell: Callable[[dict[str, Any]], None]) -> None:
    """What was left, and what a second try makes of it."""
    name, mode = case[:2]
    (record,) = records_of(target, name)
    tell({"after": [number for number, _ in rows_of(target, name)], "known as": record.status})
    load = load_of(target, source, name, mode)
    assert load.run(on_report_update=None), load.report
    (record,) = records_of(target, name)
    rejects = Path(source).parent / f"{name}.rejects.jsonl"
    tell(
        {
            "rows": rows_of(target, name),
            "rejects": [json.loads(line)["id"] for line in rejects.read_text().splitlines()],
            "record": [record.status, record.attempt, record.report.loaded_rows, record.report.rejected_rows],
        }
    )


def records_of(target: str, name: str) -> list[Any]:
    found = loads(target, name) if is_database(target) else loads(place_of(target, name))
    return [record for record in found if record.load_id == LOAD_ID]


def in_child(work: Callable[[Callable[[dict[str, Any]], None]], None]) -> dict[str, Any]:
    """Run in a process of its own what tells things one after the other; all of them, and how the process ended."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            work(lambda fact: os.write(write, f"{json.dumps(fact)}\n".encode()) and None)
        except BaseException:  # noqa: BLE001  the parent is told
            os.write(write, f"{json.dumps({'raised': traceback.format_exc()})}\n".encode())
        finally:
            os._exit(0)
    os.close(write)
    told: dict[str, Any] = {"seen": []}
    with open(read) as facts:
        for line in facts:
            fact = json.loads(line)
            told["seen"] += [fact.pop("seen")] if "seen" in fact else []
            told.update(fact)
    told["ended"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return told


def main() -> None:
    target, source, cases = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    preload()
    for kind in (sql_duckdb.DuckDB, sql_postgres.PostgreSQL, sql_sqlite.SQLite):
        kind.chunk_rows, kind.chunks_at_once = CHUNK_ROWS, 1  # type: ignore[attr-defined]
    for case in cases:
        struck = in_child(lambda tell, case=case: strike(target, source, case, tell))  # type: ignore[misc]
        judged = in_child(lambda tell, case=case: judge(target, source, case, tell))  # type: ignore[misc]
        sys.stdout.write(json.dumps({"case": case, **judged, "struck": struck}) + "\n")


if __name__ == "__main__":
    main()
