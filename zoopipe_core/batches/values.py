"""Arrow arrays as Python values: exact, and fast where columns are long.

A value that Python's own type cannot hold is an error, not an approximation: digits below the microsecond, a
timestamp outside of the years 1 to 9999, a string that is not UTF-8, an arrow.json that is not JSON.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import from_json

from zoopipe_core.batches.objects import integers_of, is_compiled, picked, texts_of
from zoopipe_core.errors import UnsupportedValueError

__all__ = ["python_values"]

_EPOCH = dt.datetime(1970, 1, 1)
_FIRST_DAY, _LAST_DAY = ((day - _EPOCH.date()).days for day in (dt.date.min, dt.date.max))
_FARTHEST = dt.timedelta(hours=23, minutes=59)


def python_values(array: pa.Array) -> list[Any]:
    """The cells of `array`, one Python value each, None for null.

    A map is a dictionary, or a list of pairs where it has a key twice. A timestamp in a zone that this machine does
    not know is the same instant in UTC.

    >>> import pyarrow as pa
    >>> python_values(pa.array([1_000, None], pa.timestamp("ns")))
    [datetime.datetime(1970, 1, 1, 0, 0, 0, 1), None]

    Raises:
        UnsupportedValueError: a cell holds what Python's own type cannot; `index` says where.
    """
    convert = (_COMPILED.get(type(array)) if is_compiled() else None) or _converter(array.type)
    try:
        return convert(array)
    except _UNREADABLE:
        # `take`, since a cast of a slice looks at the children of the cells around it too.
        return [_cell(array.take(pa.array([index])), convert, index) for index in range(len(array))]


# ArrowInvalid and UnicodeDecodeError are ValueErrors, overflows and broken decimals ArithmeticErrors, an unknown time
# zone and a second key of a map KeyErrors.
_UNREADABLE = (ValueError, ArithmeticError, KeyError)


def _converter(kind: pa.DataType) -> Callable[[pa.Array], list[Any]]:
    if isinstance(kind, pa.JsonType):
        return _json_values
    if isinstance(kind, pa.UuidType):
        return _uuids
    if pa.types.is_timestamp(kind):
        return _datetimes
    if pa.types.is_date32(kind):
        return _dates
    plain = _microseconds(kind)
    if plain != kind:
        return lambda array: _pylist(array.cast(plain))
    return _pylist if pa.types.is_nested(kind) else pa.Array.to_pylist


def _pylist(array: pa.Array) -> list[Any]:
    return array.to_pylist(maps_as_pydicts="strict")  # type: ignore[no-any-return]


def _json_values(array: pa.Array) -> list[Any]:
    return [None if text is None else from_json(text) for text in array.storage.to_pylist()]


def _uuids(array: pa.Array) -> list[Any]:
    return [None if data is None else uuid.UUID(bytes=data) for data in array.storage.to_pylist()]


def _datetimes(array: pa.Array) -> list[Any]:
    # to_pylist takes 6.5 us for a cell with a zone, NumPy 0.05 and `replace` 0.1.
    unit, zone = array.type.unit, array.type.tz
    if unit == "ns":
        array, unit = array.cast(pa.timestamp("us", zone)), "us"
    values = _through_numpy(array, np.dtype(np.int64), unit, dt.datetime)
    if zone is None:
        return values
    aware = [None if value is None else value.replace(tzinfo=dt.UTC) for value in values]
    if zone == "UTC":
        return aware
    try:
        local = pa.scalar(0, pa.timestamp("s", zone)).as_py().tzinfo
    except (KeyError, ValueError):  # a zone that this machine does not know: the same instants in UTC
        return aware
    return [None if value is None else value.astimezone(local) for value in aware]


def _dates(array: pa.Array) -> list[Any]:
    return _through_numpy(array, np.dtype(np.int32), "D", dt.date)


def _dates_of_a_span(array: pa.Array) -> list[Any]:
    """Dates that lie near each other out of a table; others as ever."""
    data = array.buffers()[1]
    if data is not None and array.null_count == 0 and len(array):
        days = np.frombuffer(data, np.int32, array.offset + len(array))[array.offset :]
        lowest, highest = int(days.min()), int(days.max())
        first, last = lowest // _SPAN_DAYS, highest // _SPAN_DAYS
        if last - first < _SPANS and lowest >= _FIRST_DAY and highest <= _LAST_DAY:
            return picked(array, _span_of_dates(first, last), first * _SPAN_DAYS)
    return _dates(array)


_COMPILED: dict[type, Callable[[pa.Array], list[Any]]] = {
    pa.BooleanArray: pa.Array.to_pylist,
    pa.DoubleArray: pa.Array.to_pylist,
    pa.Date32Array: _dates_of_a_span,
    pa.Int64Array: integers_of,
    pa.StringArray: texts_of,
}
"""Class of an array -> what makes Python values of it where there are compiled kernels."""


_SPAN_DAYS, _SPANS = 1024, 16
"""A column of dates within some 45 years takes them from a table, which is kept for the columns to come."""


@lru_cache(maxsize=8)
def _span_of_dates(first: int, last: int) -> list[Any]:
    days = np.arange(first * _SPAN_DAYS, (last + 1) * _SPAN_DAYS)
    return days.astype("datetime64[D]").tolist()


def _through_numpy(array: pa.Array, stored: np.dtype[Any], unit: str, wanted: type) -> list[Any]:
    """NumPy's Python values of numbers that count `unit` since 1970, once it is sure that they are those of Arrow.

    NumPy gives an int for what lies outside of Python's calendar, and takes the smallest int64 for a null. Its arrays
    are made of the buffers, since `pa.Array.to_numpy` imports pandas where that is installed.
    """
    validity, data = array.buffers()
    if data is None or array.null_count == len(array):
        return [None] * len(array)
    counts = np.frombuffer(data, stored, array.offset + len(array))[array.offset :]
    values: list[Any] = counts.astype(f"datetime64[{unit}]").tolist()
    if array.null_count:
        present = np.unpackbits(np.frombuffer(validity, np.uint8), count=array.offset + len(array), bitorder="little")
        for index in np.flatnonzero(present[array.offset :] == 0).tolist():
            values[index] = None
    if not set(map(type, values)) <= {wanted, type(None)} or values.count(None) != array.null_count:
        raise OverflowError
    return values


def _microseconds(kind: pa.DataType) -> pa.DataType:
    """`kind` with nanoseconds replaced by microseconds, at any depth."""
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time(kind) and kind.unit == "ns":
        return pa.time64("us")
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_list(kind):
        return pa.list_(_field(kind.value_field))
    if pa.types.is_large_list(kind):
        return pa.large_list(_field(kind.value_field))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_field(kind.value_field), kind.list_size)
    if pa.types.is_struct(kind):
        return pa.struct([_field(kind.field(index)) for index in range(kind.num_fields)])
    if pa.types.is_map(kind):
        return pa.map_(_field(kind.key_field), _field(kind.item_field), keys_sorted=kind.keys_sorted)
    if pa.types.is_dictionary(kind):
        return _microseconds(kind.value_type)
    return kind


def _field(field: pa.Field) -> pa.Field:
    return field.with_type(_microseconds(field.type))


def _cell(one: pa.Array, convert: Callable[[pa.Array], list[Any]], index: int) -> Any:
    """The value of an array of one cell."""
    try:
        return convert(one)[0]
    except _UNREADABLE as error:
        try:
            return _another_form(one)
        except _UNREADABLE:
            shown = " ".join(one.to_string().split())[:100]
            misfit = UnsupportedValueError(f"{one.type} {shown} has no equal in Python: {error}")
            misfit.index = index
            raise misfit from error


def _another_form(one: pa.Array) -> Any:
    """The very same value, in a form that Python can hold."""
    if pa.types.is_timestamp(one.type) and one.type.tz is not None:
        return _far_datetime(one)
    if pa.types.is_map(one.type):
        return one.cast(_microseconds(one.type)).to_pylist()[0]
    raise ValueError(f"a {one.type} has no other form")


def _far_datetime(one: pa.Array) -> dt.datetime:
    """An instant that UTC puts outside of the calendar, but another offset does not."""
    since_epoch = dt.timedelta(microseconds=one.cast(pa.timestamp("us", "UTC")).cast(pa.int64())[0].as_py())
    offset = _FARTHEST if since_epoch.days < 0 else -_FARTHEST
    return (_EPOCH + (since_epoch + offset)).replace(tzinfo=dt.timezone(offset))
