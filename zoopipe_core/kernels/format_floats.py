"""Doubles as text, digit for digit as ``repr`` and JSON writers do: the fewest digits that read back as the double.

Python and pydantic's JSON differ in how they lay the digits out:

    repr    0.0001   1e-05     1e+16   nan, inf
    JSON    0.0001   0.00001   1e+16   null

`find_shortest` finds the digits once for both passes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import (
    BYTES,
    INT32,
    INT64,
    INT64_SCALAR,
    INT64_VALUES,
    OFFSETS,
    UINT8,
    UINT64_TABLE,
    device,
    kernel,
)
from zoopipe_core.kernels.emit import MARKED, NULL, count_digits, put_bytes, put_digits
from zoopipe_core.kernels.shortest import shortest_decimal

__all__ = ["JSON_STYLE", "REPR_STYLE", "find_shortest", "size_float64", "write_float64"]

Bytes = npt.NDArray[np.uint8]
Form = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]
Exponents = npt.NDArray[np.int32]

JSON_STYLE, REPR_STYLE = 0, 1
LAST_PLACE = 16
"""Digits before the decimal point that a number has at most before it is written with an exponent."""

MINUS, PLUS, POINT, ZERO, LOWER_E = b"-+.0e"
SIGN = np.uint64(63)
MAGNITUDE_BITS = np.uint64(2**63 - 1)
INFINITY_BITS = np.uint64(0x7FF0000000000000)
U0, U1, U10 = np.uint64(0), np.uint64(1), np.uint64(10)
NAMES = np.frombuffer(b"nan-inf", np.uint8)


@kernel(UINT64_TABLE, UINT8, INT64_SCALAR, INT64, INT32)
def find_shortest(bits: Bits, form: Form, style: int, digits: Sizes, exponents: Exponents) -> None:
    """The digits of each double, and the power of ten that they are multiplied by.

    bits: uint64 (n,), the doubles. form: `NULL` for those that JSON has no number for, `MARKED` for those that have a
    name in Python. digits: int64 (n,), at most 17 digits. exponents: int32 (n,).
    """
    for i in range(len(digits)):
        if form[i] == NULL:
            continue
        if bits[i] & MAGNITUDE_BITS >= INFINITY_BITS:
            form[i] = NULL if style == JSON_STYLE else MARKED
            continue
        found, exponent = shortest_decimal(bits[i])
        digits[i] = np.int64(found)
        exponents[i] = exponent


@device
def _name_start(bits: np.uint64) -> int:
    """Where in NAMES the name of an infinity, or of what is no number, starts."""
    if bits & MAGNITUDE_BITS != INFINITY_BITS:
        return 0
    return 4 - int(bits >> SIGN == U1)


@device
def _name_end(bits: np.uint64) -> int:
    return 7 if bits & MAGNITUDE_BITS == INFINITY_BITS else 3


@device
def _is_positional(point: int, style: int) -> bool:
    """Whether a number is written without an exponent, by how many of its digits stand before the decimal point."""
    return -4 + int(style == REPR_STYLE) <= point <= LAST_PLACE


@device
def _exponent_size(power: int, style: int) -> int:
    """Digits of an exponent: Python writes two at least."""
    return max(count_digits(np.uint64(abs(power))), 1 + int(style == REPR_STYLE))


@kernel(UINT64_TABLE, INT64_VALUES, OFFSETS, UINT8, INT64_SCALAR, INT64_SCALAR, INT64)
def size_float64(
    bits: Bits, digits: Sizes, exponents: Exponents, form: Form, style: int, null_width: int, sizes: Sizes
) -> None:
    """Add the size of each double whose digits `find_shortest` found."""
    for i in range(len(sizes)):
        if form[i] == NULL:
            sizes[i] += null_width
            continue
        if form[i] == MARKED:
            sizes[i] += _name_end(bits[i]) - _name_start(bits[i])
            continue
        count = count_digits(np.uint64(digits[i]))
        exponent = int(exponents[i])
        point = count + exponent
        size = int(bits[i] >> SIGN == U1)
        if _is_positional(point, style):
            if exponent >= 0:
                size += point + 2
            elif point > 0:
                size += count + 1
            else:
                size += count + 2 - point
        else:
            size += count + int(count > 1) + 2 + _exponent_size(point - 1, style)
        sizes[i] += size


@device
def _put_positional(out: Bytes, at: int, digits: np.uint64, count: int, exponent: int) -> int:
    """Write digits with a decimal point among, before or behind them."""
    point = count + exponent
    if exponent >= 0:
        put_digits(out, at, digits, count)
        for k in range(at + count, at + point):
            out[k] = ZERO
        out[at + point] = POINT
        out[at + point + 1] = ZERO
        return at + point + 2
    if point > 0:
        put_digits(out, at + 1, digits, count)
        for k in range(at, at + point):
            out[k] = out[k + 1]
        out[at + point] = POINT
        return at + count + 1
    out[at] = ZERO
    out[at + 1] = POINT
    for k in range(at + 2, at + 2 - point):
        out[k] = ZERO
    put_digits(out, at + 2 - point, digits, count)
    return at + 2 - point + count


@device
def _put_scientific(out: Bytes, at: int, digits: np.uint64, count: int, power: int, style: int) -> int:
    """Write digits with the point behind the first, and the power of ten."""
    if count > 1:
        put_digits(out, at + 1, digits, count)
        out[at] = out[at + 1]
        out[at + 1] = POINT
        at += count + 1
    else:
        put_digits(out, at, digits, 1)
        at += 1
    out[at] = LOWER_E
    out[at + 1] = MINUS if power < 0 else PLUS
    size = _exponent_size(power, style)
    put_digits(out, at + 2, np.uint64(abs(power)), size)
    return at + 2 + size


@kernel(UINT64_TABLE, INT64_VALUES, OFFSETS, UINT8, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_float64(
    bits: Bits,
    digits: Sizes,
    exponents: Exponents,
    form: Form,
    style: int,
    before: Bytes,
    null: Bytes,
    cursor: Sizes,
    out: Bytes,
) -> None:
    """Write each double whose digits `find_shortest` found."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        if form[i] == MARKED:
            cursor[i] = put_bytes(out, at, NAMES, _name_start(bits[i]), _name_end(bits[i]))
            continue
        if bits[i] >> SIGN == U1:
            out[at] = MINUS
            at += 1
        number = np.uint64(digits[i])
        exponent = int(exponents[i])
        count = count_digits(number)
        point = count + exponent
        if _is_positional(point, style):
            cursor[i] = _put_positional(out, at, number, count, exponent)
        else:
            cursor[i] = _put_scientific(out, at, number, count, point - 1, style)
