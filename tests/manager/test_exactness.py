"""A load in shards is the load in one piece: the same rows, the same rejects, the same counts, to the byte."""

from __future__ import annotations

import csv
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from zoopipe_core import (
    BaseHook,
    CSVInputAdapter,
    JSONInputAdapter,
    MultiThreadExecutor,
    ParquetInputAdapter,
    Pipe,
    PipeManager,
    PipeReport,
    SingleThreadExecutor,
    ZoosyncPoolEngine,
)
from zoopipe_core.adapters.base import InputAdapter
from zoopipe_core.engines.base import BaseEngine
from zoopipe_core.executors import BatchExecutor
from zoopipe_core.testing.engines import ThreadEngine

COUNTS = ("read_rows", "loaded_rows", "rejected_rows", "filtered_rows", "added_rows")


class Row(BaseModel):
    id: int = Field(ge=0)
    text: str = Field(max_length=12)
    score: float | None = None

    @field_validator("text")
    @classmethod
    def no_question(cls, text: str) -> str:
        if "?" in text:
            raise ValueError("a question")
        return text


class Edit(BaseHook):
    """Changes rows, adds a column, drops some."""

    adds: ClassVar = {"size": int}

    def execute(self, entries: Any, store: Any) -> Any:
        kept = [entry for entry in entries if entry["validated_data"]["id"] % 7 != 3]
        for entry in kept:
            row = entry["validated_data"]
            row["size"] = len(row["text"])
            row["text"] = row["text"].upper()
        return kept


# ---- inputs ---------------------------------------------------------------------------------------------------------

ids = st.one_of(st.integers(-2, 10**12).map(str), st.sampled_from(["", "x", "1.0", " 7", "1_0"]))
texts = st.lists(st.sampled_from(["a", "b ", ",", '"', "\n", "\r\n", "é", "日本", "😀", "#", "?", ""]), max_size=6)
scores = st.sampled_from(["", "0.5", "-1e3", "nan", "1,5"])
rows = st.lists(st.tuples(ids, texts.map("".join), scores), max_size=40)
counts = st.integers(1, 16)
executors = st.sampled_from([SingleThreadExecutor(5), MultiThreadExecutor(2, batch_size=3), MultiThreadExecutor(2)])


@dataclass(frozen=True)
class Source:
    """A file, and the options with which it is read.

    kind: the suffix, which says how. data: its bytes.
    """

    kind: str
    data: bytes
    options: dict[str, Any]

    def adapter(self, folder: Path) -> InputAdapter:
        path = folder / f"in.{self.kind}"
        path.write_bytes(self.data)
        make: Any = {"csv": CSVInputAdapter, "jsonl": JSONInputAdapter, "parquet": ParquetInputAdapter}[self.kind]
        adapter: InputAdapter = make(path, **self.options)
        return adapter


@st.composite
def csv_sources(draw: st.DrawFn) -> Source:
    """Records with everything that makes them hard to split, some of them none of the model's or of no model."""
    end = draw(st.sampled_from(["\n", "\r\n"]))
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    lines = ["id,text,score" + end]
    for row in draw(rows):
        text = io.StringIO()
        cells = draw(st.sampled_from([row, row, row, row, row[:2], (*row, "more")]))
        csv.writer(text, lineterminator=end, quoting=quoting).writerow(cells)
        lines.append(text.getvalue())
        lines.append(draw(st.sampled_from(["", "", "", end, f"# a, comment{end}", f"\udcff,bad bytes,{end}"])))
    whole = "".join(lines)
    if draw(st.booleans()):
        whole = whole.removesuffix(end)
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    options: dict[str, Any] = {"limit": draw(st.one_of(st.none(), st.integers(0, 50)))}
    options["comment"] = draw(st.sampled_from([None, "#"]))
    options["null_values"] = draw(st.sampled_from([(), ("",)]))
    return Source("csv", bom + whole.encode("utf-8", "surrogateescape"), options)


@st.composite
def json_sources(draw: st.DrawFn) -> Source:
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    lines = []
    for number, text, score in draw(rows):
        record = {"id": number, "text": text, "score": score or None}
        proper = json.dumps(record, ensure_ascii=draw(st.booleans())).encode()
        lines.append(draw(st.sampled_from([proper, proper, proper, proper, b"", b"{", b'"\xff"', b"null"])))
    whole = end.join(lines) + draw(st.sampled_from([b"", end]))
    bom = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return Source("jsonl", bom + whole, {"limit": draw(st.one_of(st.none(), st.integers(0, 50)))})


