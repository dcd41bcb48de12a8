"""UUIDs from text."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, OFFSETS, SURE, UINT8, UNSURE, device, kernel
from zoopipe_core.kernels.swar import HIGH_BITS, LOW_BITS, PLACE, eight_bytes, four_bytes

__all__ = ["parse_uuid"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
State = npt.NDArray[np.uint8]

(DASH,) = b"-"

# Added to each byte of at most 0x7F, these set its high bit from the character on that the name tells.
FROM_0, FROM_COLON = np.uint64(0x5050505050505050), np.uint64(0x4646464646464646)
FROM_A, FROM_G = np.uint64(0x1F1F1F1F1F1F1F1F), np.uint64(0x1919191919191919)
LOWER_CASE = np.uint64(0x2020202020202020)
LOW_NIBBLES, ONES = np.uint64(0x0F0F0F0F0F0F0F0F), np.uint64(0x0101010101010101)
BYTE = np.uint64(255)
FOUR, SIX, EIGHT, NINE, SIXTEEN, THIRTY_TWO, FORTY_EIGHT = (np.uint64(n) for n in (4, 6, 8, 9, 16, 32, 48))


@device
def _not_hex(text: np.uint64) -> np.uint64:
    """A bit for each of the eight bytes that is no hex digit; 0 if there is none."""
    low = text & LOW_BITS
    digits = (low + FROM_0) & ((low + FROM_COLON) ^ HIGH_BITS)
    low |= LOWER_CASE
    letters = (low + FROM_A) & ((low + FROM_G) ^ HIGH_BITS)
    return (((digits | letters) ^ HIGH_BITS) | text) & HIGH_BITS


@device
def _decode(text: np.uint64, out: Bytes, place: int) -> None:
    """Write the four bytes that eight hex digits spell to `out`."""
    # The low four bits are the digit; letters have bit 6 set, and theirs start at 1 instead of 10.
    nibbles = (text & LOW_NIBBLES) + ((text >> SIX) & ONES) * NINE
    pairs = nibbles << FOUR | nibbles >> EIGHT  # every other byte holds two of them
    out[place] = np.uint8(pairs & BYTE)
    out[place + 1] = np.uint8(pairs >> SIXTEEN & BYTE)
    out[place + 2] = np.uint8(pairs >> THIRTY_TWO & BYTE)
    out[place + 3] = np.uint8(pairs >> FORTY_EIGHT & BYTE)


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, UINT8)
def parse_uuid(data: Bytes, starts: Offsets, ends: Offsets, out: Bytes, state: State) -> None:
    """32 hex digits of either case, with dashes as 8-4-4-4-12 or with none.

    Cell i is the UTF-8 text ``data[starts[i]:ends[i]]``; cells whose state is not `SURE` on entry are passed over.

    out: uint8 (16 n,), the bytes of each UUID in big-endian order, as Python's ``UUID.bytes``.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        at = int(starts[i]) & PLACE
        length = int(ends[i]) - at
        state[i] = UNSURE
        if length == 36:
            if data[at + 8] != DASH or data[at + 13] != DASH or data[at + 18] != DASH or data[at + 23] != DASH:
                continue
            first = eight_bytes(data, at)
            second = four_bytes(data, at + 9) | four_bytes(data, at + 14) << THIRTY_TWO
            third = four_bytes(data, at + 19) | four_bytes(data, at + 24) << THIRTY_TWO
            fourth = eight_bytes(data, at + 28)
        elif length == 32:
            first = eight_bytes(data, at)
            second = eight_bytes(data, at + 8)
            third = eight_bytes(data, at + 16)
            fourth = eight_bytes(data, at + 24)
        else:
            continue
        if _not_hex(first) | _not_hex(second) | _not_hex(third) | _not_hex(fourth) != 0:
            continue
        _decode(first, out, 16 * i)
        _decode(second, out, 16 * i + 4)
        _decode(third, out, 16 * i + 8)
        _decode(fourth, out, 16 * i + 12)
        state[i] = SURE
