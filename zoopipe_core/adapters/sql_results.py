"""What a driver's arrays mean: decimals that come as text, intervals as microseconds, UUIDs as bytes.

The values are those that the database's own Python driver would give. A cell that Arrow has no value for (a numeric
NaN, an interval of months) makes its row a fault, and its column nothing worse.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.sql_database import Decoded
from zoopipe_core.batches.source import mask_array

__all__ = ["MONTHS", "as_json", "as_utc", "decimals", "integers", "intervals", "uuids"]

MONTHS = -(2**63)
"""What a database is asked to give for an interval that has months: no number of microseconds."""

# The digits that Arrow's decimals hold.
_NARROW, _WIDE = 38, 76


def as_utc(array: pa.Array) -> Decoded:
    """Instants in any zone as instants in UTC."""
    return Decoded(array.cast(pa.timestamp(array.type.unit, "UTC")))


def as_json(array: pa.Array) -> Decoded:
    """Texts as JSON."""
    return Decoded(pa.ExtensionArray.from_storage(pa.json_(), array.cast(pa.string())))


def uuids(array: pa.Array) -> Decoded:
    """16 bytes each as UUIDs."""
    return Decoded(pa.ExtensionArray.from_storage(pa.uuid(), array.cast(pa.binary(16))))


def intervals(array: pa.Array) -> Decoded:
    """Microseconds as durations; `MONTHS` is a fault."""
    bad = _mask(pc.equal(array, pa.scalar(MONTHS, pa.int64())))
    if bad is not None:
        array = pc.if_else(mask_array(bad), pa.scalar(None, pa.int64()), array)
    why = "the interval has months or is infinite, and a month is no fixed time; select its days or its text"
    return Decoded(array.cast(pa.duration("us")), bad, "interval_months", why)


def integers(array: pa.Array) -> Decoded:
    """Digits as int64, or where one is larger, the batch as decimals without places."""
    try:
        return Decoded(array.cast(pa.int64()))
    except pa.ArrowInvalid:
        return decimals(pa.decimal128(38, 0))(array)


def decimals(preferred: pa.DataType) -> Callable[[pa.Array], Decoded]:
    """A decoder of decimals written as text: to type `preferred`, or where one does not fit, to a wider type."""

    def decode(array: pa.Array) -> Decoded:
        digits = pc.replace_substring_regex(array, r"[^0-9]", "")
        wrong = pc.or_(pc.match_substring_regex(array, r"(?i)nan|inf"), pc.greater(pc.utf8_length(digits), _WIDE))
        bad = _mask(wrong)
        if bad is not None:
            array = pc.if_else(mask_array(bad), pa.scalar(None, array.type), array)
        parsed, too_long = _parse(array, preferred)
        if too_long is not None:
            bad = too_long if bad is None else bad | too_long
        return Decoded(parsed, bad, "decimal_not_finite", "NaN, infinite, or more than 76 digits")

    return decode


def _parse(array: pa.Array, preferred: pa.DataType) -> tuple[pa.Array, Any]:
    """The decimals of texts, and a mask of those for which there is no room beside the others, or None."""
    # Neither Arrow's cast nor its conversion of Python's decimals always notices what does not fit: a text wraps around
    # where digits and places need more room than the type has, and places far beyond the type's are cut off.
    longest: Any = pc.max(pc.utf8_length(array)).as_py() or 0
    whole: Any = pc.utf8_length(pc.list_element(pc.split_pattern(array, ".", max_splits=1), 0))
    places: int = max(0, (pc.max(pc.subtract(pc.utf8_length(array), whole)).as_py() or 0) - 1)
    if longest + preferred.scale <= _NARROW and places <= preferred.scale:
        return array.cast(preferred), None
    values = [None if text is None else Decimal(text) for text in array.to_pylist()]
    most = max((_whole_digits(value) for value in values if value is not None), default=0)
    if places <= preferred.scale and most <= preferred.precision - preferred.scale:
        return pa.array(values, preferred), None
    too_long = np.array([value is not None and _whole_digits(value) + places > _WIDE for value in values])
    if too_long.any():
        values = [None if wrong else value for value, wrong in zip(values, too_long.tolist(), strict=True)]
        places = max((_places(value) for value in values if value is not None), default=0)
    return pa.array(values, pa.decimal256(_WIDE, places)), too_long if too_long.any() else None


def _places(value: Decimal) -> int:
    return max(0, -int(value.as_tuple().exponent))


def _whole_digits(value: Decimal) -> int:
    return max(0, value.adjusted() + 1) if value else 1


def _mask(wrong: pa.Array) -> Any:
    """The true cells as a NumPy mask; None if there are none."""
    if not pc.any(wrong).as_py():
        return None
    return np.asarray(wrong.fill_null(False))
