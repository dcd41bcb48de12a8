"""Rows that are copied, and cells that are gathered, by the kernels as Python and compiled."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.conftest import RunKernel, byte_column
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.cells import gather_cells
from zoopipe_core.kernels.rows import ROOM, size_rows, write_rows

cells = st.binary(max_size=40)


def int32(numbers: object) -> np.ndarray:  # type: ignore[type-arg]
    return np.array(numbers, np.int32)


@settings(deadline=None)
@given(
    table=st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=12),
    data=st.data(),
    befores=st.tuples(cells, cells, cells),
    end=cells,
)
def test_rows_are_what_stands_before_cells_and_the_cells(
    table: list[tuple[bytes, ...]], data: st.DataObject, befores: tuple[bytes, ...], end: bytes, run_kernel: RunKernel
) -> None:
    """The first two columns are in the block, the first one between quotes; the third one is made."""
    taken = data.draw(st.lists(st.integers(0, len(table) - 1), max_size=12))
    block, starts, ends = byte_column([cell for column in range(2) for cell in (row[column] for row in table)])
    made, own, own_ends = byte_column([b"null", *(table[row][2] for row in taken)])
    sizes = own_ends - own
    own_starts = -1 - own[1:]
    pieces = [*befores, end + befores[0], end]
    texts = np.frombuffer(b"".join(pieces) + bytes(ROOM), np.uint8)
    bounds = int32([0, *np.cumsum([len(piece) for piece in pieces])])
    quotes = np.array([ord("'"), 0, 0], np.uint8)
    columns = int32([0, len(table), -1])
    places = (starts, ends, int32(taken), own_starts, own_starts + sizes[1:], columns, quotes)
    notes = np.zeros(1, np.int64)
    run_kernel(size_rows, *places, notes)
    size = int(notes[0]) + len(taken) * (sum(map(len, befores)) + len(end))
    out = np.zeros(size + ROOM, np.uint8)
    if taken:
        run_kernel(write_rows, block, *places, made, texts, bounds, out)
    expected = b"".join(
        b"%b'%b'%b%b%b%b%b" % (befores[0], table[row][0], befores[1], table[row][1], befores[2], table[row][2], end)
        for row in taken
    )
    assert out[:size].tobytes() == expected


@pytest.mark.parametrize("quote", [0, ord('"')])
def test_a_made_cell_has_its_quotes_already(quote: int, run_kernel: RunKernel) -> None:
    block, starts, ends = byte_column([b"one", b"two"])
    mark = 2 * int(quote != 0)
    # The second row's cell is made: null, which has no quotes.
    own_starts, own_ends = int32([0, -1]), int32([3, 4 - 1 - mark])
    places = (starts, ends, int32([0, 1]), own_starts, own_ends, int32([-1]), np.array([quote], np.uint8))
    notes, out = np.zeros(1, np.int64), np.zeros(20 + ROOM, np.uint8)
    run_kernel(size_rows, *places, notes)
    texts = np.frombuffer(b";\n" + bytes(ROOM), np.uint8)
    made = np.frombuffer(b"null", np.uint8)
    run_kernel(write_rows, block, *places, made, texts, int32([0, 0, 1, 2]), out)
    expected = b'"one";null\n' if quote else b"one;null\n"
    assert (int(notes[0]) + 2, out[: len(expected)].tobytes()) == (len(expected), expected)


@settings(deadline=None)
@given(column=st.lists(st.tuples(cells, st.booleans()), max_size=20), skip=st.integers(0, 3))
def test_cells_are_gathered(column: list[tuple[bytes, bool]], skip: int, run_kernel: RunKernel) -> None:
    data, starts, ends = byte_column([cell for cell, _ in column])
    state = np.array([SURE if sure else UNSURE for _, sure in column], np.uint8)
    starts, ends, state = starts[skip:], ends[skip:], state[skip:]
    expected = [cell if sure else b"" for cell, sure in column[skip:]]
    offsets, out = np.zeros(len(state) + 1, np.int32), np.zeros(len(b"".join(expected)), np.uint8)
    run_kernel(gather_cells, data, starts, ends, state, offsets, out)
    assert [out[a:b].tobytes() for a, b in pairwise(offsets)] == expected
