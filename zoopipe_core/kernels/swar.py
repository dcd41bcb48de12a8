"""Eight bytes at once, as one 64-bit integer: the first byte is the lowest.

The sums and products here never carry from one byte into the next, so that nothing overflows: neither in NumPy's
scalars, which would warn, nor when compiled.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import device

__all__ = ["HIGH_BITS", "LOWEST_BITS", "LOW_BITS", "PLACE", "eight_bytes", "eight_times", "four_bytes", "unlike"]

PLACE = 0x7FFF_FFFF
"""``start & PLACE`` is start, and tells the compiler that it is not negative: that no index counts from the end."""

LOW_BITS = np.uint64(0x7F7F7F7F7F7F7F7F)
HIGH_BITS = np.uint64(0x8080808080808080)
LOWEST_BITS = np.uint64(0x0101010101010101)

_8, _16, _24, _32 = np.uint64(8), np.uint64(16), np.uint64(24), np.uint64(32)


@device
def four_bytes(data: npt.NDArray[np.uint8], at: int) -> np.uint64:
    """Four bytes from `at` on; the upper half is zero. One instruction when compiled."""
    low = np.uint64(data[at]) | np.uint64(data[at + 1]) << _8
    return low | np.uint64(data[at + 2]) << _16 | np.uint64(data[at + 3]) << _24


@device
def eight_bytes(data: npt.NDArray[np.uint8], at: int) -> np.uint64:
    """Eight bytes from `at` on. One instruction when compiled."""
    return four_bytes(data, at) | four_bytes(data, at + 4) << _32


@device
def eight_times(byte: int) -> np.uint64:
    """The same byte in all eight places."""
    return np.uint64(byte & 255) * LOWEST_BITS


@device
def unlike(eight: np.uint64, wanted: np.uint64) -> np.uint64:
    """The high bit of each byte that is not the byte in `wanted`; the other bits mean nothing."""
    differing = eight ^ wanted
    return ((differing & LOW_BITS) + LOW_BITS) | differing
