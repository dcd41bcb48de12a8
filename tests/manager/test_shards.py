"""Inputs of every kind, split by their own adapters: a load in shards is the load in one piece."""

import random
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from tests.databases import execute
from zoopipe_core import (
    CSVInputAdapter,
    JSONInputAdapter,
    MultiThreadExecutor,
    ParquetInputAdapter,
    ParquetOutputAdapter,
    Pipe,
    PipeManager,
    SQLInputAdapter,
)
from zoopipe_core.testing.engines import ThreadEngine

ROWS = 4_000


class Row(BaseModel):
    id: int = Field(ge=0)
    text: str


def text(number: int) -> str:
    return random.Random(number).choice(["", "plain", 'two\r\n"lines"', "a,b", "日本語", "x" * 300])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("inputs")
    rows = [{"id": -n if n % 97 == 5 else n, "text": text(n)} for n in range(1, ROWS + 1)]
    for name in ("rows.csv", "rows.jsonl", "rows.arrow", "half1.csv", "half2.csv", "rows.csv.gz"):
        part = rows[:1500] if name == "half1.csv" else rows[1500:] if name == "half2.csv" else rows
        assert Pipe(part, str(folder / name)).run()
    assert Pipe(rows, ParquetOutputAdapter(folder / "rows.parquet", row_group_size=300)).run()
    database = f"duckdb:///{folder}/rows.duckdb"
    assert Pipe(rows, f"{database}::rows").run()
    execute(database, "CREATE TABLE other AS SELECT 1 AS id")
    return {
        "csv": CSVInputAdapter(folder / "rows.csv"),
        "csv files": CSVInputAdapter(folder / "half*.csv"),
        "csv with a limit": CSVInputAdapter(folder / "rows.csv", limit=1_234),
        "compressed csv": CSVInputAdapter(folder / "rows.csv.gz"),
        "jsonl": JSONInputAdapter(folder / "rows.jsonl"),
        "parquet": ParquetInputAdapter(folder / "rows.parquet"),
        "arrow": str(folder / "rows.arrow"),
        "list": rows,
        "table": SQLInputAdapter(database, table_name="rows"),
    }


NAMES = [
    "csv", "csv files", "csv with a limit", "compressed csv", "jsonl", "parquet", "arrow", "list", "table",
]  # fmt: skip


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("name", NAMES)
def test_rows_and_rejects_are_those_of_a_serial_run(
    inputs: dict[str, Any], name: str, workers: int, tmp_path: Path
) -> None:
    def pipe(folder: str) -> Pipe:
        return Pipe(inputs[name], tmp_path / folder / "rows.csv", tmp_path / folder / "bad.jsonl", Row)

    serial = pipe("serial")
    assert serial.run()
    manager = PipeManager.parallelize_pipe(
        pipe("parallel"), workers, engine=ThreadEngine(3), executor=MultiThreadExecutor(2, batch_size=200)
    )
    assert manager.run(), manager.report
    for file in ("rows.csv", "bad.jsonl"):
        assert (tmp_path / "parallel" / file).read_bytes() == (tmp_path / "serial" / file).read_bytes()
    assert 1 <= manager.pipe_count <= workers
    counts = ("read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "added_rows")
    assert [getattr(manager.report, count) for count in counts] == [getattr(serial.report, count) for count in counts]
    kinds = [(kind.field, kind.type, kind.count) for kind in serial.report.rejections]
    assert [(kind.field, kind.type, kind.count) for kind in manager.report.rejections] == kinds
    if name == "compressed csv" and workers > 1:
        assert any("1 part and not in" in note for note in manager.report.notes)


def test_a_snapshot_is_kept_for_the_time_of_the_run_only(postgres_uri: str, tmp_path: Path) -> None:
    """An open one would keep the server from cleaning up, for as long as somebody keeps the manager."""
    execute(postgres_uri, "CREATE TABLE t AS SELECT id FROM generate_series(1, 1000) AS g (id)")
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    source = SQLInputAdapter(postgres_uri, table_name="t")
    manager = PipeManager.parallelize_pipe(Pipe(source, tmp_path / "out.csv"), 2, engine=ThreadEngine())
    assert manager.pipe_count == 2
    assert execute(postgres_uri, sessions) == [(1,)]
    assert manager.run(), manager.report
    assert manager.pipe_count == 2
    assert manager.report.loaded_rows == 1000
    deadline = time.monotonic() + 20
    while execute(postgres_uri, sessions) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
