"""SHA-256 (FIPS 180-4) of every cell of a column, many cells side by side.

One hash alone is a chain of steps that each wait for the one before. So `LANES` messages go through the rounds
together, each in a lane of its own; a loop over lanes is what compilers make vector instructions of, on every
processor, with no instruction named here. A lane whose message ends takes the next cell: lengths may differ.

``work`` holds what the rounds need, row after row of one word for each lane. Numbering the rounds from 0, row
``ROUND_A + t + 4`` is the variable *a* of FIPS behind round t and row ``ROUND_E + t + 4`` its *e*; the other six are
those of the rounds before, so that nothing is ever moved. Row ``SCHEDULE + t`` is the word W of round t.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, INT64_SCALAR, OFFSETS, UINT8, UINT32, UINT32_TABLE, device, kernel
from zoopipe_core.kernels.swar import PLACE

__all__ = ["BLOCK", "DIGEST", "FIRST", "LANES", "LANE_ITEMS", "NO_END", "WORK_ITEMS", "hex_digits", "sha256"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint32]
Lanes = npt.NDArray[np.int64]

BLOCK = 64
"""Bytes that are hashed at a time."""
DIGEST = 32
"""Bytes of a hash."""
LANES = 16
"""Messages side by side: two vectors of AVX2, since one alone would wait for its own results."""

ROUND_A, ROUND_E, SCHEDULE = 0, 68 * LANES, 136 * LANES
WORK_ITEMS = 200 * LANES
"""Items of the array ``work``."""
CELL, AT, LEFT = 0, LANES, 2 * LANES
LANE_ITEMS = 3 * LANES
"""Items of the array ``lanes``: each lane's cell, its next byte, and how many are left of it."""

NO_END = -1
"""In place of the bytes hashed before: the cells are whole blocks, and what comes out is the state behind them."""
PADDED = -1
"""In place of the bytes left of a message: its end is marked, and only the block with its length is missing."""
IDLE = -1

MASK = 0xFFFF_FFFF
MOST_WITH_LENGTH = BLOCK - 9
"""Bytes in a block that leaves room for the mark and the length."""

FIRST = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)
"""uint32 (8,): the hash value that every message begins with."""

ROUND_CONSTANTS = np.array(
    [
        0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
        0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
        0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
        0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
        0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
        0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
        0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
        0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
    ],
    np.uint32,
)  # fmt: skip


# ---- rounds ----------------------------------------------------------------------------------------------------------


@device
def _rotated(word: int, count: int) -> int:
    """The word rotated to the right; bits above the 32 mean nothing, and never come back down."""
    return word >> count | word << (32 - count)


@device
def _compress(work: Words, count: int) -> None:
    """One block in each of the first `count` lanes: from the rows of a state and of a block to the state behind it.

    Each statement that is stored is one expression of its own, cut to 32 bits at its end and nowhere else: only then
    do compilers see that 32 bits are enough all along. That is also why *e* is finished before *a* is made of it.
    """
    for t in range(16, 64):
        row = SCHEDULE + t * LANES
        for i in range(row, row + count):
            far = int(work[i - 15 * LANES])
            near = int(work[i - 2 * LANES])
            work[i] = (
                int(work[i - 16 * LANES])
                + (_rotated(far, 7) ^ _rotated(far, 18) ^ far >> 3)
                + int(work[i - 7 * LANES])
                + (_rotated(near, 17) ^ _rotated(near, 19) ^ near >> 10)
            ) & MASK
    for t in range(64):
        row = t * LANES
        constant = int(ROUND_CONSTANTS[t])
        for i in range(row, row + count):
            e = int(work[i + ROUND_E + 3 * LANES])
            f = int(work[i + ROUND_E + 2 * LANES])
            g = int(work[i + ROUND_E + LANES])
            work[i + ROUND_E + 4 * LANES] = (
                int(work[i + ROUND_A])
                + int(work[i + ROUND_E])
                + (_rotated(e, 6) ^ _rotated(e, 11) ^ _rotated(e, 25))
                + (g ^ (e & (f ^ g)))
                + constant
                + int(work[i + SCHEDULE])
            ) & MASK
        for i in range(row, row + count):
            a = int(work[i + ROUND_A + 3 * LANES])
            b = int(work[i + ROUND_A + 2 * LANES])
            c = int(work[i + ROUND_A + LANES])
            work[i + ROUND_A + 4 * LANES] = (
                int(work[i + ROUND_E + 4 * LANES])
                - int(work[i + ROUND_A])
                + (_rotated(a, 2) ^ _rotated(a, 13) ^ _rotated(a, 22))
                + (a & b | c & (a | b))
            ) & MASK
    for t in range(4):
        row = t * LANES
        for i in range(row, row + count):
            work[i + ROUND_A] = (int(work[i + ROUND_A]) + int(work[i + ROUND_A + 64 * LANES])) & MASK
        for i in range(row, row + count):
            work[i + ROUND_E] = (int(work[i + ROUND_E]) + int(work[i + ROUND_E + 64 * LANES])) & MASK


