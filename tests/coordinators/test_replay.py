"""Targets that are no files: what shards have validated reaches the writer just as it was."""

import enum
import os
import stat
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from hypothesis import given
from pydantic import BaseModel, ConfigDict, PlainSerializer

from tests.batches.strategies import all_same, same, tables
from tests.coordinators.support import Chunks, names_in, sharded
from tests.databases import execute, tables_of
from zoopipe_core import BaseHook, JSONOutputAdapter, Pipe, PipeStatus, PyGeneratorOutputAdapter, SQLOutputAdapter
from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.coordinators.batch_parts import read_part
from zoopipe_core.coordinators.replay import BatchPart
from zoopipe_core.errors import TargetWriteError

KEY = b"k" * 32


def through_a_part(path: Path, types: dict[str, ColumnType], *batches: ModelBatch) -> list[Any]:
    writer = BatchPart(str(path), "target", False, KEY).open()
    writer.start(types)
    for batch in batches:
        writer.write_encoded(writer.encode(batch))
    writer.prepare()
    writer.publish()
    return list(read_part(str(path), KEY))


# ---- parts ----------------------------------------------------------------------------------------------------------


@given(tables())
def test_every_value_comes_back_as_it_was_held_as_values_or_as_arrays(table: Any) -> None:
    types, rows = table
    numbers = np.arange(5, 5 + len(rows), dtype=np.int64)
    as_values = ModelBatch.from_rows(rows, types, numbers, "in.csv", [b"{}"] * len(rows))
    as_arrays = ModelBatch.from_arrow(as_values.to_arrow(), numbers[::-1], "in.csv", types)
    with tempfile.TemporaryDirectory() as folder:
        started, one, other = through_a_part(Path(folder, "part"), types, as_values, as_arrays)
    assert started == types
    assert one.types == as_values.types
    assert all_same(list(one.dicts()), rows)
    assert all(column.held_array is not None for column in other.columns.values()) or not other.num_rows
    assert all_same(list(other.dicts()), list(as_arrays.dicts()))
    assert (one.rows.tolist(), other.rows.tolist()) == (numbers.tolist(), numbers[::-1].tolist())
    assert (one.source, one.json_lines, other.json_lines) == ("in.csv", [b"{}"] * len(rows), None)


class Colour(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Point:
    x: int


def test_what_no_array_could_hold_comes_back_too(tmp_path: Path) -> None:
    class Local(enum.Enum):  # a worker could not import it
        ONE = 1

    values = [
        MISSING,
        None,
        Decimal("1.50"),
        2**80,
        Colour.RED,
        Local.ONE,
        Point(1),
        {1, 2},
        "\ud800",
        [{"a": MISSING}],
    ]
    batch = ModelBatch({"x": Column(JSON, values)}, np.zeros(len(values), np.int64))
    _, back = through_a_part(tmp_path / "part", {"x": JSON}, batch)
    assert back.columns["x"].values == values
    assert back.columns["x"].values[0] is MISSING
    assert back.columns["x"].values[5] is Local.ONE
    assert str(back.columns["x"].values[2]) == "1.50"


def test_slices_of_arrays_are_written_without_what_is_around_them(tmp_path: Path) -> None:
    whole = ModelBatch.from_rows([{"x": "y" * 1000}] * 1000, {"x": STRING}).to_arrow()
    piece = ModelBatch.from_arrow(whole.slice(500, 2), np.arange(2))
    _, back = through_a_part(tmp_path / "part", {"x": STRING}, piece)
    assert list(back.dicts()) == [{"x": "y" * 1000}] * 2
    assert (tmp_path / "part").stat().st_size < 10_000


def test_a_part_of_somebody_else_is_never_unpickled(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "harm"),)

    batch = ModelBatch({"x": Column(JSON, [Harm()])}, np.ones(1, np.int64))
    writer = BatchPart(str(tmp_path / "part"), "target", False, b"another key".ljust(32)).open()
    writer.write(batch)
    writer.publish()
    with pytest.raises(TargetWriteError, match="damaged or replaced"):
        list(read_part(str(tmp_path / "part"), KEY))
    assert not (tmp_path / "harm").exists()


def test_a_part_that_was_cut_or_changed_is_an_error(tmp_path: Path) -> None:
    through_a_part(tmp_path / "part", {"x": STRING}, ModelBatch.from_rows([{"x": "y"}], {"x": STRING}))
    data = (tmp_path / "part").read_bytes()
    for broken in (data[:-1], data[:20], data[:60] + bytes([data[60] ^ 1]) + data[61:]):
        (tmp_path / "part").write_bytes(broken)
        with pytest.raises(TargetWriteError, match="damaged or replaced"):
            list(read_part(str(tmp_path / "part"), KEY))


def test_the_key_is_shown_nowhere() -> None:
    part = BatchPart("parts/part", "target", False, KEY)
    assert "kkkk" not in f"{part!r} {part.label} {part}"


# ---- targets --------------------------------------------------------------------------------------------------------


class Row(BaseModel):
    id: int
    amount: Decimal | None = None
    tags: list[str] = []


def rows(*numbers: Any) -> list[dict[str, Any]]:
    return [{"id": n, "amount": "1.50", "tags": ["a", str(n)]} for n in numbers]


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_a_table_is_loaded_as_in_a_serial_run(database_uri: str, mode: str, tmp_path: Path) -> None:
    for table in ("serial", "parallel"):
        assert Pipe(rows(0), SQLOutputAdapter(database_uri, table), None, Row).run()
    chunks = [rows(1, 2), [], rows(3, "bad", 4), rows(5)]
    rejects = tmp_path / "bad.csv"
    assert Pipe(Chunks(chunks), SQLOutputAdapter(database_uri, "serial", mode), rejects, Row).run()
    expected = rejects.read_text()
    manager = sharded(Pipe(Chunks(chunks), SQLOutputAdapter(database_uri, "parallel", mode), rejects, Row))
    assert manager.run(), manager.report
    query = "SELECT * FROM {} ORDER BY id"
    found = execute(database_uri, query.format("parallel"))
    assert found == execute(database_uri, query.format("serial"))
    assert [row[0] for row in found] == ([0] if mode == "append" else []) + [1, 2, 3, 4, 5]
    assert rejects.read_text() == expected
    assert tables_of(database_uri) == {"serial", "parallel", "_zoopipe_loads"}
    assert manager.report.loaded_rows == 5


