"""Load ids: an input is loaded once under one name, whatever happens, and the ledger tells of it."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from tests.databases import execute, path_of
from tests.warehouse.loads import LEDGER, Person, changed, ids, people, pipe
from zoopipe_core import (
    BaseHook,
    JSONOutputAdapter,
    Pipe,
    PipeReport,
    PipeStatus,
    PyGeneratorInputAdapter,
    PyGeneratorOutputAdapter,
    SQLOutputAdapter,
)
from zoopipe_core.adapters import sql
from zoopipe_core.adapters.ledger import Fingerprint, LoadKey, LoadRecord
from zoopipe_core.adapters.sql_connect import DatabaseURL, connect
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_ledger import SQLLedger
from zoopipe_core.errors import AlreadyLoadedError, LoadIdError, SpecError, TargetWriteError
from zoopipe_core.ledger import loads

# ---- append: the input names the load -------------------------------------------------------------------------------


def test_a_file_that_is_appended_twice_is_loaded_once(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1, 2, "x")
    load = pipe(source, database_uri)
    for _ in range(2):
        assert load.run()
    assert pipe(source, database_uri).run()
    assert ids(database_uri) == [1, 2]


def test_the_second_run_has_the_report_of_the_first_and_says_so(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1, 2, "x")
    first = pipe(source, database_uri)
    assert first.run()
    second = pipe(source, database_uri)
    assert second.run()
    assert ids(database_uri) == [1, 2]
    told = second.report
    assert told.status is PipeStatus.COMPLETED
    assert (told.read_rows, told.loaded_rows, told.rejected_rows) == (3, 2, 1)
    assert told.started_at == first.report.started_at
    assert told.load_id == first.report.load_id
    assert any("loaded already; nothing was read" in note for note in told.notes)
    assert not first.report.notes


def test_nothing_of_a_loaded_file_is_read_again(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    stamp = source.stat().st_mtime_ns
    assert pipe(source, database_uri).run()
    source.write_bytes(b"\0" * source.stat().st_size)  # whoever reads it fails
    os.utime(source, ns=(stamp, stamp))
    assert pipe(source, database_uri).run()
    assert ids(database_uri) == [1]


def test_a_file_that_has_changed_is_another_input(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    assert pipe(source, database_uri).run()
    assert pipe(changed(source, 2), database_uri).run()
    assert ids(database_uri) == [1, 2]


def test_the_path_may_be_written_in_another_way(
    database_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = people(tmp_path, 1)
    assert pipe(source, database_uri).run()
    monkeypatch.chdir(tmp_path)
    assert pipe("people.csv", database_uri).run()
    assert ids(database_uri) == [1]


def test_each_table_remembers_for_itself(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    for table in ("t", "u"):
        assert pipe(source, database_uri, table).run()
        assert ids(database_uri, table) == [1]
    assert [len(loads(database_uri, table)) for table in ("t", "u", "v")] == [1, 1, 0]


@pytest.mark.parametrize(
    "source", [[{"id": 1, "name": "a"}], PyGeneratorInputAdapter(lambda: iter([{"id": 1, "name": "a"}]))]
)
def test_what_has_no_state_that_could_be_told_is_loaded_each_time(database_uri: str, source: Any) -> None:
    for _ in range(2):
        assert pipe(source, database_uri).run()
    assert ids(database_uri) == [1, 1]
    assert len(loads(database_uri, "t")) == 2


def test_a_query_is_asked_each_time_since_its_answer_may_have_changed(database_uri: str, tmp_path: Path) -> None:
    assert pipe(people(tmp_path, 1), database_uri, "source").run()
    for _ in range(2):
        assert pipe(f"{database_uri}::source", database_uri).run()
    assert ids(database_uri) == [1, 1]


class Other(BaseModel):
    id: int
    name: Annotated[str, Field(max_length=5)]


class Least(BaseHook):
    def __init__(self, number: int) -> None:
        self.number = number

    def execute(self, entries: Any, store: Any) -> Any:
        return [entry for entry in entries if int(entry["raw_data"]["id"]) >= self.number]


def test_a_hook_with_other_settings_makes_another_load_of_the_same_file(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1, 2, 3)

    def load(number: int) -> Pipe:
        return Pipe(source, SQLOutputAdapter(database_uri, "t", "append"), None, Person, [Least(number)])

    assert load(2).run()
    assert load(2).run()
    other = load(1)
    assert not other.run()
    assert isinstance(other.report.cause, LoadIdError)
    assert ids(database_uri) == [2, 3]


def test_another_model_for_a_loaded_file_is_refused_and_not_passed_over(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    assert pipe(source, database_uri).run()
    other = pipe(source, database_uri, model=Other)
    assert not other.run()
    assert isinstance(other.report.cause, LoadIdError)
    assert "with another model or other hooks" in str(other.report.cause)
    assert pipe(source, database_uri, model=Other, if_loaded="again").run()
    assert ids(database_uri) == [1, 1]


def test_a_load_by_append_that_was_replaced_meanwhile_is_done_again(database_uri: str, tmp_path: Path) -> None:
    first, second = people(tmp_path, 1), people(tmp_path, 2, name="others.csv")
    assert pipe(first, database_uri).run()
    assert pipe(second, database_uri, mode="replace").run()
    assert ids(database_uri) == [2]
    assert pipe(first, database_uri).run()
    assert ids(database_uri) == [1, 2]
    assert [record.status for record in loads(database_uri, "t")] == ["completed", "completed"]


def test_a_load_into_a_table_that_was_dropped_is_done_again(database_uri: str, tmp_path: Path) -> None:
    load = pipe(people(tmp_path, 1), database_uri, load_id="one")
    assert load.run()
    execute(database_uri, "DROP TABLE t")
    assert loads(database_uri, "t")[0].status == "replaced"
    assert load.run()
    assert ids(database_uri) == [1]
    assert [(record.status, record.attempt) for record in loads(database_uri, "t")] == [("completed", 2)]


# ---- load ids that are given ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["append", "replace"])
def test_a_load_with_a_name_is_done_once(database_uri: str, mode: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    for _ in range(2):
        load = pipe(source, database_uri, mode=mode, load_id="2024-01-31")
        assert load.run()
        assert load.report.load_id == "2024-01-31"
    execute(database_uri, "UPDATE t SET name = 'by hand'")
    assert pipe(source, database_uri, mode=mode, load_id="2024-01-31").run()
    assert execute(database_uri, "SELECT * FROM t") == [(1, "by hand")]


def test_the_mode_fail_passes_over_its_own_load(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    for _ in range(2):
        assert pipe(source, database_uri, mode="fail", load_id="a").run()
    assert not pipe(source, database_uri, mode="fail", load_id="b").run()


def test_a_name_that_another_input_has_is_refused(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    assert pipe(source, database_uri, load_id="a").run()
    other = pipe(changed(source, 2, 3), database_uri, load_id="a")
    assert not other.run()
    message = str(other.report.cause)
    assert isinstance(other.report.cause, LoadIdError)
    assert "then: " in message
    assert f"now:  {source}, 18 bytes, changed " in message
    assert ids(database_uri) == [1]
    assert other.report.read_rows == 0


def test_if_loaded_says_what_becomes_of_a_load_that_is_done(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    assert pipe(source, database_uri, load_id="a").run()
    refused = pipe(source, database_uri, load_id="a", if_loaded="fail")
    assert not refused.run()
    assert isinstance(refused.report.cause, AlreadyLoadedError)
    assert ids(database_uri) == [1]
    again = pipe(changed(source, 2), database_uri, load_id="a", if_loaded="again")
    assert again.run()
    assert again.report.attempt == 2
    assert ids(database_uri) == [1, 2]
    assert len(loads(database_uri, "t")) == 1


def test_replace_without_a_name_is_done_each_time(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    assert pipe(source, database_uri, mode="replace").run()
    execute(database_uri, "DELETE FROM t")
    assert pipe(source, database_uri, mode="replace").run()
    assert ids(database_uri) == [1]
    assert [record.status for record in loads(database_uri, "t")] == ["replaced", "completed"]


def test_an_older_replace_is_done_again_when_a_newer_one_has_taken_its_place(database_uri: str, tmp_path: Path) -> None:
    days = {day: people(tmp_path, day, name=f"{day}.csv") for day in (1, 2)}
    for day in (1, 2, 1):
        assert pipe(days[day], database_uri, mode="replace", load_id=f"day {day}").run()
        assert ids(database_uri) == [day]


@pytest.mark.parametrize("load_id", ["", "a\0b", "two\nlines", "x" * 201, 7, "\ud800"])
def test_a_load_id_is_a_printable_text(load_id: Any) -> None:
    with pytest.raises(SpecError, match="load_id has to be a printable text"):
        Pipe([], None, load_id=load_id)


def test_if_loaded_is_one_of_three_words() -> None:
    with pytest.raises(SpecError, match="if_loaded has to be one of 'skip', 'fail', 'again', not 'ignore'"):
        Pipe([], None, if_loaded="ignore")


@pytest.mark.parametrize("load_id", ["'; DROP TABLE t; --", "ä€🦜", "$1", "?", "%s"])
def test_a_load_id_is_data_whatever_it_holds(database_uri: str, load_id: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1)
    for _ in range(2):
        assert pipe(source, database_uri, load_id=load_id).run()
    assert ids(database_uri) == [1]
    assert [record.load_id for record in loads(database_uri, "t")] == [load_id]


def test_targets_without_a_memory_only_report_the_name(tmp_path: Path) -> None:
    result = PyGeneratorOutputAdapter()
    for _ in range(2):
        for output in (result, None):
            load = Pipe(people(tmp_path, 1), output, None, Person, load_id="a")
            assert load.run()
            assert (load.report.load_id, load.report.read_rows, load.report.notes) == ("a", 1, ())


# ---- tries ----------------------------------------------------------------------------------------------------------


def test_tries_of_a_load_with_a_name_are_counted_and_leave_one_record(database_uri: str, tmp_path: Path) -> None:
    assert pipe(people(tmp_path, 0, name="zero.csv"), database_uri).run()
    source = people(tmp_path, 1, "x")
    for attempt in (1, 2):
        failing = pipe(source, database_uri, load_id="a", max_errors=0)
        assert not failing.run()
        assert failing.report.attempt == attempt
        (record,) = (record for record in loads(database_uri, "t") if record.load_id == "a")
        assert (record.status, record.attempt) == ("failed", attempt)
        assert record.report.exception is not None
        assert record.report.exception.type == "TooManyRejectsError"
        assert record.committed_at is None
    assert pipe(source, database_uri, load_id="a").run()
    assert ids(database_uri) == [0, 1]
    records = [record for record in loads(database_uri, "t") if record.load_id == "a"]
    assert [(record.status, record.attempt) for record in records] == [("completed", 3)]


def test_a_failed_load_without_a_name_leaves_no_trace(database_uri: str, tmp_path: Path) -> None:
    assert not pipe(people(tmp_path, "x"), database_uri, max_errors=0).run()
    assert loads(database_uri, "t") == []
    if not database_uri.startswith("postgresql"):
        assert os.listdir(tmp_path) == ["people.csv"]


# ---- connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("load_id", ["a", None])
def test_a_load_looks_and_writes_over_one_connection(
    database_uri: str, load_id: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pipe(people(tmp_path, 0, name="zero.csv"), database_uri).run()
    opened: list[bool] = []

    def counted(url: DatabaseURL, *, read_only: bool) -> Database:
        opened.append(read_only)
        return connect(url, read_only=read_only)

    monkeypatch.setattr(sql, "connect", counted)
    assert pipe(people(tmp_path, 1), database_uri, load_id=load_id).run()
    assert opened == [False]
    assert ids(database_uri) == [0, 1]


def test_a_connection_that_is_kept_for_a_source_that_is_not_there_is_let_go(database_uri: str, tmp_path: Path) -> None:
    load = pipe(tmp_path / "in.csv", database_uri, load_id="a", model=None)
    people(tmp_path, 1, name="in.csv").write_bytes(b"\xff\xfe")  # found, and no CSV file
    assert not load.run()
    assert [record.status for record in loads(database_uri, "t")] == ["failed"]
    if database_uri.startswith("postgresql"):
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        assert execute(database_uri, others) == [(1,)]
    elif database_uri.startswith("duckdb"):
        code = "import duckdb, sys; duckdb.connect(sys.argv[1])"
        subprocess.run([sys.executable, "-c", code, path_of(database_uri)], check=True)


def test_a_connection_that_the_server_ends_meanwhile_is_opened_anew(
    postgres_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = SQLLedger.take

    def late(ledger: SQLLedger) -> Any:
        ended = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
        assert execute(postgres_uri, f"{ended} AND pid <> pg_backend_pid()") == [(True,)]
        return take(ledger)

    monkeypatch.setattr(SQLLedger, "take", late)
    load = pipe(people(tmp_path, 1), postgres_uri, load_id="a")
    assert load.run(), load.report
    assert ids(postgres_uri) == [1]


def test_whether_a_file_is_loaded_can_be_told_while_another_process_reads_the_database(tmp_path: Path) -> None:
    uri, source = f"duckdb:///{tmp_path}/wh.duckdb", people(tmp_path, 1)
    assert pipe(source, uri).run()
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1], read_only=True); print(flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, path_of(uri)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        again = pipe(source, uri)
        done = again.run()
        reader.communicate()
    assert done
    assert "loaded already" in again.report.notes[0]


# ---- what is remembered ---------------------------------------------------------------------------------------------


def test_the_ledger_tells_of_a_load_in_columns_and_as_a_report(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, 1, 2, "x")
    before = datetime.now(UTC) - timedelta(seconds=1)
    load = pipe(source, database_uri, load_id="a")
    assert load.run()
    (record,) = loads(database_uri, "t")
    assert (record.load_id, record.mode, record.status, record.attempt) == ("a", "append", "completed", 1)
    assert record.target in ("t", "main.t", "public.t")
    assert record.started_at == load.report.started_at
    assert record.committed_at is not None
    assert before < record.started_at <= record.committed_at < datetime.now(UTC) + timedelta(seconds=1)
    assert str(source) in record.input
    assert "zoopipe" in record.versions
    told = record.report
    assert told.status is PipeStatus.COMPLETED
    assert told.rejections == load.report.rejections
    assert (told.source, told.target, told.rejected_rows) == (str(source), load.report.target, 1)
    counts = execute(
        database_uri,
        f"SELECT rows_read, rows_loaded, rows_rejected, rows_filtered, rows_added, status FROM {LEDGER}",
    )
    assert counts == [(3, 2, 1, 0, 0, "completed")]


def test_loads_of_a_url_with_a_table_and_of_none(database_uri: str, tmp_path: Path) -> None:
    assert loads(database_uri, "t") == []
    assert pipe(people(tmp_path, 1), database_uri).run()
    assert len(loads(f"{database_uri}::t")) == len(loads(lambda: database_uri, "t")) == 1
    with pytest.raises(SpecError):
        loads(lambda: database_uri)


def test_the_latest_loads_can_be_asked_for_by_the_adapter_that_writes_them(database_uri: str, tmp_path: Path) -> None:
    for target in (SQLOutputAdapter(database_uri, "t", mode="append"), JSONOutputAdapter(tmp_path / "t.jsonl")):
        for day in (1, 2, 3):
            assert Pipe(people(tmp_path, day), target, None, Person, load_id=f"day {day}").run()
        assert [record.load_id for record in loads(target)] == ["day 1", "day 2", "day 3"]
        assert [record.load_id for record in loads(target, latest=2)] == ["day 2", "day 3"]
        assert len(loads(target, latest=9)) == 3


@pytest.mark.parametrize("database_uri", ["duckdb", "postgresql"], indirect=True)
def test_each_schema_has_a_ledger_of_its_own(database_uri: str, tmp_path: Path) -> None:
    execute(database_uri, "CREATE SCHEMA analytics")
    source = people(tmp_path, 1)
    for _ in range(2):
        assert pipe(source, database_uri, "analytics.t").run()
    assert ids(database_uri, "analytics.t") == [1]
    assert execute(database_uri, f"SELECT count(*) FROM analytics.{LEDGER}") == [(1,)]
    (record,) = loads(database_uri, "analytics.t")
    assert record.target == "analytics.t"


def test_times_are_read_whatever_way_the_database_shows_them(postgres_uri: str, tmp_path: Path) -> None:
    name = postgres_uri.partition("?")[0].rpartition("/")[2]
    execute(postgres_uri, f"ALTER DATABASE {name} SET datestyle = 'German'")
    execute(postgres_uri, f"ALTER DATABASE {name} SET timezone = 'Asia/Kathmandu'")
    load = pipe(people(tmp_path, 1), postgres_uri)
    assert load.run()
    assert loads(postgres_uri, "t")[0].started_at == load.report.started_at


def test_where_no_ledger_may_be_made_only_loads_with_a_name_fail(postgres_uri: str, tmp_path: Path) -> None:
    role = f"clerk_{postgres_uri.partition('?')[0].rpartition('/')[2]}"
    execute(
        postgres_uri,
        "CREATE TABLE t (id bigint, name text)",
        f"CREATE ROLE {role} LOGIN",
        f"GRANT SELECT, INSERT ON t TO {role}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    uri = postgres_uri.replace("postgres:@", f"{role}:@")
    source = people(tmp_path, 1)
    load = pipe(source, uri)
    assert load.run(), load.report
    assert any("not in the ledger" in note for note in load.report.notes)
    named = pipe(source, uri, load_id="a")
    assert not named.run()
    assert ids(postgres_uri) == [1]


def test_a_record_goes_to_json_and_back() -> None:
    report = PipeReport(source="a", target="b", status=PipeStatus.COMPLETED, finished_at=datetime.now(UTC))
    key = LoadKey("id", "run", str(Fingerprint.of(["x"], "x, 1 byte")), "schema", attempt=3)
    record = LoadRecord.of(key, "t", "append", report, "zoopipe 1")
    assert record.report.load_id == "id"
    assert record.report.attempt == 3
    assert LoadRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


# ---- files ----------------------------------------------------------------------------------------------------------


def to_file(source: Path, target: Path, **options: Any) -> Pipe:
    return Pipe(source, target, None, Person, **options)


def test_a_file_is_written_once_under_a_name_and_each_time_without_one(tmp_path: Path) -> None:
    source, target = people(tmp_path, 1), tmp_path / "out" / "people.jsonl"
    assert to_file(source, target).run()
    assert os.listdir(target.parent) == ["people.jsonl"]
    first = to_file(source, target, load_id="a")
    assert first.run()
    stamp = target.stat()
    second = to_file(source, target, load_id="a")
    assert second.run()
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (stamp.st_ino, stamp.st_mtime_ns)
    assert second.report.loaded_rows == 1
    assert any("loaded already" in note for note in second.report.notes)
    assert [(record.status, record.target) for record in loads(target)] == [("completed", "people.jsonl")]
    assert to_file(source, target).run()
    assert target.stat().st_ino != stamp.st_ino


@pytest.mark.parametrize("harm", ["removed", "replaced", "changed"])
def test_a_file_that_is_no_longer_the_one_that_was_loaded_is_loaded_again(tmp_path: Path, harm: str) -> None:
    source, target = people(tmp_path, 1), tmp_path / "out.jsonl"
    load = to_file(source, target, load_id="a")
    assert load.run()
    expected = target.read_bytes()
    if harm == "removed":
        target.unlink()
    elif harm == "replaced":
        assert to_file(people(tmp_path, 2, name="others.csv"), target).run()
    else:
        target.write_bytes(b"")
    assert loads(target)[0].status == "replaced"
    assert load.run()
    assert target.read_bytes() == expected
    assert load.report.attempt == 2
    assert len(loads(target)) == 1


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "json", "parquet", "arrow"])
def test_every_format_of_files_remembers(tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"out.{suffix}"
    load = to_file(people(tmp_path, 1), target, load_id="a")
    for _ in range(2):
        assert load.run()
    assert load.report.attempt == 1
    assert load.report.notes


def test_a_crash_between_the_record_and_the_rename_leaves_the_load_to_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoopipe_core.adapters import atomic

    source, target = people(tmp_path, 1), tmp_path / "out.jsonl"
    assert to_file(people(tmp_path, 7, name="old.csv"), target).run()
    renamed = os.replace

    def crash(origin: str, place: str) -> None:
        if place == str(target):
            raise KeyboardInterrupt
        renamed(origin, place)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "replace", crash)
        load = to_file(source, target, load_id="a")
        with pytest.raises(KeyboardInterrupt):
            load._load(load._new_progress(), __import__("threading").Event())
    assert b'"id":7' in target.read_bytes()
    assert [record.status for record in loads(target)] == ["aborted"]
    assert to_file(source, target, load_id="a").run()
    assert b'"id":1' in target.read_bytes()


def test_a_damaged_ledger_of_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    source, target = people(tmp_path, 1), tmp_path / "out.jsonl"
    assert to_file(source, target, load_id="a").run()
    ledger = tmp_path / ".out.jsonl.zoopipe-loads"
    ledger.write_bytes(ledger.read_bytes()[:50])
    load = to_file(source, target, load_id="a")
    assert not load.run()
    assert isinstance(load.report.cause, TargetWriteError)
    assert str(ledger) in str(load.report.cause)


def test_devices_and_remote_stores_keep_no_ledger(tmp_path: Path) -> None:
    for target in ("/dev/null", "memory://ledger/out.jsonl"):
        load = Pipe(people(tmp_path, 1), JSONOutputAdapter(target, format="jsonl"), None, Person, load_id="a")
        for _ in range(2):
            assert load.run(), load.report
            assert load.report.notes == ()


# ---- on the command line --------------------------------------------------------------------------------------------


def test_the_command_line_tells_of_each_load_and_what_to_do_about_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from zoopipe_core.__main__ import app

    def told(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["loads", *arguments])
        return result.exit_code, result.output

    uri = f"duckdb:///{tmp_path}/wh.duckdb"
    source = people(tmp_path, 1, "x")
    assert not pipe(source, uri, load_id="monday", max_errors=0).run()
    monkeypatch.setenv("WAREHOUSE", uri)
    code, text = told("env:WAREHOUSE", "t")
    assert code == 0
    assert "monday: failed (append, try 1, begun 20" in text
    assert "TooManyRejectsError: 1 rows were rejected" in text
    assert "repair the cause, then run it again under the same load_id" in text
    assert pipe(source, uri, load_id="monday").run()
    assert pipe(source, uri, load_id="tuesday").run()
    code, text = told(f"{uri}::t", "--load-id", "monday")
    assert code == 0
    assert "monday: completed (append, try 2, " in text
    assert "2 read, 1 loaded, 1 rejected" in text
    assert "nothing to do" in text
    assert "people.csv" in text
    assert "tuesday" not in text
    assert told(uri, "t", "--load-id", "friday")[0] == 1
    assert told("env:NOWHERE", "t")[0] == 1
    assert told("nonsense://x", "t")[0] == 1
