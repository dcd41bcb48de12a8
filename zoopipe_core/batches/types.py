"""Column types: what a validated column is, in Arrow and in Python.

A validated value is what ``model_dump()`` returns. `ColumnType` says which Arrow type holds a column of such values
and turns values into arrays and back:

    Python               Arrow                          remarks
    int                  int64                          a larger value is an error where Arrow is asked for
    float                double                         NaN, infinities and -0.0 kept
    bool                 bool
    str                  string
    bytes                binary
    date                 date32
    datetime             timestamp[us] | [us, UTC]      naive or aware: by the model, else by the data; never mixed
    time                 time64[us]                     naive only
    timedelta            duration[us]
    Decimal              decimal128/256(p, s)           (38, 9) where the model does not say; exact or an error
    UUID                 arrow.uuid
    Enum, Literal        the type of their values
    anything else        arrow.json (text)              lists, dictionaries, nested models, unions

Nothing is rounded, truncated or turned into NULL on the way: what does not fit raises `UnsupportedValueError`. How
the cells of a source are read as Python values is `zoopipe_core.batches.values`.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import to_json

from zoopipe_core.batches.plain_arrays import NAIVE_MICROSECONDS, UTC_MICROSECONDS, plain_array
from zoopipe_core.batches.values import python_values
from zoopipe_core.errors import UnsupportedValueError

__all__ = [
    "BINARY",
    "JSON",
    "NAIVE_MICROSECONDS",
    "STRING",
    "UTC_MICROSECONDS",
    "ColumnType",
    "column_type_of",
    "infer_column_type",
    "infer_type_of_classes",
]

DEFAULT_DECIMAL = pa.decimal128(38, 9)


class _NoFit(ValueError):
    """Why a value does not fit, in the words of the final message."""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of one validated column.

    Attributes:
        arrow: the Arrow type that holds the column.
        nullable: whether None is a possible value.
        open_zone: the model allows naive and aware datetimes; the first values decide which of the two it is.
    """

    arrow: pa.DataType
    nullable: bool = True
    open_zone: bool = False

    def resolved(self, values: Sequence[Any]) -> ColumnType:
        """The type with the question of naive or aware settled by `values`, if they settle it."""
        if not self.open_zone:
            return self
        first = next((value for value in values if isinstance(value, dt.datetime)), None)
        if first is None:
            return self
        return replace(self, arrow=NAIVE_MICROSECONDS if first.tzinfo is None else UTC_MICROSECONDS, open_zone=False)

    def to_array(self, values: Sequence[Any]) -> pa.Array:
        """`values`, as ``model_dump()`` gives them, as an Arrow array of type `arrow`.

        Values of another class are taken where nothing is lost: a member of an Enum as its value, a NumPy scalar, a
        float without a fraction as an int.

        Raises:
            UnsupportedValueError: a value does not fit; the message says which, `index` where.
        """
        settled = self.resolved(values)
        try:
            array = settled._convert(values)
        except _MISFITS as error:
            misfit = settled._first_misfit(values)
            if misfit is None:
                raise UnsupportedValueError(f"the values do not fit {settled.arrow}: {error}") from error
            raise misfit from None
        if isinstance(array, pa.ChunkedArray):
            raise UnsupportedValueError("the values of one batch take more than 2 GB; choose a smaller batch_size")
        return array

    def to_values(self, array: pa.Array) -> list[Any]:
        """The Python values of an Arrow array; the inverse of `to_array`. See `values.python_values`."""
        return python_values(array)

    def _convert(self, values: Sequence[Any]) -> pa.Array:
        kind = self.arrow
        if isinstance(kind, pa.UuidType):
            storage = pa.array([None if v is None else _uuid_bytes(v) for v in values], kind.storage_type)
            return pa.ExtensionArray.from_storage(kind, storage)
        if isinstance(kind, pa.JsonType):
            storage = _array(kind.storage_type, [None if v is None else _json_text(v) for v in values])
            return pa.ExtensionArray.from_storage(kind, storage)
        return _array(kind, _plain_values(kind, values))

    def _first_misfit(self, values: Sequence[Any]) -> UnsupportedValueError | None:
        """Find the value that made the conversion of the whole column fail; None if each one by itself fits."""
        for index, value in enumerate(values):
            try:
                self._convert([value])
            except _NoFit as error:
                return _misfit(index, value, str(error))
            except _MISFITS:
                return _misfit(index, value, f"it does not fit {self.arrow}{_remedy(self.arrow)}")
        return None


def _array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    array = plain_array(kind, values)
    return pa.array(values, kind) if array is None else array


_MISFITS = (pa.ArrowException, OverflowError, ValueError, TypeError, AttributeError)

BINARY = ColumnType(pa.binary())
STRING = ColumnType(pa.string())
JSON = ColumnType(pa.json_())

_BY_PYTHON_TYPE: tuple[tuple[type, ColumnType], ...] = (
    # bool before int and datetime before date: they are subclasses.
    (bool, ColumnType(pa.bool_())),
    (np.bool_, ColumnType(pa.bool_())),
    (int, ColumnType(pa.int64())),
    (np.integer, ColumnType(pa.int64())),
    (float, ColumnType(pa.float64())),
    (np.floating, ColumnType(pa.float64())),
    (str, STRING),
    (bytes, BINARY),
    (dt.datetime, ColumnType(UTC_MICROSECONDS, open_zone=True)),
    (dt.date, ColumnType(pa.date32())),
    (dt.time, ColumnType(pa.time64("us"))),
    (dt.timedelta, ColumnType(pa.duration("us"))),
    (Decimal, ColumnType(DEFAULT_DECIMAL)),
    (uuid.UUID, ColumnType(pa.uuid())),
)


