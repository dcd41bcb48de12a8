"""Load ids of loads in shards: one name, one record, whatever the number of workers."""

import os
from pathlib import Path

import pytest

from tests.databases import execute, tables_of
from tests.warehouse.loads import LEDGER, Person, changed, ids, people, pipe
from zoopipe_core import Pipe, PipeManager, PipeStatus
from zoopipe_core.errors import AlreadyLoadedError, LoadIdError
from zoopipe_core.ledger import loads
from zoopipe_core.testing import ThreadEngine


def sharded(load: Pipe, **options: object) -> PipeManager:
    return PipeManager.parallelize_pipe(load, 3, engine=ThreadEngine(), **options)  # type: ignore[arg-type]


NUMBERS = range(1, 50)


def test_a_file_that_is_appended_in_shards_is_loaded_once_and_never_split_again(
    database_uri: str, tmp_path: Path
) -> None:
    source = people(tmp_path, *NUMBERS)
    first = sharded(pipe(source, database_uri))
    assert first.run()
    source_text, stamp = source.read_bytes(), source.stat().st_mtime_ns
    source.write_bytes(b"\0" * len(source_text))
    os.utime(source, ns=(stamp, stamp))
    second = sharded(pipe(source, database_uri))
    assert second.run()
    assert ids(database_uri) == list(NUMBERS)
    assert second.report.status is PipeStatus.COMPLETED
    assert second.report.loaded_rows == 49
    assert any("loaded already; nothing was read" in note for note in second.report.notes)
    (record,) = loads(database_uri, "t")
    assert (record.report.read_rows, record.report.pipe_count) == (49, 3)
    assert record.load_id == first.report.load_id == second.report.load_id
    assert tables_of(database_uri) == {"t", LEDGER}


def test_a_serial_run_and_one_in_shards_are_the_same_load(database_uri: str, tmp_path: Path) -> None:
    load = pipe(people(tmp_path, *NUMBERS), database_uri)
    assert load.run()
    assert sharded(load).run()
    assert ids(database_uri) == list(NUMBERS)


def test_a_name_may_be_given_to_the_shards(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, *NUMBERS)
    load = pipe(source, database_uri, mode="replace")
    assert sharded(load, load_id="a").run()
    execute(database_uri, "DELETE FROM t WHERE id > 1")
    manager = sharded(load, load_id="a")
    assert manager.run()
    assert ids(database_uri) == [1]
    changed(source, 7, 8)
    refused = sharded(load, load_id="a")
    assert not refused.run()
    assert isinstance(refused.report.cause, LoadIdError)
    failing = sharded(pipe(source, database_uri, mode="replace", load_id="b"), if_loaded="fail")
    assert failing.run()
    assert not failing.run()
    assert isinstance(failing.report.cause, AlreadyLoadedError)
    again = sharded(load, load_id="b", if_loaded="again")
    assert again.run()
    assert again.report.attempt == 2
    assert ids(database_uri) == [7, 8]


def test_a_failed_try_in_shards_is_noted_and_counted(database_uri: str, tmp_path: Path) -> None:
    source = people(tmp_path, *NUMBERS, "x")
    failing = sharded(pipe(source, database_uri, load_id="a", max_errors=0))
    assert not failing.run()
    assert [(record.status, record.attempt) for record in loads(database_uri, "t")] == [("failed", 1)]
    manager = sharded(pipe(source, database_uri, load_id="a"))
    assert manager.run()
    assert manager.report.attempt == 2
    assert ids(database_uri) == list(NUMBERS)
    assert [(record.status, record.attempt) for record in loads(database_uri, "t")] == [("completed", 2)]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_in_shards_is_written_once_under_a_name(tmp_path: Path, suffix: str) -> None:
    source, target = people(tmp_path, *NUMBERS), tmp_path / f"out.{suffix}"
    load = Pipe(source, target, None, Person, load_id="a")
    assert sharded(load).run()
    stamp = target.stat().st_mtime_ns
    manager = sharded(load)
    assert manager.run()
    assert target.stat().st_mtime_ns == stamp
    assert any("loaded already" in note for note in manager.report.notes)
    assert load.run()
    assert target.stat().st_mtime_ns == stamp
    assert len(loads(target)) == 1


def test_numbered_files_have_no_memory(tmp_path: Path) -> None:
    load = Pipe(people(tmp_path, *NUMBERS), tmp_path / "out.csv", None, Person, load_id="a")
    for _ in range(2):
        manager = sharded(load, merge=False)
        assert manager.run()
        assert manager.report.notes == ()
    assert loads(tmp_path / "out.csv") == []
