"""Decimal text to the nearest double, exactly: what `numbers.parse_float64` does with one cell.

A number is read as ``w * 10**q`` with a `w` of up to 19 digits. Small ones are one exact multiplication or division of
doubles (Clinger, "How to Read Floating Point Numbers Accurately", 1990). The rest is Eisel-Lemire: `w` times a 128-bit
truncated power of five gives the 53 bits of the result (Lemire, "Number Parsing at a Gigabyte per Second", 2021, whose
section 5 and its appendix also give the table), and it always decides (Mushtak and Lemire, "Fast Number Parsing
Without Fallback", 2023). If a number has more than 19 digits, those that are left out put it between `w` and `w + 1`;
where both give the same double, so does the number.

Unsigned arithmetic is on ``np.uint64`` alone, and never overflows: with anything else in it Numba would go over to
doubles, and plain Python to integers that do not wrap or to warnings.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import device

__all__ = ["is_space", "read_float64", "to_float64", "trimmed"]

Bytes = npt.NDArray[np.uint8]

ZERO, NINE, POINT, PLUS, MINUS, UPPER_E, LOWER_E = b"09.+-Ee"

U0 = np.uint64(0)
U1 = np.uint64(1)
U2 = np.uint64(2)
U3 = np.uint64(3)
U9 = np.uint64(9)
U10 = np.uint64(10)
U32 = np.uint64(32)
U63 = np.uint64(63)
LOW_32 = np.uint64(2**32 - 1)
ALL_64 = np.uint64(2**64 - 1)

MAX_DIGITS = 19
"""Decimal digits that always fit 64 bits."""
HUGE_EXPONENT = 10_000_000_000
"""More than a cell has bytes: no number of digits before or after the point makes up for it."""

# Doubles: 1 bit of sign, 11 of exponent, 52 of mantissa.
MANTISSA_BITS = 52
SPARE_BITS = U9  # 64 - MANTISSA_BITS - 3: what a product has below the mantissa and its rounding bits
LEADING_BIT = np.uint64(2**52)
TWICE_LEADING_BIT = np.uint64(2**53)
SUBNORMAL_BIAS = 1023
INFINITE_POWER = 2047
INFINITY_BITS = np.uint64(0x7FF0000000000000)
SIGN_BIT = np.uint64(2**63)
MANTISSA_MASK = np.uint64(2**52 - 1)
PRECISION_MASK = np.uint64((2**64 - 1) >> (MANTISSA_BITS + 3))

MIN_POWER_OF_TEN = -342
"""Below it even 19 nines are less than half the least double."""
MAX_POWER_OF_TEN = 308
# Only between these can w * 10**q lie exactly between two doubles.
MIN_TIE_POWER = -4
MAX_TIE_POWER = 23

EXACT_POWERS = 22
"""10**22 is the greatest power of ten that is a double."""


def powers_of_five() -> npt.NDArray[np.uint64]:
    """The first 128 bits of 5**q for q from -342 to 308, as (high, low): cut off, but rounded up from -27 to -1."""
    words = []
    for q in range(MIN_POWER_OF_TEN, MAX_POWER_OF_TEN + 1):
        power = 5 ** abs(q)
        size = power.bit_length()
        if q >= 0:
            scaled = power << (128 - size) if size <= 128 else power >> (size - 128)
        elif q >= -27:
            scaled = (1 << (size + 127)) // power + 1
        else:
            scaled = (1 << (2 * size + 128)) // power + 1
            scaled >>= scaled.bit_length() - 128
        words += [scaled >> 64, scaled & (2**64 - 1)]
    table = np.array(words, np.uint64)
    table.flags.writeable = False
    return table


POWERS_OF_FIVE = powers_of_five()
POWERS_OF_TEN = np.array([float(10**q) for q in range(EXACT_POWERS + 1)])
POWERS_OF_TEN.flags.writeable = False


@device
def is_space(byte: int) -> bool:
    """Whether it is one of the six ASCII characters that pydantic strips from a number."""
    return byte == 32 or (9 <= byte <= 13)


@device
def trimmed(data: Bytes, start: int, end: int) -> tuple[int, int]:
    """A cell's bounds without the ASCII white space around it."""
    while start < end and is_space(int(data[start])):
        start += 1
    while start < end and is_space(int(data[end - 1])):
        end -= 1
    return start, end


@device
def leading_zeros(w: np.uint64) -> int:
    """Bits above the first one that is set; `w` is not 0."""
    count = 0
    width = 32
    while width > 0:
        if w >> np.uint64(64 - width) == U0:
            w = w << np.uint64(width)
            count += width
        width >>= 1
    return count