def test_rows_and_rejects_may_go_into_tables_of_one_database(database_uri: str) -> None:
    pipe = Pipe(
        Chunks([rows(1, "x"), rows("y", 2)]),
        SQLOutputAdapter(database_uri, "good"),
        SQLOutputAdapter(database_uri, "bad"),
        Row,
    )
    assert sharded(pipe).run()
    assert execute(database_uri, "SELECT count(*) FROM good") == [(2,)]
    assert [row for (row,) in execute(database_uri, "SELECT _row FROM bad ORDER BY _row")] == [2, 3]


def test_a_load_that_fails_leaves_the_table_and_the_temporary_folder_as_they_were(
    database_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    target = SQLOutputAdapter(database_uri, "t")
    assert Pipe(rows(7), target, None, Row).run()
    assert not sharded(Pipe(Chunks([rows(1), rows("x")]), target, None, Row, max_errors=0)).run()
    assert not sharded(Pipe(Chunks([[{"id": 1}], [{"id": 2**70}]]), target, None, Row)).run()
    assert execute(database_uri, "SELECT id FROM t") == [(7,)]
    assert tables_of(database_uri) == {"t", "_zoopipe_loads"}
    assert names_in(tmp_path / "temporary") == []


def test_python_objects_get_the_rows_in_the_manager_s_process(tmp_path: Path) -> None:
    output, rejects = PyGeneratorOutputAdapter(), PyGeneratorOutputAdapter()
    manager = sharded(Pipe(Chunks([rows(1), rows("x"), rows(2)]), output, rejects, Row))
    assert manager.run()
    assert [row["id"] for row in output] == [1, 2]
    assert next(iter(output))["amount"].as_tuple() == Decimal("1.50").as_tuple()
    assert [row["_row"] for row in rejects] == [2]
    assert not sharded(Pipe(Chunks([rows("x")]), output, rejects, Row, max_errors=0)).run()
    assert [row["id"] for row in output] == [1, 2]
    assert [row["_row"] for row in rejects] == [1]


def test_keys_that_a_row_lacks_stay_missing_and_those_that_it_adds_stay(tmp_path: Path) -> None:
    class Open(BaseModel):
        model_config = ConfigDict(extra="allow")

    chunks = [[{"a": 1}], [{"b": None}, {"a": 2, "c": {"d": 1}}]]
    output = PyGeneratorOutputAdapter()
    assert sharded(Pipe(Chunks(chunks), output, None, Open)).run()
    assert list(output) == [{"a": 1}, {"b": None}, {"a": 2, "c": {"d": 1}}]


class Shown(BaseModel):
    id: Annotated[int, PlainSerializer(lambda value: f"<{value}>", when_used="json")]


@dataclass(frozen=True, repr=False)
class Own(OutputAdapter):
    """What somebody else may have made of the JSON writer, which merging cannot know."""

    inner: JSONOutputAdapter

    @property
    def label(self) -> str:
        return "own"

    @property
    def wants_json(self) -> bool:
        return True

    def open(self) -> Writer:
        return self.inner.open()


def test_an_adapter_of_ones_own_is_written_by_its_own_writer(tmp_path: Path) -> None:
    output = Own(JSONOutputAdapter(tmp_path / "out.json", format="array", indent=1))
    pipe = Pipe(Chunks([[{"id": 1}], [{"id": 2}]]), output, None, Shown)
    assert pipe.run()
    expected = (tmp_path / "out.json").read_text()
    assert "<2>" in expected
    assert sharded(pipe).run()
    assert (tmp_path / "out.json").read_text() == expected


def test_parts_are_in_a_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    modes: set[int] = set()

    class Looks(BaseHook):
        def execute(self, entries: Any, store: dict[str, Any]) -> Any:
            modes.update(stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "temporary").iterdir())
            return entries

    pipe = Pipe(Chunks([rows(1), rows(2)]), PyGeneratorOutputAdapter(), None, Row, post_validation_hooks=[Looks()])
    manager = sharded(pipe)
    assert manager.run()
    assert manager.report.status is PipeStatus.COMPLETED
    assert modes == {0o700}
    assert names_in(tmp_path / "temporary") == []


def test_without_rows_a_target_has_the_columns_of_the_model() -> None:
    output = PyGeneratorOutputAdapter()
    assert sharded(Pipe(Chunks([[], []]), output, None, Row)).run()
    assert len(output) == 0
    assert output.to_table().column_names == ["id", "amount", "tags"]


def test_two_values_are_the_same_by_class_too() -> None:
    assert not same(1, True)
    assert not same(0.0, -0.0)


def test_a_table_that_is_not_to_be_touched_is_told_of_before_any_work_is_done(database_uri: str) -> None:
    assert Pipe(rows(7), SQLOutputAdapter(database_uri, "t"), None, Row).run()
    manager = sharded(Pipe(Chunks([rows(1)]), SQLOutputAdapter(database_uri, "t", "fail"), None, Row))
    assert not manager.run()
    assert manager.report.exception is not None
    assert manager.report.exception.type == "TableExistsError"
    assert manager.report.read_rows == 0
