"""The shortest decimal number that reads back as a given double, exactly: what `format_floats` does with one cell.

This is Schubfach (Giulietti, "The Schubfach way to render doubles", 2020), in the form that Bolz' Drachennest gives
it. All numbers that are read as the double ``c * 2**q`` lie in an interval around it. A power of ten is chosen so
wide that at most one of its multiples, and ten times narrower so that at least one, lies inside; a product with 126
or more bits of that power, in which the bits that are cut off count as one odd bit, decides every comparison. Of the
candidates the one nearest to the double is taken. Python's ``repr`` is defined the same way.

Unsigned arithmetic is on ``np.uint64`` alone, and never overflows; see `floats`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import device
from zoopipe_core.kernels.floats import ALL_64, LEADING_BIT, MANTISSA_MASK, U0, U1, U2, multiplied

__all__ = ["shortest_decimal"]

MIN_POWER, MAX_POWER = -292, 324
"""The powers of ten that doubles need."""
EXPONENT_BIAS = 1075
EXPONENT_MASK = np.uint64(0x7FF)
MANTISSA_SHIFT = np.uint64(52)
U4, U10, U40 = np.uint64(4), np.uint64(10), np.uint64(40)
TEN_2, TEN_4, TEN_8 = np.uint64(10**2), np.uint64(10**4), np.uint64(10**8)


def powers_of_ten() -> npt.NDArray[np.uint64]:
    """The first 128 bits of 10**k for k from -292 to 324, rounded up, as (high, low)."""
    words = []
    for k in range(MIN_POWER, MAX_POWER + 1):
        if k >= 0:
            power = 10**k
            cut = power.bit_length() - 128
            scaled = power << -cut if cut <= 0 else (power >> cut) + 1
        else:
            power = 10**-k
            # No power of ten below 1 is a multiple of a power of two: rounding up is adding 1.
            scaled = (1 << (power.bit_length() + 127)) // power + 1
        words += [scaled >> 64, scaled & (2**64 - 1)]
    table = np.array(words, np.uint64)
    table.flags.writeable = False
    return table


POWERS_OF_TEN = powers_of_ten()


@device
def _rounded_to_odd(place: int, factor: np.uint64) -> np.uint64:
    """The upper 64 of the 192 bits of a power of ten times `factor`; odd if any bit below them is set."""
    high, middle = multiplied(POWERS_OF_TEN[place], factor)
    carried, _ = multiplied(POWERS_OF_TEN[place + 1], factor)
    room = ALL_64 - middle
    if carried > room:
        high = high + U1
        middle = carried - room - U1
    else:
        middle = middle + carried
    return high | U1 if middle > U1 else high


@device
def _without_zeros(digits: np.uint64, exponent: int) -> tuple[np.uint64, int]:
    """The same number without zeros at its end; it is not 0."""
    if digits % TEN_8 == U0:
        digits = digits // TEN_8
        exponent += 8
    if digits % TEN_4 == U0:
        digits = digits // TEN_4
        exponent += 4
    if digits % TEN_2 == U0:
        digits = digits // TEN_2
        exponent += 2
    if digits % U10 == U0:
        digits = digits // U10
        exponent += 1
    return digits, exponent


@device
def shortest_decimal(bits: np.uint64) -> tuple[np.uint64, int]:
    """``(d, e)``: ``d * 10**e`` is the shortest decimal number for the finite double with these bits, sign aside.

    `d` has at most 17 digits. It ends in no zero, unless the double is an integer below 2**53: that is `d` itself.
    """
    mantissa = bits & MANTISSA_MASK
    biased = int(np.int64(bits >> MANTISSA_SHIFT & EXPONENT_MASK))
    if biased == 0:
        c = mantissa
        q = 1 - EXPONENT_BIAS
        if c == U0:
            return U0, 0
    else:
        c = mantissa | LEADING_BIT
        q = biased - EXPONENT_BIAS
        if -52 <= q <= 0:
            whole = c >> np.uint64(-q)
            if whole << np.uint64(-q) == c:
                return whole, 0
    odd = c & U1
    # Below a power of two, doubles are twice as dense.
    closer = 1 if mantissa == U0 and biased > 1 else 0
    # floor(log10(2**q)), or of 3/4 of it; and how far the power of ten has to be shifted. Exact in this range.
    k = (q * 1262611 - closer * 524031) >> 22
    h = np.uint64(q + ((-k * 1741647) >> 19) + 1)
    place = 2 * (-k - MIN_POWER)
    quadruple = c << U2
    lower = _rounded_to_odd(place, (quadruple - U2 + np.uint64(closer)) << h) + odd
    middle = _rounded_to_odd(place, quadruple << h)
    upper = _rounded_to_odd(place, (quadruple + U2) << h) - odd
    s = middle >> U2
    if s >= U10:
        tenth = s // U10
        below = lower <= U40 * tenth
        above = U40 * tenth + U40 <= upper
        if below != above:
            return _without_zeros(tenth + np.uint64(above), k + 1)
    below = lower <= U4 * s
    above = U4 * s + U4 <= upper
    if below != above:
        return _without_zeros(s + np.uint64(above), k)
    tie = U4 * s + U2
    up = middle > tie or (middle == tie and s & U1 == U1)
    return _without_zeros(s + np.uint64(up), k)
