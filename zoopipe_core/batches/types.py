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

Nothing is rounded, truncated or turned into NULL on the way: what does not fit raises `UnsupportedValueError`.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

import pyarrow as pa
from pydantic_core import from_json, to_json

from zoopipe_core.errors import UnsupportedValueError

__all__ = ["BINARY", "JSON", "STRING", "ColumnType", "infer_column_type"]

DEFAULT_DECIMAL = pa.decimal128(38, 9)
UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
NAIVE_MICROSECONDS = pa.timestamp("us")


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
        """This type with the question of naive or aware settled by `values`, if they settle it."""
        if not self.open_zone:
            return self
        first = next((value for value in values if value is not None), None)
        if first is None:
            return self
        return replace(self, arrow=UTC_MICROSECONDS if first.tzinfo else NAIVE_MICROSECONDS, open_zone=False)

    def to_array(self, values: Sequence[Any]) -> pa.Array:
        """`values`, as ``model_dump()`` gives them, as an Arrow array of type `arrow`.

        Raises:
            UnsupportedValueError: a value does not fit; the message says which, `index` where.
        """
        kind = self.arrow
        try:
            if isinstance(kind, pa.UuidType):
                storage = pa.array(
                    [None if v is None else (v if isinstance(v, uuid.UUID) else uuid.UUID(str(v))).bytes for v in values],
                    pa.binary(16),
                )
                return pa.ExtensionArray.from_storage(kind, storage)
            if isinstance(kind, pa.JsonType):
                storage = pa.array([None if v is None else _json_text(v) for v in values], pa.string())
                return pa.ExtensionArray.from_storage(kind, storage)
            if pa.types.is_timestamp(kind):
                self.resolved(values)._check_zone(values)
                return pa.array(values, self.resolved(values).arrow)
            if pa.types.is_time(kind):
                _check_naive_times(values)
            elif pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
                values = [v.value if isinstance(v, Enum) else v for v in values] if _has_enum(values) else values
            return pa.array(values, kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, ValueError, TypeError):
            raise self._first_misfit(values) from None

    def to_values(self, array: pa.Array) -> list[Any]:
        """The Python values of an Arrow array of this type; the inverse of `to_array`."""
        if isinstance(array.type, pa.JsonType):
            return [None if text is None else from_json(text) for text in array.storage.to_pylist()]
        return array.to_pylist()  # type: ignore[no-any-return]

    def _check_zone(self, values: Sequence[Any]) -> None:
        aware = self.arrow.tz is not None
        for index, value in enumerate(values):
            if value is not None and (value.tzinfo is not None) != aware:
                raise _misfit(
                    index,
                    value,
                    f"the column holds {'aware' if aware else 'naive'} datetimes and this one is "
                    f"{'naive' if aware else 'aware'}; declare AwareDatetime or NaiveDatetime to reject the others",
                )

    def _first_misfit(self, values: Sequence[Any]) -> UnsupportedValueError:
        """Find the value that made the conversion of the whole column fail."""
        for index, value in enumerate(values):
            try:
                if pa.types.is_timestamp(self.arrow):
                    self.resolved(values)._check_zone([value])
                if pa.types.is_time(self.arrow):
                    _check_naive_times([value])
                pa.array([value.value if isinstance(value, Enum) else value], _storage(self.arrow))
            except UnsupportedValueError as error:
                return _misfit(index, value, error.args[0].partition(": ")[2])
            except (pa.ArrowException, OverflowError, ValueError, TypeError):
                return _misfit(index, value, f"it does not fit {self.arrow}{_remedy(self.arrow)}")
        return _misfit(0, None, f"the values do not fit {self.arrow}")


BINARY = ColumnType(pa.binary())
STRING = ColumnType(pa.string())
JSON = ColumnType(pa.json_())

_BY_PYTHON_TYPE: tuple[tuple[type, ColumnType], ...] = (
    # bool before int and datetime before date: they are subclasses.
    (bool, ColumnType(pa.bool_())),
    (int, ColumnType(pa.int64())),
    (float, ColumnType(pa.float64())),
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
    found: list[ColumnType] = []
    for kind in {type(value) for value in values if value is not None}:
        found.append(column_type_of(kind))
    unique = set(found)
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


def _misfit(index: int, value: Any, why: str) -> UnsupportedValueError:
    text = repr(value)
    error = UnsupportedValueError(f"the value {text[:80]}{'...' if len(text) > 80 else ''}: {why}")
    error.index = index  # type: ignore[attr-defined]
    return error


def _remedy(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return "; declare Field(max_digits=..., decimal_places=...) to choose precision and scale"
    if pa.types.is_integer(kind):
        return "; bound the field with Field(ge=-2**63, lt=2**63), or declare it Decimal"
    return ""


def _storage(kind: pa.DataType) -> pa.DataType:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


def _check_naive_times(values: Iterable[Any]) -> None:
    for index, value in enumerate(values):
        if value is not None and value.tzinfo is not None:
            raise _misfit(index, value, "a time of day with an offset has no column type here")


def _has_enum(values: Sequence[Any]) -> bool:
    return any(isinstance(value, Enum) for value in values)


def _json_text(value: Any) -> str:
    return to_json(value, inf_nan_mode="constants").decode()
