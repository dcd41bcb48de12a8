"""JSON numbers for decimals: pydantic makes a double of a number first, and a decimal of the double's shortest text.

For a number of up to 15 digits that text is the number's own, without the zeros at its end: ``12.50`` is
``Decimal("12.5")``, and ``12.0`` is ``Decimal("12")``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT32, OFFSETS, SURE, UINT8, UINT8_VALUES, UNSURE, kernel
from zoopipe_core.kernels.json_tokens import MINUS, NINE, NUMBER, POINT, ZERO
from zoopipe_core.kernels.swar import PLACE

__all__ = ["trim_numbers"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Kinds = npt.NDArray[np.uint8]
State = npt.NDArray[np.uint8]

DOUBLE_DIGITS = 15
"""Digits of which no two numbers are the same double."""


@kernel(BYTES, OFFSETS, OFFSETS, UINT8_VALUES, INT32, UINT8)
def trim_numbers(data: Bytes, starts: Offsets, ends: Offsets, kinds: Kinds, new_ends: Offsets, state: State) -> None:
    """Where the cells of kind NUMBER end without the zeros at the end of their fraction; other cells stay whole.

    kinds: uint8 (n,), as `json_scan.scan_objects` leaves them.
    new_ends: int32 (n,).
    state: uint8 (n,), set to UNSURE for NUMBERs with an exponent or more than 15 digits.
    """
    for i in range(len(state)):
        end = int(ends[i])
        new_ends[i] = end
        if state[i] != SURE or kinds[i] != NUMBER:
            continue
        first = int(starts[i]) & PLACE
        first += int(first < end and data[first] == MINUS)
        at = first
        while at < end and ZERO <= data[at] <= NINE:
            at += 1
        point = at
        if at < end and data[at] == POINT:
            at += 1
            while at < end and ZERO <= data[at] <= NINE:
                at += 1
        plain = at == end and point < end
        if plain:
            while end - 1 > point and data[end - 1] == ZERO:
                end -= 1
            if end - 1 == point:
                end = point
        digits = end - first - int(end > point)
        if plain and digits <= DOUBLE_DIGITS:
            new_ends[i] = end
        else:
            state[i] = UNSURE
