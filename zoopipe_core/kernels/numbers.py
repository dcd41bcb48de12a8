"""Numbers and booleans: from text, and the constraints on them.

What is read here is what ``int``, ``float`` and ``bool`` fields of a pydantic model accept in lax mode, spelled as data
spells it: signs, leading zeros, ASCII white space around a number, ``12.0`` for an integer, exponents. Underscores,
other white space, the names of infinity and NaN, and integers beyond 64 bits are left to pydantic.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import (
    BYTES,
    FLOAT64,
    FLOAT64_SCALAR,
    FLOAT64_VALUES,
    INT64,
    INT64_SCALAR,
    INT64_VALUES,
    OFFSETS,
    SURE,
    UINT8,
    UNSURE,
    device,
    kernel,
)
from zoopipe_core.kernels.floats import POWERS_OF_TEN, read_float64, to_float64, trimmed

__all__ = [
    "check_decimal",
    "check_float64_finite",
    "check_float64_range",
    "check_int64_multiple",
    "check_int64_range",
    "parse_bool",
    "parse_float64",
    "parse_int64",
]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
State = npt.NDArray[np.uint8]

ZERO, NINE, POINT, PLUS, MINUS, UPPER_A, UPPER_Z = b"09.+-AZ"

SURE_DIGITS = 15
PLAIN_PLACES = 4
"""``0.0001`` is the least number that is written without an exponent."""
SAFE_DIGITS = 18
"""Digits of which no number overflows 64 bits."""
INT64_MIN = -(2**63)
EXACT_INTEGER = 2**53
"""Up to which every integer is a double."""
MAX_FLOAT64 = float(np.finfo(np.float64).max)

# The lower-case spellings of booleans as big-endian numbers.
TEXT_0, TEXT_1, TEXT_F, TEXT_N, TEXT_T, TEXT_Y = b"01fnty"
TEXT_NO, TEXT_ON = (int.from_bytes(text) for text in (b"no", b"on"))
TEXT_OFF, TEXT_YES = (int.from_bytes(text) for text in (b"off", b"yes"))
TEXT_TRUE = int.from_bytes(b"true")
TEXT_FALSE = int.from_bytes(b"false")

NORMALIZED_DIGITS = 28
"""Digits up to which ``Decimal.normalize()``, by which pydantic may count, takes off zeros and does not round."""
MAX_PLAIN_ZEROS = 5
"""Zeros between the point and the first other digit up to which ``str(Decimal)`` needs no exponent."""


@device
def read_int64(data: Bytes, start: int, end: int) -> tuple[int, bool]:
    """The value of a cell ``[+-]digits[.zeros]``, and whether it is one of 64 bits."""
    pos, end = trimmed(data, start, end)
    negative = False
    if pos < end and (int(data[pos]) == MINUS or int(data[pos]) == PLUS):
        negative = int(data[pos]) == MINUS
        pos += 1
    first = pos
    value = 0  # counts downwards: there is one more negative number than positive ones
    safe = min(end, first + SAFE_DIGITS)
    while pos < safe and ZERO <= int(data[pos]) <= NINE:
        value = value * 10 - (int(data[pos]) - ZERO)
        pos += 1
    while pos < end and ZERO <= int(data[pos]) <= NINE:
        digit = int(data[pos]) - ZERO
        if value < (INT64_MIN + digit + 9) // 10:
            return 0, False
        value = value * 10 - digit
        pos += 1
    if pos == first:
        return 0, False
    if pos < end:
        if int(data[pos]) != POINT or pos + 1 == end:
            return 0, False
        pos += 1
        while pos < end:
            if int(data[pos]) != ZERO:
                return 0, False
            pos += 1
    if negative:
        return value, True
    return -value, value > INT64_MIN


@kernel(BYTES, OFFSETS, OFFSETS, INT64, UINT8, UINT8)
def parse_int64(data: Bytes, starts: Offsets, ends: Offsets, out: Integers, state: State, respelled: State) -> None:
    """Decimal integers in ``data[starts[i]:ends[i]]`` to ``out[i]``.

    data: uint8, the column's bytes.  starts, ends: int32 (n,).  out: int64 (n,), written where accepted.
    state: uint8 (n,), set to UNSURE where the text is not ``[+-]digits``, with ``.0`` behind it or not, of 64 bits.
    respelled: uint8 (n,), set to 1 for an accepted cell that is not spelled as its number is written.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        # What most cells are, ``-?[0-9]{1,18}``, is read here: a call for each cell takes as long as reading it.
        pos, end = int(starts[i]), int(ends[i])
        negative = pos < end and int(data[pos]) == MINUS
        if negative:
            pos += 1
        value = 0
        spelled = pos < end and (int(data[pos]) != ZERO or (not negative and end - pos == 1))
        plain = pos < end <= pos + SAFE_DIGITS
        while plain and pos < end:
            byte = int(data[pos])
            plain = ZERO <= byte <= NINE
            value = value * 10 + byte - ZERO
            pos += 1
        if negative:
            value = -value
        if not plain:
            value, plain = read_int64(data, int(starts[i]), end)
            spelled = False
        if plain:
            out[i] = value
            if not spelled:
                respelled[i] = 1
        else:
            state[i] = UNSURE


