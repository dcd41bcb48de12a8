"""Arrow's buffers as NumPy arrays and back, without a copy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.kernels._jit import SURE, UNSURE

__all__ = [
    "TextCells",
    "array_from_numpy",
    "gathered_cells",
    "null_mask",
    "strings_from_cells",
    "text_cells",
    "true_mask",
    "validity_of",
]

NOT_ASCII = frozenset(range(128, 256))

_EMPTY = np.zeros(1, np.uint8)[:0]


@dataclass(frozen=True, slots=True)
class TextCells:
    """A binary or string column as kernels take it.

    Attributes:
        data: uint8 (m,), read only.
        starts, ends: int32 (n,), read only.
        nulls: bool (n,), or None if no cell is null.
        array: the column itself, if the cells are those of one; None if they lie scattered in `data`.
        absent: bytes that are known to be in no cell.
        respelled: uint8 (n,), 1 for each cell whose value is written otherwise; None if there is none.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    nulls: npt.NDArray[np.bool_] | None
    array: pa.Array | None = None
    absent: frozenset[int] = frozenset()
    respelled: npt.NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def is_ascii(self) -> bool:
        """Whether the cells are known to be ASCII."""
        return self.absent >= NOT_ASCII

    def fresh_state(self) -> npt.NDArray[np.uint8]:
        """uint8 (n,): SURE, and UNSURE for null cells, which kernels pass over."""
        state = np.full(len(self.starts), SURE, np.uint8)
        if self.nulls is not None:
            state[self.nulls] = UNSURE
        return state

    def slice(self, start: int, stop: int) -> TextCells:
        """Cells ``start:stop``, without a copy."""
        nulls = None if self.nulls is None else self.nulls[start:stop]
        array = None if self.array is None else self.array.slice(start, stop - start)
        respelled = None if self.respelled is None else self.respelled[start:stop]
        return TextCells(
            self.data, self.starts[start:stop], self.ends[start:stop], nulls, array, self.absent, respelled
        )

    def take(self, indices: npt.NDArray[np.int64]) -> TextCells:
        """The cells at `indices`: int64 (m,)."""
        nulls = None if self.nulls is None else self.nulls[indices]
        respelled = None if self.respelled is None else self.respelled[indices]
        starts, ends = self.starts[indices], self.ends[indices]
        return TextCells(self.data, starts, ends, nulls, None, self.absent, respelled)

    def with_respelled(self, respelled: npt.NDArray[np.uint8]) -> TextCells:
        """The same cells, with those marked whose value is written otherwise."""
        return replace(self, respelled=respelled if respelled.any() else None)


def text_cells(array: pa.Array) -> TextCells:
    """The cells of an array of type binary or string. Shares its memory; a sliced array is fine."""
    count, offset = len(array), array.offset
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int32)[offset : offset + count + 1] if offsets else np.zeros(1, np.int32)
    nulls = null_mask(array) if array.null_count else None
    bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else _EMPTY
    return TextCells(bytes_, bounds[:-1], bounds[1:], nulls, array)


def null_mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Which cells of an array with validity bits are null: bool (n,). Unlike ``to_numpy`` this imports no pandas."""
    validity = array.buffers()[0]
    if validity is None:
        return np.zeros(len(array), np.bool_)
    return np.equal(_bits(validity, array), 0)


def true_mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Which cells of a boolean array are true: bool (n,)."""
    return np.equal(_bits(array.buffers()[1], array), 1) & ~null_mask(array)


def _bits(buffer: pa.Buffer, array: pa.Array) -> npt.NDArray[np.uint8]:
    if not len(array):
        return np.zeros(0, np.uint8)
    bits: npt.NDArray[np.uint8] = np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little")
    return bits[array.offset : array.offset + len(array)]


def array_from_numpy(values: npt.NDArray[Any], kind: pa.DataType, nulls: npt.NDArray[np.bool_] | None) -> pa.Array:
    """An Arrow array of a fixed-width type over the memory of `values`."""
    return pa.Array.from_buffers(kind, len(values), [validity_of(nulls), pa.py_buffer(np.ascontiguousarray(values))])


def validity_of(nulls: npt.NDArray[np.bool_] | None) -> pa.Buffer | None:
    """Arrow's validity bits for a mask of null cells; None if there are none."""
    if nulls is None or not nulls.any():
        return None
    return pa.py_buffer(np.packbits(~nulls, bitorder="little"))


def strings_from_cells(cells: TextCells, state: npt.NDArray[np.uint8]) -> pa.Array:
    """The cells as an Arrow array of strings; what stands in those that are not SURE means nothing.

    Shares the memory of a column as it was read, else copies the bytes together.
    """
    if cells.array is not None:
        source = cells.array
        return pa.Array.from_buffers(pa.string(), len(cells), source.buffers(), offset=source.offset)
    return _gathered(cells, state, pa.string())


def gathered_cells(cells: TextCells, kind: pa.DataType) -> pa.Array:
    """The cells as an Arrow array of type binary or string, in memory of its own."""
    return _gathered(cells, cells.fresh_state(), kind)


def _gathered(cells: TextCells, state: npt.NDArray[np.uint8], kind: pa.DataType) -> pa.Array:
    from zoopipe_core.kernels.cells import gather_cells

    count = len(cells)
    offsets = np.empty(count + 1, np.int32)
    sizes = cells.ends - cells.starts
    sizes[state != SURE] = 0  # where a cell that is not looked at ends may be before where it starts
    data = np.empty(int(sizes.sum(dtype=np.int64)), np.uint8)
    gather_cells(cells.data, cells.starts, cells.ends, state, offsets, data)
    buffers = [validity_of(cells.nulls), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(kind, count, buffers)
