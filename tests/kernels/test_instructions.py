"""What a processor does at once: what it compiles to gives what it says as Python."""

from __future__ import annotations

from functools import cache
from typing import Any

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.kernels.instructions import WINDOW, lowest, where_below, where_equal
from zoopipe_core.kernels.lowering import LOWERED

texts = st.binary(min_size=WINDOW, max_size=WINDOW) | st.lists(
    st.sampled_from([0, 127, 128, 255]), min_size=WINDOW, max_size=WINDOW
).map(bytes)


@cache
def compiled(function: Any) -> Any:
    lowered = LOWERED[function]
    if function is lowest:
        return numba.njit(lambda mask: lowered(mask))
    return numba.njit(lambda data, at, byte: lowered(data, at, byte))


@given(text=texts, start=st.integers(0, 9), byte=st.integers(0, 255))
def test_a_window_is_compared_byte_by_byte(text: bytes, start: int, byte: int) -> None:
    data = np.frombuffer(bytes(start) + text + b"beyond", np.uint8)
    for function, found in (
        (where_equal, [one == byte for one in text]),
        (where_below, [one < byte for one in text]),
    ):
        mask = sum(1 << place for place, is_so in enumerate(found) if is_so)
        assert int(function(data, start, byte)) == mask == compiled(function)(data, start, byte)
        if mask:
            assert lowest(np.uint64(mask)) == found.index(True) == compiled(lowest)(np.uint64(mask))
