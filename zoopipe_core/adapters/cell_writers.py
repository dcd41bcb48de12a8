"""Columns as the text of their cells: which kernels write a column, and what they are given.

    Column ── Arrow array ───────────────────────────────▶ kernels for its type
           └─ Python values ─┬─ all of one plain class ──▶ array ──▶ the same kernels
                             └─ anything else ───────────▶ a text each, made by Python ──▶ copied by a kernel

What a kernel writes is byte for byte what Python writes for the cell's value. A cell that it cannot write (a date that
Python does not have, a text that is not UTF-8) is never written: the column, or the batch, is left to Python.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import TzInfo

from zoopipe_core.batches.model import Column
from zoopipe_core.kernels import emit, format_floats, format_numbers, format_temporal, format_text, format_uuids

__all__ = ["CellStyle", "CellWriter", "cell_writer", "constant", "lay_out"]

Bytes = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CellStyle:
    """How cells look in a format.

    Attributes:
        null: the text for null.
        quote: the character around dates, times, UUIDs and decimals; 0 for none.
        float_style: how doubles are laid out, as `format_floats` has it.
        text: the writer for uint8 ``data``, int32 ``starts`` and ``ends``, and ``form``; whether formulas are escaped.
        is_safe: whether cells that consist of these characters can be written as they are.
        python: the final texts of a column, nulls included, as Python makes them.
        unwraps_enums: whether a member of an Enum is written just as its value is.
    """

    null: bytes
    quote: int
    float_style: int
    text: Callable[[Bytes, Any, Any, Bytes, bool], CellWriter]
    is_safe: Callable[[str], bool]
    python: Callable[[Sequence[Any]], list[bytes]]
    unwraps_enums: bool = True

    @property
    def quotes(self) -> int:
        """Bytes that the quotes take."""
        return 2 * int(self.quote != 0)


@dataclass(frozen=True, slots=True)
class CellWriter:
    """The two passes over a column's cells.

    Attributes:
        measure: adds the size of each cell to int64 ``sizes`` (n,).
        write: takes uint8 ``before`` and ``null``, int64 ``cursor`` (n,) and uint8 ``out``; writes ``before`` and the
            cell at each cursor and moves it on.
        flags: uint8 (1,), 1 after measuring if a cell cannot be written.
    """

    measure: Callable[[Sizes], None]
    write: Callable[[Bytes, Bytes, Sizes, Bytes], None]
    flags: Bytes = field(default_factory=lambda: np.zeros(1, np.uint8))


def constant(text: bytes) -> Bytes:
    """A text as kernels take it."""
    return np.frombuffer(text, np.uint8) if text else np.zeros(0, np.uint8)


def lay_out(
    writers: Sequence[CellWriter], befores: Sequence[bytes], end: bytes, null: bytes, count: int
) -> tuple[pa.Buffer, Sizes] | None:
    """The text of `count` rows, and where each one ends in it: int64 (n,). None if a cell cannot be written.

    A row is ``befores[k]`` and the cell of each column k, and `end`.
    """
    sizes = np.full(count, sum(map(len, befores)) + len(end), np.int64)
    for writer in writers:
        writer.measure(sizes)
        if writer.flags[0]:
            return None
    ends = np.cumsum(sizes)
    cursor = ends - sizes
    # Arrow's memory pool keeps memory from one batch to the next; NumPy's comes from the system, page by page.
    buffer = pa.allocate_buffer(int(ends[-1]) if count else 0)
    out = np.frombuffer(buffer, np.uint8)
    null_text = constant(null)
    for writer, before in zip(writers, befores, strict=True):
        writer.write(constant(before), null_text, cursor, out)
    if end:
        emit.write_constant(constant(end), cursor, out)
    return buffer, ends


def cell_writer(column: Column, style: CellStyle) -> CellWriter:
    """What writes the cells of `column`.

    Raises:
        ValueError: a value cannot be written in this format.
    """
    array = column.held_array
    if array is not None:
        return _array_writer(array, style) or _python_writer(column.values, style)
    return _values_writer(column.values, style) or _python_writer(column.values, style)


def _python_writer(values: Sequence[Any], style: CellStyle) -> CellWriter:
    texts = style.python(values)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(text) for text in texts], out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError("the texts of one column take more than 2 GB")
    bounds = offsets.astype(np.int32)
    form = np.full(len(texts), emit.PLAIN, np.uint8)
    return _copied(constant(b"".join(texts)), bounds[:-1], bounds[1:], form, 0, len(style.null))


def _copied(data: Bytes, starts: Any, ends: Any, form: Bytes, quote: int, null_width: int) -> CellWriter:
    return CellWriter(
        partial(format_text.size_text, starts, ends, form, 2 * int(quote != 0), null_width),
        partial(format_text.write_text, data, starts, ends, form, quote),
    )


# ---- Python values ---------------------------------------------------------------------------------------------------

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
        if not style.unwraps_enums:
            return None
        return _values_writer([None if value is None else value._value_ for value in values], style)
    if kind is Decimal:
        texts = pa.array([None if value is None else str(value) for value in values], pa.string())
        return _number_text(texts, style)
    arrow = pa.null() if kind is _NONE else _PLAIN_CLASSES.get(kind)
    if kind is dt.datetime:
        arrow = _timestamp_type(values)
    elif kind is dt.time and all(value is None or value.tzinfo is None for value in values):
        arrow = pa.time64("us")
    if arrow is None:
        return None
    try:
        array = pa.array(values, arrow)
    except (pa.ArrowException, OverflowError, ValueError):  # an integer of more than 64 bits, half a surrogate pair
        return None
    return None if isinstance(array, pa.ChunkedArray) else _array_writer(array, style)


def _timestamp_type(values: Sequence[Any]) -> pa.DataType | None:
    zones = {value.tzinfo for value in values if value is not None}
    if zones == {None}:
        return pa.timestamp("us")
    if all(zone is dt.UTC or (type(zone) is TzInfo and zone.utcoffset(None) == dt.timedelta()) for zone in zones):
        return pa.timestamp("us", "UTC")
    return None


# ---- Arrow arrays ----------------------------------------------------------------------------------------------------

DIGITS = "0123456789"
MIN_DAY, MAX_DAY = (day.toordinal() - dt.date(1970, 1, 1).toordinal() for day in (dt.date.min, dt.date.max))
DAY = 86_400_000_000
"""Microseconds."""
DATE_WIDTH, TIME_WIDTH, TIMESTAMP_WIDTH = 10, 8, 19

Builder = Callable[[pa.Array, CellStyle], CellWriter | None]


def _array_writer(array: pa.Array, style: CellStyle) -> CellWriter | None:
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


def _number_text(texts: pa.Array, style: CellStyle) -> CellWriter | None:
    """Decimals, of which the texts are there."""

    def copied(array: pa.Array, style: CellStyle) -> CellWriter:
        return _copied(*_text_parts(array), style.quote, len(style.null))

    return _plain(texts, style, f"{DIGITS}+-.EINafinstyN", copied)


def _null(array: pa.Array, style: CellStyle) -> CellWriter:
    form, nowhere = np.full(len(array), emit.NULL, np.uint8), np.zeros(len(array), np.int32)
    return _copied(constant(b""), nowhere, nowhere, form, 0, len(style.null))


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
    (pa.types.is_decimal, pa.string(), _number_text),
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
