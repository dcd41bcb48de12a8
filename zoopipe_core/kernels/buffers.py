"""Arrow's buffers as NumPy arrays and back, without a copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.kernels._jit import SURE, UNSURE

__all__ = ["TextCells", "array_from_numpy", "text_cells"]

_EMPTY = np.zeros(1, np.uint8)[:0]


@dataclass(frozen=True, slots=True)
class TextCells:
    """A binary or string column as kernels take it.

    Attributes:
        data: uint8 (m,), read only.
        starts, ends: int32 (n,), read only.
        nulls: bool (n,), or None if no cell is null.
    """

    data: npt.NDArray[np.uint8]
    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    nulls: npt.NDArray[np.bool_] | None

    def fresh_state(self) -> npt.NDArray[np.uint8]:
        """uint8 (n,): SURE, and UNSURE for null cells, which kernels pass over."""
        state = np.full(len(self.starts), SURE, np.uint8)
        if self.nulls is not None:
            state[self.nulls] = UNSURE
        return state


def text_cells(array: pa.Array) -> TextCells:
    """The cells of an array of type binary or string. Shares its memory; a sliced array is fine."""
    count, offset = len(array), array.offset
    validity, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, np.int32)[offset : offset + count + 1] if offsets else np.zeros(1, np.int32)
    nulls = None
    if array.null_count:
        bits = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")
        nulls = bits[offset : offset + count] == 0
    bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else _EMPTY
    return TextCells(bytes_, bounds[:-1], bounds[1:], nulls)


def array_from_numpy(values: npt.NDArray[Any], kind: pa.DataType, nulls: npt.NDArray[np.bool_] | None) -> pa.Array:
    """An Arrow array of a fixed-width type over the memory of `values`."""
    validity = None
    if nulls is not None and nulls.any():
        validity = pa.py_buffer(np.packbits(~nulls, bitorder="little"))
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(np.ascontiguousarray(values))])