@device
def multiplied(a: np.uint64, b: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The 128 bits of a product, high and low."""
    a_low, a_high = a & LOW_32, a >> U32
    b_low, b_high = b & LOW_32, b >> U32
    low = a_low * b_low
    middle = a_high * b_low + (low >> U32)
    other = a_low * b_high + (middle & LOW_32)
    return a_high * b_high + (middle >> U32) + (other >> U32), ((other & LOW_32) << U32) | (low & LOW_32)


@device
def scaled_product(w: np.uint64, q: int) -> tuple[np.uint64, np.uint64]:
    """128 bits of ``w * 5**q`` that are exact enough to take the mantissa from; the highest bit of `w` is set."""
    place = 2 * (q - MIN_POWER_OF_TEN)
    high, low = multiplied(w, POWERS_OF_FIVE[place])
    if high & PRECISION_MASK == PRECISION_MASK:  # a carry out of the lower half would reach the mantissa
        carried, _ = multiplied(w, POWERS_OF_FIVE[place + 1])
        room = ALL_64 - low
        if carried > room:
            high = high + U1
            low = carried - room - U1
        else:
            low = low + carried
    return high, low


@device
def nearest_double(w: np.uint64, q: int) -> np.uint64:
    """The bits of the double nearest to ``w * 10**q``, ties to even."""
    if w == U0 or q < MIN_POWER_OF_TEN:
        return U0
    if q > MAX_POWER_OF_TEN:
        return INFINITY_BITS
    zeros = leading_zeros(w)
    high, low = scaled_product(w << np.uint64(zeros), q)
    top = high >> U63
    shift = top + SPARE_BITS
    mantissa = high >> shift
    # 217706 / 2**16 is log2(10), near enough for its floor to be exact in this range.
    power = ((217706 * q) >> 16) + 63 + np.int64(top) - zeros + SUBNORMAL_BIAS
    if power <= 0:
        if power <= -63:
            return U0
        mantissa = mantissa >> np.uint64(1 - power)
        # Rounding up may carry into the leading bit, which makes it, as it should, the least normal number.
        return (mantissa + (mantissa & U1)) >> U1
    if (
        low <= U1
        and MIN_TIE_POWER <= q <= MAX_TIE_POWER
        and mantissa & U3 == U1
        and mantissa << shift == high  # nothing was cut off: a tie, and the lower neighbour is even
    ):
        mantissa = mantissa - U1
    mantissa = (mantissa + (mantissa & U1)) >> U1
    if mantissa >= TWICE_LEADING_BIT:
        mantissa = LEADING_BIT
        power += 1
    if power >= INFINITE_POWER:
        return INFINITY_BITS
    return (mantissa & MANTISSA_MASK) | (np.uint64(power) << np.uint64(MANTISSA_BITS))


@device
def to_float64(w: np.uint64, q: int, inexact: bool, negative: bool) -> tuple[float, bool]:
    """The double nearest to ``w * 10**q``, or to any number from there to ``(w + 1) * 10**q``; False if they differ."""
    if w <= TWICE_LEADING_BIT and -EXACT_POWERS <= q <= EXACT_POWERS and not inexact:
        value = np.float64(w)
        value = value / POWERS_OF_TEN[-q] if q < 0 else value * POWERS_OF_TEN[q]
        return -value if negative else value, True
    bits = nearest_double(w, q)
    if inexact and nearest_double(w + U1, q) != bits:
        return 0.0, False
    sign = SIGN_BIT if negative else U0
    return np.uint64(sign | bits).view(np.float64), True


@device
def read_digits(data: Bytes, pos: int, end: int, w: np.uint64, count: int) -> tuple[int, np.uint64, int, int, bool]:
    """Append the digits from `pos` on to a `w` of `count` digits: new pos, w, count, digits taken, any but 0 left out.

    From the 20th digit on (zeros in front not counted) they are left out.
    """
    first = pos
    while pos < end and count < MAX_DIGITS:
        byte = int(data[pos])
        if byte < ZERO or byte > NINE:
            break
        w = w * U10 + np.uint64(byte - ZERO)
        if w != U0:
            count += 1
        pos += 1
    taken = pos - first
    inexact = False
    while pos < end and ZERO <= int(data[pos]) <= NINE:
        if int(data[pos]) != ZERO:
            inexact = True
        pos += 1
    return pos, w, count, taken, inexact


@device
def read_exponent(data: Bytes, pos: int, end: int) -> tuple[int, bool]:
    """The number after the ``e``, which goes to the end of the cell."""
    negative = False
    if pos < end and (int(data[pos]) == MINUS or int(data[pos]) == PLUS):
        negative = int(data[pos]) == MINUS
        pos += 1
    if pos == end:
        return 0, False
    value = 0
    while pos < end:
        byte = int(data[pos])
        if byte < ZERO or byte > NINE:
            return 0, False
        if value < HUGE_EXPONENT:
            value = value * 10 + byte - ZERO
        pos += 1
    return -value if negative else value, True


@device
def read_float64(data: Bytes, start: int, end: int) -> tuple[float, bool]:
    """The value of a cell ``[+-]digits[.digits][e[+-]digits]``, and whether it is one and was decided."""
    pos, end = trimmed(data, start, end)
    negative = False
    if pos < end and (int(data[pos]) == MINUS or int(data[pos]) == PLUS):
        negative = int(data[pos]) == MINUS
        pos += 1
    first = pos
    pos, w, count, taken, inexact = read_digits(data, pos, end, U0, 0)
    digits = pos - first
    exponent = digits - taken
    if pos < end and int(data[pos]) == POINT:
        first = pos + 1
        pos, w, count, taken, also_inexact = read_digits(data, first, end, w, count)
        digits += pos - first
        exponent -= taken
        inexact = inexact or also_inexact
    if digits == 0:
        return 0.0, False
    if pos < end:
        if int(data[pos]) != LOWER_E and int(data[pos]) != UPPER_E:
            return 0.0, False
        named, valid = read_exponent(data, pos + 1, end)
        if not valid:
            return 0.0, False
        exponent += named
    return to_float64(w, exponent, inexact, negative)
