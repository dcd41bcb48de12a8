"""Dates, times and durations as text: byte for byte what pydantic writes to JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from tests.kernels.conftest import RunKernel
from tests.kernels.disturbed import SEED
from tests.kernels.formatted import form_of, write_cells
from zoopipe_core.kernels.emit import size_fixed
from zoopipe_core.kernels.format_temporal import (
    size_duration,
    size_micros,
    write_date,
    write_duration,
    write_time,
    write_timestamp,
)

EPOCH = date(1970, 1, 1).toordinal()
MICROSECOND = timedelta(microseconds=1)
MIDNIGHT = datetime(1970, 1, 1)
LONGEST = 2**63 - 1

quotes = pytest.mark.parametrize("quote", [0, ord('"')])
naive = st.datetimes() | st.datetimes().map(lambda value: value.replace(microsecond=0))
spans = st.integers(-LONGEST, LONGEST) | st.integers(-(10**13), 10**13) | st.integers(-3, 3).map(lambda n: n * 10**6)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, max_size=30)


def expected(values: Sequence[Any], quote: int) -> list[bytes]:
    texts = [to_json(value) for value in values]
    return texts if quote else [text.strip(b'"') for text in texts]


def format_dates(run_kernel: RunKernel, values: Sequence[date | None], quote: int) -> list[bytes]:
    days = np.array([2**31 - 1 if value is None else value.toordinal() - EPOCH for value in values], np.int32)
    form, width = form_of([value is not None for value in values]), 10 + 2 * (quote > 0)
    return write_cells(
        run_kernel, len(values), (size_fixed, lambda sizes: (form, width, 4, sizes)), (write_date, (days, form, quote))
    )


def format_timestamps(run_kernel: RunKernel, values: Sequence[datetime | None], utc: bool, quote: int) -> list[bytes]:
    micros = np.array([LONGEST if value is None else (value - MIDNIGHT) // MICROSECOND for value in values], np.int64)
    form, width = form_of([value is not None for value in values]), 19 + utc + 2 * (quote > 0)
    return write_cells(
        run_kernel,
        len(values),
        (size_micros, lambda sizes: (micros, form, width, 4, sizes)),
        (write_timestamp, (micros, form, int(utc), quote)),
    )


def format_durations(run_kernel: RunKernel, values: Sequence[int | None], quote: int) -> list[bytes]:
    micros = np.array([LONGEST if value is None else value for value in values], np.int64)
    form, width = form_of([value is not None for value in values]), 2 * (quote > 0)
    return write_cells(
        run_kernel,
        len(values),
        (size_duration, lambda sizes: (micros, form, width, 4, sizes)),
        (write_duration, (micros, form, quote)),
    )


@pytest.mark.parametrize("year", [1, 4, 100, 400, 1582, 1600, 1899, 1900, 1969, 1970, 2000, 2023, 2024, 2100, 9999])
def test_every_day_of_a_year_is_written(year: int, run_kernel: RunKernel) -> None:
    first, last = date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal()
    days = [date.fromordinal(number) for number in range(first, last + 1)]
    assert format_dates(run_kernel, days, 0) == [day.isoformat().encode() for day in days]


def test_every_day_that_python_has_is_written(run_compiled: RunKernel) -> None:
    days = [date.fromordinal(number) for number in range(1, date.max.toordinal() + 1)]
    assert format_dates(run_compiled, days, 0) == [day.isoformat().encode() for day in days]


@quotes
@given(values=optional(st.dates()))
def test_any_dates_are_written_as_pydantic_writes_them(
    values: list[date | None], quote: int, run_kernel: RunKernel
) -> None:
    assert format_dates(run_kernel, values, quote) == expected(values, quote)


@quotes
@pytest.mark.parametrize("utc", [False, True])
@given(values=optional(naive | st.sampled_from([datetime.min, datetime.max, MIDNIGHT, MIDNIGHT - MICROSECOND])))
def test_any_timestamps_are_written_as_pydantic_writes_them(
    values: list[datetime | None], utc: bool, quote: int, run_kernel: RunKernel
) -> None:
    aware = [value and value.replace(tzinfo=UTC) for value in values]
    assert format_timestamps(run_kernel, values, utc, quote) == expected(aware if utc else values, quote)


@quotes
@given(values=optional(st.times() | st.sampled_from([time.min, time.max, time(12, 30), time(0, 0, 0, 100)])))
def test_any_times_are_written_as_pydantic_writes_them(
    values: list[time | None], quote: int, run_kernel: RunKernel
) -> None:
    starts = [MIDNIGHT if value is None else datetime.combine(MIDNIGHT, value) for value in values]
    micros = np.array([(value - MIDNIGHT) // MICROSECOND for value in starts], np.int64)
    form, width = form_of([value is not None for value in values]), 8 + 2 * (quote > 0)
    found = write_cells(
        run_kernel,
        len(values),
        (size_micros, lambda sizes: (micros, form, width, 4, sizes)),
        (write_time, (micros, form, quote)),
    )
    assert found == expected(values, quote)


@quotes
@given(values=optional(spans))
def test_any_durations_are_written_as_pydantic_writes_them(
    values: list[int | None], quote: int, run_kernel: RunKernel
) -> None:
    exact = [None if value is None else value * MICROSECOND for value in values]
    assert format_durations(run_kernel, values, quote) == expected(exact, quote)


def test_durations_at_the_corners_are_written_as_pydantic_writes_them(run_kernel: RunKernel) -> None:
    second, day = 10**6, 86_400 * 10**6
    units = [1, 10, 100_000, second, 60 * second, 3600 * second, day, 365 * day]
    values = [0, LONGEST, -LONGEST - 1, *[s * (k * unit + d) for unit in units for k in (1, 2, 59) for d in (-1, 0, 1)
                                          for s in (1, -1)]]  # fmt: skip
    exact = [timedelta(microseconds=value) for value in values]
    assert format_durations(run_kernel, values, 0) == expected(exact, 0)


def test_among_many_timestamps_none_is_mistaken(run_compiled: RunKernel) -> None:
    rng = np.random.default_rng(SEED)
    low, high = (datetime.min - MIDNIGHT) // MICROSECOND, (datetime.max - MIDNIGHT) // MICROSECOND
    values = [MIDNIGHT + timedelta(microseconds=n) for n in rng.integers(low, high, 50_000, endpoint=True).tolist()]
    assert format_timestamps(run_compiled, values, False, 0) == [v.isoformat().encode() for v in values]
