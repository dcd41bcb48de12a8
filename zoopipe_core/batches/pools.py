"""Where the large buffers of a load come from."""

from __future__ import annotations

import os
import weakref
from collections import deque
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["buffer_pool", "forget_blocks", "place_array", "source_block", "text_buffer"]

Bytes = npt.NDArray[np.uint8]


@lru_cache(maxsize=1)
def buffer_pool() -> pa.MemoryPool:
    """The memory pool for blocks of a source and texts of a target: jemalloc, for the reason that `import_arrow` gives,
    also in a program that had imported pyarrow before; where there is none, or the user has chosen a pool, the default.
    """
    default = pa.default_memory_pool()
    if default.backend_name != "mimalloc" or "ARROW_DEFAULT_MEMORY_POOL" in os.environ:
        return default
    try:
        return pa.jemalloc_memory_pool()
    except NotImplementedError:
        return default


# ---- memory that is used again --------------------------------------------------------------------------------------

RECYCLED_FROM = 2**18
"""Bytes; smaller pieces are the pool's to keep."""
MOST_FREE = 6
"""Blocks of one kind that wait for use: as many as two threads have in flight."""


class _Blocks:
    """Memory of much one size, batch for batch.

    What jemalloc is given back of 8 MiB and more goes to the system at once, and less than that soon. The system then
    clears new pages for the next batch, which took an eighth of a load. So a block is used again here, as soon as
    nobody refers to the array that was made of it.
    """

    def __init__(self) -> None:
        # The last one used is the first to be used again. Appending and taking are safe in any thread, in any order.
        self._free: deque[pa.Buffer] = deque(maxlen=MOST_FREE)

    def array(self, count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """An array of `count` elements, whatever is in it."""
        kind = np.dtype(dtype)
        size = count * kind.itemsize
        if size < RECYCLED_FROM:
            return np.frombuffer(pa.allocate_buffer(size, buffer_pool()), kind)
        block = self._block(size)
        # Of a memoryview, since a view of this array refers to it then, and not to what lies below.
        array = np.frombuffer(memoryview(block)[:size], kind)
        weakref.finalize(array, self._free.append, block).atexit = False
        return array

    def forget(self) -> None:
        """Give back what waits for use."""
        self._free.clear()

    def _block(self, size: int) -> pa.Buffer:
        """A block of at least `size` bytes. Those that are too small are dropped."""
        while True:
            try:
                block = self._free.pop()
            except IndexError:
                break
            if block.size >= size:
                return block
        # An eighth more, since the next one may be somewhat longer; what is never touched takes no memory.
        return pa.allocate_buffer(size + size // 8, buffer_pool())


_TEXTS, _SOURCES, _PLACES = _Blocks(), _Blocks(), _Blocks()


def text_buffer(size: int) -> tuple[pa.Buffer, Bytes]:
    """Memory for the text of a batch: a buffer of `size` bytes, and uint8 (size,) to write it by."""
    text = _TEXTS.array(size, np.uint8)
    return pa.py_buffer(text), text


def source_block(size: int) -> Bytes:
    """uint8 (size,), memory for a block of a source."""
    return _SOURCES.array(size, np.uint8)


def place_array(count: int) -> npt.NDArray[np.int32]:
    """int32 (count,), memory for places in a block."""
    return _PLACES.array(count, np.int32)


def forget_blocks() -> None:
    """Give back the memory that waits for use, at the end of a load; another one at work takes new blocks."""
    for blocks in (_TEXTS, _SOURCES, _PLACES):
        blocks.forget()
