"""Dates, datetimes, times and timedeltas from text.

Every kernel takes ``(data, starts, ends, ..., state)``: cell i is the UTF-8 text ``data[starts[i]:ends[i]]``; cells
whose state is not `SURE` on entry are passed over. Accepted are the ISO spellings, with what pydantic makes of them;
all others are left to pydantic: epoch numbers, blanks around the text, instants that leave the calendar.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT32, INT64, OFFSETS, SURE, UINT8, UNSURE, device, kernel
from zoopipe_core.kernels.clocks import (
    BAD,
    DAY,
    NAIVE,
    SECOND,
    after_hours,
    clock,
    days_since_epoch,
    fraction,
    zone_offset,
)
from zoopipe_core.kernels.swar import PLACE

__all__ = ["DAY", "NAIVE", "parse_date", "parse_datetime", "parse_time", "parse_timedelta"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Days = npt.NDArray[np.int32]
Micros = npt.NDArray[np.int64]
State = npt.NDArray[np.uint8]

FIRST_INSTANT = -719_162 * DAY
LAST_INSTANT = 2_932_897 * DAY - 1
"""0001-01-01T00:00:00 and 9999-12-31T23:59:59.999999."""

MAX_NUMBER = 99_999_999
MAX_SECONDS = 4_000_000_000
MAX_DAYS = 106_000_000
"""Of a timedelta. So many days fit into 64 bits of microseconds; pydantic itself allows 999,999,999 of them."""

SPACE, PLUS, COMMA, DASH, DOT, COLON, UNDERSCORE = b" +,-.:_"
UPPER_D, UPPER_H, UPPER_M, UPPER_P, UPPER_S, UPPER_T, UPPER_W, UPPER_Y, UPPER_Z = b"DHMPSTWYZ"
LOWER_A, LOWER_D, LOWER_S, LOWER_T, LOWER_Y = b"adsty"


@device
def _number(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where it ends; or BAD if there are no digits or too many."""
    number = 0
    start = at
    while at < end:
        digit = int(data[at]) - 48
        if (digit | (9 - digit)) < 0:
            break
        number = number * 10 + digit
        if number > MAX_NUMBER:
            return BAD, at
        at += 1
    if at == start:
        return BAD, at
    return number, at


@device
def _iso_duration(data: Bytes, at: int, end: int) -> int:
    """Microseconds of what follows the P of a duration, or BAD. A year has 365 days, a month 30."""
    days = 0
    seconds = 0
    in_time = False
    if end - at < 2:
        return BAD
    while at < end:
        if data[at] == UPPER_T:
            if in_time:
                return BAD
            in_time = True
            at += 1
            continue
        number, at = _number(data, at, end)
        if number < 0 or at >= end:
            return BAD
        unit = int(data[at])
        if not in_time:
            if unit == UPPER_D:
                days += number
            elif unit == UPPER_W:
                days += number * 7
            elif unit == UPPER_M:
                days += number * 30
            elif unit == UPPER_Y:
                days += number * 365
            else:
                return BAD
        elif unit == UPPER_S:
            seconds += number
        elif unit == UPPER_M:
            seconds += number * 60
        elif unit == UPPER_H:
            seconds += number * 3600
        elif unit in (DOT, COMMA):
            # Pydantic computes in floats and rounds here: with six digits the same as exact, with more maybe not.
            micros, after = fraction(data, at + 1, end)
            digits = after - at - 1
            if digits < 1 or digits > 6 or after + 1 != end or data[after] != UPPER_S:
                return BAD
            seconds += number
            if seconds > MAX_SECONDS:
                return BAD
            return days * DAY + seconds * SECOND + micros
        else:
            return BAD
        if days > MAX_DAYS or seconds > MAX_SECONDS:
            return BAD
        at += 1
    return days * DAY + seconds * SECOND


@device
def _days_and_clock(data: Bytes, at: int, end: int) -> int:
    """Microseconds of ``[D d|day|days[,][ ]]HH:MM[:SS[.f]]`` as a whole, or BAD."""
    number, after = _number(data, at, end)
    if number < 0 or after >= end:
        return BAD
    if data[after] == COLON:
        if after - at == 1 and end - after < 6:  # 1:02 is too short for pydantic, 1:02:03 is not
            return BAD
        micros, after = after_hours(data, after, end, number)
        return micros if after == end else BAD
    at = after
    if data[at] == SPACE:
        at += 1
    if at == end or data[at] != LOWER_D:
        return BAD
    at += 1
    if end - at >= 2 and data[at] == LOWER_A and data[at + 1] == LOWER_Y:
        at += 2
        if at < end and data[at] == LOWER_S:
            at += 1
    if at < end and data[at] == COMMA:
        at += 1
    if at < end and data[at] == SPACE:
        at += 1
    if number > MAX_DAYS:
        return BAD
    if at == end:
        return number * DAY
    hours, after = _number(data, at, end)
    digits = after - at
    if hours < 0 or hours > 23 or digits > 2 or (digits == 1 and end - after < 6):
        return BAD
    micros, after = after_hours(data, after, end, hours)
    return number * DAY + micros if micros >= 0 and after == end else BAD


