import datetime as dt
import math
import uuid
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.batches.strategies import COLUMNS, all_same, column_values, same
from zoopipe_core.batches.types import JSON, STRING, ColumnType, column_type_of, infer_column_type
from zoopipe_core.errors import UnsupportedValueError

INT = ColumnType(pa.int64())
FLOAT = ColumnType(pa.float64())
DATE = ColumnType(pa.date32())
NAIVE = ColumnType(pa.timestamp("us"))
AWARE = ColumnType(pa.timestamp("us", tz="UTC"))
OPEN = ColumnType(pa.timestamp("us", tz="UTC"), open_zone=True)
DECIMAL = ColumnType(pa.decimal128(38, 9))
UUID = ColumnType(pa.uuid())

MORNING = dt.datetime(2024, 1, 1, 5)


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Odd(Enum):
    LIST = (1, 2)
    TEXT = "x"


@pytest.mark.parametrize("name", sorted(COLUMNS))
def test_values_become_an_array_and_come_back_the_same(name: str) -> None:
    column_type = COLUMNS[name][0]

    @given(st.integers(0, 6).flatmap(lambda size: column_values(name, size)))
    def check(values: list[Any]) -> None:
        array = column_type.to_array(values)
        assert array.type == column_type.resolved(values).arrow
        assert all_same(column_type.to_values(array), values)

    check()


@pytest.mark.parametrize("name", sorted(set(COLUMNS) - {"open", "nothing"}))
def test_the_type_of_values_is_found_from_the_values(name: str) -> None:
    column_type, values = COLUMNS[name]

    @given(st.lists(values, min_size=1, max_size=4))
    def check(values: list[Any]) -> None:
        found = infer_column_type(values)
        assert found is not None
        if name == "json":
            assert found in (JSON, STRING, INT, FLOAT, ColumnType(pa.bool_()))
        elif name == "wide_decimal":
            assert pa.types.is_decimal(found.arrow)
        else:
            assert found.resolved(values) == column_type

    if name != "json":
        check()


@given(st.lists(st.sampled_from([1, 1.5, "a", None, True, b"x", Decimal(1), [1], {"a": 1}]), max_size=6))
def test_any_mixture_of_values_has_a_type_that_takes_all_of_them(values: list[Any]) -> None:
    found = infer_column_type(values)
    if found is None:
        assert set(values) <= {None}
    else:
        assert len(found.to_array(values)) == len(values)


