"""Rows of which most cells are already the text that has to be written: they are copied, in one pass.

Most numbers, dates and texts of a file are spelled as Python writes them, and what reads them says so. Such a cell is
not formatted and not looked at again. Only cells that are spelled otherwise are made as text, and so are null cells and
the columns that were not read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.adapters.cell_writers import CellStyle, lay_out
from zoopipe_core.adapters.column_writers import column_writer
from zoopipe_core.batches.model import Column
from zoopipe_core.batches.pools import place_array, text_buffer
from zoopipe_core.kernels.buffers import NOT_ASCII, TextCells, text_cells
from zoopipe_core.kernels.format_text import ABOVE_ASCII, BELOW_BLANK, ONE_OF_TWO, find_unusual
from zoopipe_core.kernels.rows import ROOM, size_rows, write_rows

__all__ = ["copy_rows"]

Bytes: TypeAlias = npt.NDArray[np.uint8]
Offsets: TypeAlias = npt.NDArray[np.int32]

LEAST_SHARE = 0.5
"""The share of columns from which copying pays: the cells of the others are written twice."""


def copy_rows(
    columns: Sequence[Column],
    style: CellStyle,
    takes: Callable[[TextCells], bool],
    special: tuple[int, int],
    befores: Sequence[bytes],
    end: bytes,
) -> pa.Buffer | None:
    """The rows of `columns`: `befores`, each in front of its column's cell, and `end` behind each row.

    None where that is better done column by column, or a cell cannot be written.

    `style` says how the format has cells, and `takes` whether those of a column of texts can be written as they are but
    for the quotes. `special` are the characters that no such text has, beside control characters.
    """
    spelled = [column.spelled for column in columns]
    first = next((held for held in spelled if held is not None), None)
    if first is None or not len(columns[0]):
        return None
    block = first[0].data
    rows = _Rows(style, len(columns), len(columns[0]), *first)
    copied = [
        held is not None and held[0].data is block and rows.copy(place, column, *held, takes)
        for place, (column, held) in enumerate(zip(columns, spelled, strict=True))
    ]
    if sum(copied) < LEAST_SHARE * len(columns):
        return None
    for place, column in enumerate(columns):
        if copied[place] or (spelled[place] is None and rows.refer(place, column, takes, special)):
            continue
        if not rows.make(place, column):
            return None
    return rows.written(befores, end)


class _Rows:
    """Where each cell of a batch is, as `write_rows` has it.

    Cells that stay where a file was cut are found by the number of their row in the block; only columns of which a cell
    is made get places of their own.

    Args:
        style: how the format has cells.
        width, count: columns and rows.
        cells: of one of the columns.
        rows: int64 (count,), which of the cells are its own; None: all.
    """

    def __init__(
        self, style: CellStyle, width: int, count: int, cells: TextCells, rows: npt.NDArray[np.int64] | None
    ) -> None:
        self._style = style
        self._block = cells.data
        self._starts, self._ends = _whole(cells.starts), _whole(cells.ends)
        self._rows = rows
        self._count = count
        self._columns = np.zeros(width, np.int32)
        self._quotes = np.zeros(width, np.uint8)
        self._enclosed = np.zeros(width, np.bool_)
        self._own: list[tuple[Offsets, Offsets]] = []
        self._made: list[Bytes] = [np.frombuffer(style.null, np.uint8)]
        self._made_bytes = len(style.null)

    def copy(
        self,
        place: int,
        column: Column,
        cells: TextCells,
        rows: npt.NDArray[np.int64] | None,
        takes: Callable[[TextCells], bool],
    ) -> bool:
        """Take the cells of a column from where they are; False if they cannot be written so."""
        kind = column.type.arrow
        if pa.types.is_string(kind) and not takes(cells):
            return False
        quoted = bool(self._style.quote) and (pa.types.is_string(kind) or pa.types.is_temporal(kind))
        self._quotes[place] = self._style.quote if quoted else 0
        others = None if cells.respelled is None else np.flatnonzero(_of(cells.respelled, rows))
        if cells.nulls is None and (others is None or not len(others)) and rows is self._rows:
            start, end = _place_in(self._starts, cells.starts), _place_in(self._ends, cells.ends)
            if start is not None and start == end:
                self._columns[place] = start
                return True
        starts, ends = self._own_places(place)
        starts[:], ends[:] = _of(cells.starts, rows), _of(cells.ends, rows)
        if cells.nulls is not None:
            nulls = _of(cells.nulls, rows)
            starts[nulls] = -1
            ends[nulls] = len(self._style.null) - 1 - 2 * int(quoted)
        return others is None or not len(others) or self._make(starts, ends, place, column.take(others), others)

    def refer(self, place: int, column: Column, takes: Callable[[TextCells], bool], special: tuple[int, int]) -> bool:
        """Take the texts of a column as they are, if all can be; what surrounds the cells has the quotes."""
        array = column.held_array
        if array is None or array.null_count or not pa.types.is_string(array.type):
            return False
        cells = text_cells(array)
        text = cells.data[int(cells.starts[0]) : int(cells.ends[-1])]
        cells = replace(cells, absent=_absent(text, special))
        if not cells.is_ascii or not takes(cells):
            return False
        if self._made_bytes + len(text) > np.iinfo(np.int32).max:
            return False
        starts, ends = self._own_places(place)
        np.subtract(int(cells.starts[0]) - self._made_bytes - 1, cells.starts, out=starts)
        np.add(starts, cells.ends - cells.starts, out=ends)
        self._made.append(text)
        self._made_bytes += len(text)
        self._enclosed[place] = bool(self._style.quote)
        return True

    def make(self, place: int, column: Column) -> bool:
        """Make all cells of a column; False if one cannot be written."""
        self._quotes[place] = 0
        return self._make(*self._own_places(place), place, column, slice(None))

    def _own_places(self, place: int) -> tuple[Offsets, Offsets]:
        self._columns[place] = -1 - len(self._own) * self._count
        self._own.append((place_array(self._count), place_array(self._count)))
        return self._own[-1]

    def _make(
        self,
        starts: Offsets,
        ends: Offsets,
        place: int,
        column: Column,
        where: slice | npt.NDArray[np.int64],
    ) -> bool:
        """Make the cells that are `where` in the column of places."""
        laid_out = lay_out([column_writer(column, self._style)], [b""], b"", self._style.null, len(column))
        if laid_out is None or self._made_bytes + laid_out[0].size > np.iinfo(np.int32).max:
            return False
        buffer, bounds = laid_out
        sizes = np.diff(bounds, prepend=0)
        starts[where] = begins = -1 - (self._made_bytes + bounds - sizes)
        ends[where] = begins + sizes - 2 * int(self._quotes[place] != 0)
        self._made.append(np.frombuffer(buffer, np.uint8))
        self._made_bytes += buffer.size
        return True

    def written(self, befores: Sequence[bytes], end: bytes) -> pa.Buffer:
        """The text of all rows."""
        quotes = [bytes([self._style.quote]) if enclosed else b"" for enclosed in self._enclosed]
        end = quotes[-1] + end
        befores = [b"".join(around) for around in zip([b"", *quotes[:-1]], befores, quotes, strict=True)]
        pieces = [*befores, end + befores[0], end]
        texts = np.frombuffer(b"".join(pieces) + bytes(ROOM), np.uint8)
        bounds = np.fromiter(accumulate(map(len, pieces), initial=0), np.int32, len(pieces) + 1)
        numbers = np.arange(self._count) if self._rows is None else self._rows
        own = [_joined([pair[side] for pair in self._own]) for side in range(2)]
        places = (self._starts, self._ends, numbers.astype(np.int32), *own, self._columns, self._quotes)
        notes = np.zeros(1, np.int64)
        size_rows(*places, notes)
        size = self._count * (sum(map(len, befores)) + len(end)) + int(notes[0])
        buffer, out = text_buffer(size + ROOM)
        write_rows(self._block, *places, _joined(self._made), texts, bounds, out)
        return buffer.slice(0, size)


def _absent(text: Bytes, special: tuple[int, int]) -> frozenset[int]:
    """Bytes that a text is known not to have: those that matter to a format."""
    flags = np.zeros(1, np.uint8)
    find_unusual(text, *special, flags)
    found = int(flags[0])
    absent = frozenset[int]() if found & BELOW_BLANK else _CONTROLS
    absent |= frozenset[int]() if found & ONE_OF_TWO else frozenset(special)
    return absent if found & ABOVE_ASCII else absent | NOT_ASCII


_CONTROLS = frozenset(range(ord(" ")))


def _of(values: npt.NDArray[Any], rows: npt.NDArray[np.int64] | None) -> npt.NDArray[Any]:
    return values if rows is None else values.take(rows)


def _joined(arrays: Sequence[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    if not arrays:
        return np.zeros(0, np.int32)
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def _whole(places: Offsets) -> Offsets:
    """The array of which `places` are a part, or themselves."""
    base = places.base
    return base if isinstance(base, np.ndarray) and base.dtype == np.int32 and base.ndim == 1 else places


def _place_in(whole: Offsets, part: Offsets) -> int | None:
    """Where `part` begins in `whole`, if it is a part of it."""
    if part is not whole and part.base is not whole:
        return None
    first, begin = (int(array.__array_interface__["data"][0]) for array in (whole, part))
    return (begin - first) // whole.itemsize
