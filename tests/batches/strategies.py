"""Values of every column type, with those at the edges drawn often; shared by the round-trip tests."""

import datetime as dt
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from zoopipe_core.batches.types import BINARY, JSON, STRING, ColumnType

UTC_TIMESTAMP = pa.timestamp("us", tz="UTC")

# The largest timedelta that fits 64 bits of microseconds is smaller than Python's largest.
LONGEST = dt.timedelta(microseconds=2**63 - 1)


def exact_decimal(digits: int, places: int) -> Decimal:
    """``digits / 10**places``, however many digits; the context would round."""
    sign, tail, _ = Decimal(digits).as_tuple()
    return Decimal((sign, tail, -places))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
offsets = st.timedeltas(dt.timedelta(hours=-23, minutes=-59), dt.timedelta(hours=23, minutes=59)).map(
    lambda delta: dt.timezone(dt.timedelta(minutes=delta // dt.timedelta(minutes=1)))
)
aware_datetimes = st.datetimes(timezones=st.just(dt.UTC) | offsets)

COLUMNS: dict[str, tuple[ColumnType, st.SearchStrategy[Any]]] = {
    "int": (ColumnType(pa.int64()), st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 0])),
    "float": (ColumnType(pa.float64()), st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324])),
    "bool": (ColumnType(pa.bool_()), st.booleans()),
    "str": (STRING, st.text() | st.sampled_from(["", "\0", "None", "null", '"', "\r\n", "é\N{PILE OF POO}"])),
    "bytes": (BINARY, st.binary()),
    "date": (ColumnType(pa.date32()), st.dates() | st.sampled_from([dt.date.min, dt.date.max])),
    "naive": (ColumnType(pa.timestamp("us")), st.datetimes() | st.sampled_from([dt.datetime.min, dt.datetime.max])),
    "aware": (ColumnType(UTC_TIMESTAMP), aware_datetimes),
    "open": (ColumnType(UTC_TIMESTAMP, open_zone=True), st.datetimes()),
    "time": (ColumnType(pa.time64("us")), st.times() | st.sampled_from([dt.time.min, dt.time.max])),
    "timedelta": (ColumnType(pa.duration("us")), st.timedeltas(-LONGEST, LONGEST)),
    "decimal": (
        ColumnType(pa.decimal128(38, 9)),
        st.integers(-(10**38) + 1, 10**38 - 1).map(lambda digits: exact_decimal(digits, 9)),
    ),
    "wide_decimal": (
        ColumnType(pa.decimal256(60, 5)),
        st.integers(-(10**60) + 1, 10**60 - 1).map(lambda digits: exact_decimal(digits, 5)),
    ),
    "uuid": (ColumnType(pa.uuid()), st.uuids()),
    "json": (JSON, json_values),
    "nothing": (ColumnType(pa.null()), st.none()),
}


def column_values(name: str, size: int) -> st.SearchStrategy[list[Any]]:
    """`size` values of the column `name`, None among them."""
    return st.lists(st.none() | COLUMNS[name][1], min_size=size, max_size=size)


@st.composite
def tables(draw: st.DrawFn, max_rows: int = 8) -> tuple[dict[str, ColumnType], list[dict[str, Any]]]:
    """Column types of some columns, and rows of them."""
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=6, unique=True))
    size = draw(st.integers(0, max_rows))
    columns = {name: draw(column_values(name, size)) for name in names}
    rows = [{name: columns[name][index] for name in names} for index in range(size)]
    return {name: COLUMNS[name][0] for name in names}, rows


def same(left: Any, right: Any) -> bool:
    """Equal and of one class, with NaN equal to itself and -0.0 different from 0.0, at any depth."""
    if isinstance(left, float) and isinstance(right, float):
        return repr(left) == repr(right)
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dt.datetime) and isinstance(right, dt.datetime):
        return left == right and (left.tzinfo is None) == (right.tzinfo is None)
    return type(left) is type(right) and bool(left == right)


def all_same(left: Sequence[Any], right: Sequence[Any]) -> bool:
    """Whether two sequences of rows or values are the same throughout."""
    return len(left) == len(right) and all(map(same, left, right))
