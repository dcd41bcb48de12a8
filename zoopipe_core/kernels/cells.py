"""Cells that do not lie one behind the other in memory, gathered so that they do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT32, OFFSETS, SURE, UINT8, UINT8_VALUES, kernel
from zoopipe_core.kernels.emit import put_bytes
from zoopipe_core.kernels.swar import PLACE

__all__ = ["copy_cells", "offsets_of"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
State = npt.NDArray[np.uint8]


@kernel(OFFSETS, OFFSETS, UINT8_VALUES, INT32)
def offsets_of(starts: Offsets, ends: Offsets, state: State, out: Offsets) -> None:
    """Where cells lie once they are gathered: the offsets of an Arrow column. Cells that are not SURE are empty.

    out: int32 (n + 1,), the last one is the size of all of them.
    """
    total = 0
    out[0] = 0
    for i in range(len(state)):
        if state[i] == SURE:
            total += int(ends[i]) - int(starts[i])
        out[i + 1] = total


@kernel(BYTES, OFFSETS, OFFSETS, OFFSETS, UINT8)
def copy_cells(data: Bytes, starts: Offsets, ends: Offsets, offsets: Offsets, out: Bytes) -> None:
    """The bytes of the cells, each at its offset.

    offsets: int32 (n + 1,), of `offsets_of`.
    out: uint8 (offsets[n],).
    """
    for i in range(len(starts)):
        at = int(starts[i]) & PLACE
        to = int(offsets[i]) & PLACE
        put_bytes(out, to, data, at, at + int(offsets[i + 1]) - to)