@pytest.mark.parametrize(
    ("column_type", "good", "bad", "why"),
    [
        (INT, 1, 2**63, "does not fit int64; bound the field"),
        (INT, 1, -(2**63) - 1, "does not fit int64"),
        (INT, 1, 1.5, "does not fit int64"),
        (INT, 1, math.nan, "does not fit int64"),
        (INT, 1, Decimal("1.5"), "does not fit int64"),
        (INT, 1, "1", "does not fit int64"),
        (INT, 1, True, "does not fit int64"),
        (INT, 1, [1], "does not fit int64"),
        (FLOAT, 1.0, 2**53 + 1, "does not fit double"),
        (FLOAT, 1.0, Decimal("0.1"), "does not fit double"),
        (FLOAT, 1.0, True, "does not fit double"),
        (ColumnType(pa.bool_()), True, 1, "does not fit bool"),
        (STRING, "a", 1, "does not fit string"),
        (STRING, "a", b"a", "does not fit string"),
        (STRING, "a", "\ud800", "does not fit string"),
        (DATE, dt.date(2024, 1, 1), MORNING, "declare datetime"),
        (DATE, dt.date(2024, 1, 1), 19_000, "does not fit date32"),
        (NAIVE, MORNING, MORNING.replace(tzinfo=dt.UTC), "holds naive datetimes and this one is aware"),
        (AWARE, MORNING.replace(tzinfo=dt.UTC), MORNING, "holds aware datetimes and this one is naive"),
        (NAIVE, MORNING, dt.date(2024, 1, 1), "does not fit timestamp"),
        (NAIVE, MORNING, 5, "does not fit timestamp"),
        (NAIVE, MORNING, pd.Timestamp(1, unit="ns"), "below the microsecond"),
        (NAIVE, MORNING, pd.NaT, "does not fit timestamp"),
        (OPEN, MORNING, MORNING.replace(tzinfo=dt.UTC), "declare AwareDatetime or NaiveDatetime"),
        (ColumnType(pa.time64("us")), dt.time(1), dt.time(1, tzinfo=dt.UTC), "time of day with an offset"),
        (ColumnType(pa.time64("us")), dt.time(1), 5, "does not fit time64"),
        (ColumnType(pa.duration("us")), dt.timedelta(1), dt.timedelta.max, "does not fit duration"),
        (ColumnType(pa.duration("us")), dt.timedelta(1), 5, "does not fit duration"),
        (DECIMAL, Decimal(1), Decimal("1e-10"), "declare Field(max_digits=..., decimal_places=...)"),
        (DECIMAL, Decimal(1), Decimal("1e29"), "does not fit decimal128"),
        (DECIMAL, Decimal(1), Decimal("NaN"), "does not fit decimal128"),
        (DECIMAL, Decimal(1), 0.5, "does not fit decimal128"),
        (UUID, uuid.UUID(int=1), "no uuid", "does not fit extension<arrow.uuid>"),
        (JSON, {"a": 1}, object(), "does not fit extension<arrow.json>"),
        (JSON, {"a": 1}, ["\ud800"], "does not fit extension<arrow.json>"),
        (ColumnType(pa.null()), None, 1, "does not fit null"),
    ],
    ids=repr,
)
def test_a_value_that_would_be_bent_to_fit_is_named_instead(
    column_type: ColumnType, good: Any, bad: Any, why: str
) -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        column_type.to_array([good, None, bad, good])
    assert caught.value.index == 2
    assert why in str(caught.value)
    assert repr(bad)[:40] in str(caught.value)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(UnsupportedValueError) as caught:
        INT.to_array(["x" * 10_000])
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("column_type", "given_values", "values"),
    [
        (STRING, [Colour.RED, "blue"], ["red", "blue"]),
        (INT, [Level.LOW, 2], [1, 2]),
        (INT, [3.0, Decimal(4), np.int8(5), np.uint64(6)], [3, 4, 5, 6]),
        (FLOAT, [np.float32(0.5), 2, np.int64(3)], [0.5, 2.0, 3.0]),
        (ColumnType(pa.bool_()), [np.bool_(True)], [True]),
        (DECIMAL, [np.int64(3), 4], [Decimal(3), Decimal(4)]),
        (NAIVE, [pd.Timestamp(MORNING), MORNING], [MORNING, MORNING]),
        (ColumnType(pa.duration("us")), [pd.Timedelta(hours=1)], [dt.timedelta(hours=1)]),
        (UUID, ["00000000-0000-0000-0000-000000000001"], [uuid.UUID(int=1)]),
        (ColumnType(pa.json_(pa.large_string())), [{"a": [1]}], [{"a": [1]}]),
        (ColumnType(pa.large_string()), ["a", Colour.RED], ["a", "red"]),
        (ColumnType(pa.list_(pa.int64())), [[1, 2], []], [[1, 2], []]),
    ],
    ids=repr,
)
def test_a_value_of_another_class_is_taken_where_nothing_is_lost(
    column_type: ColumnType, given_values: list[Any], values: list[Any]
) -> None:
    assert all_same(column_type.to_values(column_type.to_array(given_values)), values)


def test_the_first_datetime_settles_an_open_zone() -> None:
    aware = MORNING.replace(tzinfo=dt.UTC)
    assert OPEN.resolved([]) is OPEN
    assert OPEN.resolved([None]) is OPEN
    assert OPEN.resolved([None, MORNING, aware]) == NAIVE
    assert OPEN.resolved([None, aware]) == AWARE
    assert OPEN.to_array([None]).type == AWARE.arrow
    assert INT.resolved([aware]) is INT


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (bool, pa.bool_()),
        (Level, pa.int64()),
        (Colour, pa.string()),
        (np.int32, pa.int64()),
        (np.float32, pa.float64()),
        (np.bool_, pa.bool_()),
        (pd.Timestamp, pa.timestamp("us", tz="UTC")),
        (Odd, pa.json_()),
        (dict, pa.json_()),
        (object, pa.json_()),
    ],
)
def test_a_python_class_has_a_column_type(kind: type, expected: pa.DataType) -> None:
    assert column_type_of(kind).arrow == expected


# ---- cells of sources -----------------------------------------------------------------------------------------------

BROKEN_TEXT = pa.Array.from_buffers(
    pa.string(), 2, [None, pa.py_buffer(np.array([0, 1, 2], np.int32).tobytes()), pa.py_buffer(b"a\xff")]
)
HOUR = dt.timedelta(hours=1)
YEAR_ONE = -62_135_596_800 - 3600  # 0000-12-31T23:00Z, which is 0001-01-01T00:00+01:00
BERLIN = pa.timestamp("us", tz="Europe/Berlin")