# ---- messages --------------------------------------------------------------------------------------------------------


@device
def _begin(work: Words, lane: int, first: Words) -> None:
    """The state that a message in `lane` begins with."""
    for t in range(4):
        work[ROUND_A + (3 - t) * LANES + lane] = first[t]
        work[ROUND_E + (3 - t) * LANES + lane] = first[4 + t]


@device
def _word(data: Bytes, at: int) -> int:
    """Four bytes as a big-endian number. Two instructions when compiled."""
    return int(data[at]) << 24 | int(data[at + 1]) << 16 | int(data[at + 2]) << 8 | int(data[at + 3])


@device
def _fill(work: Words, lane: int, data: Bytes, at: int, left: int, bits: int) -> int:
    """Put the next block of a message into `lane`: its bytes, the mark behind them, the length if there is room.

    `left` bytes are left of it from `at` on (or it is PADDED), and `bits` is the length of the whole, below zero if it
    gets no end. What is left behind the block; less than PADDED if the message is over.
    """
    to = SCHEDULE + lane
    whole = min(max(left, 0), BLOCK) >> 2
    for k in range(whole):
        work[to + k * LANES] = _word(data, at + 4 * k)
    if left >= BLOCK:
        return left - BLOCK - 2 * int(bits < 0 and left == BLOCK)
    for k in range(whole, 16):
        work[to + k * LANES] = 0
    if left >= 0:
        last = 0x80 << 24 >> 8 * (left & 3)
        for k in range(left & 3):
            last |= int(data[at + 4 * whole + k]) << (24 - 8 * k)
        work[to + whole * LANES] = last
    if left > MOST_WITH_LENGTH:
        return PADDED
    work[to + 14 * LANES] = bits >> 32
    work[to + 15 * LANES] = bits & MASK
    return PADDED - 1


@device
def _put_word(out: Bytes, at: int, word: int) -> None:
    """Write a word with its highest byte first."""
    out[at] = word >> 24
    out[at + 1] = word >> 16 & 255
    out[at + 2] = word >> 8 & 255
    out[at + 3] = word & 255


@kernel(BYTES, OFFSETS, OFFSETS, UINT32_TABLE, INT64_SCALAR, INT64, UINT32, UINT8)
def sha256(
    data: Bytes, starts: Offsets, ends: Offsets, first: Words, before: int, lanes: Lanes, work: Words, out: Bytes
) -> None:
    """The hash of each cell ``data[starts[i]:ends[i]]``.

    first: uint32 (8,), the state to begin with: `FIRST`, or that behind `before` bytes (whole blocks) which every
        message has in common. `before` may be NO_END.
    lanes, work: int64 (LANE_ITEMS,) and uint32 (WORK_ITEMS,), to work with; what they hold means nothing.
    out: uint8 (32 n,), the hashes one behind the other.
    """
    count = min(len(starts), LANES)
    taken = 0
    for lane in range(count):
        lanes[CELL + lane] = IDLE
    busy = count
    while busy > 0:
        busy = 0
        for lane in range(count):
            cell = lanes[CELL + lane]
            if cell == IDLE:
                if taken == len(starts):
                    continue
                cell = taken
                taken += 1
                lanes[CELL + lane] = cell
                lanes[AT + lane] = int(starts[cell]) & PLACE
                lanes[LEFT + lane] = int(ends[cell]) - int(starts[cell])
                _begin(work, lane, first)
            at = lanes[AT + lane] & PLACE
            bits = -1 if before == NO_END else 8 * (before + int(ends[cell]) - int(starts[cell]))
            lanes[LEFT + lane] = _fill(work, lane, data, at, lanes[LEFT + lane], bits)
            lanes[AT + lane] = at + BLOCK
            busy += 1
        _compress(work, count)
        for lane in range(count):
            cell = lanes[CELL + lane] & PLACE
            if lanes[CELL + lane] != IDLE and lanes[LEFT + lane] < PADDED:
                for t in range(4):
                    _put_word(out, DIGEST * cell + 4 * t, int(work[ROUND_A + (3 - t) * LANES + lane]))
                    _put_word(out, DIGEST * cell + 16 + 4 * t, int(work[ROUND_E + (3 - t) * LANES + lane]))
                lanes[CELL + lane] = IDLE


@kernel(BYTES, UINT8)
def hex_digits(values: Bytes, out: Bytes) -> None:
    """Every byte as two lower-case hex digits.

    out: uint8 (2 m,).
    """
    for i in range(len(values)):
        value = int(values[i])
        high = value >> 4
        low = value & 15
        out[2 * i] = high + 48 + 39 * int(high > 9)
        out[2 * i + 1] = low + 48 + 39 * int(low > 9)