@st.composite
def parquet_sources(draw: st.DrawFn) -> Source:
    columns = list(zip(*draw(rows), strict=True)) or [(), (), ()]
    table = pa.table(
        {name: pa.array(cells, pa.string()) for name, cells in zip(Row.model_fields, columns, strict=True)}
    )
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=draw(st.integers(1, 12)))
    return Source("parquet", buffer.getvalue(), {"limit": draw(st.one_of(st.none(), st.integers(0, 50)))})


sources = st.one_of(csv_sources(), csv_sources(), json_sources(), parquet_sources())


# ---- both ways ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    """One for all examples of a test: each cleans it."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def content(path: Path) -> Any:
    """What has to be equal: bytes, or of Parquet, whose row groups are those of the shards, the columns."""
    if path.suffix == ".parquet" and path.exists():
        table = pq.read_table(path)
        return table.schema, repr(table.to_pydict())  # in which nan is itself
    return path.read_bytes() if path.exists() else None


def check_both_ways(
    folder: Path, source: Source, workers: int, engine: BaseEngine, executor: BatchExecutor, hook: bool, suffix: str
) -> None:
    for name in ("serial", "sharded"):
        shutil.rmtree(folder / name, ignore_errors=True)
    adapter = source.adapter(folder)

    def pipe(name: str) -> Pipe:
        hooks = [Edit()] if hook else []
        rejects = folder / name / "bad.csv"
        return Pipe(
            adapter, folder / name / f"out{suffix}", rejects, Row, post_validation_hooks=hooks, executor=executor
        )

    serial = pipe("serial")
    serial.run(on_report_update=None)
    manager = PipeManager.parallelize_pipe(pipe("sharded"), workers, engine=engine)
    manager.run(on_report_update=None)
    note(f"{source.data!r}\n{serial.report}\n{manager.report}")
    assert manager.report.status is serial.report.status
    for file in (f"out{suffix}", "bad.csv"):
        assert content(folder / "sharded" / file) == content(folder / "serial" / file)
    assert figures(manager.report) == figures(serial.report)
    assert manager.pipe_count <= workers


def figures(report: PipeReport) -> Any:
    """The counts of a report, and how often what was rejected."""
    if report.has_error:
        return report.exception is not None
    kinds = {(each.field, each.type): each.count for each in report.rejections}
    return [getattr(report, name) for name in COUNTS], kinds


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    source=sources,
    workers=counts,
    executor=executors,
    hook=st.booleans(),
    suffix=st.sampled_from([".csv", ".jsonl", ".json", ".parquet"]),
)
def test_any_load_in_shards_is_the_load_in_one_piece(
    folder: Path, source: Source, workers: int, executor: BatchExecutor, hook: bool, suffix: str
) -> None:
    check_both_ways(folder, source, workers, ThreadEngine(), executor, hook, suffix)


def test_rejects_are_in_the_order_of_their_rows_whatever_the_size_of_batches(folder: Path) -> None:
    """The parser finds records that are no rows long before their turn."""
    bad = (4, 9, 10, 17)
    lines = [f"{'ragged' if number in bad else '-1,a,'}\n" for number in range(1, 21)]
    source = Source("csv", "".join(["id,text,score\n", *lines]).encode(), {})
    pipe = Pipe(source.adapter(folder), None, folder / "bad.jsonl", Row, executor=SingleThreadExecutor(3))
    assert pipe.run(on_report_update=None)
    rejects = [json.loads(line) for line in (folder / "bad.jsonl").read_text().splitlines()]
    assert [reject["_row"] for reject in rejects] == list(range(1, 21))
    assert [reject["_row"] for reject in rejects if reject["_raw"] == "ragged"] == list(bad)


@pytest.fixture(scope="module")
def pool() -> Iterator[BaseEngine]:
    engine = ZoosyncPoolEngine(n_workers=2)
    yield engine
    engine.close()


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(source=sources, workers=st.integers(2, 5), hook=st.booleans(), suffix=st.sampled_from([".csv", ".parquet"]))
def test_so_is_one_by_processes(
    folder: Path, pool: BaseEngine, source: Source, workers: int, hook: bool, suffix: str
) -> None:
    check_both_ways(folder, source, workers, pool, MultiThreadExecutor(2), hook, suffix)
