"""Decimal text to the nearest double, against Python's own: a million cells, and the places where rounding is hard."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from datetime import date
from fractions import Fraction

import numpy as np
import pytest
from pydantic import TypeAdapter

from tests.kernels.conftest import RunKernel, byte_column
from zoopipe_core.kernels._jit import SURE
from zoopipe_core.kernels.floats import MIN_POWER_OF_TEN, POWERS_OF_FIVE
from zoopipe_core.kernels.numbers import parse_float64

SEED = int(os.environ.get("ZOOPIPE_TEST_SEED") or date.today().toordinal())
"""A new one each day; shown with every failure."""

INFINITY_BITS = 0x7FF << 52


def random_doubles(rng: np.random.Generator, count: int, below: int = INFINITY_BITS) -> list[float]:
    """Positive doubles with evenly distributed bits: all exponents, subnormal numbers too."""
    return rng.integers(0, below, count, np.int64).view(np.float64).tolist()


def random_digits(rng: np.random.Generator, count: int, most: int = 19) -> Iterator[str]:
    """Integers of 1 to `most` digits, each length as often as any other."""
    lengths = rng.integers(1, most + 1, count).tolist()
    pool = "".join(map(str, rng.integers(0, 10**9, count * most // 9 + 1).tolist())).ljust(count + most, "7")
    starts = rng.integers(0, len(pool) - most, count).tolist()
    return (pool[start : start + length] for start, length in zip(starts, lengths, strict=True))


def with_points(rng: np.random.Generator, numbers: Iterator[str], count: int) -> Iterator[str]:
    places = rng.integers(0, 20, count).tolist()
    return (f"{number[:place]}.{number[place:]}" for number, place in zip(numbers, places, strict=True))


def with_exponents(rng: np.random.Generator, numbers: Iterator[str], count: int) -> Iterator[str]:
    exponents = rng.integers(-350, 312, count).tolist()
    return (f"{number}e{exponent}" for number, exponent in zip(numbers, exponents, strict=True))


def ties(rng: np.random.Generator, count: int) -> Iterator[str]:
    """Numbers of up to 19 digits halfway between two doubles, and their neighbours."""
    while count > 0:
        power = int(rng.integers(-4, 24))
        odd = int(rng.integers(2**53, 2**54)) | 1  # 54 bits: one more than a double has
        factor = 5 ** abs(power)
        number = odd * factor if power < 0 else odd // factor | 1
        if power > 0:
            twos = 54 - (number * factor).bit_length()
            if not 0 <= twos <= 1 or not (number * factor) >> 53:
                continue
        number <<= int(rng.integers(0, max(64 - number.bit_length(), 1)))
        if number >= 10**19:
            continue
        yield from (f"{number + step}e{power}" for step in (-1, 0, 1))
        count -= 3


def short_cells(rng: np.random.Generator, share: int = 1) -> Iterator[str]:
    """A million cells, or one part of so many, of up to 19 digits, as tables have them and as they do not."""
    some = 100_000 // share
    yield from map(repr, random_doubles(rng, 2 * some))
    yield from map(repr, random_doubles(rng, some // 2, below=1 << 52))
    yield from map(repr, (rng.random(some) * 100).tolist())
    yield from map("%.17g".__mod__, random_doubles(rng, some))
    yield from map("%.18e".__mod__, random_doubles(rng, some // 2))
    yield from map("-%.2f".__mod__, (rng.random(some) * 1e6).tolist())
    yield from map("%.6f".__mod__, (rng.random(some) * 1e9).tolist())
    yield from with_points(rng, random_digits(rng, some), some)
    yield from with_exponents(rng, random_digits(rng, some), some)
    yield from with_exponents(rng, with_points(rng, random_digits(rng, some), some), some)
    yield from ties(rng, some // 3)


def middles(rng: np.random.Generator, count: int) -> Iterator[str]:
    """Numbers halfway between two doubles in full length, up to 767 digits, then a little less and a little more."""
    for value in random_doubles(rng, count):
        middle = (Fraction(value) + Fraction(math.nextafter(value, math.inf))) / 2
        digits = middle.denominator.bit_length() - 1  # the denominator is a power of two
        number = middle.numerator * 5**digits
        yield f"{number}e-{digits}"
        yield f"{number}0001e-{digits + 4}"
        yield f"{number - 1}e-{digits}"
        text = str(number)
        for place in (7, 21):  # what 19 digits leave out begins before the point, or behind it
            yield f"{text[:place]}.{text[place:]}1e{len(text) - place - digits}"


def long_cells(rng: np.random.Generator, share: int = 1) -> Iterator[str]:
    """Cells of 20 digits and more."""
    some = 50_000 // share
    yield from map("%.25e".__mod__, random_doubles(rng, some))
    yield from map("%.30f".__mod__, (rng.random(some) * 1000).tolist())
    yield from with_exponents(rng, (f"98765{number:0>15}" for number in random_digits(rng, some, 40)), some)


def parsed(run_kernel: RunKernel, cells: list[str]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """The bits of the values, and which are sure."""
    out, (state, respelled) = np.zeros(len(cells)), np.zeros((2, len(cells)), np.uint8)
    run_kernel(parse_float64, *byte_column([cell.encode() for cell in cells]), out, state, respelled)
    return out.view(np.uint64), state == SURE


def assert_nearest(cells: list[str], bits: np.ndarray, sure: np.ndarray) -> None:  # type: ignore[type-arg]
    expected = np.fromiter(map(float, cells), np.float64, len(cells)).view(np.uint64)
    wrong = np.flatnonzero(sure & (bits != expected))
    assert not len(wrong), f"seed {SEED}: {[cells[index] for index in wrong[:5]]}"


def test_a_million_cells_of_up_to_19_digits_are_all_sure_and_exact(run_compiled: RunKernel) -> None:
    cells = list(short_cells(np.random.default_rng(SEED)))
    assert len(cells) >= 1_000_000
    bits, sure = parsed(run_compiled, cells)
    doubtful = np.flatnonzero(~sure)
    assert not len(doubtful), f"seed {SEED}: {[cells[index] for index in doubtful[:5]]}"
    assert_nearest(cells, bits, sure)


def test_almost_all_cells_of_more_digits_are_sure_and_all_of_those_exact(run_compiled: RunKernel) -> None:
    cells = list(long_cells(np.random.default_rng(SEED)))
    bits, sure = parsed(run_compiled, cells)
    assert_nearest(cells, bits, sure)
    assert sure.mean() > 0.99


def test_numbers_next_to_the_middle_of_two_doubles_are_exact_if_sure(run_compiled: RunKernel) -> None:
    cells = list(middles(np.random.default_rng(SEED), 3_000))
    assert_nearest(cells, *parsed(run_compiled, cells))


def test_plain_python_decides_and_rounds_as_the_compiled_kernel_does(
    run_kernel: RunKernel, run_compiled: RunKernel
) -> None:
    rng = np.random.default_rng(SEED)
    cells = [*short_cells(rng, 1_000), *long_cells(rng, 500), *middles(rng, 5)]
    bits, sure = parsed(run_kernel, cells)
    compiled_bits, compiled_sure = parsed(run_compiled, cells)
    assert (sure == compiled_sure).all()
    assert (bits == compiled_bits).all()
    assert_nearest(cells, bits, sure)


def test_pydantic_reads_the_same_numbers(run_compiled: RunKernel) -> None:
    rng = np.random.default_rng(SEED)
    cells = [*short_cells(rng, 20), *long_cells(rng, 20), *middles(rng, 100)]
    bits, sure = parsed(run_compiled, cells)
    validate = TypeAdapter(float).validate_python
    expected = np.array([validate(cell) for cell in cells]).view(np.uint64)
    wrong = np.flatnonzero(sure & (bits != expected))
    assert not len(wrong), f"seed {SEED}: {[cells[index] for index in wrong[:5]]}"


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("9007199254740993", 9007199254740992.0),  # 2**53 + 1: to even, downwards
        ("9007199254740995", 9007199254740996.0),  # to even, upwards
        ("9007199254740993.00000000000000000000", 9007199254740992.0),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("1.7976931348623158e308", 1.7976931348623157e308),
        ("1.7976931348623159e308", math.inf),
        ("2.2250738585072011e-308", 2.225073858507201e-308),  # the greatest subnormal number: once hung PHP
        ("2.2250738585072012e-308", 2.2250738585072014e-308),  # rounds up to the least normal number: once hung Java
        ("5e-324", 5e-324),
        ("2.4703282292062328e-324", 5e-324),
        ("2.4703282292062327e-324", 0.0),
        ("1e23", 1e23),
        ("8.5e22", 8.5e22),
        ("7.3177701707893310e15", 7317770170789331.0),
        ("10.357019999999999", 10.357019999999999),
    ],
)
def test_hard_cases_are_sure_and_exact(cell: str, value: float, run_kernel: RunKernel) -> None:
    cells = [cell, "-" + cell, cell.replace("e", "E")]
    bits, sure = parsed(run_kernel, cells)
    assert sure.all()
    assert bits.view(np.float64).tolist() == [value, -value, value]
    assert_nearest(cells, bits, sure)


def test_the_table_holds_the_first_128_bits_of_powers_of_five() -> None:
    assert len(POWERS_OF_FIVE) == 2 * (308 - MIN_POWER_OF_TEN + 1)
    for index, q in enumerate(range(MIN_POWER_OF_TEN, 309)):
        entry = int(POWERS_OF_FIVE[2 * index]) << 64 | int(POWERS_OF_FIVE[2 * index + 1])
        assert entry >> 127 == 1
        exact = Fraction(5) ** q
        scale = 127 - (math.floor(math.log2(5) * q) if q else 0)
        error = entry - exact * Fraction(2) ** scale
        assert (0 < error <= 1) if -27 <= q < 0 else (-1 < error <= 0), q
