"""Regular expressions: whether a text has a match, by a table of states."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64_SCALAR, OFFSETS, SURE, UINT8, UNSURE, kernel
from zoopipe_core.kernels.swar import PLACE

__all__ = ["CHARACTERS", "MATCHED", "NEVER", "match_pattern"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
State = npt.NDArray[np.uint8]

CHARACTERS = 128
"""A state's row in the table: what follows on each ASCII character."""
NEVER = 0
"""The state from which there is no match, whatever comes."""
MATCHED = 1
"""The state in which there is a match, whatever comes."""


@kernel(BYTES, OFFSETS, OFFSETS, BYTES, BYTES, INT64_SCALAR, UINT8)
def match_pattern(
    data: Bytes, starts: Offsets, ends: Offsets, follows: Bytes, final: Bytes, first: int, state: State
) -> None:
    """UNSURE for cells without a match, and for those that have characters beyond ASCII before a match is certain.

    follows: uint8 (s * CHARACTERS,), the state after each of s states and each character.
    final: uint8 (s,), 1 for states in which the end of the cell makes a match.
    first: the state to start in.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        at = int(starts[i]) & PLACE
        end = int(ends[i])
        current = first
        while at < end and current > MATCHED:
            byte = int(data[at])
            current = int(follows[current * CHARACTERS + byte]) if byte < CHARACTERS else NEVER
            at += 1
        if final[current & PLACE] == 0:
            state[i] = UNSURE
