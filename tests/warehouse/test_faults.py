"""What a load leaves behind when something goes wrong at each of its steps, and that a retry completes it."""

import json
import os
import signal
import subprocess
import sys
import threading
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.databases import execute, tables_of
from tests.warehouse import matrix
from tests.warehouse.loads import LEDGER, ids, people, pipe
from zoopipe_core import PipeStatus
from zoopipe_core.adapters import sql_target
from zoopipe_core.errors import AlreadyLoadedError, DatabaseConnectionError, LoadLockedError
from zoopipe_core.ledger import loads
from zoopipe_core.testing.faults import POINTS, CommitProxy, fault

MODES = ("append", "merge", "replace")
ROWS = 200
OLD = [1, 2, ROWS + 5]
BAD = ["x", "y"]


def expected(mode: str, done: bool) -> list[int]:
    new = list(range(1, ROWS + 1))
    if not done:
        return OLD
    return {"append": sorted(OLD + new), "merge": sorted({*OLD, *new}), "replace": new}[mode]


def rows_after(mode: str) -> list[tuple[int, str]]:
    """All that the table holds when the load is done, in order."""
    old = dict.fromkeys(OLD, "old")
    new = {number: f"n{number}" for number in range(1, ROWS + 1)}
    return sorted({"append": [*old.items(), *new.items()], "merge": (old | new).items(), "replace": new.items()}[mode])


def make_old(uri: str, *tables: str) -> None:
    """Tables with three old rows."""
    text = "VARCHAR" if uri.startswith("duckdb") else "TEXT"
    rows = ", ".join(f"({number}, 'old')" for number in OLD)
    columns = f"id BIGINT NOT NULL, name {text} NOT NULL"
    made = [(f"CREATE TABLE {table} ({columns})", f"INSERT INTO {table} VALUES {rows}") for table in tables]
    execute(uri, *chain.from_iterable(made))


def new_file(folder: Path) -> Path:
    """What is loaded: good rows, with bad ones in their middle."""
    half = ROWS // 2
    return people(folder, *range(1, half + 1), *BAD, *range(half + 1, ROWS + 1), name="new.csv")


def prepared(uri: str, folder: Path) -> Path:
    make_old(uri, "t")
    return new_file(folder)


# ---- every point, every fault, every mode ---------------------------------------------------------------------------

# Faults that strike each target, in groups.
FAULTS = {
    "raise": ("raise",),
    "kill": ("kill",),
    "disk": ("disk_full", "kill_writing"),
    "drop": ("drop",),
    "terminate": ("terminate",),
}
STRIKES = [
    (target, group)
    for target in ("duckdb", "files", "postgresql", "sqlite")
    for group in FAULTS
    # The disk of a server is not that of its client: see below. Files and the other databases have no connection.
    if group != ("disk" if target == "postgresql" else "drop")
]


def cases_of(target: str, group: str) -> list[tuple[str, str, str, str]]:
    """Name, mode, point, fault. Errors and kills meet every point in every mode, and the others in one mode each."""
    modes = ("replace",) if target == "files" else MODES
    cases = [(f"t_{mode}", mode, "", "none") for mode in modes if group == "raise"]
    for place, point in enumerate(POINTS):
        for kind in FAULTS[group]:
            if kind == "kill_writing" and point not in ("mid_stage", "before_ledger", "after_ledger"):
                continue
            met = modes if group in ("raise", "kill") else (modes[place % len(modes)],)
            cases += [(f"t_{mode}_{point}_{kind}", mode, point, kind) for mode in met]
    return cases


