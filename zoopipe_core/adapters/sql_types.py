"""Which column takes which values: never one that would change them.

    plain(type)         what a column's Arrow type comes down to: no dictionaries, views, nanoseconds, foreign zones
    fit(type, column)   how values of a plain type go into a column of a database, or None where some would change

Whether a single value fits (an int64 into an integer, a decimal into fewer digits) is checked value by value when it
is written; the error names column and row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.sql_database import SQLType
from zoopipe_core.batches.values import python_values

__all__ = ["Fit", "first_misfit", "fit", "plain", "widens"]

NAIVE = pa.timestamp("us")
AWARE = pa.timestamp("us", "UTC")

# Python's calendar: the years 1 to 9999. What lies outside would be read back as something else, or not at all.
_FIRST_DAY, _LAST_DAY = -719162, 2932896
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Fit:
    """How values go into a column.

    Attributes:
        arrow: the Arrow type to ask of the batch.
        encode: what then turns the array into what the driver takes.
        max_length: the most characters of a text.
    """

    arrow: pa.DataType
    encode: Callable[[pa.Array], pa.Array] | None = None
    max_length: int | None = None


def plain(kind: pa.DataType) -> pa.DataType | None:
    """The type that holds the same values and that databases know; None for lists, structs and the like.

    >>> import pyarrow as pa
    >>> plain(pa.dictionary(pa.int8(), pa.large_string()))
    DataType(string)
    """
    types = pa.types
    if isinstance(kind, pa.UuidType | pa.JsonType):
        return pa.json_() if isinstance(kind, pa.JsonType) else kind
    if types.is_dictionary(kind):
        return plain(kind.value_type)
    if types.is_integer(kind) or types.is_boolean(kind) or types.is_null(kind) or kind in (pa.float32(), pa.float64()):
        return kind
    if types.is_float16(kind):
        return pa.float32()
    if types.is_decimal(kind):
        return kind if types.is_decimal256(kind) else pa.decimal128(kind.precision, kind.scale)
    if types.is_timestamp(kind):
        return NAIVE if kind.tz is None else AWARE
    return next((result for matches, result in _FAMILIES if matches(kind)), None)


_FAMILIES: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_string, pa.string()),
    (pa.types.is_large_string, pa.string()),
    (pa.types.is_string_view, pa.string()),
    (pa.types.is_binary, pa.binary()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_binary_view, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
    (pa.types.is_date, pa.date32()),
    (pa.types.is_time, pa.time64("us")),
    (pa.types.is_duration, pa.duration("us")),
)


def fit(given: pa.DataType, column: SQLType) -> Fit | None:
    """How values of the plain type `given` go into `column`; None if some would be changed on the way."""
    target = column.arrow
    if target is None:
        return None
    decimals = pa.types.is_decimal(given)
    if pa.types.is_null(given) or given == target or _widens(given, target):
        return Fit(target, column.encode, column.max_length)
    if decimals and (column.any_decimal or pa.types.is_decimal(target)):
        return Fit(given if column.any_decimal else target, column.encode)
    if target == pa.string() and column.encode is None:
        if isinstance(given, pa.UuidType):
            return Fit(given, uuid_texts, column.max_length)
        if isinstance(given, pa.JsonType):
            return Fit(given, json_texts, column.max_length)
    return None


def _widens(given: pa.DataType, target: pa.DataType) -> bool:
    """Whether a number of one type goes into another unchanged, or is refused for being too large."""
    types = pa.types
    if types.is_integer(given):
        return bool(types.is_integer(target) or types.is_decimal(target) or target == pa.float64())
    return bool(given == pa.float32() and target == pa.float64())


def widens(column: SQLType, given: pa.DataType) -> bool:
    """Whether a type of `given` would hold all values of the column, and more.

    >>> widens(SQLType("INTEGER", pa.int32()), pa.int64()), widens(SQLType("BIGINT", pa.int64()), pa.int32())
    (True, False)
    """
    old, types = column.arrow, pa.types
    if old is None or column.any_decimal or old == given:
        return old == given == pa.string() and column.max_length is not None
    if types.is_integer(old) and types.is_integer(given):
        signed = types.is_signed_integer
        if signed(old) == signed(given):
            return bool(old.bit_width < given.bit_width)
        return bool(signed(given) and old.bit_width < given.bit_width)
    if types.is_decimal(given) and (types.is_integer(old) or types.is_decimal(old)):
        digits, scale = (old.precision, old.scale) if types.is_decimal(old) else (_DIGITS[old.bit_width], 0)
        return bool(given.scale >= scale and given.precision - given.scale >= digits - scale)
    if given == pa.float64():
        return bool(old == pa.float32() or (types.is_integer(old) and old.bit_width <= 32))
    return False


_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}


# ---- encoders -------------------------------------------------------------------------------------------------------


def uuid_texts(array: pa.Array) -> pa.Array:
    """UUIDs as text, in the usual form."""
    return pa.array([None if value is None else str(value) for value in python_values(array)], pa.string())


def json_texts(array: pa.Array) -> pa.Array:
    """JSON values as their text."""
    return array.storage.cast(pa.string())


# ---- checks ---------------------------------------------------------------------------------------------------------


def first_misfit(array: pa.Array, max_length: int | None) -> tuple[int, str] | None:
    """The index of the first cell that no database should be given, and why."""
    kind = array.type
    if pa.types.is_date32(kind):
        return _outside(array.cast(pa.int32()), _FIRST_DAY, _LAST_DAY)
    if pa.types.is_timestamp(kind):
        return _outside(array.cast(pa.int64()), _FIRST_DAY * _DAY, (_LAST_DAY + 1) * _DAY - 1)
    if max_length is not None and pa.types.is_string(kind):
        import pyarrow.compute as pc

        return first(pc.greater(pc.utf8_length(array), max_length), f"the column takes {max_length:,} characters")
    return None


def _outside(numbers: pa.Array, low: int, high: int) -> tuple[int, str] | None:
    import pyarrow.compute as pc  # here, since a pipe that is only described loads this module, too

    ends: Any = pc.min_max(numbers)
    if ends["min"].as_py() is None or (ends["min"].as_py() >= low and ends["max"].as_py() <= high):
        return None
    wrong = pc.or_(pc.less(numbers, low), pc.greater(numbers, high))
    return first(wrong, "it lies outside of the years 1 to 9999")


def first(wrong: pa.Array, why: str) -> tuple[int, str] | None:
    """The index of the first true cell of `wrong`, with the reason."""
    import pyarrow.compute as pc

    # Not `pc.index`, which takes a scalar: to make the first one, pyarrow would import pandas.
    places = pc.indices_nonzero(wrong)
    return (places[0].as_py(), why) if len(places) else None
