"""`ShardedLoad`: shards that are run apart, and published once, with the result of a serial run."""

import csv
import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from tests.databases import execute
from zoopipe_core import Pipe, PipeReport, PipeStatus, ShardedLoad, SQLInputAdapter, ZoopipeError
from zoopipe_core.errors import SpecError
from zoopipe_core.ledger import loads

ROWS = 1_000


class Order(BaseModel):
    id: int
    name: str
    amount: Decimal
    day: date | None = None


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Good rows, every 97th one bad, quoted line ends, and amounts whose zeros matter."""
    lines = ["id,name,amount,day"]
    for number in range(ROWS):
        shown = "x" if number % 97 == 0 else str(number)
        lines.append(f'{shown},"name\n{number}",{number % 7}.{"0" * (number % 3 + 1)},2026-01-{number % 28 + 1:02d}')
    path = tmp_path / "orders.csv"
    path.write_text("\n".join(lines))
    return path


def run_shards(load: ShardedLoad, count: int) -> tuple[list[dict[str, Any]], list[PipeReport]]:
    """Each shard by a pipe that is built anew, of what has travelled as JSON, the last one first."""
    shards = json.loads(json.dumps(load.plan(count)))
    reports = []
    for shard in reversed(shards):
        pipe = replace(load).shard_pipe(shard)
        assert pipe.run(on_report_update=None), pipe.report.exception
        reports.append(PipeReport.from_dict(json.loads(json.dumps(pipe.report.to_dict()))))
    return shards, reports[::-1]


def publish(load: ShardedLoad, shards: Any, reports: Any) -> PipeReport:
    publication = load.publication(shards, reports)
    publication.run(on_report_update=None)
    return publication.report


@pytest.mark.parametrize("target", ["orders.csv", "orders.jsonl", "orders.parquet", "w.duckdb::orders"])
def test_the_result_is_that_of_a_serial_run(source: Path, tmp_path: Path, target: str) -> None:
    def pipe(folder: str) -> Pipe:
        place = tmp_path / folder / target
        output = f"duckdb:///{place}" if "duckdb" in target else str(place)
        place.parent.mkdir(exist_ok=True)
        return Pipe(source, output, tmp_path / folder / "rejects.jsonl", Order)

    serial = pipe("serial")
    assert serial.run(on_report_update=None)
    load = ShardedLoad(pipe("shards"), tmp_path / "staging")
    shards, reports = run_shards(load, 3)
    assert len(shards) == 3
    report = publish(load, shards, reports)
    assert report.status is PipeStatus.COMPLETED
    for name in ("read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "rejections", "source", "target"):
        found = getattr(report, name)
        assert str(found).replace("/shards/", "/serial/") == str(getattr(serial.report, name)), name
    if "duckdb" in target:
        tables = [
            execute(f"duckdb:///{tmp_path}/{f}/w.duckdb", "FROM orders ORDER BY id") for f in ("serial", "shards")
        ]
        assert tables[0] == tables[1]
    else:
        assert (tmp_path / "shards" / target).read_bytes() == (tmp_path / "serial" / target).read_bytes()
    assert (tmp_path / "shards" / "rejects.jsonl").read_bytes() == (tmp_path / "serial" / "rejects.jsonl").read_bytes()
    assert list((tmp_path / "staging").iterdir()) == []


@pytest.fixture
def load(source: Path, tmp_path: Path) -> ShardedLoad:
    return ShardedLoad(Pipe(source, tmp_path / "out.jsonl", tmp_path / "rejects.csv", Order, load_id="orders"))


def test_a_load_is_published_once_however_often_its_tasks_run(load: ShardedLoad, tmp_path: Path) -> None:
    shards, reports = run_shards(load, 2)
    first = publish(load, shards, reports)
    assert load.shard_pipe(shards[0]).run(on_report_update=None)  # cleared alone
    again = publish(load, shards, reports)
    third = publish(load, *run_shards(load, 4))
    assert (first.status, again.status, third.status) == (PipeStatus.COMPLETED,) * 3
    assert first.loaded_rows == again.loaded_rows == third.loaded_rows
    assert "loaded already" in again.notes[-1]
    assert len(loads(tmp_path / "out.jsonl")) == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "orders.csv", "out.jsonl", "rejects.csv", ".out.jsonl.zoopipe-loads",
    }  # fmt: skip


@pytest.mark.parametrize("limit", [10, 0.01])
def test_too_many_rejects_of_all_shards_publish_nothing_but_the_rejects(
    load: ShardedLoad, tmp_path: Path, limit: int | float
) -> None:
    load = replace(load, pipe=replace(load.pipe, max_errors=limit))
    report = publish(load, *run_shards(load, 3))
    assert report.exception is not None
    assert report.exception.type == "TooManyRejectsError"
    assert not (tmp_path / "out.jsonl").exists()
    with open(tmp_path / "rejects.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 11
    allowed = replace(load, pipe=replace(load.pipe, max_errors=11))
    assert publish(allowed, *run_shards(allowed, 3)).status is PipeStatus.COMPLETED


def test_an_input_that_changes_after_the_plan_is_noticed_by_each_task(load: ShardedLoad, source: Path) -> None:
    shards, reports = run_shards(load, 2)
    source.write_text(source.read_text() + "\n")
    with pytest.raises(ZoopipeError, match="has changed since its shards were planned"):
        load.shard_pipe(shards[0])
    report = publish(load, shards, reports)
    assert report.exception is not None
    assert "has changed since" in report.exception.message


def test_a_part_that_is_missing_or_was_not_written_by_a_shard_is_not_published(
    load: ShardedLoad, tmp_path: Path
) -> None:
    shards, reports = run_shards(load, 2)
    [part] = tmp_path.glob(".zoopipe-shards-*/rows-00001")
    content = part.read_bytes()
    part.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = publish(load, shards, reports)
    part.unlink()
    missing = publish(load, shards, reports)
    for report, message in (
        (damaged, "was damaged or replaced"),
        (missing, "is not there; a staging folder has to be"),
    ):
        assert report.status is PipeStatus.FAILED
        assert report.exception is not None
        assert message in report.exception.message
    assert not (tmp_path / "out.jsonl").exists()
    assert load.shard_pipe(shards[1]).run(on_report_update=None)
    assert publish(load, shards, reports).status is PipeStatus.COMPLETED


def test_a_shard_that_has_not_completed_is_not_published(load: ShardedLoad) -> None:
    shards, reports = run_shards(load, 2)
    report = publish(load, shards, [reports[0], replace(reports[1], status=PipeStatus.FAILED)])
    assert report.exception is not None
    assert "shard 1 of 2 has not completed" in report.exception.message


@pytest.mark.parametrize(
    "change",
    [
        {"folder": "../elsewhere"},
        {"folder": ".zoopipe-shards-../../etc"},
        {"key": "00"},
        {"key": None},
        {"index": -1},
        {"pieces": [[7, 1, 0, 10]]},
        {"pieces": [["/etc/passwd", 1, None, None]]},
        {"pieces": [[-1, 1, 0, 10]]},
    ],
)
def test_what_is_no_shard_of_a_plan_is_refused(load: ShardedLoad, change: dict[str, Any]) -> None:
    shard = load.plan(2)[0] | change
    with pytest.raises(SpecError):
        load.shard_pipe(shard)


def test_what_cannot_be_shared_out_is_refused_when_it_is_said(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"is no file: its rows may be others"):
        ShardedLoad(Pipe(SQLInputAdapter("sqlite:///a.db", "SELECT 1 AS id"), tmp_path / "o.csv"))
    with pytest.raises(SpecError, match="name a folder that all shards reach"):
        ShardedLoad(Pipe(source, "duckdb:///w.duckdb::t"))
    with pytest.raises(SpecError, match="staging has to be a folder of a file system"):
        ShardedLoad(Pipe(source, None), "s3://bucket/staging")
    load = ShardedLoad(Pipe(source, tmp_path / "o.csv"))
    with pytest.raises(SpecError, match="at least 1"):
        load.plan(0)
    shards, reports = run_shards(load, 2)
    with pytest.raises(SpecError, match="not those of one plan"):
        load.publication(shards[:1], reports[:1])
