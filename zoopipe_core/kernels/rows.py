"""Whole rows of cells that are there already as the text that has to be written, one row after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, OFFSETS, UINT8, UINT8_VALUES, kernel
from zoopipe_core.kernels.emit import WIDE, put_wide

__all__ = ["ROOM", "write_rows"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]

ROOM = WIDE
"""Bytes behind the rows that may be written."""


@kernel(BYTES, OFFSETS, OFFSETS, UINT8_VALUES, BYTES, BYTES, OFFSETS, UINT8)
def write_rows(
    data: Bytes, starts: Offsets, ends: Offsets, quotes: Bytes, made: Bytes, texts: Bytes, bounds: Offsets, out: Bytes
) -> None:
    """Write each row: for each column what stands before it, and its cell; and behind the last one the end.

    data: the bytes of the cells.
    starts, ends: int32 (k * n,), where the cell of column j in row i is: at ``j * n + i``.
    quotes: uint8 (k,), the character around the cells of a column, 0 for none.
    made: the bytes of other cells, with their quotes. Such a cell starts at ``-1 - starts[...]``, and is as long as a
    cell in `data` from its start to its end would be with its quotes.
    texts, bounds: int32 (k + 3,), piece j is ``texts[bounds[j]:bounds[j + 1]]``: what stands before column j, in the
    first row; what stands between two rows, with what stands before the first column; the end.
    out: uint8 (m,), as long as all of this, and `ROOM`.
    """
    width = len(quotes)
    count = len(starts) // width
    at = 0
    for i in range(count):
        for j in range(width):
            piece = width if j == 0 and i > 0 else j
            at = put_wide(out, at, texts, int(bounds[piece]), int(bounds[piece + 1]))
            start = int(starts[j * count + i])
            end = int(ends[j * count + i])
            quote = int(quotes[j])
            mark = int(quote != 0)
            if start < 0:
                end += 2 * mark - start
                start = -1 - start
                at = put_wide(out, at, made, start, start + end)
                continue
            out[at] = quote
            at = put_wide(out, at + mark, data, start, end)
            out[at] = quote
            at += mark
    put_wide(out, at, texts, int(bounds[width + 1]), int(bounds[width + 2]))
