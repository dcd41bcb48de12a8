"""Hooks: what they see, what becomes of what they do, and the account of every row."""

import json
import pickle
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, model_validator

from zoopipe_core import (
    BaseHook,
    ColumnHook,
    EntryStatus,
    JSONInputAdapter,
    JSONOutputAdapter,
    MultiThreadExecutor,
    Pipe,
    PipeReport,
    PyGeneratorOutputAdapter,
    SingleThreadExecutor,
)
from zoopipe_core.errors import HookError, SpecError

Rows = list[dict[str, Any]]


class Item(BaseModel):
    id: int = Field(ge=0)
    name: str


class Each(BaseHook):
    """A hook out of a function that changes one entry, and may return None to drop it or several to add some."""

    def __init__(self, change: Callable[[dict[str, Any]], Any], priority: int = 50, **adds: type) -> None:
        super().__init__(priority)
        self.change = change
        self.adds = adds

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        result: list[Any] = []
        for entry in entries:
            changed = self.change(entry)
            result.extend(changed if isinstance(changed, list) else [changed] if changed else [])
        return result


class Columns(ColumnHook):
    """A hook out of functions on record batches."""

    def __init__(self, change: Any = None, keep: Any = None, priority: int = 50, **adds: type) -> None:
        super().__init__(priority)
        self.change, self.mask = change, keep
        self.adds = adds

    def execute(self, batch: pa.RecordBatch, store: dict[str, Any]) -> Any:
        return batch if self.change is None else self.change(batch)

    def keep(self, batch: pa.RecordBatch, store: dict[str, Any]) -> Any:
        return None if self.mask is None else self.mask(batch)


def from_csv(folder: Path, rows: Rows) -> Any:
    lines = ["id,name", *(f"{row['id']},{row['name']}" for row in rows)]
    (folder / "in.csv").write_text("\n".join(lines) + "\n")
    return str(folder / "in.csv")


def from_jsonl(folder: Path, rows: Rows) -> Any:
    (folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "in.jsonl")


def from_python(folder: Path, rows: Rows) -> Any:
    return rows


def from_arrow(folder: Path, rows: Rows) -> Any:
    empty = pa.schema([("id", pa.int64()), ("name", pa.string())])
    return pa.Table.from_pylist(rows) if rows else empty.empty_table()


SOURCES = [from_csv, from_jsonl, from_python, from_arrow]
every_source = pytest.mark.parametrize("source", SOURCES)
with_columns = pytest.mark.parametrize("source", [from_csv, from_arrow])


@dataclass
class Loaded:
    report: PipeReport
    rows: Rows
    rejects: Rows


def load(given: Any, model: type | None = Item, rejects: bool = True, **options: Any) -> Loaded:
    """Run a pipe into memory. The load has to complete, and its rows to add up."""
    output, errors = PyGeneratorOutputAdapter(), PyGeneratorOutputAdapter()
    pipe = Pipe(given, output, errors if rejects else None, schema_model=model, **options)
    pipe.run(on_report_update=None)
    report = pipe.report.raise_for_status()
    came, went = report.read_rows + report.added_rows, report.loaded_rows + report.rejected_rows + report.filtered_rows
    assert came == went
    loaded = Loaded(report, list(output), list(errors) if rejects else [])
    assert len(loaded.rows) == report.loaded_rows
    assert not rejects or len(loaded.rejects) == report.rejected_rows
    return loaded


def failure(given: Any, model: type | None = Item, **options: Any) -> str:
    """Run a pipe that has to fail in a hook; its message."""
    output = PyGeneratorOutputAdapter()
    pipe = Pipe(given, output, schema_model=model, **options)
    assert pipe.run(on_report_update=None) is False
    assert isinstance(pipe.report.cause, HookError), pipe.report
    assert pipe.report.exception is not None
    return pipe.report.exception.message


THREE = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]


def test_a_hook_object_says_what_it_is() -> None:
    assert Each(lambda e: e).name == "Each"
    assert Each(lambda e: e).priority == 50
    assert Each(lambda e: e, 7).priority == 7


# ---- what a hook sees -----------------------------------------------------------------------------------------------


@every_source
def test_an_entry_before_validation_has_all_its_keys(source: Any, tmp_path: Path) -> None:
    seen: Rows = []
    load(source(tmp_path, THREE), pre_validation_hooks=[Each(lambda e: seen.append(dict(e)) or e)])
    text = source is from_csv
    assert [list(e) for e in seen] == [
        ["id", "position", "status", "raw_data", "validated_data", "errors", "metadata"]
    ] * 3
    assert [e["id"] for e in seen] == [e["position"] for e in seen] == [1, 2, 3]
    assert {e["status"] for e in seen} == {EntryStatus.PENDING}
    assert seen[0]["raw_data"] == {"id": "1" if text else 1, "name": "a"}
    assert (seen[0]["validated_data"], seen[0]["errors"], seen[0]["metadata"]) == (None, [], {})


@every_source
def test_an_entry_after_validation_has_what_was_read_and_what_was_made_of_it(source: Any, tmp_path: Path) -> None:
    seen: Rows = []
    bad = [*THREE, {"id": -1, "name": "bad"}]
    load(source(tmp_path, bad), post_validation_hooks=[Each(lambda e: seen.append(dict(e)) or e)])
    assert [e["position"] for e in seen] == [1, 2, 3]
    assert {e["status"] for e in seen} == {EntryStatus.VALIDATED}
    assert seen[2]["raw_data"] == {"id": "3" if source is from_csv else 3, "name": "c"}
    assert seen[2]["validated_data"] == {"id": 3, "name": "c"}


@every_source
def test_ids_are_unique_in_a_run_and_the_same_on_both_sides(source: Any, tmp_path: Path) -> None:
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    rows = [{"id": i, "name": f"n{i}"} for i in range(10)]
    load(
        source(tmp_path, rows),
        pre_validation_hooks=[Each(lambda e: before.update({e["raw_data"]["name"]: e["id"]}) or e)],
        post_validation_hooks=[Each(lambda e: after.update({e["validated_data"]["name"]: e["id"]}) or e)],
        executor=SingleThreadExecutor(batch_size=3),
    )
    assert before == after
    assert sorted(before.values()) == list(range(1, 11))


