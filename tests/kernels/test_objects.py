"""Kernels over Python objects: the same as Python would do it, no reference lost or kept, and nothing trusted."""

from __future__ import annotations

import datetime as dt
import gc
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from zoopipe_core.batches import objects
from zoopipe_core.batches.objects import EntryMaker, TextBuilder, changed_columns, rows_of_cells, rows_of_entries
from zoopipe_core.batches.values import python_values
from zoopipe_core.errors import UnsupportedValueError
from zoopipe_core.kernels import cache, cpython, native, probe
from zoopipe_core.kernels import objects as kernels

settings = hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)

OVER_OBJECTS = [declared for declared in native.kernels().values() if declared.over_objects]
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers(), max_size=2), st.dates()
)
NAMES = st.lists(st.text(max_size=5), min_size=1, max_size=12, unique=True)


@pytest.fixture(params=["python", "compiled"])
def way(request: pytest.FixtureRequest, compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Kernels by way of ctypes, one call for each word of theirs, and as machine code."""
    assert native.load()
    for declared in OVER_OBJECTS if request.param == "python" else ():
        monkeypatch.setattr(declared, "native", None)
    return str(request.param)


class Text(str):
    __slots__ = ()


class Record(dict[str, Any]):
    index: int
    raw: Any


# ---- rows ---------------------------------------------------------------------------------------------------------


@settings
@given(names=NAMES, data=st.data())
def test_rows_are_made_of_columns(way: str, names: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 5))
    columns = {name: data.draw(st.lists(VALUES, min_size=count, max_size=count)) for name in names}
    start = data.draw(st.integers(0, count))
    rows = rows_of_cells(columns, start, count - start)
    expected = [dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    assert [list(row) for row in rows] == [names] * len(rows)
    for row, wanted in zip(rows, expected[start:], strict=True):
        assert all(row[name] is wanted[name] for name in names)


def test_rows_beyond_the_columns_are_an_error(way: str) -> None:
    with pytest.raises(IndexError):
        rows_of_cells({"a": [1, 2]}, 1, 2)


def test_a_row_can_grow_without_another_one_seeing_it(way: str) -> None:
    first, second = rows_of_cells({"a": [1, 2]}, 0, 2)
    first.update({str(n): n for n in range(100)})
    del first["a"]
    assert second == {"a": 2}


# ---- entries ------------------------------------------------------------------------------------------------------

KEYS = ["id", "position", "status", "row", "notes"]
FINE, OTHER, BAD = "fine", "other", "bad"
MAKER = EntryMaker(
    Record, {"id": 0, "position": 0, "status": FINE, "row": None}, ("id", "position", "row"), "index", "raw"
)
IDS, POSITIONS = [1001, 1002, 1003], [2001, 2002, 2003]


def entries() -> list[Any]:
    return MAKER.entries(IDS, POSITIONS, {"a": [1, 2, 3], "b": ["x", "y", "z"]}, RAW)


RAW = object()


def read(given: list[Any]) -> Any:
    return rows_of_entries(given, KEYS, IDS, POSITIONS, [FINE, OTHER], Record)


def test_entries_are_made_of_columns(way: str) -> None:
    made = entries()
    assert made == [
        {"id": 1001, "position": 2001, "status": FINE, "row": {"a": 1, "b": "x"}},
        {"id": 1002, "position": 2002, "status": FINE, "row": {"a": 2, "b": "y"}},
        {"id": 1003, "position": 2003, "status": FINE, "row": {"a": 3, "b": "z"}},
    ]
    assert [list(entry) for entry in made] == [["id", "position", "status", "row"]] * 3
    assert [(type(entry), entry.index, entry.raw) for entry in made] == [(Record, n, RAW) for n in range(3)]


def test_what_comes_back_as_it_was_is_known_by_its_rows(way: str) -> None:
    given = entries()
    given[1]["row"]["c"] = 5
    given[2]["status"] = OTHER
    assert read(given) == ([{"a": 1, "b": "x"}, {"a": 2, "b": "y", "c": 5}, {"a": 3, "b": "z"}], False)
    assert all(entry["row"] is row for entry, row in zip(given, read(given)[0], strict=True))
    given[0]["notes"] = {}
    assert read(given)[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given[1].update(id=int("1003")),
        lambda given: given[1].update(id="1002"),
        lambda given: given[1].pop("id"),
        lambda given: given[2].update(position=0),
        lambda given: given[2].pop("position"),
        lambda given: given[0].update(status=BAD),
        lambda given: given[0].pop("status"),
        lambda given: given[0].update(row=None),
        lambda given: given[0].update(row=Record()),
        lambda given: given[0].pop("row"),
        lambda given: given.reverse(),
        lambda given: given.pop(),
        lambda given: given.append(given[0]),
        lambda given: given.__setitem__(0, None),
        lambda given: given.__setitem__(1, None),
        lambda given: given.__setitem__(1, dict(given[1])),
    ],
)
def test_what_is_unusual_is_left_to_others(way: str, change: Any) -> None:
    given = entries()
    change(given)
    assert read(given) is None


# ---- columns ------------------------------------------------------------------------------------------------------


@settings
@given(names=NAMES, data=st.data())
def test_columns_that_changed_are_told_from_others(way: str, names: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 5))
    columns = {name: [object() for _ in range(count)] for name in names}
    rows = rows_of_cells(columns, 0, count)
    known: list[Any] = [columns[name] if data.draw(st.booleans()) else None for name in names]
    for place in range(count):
        for name in data.draw(st.lists(st.sampled_from(names), max_size=2)):
            rows[place][name] = data.draw(VALUES)
    found = changed_columns(rows, names, known)
    assert found is not None
    for name, before, cells in zip(names, known, found, strict=True):
        now = [row[name] for row in rows]
        same = before is not None and all(a is b for a, b in zip(before, now, strict=True))
        assert (cells is None) is same
        if cells is not None:
            assert len(cells) == count
            assert all(a is b for a, b in zip(cells, now, strict=True))


@pytest.mark.parametrize(
    "other", [{"a": 1}, {"a": 1, "c": 2}, {"a": 1, "b": 2, "c": 3}, Record(a=1, b=2), None, [1, 2]]
)
def test_rows_that_differ_in_their_keys_are_left_to_others(way: str, other: Any) -> None:
    assert changed_columns([{"a": 1, "b": 2}, other], ["a", "b"], [None, None]) is None
    assert changed_columns([{"a": 1, "b": 2}, {"b": 3, "a": 4}], ["a", "b"], [None, None]) == [[1, 4], [2, 3]]


class Rude:
    def __init__(self, name: str = "a") -> None:
        self.name = name

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError


def test_what_a_key_raises_is_raised(way: str) -> None:
    with pytest.raises(ZeroDivisionError):
        changed_columns([{Rude(): 1}], ["a"], [None])
    given = entries()
    for entry in given:
        entry[Rude("notes")] = 1
    with pytest.raises(ZeroDivisionError):
        read(given)


def test_more_rows_than_were_handed_out_are_left_to_others(way: str) -> None:
    assert changed_columns([{"a": 1}, {"a": 2}], ["a"], [[1]]) is None


# ---- texts --------------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=60)), max_size=9)


@settings
@given(parts=st.lists(TEXTS, max_size=4), expected=st.integers(0, 3))
def test_texts_become_an_array(way: str, parts: list[list[str | None]], expected: int) -> None:
    builder = TextBuilder(expected)
    assert all(builder.extend(part) for part in parts)
    array = builder.array()
    array.validate(full=True)
    assert array.equals(pa.array([text for part in parts for text in part], pa.string()))


@pytest.mark.parametrize("odd", ["\ud800", Text("a"), b"a", 1, True, ["a"]])
def test_what_is_no_text_is_not_added_nor_what_stands_before_it(way: str, odd: Any) -> None:
    builder = TextBuilder(4)
    assert builder.extend(["a", None])
    assert not builder.extend(["b", "c", odd])
    assert builder.extend(["d"])
    assert builder.array().to_pylist() == ["a", None, "d"]


def test_texts_may_be_longer_than_was_thought(way: str) -> None:
    builder = TextBuilder(1)
    texts = ["x" * 1000, "", "ü" * 5000, None]
    assert builder.extend(texts)
    assert builder.extend(texts)
    assert builder.array().to_pylist() == texts * 2


def test_texts_end_before_offsets_of_32_bits_do(way: str) -> None:
    places = np.zeros(3, np.int64)
    scratch, offsets, valid = (places[n:].__array_interface__["data"][0] for n in range(3))
    last = 2**31 - 1
    assert kernels.read_texts(["", None], None, str, scratch, offsets, valid, 0, last, 0) == last
    assert kernels.read_texts(["a"], None, str, scratch, offsets, valid, 0, last - 1, 0) == last
    assert kernels.read_texts(["a"], None, str, scratch, offsets, valid, 0, last, 0) == -1


# ---- cells --------------------------------------------------------------------------------------------------------


@settings
@given(cells=TEXTS, start=st.integers(0, 9))
def test_cells_of_texts(way: str, cells: list[str | None], start: int) -> None:
    assert objects.texts_of(pa.array(cells, pa.string()).slice(start)) == cells[start:]


@settings
@given(cells=st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=9), start=st.integers(0, 9))
def test_cells_of_integers(way: str, cells: list[int | None], start: int) -> None:
    assert objects.integers_of(pa.array(cells, pa.int64()).slice(start)) == cells[start:]


@settings
@given(cells=st.lists(st.dates(), max_size=9), near=st.booleans(), start=st.integers(0, 9))
def test_cells_of_dates(way: str, cells: list[dt.date], near: bool, start: int) -> None:
    if near:
        cells = [dt.date(2000, 1, 1) + dt.timedelta(days=cell.toordinal() % 9000) for cell in cells]
    assert python_values(pa.array(cells, pa.date32()).slice(start)) == cells[start:]


@pytest.mark.parametrize("day", [dt.date.min, dt.date.max, dt.date(1969, 12, 31), dt.date(1970, 1, 1)])
def test_a_day_at_the_end_of_the_calendar(compiled_kernels: Path, day: dt.date) -> None:
    assert native.load()
    assert python_values(pa.array([day, day])) == [day, day]
    outside = day.toordinal() - dt.date(1970, 1, 1).toordinal() + (1 if day == dt.date.max else -1)
    if day in (dt.date.min, dt.date.max):
        with pytest.raises(UnsupportedValueError):
            python_values(pa.array([outside], pa.int32()).view(pa.date32()))


def test_what_is_no_utf8_is_an_error_that_names_its_place(compiled_kernels: Path) -> None:
    assert native.load()
    broken = pa.array([b"a", b"\xff", b"b"], pa.binary()).view(pa.string())
    with pytest.raises(UnsupportedValueError) as caught:
        python_values(broken)
    assert caught.value.index == 1


# ---- what machine code takes for granted --------------------------------------------------------------------------


def test_no_reference_is_lost_or_kept(way: str) -> None:
    cells = [f"cell {n}" for n in range(200)]
    columns = {"a": cells, "b": list(cells), "c": [object() for _ in cells]}
    watched = [*cells, *columns["c"], "a", FINE, RAW, None, Record, dict]
    ids, positions = list(range(1000, 1200)), list(range(2000, 2200))

    def everything() -> None:
        rows = rows_of_cells(columns, 0, 200)
        rows[150]["b"] = 5
        changed_columns(rows, ["a", "b", "c"], [columns["a"], columns["b"], None])
        changed_columns([*rows[1:], {"a": 1}], ["a", "b", "c"], [columns["a"], None, None])
        made = MAKER.entries(ids, positions, columns, RAW)
        assert rows_of_entries(made, KEYS, ids, positions, [FINE, OTHER], Record)
        made[100]["status"] = BAD
        assert not rows_of_entries(made, KEYS, ids, positions, [FINE, OTHER], Record)
        builder = TextBuilder(1)
        assert builder.extend(cells)
        assert not builder.extend([*cells, 5])
        assert objects.texts_of(builder.array()) == cells

    def counts() -> list[int]:
        gc.collect()  # ctypes makes a class for each call, and those go when the collector comes by
        return [sys.getrefcount(item) for item in watched]

    everything()
    before = counts()
    everything()
    after = counts()
    assert after[:400] == before[:400]
    # Whoever else runs takes None and classes, too; of ours there would be 200 at once.
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) < 100


@pytest.mark.parametrize("wrong", [(), {}, "names", None])
def test_an_object_of_another_class_is_refused(compiled_kernels: Path, wrong: Any) -> None:
    assert native.load()
    with pytest.raises(TypeError, match=r"objects\.make_rows takes a list, not a"):
        kernels.make_rows(wrong, [], 0, {}, [])
    for arguments in (([], [], 0, {}), ([], [], 0, {}, [], [])):
        with pytest.raises(TypeError, match="takes 5 arguments"):
            kernels.make_rows(*arguments)


@pytest.fixture
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for declared in native.kernels().values():
        monkeypatch.setattr(declared, "native", None)


def test_where_objects_look_different_python_does_it(
    compiled_kernels: Path, nothing_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cache.read(compiled_kernels, cache.fingerprint())
    assert found is not None
    monkeypatch.setattr(cpython, "is_supported", lambda: False)
    native._install(found)
    assert {name for name, declared in native.kernels().items() if declared.native is None} == {
        declared.name for declared in OVER_OBJECTS
    }
    assert not objects.is_compiled()
    monkeypatch.undo()
    native._install(found)
    assert objects.is_compiled()


def test_where_the_probe_finds_nothing_python_does_it(
    compiled_kernels: Path, nothing_loaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = cache.read(compiled_kernels, cache.fingerprint())
    assert found is not None
    monkeypatch.setattr(probe, "FOUND", 0)
    native._install(found)
    assert not objects.is_compiled()
    assert probe.tell.native is not None
    monkeypatch.undo()
    native._install(found)


def test_the_probe_finds_what_it_looks_for(way: str) -> None:
    assert probe.tell_objects(*probe.objects()) == probe.FOUND
    instance, _, known, index = probe.objects()
    assert probe.tell_objects(instance, [int, "other", None], known, index) == 0
