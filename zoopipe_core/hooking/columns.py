"""Column hooks: what they are given, and what they may return."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.hooking.rows import Misuse
from zoopipe_core.hooks import ColumnHook, Store
from zoopipe_core.kernels.buffers import true_mask

__all__ = ["checked", "kept", "same_memory", "sized"]


def sized(batch: pa.RecordBatch, rows: int) -> pa.RecordBatch:
    """`batch`; if it has no columns, with the number of rows that it stands for."""
    return batch if batch.num_columns else pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))


def checked(returned: Any, rows: int) -> pa.RecordBatch:
    """What ``execute`` returned for a batch of so many rows.

    Raises:
        Misuse: it is no record batch, or none of that size, or has two columns of one name.
    """
    if not isinstance(returned, pa.RecordBatch):
        raise Misuse(f"execute has to return a pyarrow.RecordBatch, not {type(returned).__name__}")
    if returned.num_rows != rows:
        raise Misuse(
            f"execute returned {returned.num_rows:,} rows for {rows:,}; drop rows with keep(), add them in a BaseHook"
        )
    names = returned.schema.names
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Misuse(f"execute returned a batch with two columns named {twice!r}")
    return returned


def kept(hook: ColumnHook, batch: pa.RecordBatch, store: Store) -> npt.NDArray[np.bool_] | None:
    """Which rows go on, bool (n,); None: all.

    Raises:
        Misuse: ``keep`` returned something else than a boolean for each row.
    """
    mask: Any = hook.keep(batch, store)
    if mask is None:
        return None
    if isinstance(mask, pa.ChunkedArray):
        mask = mask.combine_chunks()
    if not isinstance(mask, pa.Array) or not pa.types.is_boolean(mask.type) or len(mask) != batch.num_rows:
        shown = f"{len(mask):,} of {mask.type}" if isinstance(mask, pa.Array) else f"a {type(mask).__name__}"
        raise Misuse(f"keep has to return a pyarrow array of {batch.num_rows:,} booleans, or None, not {shown}")
    going = true_mask(mask)
    return None if going.all() else going


def same_memory(left: pa.Array, right: pa.Array) -> bool:
    """Whether two arrays are one and the same, so that a column was left alone."""

    def place(array: pa.Array) -> list[Any]:
        return [array.offset, len(array), *(None if b is None else b.address for b in array.buffers())]

    # The buffers of a dictionary array are its indices only.
    return left.type == right.type and "dictionary" not in str(left.type) and place(left) == place(right)
