"""Numbers, booleans and UUIDs as text: byte for byte what Python and pydantic write."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from tests.kernels.conftest import RunKernel
from tests.kernels.disturbed import SEED
from tests.kernels.formatted import form_of, write_cells
from zoopipe_core.kernels.emit import size_fixed
from zoopipe_core.kernels.format_floats import JSON_STYLE, REPR_STYLE, find_shortest, size_float64, write_float64
from zoopipe_core.kernels.format_numbers import size_bool, size_int64, write_bool, write_int64
from zoopipe_core.kernels.format_uuids import UUID_WIDTH, write_uuid

INTEGERS = [
    0, 1, -1, 2**63 - 1, -(2**63), -(2**63) + 1,
    *[sign * (10**k + d) for k in range(19) for d in (-1, 0, 1) for sign in (1, -1)],
]  # fmt: skip
DOUBLES = [
    0.0, 5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, math.inf, math.nan,
    0.1, 1 / 3, 2 / 3, 123.456, 1e15, 1e16, 1e17, 9999999999999998.0, 0.0001, 0.00001, 0.000123, 0.000012345,
    1e22, 1e23, 9.5e-7, 5.684341886080802e-14, 9007199254740991.0, 9007199254740992.0, 9007199254740994.0,
    2.0**63, 4.5, 4.35, 2.5e-5, 1.5e300, 123456789012345680.0, 8.41e21, 9.007199254740993e15, 10.357019999999999,
    *[float(f"1e{k}") for k in range(-323, 309)], *[math.ldexp(1.0, k) for k in range(-1074, 1024)],
    *[math.nextafter(math.ldexp(1.0, k), 0.0) for k in range(-1060, 1024, 7)],
    *[math.nextafter(math.ldexp(1.0, k), math.inf) for k in range(-1060, 1024, 7)],
]  # fmt: skip

styles = pytest.mark.parametrize("style", [JSON_STYLE, REPR_STYLE])


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | values, max_size=30)


def expected_float(value: float | None, style: int) -> bytes:
    if value is None:
        return b"null"
    return to_json(value, inf_nan_mode="null") if style == JSON_STYLE else repr(value).encode()


def format_int64(run_kernel: RunKernel, values: Sequence[int | None]) -> list[bytes]:
    numbers = np.array([-7 if value is None else value for value in values], np.int64)
    form = form_of([value is not None for value in values])
    return write_cells(
        run_kernel, len(values), (size_int64, lambda sizes: (numbers, form, 4, sizes)), (write_int64, (numbers, form))
    )


def format_float64(run_kernel: RunKernel, values: Sequence[float | None], style: int) -> list[bytes]:
    count = len(values)
    bits = np.array([-0.5 if value is None else value for value in values], np.float64).view(np.uint64)
    form = form_of([value is not None for value in values])
    digits, exponents = np.zeros(count, np.int64), np.zeros(count, np.int32)
    run_kernel(find_shortest, bits, form, style, digits, exponents)
    found = (bits, digits, exponents, form, style)
    return write_cells(run_kernel, count, (size_float64, lambda sizes: (*found, 4, sizes)), (write_float64, found))


def test_integers_of_every_length_are_written_as_python_writes_them(run_kernel: RunKernel) -> None:
    values = [value for value in INTEGERS if -(2**63) <= value < 2**63]
    assert format_int64(run_kernel, values) == [str(value).encode() for value in values]


@given(values=optional(st.integers(-(2**63), 2**63 - 1) | st.integers(-200, 200)))
def test_any_integers_are_written_as_python_writes_them(values: list[int | None], run_kernel: RunKernel) -> None:
    assert format_int64(run_kernel, values) == [b"null" if v is None else str(v).encode() for v in values]


@styles
def test_doubles_at_the_corners_are_written_as_python_and_pydantic_write_them(
    style: int, run_kernel: RunKernel
) -> None:
    values = [*DOUBLES, *[-value for value in DOUBLES]]
    found = format_float64(run_kernel, values, style)
    assert found == [expected_float(value, style) for value in values]


@styles
@given(values=optional(st.floats() | st.decimals(-(10**6), 10**6, places=3).map(float) | st.integers().map(float)))
def test_any_doubles_are_written_as_python_and_pydantic_write_them(
    values: list[float | None], style: int, run_kernel: RunKernel
) -> None:
    assert format_float64(run_kernel, values, style) == [expected_float(value, style) for value in values]


@styles
def test_many_doubles_of_every_size_are_written_as_python_and_pydantic_write_them(
    style: int, run_compiled: RunKernel
) -> None:
    rng = np.random.default_rng(SEED)
    anywhere = np.frombuffer(rng.bytes(8 * 100_000), np.float64)
    short = np.round(rng.random(50_000) * 10.0 ** rng.integers(-6, 12, 50_000), 3)
    near_whole = 2.0**53 + np.arange(-500, 500)
    values = np.concatenate([anywhere, short, near_whole, rng.random(50_000)]).tolist()
    found = format_float64(run_compiled, values, style)
    wrong = [(v, text) for v, text in zip(values, found, strict=True) if text != expected_float(v, style)]
    assert wrong == [], f"seed {SEED}"


def test_what_is_written_for_a_double_reads_back_as_the_same_bits(run_kernel: RunKernel) -> None:
    values = [value for value in DOUBLES if math.isfinite(value)]
    for style in (JSON_STYLE, REPR_STYLE):
        texts = format_float64(run_kernel, values, style)
        assert [struct.pack("d", float(text)) for text in texts] == [struct.pack("d", value) for value in values]


@given(values=optional(st.booleans()))
def test_booleans_are_words(values: list[bool | None], run_kernel: RunKernel) -> None:
    bits = np.array([bool(value) for value in values], np.uint8)
    form = form_of([value is not None for value in values])
    found = write_cells(
        run_kernel, len(values), (size_bool, lambda sizes: (bits, form, 4, sizes)), (write_bool, (bits, form))
    )
    assert found == [to_json(value) for value in values]


@pytest.mark.parametrize("quote", [0, ord('"')])
@given(values=optional(st.uuids() | st.sampled_from([UUID(int=0), UUID(int=2**128 - 1)])))
def test_uuids_are_written_as_python_writes_them(values: list[UUID | None], quote: int, run_kernel: RunKernel) -> None:
    data = np.frombuffer(b"".join((value or UUID(int=1)).bytes for value in values), np.uint8)
    form, width = form_of([value is not None for value in values]), UUID_WIDTH + 2 * (quote > 0)
    found = write_cells(
        run_kernel, len(values), (size_fixed, lambda sizes: (form, width, 4, sizes)), (write_uuid, (data, form, quote))
    )
    quoted = [to_json(value) for value in values]
    assert found == (quoted if quote else [text.strip(b'"') for text in quoted])
