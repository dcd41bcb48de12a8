"""Columns as cells, whatever they are held as.

Column ── Arrow array ───────────────────────────────▶ kernels for its type
└─ Python values ─┬─ all of one plain class ──▶ array ──▶ the same kernels
└─ anything else ───────────▶ a text each, made by Python ──▶ copied by a kernel
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from decimal import Decimal
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic_core import TzInfo

from zoopipe_core.adapters.array_writers import array_writer, decimal_texts_writer
from zoopipe_core.adapters.cell_writers import CellStyle, CellWriter, constant, copied_writer
from zoopipe_core.batches.model import Column
from zoopipe_core.batches.plain_arrays import plain_array
from zoopipe_core.kernels import emit

__all__ = ["column_writer"]


def column_writer(column: Column, style: CellStyle) -> CellWriter:
    """What writes the cells of `column`.

    Raises:
        ValueError: a value cannot be written in this format.
    """
    if column.repeats is not None:
        return _python_writer(*column.repeats, style)
    array = column.held_array
    if array is not None:
        return array_writer(array, style) or _python_writer(column.values, None, style)
    return _values_writer(column.values, style) or _python_writer(column.values, None, style)


def _python_writer(values: Sequence[Any], codes: npt.NDArray[np.int64] | None, style: CellStyle) -> CellWriter:
    """The texts of `values` as Python makes them, one a row; or for row i that of number ``codes[i]``."""
    texts = style.python(values)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError("the texts of one column take more than 2 GB")
    bounds = offsets.astype(np.int32)
    starts, ends = bounds[:-1], bounds[1:]
    if codes is not None:
        starts, ends = starts[codes], ends[codes]
    form = np.full(len(starts), emit.PLAIN, np.uint8)
    return copied_writer(constant(b"".join(texts)), starts, ends, form, 0, len(style.null))


# Classes of which every instance is the same text as its cell in an array of the type.
_PLAIN_CLASSES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.string(),
    dt.date: pa.date32(),
    dt.timedelta: pa.duration("us"),
}
_NONE = type(None)


def _values_writer(values: Sequence[Any], style: CellStyle) -> CellWriter | None:
    """By way of an array; None if that could change a text."""
    classes = set(map(type, values)) - {_NONE}
    if len(classes) > 1:
        return None
    (kind,) = classes or {_NONE}
    if issubclass(kind, Enum):
        unwrapped = [None if value is None else value._value_ for value in values]
        # CSV writes a member whose value is None as a text.
        if not style.unwraps_enums or unwrapped.count(None) != values.count(None):
            return None
        return _values_writer(unwrapped, style)
    if kind is Decimal:
        texts = plain_array(pa.string(), [None if value is None else str(value) for value in values])
        return None if texts is None else decimal_texts_writer(texts, style)
    arrow = pa.null() if kind is _NONE else _PLAIN_CLASSES.get(kind)
    if kind is dt.datetime:
        arrow = _timestamp_type(values)
    elif kind is dt.time and all(value is None or value.tzinfo is None for value in values):
        arrow = pa.time64("us")
    if arrow is None:
        return None
    try:
        array = plain_array(arrow, values)
        if array is None:
            array = pa.array(values, arrow)
    except (pa.ArrowException, OverflowError, ValueError):  # an integer of more than 64 bits, half a surrogate pair
        return None
    return None if isinstance(array, pa.ChunkedArray) else array_writer(array, style)


def _timestamp_type(values: Sequence[Any]) -> pa.DataType | None:
    zones = {value.tzinfo for value in values if value is not None}
    if zones == {None}:
        return pa.timestamp("us")
    if all(zone is dt.UTC or (type(zone) is TzInfo and zone.utcoffset(None) == dt.timedelta()) for zone in zones):
        return pa.timestamp("us", "UTC")
    return None
