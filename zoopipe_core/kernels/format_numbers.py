"""Integers and booleans as text, as Python and JSON write them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, INT64_SCALAR, INT64_VALUES, UINT8, device, kernel
from zoopipe_core.kernels.emit import NULL, count_digits, put_bytes, put_digits

__all__ = ["size_bool", "size_int64", "write_bool", "write_int64"]

Bytes = npt.NDArray[np.uint8]
Form = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]

MINUS = 45
U1 = np.uint64(1)
FALSE_TRUE = np.frombuffer(b"falsetrue", np.uint8)
WORD = 5
"""Where the one word ends and the other begins."""


@device
def _magnitude(value: np.int64) -> np.uint64:
    """How far it is from 0; also for the least int64, which has no counterpart above 0."""
    bits = np.int64(value).view(np.uint64)
    return ~bits + U1 if value < 0 else bits


@kernel(INT64_VALUES, UINT8, INT64_SCALAR, INT64)
def size_int64(values: Sizes, form: Form, null_width: int, sizes: Sizes) -> None:
    """Add the size of each integer."""
    for i in range(len(sizes)):
        if form[i] == NULL:
            sizes[i] += null_width
        else:
            sizes[i] += count_digits(_magnitude(values[i])) + int(values[i] < 0)


@kernel(INT64_VALUES, UINT8, BYTES, BYTES, INT64, UINT8)
def write_int64(values: Sizes, form: Form, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes) -> None:
    """Write each integer."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        number = _magnitude(values[i])
        if values[i] < 0:
            out[at] = MINUS
            at += 1
        digits = count_digits(number)
        put_digits(out, at, number, digits)
        cursor[i] = at + digits


@kernel(BYTES, UINT8, INT64_SCALAR, INT64)
def size_bool(values: Bytes, form: Form, null_width: int, sizes: Sizes) -> None:
    """Add the size of each boolean: `values` are 0 or 1."""
    for i in range(len(sizes)):
        sizes[i] += null_width if form[i] == NULL else WORD - int(values[i])


@kernel(BYTES, UINT8, BYTES, BYTES, INT64, UINT8)
def write_bool(values: Bytes, form: Form, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes) -> None:
    """Write ``true`` or ``false``."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            at = put_bytes(out, at, null, 0, len(null))
        elif values[i] == 0:
            at = put_bytes(out, at, FALSE_TRUE, 0, WORD)
        else:
            at = put_bytes(out, at, FALSE_TRUE, WORD, 9)
        cursor[i] = at
