"""Rows of which most cells are already the text that has to be written: they are copied, in one pass.

Most numbers, dates and texts of a file are spelled as Python writes them, and what reads them says so. Such a cell is
not formatted and not looked at again. Only cells that are spelled otherwise are made as text, and so are null cells and
the columns that were not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.adapters.cell_writers import CellStyle, lay_out
from zoopipe_core.adapters.column_writers import column_writer
from zoopipe_core.batches.model import Column
from zoopipe_core.batches.pools import place_array, text_buffer
from zoopipe_core.kernels.buffers import TextCells
from zoopipe_core.kernels.rows import ROOM, write_rows

__all__ = ["copy_rows"]

Bytes: TypeAlias = npt.NDArray[np.uint8]
Offsets: TypeAlias = npt.NDArray[np.int32]

LEAST_SHARE = 0.5
"""The share of columns from which copying pays: the cells of the others are written twice."""


def copy_rows(
    columns: Sequence[Column],
    style: CellStyle,
    takes: Callable[[TextCells, bool], bool],
    befores: Sequence[bytes],
    end: bytes,
) -> pa.Buffer | None:
    """The rows of `columns`: `befores`, each in front of its column's cell, and `end` behind each row.

    None where that is better done column by column, or a cell cannot be written.

    `style` says how the format has cells, and `takes` whether those of a column of texts, of which one may be empty,
    can be written as they are but for the quotes.
    """
    spelled = [column.spelled for column in columns]
    block = next((held[0].data for held in spelled if held is not None), None)
    if block is None or not len(columns[0]):
        return None
    rows = _Rows(block, style, len(columns), len(columns[0]))
    copied = [
        held is not None and held[0].data is block and rows.copy(place, column, *held, takes)
        for place, (column, held) in enumerate(zip(columns, spelled, strict=True))
    ]
    if sum(copied) < LEAST_SHARE * len(columns):
        return None
    for place, column in enumerate(columns):
        if not copied[place] and not rows.make(place, column, None):
            return None
    return rows.written(befores, end)


class _Rows:
    """Where each cell of a batch is: int32 (columns, rows) of starts and ends, as `write_rows` has them."""

    def __init__(self, block: Bytes, style: CellStyle, width: int, count: int) -> None:
        self._block = block
        self._style = style
        self._starts, self._ends = (place_array(width * count).reshape(width, count) for _ in range(2))
        self._quotes = np.zeros(width, np.uint8)
        self._made: list[Bytes] = [np.frombuffer(style.null, np.uint8)]
        self._made_bytes = len(style.null)

    def copy(
        self,
        place: int,
        column: Column,
        cells: TextCells,
        own: npt.NDArray[np.int64] | None,
        takes: Callable[[TextCells, bool], bool],
    ) -> bool:
        """Take the cells of a column from where they are; False if they cannot be written so."""
        starts, ends = self._starts[place], self._ends[place]
        if own is None:
            starts[:], ends[:] = cells.starts, cells.ends
        else:  # all of `own` are places; to look at each once more takes long
            np.take(cells.starts, own, out=starts, mode="clip")
            np.take(cells.ends, own, out=ends, mode="clip")
        kind = column.type.arrow
        if pa.types.is_string(kind) and not takes(cells, bool(np.any(starts == ends))):
            return False
        quoted = bool(self._style.quote) and (pa.types.is_string(kind) or pa.types.is_temporal(kind))
        self._quotes[place] = self._style.quote if quoted else 0
        if cells.nulls is not None:
            nulls = cells.nulls if own is None else np.take(cells.nulls, own)
            starts[nulls] = -1
            ends[nulls] = len(self._style.null) - 1 - 2 * int(quoted)
        if cells.respelled is not None:
            others = np.flatnonzero(cells.respelled if own is None else np.take(cells.respelled, own))
            return not len(others) or self.make(place, column.take(others), others)
        return True

    def make(self, place: int, column: Column, rows: npt.NDArray[np.int64] | None) -> bool:
        """Make the cells of a column, those of `rows` or all of them; False if one cannot be written."""
        laid_out = lay_out([column_writer(column, self._style)], [b""], b"", self._style.null, len(column))
        if laid_out is None or self._made_bytes + laid_out[0].size > np.iinfo(np.int32).max:
            return False
        buffer, bounds = laid_out
        where: slice | npt.NDArray[np.int64] = slice(None) if rows is None else rows
        sizes = np.diff(bounds, prepend=0)
        starts = -1 - (self._made_bytes + bounds - sizes)
        self._starts[place][where] = starts
        self._ends[place][where] = starts + sizes - 2 * int(self._quotes[place] != 0)
        self._made.append(np.frombuffer(buffer, np.uint8))
        self._made_bytes += buffer.size
        return True

    def written(self, befores: Sequence[bytes], end: bytes) -> pa.Buffer:
        """The text of all rows."""
        pieces = [*befores, end + befores[0], end]
        texts = np.frombuffer(b"".join(pieces) + bytes(ROOM), np.uint8)
        bounds = np.fromiter(accumulate(map(len, pieces), initial=0), np.int32, len(pieces) + 1)
        count = self._starts.shape[1]
        constant = sum(map(len, befores)) + len(end) + 2 * int(np.count_nonzero(self._quotes))
        size = count * constant + int(np.sum(self._ends, dtype=np.int64)) - int(np.sum(self._starts, dtype=np.int64))
        buffer, out = text_buffer(size + ROOM)
        made = self._made[0] if len(self._made) == 1 else np.concatenate(self._made)
        starts, ends = self._starts.reshape(-1), self._ends.reshape(-1)
        write_rows(self._block, starts, ends, self._quotes, made, texts, bounds, out)
        return buffer.slice(0, size)
