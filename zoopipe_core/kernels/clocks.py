"""The parts of dates and times in text: what they are worth, and where they end.

Nothing here is a kernel; kernels call it for each cell. `BAD` is what they get for a text that is not of the form.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import device
from zoopipe_core.kernels.swar import HIGH_BITS, LOW_BITS, eight_bytes

__all__ = [
    "BAD",
    "DAY",
    "NAIVE",
    "SECOND",
    "after_hours",
    "clock",
    "days_since_epoch",
    "fraction",
    "two_digits",
    "zone_offset",
]

Bytes = npt.NDArray[np.uint8]

NAIVE = 86_400
"""In place of an offset: the datetime has no time zone. No zone is a day away from UTC."""

SECOND = 1_000_000
DAY = 86_400 * SECOND
"""Microseconds."""

BAD = -(1 << 40)
"""Smaller than any day or offset, and negative as no number is."""

PLUS, COMMA, DASH, DOT, COLON, UPPER_Z, LOWER_Z = b"+,-.:Zz"

# Eight bytes of ``YYYY-MM-`` and ``HH:MM:SS``; and what makes a byte that differs too much spill into its high bit.
DATE_SHAPE, DATE_SPILL = np.uint64(0x2D30302D30303030), np.uint64(0x7F76767F76767676)
TIME_SHAPE, TIME_SPILL = np.uint64(0x30303A30303A3030), np.uint64(0x76767F76767F7676)
NO_PAIRS = np.uint64(0xFFFFFFFFFFFFFFFF)
EIGHT, TEN = np.uint64(8), np.uint64(10)


@device
def two_digits(data: Bytes, at: int) -> int:
    """The number that the two bytes at `at` spell, or a negative one."""
    tens = int(data[at]) - 48
    ones = int(data[at + 1]) - 48
    if (tens | (9 - tens) | ones | (9 - ones)) < 0:  # the sign shows that one of them is out of 0..9
        return BAD
    return tens * 10 + ones


@device
def _digit_pairs(data: Bytes, at: int, shape: np.uint64, spill: np.uint64) -> np.uint64:
    """Each of the eight bytes at `at`, as a digit, times ten plus the next one; all 255 if they are not of `shape`."""
    digits = eight_bytes(data, at) ^ shape
    if ((digits & LOW_BITS) + spill | digits) & HIGH_BITS != 0:
        return NO_PAIRS
    return digits * TEN + (digits >> EIGHT)


@device
def _byte(eight: np.uint64, index: int) -> int:
    """One byte of eight."""
    return int(np.int64(eight >> np.uint64(8 * index) & np.uint64(255)))


@device
def days_since_epoch(data: Bytes, at: int) -> int:
    """Days since 1970-01-01 of the ``YYYY-MM-DD`` in the ten bytes at `at`, or BAD."""
    pairs = _digit_pairs(data, at, DATE_SHAPE, DATE_SPILL)
    century = _byte(pairs, 0)
    year = century * 100 + _byte(pairs, 2)
    month = _byte(pairs, 5)
    day = two_digits(data, at + 8)
    if month > 12 or month < 1 or day < 1 or year < 1:
        return BAD
    if day > 28:
        if month == 2:
            leap = (year & 3) == 0 and (year != century * 100 or (century & 3) == 0)
            if day > 29 or not leap:
                return BAD
        elif day > 30 + ((month + (month >> 3)) & 1):
            return BAD
    # Years that start in March: the leap day comes last, and 153 days are five months.
    early = int(month < 3)
    year -= early
    month += 12 * early
    century = year // 100
    return 365 * year + (year >> 2) - century + (century >> 2) + (153 * month - 457) // 5 + day - 719_469


@device
def fraction(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Microseconds that the digits from `at` on spell after a point, and where they end. More than six are cut off."""
    micros = 0
    unit = 100_000
    if end - at >= 6:
        first, second, third = two_digits(data, at), two_digits(data, at + 2), two_digits(data, at + 4)
        if first | second | third >= 0:
            micros = first * 10_000 + second * 100 + third
            unit = 0
            at += 6
    while at < end:
        digit = int(data[at]) - 48
        if (digit | (9 - digit)) < 0:
            break
        micros += digit * unit
        unit //= 10
        at += 1
    return micros, at


@device
def _after_seconds(data: Bytes, at: int, end: int, seconds: int) -> tuple[int, int]:
    """Microseconds of `seconds` and the ``[.f]`` at `at`, and where that ends; or BAD."""
    if end - at < 2 or (data[at] != DOT and data[at] != COMMA):
        return seconds * SECOND, at
    micros, after = fraction(data, at + 1, end)
    if after == at + 1:
        return BAD, at
    return seconds * SECOND + micros, after


@device
def after_hours(data: Bytes, at: int, end: int, hours: int) -> tuple[int, int]:
    """Microseconds of `hours` and the ``:MM[:SS[.f]]`` at `at`, and where that ends; or BAD."""
    if end - at < 3 or data[at] != COLON:
        return BAD, at
    minutes = two_digits(data, at + 1)
    if minutes < 0 or minutes > 59:
        return BAD, at
    seconds = (hours * 60 + minutes) * 60
    at += 3
    if end - at < 3 or data[at] != COLON:
        return seconds * SECOND, at
    rest = two_digits(data, at + 1)
    if rest < 0 or rest > 59:
        return BAD, at
    return _after_seconds(data, at + 3, end, seconds + rest)


@device
def clock(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Microseconds since midnight of the ``HH:MM[:SS[.f]]`` at `at`, and where it ends; or BAD."""
    if end - at >= 8 and data[at + 5] == COLON:
        pairs = _digit_pairs(data, at, TIME_SHAPE, TIME_SPILL)
        hours, minutes, seconds = _byte(pairs, 0), _byte(pairs, 3), _byte(pairs, 6)
        if hours > 23 or minutes > 59 or seconds > 59:
            return BAD, at
        return _after_seconds(data, at + 8, end, (hours * 60 + minutes) * 60 + seconds)
    if end - at < 5:
        return BAD, at
    hours = two_digits(data, at)
    minutes = two_digits(data, at + 3)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59 or data[at + 2] != COLON:
        return BAD, at
    return (hours * 60 + minutes) * 60 * SECOND, at + 5


@device
def zone_offset(data: Bytes, at: int, end: int) -> int:
    """Seconds east of UTC of the time zone at `at`, which fills the text; NAIVE if there is none; or BAD."""
    length = end - at
    if length == 0:
        return NAIVE
    sign = int(data[at])
    if length == 1:
        return 0 if sign in (UPPER_Z, LOWER_Z) else BAD
    if (sign != PLUS and sign != DASH) or not (length == 5 or (length == 6 and data[at + 3] == COLON)):
        return BAD
    hours = two_digits(data, at + 1)
    minutes = two_digits(data, end - 2)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return BAD
    seconds = (hours * 60 + minutes) * 60
    return seconds if sign == PLUS else -seconds
