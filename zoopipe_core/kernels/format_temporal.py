"""Dates, times and durations as text, as pydantic writes them to JSON (without the quotes).

    date32            2024-02-29
    timestamp[us]     2024-02-29T01:02:03.000004, with a Z behind it in UTC; no fraction if it is 0
    time64[us]        01:02:03.000004
    duration[us]      P1Y34DT2H3M4.5S, -PT1S, PT0S: a year is 365 days, zeros at the end of the fraction are left out

`quote` is the character around each cell; 0 for none. Dates and timestamps have to lie in the years 1 to 9999.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, INT64_SCALAR, INT64_VALUES, OFFSETS, UINT8, device, kernel
from zoopipe_core.kernels.clocks import DAY
from zoopipe_core.kernels.emit import NULL, count_digits, put_bytes, put_digits, put_fraction, put_pair, put_quote

__all__ = [
    "size_duration",
    "size_micros",
    "write_date",
    "write_duration",
    "write_time",
    "write_timestamp",
]

Bytes = npt.NDArray[np.uint8]
Form = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]
Days = npt.NDArray[np.int32]

MINUS, POINT, COLON, UPPER_T, UPPER_Z = b"-.:TZ"
UPPER_P, UPPER_Y, UPPER_D, UPPER_H, UPPER_M, UPPER_S = b"PYDHMS"

U0, U1, U3, U4, U10, U12, U60, U100 = (np.uint64(n) for n in (0, 1, 3, 4, 10, 12, 60, 100))
MILLION = np.uint64(1_000_000)
MICROS_OF_DAY = np.uint64(DAY)
YEAR = np.uint64(365)

DAYS_TO_EPOCH = 719_468
"""From 0000-03-01, where the years of the calendar below begin, to 1970-01-01."""
DAYS_OF_FOUR_CENTURIES = np.uint64(146_097)
DAYS_TO_JANUARY = np.uint64(306)
# Fractions that make divisions by 1461 / 4 and 153 / 5 out of multiplications and shifts.
YEAR_FACTOR, MONTH_FACTOR, MONTH_SHIFT = np.uint64(2_939_745), np.uint64(2_141), np.uint64(197_913)
U16, U32 = np.uint64(16), np.uint64(32)
LOW_16, LOW_32 = np.uint64(2**16 - 1), np.uint64(2**32 - 1)


@device
def _put_date(out: Bytes, at: int, days: int) -> int:
    """Write ``YYYY-MM-DD`` for so many days since 1970-01-01; where it ends.

    Neri and Schneider, "Euclidean affine functions and their application to calendar algorithms", 2021.
    """
    n = U4 * np.uint64(days + DAYS_TO_EPOCH) + U3
    century = n // DAYS_OF_FOUR_CENTURIES
    product = YEAR_FACTOR * ((n % DAYS_OF_FOUR_CENTURIES) // U4 * U4 + U3)
    day_of_year = (product & LOW_32) // YEAR_FACTOR // U4
    month_and_day = MONTH_FACTOR * day_of_year + MONTH_SHIFT
    month = month_and_day >> U16
    year = century * U100 + (product >> U32)
    if day_of_year >= DAYS_TO_JANUARY:  # years start in March here
        month = month - U12
        year = year + U1
    put_digits(out, at, year, 4)
    out[at + 4] = MINUS
    put_pair(out, at + 5, month)
    out[at + 7] = MINUS
    put_pair(out, at + 8, (month_and_day & LOW_16) // MONTH_FACTOR + U1)
    return at + 10


@device
def _put_time(out: Bytes, at: int, micros: np.uint64) -> int:
    """Write ``HH:MM:SS[.ffffff]`` for so many microseconds since midnight; where it ends."""
    seconds = micros // MILLION
    minutes = seconds // U60
    hours = minutes // U60
    put_pair(out, at, hours)
    out[at + 2] = COLON
    put_pair(out, at + 3, minutes - hours * U60)
    out[at + 5] = COLON
    put_pair(out, at + 6, seconds - minutes * U60)
    return put_fraction(out, at + 8, micros - seconds * MILLION)


@kernel(OFFSETS, UINT8, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_date(days: Days, form: Form, quote: int, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes) -> None:
    """Write each date: ten bytes and the quotes."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        at = _put_date(out, put_quote(out, at, quote), int(days[i]))
        cursor[i] = put_quote(out, at, quote)


@kernel(INT64_VALUES, UINT8, INT64_SCALAR, INT64_SCALAR, INT64)
def size_micros(values: Sizes, form: Form, width: int, null_width: int, sizes: Sizes) -> None:
    """Add the size of each time or timestamp: `width`, and seven more if it has a fraction."""
    for i in range(len(sizes)):
        if form[i] == NULL:
            sizes[i] += null_width
        else:
            sizes[i] += width + 7 * int(values[i] % 1_000_000 != 0)


