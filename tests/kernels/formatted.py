"""Columns written by kernels that write text, with both their passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tests.kernels.conftest import RunKernel
from zoopipe_core.kernels._jit import Kernel
from zoopipe_core.kernels.emit import NULL, PLAIN

BEFORE, NULL_TEXT = b',"x":', b"null"


def form_of(present: Sequence[bool]) -> np.ndarray[Any, Any]:
    """uint8 (n,): `PLAIN` for cells that are there, `NULL` for the others."""
    return np.where(np.array(present, bool), PLAIN, NULL).astype(np.uint8)


def constant(text: bytes) -> np.ndarray[Any, Any]:
    return np.frombuffer(text, np.uint8)


def write_cells(
    run_kernel: RunKernel,
    count: int,
    measure: tuple[Kernel, Callable[[np.ndarray[Any, Any]], tuple[Any, ...]]],
    write: tuple[Kernel, tuple[Any, ...]],
) -> list[bytes]:
    """The text of each cell, checked to be what was measured and to stand between what was there before.

    measure: a kernel, and its arguments for a given ``sizes``. write: a kernel, and its arguments before ``before``.
    """
    sizes = np.full(count, len(BEFORE), np.int64)
    run_kernel(measure[0], *measure[1](sizes))
    ends = np.cumsum(sizes)
    cursor = ends - sizes
    size = int(ends[-1]) if count else 0
    guarded = np.full(size + 2, 255, np.uint8)
    out = guarded[1:-1]
    run_kernel(write[0], *write[1], constant(BEFORE), constant(NULL_TEXT), cursor, out)
    assert cursor.tolist() == ends.tolist()
    assert guarded[0] == guarded[-1] == 255
    text = out.tobytes()
    cells = [text[end - taken : end] for end, taken in zip(ends.tolist(), sizes.tolist(), strict=True)]
    assert all(cell.startswith(BEFORE) for cell in cells)
    return [cell[len(BEFORE) :] for cell in cells]