@kernel(BYTES, OFFSETS, OFFSETS, INT32, UINT8)
def parse_date(data: Bytes, starts: Offsets, ends: Offsets, out: Days, state: State) -> None:
    """``YYYY-MM-DD`` of a day that exists, in the years 1 to 9999.

    out: int32 (n,), days since 1970-01-01.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        start = int(starts[i]) & PLACE
        days = days_since_epoch(data, start) if int(ends[i]) - start == 10 else BAD
        if days == BAD:
            state[i] = UNSURE
        else:
            out[i] = days


@kernel(BYTES, OFFSETS, OFFSETS, INT64, INT32, UINT8, UINT8)
def parse_datetime(
    data: Bytes, starts: Offsets, ends: Offsets, out: Micros, offsets: Days, state: State, respelled: State
) -> None:
    """A date, or a date, one of ``T``, ``t``, blank, ``_``, and ``HH:MM[:SS[.f]][Z|z|+HH:MM|+HHMM]``.

    Digits after the sixth of a fraction are cut off, as pydantic does. A date alone is its midnight.

    out: int64 (n,), microseconds since 1970-01-01T00:00: of the wall clock if the datetime is naive, else in UTC.
    offsets: int32 (n,), seconds east of UTC; NAIVE for naive ones. Z, +00:00 and -00:00 are 0, and equal in Python.
    respelled: uint8 (n,), set to 1 for an accepted cell that is not, or may not be, spelled as it is written: with a T,
    seconds without a fraction, and no offset but Z.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        at = int(starts[i]) & PLACE
        end = int(ends[i])
        length = end - at
        state[i] = UNSURE
        if length < 10:
            continue
        days = days_since_epoch(data, at)
        if days == BAD:
            continue
        if length == 10:
            out[i] = days * DAY
            offsets[i] = NAIVE
            state[i] = SURE
            respelled[i] = 1
            continue
        mark = int(data[at + 10])
        if mark != UPPER_T and mark != SPACE and mark != LOWER_T and mark != UNDERSCORE:
            continue
        micros, at = clock(data, at + 11, end)
        offset = zone_offset(data, at, end)
        if micros < 0 or offset == BAD:
            continue
        micros += days * DAY
        if offset != NAIVE:
            micros -= offset * SECOND
            if micros < FIRST_INSTANT or micros > LAST_INSTANT:
                continue
        out[i] = micros
        offsets[i] = offset
        state[i] = SURE
        plain = length == 19 if offset == NAIVE else length == 20 and int(data[end - 1]) == UPPER_Z
        if mark != UPPER_T or not plain:
            respelled[i] = 1


@kernel(BYTES, OFFSETS, OFFSETS, INT64, UINT8)
def parse_time(data: Bytes, starts: Offsets, ends: Offsets, out: Micros, state: State) -> None:
    """``HH:MM[:SS[.f]]`` without a time zone. Digits after the sixth of a fraction are cut off, as pydantic does.

    out: int64 (n,), microseconds since midnight.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        end = int(ends[i])
        micros, after = clock(data, int(starts[i]) & PLACE, end)
        if micros < 0 or after != end:
            state[i] = UNSURE
        else:
            out[i] = micros


@kernel(BYTES, OFFSETS, OFFSETS, INT64, UINT8)
def parse_timedelta(data: Bytes, starts: Offsets, ends: Offsets, out: Micros, state: State) -> None:
    """ISO 8601 durations such as ``P1DT2H3.5S``, and ``[D day[s], ]HH:MM:SS[.f]`` as ``str(timedelta)`` writes them.

    A leading sign counts for the whole: ``-1 day, 01:00:00`` is minus 25 hours to pydantic; Python means minus 23.

    out: int64 (n,), microseconds.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        at = int(starts[i]) & PLACE
        end = int(ends[i])
        sign = int(data[at]) if at < end else 0
        if sign in (PLUS, DASH):
            at += 1
        if at < end and data[at] == UPPER_P:
            micros = _iso_duration(data, at + 1, end)
        else:
            micros = _days_and_clock(data, at, end)
        if micros < 0:
            state[i] = UNSURE
        else:
            out[i] = -micros if sign == DASH else micros
