"""Names that try to be SQL, and a password that must be found nowhere."""

import json
import logging
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.adapters.sql_support import batch_of, column_types
from tests.databases import execute, tables_of, with_password
from tests.warehouse.loads import LEDGER, Person, ids, people, pipe
from zoopipe_core import Pipe, SQLOutputAdapter
from zoopipe_core.ledger import loads

CANARY = "c4n4ry-s3cret"
NAMES = ['a"; DROP TABLE victim; --', "a TEXT); DROP TABLE victim; --", "select", "näme ", "'", "%s ? $1 :x", "x" * 60]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_merged_evolved_and_remembered_like_any_other(database_uri: str, name: str) -> None:
    execute(database_uri, "CREATE TABLE victim (id BIGINT)")
    quoted = '"' + name.replace('"', '""') + '"'
    other = f"{name[:50]}2"
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


def test_no_record_of_a_load_shows_a_password(
    postgres_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    uri = with_password(postgres_uri, CANARY)
    source = people(tmp_path, 1, "x")
    told: list[Any] = []
    with caplog.at_level(logging.DEBUG):
        for options in ({"load_id": "a"}, {"load_id": "a"}, {"load_id": "b", "max_errors": 0}, {"model": None}):
            load = pipe(source, uri, **options)
            load.run()
            told += [load.report, load, load.report.to_dict()]
        copy = pipe(f"{uri}::t", uri, "u", load_id="c")
        assert copy.run(), copy.report
        told += [copy.report, copy]
    told += [record.to_dict() for table in "tu" for record in loads(uri, table)]
    told += execute(postgres_uri, f"SELECT * FROM {LEDGER}")
    text = "\n".join([*map(str, told), json.dumps([str(one) for one in told]), caplog.text])
    assert "completed" in text
    assert CANARY not in text
    assert ids(postgres_uri) == [1]
