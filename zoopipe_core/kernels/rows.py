"""Whole rows of cells that are there already as the text that has to be written, one row after the other."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, OFFSETS, UINT8, kernel
from zoopipe_core.kernels.emit import WIDE, put_wide
from zoopipe_core.kernels.swar import PLACE

__all__ = ["ROOM", "size_rows", "write_rows"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Sizes = npt.NDArray[np.int64]

ROOM = WIDE
"""Bytes behind the rows that may be written."""


@kernel(OFFSETS, OFFSETS, OFFSETS, OFFSETS, OFFSETS, OFFSETS, BYTES, INT64)
def size_rows(
    starts: Offsets,
    ends: Offsets,
    rows: Offsets,
    own_starts: Offsets,
    own_ends: Offsets,
    columns: Offsets,
    quotes: Bytes,
    notes: Sizes,
) -> None:
    """How many bytes all cells take with their quotes: ``notes[0]``. The parameters are those of `write_rows`."""
    count = len(rows)
    total = 0
    for j in range(len(quotes)):
        column = int(columns[j])
        if column >= 0:
            for i in range(count):
                place = (column + int(rows[i])) & PLACE
                total += int(ends[place]) - int(starts[place])
        else:
            for i in range(count):
                place = (i - 1 - column) & PLACE
                total += int(own_ends[place]) - int(own_starts[place])
        total += 2 * count * int(quotes[j] != 0)
    notes[0] = total


@kernel(BYTES, OFFSETS, OFFSETS, OFFSETS, OFFSETS, OFFSETS, OFFSETS, BYTES, BYTES, BYTES, OFFSETS, UINT8)
def write_rows(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    rows: Offsets,
    own_starts: Offsets,
    own_ends: Offsets,
    columns: Offsets,
    quotes: Bytes,
    made: Bytes,
    texts: Bytes,
    bounds: Offsets,
    out: Bytes,
) -> None:
    """Write each row: for each column what stands before it, and its cell; and behind the last one the end.

    data: the bytes of the cells.
    starts, ends: int32, where cells are, of all rows of a block.  rows: int32 (n,), which of these rows are written.
    own_starts, own_ends: int32, the same for columns of which just the `n` rows are there.
    columns: int32 (k,), where a column begins in `starts` and `ends`; or, if it is negative, ``-1 - columns[j]`` is
    where it begins in `own_starts` and `own_ends`.
    quotes: uint8 (k,), the character around the cells of a column, 0 for none.
    made: the bytes of other cells, with their quotes. Such a cell starts at ``-1 - own_starts[...]``, and is as long as
    a cell in `data` from its start to its end would be with its quotes.
    texts, bounds: int32 (k + 3,), piece j is ``texts[bounds[j]:bounds[j + 1]]``: what stands before column j, in the
    first row; what stands between two rows, with what stands before the first column; the end.
    out: uint8 (m,), as long as all of this, and `ROOM`.
    """
    width = len(quotes)
    at = 0
    for i in range(len(rows)):
        row = int(rows[i])
        for j in range(width):
            piece = width if j == 0 and i > 0 else j
            at = put_wide(out, at, texts, int(bounds[piece]), int(bounds[piece + 1]))
            column = int(columns[j])
            if column >= 0:
                start = int(starts[(column + row) & PLACE])
                end = int(ends[(column + row) & PLACE])
            else:
                start = int(own_starts[(i - 1 - column) & PLACE])
                end = int(own_ends[(i - 1 - column) & PLACE])
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