@pytest.mark.parametrize(
    ("array", "values"),
    [
        (pa.array([1_000, None], pa.timestamp("ns")), [dt.datetime(1970, 1, 1, 0, 0, 0, 1), None]),
        (pa.array([1_000, None], pa.time64("ns")), [dt.time(0, 0, 0, 1), None]),
        (pa.array([1_000, None], pa.duration("ns")), [dt.timedelta(microseconds=1), None]),
        (pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int64())), [{"a": 1}, None]),
        (
            pa.array([[("a", 1)], [("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())),
            [{"a": 1}, [("a", 1), ("a", 2)]],
        ),
        (
            pa.array([{"x": [1_000]}], pa.struct([("x", pa.list_(pa.timestamp("ns")))])),
            [{"x": [dt.datetime(1970, 1, 1, 0, 0, 0, 1)]}],
        ),
        (pa.array([1_000, 1_000], pa.timestamp("ns")).dictionary_encode(), [dt.datetime(1970, 1, 1, 0, 0, 0, 1)] * 2),
        (pa.array(["a", None], pa.string_view()), ["a", None]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([0, None], BERLIN), [dt.datetime(1970, 1, 1, tzinfo=dt.UTC), None]),
        (pa.array([0], pa.timestamp("us", tz="Nowhere/Nix")), [dt.datetime(1970, 1, 1, tzinfo=dt.UTC)]),
        (pa.array([YEAR_ONE], pa.timestamp("s", tz="UTC")), [dt.datetime(1, 1, 1, tzinfo=dt.timezone(HOUR))]),
        (pa.array([86_400_000], pa.date64()), [dt.date(1970, 1, 2)]),
        (pa.nulls(2), [None, None]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_a_cell_is_read_exactly_wherever_it_stands(array: pa.Array, values: list[Any]) -> None:
    column_type = ColumnType(array.type)
    assert all_same(column_type.to_values(array), values)
    assert all_same(column_type.to_values(pa.concat_arrays([array, array])[len(array) :]), values)
    assert column_type.to_values(array[:0]) == []


def test_a_run_end_encoded_column_is_read() -> None:
    array = pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"])
    assert ColumnType(array.type).to_values(array) == ["a", "a", "b"]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1_000, 1], pa.timestamp("ns")),
        pa.array([1_000, 1], pa.time64("ns")),
        pa.array([1_000, 1], pa.duration("ns")),
        pa.array([[1_000], [1]], pa.list_(pa.timestamp("ns"))),
        pa.array([0, 10**12], pa.timestamp("s")),
        pa.array([0, 10**12], pa.timestamp("s", tz="Europe/Berlin")),
        pa.array([0, -(2**63)], pa.timestamp("us")),
        pa.array([0, 10**7], pa.int32()).cast(pa.date32()),
        pa.array([0, 10**16], pa.duration("s")),
        BROKEN_TEXT,
        pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', "{"])),
    ],
    ids=lambda array: str(array.type),
)
def test_a_cell_that_python_cannot_hold_is_named_and_its_neighbours_can_be_read(array: pa.Array) -> None:
    column_type = ColumnType(array.type)
    with pytest.raises(UnsupportedValueError, match="has no equal in Python") as caught:
        column_type.to_values(array)
    assert caught.value.index == 1
    assert len(column_type.to_values(array[:1])) == 1


def test_a_zone_is_kept() -> None:
    (value,) = ColumnType(BERLIN).to_values(pa.array([0], BERLIN))
    assert value.utcoffset() == dt.timedelta(hours=1)


@given(st.none() | st.integers(-(2**63), 2**63 - 1), st.sampled_from(["s", "ms", "us", "ns"]), st.booleans())
def test_any_timestamp_is_read_exactly_or_refused(cell: int | None, unit: str, aware: bool) -> None:
    array = pa.array([0, cell], pa.timestamp(unit, tz="UTC" if aware else None))
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC if aware else None)
    per_micro, micros = {"s": (1, 10**6), "ms": (1, 1000), "us": (1, 1), "ns": (1000, 1)}[unit]
    fits = cell is None or (cell % per_micro == 0 and abs(cell * micros // per_micro) < 6 * 10**16)
    if fits:
        value = ColumnType(array.type).to_values(array)[1]
        assert value == (None if cell is None else epoch + dt.timedelta(microseconds=cell * micros // per_micro))
    elif cell is not None and (cell % per_micro or abs(cell * micros // per_micro) > 3 * 10**17):
        with pytest.raises(UnsupportedValueError):
            ColumnType(array.type).to_values(array)


def test_same_tells_apart_what_equality_does_not() -> None:
    assert same(math.nan, math.nan)
    assert not same(0.0, -0.0)
    assert not same(1, 1.0)
    assert not same([True], [1])
