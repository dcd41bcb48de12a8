"""UUIDs as text: 32 lower-case hex digits, with dashes as 8-4-4-4-12."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, INT64_SCALAR, UINT8, device, kernel
from zoopipe_core.kernels.emit import NULL, put_bytes, put_quote

__all__ = ["UUID_WIDTH", "write_uuid"]

Bytes = npt.NDArray[np.uint8]
Form = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]

UUID_WIDTH = 36
"""Bytes of each cell, quotes not counted."""
DASH = 45
HEX_PAIRS = np.frombuffer(b"".join(b"%02x" % n for n in range(256)), np.uint8)
"""uint8 (512,): the two digits of each byte."""


@device
def _put_hex(out: Bytes, at: int, values: Bytes, start: int, end: int) -> int:
    """Write the bytes ``values[start:end]`` as two digits each; where that ends."""
    for k in range(start, end):
        place = 2 * int(values[k])
        out[at] = HEX_PAIRS[place]
        out[at + 1] = HEX_PAIRS[place + 1]
        at += 2
    return at


@kernel(BYTES, UINT8, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_uuid(values: Bytes, form: Form, quote: int, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes) -> None:
    """Write each UUID. values: uint8 (16 n,), sixteen bytes each, as Python's ``UUID.bytes``."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        at = put_quote(out, at, quote)
        start = 16 * i
        at = _put_hex(out, at, values, start, start + 4)
        for k in range(4, 10, 2):
            out[at] = DASH
            at = _put_hex(out, at + 1, values, start + k, start + k + 2)
        out[at] = DASH
        at = _put_hex(out, at + 1, values, start + 10, start + 16)
        cursor[i] = put_quote(out, at, quote)
