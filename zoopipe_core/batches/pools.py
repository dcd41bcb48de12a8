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

__all__ = ["buffer_pool", "forget_blocks", "pool_array", "text_buffer"]

Bytes = npt.NDArray[np.uint8]


@lru_cache(maxsize=1)
def buffer_pool() -> pa.MemoryPool:
    """The memory pool for blocks of a source and texts of a target.

    Arrow's default, mimalloc, asks Linux for huge pages, and each of them is cleared as a whole when its first byte is
    touched. A load in a fresh process, which touches each buffer for the first time, spent a quarter of its time on
    that. jemalloc does not; where Arrow was built without it, or the user has chosen a pool, the default is kept.
    """
    default = pa.default_memory_pool()
    if default.backend_name != "mimalloc" or "ARROW_DEFAULT_MEMORY_POOL" in os.environ:
        return default
    try:
        return pa.jemalloc_memory_pool()
    except NotImplementedError:
        return default


def pool_array(count: int, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """An array of `count` elements in memory of the pool, whatever is in it.

    NumPy's own memory goes back to the system with each batch, which clears it anew for the next one.
    """
    kind = np.dtype(dtype)
    return np.frombuffer(pa.allocate_buffer(count * kind.itemsize, buffer_pool()), kind)


# ---- texts of batches ------------------------------------------------------------------------------------------------

RECYCLED_FROM = 2**20
"""Bytes; smaller buffers are the pool's to keep."""
MOST_FREE = 4
"""Blocks that wait for use: as many as two threads have in flight."""

# The last one used is the first to be used again. Appending and taking are safe in any thread, and in any order.
_FREE: deque[Bytes] = deque(maxlen=MOST_FREE)


def text_buffer(size: int) -> tuple[pa.Buffer, Bytes]:
    """Memory for the text of a batch: a buffer of `size` bytes, and uint8 (size,) to write it by.

    What jemalloc is given back of 8 MiB and more goes to the system at once, which then clears new pages for the next
    batch. Of a load with rows of 270 bytes that took an eighth. So a block is used again here, as soon as nobody refers
    to the buffer that was made of it.
    """
    if size < RECYCLED_FROM:
        buffer = pa.allocate_buffer(size, buffer_pool())
        return buffer, np.frombuffer(buffer, np.uint8)
    block = _free_block(size)
    text = block[:size]
    weakref.finalize(text, _FREE.append, block).atexit = False
    return pa.py_buffer(text), text


def forget_blocks() -> None:
    """Give back the memory that waits for use, at the end of a load; another one at work takes new blocks."""
    _FREE.clear()


def _free_block(size: int) -> Bytes:
    """A block of at least `size` bytes. Those that are too small are dropped: texts of a load are of much one size."""
    while True:
        try:
            block = _FREE.pop()
        except IndexError:
            break
        if len(block) >= size:
            return block
    # An eighth more, since the next text may be somewhat longer; what is never touched takes no memory.
    return np.frombuffer(pa.allocate_buffer(size + size // 8, buffer_pool()), np.uint8)