@kernel(BYTES, OFFSETS, OFFSETS, FLOAT64, UINT8, UINT8)
def parse_float64(data: Bytes, starts: Offsets, ends: Offsets, out: Floats, state: State, respelled: State) -> None:
    """Decimal numbers in ``data[starts[i]:ends[i]]`` to the nearest double in ``out[i]``.

    data: uint8, the column's bytes.  starts, ends: int32 (n,).  out: float64 (n,), written where accepted; numbers
    that are too great become infinite, as they do in Python.
    state: uint8 (n,), set to UNSURE where the text is not ``[+-]digits[.digits][e[+-]digits]``, or has more than 19
    digits that leave open which double is nearest.
    respelled: uint8 (n,), set to 1 for an accepted cell that is not spelled, or may not be, as its number is written.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        # What most cells are, ``-?digits[.digits]`` of up to 18 digits, is read here, as in `parse_int64`.
        pos, end = int(starts[i]), int(ends[i])
        negative = pos < end and int(data[pos]) == MINUS
        if negative:
            pos += 1
        first = pos
        digits = places = w = 0
        if end - pos <= SAFE_DIGITS + 2:
            while pos < end and ZERO <= int(data[pos]) <= NINE:
                w = w * 10 + int(data[pos]) - ZERO
                pos += 1
            digits = pos - first
            if pos < end and int(data[pos]) == POINT:
                pos += 1
                point = pos
                while pos < end and ZERO <= int(data[pos]) <= NINE:
                    w = w * 10 + int(data[pos]) - ZERO
                    pos += 1
                places = pos - point
                digits += places
        # No two numbers of 15 digits are one double, so the shortest text that is this double is this one. Python and
        # pydantic write it without an exponent from 0.0001 on.
        spelled = pos == end and 0 < places < digits <= SURE_DIGITS
        spelled = spelled and (places == 1 or int(data[end - 1]) != ZERO)
        if spelled and int(data[first]) == ZERO:
            spelled = digits == places + 1 and (places <= PLAIN_PLACES or w >= POWERS_OF_TEN[places - PLAIN_PLACES])
        if digits > 1 and int(data[first]) == ZERO:
            digits -= 1
        if pos < end or not 0 < digits <= SAFE_DIGITS:
            value, sure = read_float64(data, int(starts[i]), end)
        elif w <= EXACT_INTEGER:
            value, sure = w / POWERS_OF_TEN[places], True  # both are exact, so the quotient is the nearest double
            if negative:
                value = -value
        else:
            value, sure = to_float64(np.uint64(w), -places, False, negative)
        if sure:
            out[i] = value
            if not spelled:
                respelled[i] = 1
        else:
            state[i] = UNSURE


@device
def bool_of(key: int) -> int:
    """1 or 0 for a lower-case spelling of true or false, as a big-endian number; else -1."""
    if key in (TEXT_1, TEXT_TRUE, TEXT_T, TEXT_YES, TEXT_Y, TEXT_ON):
        return 1
    if key in (TEXT_0, TEXT_FALSE, TEXT_F, TEXT_NO, TEXT_N, TEXT_OFF):
        return 0
    return -1


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, UINT8, UINT8)
def parse_bool(data: Bytes, starts: Offsets, ends: Offsets, out: State, state: State, respelled: State) -> None:
    """The spellings of booleans in ``data[starts[i]:ends[i]]`` to 0 or 1 in ``out[i]``.

    data: uint8, the column's bytes.  starts, ends: int32 (n,).  out: uint8 (n,), written where accepted.
    state: uint8 (n,), set to UNSURE where the text is none of 0, f, n, no, off, false, 1, t, y, on, yes and true, in
    whatever case.
    respelled: uint8 (n,), set to 1 for an accepted cell that is neither ``true`` nor ``false``.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        start, end = int(starts[i]), int(ends[i])
        key = raw = 0
        for pos in range(start, min(end, start + 6)):  # one byte more than the longest spelling has
            byte = int(data[pos])
            raw = raw * 256 + byte
            if byte == 0:
                byte = 255  # NULs in front would not show in the key
            elif UPPER_A <= byte <= UPPER_Z:
                byte += 32
            key = key * 256 + byte
        value = bool_of(key)
        if value >= 0:
            out[i] = value
            if raw != TEXT_TRUE and raw != TEXT_FALSE:
                respelled[i] = 1
        else:
            state[i] = UNSURE