@kernel(INT64_VALUES, UINT8, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_time(values: Sizes, form: Form, quote: int, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes) -> None:
    """Write each time of day: eight bytes, the fraction and the quotes."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        at = _put_time(out, put_quote(out, at, quote), np.uint64(values[i]))
        cursor[i] = put_quote(out, at, quote)


@kernel(INT64_VALUES, UINT8, INT64_SCALAR, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_timestamp(
    values: Sizes, form: Form, utc: int, quote: int, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes
) -> None:
    """Write each timestamp: 19 bytes, the fraction, the ``Z`` if `utc` is 1, and the quotes."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        days = values[i] // DAY
        at = _put_date(out, put_quote(out, at, quote), days)
        out[at] = UPPER_T
        at = _put_time(out, at + 1, np.uint64(values[i] - days * DAY))
        if utc == 1:
            out[at] = UPPER_Z
            at += 1
        cursor[i] = put_quote(out, at, quote)


# ---- durations -------------------------------------------------------------------------------------------------------


@device
def _distance(value: np.int64) -> np.uint64:
    """Microseconds without their sign."""
    bits = np.int64(value).view(np.uint64)
    return ~bits + U1 if value < 0 else bits


@device
def _shorter_fraction(micros: np.uint64) -> tuple[np.uint64, int]:
    """Six digits without the zeros at their end, and how many are left; `micros` is not 0."""
    count = 6
    while micros % U10 == U0:
        micros = micros // U10
        count -= 1
    return micros, count


@device
def _part_size(number: np.uint64) -> int:
    """Bytes of a number with its letter; 0 is left out."""
    return 0 if number == U0 else count_digits(number) + 1


@device
def _put_part(out: Bytes, at: int, number: np.uint64, letter: int) -> int:
    """Write a number with its letter, unless it is 0; where that ends."""
    if number == U0:
        return at
    count = count_digits(number)
    put_digits(out, at, number, count)
    out[at + count] = letter
    return at + count + 1


@kernel(INT64_VALUES, UINT8, INT64_SCALAR, INT64_SCALAR, INT64)
def size_duration(values: Sizes, form: Form, quotes: int, null_width: int, sizes: Sizes) -> None:
    """Add the size of each duration, with `quotes` more bytes for the quotes."""
    for i in range(len(sizes)):
        if form[i] == NULL:
            sizes[i] += null_width
            continue
        micros = _distance(values[i])
        days = micros // MICROS_OF_DAY
        rest = micros % MICROS_OF_DAY
        seconds = rest // MILLION
        size = quotes + 1 + int(values[i] < 0) + _part_size(days // YEAR) + _part_size(days % YEAR)
        if rest != U0 or days == U0:
            size += 1 + _part_size(seconds // U60 // U60) + _part_size(seconds // U60 % U60)
            fraction = rest % MILLION
            if fraction != U0:
                _, count = _shorter_fraction(fraction)
                size += count_digits(seconds % U60) + 2 + count
            elif micros == U0:
                size += 2
            else:
                size += _part_size(seconds % U60)
        sizes[i] += size


@kernel(INT64_VALUES, UINT8, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_duration(
    values: Sizes, form: Form, quote: int, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes
) -> None:
    """Write each duration."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        at = put_quote(out, at, quote)
        micros = _distance(values[i])
        days = micros // MICROS_OF_DAY
        rest = micros % MICROS_OF_DAY
        if values[i] < 0:
            out[at] = MINUS
            at += 1
        out[at] = UPPER_P
        at = _put_part(out, at + 1, days // YEAR, UPPER_Y)
        at = _put_part(out, at, days % YEAR, UPPER_D)
        if rest != U0 or days == U0:
            at = _put_clock_parts(out, at, rest)
        cursor[i] = put_quote(out, at, quote)


@device
def _put_clock_parts(out: Bytes, at: int, micros: np.uint64) -> int:
    """Write ``T[nH][nM][n[.n]S]`` for less than a day; where it ends."""
    seconds = micros // MILLION
    out[at] = UPPER_T
    at = _put_part(out, at + 1, seconds // U60 // U60, UPPER_H)
    at = _put_part(out, at, seconds // U60 % U60, UPPER_M)
    last = seconds % U60
    fraction = micros % MILLION
    if fraction == U0 and micros != U0:
        return _put_part(out, at, last, UPPER_S)
    count = count_digits(last)
    put_digits(out, at, last, count)
    at += count
    if fraction != U0:
        digits, count = _shorter_fraction(fraction)
        out[at] = POINT
        put_digits(out, at + 1, digits, count)
        at += count + 1
    out[at] = UPPER_S
    return at + 1
