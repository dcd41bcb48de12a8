"""SHA-256 by kernels: the bytes that hashlib gives, whatever the lengths of cells beside each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import Column, RunKernel, byte_column
from zoopipe_core.kernels.sha256 import (
    BLOCK,
    DIGEST,
    FIRST,
    LANE_ITEMS,
    LANES,
    NO_END,
    WORK_ITEMS,
    hex_digits,
    sha256,
)

BOUNDARIES = [0, 1, 3, 4, 54, 55, 56, 57, 59, 60, 63, 64, 65, 118, 119, 120, 127, 128, 129]
"""Lengths where a word or a block is full, or has no more room for the mark or the length."""


def run(run_kernel: RunKernel, column: Column, first: npt.NDArray[np.uint32] = FIRST, before: int = 0) -> list[bytes]:
    count = len(column[1])
    # What the arrays hold before means nothing.
    lanes, work = np.full(LANE_ITEMS, -7, np.int64), np.full(WORK_ITEMS, 0xDEADBEEF, np.uint32)
    out = np.full(DIGEST * count, 99, np.uint8)
    run_kernel(sha256, *column, first, before, lanes, work, out)
    whole = out.tobytes()
    return [whole[at : at + DIGEST] for at in range(0, len(whole), DIGEST)]


def texts_of(lengths: Sequence[int]) -> list[bytes]:
    noise = np.random.default_rng(len(lengths)).bytes(max(lengths, default=0) + len(lengths))
    return [noise[index : index + length] for index, length in enumerate(lengths)]


def hashlib_of(cells: Sequence[bytes]) -> list[bytes]:
    return [hashlib.sha256(cell).digest() for cell in cells]


def test_the_examples_of_the_standard(run_kernel: RunKernel) -> None:
    cells = [b"", b"abc", b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"]
    assert [value.hex() for value in run(run_kernel, byte_column(cells))] == [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    ]


@pytest.mark.parametrize("count", [0, 1, 2, LANES - 1, LANES, LANES + 1])
def test_a_column_may_have_any_number_of_cells(count: int, run_kernel: RunKernel) -> None:
    cells = texts_of(range(count))
    assert run(run_kernel, byte_column(cells)) == hashlib_of(cells)


def test_lengths_at_which_words_and_blocks_are_full(run_kernel: RunKernel) -> None:
    cells = texts_of(BOUNDARIES)
    assert run(run_kernel, byte_column(cells)) == hashlib_of(cells)


def test_every_length_up_to_several_blocks_and_some_long_ones(run_compiled: RunKernel) -> None:
    cells = texts_of([*range(300), 10_000, 0, 4096, 1, 65_537, *range(300, 0, -1)])
    assert run(run_compiled, byte_column(cells)) == hashlib_of(cells)


@settings(max_examples=25)
@given(cells=st.lists(st.binary(max_size=150), max_size=2 * LANES + 3))
def test_hashes_are_those_of_hashlib(cells: list[bytes], run_kernel: RunKernel) -> None:
    assert run(run_kernel, byte_column(cells)) == hashlib_of(cells)


def test_cells_may_lie_anywhere_between_other_bytes_and_on_each_other(run_kernel: RunKernel) -> None:
    whole = bytes(range(200))
    starts, ends = np.array([190, 3, 200, 0, 3], np.int32), np.array([200, 90, 200, 200, 4], np.int32)
    cells = [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    assert run(run_kernel, (np.frombuffer(whole, np.uint8), starts, ends)) == hashlib_of(cells)


def test_messages_may_begin_behind_blocks_that_were_hashed_before(run_kernel: RunKernel) -> None:
    common, cells = texts_of([2 * BLOCK])[0], texts_of([0, 1, 55, 56, 64, 130])
    (state,) = run(run_kernel, byte_column([common]), before=NO_END)
    first = np.frombuffer(state, ">u4").astype(np.uint32)
    found = run(run_kernel, byte_column(cells), first, len(common))
    assert found == hashlib_of([common + cell for cell in cells])


def test_every_byte_as_hex_digits(run_kernel: RunKernel) -> None:
    values = np.arange(256, dtype=np.uint8)
    out = np.zeros(512, np.uint8)
    run_kernel(hex_digits, values, out)
    assert out.tobytes().decode() == bytes(range(256)).hex()
