"""Arrow arrays as cells: which kernels write a type, and the memory that they are given.

What a kernel writes is byte for byte what Python writes for the cell's value. A cell that Python does not have (a date
in the year 10000) is never written: the column is left to Python.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.cell_writers import CellStyle, CellWriter, constant, copied_writer, lay_out
from zoopipe_core.kernels import emit, format_floats, format_numbers, format_temporal, format_uuids

__all__ = ["array_writer", "decimal_texts_writer"]

Bytes = npt.NDArray[np.uint8]

DIGITS = "0123456789"
MIN_DAY, MAX_DAY = (day.toordinal() - dt.date(1970, 1, 1).toordinal() for day in (dt.date.min, dt.date.max))
DAY = 86_400_000_000
"""Microseconds."""
DATE_WIDTH, TIME_WIDTH, TIMESTAMP_WIDTH = 10, 8, 19

Builder = Callable[[pa.Array, CellStyle], CellWriter | None]


def array_writer(array: pa.Array, style: CellStyle) -> CellWriter | None:
    """The kernels for an array; None if there are none, or they could not write every cell."""
    kind = array.type
    if isinstance(kind, pa.JsonType):
        return None
    if isinstance(kind, pa.UuidType):
        return _plain(array, style, f"{DIGITS}abcdef-", _uuid)
    for matches, common, build in _BUILDERS:
        if matches(kind):
            if common is not None and kind != common:
                try:
                    array = array.cast(common)
                except pa.ArrowException:  # what has no equal there: Python writes it, or says why it cannot
                    return None
            return build(array, style)
    return None


def _plain(array: pa.Array, style: CellStyle, alphabet: str, build: Builder) -> CellWriter | None:
    """A writer for cells that consist of the characters `alphabet`, which the format may have to quote."""
    if style.is_safe(alphabet):
        return build(array, style)
    bare = build(array, style)
    if bare is None:
        return None
    laid_out = lay_out([bare], [b""], b"", style.null, len(array))
    if laid_out is None or laid_out[0].size > np.iinfo(np.int32).max:
        return None
    buffer, ends = laid_out
    starts = np.zeros(len(array), np.int32)
    starts[1:] = ends[:-1]
    return style.text(_bytes(buffer), starts, ends.astype(np.int32), _form(array), False)


def _form(array: pa.Array) -> Bytes:
    """uint8 (n,): NULL or PLAIN."""
    if not array.null_count:
        return np.full(len(array), emit.PLAIN, np.uint8)
    if array.null_count == len(array):
        return np.full(len(array), emit.NULL, np.uint8)
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    return np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :]


def _fixed(array: pa.Array, dtype: Any) -> npt.NDArray[Any]:
    """The memory of an array of fixed-width cells, one element each; what stands at nulls means nothing."""
    data = array.buffers()[1]
    if data is None:
        return np.zeros(len(array), dtype)
    return np.frombuffer(data, dtype, count=array.offset + len(array))[array.offset :]


def _bytes(buffer: pa.Buffer | None) -> Bytes:
    return np.frombuffer(buffer, np.uint8) if buffer is not None and buffer.size else np.zeros(0, np.uint8)


def _is_within(array: pa.Array, kind: pa.DataType, least: int, most: int) -> bool:
    """Whether all cells are, as integers of the type `kind`."""
    bounds = pc.min_max(array.view(kind)).as_py()
    return bounds["min"] is None or (least <= bounds["min"] and bounds["max"] <= most)


def _int64(array: pa.Array, style: CellStyle) -> CellWriter:
    values, form = _fixed(array, np.int64), _form(array)
    return CellWriter(
        partial(format_numbers.size_int64, values, form, len(style.null)),
        partial(format_numbers.write_int64, values, form),
    )


def _float64(array: pa.Array, style: CellStyle) -> CellWriter:
    bits, form = _fixed(array, np.uint64), _form(array)
    digits, exponents = np.zeros(len(array), np.int64), np.zeros(len(array), np.int32)
    format_floats.find_shortest(bits, form, style.float_style, digits, exponents)
    found = (bits, digits, exponents, form, style.float_style)
    return CellWriter(
        partial(format_floats.size_float64, *found, len(style.null)), partial(format_floats.write_float64, *found)
    )


def _bool(array: pa.Array, style: CellStyle) -> CellWriter:
    bits, form = _bytes(array.buffers()[1]), _form(array)
    values = np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :]
    return CellWriter(
        partial(format_numbers.size_bool, values, form, len(style.null)),
        partial(format_numbers.write_bool, values, form),
    )


def _date(array: pa.Array, style: CellStyle) -> CellWriter | None:
    if not _is_within(array, pa.int32(), MIN_DAY, MAX_DAY):
        return None
    days, form = _fixed(array, np.int32), _form(array)
    return CellWriter(
        partial(emit.size_fixed, form, DATE_WIDTH + style.quotes, len(style.null)),
        partial(format_temporal.write_date, days, form, style.quote),
    )


def _timestamp(array: pa.Array, style: CellStyle) -> CellWriter | None:
    if not _is_within(array, pa.int64(), MIN_DAY * DAY, (MAX_DAY + 1) * DAY - 1):
        return None
    values, form = _fixed(array, np.int64), _form(array)
    utc = int(array.type.tz is not None)
    width = TIMESTAMP_WIDTH + utc + style.quotes
    return CellWriter(
        partial(format_temporal.size_micros, values, form, width, len(style.null)),
        partial(format_temporal.write_timestamp, values, form, utc, style.quote),
    )


def _time(array: pa.Array, style: CellStyle) -> CellWriter | None:
    if not _is_within(array, pa.int64(), 0, DAY - 1):
        return None
    values, form = _fixed(array, np.int64), _form(array)
    return CellWriter(
        partial(format_temporal.size_micros, values, form, TIME_WIDTH + style.quotes, len(style.null)),
        partial(format_temporal.write_time, values, form, style.quote),
    )


def _duration(array: pa.Array, style: CellStyle) -> CellWriter:
    values, form = _fixed(array, np.int64), _form(array)
    return CellWriter(
        partial(format_temporal.size_duration, values, form, style.quotes, len(style.null)),
        partial(format_temporal.write_duration, values, form, style.quote),
    )


def _uuid(array: pa.Array, style: CellStyle) -> CellWriter:
    storage = array.storage
    data, form = storage.buffers()[1], _form(storage)
    start = 16 * storage.offset
    values = _bytes(data)[start : start + 16 * len(storage)] if data is not None else np.zeros(16 * len(form), np.uint8)
    return CellWriter(
        partial(emit.size_fixed, form, format_uuids.UUID_WIDTH + style.quotes, len(style.null)),
        partial(format_uuids.write_uuid, values, form, style.quote),
    )


def _text_parts(array: pa.Array) -> tuple[Bytes, Any, Any, Bytes]:
    """The bytes of a text column, where cells start and end in it, and their form."""
    _, offsets, data = array.buffers()
    count = array.offset + len(array) + 1
    bounds = np.frombuffer(offsets, np.int32, count)[array.offset :] if offsets else np.zeros(1, np.int32)
    return _bytes(data), bounds[:-1], bounds[1:], _form(array)


def _text(array: pa.Array, style: CellStyle) -> CellWriter:
    return style.text(*_text_parts(array), True)


def decimal_texts_writer(texts: pa.Array, style: CellStyle) -> CellWriter | None:
    """Decimals, of which the texts are there."""

    def copied(array: pa.Array, style: CellStyle) -> CellWriter:
        return copied_writer(*_text_parts(array), style.quote, len(style.null))

    return _plain(texts, style, f"{DIGITS}+-.EINafinstyN", copied)


def _null(array: pa.Array, style: CellStyle) -> CellWriter:
    form, nowhere = np.full(len(array), emit.NULL, np.uint8), np.zeros(len(array), np.int32)
    return copied_writer(constant(b""), nowhere, nowhere, form, 0, len(style.null))


def _of(alphabet: str, build: Builder) -> Builder:
    return lambda array, style: _plain(array, style, alphabet, build)


def _is_naive(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.tz is None)


def _is_utc(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) and kind.tz == "UTC")


# (which types, the type that they are cast to first, how the writer is made)
_BUILDERS: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType | None, Builder], ...] = (
    (pa.types.is_null, None, _null),
    (pa.types.is_boolean, None, _of("truefalse", _bool)),
    (pa.types.is_integer, pa.int64(), _of(f"{DIGITS}-", _int64)),
    (pa.types.is_floating, pa.float64(), _of(f"{DIGITS}+-.aefin", _float64)),
    (pa.types.is_decimal, pa.string(), decimal_texts_writer),
    (pa.types.is_date32, None, _of(f"{DIGITS}-", _date)),
    (_is_naive, pa.timestamp("us"), _of(f"{DIGITS}-T:.", _timestamp)),
    (_is_utc, pa.timestamp("us", "UTC"), _of(f"{DIGITS}-T:.Z", _timestamp)),
    (pa.types.is_time, pa.time64("us"), _of(f"{DIGITS}:.", _time)),
    (pa.types.is_duration, pa.duration("us"), _of(f"{DIGITS}-.PYDTHMS", _duration)),
    (pa.types.is_string, None, _text),
    (pa.types.is_large_string, pa.string(), _text),
    (pa.types.is_string_view, pa.string(), _text),
    (pa.types.is_binary, None, _text),
    (pa.types.is_large_binary, pa.binary(), _text),
    (pa.types.is_binary_view, pa.binary(), _text),
)