def infer_column_type(values: Iterable[Any]) -> ColumnType | None:
    """The type of a column that no model describes, from its values; None if they are all None.

    Integers and floats mixed are floats; any other mixture is JSON.
    """
    return infer_type_of_classes(set(map(type, values)))


def infer_type_of_classes(classes: Iterable[type]) -> ColumnType | None:
    """`infer_column_type` of values of these classes."""
    unique = {column_type_of(kind) for kind in classes if kind is not type(None)}
    if not unique:
        return None
    if len(unique) == 1:
        return unique.pop()
    if unique == {ColumnType(pa.int64()), ColumnType(pa.float64())}:
        return ColumnType(pa.float64())
    return JSON


def column_type_of(kind: type) -> ColumnType:
    """The type of a column of values of the Python class `kind`."""
    if issubclass(kind, Enum):
        return infer_column_type([member.value for member in kind]) or JSON
    for python_type, column_type in _BY_PYTHON_TYPE:
        if issubclass(kind, python_type):
            return column_type
    return JSON


# ---- values that a type takes ---------------------------------------------------------------------------------------

# What pyarrow would take beyond these it bends to fit: 1.5 becomes the int64 1, a datetime the date of its day.
_CLASSES: tuple[tuple[Any, tuple[type, ...]], ...] = (
    (pa.types.is_boolean, (bool,)),
    (pa.types.is_integer, (int,)),
    (pa.types.is_floating, (float, int)),
    (pa.types.is_decimal, (Decimal, int)),
    (pa.types.is_string, (str,)),
    (pa.types.is_large_string, (str,)),
    (pa.types.is_binary, (bytes,)),
    (pa.types.is_large_binary, (bytes,)),
    (pa.types.is_date, (dt.date,)),
    (pa.types.is_timestamp, (dt.datetime,)),
    (pa.types.is_time, (dt.time,)),
    (pa.types.is_duration, (dt.timedelta,)),
)


def _plain_values(kind: pa.DataType, values: Sequence[Any]) -> Sequence[Any]:
    """`values` as instances of the classes that `kind` takes, the very same list where they are.

    Raises:
        _NoFit, TypeError, ValueError: one is not, and cannot become one without loss.
    """
    classes = next((classes for matches, classes in _CLASSES if matches(kind)), None)
    if classes is None:  # nested types and the like: Arrow knows best
        return values
    if not set(map(type, values)) <= {*classes, type(None)}:
        values = [None if value is None else _plain_value(value, kind, classes) for value in values]
    if pa.types.is_timestamp(kind):
        _check_zone(values, aware=kind.tz is not None)
    elif pa.types.is_time(kind):
        _check_naive_times(values)
    return values


def _plain_value(value: Any, kind: pa.DataType, classes: tuple[type, ...]) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value) in classes:
        return value
    if pa.types.is_integer(kind) and isinstance(value, float | Decimal) and value == int(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, classes):
        raise TypeError
    if isinstance(value, dt.datetime):
        return _plain_datetime(value, kind)
    if isinstance(value, dt.timedelta):
        return _without_nanoseconds(value, dt.timedelta(value.days, value.seconds, value.microseconds))
    return value


def _plain_datetime(value: dt.datetime, kind: pa.DataType) -> Any:
    """The datetime that equals an instance of a subclass, such as pandas' with its nanoseconds."""
    if pa.types.is_date(kind):
        raise _NoFit("it is a datetime and the column holds dates; declare datetime, or take its .date()")
    return _without_nanoseconds(value, dt.datetime.combine(value.date(), value.timetz()).replace(fold=value.fold))


def _without_nanoseconds(value: Any, plain: Any) -> Any:
    if plain != value:
        raise _NoFit("it has digits below the microsecond, which Python's own types cannot hold; round it")
    return plain


def _check_zone(values: Iterable[Any], aware: bool) -> None:
    for value in values:
        if value is not None and (value.tzinfo is not None) != aware:
            raise _NoFit(
                f"the column holds {'aware' if aware else 'naive'} datetimes and this one is "
                f"{'naive' if aware else 'aware'}; declare AwareDatetime or NaiveDatetime to reject the others"
            )


def _check_naive_times(values: Iterable[Any]) -> None:
    for value in values:
        if value is not None and value.tzinfo is not None:
            raise _NoFit("a time of day with an offset has no column type here")


def _uuid_bytes(value: Any) -> bytes:
    return (value if isinstance(value, uuid.UUID) else uuid.UUID(str(value))).bytes


def _json_text(value: Any) -> str:
    return to_json(value, inf_nan_mode="constants").decode()


# ---- messages -------------------------------------------------------------------------------------------------------


def _misfit(index: int, value: Any, why: str) -> UnsupportedValueError:
    text = repr(value)
    error = UnsupportedValueError(f"the value {text[:80]}{'...' if len(text) > 80 else ''}: {why}")
    error.index = index
    return error


def _remedy(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return "; declare Field(max_digits=..., decimal_places=...) to choose precision and scale"
    if pa.types.is_integer(kind):
        return "; bound the field with Field(ge=-2**63, lt=2**63), or declare it Decimal"
    return ""
