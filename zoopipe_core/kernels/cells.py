"""Cells that do not lie one behind the other in memory, gathered so that they do."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT32, OFFSETS, SURE, UINT8, UINT8_VALUES, kernel
from zoopipe_core.kernels.emit import put_bytes
from zoopipe_core.kernels.swar import PLACE

__all__ = ["gather_cells"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
State = npt.NDArray[np.uint8]


@kernel(BYTES, OFFSETS, OFFSETS, UINT8_VALUES, INT32, UINT8)
def gather_cells(data: Bytes, starts: Offsets, ends: Offsets, state: State, offsets: Offsets, out: Bytes) -> None:
    """The bytes of the cells, one behind the other, and where they are then: the memory of an Arrow column.

    Cells that are not SURE are empty.

    offsets: int32 (n + 1,).
    out: uint8, at least as long as all cells together.
    """
    to = 0
    offsets[0] = 0
    for i in range(len(state)):
        if state[i] == SURE:
            to = put_bytes(out, to & PLACE, data, int(starts[i]) & PLACE, int(ends[i]))
        offsets[i + 1] = to
