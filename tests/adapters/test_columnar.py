"""Batches of any size become batches of about one size, with the same rows in the same order."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from zoopipe_core.adapters.columnar import evened


@given(st.lists(st.integers(0, 25), max_size=20), st.integers(1, 12))
@example([1, 2], 3)  # a small batch in front of a large one, both of which fit together
def test_evened_batches_keep_every_row_in_its_place(sizes: list[int], size: int) -> None:
    rows = [sum(sizes[:index]) for index in range(len(sizes))]
    batches = [
        pa.record_batch({"n": pa.array(range(row, row + count), pa.int64())})
        for row, count in zip(rows, sizes, strict=True)
    ]
    found = list(evened(batches, size))
    assert [n for batch in found for n in batch.column(0).to_pylist()] == list(range(sum(sizes)))
    assert all(0 < batch.num_rows <= size for batch in found)
