"""JSON strings with escapes, written out: what stands between the quotes becomes the text that it means."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT32, OFFSETS, UINT8, UINT8_VALUES, UNSURE, device, kernel
from zoopipe_core.kernels.json_tokens import BACKSLASH, ESCAPED, read_escape
from zoopipe_core.kernels.swar import PLACE

__all__ = ["unescape_cells"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Kinds = npt.NDArray[np.uint8]
State = npt.NDArray[np.uint8]

CONTINUES = 0x80


@device
def _put_code_point(code: int, out: Bytes, to: int) -> int:
    """Write a code point to `out` in UTF-8; the place behind it."""
    if code < 0x80:
        out[to] = code
        size = 1
    elif code < 0x800:
        out[to] = 0xC0 | code >> 6
        size = 2
    elif code < 0x10000:
        out[to] = 0xE0 | code >> 12
        out[to + 1] = CONTINUES | code >> 6 & 63
        size = 3
    else:
        out[to] = 0xF0 | code >> 18
        out[to + 1] = CONTINUES | code >> 12 & 63
        out[to + 2] = CONTINUES | code >> 6 & 63
        size = 4
    if size > 1:
        out[to + size - 1] = CONTINUES | code & 63
    return to + size


@kernel(BYTES, OFFSETS, OFFSETS, UINT8_VALUES, UINT8, INT32, UINT8)
def unescape_cells(
    data: Bytes, starts: Offsets, ends: Offsets, kinds: Kinds, out: Bytes, offsets: Offsets, state: State
) -> None:
    """The cells one behind the other, those that are ESCAPED with their escapes replaced, others as they are.

    kinds: uint8 (n,), as `json_scan.scan_objects` leaves them.
    out: uint8 (m,), at least as long as all cells together: no text is longer than its escapes.
    offsets: int32 (n + 1,), where the cells are in `out`: the offsets of an Arrow column.
    state: uint8 (n,), set to UNSURE for cells with an escape that is none.
    """
    to = 0
    offsets[0] = 0
    for i in range(len(state)):
        at = int(starts[i]) & PLACE
        end = int(ends[i])
        if kinds[i] == ESCAPED:
            while at < end:
                if data[at] == BACKSLASH:
                    code, at = read_escape(data, at, end)
                    if code < 0:
                        state[i] = UNSURE
                        at = end
                    else:
                        to = _put_code_point(code, out, to)
                else:
                    out[to] = data[at]
                    at += 1
                    to += 1
        else:
            for k in range(end - at):
                out[to + k] = data[at + k]
            to += max(end - at, 0)
        offsets[i + 1] = to
