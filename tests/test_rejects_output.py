"""Rejects reach their writer in order and complete, however few there are in a batch."""

from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core import rejects_output
from zoopipe_core.adapters.base import Writer
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.rejects_output import RejectsOutput

INT = ColumnType(pa.int64())


class Recorder(Writer):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.columns: list[str] = []
        self.calls: list[list[dict[str, Any]]] = []
        self.ends: list[str] = []

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self.columns = list(types)

    def write(self, batch: ModelBatch) -> None:
        assert list(batch.columns) == self.columns
        self.calls.append(list(batch.dicts()))

    def prepare(self) -> None:
        self.ends.append("prepare")

    def publish(self) -> None:
        self.ends.append("publish")

    def abort(self) -> None:
        self.ends.append("abort")

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for call in self.calls for row in call]


def rejects(first: int, count: int, source: str = "in.csv", raws: bool = False, column: str = "id") -> RejectBatch:
    """Rows numbered from `first` on, with one of two errors each."""
    kinds = [[{"type": kind, "loc": (column,), "msg": "no", "input": "x"}] for kind in ("odd", "even")]
    rows = np.arange(first, first + count)
    cells = {column: Column(STRING, None, pa.array([f"{row}x" for row in rows.tolist()], pa.string()))}
    texts = [f"raw {row}" if row % 3 == 0 else None for row in rows.tolist()] if raws else None
    return RejectBatch.of(source, rows, [kinds[row % 2] for row in rows.tolist()], cells, texts)


def one_by_one(batches: list[RejectBatch], names: list[str]) -> list[dict[str, Any]]:
    return [row for batch in batches for row in batch.to_batch(names).dicts()]


@given(
    sizes=st.lists(st.integers(1, 9), max_size=8),
    sources=st.lists(st.sampled_from(["a.csv", "b.csv"]), min_size=8, max_size=8),
    raws=st.lists(st.booleans(), min_size=8, max_size=8),
    columns=st.lists(st.sampled_from(["id", "id", "key"]), min_size=8, max_size=8),
    many=st.integers(1, 20),
)
def test_what_is_written_is_what_each_batch_alone_would_have_written(
    sizes: list[int], sources: list[str], raws: list[bool], columns: list[str], many: int
) -> None:
    starts = np.cumsum([1, *sizes]).tolist()
    batches = [rejects(*all_) for all_ in zip(starts, sizes, sources, raws, columns, strict=False)]
    writer = Recorder()
    output = RejectsOutput(writer)
    assert not output.is_started
    output.start({"id": STRING})
    assert output.is_started
    with mock.patch.object(rejects_output, "MANY", many):
        for batch in batches:
            output.write(batch, output.encode(batch))
        output.prepare()
    assert writer.rows == one_by_one(batches, ["id"])
    assert writer.ends == ["prepare"]


def test_a_few_wait_for_others_and_many_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects_output, "MANY", 10)
    writer = Recorder()
    output = RejectsOutput(writer)
    output.start({"id": STRING})
    seen = []
    for first, count in ((1, 4), (5, 4), (9, 4), (13, 3), (16, 5)):
        batch = rejects(first, count)
        output.write(batch, output.encode(batch))
        seen.append([len(call) for call in writer.calls])
    assert seen == [[], [], [12], [12], [12, 3, 5]]


def test_those_of_an_aborted_load_are_dropped() -> None:
    writer = Recorder()
    output = RejectsOutput(writer)
    output.start({"id": STRING})
    output.write(rejects(1, 3), None)
    output.abort()
    assert (writer.calls, writer.ends) == ([], ["abort"])


def test_batches_of_other_columns_are_not_joined() -> None:
    assert rejects(1, 2).joins(rejects(3, 1, raws=True))
    assert not rejects(1, 2).joins(rejects(3, 1, source="other.csv"))
    assert not rejects(1, 2).joins(rejects(3, 1, column="key"))
    typed = RejectBatch.of("in.csv", np.array([3]), [[]], {"id": Column(INT, [3])})
    assert not rejects(1, 2).joins(typed)
