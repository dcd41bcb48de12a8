"""Columns that are almost right: what a kernel must not take for right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date

import numpy as np
from hypothesis import strategies as st

from tests.kernels.conftest import Column, byte_column

SEED = int(os.environ.get("ZOOPIPE_TEST_SEED") or date.today().toordinal())
"""A new one each day; shown with every failure."""


def disturbed_column(cells: Sequence[bytes], alphabet: bytes) -> Column:
    """Cells of which about every third has bytes of `alphabet` in place of its own, and some lack their ends."""
    rng = np.random.default_rng(SEED)
    data, starts, ends = byte_column(cells)
    data = data.copy()
    count = len(cells) // 3
    data[rng.integers(0, len(data), count)] = rng.choice(np.frombuffer(alphabet, np.uint8), count)
    shorter = rng.choice(np.array([0] * 12 + [1, 2, 3], np.int32), len(cells))
    return data, starts, np.maximum(starts, ends - shorter)


def near_misses(texts: st.SearchStrategy[str], alphabet: str) -> st.SearchStrategy[str]:
    """Texts with a character taken out, put in or replaced, or as they are."""
    place = st.integers(0, 40)
    pieces = st.sampled_from(["", *alphabet, *"０٣−\x00\xa0\ud800", "  ", "00"])

    def change(text: str, at: int, removed: int, piece: str) -> str:
        return text[:at] + piece + text[at + removed :]

    return texts | st.builds(change, texts, place, st.integers(0, 2), pieces)
