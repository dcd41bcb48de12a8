"""Names that try to be SQL, and a password that must be found nowhere."""

import json
import logging
import os
import traceback
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr

from tests.adapters.sql_support import batch_of, column_types
from tests.databases import execute, tables_of, with_password
from tests.warehouse.loads import LEDGER, Person, ids, people, pipe
from zoopipe_core import BaseHook, Pipe, PipeManager, SQLOutputAdapter
from zoopipe_core.errors import SpecError
from zoopipe_core.ledger import loads

CANARY = "c4n4ry-s3cret"
LONG = "ä€🦜;'" * 60  # 300 characters
NAMES = [
    'a"; DROP TABLE victim; --',
    "a TEXT); DROP TABLE victim; --",
    "select",
    "näme ",
    "'",
    "%s ? $1 :x",
    "🦜\u202e",
    LONG,
]


def quoted_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def test_names_that_a_database_would_cut_short_are_refused_before_anything_happens(postgres_uri: str) -> None:
    # PostgreSQL cuts them after 63 bytes: two of them could mean one table.
    with pytest.raises(SpecError, match="cuts names off at 63"):
        SQLOutputAdapter(postgres_uri, quoted_name(LONG))
    load = Pipe([{LONG: 1}], SQLOutputAdapter(postgres_uri, "t"))
    assert not load.run()
    assert load.report.exception is not None
    assert "cuts names off at 63" in load.report.exception.message
    assert tables_of(postgres_uri) <= {LEDGER}


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_merged_evolved_and_remembered_like_any_other(database_uri: str, name: str) -> None:
    if database_uri.startswith("postgresql"):
        name = name[:15]  # of at most four bytes each
    execute(database_uri, "CREATE TABLE victim (id BIGINT)")
    quoted = quoted_name(name)
    other = f"{name}2"
    for types, rows in (
        ({name: pa.int64()}, [(1,), (2,)]),
        ({name: pa.int64(), other: pa.string()}, [(2, "b"), (3, "c"), (3, "d")]),
    ):
        output = SQLOutputAdapter(
            database_uri, quoted, "merge", key=[name], on_drift="evolve", on_duplicate="last", post_sql="SELECT 1"
        )
        writer = output.open()
        writer.start(column_types(types))
        writer.write(batch_of(types, rows))
        writer.publish()
    found = execute(database_uri, f"SELECT * FROM {quoted} ORDER BY 1")
    assert found == [(1, None), (2, "b"), (3, "d")]
    load = Pipe([{"id": 1, "name": "a"}], SQLOutputAdapter(database_uri, f'{quoted[:-1]}3"', "append"), None, Person)
    assert load.run(), load.report
    assert [record.status for record in loads(database_uri, f'{quoted[:-1]}3"')] == ["completed"]
    assert tables_of(database_uri) == {"victim", name, f"{name}3", LEDGER}


class Look(BaseHook):
    """Looks, from within a worker, into all that a load in shards has made by then."""

    def __init__(self, folder: Path, secret: str) -> None:
        self.folder, self.reversed = folder, secret[::-1]

    def execute(self, entries: list[dict[str, Any]], store: dict[str, Any]) -> list[dict[str, Any]]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        places = [*files, *Path("/proc").glob("[0-9]*/cmdline"), Path("/proc/self/environ")]
        texts = [path.read_bytes() for path in places if path.exists()]
        found = [str(path) for path, text in zip(places, texts, strict=False) if self.reversed[::-1].encode() in text]
        Path(self.folder, f"looked-{os.getpid()}").write_text(json.dumps([len(files), found]))
        return entries


def test_a_password_is_found_nowhere(
    postgres_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    uri = with_password(postgres_uri, CANARY)
    nobody = f"postgresql://me:{CANARY}@127.0.0.1:1/db"
    source, rejects = people(tmp_path, 1, "x"), str(tmp_path / "rejects.jsonl")
    told: list[Any] = []
    with caplog.at_level(logging.DEBUG):
        for options in ({"load_id": "a"}, {"load_id": "a"}, {"load_id": "b", "max_errors": 0}, {"model": None}):
            load = pipe(source, uri, rejects=rejects, **options)
            load.run()
            told += [
                load.report,
                load,
                load.report.to_dict(),
                load.report.cause and traceback.format_exception(load.report.cause),
            ]
        for url in (nobody, SecretStr(nobody), lambda: nobody):
            load = pipe(source, url, "t", load_id="d")
            assert not load.run()
            told += [load.report, load, load.report.to_dict(), traceback.format_exception(load.report.cause)]
        copy = pipe(f"{uri}::t", uri, "u", load_id="c", rejects=f"{uri}::r")
        assert copy.run(), copy.report
        told += [copy.report, copy]
        shards = pipe(
            people(tmp_path, *range(100, 200)), uri, "v", load_id="e", post_validation_hooks=[Look(tmp_path, CANARY)]
        )
        manager = PipeManager.parallelize_pipe(shards, 2)
        assert manager.run(on_report_update=None), manager.report
        told += [manager.report, manager, manager.pipes, *manager.pipe_reports]
    told += [record.to_dict() for table in "tuv" for record in loads(uri, table)]
    told += [execute(postgres_uri, f"SELECT * FROM {table}") for table in (LEDGER, "r")]
    text = "\n".join([*map(str, told), json.dumps([str(one) for one in told]), caplog.text])
    assert "completed" in text
    assert "could not be reached" in text or "cannot be reached" in text
    assert CANARY not in text
    assert ids(postgres_uri) == [1]
    looked = [json.loads(path.read_text()) for path in tmp_path.glob("looked-*")]
    assert len(looked) == 2
    assert [found for _, found in looked] == [[], []]
    assert [path for path in tmp_path.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()] == []