def test_two_files_give_rows_of_one_position_different_ids(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id,name\n1,x\n")
    seen: list[Any] = []
    hook = Each(lambda e: seen.append((e["id"], e["position"])) or e)
    load([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")], post_validation_hooks=[hook])
    assert seen == [(1, 1), (2, 1)]


def test_notes_in_metadata_travel_from_hook_to_hook_and_past_validation() -> None:
    def note(entry: Any) -> Any:
        entry["metadata"]["seen"] = entry["raw_data"]["id"]
        return entry

    def use(entry: Any) -> Any:
        entry["validated_data"]["name"] = f"{entry['metadata']['seen']} {entry['metadata']['again']}"
        return entry

    hooks = [Each(note), Each(lambda e: e["metadata"].update(again=True) or e)]
    done = load(THREE, pre_validation_hooks=hooks, post_validation_hooks=[Columns(), Each(use)])
    assert [row["name"] for row in done.rows] == ["1 True", "2 True", "3 True"]


def test_raw_data_after_validation_has_the_columns_of_the_model_and_of_the_hook_and_no_others(tmp_path: Path) -> None:
    class Look(Each):
        columns = ("more",)

    (tmp_path / "in.csv").write_text("id,name,more,other\n1,a,m,o\n")
    for rejects in (False, True):
        seen: Rows = []
        hook = Look(lambda e, seen=seen: seen.append(e["raw_data"]) or e)
        load(str(tmp_path / "in.csv"), rejects=rejects, post_validation_hooks=[hook])
        assert seen == [{"id": "1", "name": "a", "more": "m"}]


def test_rows_that_were_reordered_before_validation_keep_their_own_raw_data() -> None:
    class Backwards(BaseHook):
        def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
            return entries[::-1]

    pairs: list[Any] = []
    hook = Each(lambda e: pairs.append((e["raw_data"]["id"], e["validated_data"]["id"], e["position"])) or e)
    done = load(THREE, pre_validation_hooks=[Backwards()], post_validation_hooks=[hook])
    assert pairs == [(3, 3, 3), (2, 2, 2), (1, 1, 1)]
    assert [row["id"] for row in done.rows] == [3, 2, 1]


def test_a_batch_without_rows_is_not_shown_to_hooks() -> None:
    sizes: list[int] = []

    class Sizes(BaseHook):
        def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
            sizes.append(len(entries))
            return []

    load(THREE, pre_validation_hooks=[Sizes(), Sizes()], post_validation_hooks=[Sizes()])
    load([], pre_validation_hooks=[Sizes()])
    load([{"id": -1, "name": "bad"}], post_validation_hooks=[Sizes()])
    assert sizes == [3]


# ---- what a hook does before validation -----------------------------------------------------------------------------


@every_source
def test_what_a_hook_changes_before_validation_is_what_gets_validated(source: Any, tmp_path: Path) -> None:
    def fix(entry: Any) -> Any:
        entry["raw_data"]["id"] = abs(int(entry["raw_data"]["id"]))
        return entry

    done = load(source(tmp_path, [{"id": -1, "name": "a"}, {"id": 2, "name": "b"}]), pre_validation_hooks=[Each(fix)])
    assert done.rows == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]


@every_source
def test_dropped_added_and_failed_rows_before_validation_are_counted(source: Any, tmp_path: Path) -> None:
    def act(entry: Any) -> Any:
        kind = entry["raw_data"]["name"]
        if kind == "drop":
            return None
        if kind == "add":
            return [entry, {"raw_data": {"id": 100, "name": "added"}}, {"raw_data": {"id": -100, "name": "bad"}}]
        if kind == "fail":
            entry["status"] = EntryStatus.FAILED
            entry["errors"] = ["no good", {"type": "mine", "loc": "name", "msg": "really", "input": 1}]
        return entry

    rows = [{"id": i, "name": n} for i, n in enumerate(["keep", "drop", "add", "fail"])]
    done = load(source(tmp_path, rows), pre_validation_hooks=[Each(act)])
    assert [row["name"] for row in done.rows] == ["keep", "add", "added"]
    assert (done.report.filtered_rows, done.report.added_rows, done.report.rejected_rows) == (1, 2, 2)
    failed, added = done.rejects
    assert (failed["_row"], added["_row"]) == (4, 0)
    assert failed["_errors"] == [
        {"type": "hook_failed", "loc": [], "msg": "no good", "input": None},
        {"type": "mine", "loc": ["name"], "msg": "really", "input": 1},
    ]
    assert json.loads(added["_raw"]) == {"id": -100, "name": "bad"}
    assert added["_errors"][0]["type"] == "greater_than_equal"


def test_an_added_row_that_fails_in_a_later_hook_is_a_reject() -> None:
    def add(entry: Any) -> Any:
        return [entry, {"raw_data": {"id": 9, "name": "new"}}]

    def fail(entry: Any) -> Any:
        if entry["raw_data"]["name"] == "new":
            entry["status"] = "failed"
        return entry

    done = load(THREE[:1], pre_validation_hooks=[Each(add), Each(fail)])
    assert (done.report.loaded_rows, done.report.added_rows, done.report.rejected_rows) == (1, 1, 1)
    assert done.rejects[0]["_errors"][0]["msg"] == "Each marked the row as failed"


@every_source
def test_rejects_keep_the_row_as_it_was_read_whatever_a_hook_did_to_it(source: Any, tmp_path: Path) -> None:
    def spoil(entry: Any) -> Any:
        entry["raw_data"]["id"] = -5
        entry["raw_data"]["extra"] = "x"
        del entry["raw_data"]["name"]
        return entry

    done = load(source(tmp_path, THREE[:1]), pre_validation_hooks=[Each(spoil)])
    (reject,) = done.rejects
    if source is from_jsonl:
        assert json.loads(reject["_raw"]) == {"id": 1, "name": "a"}
    else:
        assert (str(reject["id"]), reject["name"], reject["_raw"]) == ("1", "a", None)
    assert {tuple(e["loc"]) for e in reject["_errors"]} == {("id",), ("name",)}


def test_a_hook_that_changes_nested_values_does_not_change_the_rejects_nor_the_callers_rows() -> None:
    rows = [{"id": -1, "name": "a", "tags": ["x", {"deep": [1]}]}]

    def spoil(entry: Any) -> Any:
        entry["raw_data"]["tags"].append("y")
        entry["raw_data"]["tags"][1]["deep"].append(2)
        return entry

    done = load(rows, pre_validation_hooks=[Each(spoil)])
    assert done.rejects[0]["tags"] == ["x", {"deep": [1]}]
    assert rows == [{"id": -1, "name": "a", "tags": ["x", {"deep": [1]}]}]


def test_models_and_dataclasses_are_shown_to_hooks_as_dicts() -> None:
    @dataclass
    class Plain:
        id: int
        name: str

    def upper(entry: Any) -> Any:
        entry["raw_data"]["name"] = entry["raw_data"]["name"].upper()
        return entry

    for row in (Item(id=1, name="a"), Plain(1, "a")):
        assert load([row], pre_validation_hooks=[Each(upper)]).rows == [{"id": 1, "name": "A"}]


@pytest.mark.parametrize("model", [Item, None])
def test_a_record_that_is_no_row_is_a_reject_and_not_shown_to_row_hooks(model: type | None, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"id": 1, "name": "a"}\n[1, 2]\n7\n{"id": 4, "na\n')
    seen: list[int] = []
    hook = Each(lambda e: seen.append(e["position"]) or e)
    done = load(str(tmp_path / "in.jsonl"), model, pre_validation_hooks=[hook])
    assert seen == [1]
    assert [r["_row"] for r in done.rejects] == [2, 3, 4]
    assert [r["_raw"] for r in done.rejects] == ["[1, 2]", "7", '{"id": 4, "na']
    assert [r["_errors"][0]["type"] for r in done.rejects] == ["not_a_row", "not_a_row", "json_invalid"]
    done = load([{"id": 1, "name": "a"}, "text", None], model, pre_validation_hooks=[hook])
    assert [r["_row"] for r in done.rejects] == [2, 3]


def test_a_row_with_bytes_that_are_no_text_is_a_reject_and_not_shown_to_row_hooks(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_bytes(b"id,name,other\n1,a\xff,o\n2,b,o\xff\n3,c,o\n")

    class Name(Each):
        columns = ("name",)

    seen: list[int] = []
    done = load(str(tmp_path / "in.csv"), pre_validation_hooks=[Name(lambda e: seen.append(e["position"]) or e)])
    assert seen == [2, 3]  # the bad byte of row 2 is in a column that nobody looks at
    assert [(r["_row"], r["name"], r["other"]) for r in done.rejects] == [(1, "a\\xff", "o")]


# ---- JSON stays JSON ------------------------------------------------------------------------------------------------


LONG = '{ "price" : 0.12345678901234567890123 ,"big":123456789012345678901234567890, "name":"a\\u00e9"}'


@pytest.mark.parametrize("columns", [[], [Columns()]])
def test_a_json_row_that_no_hook_changed_keeps_its_exact_text(columns: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(LONG + "\n")
    output = tmp_path / "out.jsonl"
    hooks = [Each(lambda e: e), *columns, Each(lambda e: e)]
    assert Pipe(str(tmp_path / "in.jsonl"), str(output), pre_validation_hooks=hooks).run(on_report_update=None)
    assert output.read_text() == LONG + "\n"


def test_a_json_row_that_a_hook_changed_keeps_the_digits_of_all_other_values(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(LONG + "\n")
    output = tmp_path / "out.jsonl"
    hook = Each(lambda e: e["raw_data"].update(name="b") or e)
    assert Pipe(str(tmp_path / "in.jsonl"), str(output), pre_validation_hooks=[hook]).run(on_report_update=None)
    assert output.read_text() == (
        '{"price":0.12345678901234567890123,"big":123456789012345678901234567890,"name":"b"}\n'
    )


class Loose(BaseModel):
    value: Any


@pytest.mark.parametrize(("before", "after"), [("1", True), ("1", 1.0), ("true", 1), ("0.0", 0), ('"1"', 1)])
def test_a_change_of_type_alone_is_a_change(before: str, after: Any, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(f'{{"value": {before}}}\n')
    hook = Each(lambda e: e["raw_data"].update(value=after) or e)
    (row,) = load(str(tmp_path / "in.jsonl"), Loose, pre_validation_hooks=[hook]).rows
    assert (row["value"], type(row["value"])) == (after, type(after))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(
    row=st.dictionaries(st.text(max_size=4), json_values, max_size=4),
    changes=st.dictionaries(st.text(max_size=4), json_values, max_size=2),
    spaced=st.booleans(),
    ascii_only=st.booleans(),
)
def test_a_changed_json_row_is_the_row_with_the_changes(row: Any, changes: Any, spaced: bool, ascii_only: bool) -> None:
    from zoopipe_core.hooking.rows import json_text

    line = json.dumps(row, separators=None if spaced else (",", ":"), ensure_ascii=ascii_only, indent=spaced or None)
    changed = {**row, **changes}
    assert json.loads(json_text(line.encode(), changed)) == changed
    assert json_text(line.encode(), json.loads(line)) == line.encode()


def test_a_value_that_json_cannot_hold_fails_the_run_with_a_clear_message(tmp_path: Path) -> None:
    hook = Each(lambda e: e["raw_data"].update(name=object()) or e)
    message = failure(from_jsonl(tmp_path, THREE), pre_validation_hooks=[hook])
    assert "the hook Each failed on rows 1 to 3 of" in message
    assert "a row hook left a value in raw_data that JSON cannot hold" in message


# ---- what a hook does after validation ------------------------------------------------------------------------------


@every_source
def test_dropped_added_and_failed_rows_after_validation_are_counted(source: Any, tmp_path: Path) -> None:
    def act(entry: Any) -> Any:
        kind = entry["validated_data"]["name"]
        if kind == "drop":
            return None
        if kind == "add":
            return [{"validated_data": {"id": 100, "name": "added"}}, entry]
        if kind == "fail":
            entry["status"] = EntryStatus.FAILED
        if kind == "change":
            entry["validated_data"]["name"] = "changed"
        return entry

    names = ["keep", "drop", "add", "fail", "change"]
    rows = [{"id": i, "name": n} for i, n in enumerate(names)]
    done = load(source(tmp_path, rows), post_validation_hooks=[Each(act)])
    assert [row["name"] for row in done.rows] == ["keep", "added", "add", "changed"]
    assert (done.report.filtered_rows, done.report.added_rows, done.report.rejected_rows) == (1, 1, 1)
    (reject,) = done.rejects
    assert (reject["_row"], reject["_errors"][0]["msg"]) == (4, "Each marked the row as failed")
    if source is not from_jsonl:
        assert reject["name"] == "fail"


def test_an_entry_that_is_returned_twice_is_a_row_that_was_added() -> None:
    def number(entry: Any) -> Any:
        entry["validated_data"]["name"] += str(entry["position"])
        return entry

    done = load(THREE[:2], post_validation_hooks=[Each(lambda e: [e, e]), Each(number)])
    assert [row["name"] for row in done.rows] == ["a1", "a0", "b2", "b0"]
    assert done.report.added_rows == 2


def test_a_hook_cannot_move_a_reject_to_another_row_by_changing_its_position() -> None:
    def fail(entry: Any) -> Any:
        entry["position"] = 1
        entry["status"] = EntryStatus.FAILED
        return entry

    for side in ("pre_validation_hooks", "post_validation_hooks"):
        done = load(THREE, **{side: [Each(fail)]})  # type: ignore[arg-type]
        assert [(r["_row"], r["name"]) for r in done.rejects] == [(1, "a"), (2, "b"), (3, "c")]


def test_decimals_keep_their_exact_values_through_hooks_of_both_kinds() -> None:
    class Money(BaseModel):
        amount: Decimal
        note: str

    amounts = ["1.50", "-0.0", "1E+3", "0.123456789", "12345678901234567890.5"]
    rows = [{"amount": Decimal(text), "note": "n"} for text in amounts]
    mark = Columns(lambda b: b.set_column(1, "note", pc.utf8_upper(b.column("note"))))
    done = load(rows, Money, post_validation_hooks=[Each(lambda e: e), mark, Each(lambda e: e)])
    assert [str(row["amount"]) for row in done.rows] == amounts
    assert {row["note"] for row in done.rows} == {"N"}


def test_a_row_that_does_not_fit_a_record_batch_says_which_before_a_column_hook() -> None:
    class Money(BaseModel):
        amount: Decimal

    rows = [{"amount": "1"}, {"amount": "0.12345678901"}]
    message = failure(rows, Money, post_validation_hooks=[Columns()])
    assert "the rows cannot be given to it as a record batch: column 'amount', row 2 of list" in message
    assert "decimal_places" in message


def test_optional_keys_that_the_first_batch_lacks_survive_a_row_hook(tmp_path: Path) -> None:
    from typing import NotRequired

    from typing_extensions import TypedDict

    class Part(TypedDict):
        id: int
        nick: NotRequired[str]

    output = tmp_path / "out.csv"
    pipe = Pipe(
        [{"id": 1}, {"id": 2, "nick": "b"}],
        str(output),
        schema_model=Part,
        post_validation_hooks=[Each(lambda e: e)],
        executor=SingleThreadExecutor(batch_size=1),
    )
    pipe.run(on_report_update=None)
    pipe.report.raise_for_status()
    assert output.read_text() == "id,nick\n1,\n2,b\n"


# ---- columns that hooks add -----------------------------------------------------------------------------------------


def read_csv(path: Path) -> Rows:
    return fetched(duckdb.execute("select * from read_csv(?)", [str(path)]))


def fetched(result: Any) -> Rows:
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def read_jsonl(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def read_parquet(path: Path) -> Rows:
    return pq.read_table(path).to_pylist()


def read_table(path: Path) -> Rows:
    with duckdb.connect(str(path)) as connection:
        return fetched(connection.execute("select * from items"))


TARGETS = [
    pytest.param("out.csv", read_csv, id="csv"),
    pytest.param("out.jsonl", read_jsonl, id="jsonl"),
    pytest.param("out.parquet", read_parquet, id="parquet"),
    pytest.param("wh.duckdb", read_table, id="duckdb"),
]


def target(folder: Path, name: str) -> str:
    return f"duckdb:///{folder / name}::items" if name.endswith(".duckdb") else str(folder / name)


def add_score(entry: Any) -> Any:
    number = entry["validated_data"]["id"]
    entry["validated_data"]["score"] = None if number < 3 else number / 2
    return entry


def add_flag(batch: pa.RecordBatch) -> pa.RecordBatch:
    ids = batch.column("id")
    flags = pa.nulls(len(ids)) if ids[0].as_py() < 3 else pc.equal(ids, 3)
    return batch.append_column("flag", flags)


@pytest.mark.parametrize(("name", "read"), TARGETS)
def test_columns_that_hooks_add_reach_the_output_though_the_first_batch_has_none(
    name: str, read: Any, tmp_path: Path
) -> None:
    rows = [{"id": i, "name": "n"} for i in range(1, 5)]
    pipe = Pipe(
        rows,
        target(tmp_path, name),
        schema_model=Item,
        post_validation_hooks=[Each(add_score, score=float), Columns(add_flag, flag=bool)],
        executor=SingleThreadExecutor(batch_size=2),
    )
    pipe.run(on_report_update=None)
    pipe.report.raise_for_status()
    assert [(row["id"], row["score"], row["flag"]) for row in read(tmp_path / name)] == [
        (1, None, None),
        (2, None, None),
        (3, 1.5, True),
        (4, 2.0, False),
    ]


@pytest.mark.parametrize(("name", "read"), TARGETS)
def test_a_declared_column_may_come_late_or_in_some_rows_only(name: str, read: Any, tmp_path: Path) -> None:
    def late(entry: Any) -> Any:
        if entry["validated_data"]["id"] == 4:
            entry["validated_data"]["late"] = "x"
        return entry

    rows = [{"id": i, "name": "n"} for i in range(1, 5)]
    pipe = Pipe(
        rows,
        target(tmp_path, name),
        schema_model=Item,
        post_validation_hooks=[Each(late, late=str), Columns()],
        executor=SingleThreadExecutor(batch_size=2),
    )
    pipe.run(on_report_update=None)
    pipe.report.raise_for_status()
    assert [row.get("late") for row in read(tmp_path / name)] == [None, None, None, "x"]


@pytest.mark.parametrize(("name", "read"), TARGETS)
def test_columns_that_hooks_add_undeclared_take_their_type_from_the_first_batch(
    name: str, read: Any, tmp_path: Path
) -> None:
    hook = Each(lambda e: e["validated_data"].update(double=e["validated_data"]["id"] * 2) or e)
    pipe = Pipe(THREE, target(tmp_path, name), schema_model=Item, post_validation_hooks=[hook])
    pipe.run(on_report_update=None)
    pipe.report.raise_for_status()
    assert [row["double"] for row in read(tmp_path / name)] == [2, 4, 6]


@pytest.mark.parametrize(("name", "read"), TARGETS[2:])
def test_an_empty_load_has_the_columns_that_hooks_declare(name: str, read: Any, tmp_path: Path) -> None:
    hooks = [Each(add_score, score=float)]
    pipe = Pipe([], target(tmp_path, name), schema_model=Item, post_validation_hooks=hooks)
    pipe.run(on_report_update=None)
    pipe.report.raise_for_status()
    assert read(tmp_path / name) == []


def test_a_hook_may_give_a_column_another_type_if_it_says_so(tmp_path: Path) -> None:
    hook = Each(lambda e: e["validated_data"].update(id=f"#{e['validated_data']['id']}") or e, id=str)
    pipe = Pipe(THREE, str(tmp_path / "out.parquet"), schema_model=Item, post_validation_hooks=[hook])
    pipe.run(on_report_update=None)
    pipe.report.raise_for_status()
    assert [row["id"] for row in read_parquet(tmp_path / "out.parquet")] == ["#1", "#2", "#3"]


@pytest.mark.parametrize("kind", ["row", "column"])
def test_a_column_that_a_hook_removes_is_gone(kind: str) -> None:
    row = Each(lambda e: e["validated_data"].pop("name") and e)
    hook = row if kind == "row" else Columns(lambda b: b.drop_columns(["name"]))
    done = load(THREE, post_validation_hooks=[hook])
    assert done.rows == [{"id": 1}, {"id": 2}, {"id": 3}]


def test_a_column_that_one_hook_adds_and_another_removes_is_gone() -> None:
    hooks = [Each(add_score, score=float), Columns(lambda b: b.drop_columns(["score"])), Each(lambda e: e)]
    assert load(THREE, post_validation_hooks=hooks).rows == THREE


def test_a_hook_before_validation_may_add_what_the_source_lacks(tmp_path: Path) -> None:
    hook = Each(lambda e: e["raw_data"].update(name="added") or e, name=str)
    (tmp_path / "in.csv").write_text("id\n1\n")
    assert load(str(tmp_path / "in.csv"), pre_validation_hooks=[hook]).rows == [{"id": 1, "name": "added"}]


def test_a_validator_before_the_model_may_add_what_the_source_lacks(tmp_path: Path) -> None:
    class Renamed(Item):
        @model_validator(mode="before")
        @classmethod
        def rename(cls, row: Any) -> Any:
            return {"name": row["title"], **row}

    (tmp_path / "in.csv").write_text("id,title\n1,t\n")
    assert load(str(tmp_path / "in.csv"), Renamed).rows == [{"id": 1, "name": "t"}]


# ---- column hooks ---------------------------------------------------------------------------------------------------


def test_a_column_hook_before_validation_gets_undecoded_text_from_csv(tmp_path: Path) -> None:
    seen: list[pa.Schema] = []
    hook = Columns(lambda b: seen.append(b.schema) or b)
    load(from_csv(tmp_path, THREE), pre_validation_hooks=[hook])
    assert seen == [pa.schema([("id", pa.binary()), ("name", pa.binary())])]


@with_columns
def test_a_column_hook_before_validation_changes_adds_and_drops(source: Any, tmp_path: Path) -> None:
    def twice(batch: pa.RecordBatch) -> pa.RecordBatch:
        ids = pc.cast(pc.cast(batch.column("id"), pa.string()), pa.int64())
        return batch.set_column(0, "id", pc.multiply(ids, 2))

    odd = Columns(twice, lambda b: pc.not_equal(b.column("id"), 4))
    done = load(source(tmp_path, [*THREE, {"id": -7, "name": "bad"}]), pre_validation_hooks=[odd])
    assert [row["id"] for row in done.rows] == [2, 6]
    assert done.report.filtered_rows == 1
    (reject,) = done.rejects
    assert (str(reject["id"]), reject["_row"]) == ("-7", 4)


def test_a_column_hook_before_validation_may_mend_the_text_of_json(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("{'id': 1, 'name': 'a'}\n")

    def mend(batch: pa.RecordBatch) -> pa.RecordBatch:
        text = pc.replace_substring(batch.column("_raw").cast(pa.string()), "'", '"')
        return pa.RecordBatch.from_arrays([text], names=["_raw"])

    raws: list[Any] = []
    after = Each(lambda e: raws.append(e["raw_data"]) or e)
    done = load(str(tmp_path / "in.jsonl"), pre_validation_hooks=[Columns(mend)], post_validation_hooks=[after])
    assert done.rows == [{"id": 1, "name": "a"}]
    assert raws == [{}]  # what was read is no row


def test_a_column_added_to_json_text_is_refused_and_not_lost(tmp_path: Path) -> None:
    hook = Columns(lambda b: b.append_column("x", pa.array([1] * b.num_rows)))
    assert "has the one column '_raw'" in failure(from_jsonl(tmp_path, THREE), pre_validation_hooks=[hook])


def test_a_column_hook_before_validation_on_python_rows_is_refused_with_a_remedy() -> None:
    message = failure(THREE, pre_validation_hooks=[Columns()])
    assert "needs a source with columns" in message
    assert "use a BaseHook" in message


@with_columns
def test_row_and_column_hooks_mix_before_validation(source: Any, tmp_path: Path) -> None:
    def add(entry: Any) -> Any:
        entry["raw_data"]["name"] += "!"
        extra = {"raw_data": {"id": entry["raw_data"]["id"], "name": "copy"}}
        bad = {"raw_data": {"id": -1 if source is from_arrow else "-1", "name": "bad"}}
        return [entry, extra, bad] if entry["position"] == 1 else entry

    def upper(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch.set_column(1, "name", pc.utf8_upper(pc.cast(batch.column("name"), pa.string())))

    not_b = Columns(upper, lambda b: pc.not_equal(b.column("name"), "B!"))
    done = load(source(tmp_path, THREE), pre_validation_hooks=[Each(add), not_b, Each(lambda e: e), Columns()])
    assert [(row["id"], row["name"]) for row in done.rows] == [(1, "A!"), (1, "COPY"), (3, "C!")]
    assert (done.report.added_rows, done.report.filtered_rows, done.report.rejected_rows) == (2, 1, 1)
    assert done.rejects[0]["_row"] == 0
    assert json.loads(done.rejects[0]["_raw"])["name"] == "BAD"


def test_a_column_hook_behind_rows_of_different_columns_says_which(tmp_path: Path) -> None:
    def some(entry: Any) -> Any:
        if entry["position"] == 2:
            entry["raw_data"]["new"] = 1
        return entry

    message = failure(from_csv(tmp_path, THREE), pre_validation_hooks=[Each(some), Columns()])
    assert "2 of 3 rows lack the column 'new'" in message


@every_source
def test_a_column_hook_after_validation_changes_and_drops(source: Any, tmp_path: Path) -> None:
    hook = Columns(
        lambda b: b.append_column("double", pc.multiply(b.column("id"), 2)),
        lambda b: pa.array([True, None, False]),
    )
    done = load(source(tmp_path, THREE), post_validation_hooks=[hook])
    assert done.rows == [{"id": 1, "name": "a", "double": 2}]
    assert done.report.filtered_rows == 2


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        (Columns(lambda b: b.slice(1)), "execute returned 2 rows for 3; drop rows with keep()"),
        (Columns(lambda b: None), "execute has to return a pyarrow.RecordBatch, not NoneType"),
        (Columns(lambda b: pa.Table.from_batches([b])), "execute has to return a pyarrow.RecordBatch, not Table"),
        (Columns(lambda b: b.append_column("id", b.column("id"))), "two columns named 'id'"),
        (Columns(keep=lambda b: [True] * 3), "keep has to return a pyarrow array of 3 booleans, or None, not a list"),
        (Columns(keep=lambda b: pa.array([True])), "a pyarrow array of 3 booleans, or None, not 1 of bool"),
        (Columns(keep=lambda b: pa.array([1, 2, 3])), "a pyarrow array of 3 booleans, or None, not 3 of int64"),
        (Columns(lambda b: b.column("nope")), "raised KeyError on rows 1 to 3 of"),
    ],
)
@pytest.mark.parametrize("side", ["pre_validation_hooks", "post_validation_hooks"])
def test_what_a_column_hook_may_not_return_fails_the_run(hook: Any, message: str, side: str, tmp_path: Path) -> None:
    assert message in failure(from_arrow(tmp_path, THREE), **{side: [hook]})  # type: ignore[arg-type]


def test_a_column_hook_on_a_model_without_columns_gets_as_many_rows(tmp_path: Path) -> None:
    class Nothing(BaseModel):
        absent: int = 3

    class Blind(Columns):
        columns = ()

    sizes: list[int] = []
    hook = Blind(lambda b: sizes.append(b.num_rows) or b)
    done = load(from_csv(tmp_path, THREE), Nothing, rejects=False, pre_validation_hooks=[hook])
    assert (done.rows, sizes) == ([{"absent": 3}] * 3, [3])


# ---- what a hook may not do -----------------------------------------------------------------------------------------


class Returns(BaseHook):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def execute(self, entries: list[Any], store: dict[str, Any]) -> Any:
        return self.value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "has to return a list of entries, not None"),
        (iter([]), "has to return a list of entries, not a list_iterator"),
        ([1], "has to return a list of entries, not a list with a int"),
        ([{"raw_data": 1, "validated_data": 1}], "data has to be a dict, not a int"),
        ([{}], "data has to be a dict, not None"),
        ([{"status": "FAILED"}], "has the status 'FAILED', which is none of EntryStatus.PENDING"),
        ([{"id": []}], "raised TypeError"),
    ],
)
@pytest.mark.parametrize("side", ["pre_validation_hooks", "post_validation_hooks"])
def test_a_row_hook_that_returns_garbage_fails_the_run(value: Any, message: str, side: str) -> None:
    told = failure(THREE, **{side: [Returns(value)]})  # type: ignore[arg-type]
    assert message in told
    assert "the hook Returns" in told
    assert "on rows 1 to 3 of list" in told


def test_a_key_that_is_no_name_of_a_column_fails_the_run() -> None:
    hook = Each(lambda e: e["validated_data"].update({7: "x"}) or e)
    assert "has the key 7" in failure(THREE, post_validation_hooks=[hook])


@pytest.mark.parametrize("side", ["pre_validation_hooks", "post_validation_hooks"])
def test_an_exception_in_a_hook_fails_the_run_with_its_name_and_the_rows(side: str) -> None:
    class Fragile(Each):
        pass

    def fail(entry: Any) -> Any:
        if entry["position"] == 5:
            raise ZeroDivisionError("by zero")
        return entry

    output = PyGeneratorOutputAdapter()
    rows = [{"id": i, "name": "n"} for i in range(9)]
    executor = SingleThreadExecutor(batch_size=2)
    pipe = Pipe(rows, output, schema_model=Item, executor=executor, **{side: [Fragile(fail)]})  # type: ignore[arg-type]
    assert pipe.run(on_report_update=None) is False
    cause = pipe.report.cause
    assert isinstance(cause, HookError)
    assert str(cause) == "the hook Fragile raised ZeroDivisionError on rows 5 to 6 of list: by zero"
    assert isinstance(cause.__cause__, ZeroDivisionError)
    with pytest.raises(Exception, match="no run has completed"):
        list(output)


@pytest.mark.parametrize(
    ("hooks", "message"),
    [
        (Each(lambda e: e), "has to be a list of hooks"),
        (7, "has to be a list of hooks"),
        ([Each], "Each is no hook; derive it from BaseHook or ColumnHook, and give an instance"),
        ([lambda entries, store: entries], "is no hook"),
        ([Each(lambda e: e, priority="high")], "Each.priority has to be a number, not 'high'"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_hook_is_refused_when_the_pipe_is_built(hooks: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Pipe([], None, pre_validation_hooks=hooks)


@pytest.mark.parametrize(("name", "value"), [("columns", "id"), ("columns", (1,)), ("adds", ["x"]), ("adds", {"x": 1})])
def test_a_hook_that_describes_itself_wrongly_is_refused(name: str, value: Any) -> None:
    hook = Each(lambda e: e)
    setattr(hook, name, value)
    with pytest.raises(SpecError, match=f"Each.{name} has to be"):
        Pipe([], None, post_validation_hooks=[hook])


# ---- the life of a hook ---------------------------------------------------------------------------------------------


class Logged(BaseHook):
    """Writes down what happens to it, in a list that outlives copies."""

    LOG: ClassVar[list[str]] = []

    def __init__(self, label: str, priority: int = 50, fails_in: str = "") -> None:
        super().__init__(priority)
        self.label, self.fails_in = label, fails_in

    def _do(self, what: str) -> None:
        self.LOG.append(f"{what} {self.label}")
        if what == self.fails_in:
            raise RuntimeError(f"{self.label} fails")

    def setup(self, store: dict[str, Any]) -> None:
        self._do("setup")
        store.setdefault("labels", []).append(self.label)

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        self._do("execute")
        return entries

    def teardown(self, store: dict[str, Any]) -> None:
        self._do("teardown")


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    Logged.LOG.clear()


def test_hooks_run_by_priority_and_are_torn_down_in_reverse() -> None:
    before = [Logged("late", 90), Logged("first", 10), Logged("second", 10)]
    load(THREE, pre_validation_hooks=before, post_validation_hooks=[Logged("after", 1)])
    assert [
        *("setup first", "setup second", "setup late", "setup after"),
        *("execute first", "execute second", "execute late", "execute after"),
        *("teardown after", "teardown late", "teardown second", "teardown first"),
    ] == Logged.LOG


def test_setup_and_teardown_run_once_a_run_also_for_a_hook_on_both_sides() -> None:
    hook = Logged("both")
    pipe = Pipe(THREE * 5, None, executor=SingleThreadExecutor(batch_size=4))
    pipe = Pipe(
        pipe.input_adapter, None, pre_validation_hooks=[hook], post_validation_hooks=[hook], executor=pipe.executor
    )
    for _ in range(2):
        Logged.LOG.clear()
        assert pipe.run(on_report_update=None)
        assert Counter(Logged.LOG) == {"setup both": 1, "execute both": 8, "teardown both": 1}
        assert (Logged.LOG[0], Logged.LOG[-1]) == ("setup both", "teardown both")


def test_the_store_is_shared_by_all_hooks_of_a_run_and_new_for_each() -> None:
    stores: list[dict[str, Any]] = []

    class Look(Logged):
        def teardown(self, store: dict[str, Any]) -> None:
            stores.append(store)

    pipe = Pipe(THREE, None, pre_validation_hooks=[Look("a")], post_validation_hooks=[Look("b")])
    pipe.run(on_report_update=None)
    assert stores[0] is stores[1]
    assert stores[0] == {"labels": ["a", "b"]}
    pipe.run(on_report_update=None)
    assert stores[2] is not stores[0]


@pytest.mark.parametrize("fails_in", ["setup", "execute", "teardown"])
def test_hooks_that_were_set_up_are_torn_down_whatever_fails(fails_in: str) -> None:
    hooks = [Logged("a"), Logged("b", fails_in=fails_in), Logged("c")]
    message = failure(THREE, pre_validation_hooks=hooks)
    assert message.startswith("the hook Logged raised RuntimeError")
    assert f"{'on rows 1 to 3 of list' if fails_in == 'execute' else 'in ' + fails_in}: b fails" in message
    started = [line.removeprefix("setup ") for line in Logged.LOG if line.startswith("setup")]
    ended = [line.removeprefix("teardown ") for line in Logged.LOG if line.startswith("teardown")]
    assert ended == ([*reversed(started)] if fails_in != "setup" else ["a"])


def test_a_failing_teardown_does_not_hide_what_failed_before() -> None:
    hooks = [Logged("a", fails_in="teardown"), Logged("b", fails_in="execute"), Logged("c", fails_in="teardown")]
    message = failure(THREE, pre_validation_hooks=hooks)
    first, *notes = message.split("\n")
    assert first == "the hook Logged raised RuntimeError on rows 1 to 3 of list: b fails"
    assert notes == [
        "the hook Logged raised RuntimeError in teardown: c fails",
        "the hook Logged raised RuntimeError in teardown: a fails",
    ]


def test_a_failing_teardown_fails_the_run_and_nothing_is_published(tmp_path: Path) -> None:
    output = tmp_path / "out.csv"
    output.write_text("old")
    pipe = Pipe(THREE, str(output), schema_model=Item, post_validation_hooks=[Logged("a", fails_in="teardown")])
    assert pipe.run(on_report_update=None) is False
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_hook_that_exits_the_program_fails_the_run_only() -> None:
    for kind in (SystemExit, KeyboardInterrupt):

        class Quits(BaseHook):
            def execute(self, entries: list[Any], store: dict[str, Any], kind: Any = kind) -> list[Any]:
                raise kind

        pipe = Pipe(THREE, PyGeneratorOutputAdapter(), post_validation_hooks=[Quits()])
        assert pipe.run(on_report_update=None) is False
        assert pipe.report.has_error
        assert isinstance(pipe.report.cause, kind)


# ---- threads --------------------------------------------------------------------------------------------------------


class Sequence(BaseHook):
    """Asserts that it is alone, and notes the order of rows and the threads that it ran in."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key, self.busy = key, False

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        assert not store.get("busy")
        store["busy"] = True
        store.setdefault(self.key, []).extend(entry["position"] for entry in entries)
        store.setdefault("threads", set()).add(threading.get_ident())
        store["busy"] = False
        return entries

    def teardown(self, store: dict[str, Any]) -> None:
        self.seen, self.threads = store[self.key], store["threads"]


@every_source
def test_hooks_see_rows_in_order_and_alone_whatever_the_threads(source: Any, tmp_path: Path) -> None:
    rows = [{"id": i, "name": "n"} for i in range(500)]
    before, after = Sequence("before"), Sequence("after")
    done = load(
        source(tmp_path, rows),
        pre_validation_hooks=[before],
        post_validation_hooks=[after],
        executor=MultiThreadExecutor(max_workers=4, batch_size=7),
    )
    assert [row["id"] for row in done.rows] == list(range(500))
    assert before.seen == after.seen == list(range(1, 501))
    assert len(before.threads) == 1


# ---- a value --------------------------------------------------------------------------------------------------------


class Scale(BaseHook):
    adds: ClassVar[dict[str, type]] = {"score": float}

    def __init__(self, factor: float, priority: int = 50) -> None:
        super().__init__(priority)
        self.factor = factor

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        for entry in entries:
            entry["validated_data"]["score"] = entry["validated_data"]["id"] * self.factor
        return entries


def test_a_pipe_with_hooks_equals_its_pickle_and_not_one_with_other_hooks() -> None:
    pipe = Pipe("in.csv", "out.csv", schema_model=Item, post_validation_hooks=[Scale(2.0)])
    assert pickle.loads(pickle.dumps(pipe)) == pipe
    assert hash(pickle.loads(pickle.dumps(pipe))) == hash(pipe)
    assert pipe != Pipe("in.csv", "out.csv", schema_model=Item, post_validation_hooks=[Scale(3.0)])
    assert pipe != Pipe("in.csv", "out.csv", schema_model=Item, post_validation_hooks=[Scale(2.0, priority=1)])


def test_a_pickled_pipe_runs_its_hooks() -> None:
    pipe = pickle.loads(pickle.dumps(Pipe(THREE, None, schema_model=Item, post_validation_hooks=[Scale(2.0)])))
    output = PyGeneratorOutputAdapter()
    again = Pipe(pipe.input_adapter, output, schema_model=Item, post_validation_hooks=pipe.post_validation_hooks)
    assert again.run(on_report_update=None)
    assert [row["score"] for row in output] == [2.0, 4.0, 6.0]


# ---- the account, against an oracle ---------------------------------------------------------------------------------

ACTIONS = ["keep", "change", "drop", "fail", "add", "twice", "addbad"]


def act(entry: Any, data: str, action: str) -> Any:
    row = entry[data]
    added = {data: {**row, "name": "keep:keep"}}
    if action == "change":
        row["id"] = str(int(row["id"]) + 100) if isinstance(row["id"], str) else row["id"] + 100
    if action == "drop":
        return None
    if action == "fail":
        entry["status"] = EntryStatus.FAILED
    if action == "add":
        return [added, entry]
    if action == "twice":
        return [entry, entry]
    if action == "addbad":
        return [{**added, "status": EntryStatus.FAILED}, entry]
    return entry


def before_act(entry: Any) -> Any:
    return act(entry, "raw_data", entry["raw_data"]["name"].split(":")[0])


def after_act(entry: Any) -> Any:
    return act(entry, "validated_data", entry["validated_data"]["name"].split(":")[1])


def oracle(rows: Rows) -> tuple[list[int], Counter[str]]:
    """The ids that are loaded, in order, and the counts."""
    counts: Counter[str] = Counter(read=len(rows))

    def step(numbers: list[tuple[int, str]], side: int) -> list[tuple[int, str]]:
        result: list[tuple[int, str]] = []
        for number, name in numbers:
            action = name.split(":")[side]
            if action == "keep":
                result.append((number, name))
            elif action == "change":
                result.append((number + 100, name))
            elif action == "drop":
                counts["filtered"] += 1
            elif action == "fail":
                counts["rejected"] += 1
            elif action == "add":
                counts["added"] += 1
                result.extend([(number, "keep:keep"), (number, name)])
            elif action == "twice":
                counts["added"] += 1
                result.extend([(number, name)] * 2)
            elif action == "addbad":
                counts["added"] += 1
                counts["rejected"] += 1
                result.append((number, name))
        return result

    numbers = step([(row["id"], row["name"]) for row in rows], 0)
    good = [(number, name) for number, name in numbers if number >= 0]
    counts["rejected"] += len(numbers) - len(good)
    loaded = [number for number, _ in step(good, 1)]
    counts["loaded"] = len(loaded)
    return loaded, counts


rows_to_act_on = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-2, 50),
            "name": st.tuples(st.sampled_from(ACTIONS), st.sampled_from(ACTIONS)).map(":".join),
        }
    ),
    max_size=12,
)


@hypothesis_settings(max_examples=60)
@given(
    rows=rows_to_act_on,
    source=st.sampled_from(SOURCES),
    size=st.integers(1, 5),
    threads=st.booleans(),
    columns=st.booleans(),
)
def test_every_row_is_accounted_for_whatever_hooks_do(
    rows: Rows, source: Any, size: int, threads: bool, columns: bool
) -> None:
    executor = MultiThreadExecutor(2, size) if threads else SingleThreadExecutor(size)
    between = [Columns()] if columns and source is not from_python else []
    with TemporaryDirectory() as folder:
        done = load(
            source(Path(folder), rows),
            pre_validation_hooks=[Each(before_act), *between],
            post_validation_hooks=[Each(after_act), *([Columns()] if columns else [])],
            executor=executor,
        )
    expected, counts = oracle(rows)
    assert [row["id"] for row in done.rows] == expected
    report = done.report
    assert (report.read_rows, report.loaded_rows, report.rejected_rows, report.filtered_rows, report.added_rows) == (
        counts["read"],
        counts["loaded"],
        counts["rejected"],
        counts["filtered"],
        counts["added"],
    )


def test_json_output_of_hooked_rows_is_one_object_a_line(tmp_path: Path) -> None:
    source, output = JSONInputAdapter(tmp_path / "in.jsonl"), JSONOutputAdapter(tmp_path / "out.jsonl")
    from_jsonl(tmp_path, THREE)
    pipe = Pipe(source, output, schema_model=Item, post_validation_hooks=[Scale(0.5)])
    assert pipe.run(on_report_update=None)
    assert read_jsonl(tmp_path / "out.jsonl")[2] == {"id": 3, "name": "c", "score": 1.5}
