"""Dates and times from text: whatever a kernel accepts is what pydantic makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.kernels.conftest import Column, RunKernel, byte_column
from tests.kernels.disturbed import SEED, disturbed_column, near_misses
from zoopipe_core.kernels._jit import SURE, UNSURE, Kernel
from zoopipe_core.kernels.temporal import NAIVE, parse_date, parse_datetime, parse_time, parse_timedelta

MICROSECOND = timedelta(microseconds=1)


def micros_and_offset(value: datetime) -> tuple[int, int]:
    offset = value.utcoffset()
    wall_clock = (value.replace(tzinfo=None) - datetime(1970, 1, 1)) // MICROSECOND
    return (
        (wall_clock, NAIVE) if offset is None else (wall_clock - offset // MICROSECOND, offset // timedelta(seconds=1))
    )


def micros_of_day(value: time) -> tuple[int]:
    assert value.tzinfo is None
    return ((datetime.combine(date.min, value) - datetime.min) // MICROSECOND,)


@dataclass(frozen=True)
class Case:
    """A kernel, the arrays it writes to, and what these hold for a value of pydantic."""

    kind: Any
    kernel: Kernel
    dtypes: tuple[str, ...]
    numbers: Callable[[Any], tuple[int, ...]]
    alphabet: str

    def run(self, run_kernel: RunKernel, column: Column) -> tuple[list[tuple[int, ...]], list[bool]]:
        """The numbers of each cell, and whether they are sure."""
        outputs = [np.zeros(len(column[1]), dtype) for dtype in self.dtypes]
        state = np.zeros(len(column[1]), np.uint8)
        marks = [np.zeros(len(column[1]), np.uint8)] if self.kernel is parse_datetime else []
        run_kernel(self.kernel, *column, *outputs, state, *marks)
        assert set(state.tolist()) <= {SURE, UNSURE}
        return list(zip(*(out.tolist() for out in outputs), strict=True)), (state == SURE).tolist()

    def run_texts(self, run_kernel: RunKernel, texts: Sequence[str]) -> tuple[list[tuple[int, ...]], list[bool]]:
        return self.run(run_kernel, byte_column([text.encode("utf-8", "surrogatepass") for text in texts]))

    def assert_pydantic_agrees(
        self, texts: Sequence[str], numbers: Sequence[tuple[int, ...]], sure: Sequence[bool]
    ) -> None:
        accepted = [(text, number) for text, number, certain in zip(texts, numbers, sure, strict=True) if certain]
        judged = TypeAdapter(list[self.kind]).validate_python([text for text, _ in accepted])
        for (text, number), value in zip(accepted, judged, strict=True):
            assert type(value) is self.kind
            assert number == self.numbers(value), f"{text!r}, seed {SEED}"


DATES = Case(date, parse_date, ("int32",), lambda value: (value.toordinal() - 719_163,), "0123459-/T:. ")
DATETIMES = Case(datetime, parse_datetime, ("int64", "int32"), micros_and_offset, "0123456789-+:.,TtZz_ ")
TIMES = Case(time, parse_time, ("int64",), micros_of_day, "0123456789:.,+-Z ")
TIMEDELTAS = Case(
    timedelta, parse_timedelta, ("int64",), lambda value: (value // MICROSECOND,), "019PTYMWDHS:.,+- days"
)
CASES = {"date": DATES, "datetime": DATETIMES, "time": TIMES, "timedelta": TIMEDELTAS}

PLAIN = {
    "date": ["1970-01-01", "1969-12-31", "0001-01-01", "9999-12-31", "2024-02-29", "2000-02-29", "2023-12-31"],
    "datetime": [
        "1970-01-01T00:00:00", "1969-12-31T23:59:59.999999", "0001-01-01T00:00:00", "9999-12-31T23:59:59.999999",
        "2024-02-29", "2024-02-29T10:11", "2024-02-29t10:11:12", "2024-02-29 10:11:12", "2024-02-29_10:11:12",
        "2013-01-01T10:00:00Z", "2013-01-01T10:00:00z", "2013-01-01T10:00:00+00:00", "2013-01-01T10:00:00-00:00",
        "2013-01-01T10:00:00+02:00", "2013-01-01T10:00:00-0930", "2013-01-01T10:00:00+23:59", "2013-01-01T10:00Z",
        "2013-01-01 10:00+05:30", "2013-01-01T10:00:00.1", "2013-01-01T10:00:00,12", "2013-01-01T10:00:00.123Z",
        "2013-01-01T10:00:00.123456+01:00", "2013-01-01T10:00:00.1234567Z", "2013-01-01T10:00:00.99999999999999",
        "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T02:00:00+02:00", "0001-01-01T00:00:00-02:00",
    ],
    "time": [
        "00:00", "23:59", "10:11:12", "23:59:59.999999", "10:11:12.5", "10:11:12,25", "10:11:12.1234567",
        "00:00:00.000001", "10:11:12.12345678901234567890",
    ],
    "timedelta": [
        "P1D", "P1Y", "P1M", "P1W", "PT1H", "PT1M", "PT1S", "PT1.5S", "PT0,000001S", "P1Y2M3W4DT5H6M7.891S", "-P1D",
        "+P1D", "P1DT", "P1D1Y", "P1D1D", "P001D", "-P0D", "PT36H", "P99999999D", "PT99999999S", "PT0.999999S",
        "1 day", "2 days", "1 day, 1:02:03", "2 days, 01:02:03.5", "1 day 01:02", "1d", "1 d 01:02:03", "-1 day",
        "-1 day, 1:02:03", "+1 day", "1 day,01:02:03", "1 days,", "1 days, ", "01:02:03", "1:02:03", "01:02",
        "25:00:00", "123:45", "99999999:00:00", "-01:02:03", "+0:00:01", "00:00:00.1234567", "-00:00:00.5", "0:00:00",
    ],
}  # fmt: skip
OTHERS = {
    "date": [
        "", "2023-02-29", "1900-02-29", "2024-02-30", "2024-04-31", "2024-06-31", "2024-09-31", "2024-11-31",
        "2024-01-32", "2024-00-01", "2024-13-01", "2024-01-00", "0000-01-01", "2024-1-01", "2024-01-1", "24-01-01",
        "2024/01/01", "20240101", "2024-01-01 ", " 2024-01-01", "2024-01-01T00:00:00", "0", "1700000000", "+024-01-01",
        "-024-01-01", "2024-01-0\x00", "10000-01-01", "２０２４-01-01", "n/a", "2024_01_01", "2024-01:01", "02024-1-1",
    ],
    "datetime": [
        "", "2024-02-30T10:11:12", "2024-02-29T24:00:00", "2024-02-29T10:60:00", "2024-02-29T10:11:60", "2024-02-29T",
        "2024-02-29T10", "2024-02-29T10:1", "2024-02-29T1:11", "2024-02-29-10:11:12", "2024-02-29T10:11:12.",
        "2024-02-29T10:11:12.Z", "2024-02-29T10:11:", "2024-02-29T10:11:1", "2024-02-29T10:11.5", "2024-02-29Z",
        "2024-02-29T10:11:12+24:00", "2024-02-29T10:11:12+02:60", "2024-02-29T10:11:12+02", "2024-02-29T10:11:12+2:00",
        "2024-02-29T10:11:12 Z", "2024-02-29T10:11:12Zz", "2024-02-29T10:11:12\u221202:30", "2024-02-29T10:11:12 ",
        "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-02:00", "0000-01-01T00:00:00", "2024-02-29T101112",
        "1700000000", "1700000000.5", "2024-02-29T10:11:12+0200 ", "2024-02-29T10:11:12+02:00:00", "20240229T101112Z",
    ],
    "time": [
        "", "24:00", "10:60", "10:11:60", "1:11", "10:1", "10:11:1", "10:11:", "10:11:12.", "10:11:12 ", " 10:11",
        "10:11.5", "10:11Z", "10:11:12+00:00", "T10:11", "1011", "36000", "-1:00:00", "10:11:12.5Z", "１0:11",
    ],
    "timedelta": [
        "", "P", "-P", "PT", "-PT", "P1", "P1H", "P1S", "PT1D", "P-1D", "p1d", "P1DT1HT1M", "PT1.5H", "P1.5D", "PT1.S",
        "PT.5S", "PT0.1234567S", "PT1.5S1H", "PT1H30", " P1D", "P1D ", "P999999999D", "-P999999999D", "P106000001D",
        "P100000000D", "PT1000000000S", "30", "1.5", "1:02", "-1:02", "1 day, 1:02", "1 day, 24:00:00",
        "1 day 100:00:00", "1 day +01:02:03", "1  day", "1 day  01:02:03", "1 da", "1 02:03:04", "1 week", "01:60:00",
        "01:02:60", "01:02:03.", "01:02:03Z", "100000000:00:00", "999999999 days", "-999999999 days, 00:00:01", "-",
        "+", "--1 day", "1 dayss", "1 day,,", "day",
    ],
}  # fmt: skip

fractions = st.sampled_from(["", ".5", ".25", ".123", ",123456", ".1234567", ".000001"])
zones = st.sampled_from(["", "", "Z", "z", "+00:00", "-00:00", "+02:00", "-0930", "+14:00"])
clocks = st.builds(
    lambda at, seconds, part: at.isoformat(timespec="seconds") + part if seconds else at.isoformat(timespec="minutes"),
    st.times(),
    st.booleans(),
    fractions,
)
days = st.dates().map(str) | st.sampled_from(["2024-02-29", "2024-02-30", "0001-01-01", "9999-12-31", "2023-11-31"])
numbers = st.integers(0, 10**9).map(str) | st.integers(0, 40).map(str)
isos = st.builds(
    lambda sign, parts, time_parts, last: (
        sign + "P" + "".join(parts) + "T" * bool(time_parts or last) + "".join(time_parts) + last
    ),
    st.sampled_from(["", "-", "+"]),
    st.lists(st.builds(str.__add__, numbers, st.sampled_from("YMWD")), max_size=3),
    st.lists(st.builds(str.__add__, numbers, st.sampled_from("HMS")), max_size=3),
    st.sampled_from(["", "", "1.5S", "0.000001S"]),
)
spelled = st.builds(
    lambda days, word, comma, clock: days + word + comma + clock,
    st.integers(-(10**9), 10**9).map(str) | st.integers(-9, 40).map(str),
    st.sampled_from([" day", " days", "d", " d", "day", " Days"]),
    st.sampled_from(["", ",", ", ", " "]),
    clocks | st.sampled_from(["", "1:02:03"]),
)
TEXTS = {
    "date": days,
    "datetime": st.builds("".join, st.tuples(days, st.sampled_from("T t_"), clocks, zones)) | days,
    "time": clocks,
    "timedelta": isos | spelled | clocks | st.timedeltas().map(str) | numbers.map(lambda hours: f"{hours}:30:15"),
}


def test_datetimes_that_are_spelled_as_they_are_written_are_known(run_kernel: RunKernel) -> None:
    plain = ["2013-01-01T10:00:00Z", "2024-02-29T23:59:59", "0001-01-01T00:00:00"]
    others = ["2013-01-01 10:00:00Z", "2013-01-01T10:00:00z", "2013-01-01T10:00", "2024-02-29", "2013-01-01T10:00:00.5"]
    others += ["2013-01-01T10:00:00+00:00", "2013-01-01t10:00:00", "2013-01-01T10:00Z", "2013-01-01T10:00:00.000000Z"]
    texts = [text.encode() for text in [*plain, *others]]
    outputs = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int32)
    state, respelled = np.zeros((2, len(texts)), np.uint8)
    run_kernel(parse_datetime, *byte_column(texts), *outputs, state, respelled)
    assert not state.any()
    assert respelled.tolist() == [0] * len(plain) + [1] * len(others)
    for text in plain:
        assert TypeAdapter(datetime).dump_json(TypeAdapter(datetime).validate_python(text)).decode() == f'"{text}"'


@pytest.mark.parametrize("name", CASES)
def test_plain_spellings_are_sure(name: str, run_kernel: RunKernel) -> None:
    values, sure = CASES[name].run_texts(run_kernel, PLAIN[name])
    assert [text for text, certain in zip(PLAIN[name], sure, strict=True) if not certain] == []
    CASES[name].assert_pydantic_agrees(PLAIN[name], values, sure)


@pytest.mark.parametrize("name", CASES)
def test_all_others_are_left_to_pydantic(name: str, run_kernel: RunKernel) -> None:
    _, sure = CASES[name].run_texts(run_kernel, OTHERS[name])
    assert [text for text, certain in zip(OTHERS[name], sure, strict=True) if certain] == []


@pytest.mark.parametrize("name", CASES)
@given(data=st.data())
def test_an_accepted_text_has_pydantics_value(name: str, run_kernel: RunKernel, data: st.DataObject) -> None:
    case = CASES[name]
    texts = data.draw(st.lists(near_misses(TEXTS[name], case.alphabet), max_size=20))
    case.assert_pydantic_agrees(texts, *case.run_texts(run_kernel, texts))


@given(values=st.lists(st.dates()))
def test_every_date_is_sure(values: list[date], run_kernel: RunKernel) -> None:
    numbers, sure = DATES.run_texts(run_kernel, [str(value) for value in values])
    assert all(sure)
    assert numbers == [DATES.numbers(value) for value in values]


@given(values=st.lists(st.datetimes()), separator=st.sampled_from("T "))
def test_every_datetime_is_sure(values: list[datetime], separator: str, run_kernel: RunKernel) -> None:
    numbers, sure = DATETIMES.run_texts(run_kernel, [value.isoformat(separator) for value in values])
    assert all(sure)
    assert numbers == [micros_and_offset(value) for value in values]


@given(values=st.lists(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29))), minutes=st.integers(-1439, 1439))
def test_every_datetime_with_an_offset_is_sure(values: list[datetime], minutes: int, run_kernel: RunKernel) -> None:
    zoned = [value.replace(tzinfo=timezone(timedelta(minutes=minutes))) for value in values]
    numbers, sure = DATETIMES.run_texts(run_kernel, [value.isoformat() for value in zoned])
    assert all(sure)
    assert numbers == [micros_and_offset(value) for value in zoned]


@given(values=st.lists(st.times()))
def test_every_time_is_sure(values: list[time], run_kernel: RunKernel) -> None:
    numbers, sure = TIMES.run_texts(run_kernel, [str(value) for value in values])
    assert all(sure)
    assert numbers == [micros_of_day(value) for value in values]


@given(values=st.lists(st.timedeltas(timedelta(), timedelta(days=99_999_999))))
def test_every_positive_timedelta_is_sure(values: list[timedelta], run_kernel: RunKernel) -> None:
    numbers, sure = TIMEDELTAS.run_texts(run_kernel, [str(value) for value in values])
    assert all(sure)
    assert numbers == [TIMEDELTAS.numbers(value) for value in values]


@given(values=st.lists(st.timedeltas(timedelta(days=-99_999_999), timedelta(days=99_999_999))))
def test_every_timedelta_as_pydantic_writes_it_is_sure(values: list[timedelta], run_kernel: RunKernel) -> None:
    texts = TypeAdapter(list[timedelta]).dump_python(values, mode="json")
    numbers, sure = TIMEDELTAS.run_texts(run_kernel, texts)
    assert all(sure)
    assert numbers == [TIMEDELTAS.numbers(value) for value in values]


def test_every_day_of_the_calendar_is_sure(run_compiled: RunKernel) -> None:
    days = np.arange(-719_162, 2_932_897, dtype=np.int32)
    texts = np.datetime_as_string(days.astype("datetime64[D]")).astype("S10")
    starts = np.arange(0, 10 * len(days), 10, dtype=np.int32)
    out, state = np.zeros(len(days), np.int32), np.zeros(len(days), np.uint8)
    run_compiled(parse_date, np.frombuffer(texts.tobytes(), np.uint8), starts, starts + np.int32(10), out, state)
    assert not state.any()
    assert np.array_equal(out, days)


def test_days_that_do_not_exist_are_never_sure(run_compiled: RunKernel) -> None:
    years = ("0000", "0001", "0004", "1900", "2000", "2023", "2024", "2100", "9999")
    texts = [f"{year}-{month:02}-{day:02}" for year in years for month in range(100) for day in range(100)]
    numbers, sure = DATES.run_texts(run_compiled, texts)
    DATES.assert_pydantic_agrees(texts, numbers, sure)
    assert sum(sure) == 5 * 365 + 3 * 366


def many_texts(name: str, count: int) -> list[str]:
    rng = np.random.default_rng(SEED)
    micros = rng.integers(-62_135_596_800_000_000, 253_402_300_800_000_000, count)
    full = np.datetime_as_string(micros.astype("datetime64[us]")).tolist()
    if name == "date":
        return [text[:10] for text in full]
    if name == "time":
        widths = rng.choice([5, 8, 12, 15], count).tolist()
        return [text[11 : 11 + width] for text, width in zip(full, widths, strict=True)]
    if name == "datetime":
        widths = rng.choice([10, 16, 19, 19, 23, 26], count).tolist()
        suffixes = rng.choice(["", "", "Z", "+00:00", "+02:00", "-0930", ".5", "789"], count).tolist()
        return [text[:width] + suffix for text, width, suffix in zip(full, widths, suffixes, strict=True)]
    spans = [timedelta(days=d, seconds=s) for d, s in rng.integers(0, 86_400, (count // 2, 2)).tolist()]
    written = TypeAdapter(list[timedelta]).dump_python(spans, mode="json")
    return [*map(str, spans), *written]


@pytest.mark.parametrize("name", CASES)
def test_among_a_million_disturbed_texts_none_is_mistaken(name: str, run_compiled: RunKernel) -> None:
    column = disturbed_column([text.encode() for text in many_texts(name, 250_000)], CASES[name].alphabet.encode())
    numbers, sure = CASES[name].run(run_compiled, column)
    data, starts, ends = column
    whole = data.tobytes().decode()
    texts = [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    CASES[name].assert_pydantic_agrees(texts, numbers, sure)
    assert sum(sure) > 100_000


@pytest.mark.parametrize("name", CASES)
def test_cells_that_are_not_sure_on_entry_are_passed_over(name: str, run_kernel: RunKernel) -> None:
    case, text = CASES[name], PLAIN[name][-1].encode()
    outputs = [np.full(4, 99, dtype) for dtype in case.dtypes]
    state = np.array([UNSURE, SURE, UNSURE, SURE], np.uint8)
    marks = [np.zeros(4, np.uint8)] if case is DATETIMES else []
    run_kernel(case.kernel, *byte_column([text, text, b"?", b"?"]), *outputs, state, *marks)
    assert state.tolist() == [UNSURE, SURE, UNSURE, UNSURE]
    for out in outputs:
        assert out[0] == out[2] == 99


@pytest.mark.parametrize("name", CASES)
def test_a_column_may_be_empty(name: str, run_kernel: RunKernel) -> None:
    assert CASES[name].run_texts(run_kernel, []) == ([], [])


@pytest.mark.parametrize("name", CASES)
def test_cells_may_lie_anywhere_between_other_bytes(name: str, run_kernel: RunKernel) -> None:
    text = PLAIN[name][2]
    whole = f"20{text}1{text}".encode()
    second = len(whole) - len(text)
    starts = np.array([second, 2, 1, len(whole)], np.int32)
    ends = np.array([len(whole), 2 + len(text), 1, len(whole)], np.int32)
    numbers, sure = CASES[name].run(run_kernel, (np.frombuffer(whole, np.uint8), starts, ends))
    assert sure == [True, True, False, False]
    CASES[name].assert_pydantic_agrees([text, text], numbers[:2], [True, True])