@pytest.mark.parametrize(("kind", "group"), STRIKES)
def test_a_fault_at_any_point_leaves_the_old_rows_or_the_new_ones_and_a_retry_the_new(
    kind: str, group: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    cases = cases_of(kind, group)
    names = [name for name, _, _, _ in cases]
    (tmp_path / "out").mkdir()
    place = f"{tmp_path}/out"
    if kind == "files":
        target = place
        for name in names:
            old = "".join(f'{{"id":{number},"name":"old"}}\n' for number in OLD)
            Path(matrix.place_of(target, name)).write_text(old)
    else:
        is_server = kind == "postgresql"
        target = request.getfixturevalue("postgres_uri") if is_server else f"{kind}:///{place}/test.{kind}"
        make_old(target, *names)
    script = [sys.executable, "-m", "tests.warehouse.matrix", target, str(new_file(tmp_path)), json.dumps(cases)]
    done = subprocess.run(script, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [tuple(one["case"]) for one in found] == cases
    wrong = [(why, one) for one in found if (why := faults_of(kind, one))]
    assert not wrong, wrong
    check_nothing_is_left(kind, target, tmp_path, names)


def faults_of(kind: str, found: dict[str, Any]) -> dict[str, Any]:
    """What is not as it should be after a fault and a retry: what it is, and what it should be."""
    _, mode, point, fault = found["case"]
    struck = found["struck"]
    is_done = fault == "none" or point == "after_commit"
    if fault == "kill_writing":
        is_done = struck["ended"] == 0
    if kind == "files" and point == "after_ledger" and fault in ("disk_full", "kill_writing"):
        is_done = True  # to rename a file writes nothing
    if fault == "terminate":
        # What is about to be committed is no longer given up.
        is_done = point in ("before_ledger", "after_ledger", "after_commit")
    ended = {
        "kill": -signal.SIGKILL,
        "kill_writing": 0 if is_done else -signal.SIGXFSZ,
        "terminate": -signal.SIGTERM,
    }.get(fault, 0)
    # The ledger can be told of an end, unless it lies on the disk that is full.
    known = {"raise": "failed", "drop": "failed", "terminate": "aborted"}.get(fault, "running")
    if kind == "files" and point == "after_ledger" and fault == "kill":
        known = "replaced"  # the record tells of a file that never came to be there
    old, new = expected(mode, False), expected(mode, True)
    right = {
        "ended": (struck["ended"], ended),
        "seen": (set(struck["seen"]) - {len(old), len(new)}, set()),
        "after": (sorted(found.get("after", [])), new if is_done else old),
        "known as": (found.get("known as"), "completed" if is_done else known),
        "rows": (sorted(map(tuple, found.get("rows", []))), rows_after(mode)),
        "rejects": (found.get("rejects"), BAD),
        "record": (found.get("record"), ["completed", 1 if is_done else 2, ROWS, len(BAD)]),
    }
    if not ended:
        # What is lost behind the commit takes nothing away from the load; but an error there is not hidden.
        told = "completed" if is_done and fault != "raise" else "failed"
        right["status"] = (struck.get("status"), told)
        right["error"] = (struck.get("error"), ERRORS.get(fault) if told == "failed" else None)
    return {name: pair for name, pair in right.items() if pair[0] != pair[1]}


ERRORS = {"raise": "InjectedError", "disk_full": "TargetWriteError", "drop": "DatabaseConnectionError"}


def check_nothing_is_left(kind: str, target: str, folder: Path, names: list[str]) -> None:
    """No staging, no hidden file of a dead load."""
    if kind == "files":
        kept = [f"{name}.jsonl" for name in names]
        assert set(os.listdir(target)) == {*kept, *(f".{name}.zoopipe-loads" for name in kept)}
    else:
        assert tables_of(target) == {LEDGER, *names}
    if kind in ("duckdb", "sqlite"):
        assert os.listdir(folder / "out") == [f"test.{kind}"]
    beside = {"new.csv", *(f"{name}.rejects.jsonl" for name in names)}
    assert {path.name for path in folder.iterdir() if path.is_file()} == beside


# ---- a connection that is lost during COMMIT ------------------------------------------------------------------------


def through(proxy: CommitProxy, uri: str) -> str:
    """The URL of the same database, by way of the proxy."""
    name = uri.partition("?")[0].rpartition("/")[2]
    return f"postgresql://postgres@127.0.0.1:{proxy.port}/{name}"


def socket_of(uri: str) -> str:
    return uri.rpartition("host=")[2] + "/.s.PGSQL.5432"


@pytest.mark.parametrize("mode", MODES)
def test_a_commit_whose_answer_is_lost_is_found_in_the_ledger(postgres_uri: str, tmp_path: Path, mode: str) -> None:
    source = prepared(postgres_uri, tmp_path)
    with CommitProxy(socket_of(postgres_uri), deliver=True) as proxy:
        load = pipe(source, through(proxy, postgres_uri), mode=mode, key=["id"])
        assert load.run(), load.report
        assert proxy.cuts == 1
    assert ids(postgres_uri) == expected(mode, True)
    assert load.report.loaded_rows == ROWS


def test_a_commit_that_is_lost_itself_fails_the_load_and_says_what_is_in_the_table(
    postgres_uri: str, tmp_path: Path
) -> None:
    source = prepared(postgres_uri, tmp_path)
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
    source = prepared(postgres_uri, tmp_path)
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


# ---- a server whose disk is full ------------------------------------------------------------------------------------

# No file of the server may grow beyond this: more than a segment of its log, which has its size from the start.
SERVER_FILE_BYTES = 18 * 2**20


def test_a_server_whose_disk_is_full_fails_the_load_and_a_retry_loads(postgres_uri: str, tmp_path: Path) -> None:
    make_old(postgres_uri, "t")
    source = tmp_path / "large.csv"
    with source.open("w") as file:
        file.write("id,name\n")
        for number in range(1_000, 1_250):
            file.write(f"{number},{os.urandom(50_000).hex()}\n")
    load = pipe(source, postgres_uri, load_id="a")
    with fault("before_stage", lambda: limit_server(postgres_uri)):
        assert not load.run(on_report_update=None)
    assert load.report.exception is not None
    # A TargetWriteError where the disk itself is full: PostgreSQL has no code for a file that may not grow.
    assert load.report.exception.type == "DatabaseError"
    assert "File too large" in load.report.exception.message
    assert ids(postgres_uri) == OLD
    assert [record.status for record in loads(postgres_uri, "t")] == ["failed"]
    assert load.run(on_report_update=None)
    assert ids(postgres_uri) == sorted([*OLD, *range(1_000, 1_250)])
    assert tables_of(postgres_uri) == {"t", LEDGER}


def limit_server(uri: str) -> None:
    """For the one other connection to this database."""
    sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ((process,),) = execute(uri, sql)
    # As the server's own user: it may not run as root, and not even root may do this from within a container.
    owner = os.stat(f"/proc/{process}")
    command = ["prlimit", f"--pid={process}", f"--fsize={SERVER_FILE_BYTES}"]
    subprocess.run(command, check=True, user=owner.st_uid, group=owner.st_gid)


# ---- two at a time --------------------------------------------------------------------------------------------------


def test_of_two_runs_of_one_load_at_the_same_time_one_loads(database_uri: str, tmp_path: Path) -> None:
    source = prepared(database_uri, tmp_path)
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


# Two processes, which load whenever they are told to. Exit codes would be lost: each answers with a letter.
PAIR = """
import os, sys
from tests.warehouse.loads import pipe
from tests.warehouse.matrix import preload
from zoopipe_core.errors import DatabaseConnectionError, LoadLockedError

uri, source, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
preload()

def serve(commands, answers):
    for number in range(rounds):
        os.read(commands, 1)
        load = pipe(source, uri, load_id=f"round {number}")
        done = load.run(on_report_update=None)
        locked = isinstance(load.report.cause, DatabaseConnectionError | LoadLockedError)
        os.write(answers, (b"=" if load.report.notes else b"+") if done else b"x" if locked else b"!")

pair = []
for _ in range(2):
    (commands, command), (answer, answers) = os.pipe(), os.pipe()
    if not os.fork():
        try:
            serve(commands, answers)
        finally:
            os._exit(0)
    os.close(answers)
    pair.append((command, answer))
for _ in range(rounds):
    for command, _ in pair:
        os.write(command, b".")
    print(*sorted(os.read(answer, 1).decode() for _, answer in pair), sep="")
"""


def test_of_two_processes_with_one_load_that_start_together_one_loads(database_uri: str, tmp_path: Path) -> None:
    make_old(database_uri, "t")
    source, rounds = people(tmp_path, 11, 12), 50
    script = [sys.executable, "-c", PAIR, database_uri, str(source), str(rounds)]
    done = subprocess.run(script, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    # One has loaded; the other was told that it is loaded already, or that somebody is at it.
    assert set(done.stdout.split()) <= {"+=", "+x"}
    assert len(done.stdout.split()) == rounds
    assert len(ids(database_uri)) == len(OLD) + 2 * rounds
    records = [record for record in loads(database_uri, "t") if record.load_id.startswith("round")]
    assert [record.status for record in records] == ["completed"] * rounds


def test_loads_that_append_may_go_side_by_side_and_others_wait(
    postgres_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoopipe_core import SQLOutputAdapter
    from zoopipe_core.adapters.ledger import LoadKey

    monkeypatch.setattr(sql_target, "TARGET_SECONDS", 0.2)
    monkeypatch.setattr(sql_target, "LOAD_SECONDS", 0.2)
    prepared(postgres_uri, tmp_path)
    first = SQLOutputAdapter(postgres_uri, "t", "append").open_load(LoadKey("a", "1"))
    second = SQLOutputAdapter(postgres_uri, "t", "append").open_load(LoadKey("b", "2"))
    with pytest.raises(LoadLockedError, match=r"the load 'a' of .*::t is under way elsewhere"):
        SQLOutputAdapter(postgres_uri, "t", "append").open_load(LoadKey("a", "3"))
    with pytest.raises(LoadLockedError, match="::t is being written by another load"):
        SQLOutputAdapter(postgres_uri, "t", "replace").open_load(LoadKey("c", "4"))
    first.abort()
    second.abort()
    SQLOutputAdapter(postgres_uri, "t", "replace").open_load(LoadKey("c", "5")).abort()
