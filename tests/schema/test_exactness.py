"""A million cells of every kind, judged by kernels, against pydantic on each of them.

The cells are new each day: the seed is the date, and is printed at the end of the run. To repeat a day's run:
``ZOOPIPE_TEST_SEED=2026-01-31 python -m pytest tests/schema/test_exactness.py``.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import re
import warnings
from collections.abc import Callable
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    NaiveDatetime,
    StrictFloat,
    StrictInt,
    StringConstraints,
    create_model,
)

from tests.schema.oracle import assert_same_verdicts, json_batch, text_batch, typed_batch, verdicts_of_zoopipe

SEED = os.environ.get("ZOOPIPE_TEST_SEED") or dt.datetime.now(dt.UTC).date().isoformat()
CELLS = 2_400
"""Text cells for each type."""

BERLIN = ZoneInfo("Europe/Berlin")
SUMMER_IN_BERLIN = dt.datetime(2024, 7, 1, tzinfo=BERLIN)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def _kernels(use_kernels: None) -> None:
    return


class Colour(Enum):
    RED = "red"
    GREEN = "green"
    NUMBER = "12"


class Level(IntEnum):
    LOW = 1
    HIGH = 3
    DEEP = -7


def constrained(kind: Any, **constraints: Any) -> Any:
    return Annotated[kind, StringConstraints(**constraints) if kind is str else Field(**constraints)]


NUMBERS = [
    int,
    int | None,
    constrained(int, ge=-5, lt=100),
    constrained(int, gt=-(2**63), le=2**63 - 1),
    constrained(int, multiple_of=7),
    constrained(int, ge=0, le=150, multiple_of=3),
    StrictInt,
    float,
    float | None,
    constrained(float, gt=0, le=1e6),
    constrained(float, ge=-0.5, lt=12),
    constrained(float, allow_inf_nan=False),
    constrained(float, multiple_of=0.1),
    constrained(float | None, multiple_of=0.25, gt=-1000),
    constrained(float, multiple_of=3, allow_inf_nan=False),
    constrained(float, multiple_of=2e-9),
    StrictFloat,
    bool,
    Decimal,
    constrained(Decimal, max_digits=8, decimal_places=2),
    constrained(Decimal, decimal_places=3),
    constrained(Decimal, gt=Decimal("-1.5"), le=1000),
    Level,
    Literal[1, 2],
]
TIMES = [
    dt.date,
    constrained(dt.date, ge=dt.date(2000, 1, 1), lt=dt.date(2030, 2, 28)),
    dt.datetime,
    dt.datetime | None,
    AwareDatetime,
    NaiveDatetime,
    constrained(dt.datetime, gt=dt.datetime(1970, 1, 1, 0, 0, 0, 5), le=dt.datetime(2024, 2, 29, 12)),
    constrained(
        dt.datetime | None, ge=dt.datetime(1900, 1, 1, tzinfo=dt.UTC), lt=dt.datetime(2024, 7, 1, tzinfo=BERLIN)
    ),
    constrained(dt.datetime, lt=dt.datetime(2000, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=-5, seconds=7)))),
    constrained(dt.datetime, ge=dt.datetime(2000, 1, 1), lt=dt.datetime(2030, 1, 1, tzinfo=dt.UTC)),
    constrained(AwareDatetime, le=dt.datetime.max.replace(tzinfo=dt.UTC), gt=dt.datetime(1969, 12, 31, tzinfo=BERLIN)),
    constrained(NaiveDatetime, lt=dt.datetime(2024, 1, 1), gt=dt.datetime(1582, 10, 4)),
    dt.time,
    constrained(dt.time, ge=dt.time(6, 30), lt=dt.time(22, 0, 0, 1)),
    constrained(dt.time, gt=dt.time(6, tzinfo=dt.UTC)),
    dt.timedelta,
    constrained(dt.timedelta, gt=dt.timedelta(0), le=dt.timedelta(days=3)),
]
TEXTS = [
    str,
    str | None,
    constrained(str, min_length=2, max_length=3),
    constrained(str, strip_whitespace=True, min_length=1),
    constrained(str, strip_whitespace=True, to_lower=True, max_length=5),
    constrained(str, to_upper=True),
    constrained(str, pattern=r"^[A-Z]{2}\d*$"),
    constrained(str, pattern=r"[a-z]+$|^\W", strip_whitespace=True, to_upper=True),
    constrained(str | None, pattern=r"^\S*\s?\S*$", max_length=10),
    constrained(str, pattern=re.compile(r"\d\s|\D$")),
    constrained(str, pattern=r"\b(re|gr)[a-z]+"),
    Colour,
    Literal["red", "12", "é"],
    UUID,
]
CONFIGS: list[dict[str, Any]] = [
    {},
    {"str_strip_whitespace": True},
    {"str_to_lower": True, "str_min_length": 2},
    {"strict": True},
    {"coerce_numbers_to_str": True, "extra": "forbid", "regex_engine": "python-re"},
]


# ---- cells --------------------------------------------------------------------------------------------------------


def digits(rng: random.Random, most: int = 20) -> str:
    return "".join(rng.choice("0123456789") for _ in range(rng.choice([1, 1, 2, 3, 4, 8, 15, 16, 17, 18, 19, most])))


def number_text(rng: random.Random) -> str:
    text = rng.choice(["", "", "", "-", "+"]) + digits(rng)
    if rng.random() < 0.5:
        text += "." + rng.choice(["", "0", "00", digits(rng)])
    if rng.random() < 0.15:
        text += rng.choice("eE") + rng.choice(["", "-", "+"]) + digits(rng, 3)[:3]
    return text


def multiple_text(rng: random.Random) -> str:
    """A multiple of something, or what is a little beside it."""
    value = rng.randint(-(10 ** rng.randint(0, 16)), 10 ** rng.randint(0, 16)) * rng.choice([0.1, 0.25, 3, 2e-9, 1e-9])
    return repr(value + rng.choice([0, 0, 1, -1]) * 10 ** rng.uniform(-11, -7))


def repr_of_float(rng: random.Random) -> str:
    return repr(rng.choice([rng.uniform(-1e3, 1e3), rng.gauss(0, 1) * 10 ** rng.randint(-320, 300), rng.random()]))


def date_text(rng: random.Random) -> str:
    year = rng.choice([1, 1582, 1900, 1970, 2000, 2024, 9999, rng.randint(1, 9999)])
    return f"{year:04}-{rng.randint(0, 13):02}-{rng.choice([0, 1, 28, 29, 30, 31, 32, rng.randint(1, 28)]):02}"


def time_text(rng: random.Random) -> str:
    text = f"{rng.randint(0, 24):02}:{rng.randint(0, 60):02}"
    if rng.random() < 0.8:
        text += f":{rng.randint(0, 60):02}"
        if rng.random() < 0.5:
            text += rng.choice(".,") + digits(rng)[:9]
    return text


def datetime_text(rng: random.Random) -> str:
    zone = rng.choice(["", "", "Z", "z", "+00:00", "-00:00", "+02:00", "-0530", "+24:00", " "])
    return date_text(rng) + rng.choice("TTTt _") + time_text(rng) + zone


AT_BOUNDS = [
    "1970-01-01T00:00:00.000005", "1970-01-01T00:00:00.000006", "2024-02-29T12:00:00", "2024-02-29T12:00:00.0000001",
    "2024-06-30T22:00:00Z", "2024-06-30T23:59:59.999999+02:00", "2024-06-30T21:59:59.999999Z", "1900-01-01T00:00Z",
    "2000-01-01T04:59:53Z", "2000-01-01T04:59:52.999999Z", "9999-12-31T23:59:59.999999Z", "1969-12-30T23:00:00Z",
    "1969-12-30T23:00:00.000001Z", "1582-10-04", "2024-01-01", "2023-12-31T23:59:59.999999", "06:30", "06:29:59.999999",
    "22:00:00.000001", "22:00:00", "06:00Z", "06:00:01Z", "2000-01-01", "2030-02-28", "2030-02-27",
]  # fmt: skip


def bound_text(rng: random.Random) -> str:
    """A moment at one of the bounds above, or right beside it."""
    return rng.choice(AT_BOUNDS)


def duration_text(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return rng.choice(["", "-"]) + f"P{rng.randint(0, 9)}DT{rng.randint(0, 99)}H{number_text(rng)}S"
    return rng.choice(["", "-", f"{rng.randint(0, 5)} days, ", f"{rng.randint(0, 5)}d "]) + time_text(rng)


def uuid_text(rng: random.Random) -> str:
    text = str(UUID(int=rng.getrandbits(128)))
    return rng.choice([text, text, text.upper(), text.replace("-", ""), "{" + text + "}", "urn:uuid:" + text])


WORDS = [
    "", "true", "False", "yes", "OFF", "on", "n", "T", "red", "green", "12", "é", "Ünïcode", "DE", "AB12", "NA", "nan",
    "inf", "-Infinity", "1_000", "٣", "None", "null", "x" * 40, "\x00", "a\nb", " padded ", "\u2003wide\u00a0", "\x1fx",
    "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "-0", "-0.0", "+7",
    "1e400", "5e-324", "2.2250738585072011e-308", "10.357019999999999", "0.1", "00012", "1.", ".5", "𝟙", "日本",
]  # fmt: skip


def word(rng: random.Random) -> str:
    return rng.choice(WORDS)


GRAMMARS: list[Callable[[random.Random], str]] = [
    number_text, repr_of_float, date_text, time_text, datetime_text, duration_text, uuid_text, word,
]  # fmt: skip
ALPHABET = "0123456789+-.:TZ eEPDHMS_,/ \t\naAfFé\u2003\x00"


def mutated(rng: random.Random, text: str) -> str:
    at = rng.randint(0, len(text))
    how = rng.randrange(3)
    return text[:at] + ("" if how == 0 else rng.choice(ALPHABET)) + text[at + (how < 2) :]


def text_cells(rng: random.Random, favourites: list[Callable[[random.Random], str]], count: int) -> list[str | None]:
    cells: list[str | None] = []
    for _ in range(count):
        text = rng.choice(favourites if rng.random() < 0.7 else GRAMMARS)(rng)
        if rng.random() < 0.15:
            text = mutated(rng, text)
        cells.append(None if rng.random() < 0.02 else text)
    return cells


def fields() -> list[tuple[Any, list[Callable[[random.Random], str]]]]:
    return [
        *((kind, [number_text, repr_of_float, multiple_text, word]) for kind in NUMBERS),
        *((kind, [date_text, time_text, datetime_text, duration_text, bound_text]) for kind in TIMES),
        *((kind, [word, uuid_text, number_text]) for kind in TEXTS),
    ]


def model_of(kind: Any, config: dict[str, Any]) -> type[BaseModel]:
    return create_model("Cell", __config__=ConfigDict(**config), cell=(kind, ...))


@pytest.mark.parametrize(("kind", "favourites"), fields(), ids=[str(kind) for kind, _ in fields()])
def test_every_text_gets_pydantics_verdict_value_and_errors(
    kind: Any, favourites: list[Any], count_cells: Callable[[int], None]
) -> None:
    rng = random.Random(f"{SEED} {kind}")
    for config in CONFIGS:
        cells = text_cells(rng, favourites, CELLS if not config else CELLS // 4)
        assert_same_verdicts(model_of(kind, config), text_batch({"cell": cells}), [{"cell": cell} for cell in cells])
        count_cells(len(cells))


# ---- cells with types of their own --------------------------------------------------------------------------------


def with_nulls(rng: np.random.Generator, values: np.ndarray[Any, Any], kind: pa.DataType) -> pa.Array:
    return pa.array(values, mask=rng.random(len(values)) < 0.05).cast(kind, safe=False)


def typed_columns(rng: np.random.Generator, count: int) -> list[pa.Array]:
    small = rng.integers(-3, 160, count)
    wide = rng.integers(-(2**63), 2**63 - 1, count)
    doubles = rng.choice([0.0, -0.0, 1.0, 2.0, 0.5, np.nan, np.inf, -np.inf, 1e300, 2.0**63, -(2.0**63), 7.0], count)
    micros = rng.integers(-(10**15), 4 * 10**15, count)
    texts = np.array([*WORDS, "2024-02-29", "2024-01-01T00:00:00Z", "12:30", "P1D"], object)
    return [
        with_nulls(rng, small, pa.int8()),
        with_nulls(rng, small, pa.int64()),
        with_nulls(rng, wide, pa.int64()),
        with_nulls(rng, rng.integers(0, 2**64 - 1, count, np.uint64), pa.uint64()),
        with_nulls(rng, doubles, pa.float64()),
        with_nulls(rng, rng.normal(0, 50, count), pa.float64()),
        with_nulls(rng, rng.normal(0, 50, count), pa.float32()),
        with_nulls(rng, rng.integers(-1000, 1000, count) * rng.choice([0.1, 0.25, 3, 2e-9], count), pa.float64()),
        with_nulls(rng, rng.random(count) < 0.5, pa.bool_()),
        with_nulls(rng, rng.integers(-700_000, 2_900_000, count, np.int32), pa.int32()).cast(pa.date32()),
        with_nulls(rng, micros, pa.int64()).cast(pa.timestamp("us")),
        with_nulls(rng, micros, pa.int64()).cast(pa.timestamp("us", "UTC")),
        with_nulls(rng, micros // 10**6, pa.int64()).cast(pa.timestamp("s", "UTC")),
        with_nulls(rng, micros // 10**6, pa.int64()).cast(pa.timestamp("s")),
        with_nulls(rng, rng.integers(0, 86_400_000_000, count), pa.int64()).cast(pa.time64("us")),
        with_nulls(rng, micros, pa.int64()).cast(pa.duration("us")),
        with_nulls(rng, small, pa.int64()).cast(pa.decimal128(38, 9)),
        with_nulls(rng, small, pa.int64()).cast(pa.decimal128(21, 2)),
        pa.array(texts[rng.integers(0, len(texts), count)], pa.string()),
    ]


@pytest.mark.parametrize("kind", [kind for kind, _ in fields()], ids=str)
def test_every_typed_cell_gets_pydantics_verdict_value_and_errors(
    kind: Any, count_cells: Callable[[int], None]
) -> None:
    rng = np.random.default_rng([ord(letter) for letter in f"{SEED} {kind}"])
    for config in ({}, {"strict": True}):
        for column in typed_columns(rng, 400):
            sliced = column.slice(13)
            rows = [{"cell": value} for value in sliced.to_pylist()]
            assert_same_verdicts(model_of(kind, config), typed_batch(pa.table({"cell": sliced})), rows)
            count_cells(len(rows))


CALENDAR_SECONDS = [0, 253_402_300_799, 253_402_500_000, None, -62_135_596_800, -62_135_800_000]


@pytest.mark.parametrize("kind", [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")], ids=str)
def test_days_outside_of_pythons_calendar_reject_their_rows(kind: pa.DataType) -> None:
    if kind == pa.date32():
        column = pa.array([second and second // 86_400 for second in CALENDAR_SECONDS], pa.int32()).cast(kind)
    else:
        column = pa.array(CALENDAR_SECONDS).cast(pa.timestamp("s", kind.tz)).cast(kind)
    model = model_of((dt.date if kind == pa.date32() else dt.datetime) | None, {})
    verdicts = verdicts_of_zoopipe(model, typed_batch(pa.table({"cell": column})))
    assert [verdict for verdict, _ in verdicts] == ["good", "good", "bad", "good", "good", "bad"]
    assert [errors[0]["type"] for verdict, errors in verdicts if verdict == "bad"] == ["value_out_of_range"] * 2


# ---- JSON ---------------------------------------------------------------------------------------------------------


def json_string(rng: random.Random, text: str) -> str:
    """A string with some of its characters spelled as escapes, in one of the ways that JSON has for each of them."""
    spelled = []
    for character in text:
        plain = json.dumps(character, ensure_ascii=False)[1:-1]
        units = character.encode("utf-16-be", "surrogatepass").hex("#", 2).split("#")
        escape = "".join("\\u" + (unit.upper() if rng.random() < 0.5 else unit) for unit in units)
        spelled.append(plain if rng.random() < 0.7 else rng.choice([escape, escape, rf"\{character}"]))
    if rng.random() < 0.1:
        spelled.append(
            rng.choice([r"\ud83d", r"\ude00", r"\ud83d\ude00", r"\ud83d\u0020", r"\u00", r"\x", r"\/", r"\n"])
        )
    return '"' + "".join(spelled) + '"'


def json_line(rng: random.Random, favourites: list[Callable[[random.Random], str]]) -> bytes:
    """A line with one key, mostly; some have none, others, or the same twice, and some are broken."""
    text = rng.choice(favourites if rng.random() < 0.7 else GRAMMARS)(rng)
    as_string = rng.choice([json.dumps(text, ensure_ascii=rng.random() < 0.5), json_string(rng, text)])
    value = rng.choice([as_string, as_string, text, text, "null", "true", "false", "[]", "-0", "1e999", "0.50"])
    blank = rng.choice(["", "", " ", "\t"])
    line = f'{{{blank}"cell"{blank}:{blank}{value}{blank}}}'
    how = rng.random()
    if how < 0.05:
        line = rng.choice(
            ["{}", '{"other": 1}', line[:-1] + ', "cell": 1}', line[:-1] + ', "other": "x"}', "7", "null"]
        )
    elif how < 0.15:
        line = mutated(rng, line)
    return line.encode("utf-8", "surrogatepass")


@pytest.mark.parametrize(("kind", "favourites"), fields(), ids=[str(kind) for kind, _ in fields()])
def test_every_json_value_gets_pydantics_verdict_value_and_errors(
    kind: Any, favourites: list[Any], count_cells: Callable[[int], None]
) -> None:
    rng = random.Random(f"{SEED} json {kind}")
    for config in CONFIGS:
        lines = [json_line(rng, favourites) for _ in range(CELLS // (2 if not config else 8))]
        assert_same_verdicts(model_of(kind, config), json_batch(lines), lines, as_json=True)
        count_cells(len(lines))


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        (int, None),
        (int, 7),
        (int, "no number"),
        (int, 2**70),
        (str, "é"),
        (float, -0.0),
        (bool, True),
        (Colour, "red"),
        (dt.datetime, None),
        (Decimal, 1),
        (Literal["red"], "red"),
    ],
)
def test_a_json_key_that_is_missing_has_its_default(
    kind: Any, default: Any, count_cells: Callable[[int], None]
) -> None:
    model = create_model("Defaulted", cell=(kind, default), other=(str | None, Field(None, alias="o")))
    rng = random.Random(f"{SEED} default {kind}")
    lines = [
        json.dumps(
            {key: rng.choice([1, "2", None, "x", "red"]) for key in ("cell", "o", "other") if rng.random() < 0.6}
        ).encode()
        for _ in range(2000)
    ]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Pydantic serializer warnings", UserWarning)  # such a default is no value
        assert_same_verdicts(model, json_batch(lines), lines, as_json=True)
        assert_same_verdicts(model, json_batch([b"{}"] * 3), [b"{}"] * 3, as_json=True)
    count_cells(2 * len(lines))
