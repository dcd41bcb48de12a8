"""Rows that are shown to hooks a chunk at a time come out as if all were shown at once."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.test_hooks import Columns, Each, load
from zoopipe_core import EntryStatus
from zoopipe_core.batches.objects import is_compiled
from zoopipe_core.hooking import after
from zoopipe_core.kernels import native


class Row(BaseModel):
    number: int
    name: str | None
    day: dt.date = dt.date(2024, 2, 29)
    share: float = 0.5
    tags: list[int] = [1]


GONE = object()
VALUES = st.sampled_from(
    [
        1,
        True,
        2**70,
        1.5,
        float("nan"),
        "text",
        "\ud800",
        "é\0",
        None,
        Decimal("1.10"),
        dt.date.max,
        [1],
        {"a": 1},
        GONE,
    ]
)
CHANGES = st.dictionaries(
    st.sampled_from(["number", "name", "day", "share", "tags", "new", "other"]), VALUES, max_size=3
)
FATES = st.sampled_from(["keep", "keep", "keep", "drop", "fail", "add", "twice"])


def remade(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The same batch, in columns of their own."""
    return pa.RecordBatch.from_arrays([pa.concat_arrays([array]) for array in batch.columns], schema=batch.schema)


REMADE = Columns(lambda batch: remade(pa.concat_batches([batch, batch])).slice(0, batch.num_rows))
"""Behind it, columns are held as arrays, whose cells are told from others."""


def hook_of(plan: list[tuple[dict[str, Any], str]], adds: dict[str, type]) -> Each:
    def change(entry: Any) -> Any:
        row = entry["validated_data"]
        changes, fate = plan[row["number"] if entry["position"] else 0]
        row["tags"].append(row["number"])
        for name, value in changes.items():
            if value is GONE:
                row.pop(name, None)
            else:
                row[name] = value
        if fate == "fail":
            entry["status"] = EntryStatus.FAILED
        added = {"validated_data": {"number": 0, "name": "added", "tags": []}}
        return {"drop": None, "add": [added, entry], "twice": [entry, entry]}.get(fate, entry)

    return Each(change, **adds)


PLANS = given(
    plan=st.lists(st.tuples(CHANGES, FATES), min_size=1, max_size=9),
    adds=st.sampled_from([{}, {"new": str}, {"name": int, "new": float}]),
    chunk=st.integers(1, 4),
    first=st.sampled_from([(), (REMADE,)]),
)


def outcome(
    plan: list[tuple[dict[str, Any], str]], adds: dict[str, type], first: tuple[Columns, ...], chunk_rows: int
) -> str:
    rows = [{"number": n, "name": f"n{n}" if n % 3 else None} for n in range(len(plan))]
    with mock.patch.object(after, "CHUNK_ROWS", chunk_rows):
        done = load(rows, Row, post_validation_hooks=[*first, hook_of(plan, adds), Each(lambda entry: entry)])
    report = done.report
    return repr((done.rows, done.rejects, report.added_rows, report.filtered_rows, report.rejected_rows))


@hypothesis_settings(max_examples=60)
@PLANS
def test_chunks_change_nothing(plan: Any, adds: Any, chunk: int, first: Any) -> None:
    assert outcome(plan, adds, first, chunk) == outcome(plan, adds, first, 1000)


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@PLANS
def test_compiled_kernels_change_nothing(compiled_kernels: Path, plan: Any, adds: Any, chunk: int, first: Any) -> None:
    assert native.load()
    assert is_compiled()
    compiled = outcome(plan, adds, first, chunk)
    with ExitStack() as stack:
        for declared in native.kernels().values():
            stack.enter_context(mock.patch.object(declared, "native", None))
        assert not is_compiled()
        assert outcome(plan, adds, first, chunk) == compiled


def test_what_is_left_alone_stays_the_array_that_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(after, "CHUNK_ROWS", 2)
    seen: list[Any] = []
    rows = [{"number": n, "name": "a"} for n in range(5)]
    made = Columns(lambda batch: batch.set_column(0, "number", pc.add(batch.column("number"), 0)))
    look = Columns(lambda batch: seen.append(batch) or batch)
    upper = Each(lambda e: e["validated_data"].update(name=e["validated_data"]["name"].upper()) or e)
    odd = Each(lambda e: e if e["position"] % 2 else None)
    done = load(rows, Row, post_validation_hooks=[made, look, upper, look, odd, look])
    first, second, third = seen
    left, same = (batch.column("number").buffers()[1].address for batch in (first, second))
    assert left == same
    assert second.column("name").to_pylist() == ["A"] * 5
    assert third.column("number").to_pylist() == [row["number"] for row in done.rows] == [0, 2, 4]


def test_a_key_may_be_missing_in_a_whole_chunk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(after, "CHUNK_ROWS", 2)
    rows = [{"number": n, "name": f"n{n}"} for n in range(8)]
    remade = Columns(lambda batch: batch.set_column(1, "name", pc.utf8_trim_whitespace(batch.column("name"))))
    gone = Each(lambda e: (e["validated_data"].pop("name") if e["position"] in (3, 4, 8) else None, e)[1])
    done = load(rows, Row, post_validation_hooks=[remade, gone])
    assert [row.get("name") for row in done.rows] == ["n0", "n1", None, None, "n4", "n5", "n6", None]
    assert ["name" in row for row in done.rows] == [n not in (2, 3, 7) for n in range(8)]


def test_a_load_with_a_row_hook_does_not_import_pandas(tmp_path: Path) -> None:
    code = """
import datetime as dt, sys
from pydantic import BaseModel
from zoopipe_core import BaseHook, Pipe
class Row(BaseModel):
    number: int
    name: str | None
    day: dt.date
    at: dt.datetime
class Rename(BaseHook):
    def execute(self, entries, store):
        for entry in entries:
            entry["validated_data"].update(name="x", new=entry["validated_data"]["day"])
        return entries
pipe = Pipe(sys.argv[1], sys.argv[2], sys.argv[3], Row, post_validation_hooks=[Rename()])
pipe.run(on_report_update=None)
report = pipe.report.raise_for_status()
assert (report.loaded_rows, report.rejected_rows) == (20_000, 1)
assert "pandas" not in sys.modules
"""
    lines = [f"{n},a,2024-02-29,2024-02-29T12:00:00" for n in range(20_000)]
    (tmp_path / "in.csv").write_text("\n".join(["number,name,day,at", *lines, "x,,,"]) + "\n")
    arguments = [str(tmp_path / name) for name in ("in.csv", "out.jsonl", "bad.csv")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
