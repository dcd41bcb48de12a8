"""Memory for the texts of batches: used again when nobody refers to it, and never before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from zoopipe_core.batches.pools import (
    MOST_FREE,
    RECYCLED_FROM,
    buffer_pool,
    forget_blocks,
    place_array,
    source_block,
    text_buffer,
)

LARGE = 2 * RECYCLED_FROM


@pytest.fixture(autouse=True)
def _no_blocks() -> Iterator[None]:
    forget_blocks()
    yield
    forget_blocks()


def filled(size: int, byte: int) -> pa.Buffer:
    buffer, text = text_buffer(size)
    text[:] = byte
    return buffer


@pytest.mark.parametrize("size", [0, 1, RECYCLED_FROM - 1, RECYCLED_FROM, LARGE])
def test_a_buffer_has_the_size_asked_for_and_what_was_written(size: int) -> None:
    assert filled(size, 7).to_pybytes() == b"\7" * size


def test_memory_is_used_again_by_a_text_that_fits() -> None:
    buffer = filled(LARGE, 1)
    address = buffer.address
    del buffer
    assert filled(LARGE + 1000, 2).address == address  # the first one is gone again
    assert filled(RECYCLED_FROM, 3).address == address
    assert filled(2 * LARGE, 4).address != address


def test_memory_that_a_part_of_the_buffer_refers_to_is_left_alone() -> None:
    part = filled(LARGE, 1).slice(10, 5)
    view = np.frombuffer(filled(LARGE, 2), np.uint8)[:3]
    others = [filled(LARGE, 3) for _ in range(3)]
    assert part.to_pybytes() == b"\1" * 5
    assert view.tolist() == [2] * 3
    assert len({part.address - 10, view.ctypes.data, *(other.address for other in others)}) == 5


def test_a_block_is_left_alone_as_long_as_a_view_of_it_lives() -> None:
    block, places = source_block(LARGE), place_array(LARGE // 4)
    block[:], places[:] = 1, 1
    part, row = block[10:15], places.reshape(2, -1)[1][:3]
    held = memoryview(block)[3:5]
    del block, places
    others = [source_block(LARGE), place_array(LARGE // 4)]
    for other in others:
        other[:] = 9
    assert (part.tolist(), row.tolist(), list(held)) == ([1] * 5, [1] * 3, [1, 1])
    del part, held
    address = others[0].ctypes.data
    assert source_block(LARGE).ctypes.data != address  # what the views had referred to
    del others
    assert source_block(LARGE).ctypes.data == address


def test_no_more_than_a_few_blocks_wait_and_none_after_a_load() -> None:
    before = buffer_pool().bytes_allocated()
    buffers = [filled(LARGE, 0) for _ in range(MOST_FREE + 3)]
    buffers.clear()
    waiting = buffer_pool().bytes_allocated() - before
    assert LARGE * MOST_FREE <= waiting < 1.2 * LARGE * MOST_FREE
    forget_blocks()
    assert buffer_pool().bytes_allocated() == before