@device
def is_decimal(data: Bytes, start: int, end: int, max_digits: int, decimal_places: int) -> bool:
    """Whether a cell is as ``str(Decimal)`` writes it, without exponent, and keeps to the limits.

    pydantic counts the digits of the number as it is and without the zeros at its end; the smaller count matters.
    """
    pos = start
    if pos < end and int(data[pos]) == MINUS:
        pos += 1
    first = pos
    while pos < end and ZERO <= int(data[pos]) <= NINE:
        pos += 1
    whole = pos - first
    if whole == 0 or (int(data[first]) == ZERO and whole > 1):
        return False
    places = leading = trailing = 0
    if pos < end:
        if int(data[pos]) != POINT:
            return False
        pos += 1
        places = end - pos
        if places == 0:
            return False
        while pos < end and int(data[pos]) == ZERO:
            pos += 1
            leading += 1
        trailing = leading
        while pos < end and ZERO <= int(data[pos]) <= NINE:
            trailing = trailing + 1 if int(data[pos]) == ZERO else 0
            pos += 1
        if pos < end:
            return False
    figures = whole + places
    if int(data[first]) == ZERO:
        figures = max(places - leading, 1)
        if figures - places < -MAX_PLAIN_ZEROS:
            return False
    return keeps_to_limits(figures, places, trailing, max_digits, decimal_places)


@device
def keeps_to_limits(figures: int, places: int, trailing: int, max_digits: int, decimal_places: int) -> bool:
    """The rules for a number of `figures` digits, zeros in front not counted, of which `places` are decimals."""
    if figures > NORMALIZED_DIGITS:
        trailing = 0
    fewest_places = places - trailing
    digits = max(figures, places)
    fewest_digits = max(figures - trailing, fewest_places, 1)
    if max_digits >= 0 and min(digits, fewest_digits) > max_digits:
        return False
    if decimal_places < 0:
        return True
    if fewest_places > decimal_places:
        return False
    return max_digits < 0 or digits - places <= max(max_digits - decimal_places, 0)


@kernel(BYTES, OFFSETS, OFFSETS, INT64_SCALAR, INT64_SCALAR, UINT8)
def check_decimal(
    data: Bytes, starts: Offsets, ends: Offsets, max_digits: int, decimal_places: int, state: State
) -> None:
    """Whether ``data[starts[i]:ends[i]]`` is a decimal number that is its own ``str(Decimal(text))``.

    data: uint8, the column's bytes.  starts, ends: int32 (n,).  max_digits, decimal_places: as pydantic's, -1 for none.
    state: uint8 (n,), set to UNSURE where the text is not canonical (``+1``, ``007``, ``.5``, ``1e3``, ``0.0000001``,
    which Python writes ``1E-7``) or exceeds a limit. The text of an accepted cell is its value.
    """
    for i in range(len(state)):
        if state[i] == SURE and not is_decimal(data, int(starts[i]), int(ends[i]), max_digits, decimal_places):
            state[i] = UNSURE


@kernel(INT64_VALUES, INT64_SCALAR, INT64_SCALAR, UINT8)
def check_int64_range(values: Integers, lower: int, upper: int, state: State) -> None:
    """Whether ``lower <= values[i] <= upper``.

    values: int64 (n,).  state: uint8 (n,), set to UNSURE where it is not.
    """
    for i in range(len(state)):
        if values[i] < lower or values[i] > upper:
            state[i] = UNSURE


@kernel(INT64_VALUES, INT64_SCALAR, UINT8)
def check_int64_multiple(values: Integers, divisor: int, state: State) -> None:
    """Whether ``values[i]`` is a multiple of `divisor`, which pydantic wants to be greater than 0.

    values: int64 (n,).  state: uint8 (n,), set to UNSURE where it is not, and everywhere for another divisor.
    """
    for i in range(len(state)):
        if divisor <= 0 or values[i] % divisor != 0:
            state[i] = UNSURE


@kernel(FLOAT64_VALUES, FLOAT64_SCALAR, INT64_SCALAR, FLOAT64_SCALAR, INT64_SCALAR, UINT8)
def check_float64_range(
    values: Floats, lower: float, lower_strict: int, upper: float, upper_strict: int, state: State
) -> None:
    """Whether ``lower <= values[i] <= upper``, or ``<`` on the side whose `strict` is 1. NaN is in no range.

    values: float64 (n,).  lower, upper: -inf and inf where there is no bound.
    state: uint8 (n,), set to UNSURE where it is not.
    """
    for i in range(len(state)):
        value = values[i]
        above = value > lower or (value == lower and lower_strict == 0)
        below = value < upper or (value == upper and upper_strict == 0)
        if not (above and below):
            state[i] = UNSURE


@kernel(FLOAT64_VALUES, UINT8)
def check_float64_finite(values: Floats, state: State) -> None:
    """Whether ``values[i]`` is neither infinite nor NaN, for ``allow_inf_nan=False``.

    values: float64 (n,).  state: uint8 (n,), set to UNSURE where it is not.
    """
    for i in range(len(state)):
        if not (-MAX_FLOAT64 <= values[i] <= MAX_FLOAT64):
            state[i] = UNSURE
