"""Where the large buffers of a load come from."""

from __future__ import annotations

import os
from functools import lru_cache

import pyarrow as pa

__all__ = ["buffer_pool"]


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
