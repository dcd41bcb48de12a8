"""What a processor does at once and Python has no word for: 64 bytes compared, the lowest bit of a mask found.

kernel ── where_equal(data, at, byte) ──▶ as Python, and where tests compare: the function here
                                     └──▶ compiled: what `lowering` has in its place, some instructions of AVX2
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["WINDOW", "lowest", "where_below", "where_equal"]

WINDOW = 64
"""Bytes that are looked at together: as many as a mask has bits."""

Bytes = npt.NDArray[np.uint8]


def where_equal(data: Bytes, at: int, byte: int) -> np.uint64:
    """A mask with a bit for each of the 64 bytes from `at` on, the lowest for the first: whether it is `byte`."""
    return _mask(data[at : at + WINDOW] == byte)


def where_below(data: Bytes, at: int, limit: int) -> np.uint64:
    """A mask as that of `where_equal`: whether each byte is below `limit`."""
    return _mask(data[at : at + WINDOW] < limit)


def lowest(mask: np.uint64) -> int:
    """The place of the lowest bit that is set; there is one."""
    bits = int(mask)
    return (bits & -bits).bit_length() - 1


def _mask(found: npt.NDArray[np.bool_]) -> np.uint64:
    return np.uint64(int.from_bytes(np.packbits(found, bitorder="little").tobytes(), "little"))
