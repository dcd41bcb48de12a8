"""Kernels that compute nothing of use: they show whether machine code gets what Python hands it.

How Numba passes an array is not laid down anywhere and may change with its version. The probe takes every kind of
parameter that kernels have, and tells what arrived; a set of compiled kernels whose probe tells otherwise than its
Python form is not used. Another one takes Python objects, and tells whether they look as they should.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoopipe_core.kernels._jit import (
    BYTES,
    DICT,
    FLOAT64,
    FLOAT64_SCALAR,
    FLOAT64_VALUES,
    INT32,
    INT64,
    INT64_SCALAR,
    INT64_VALUES,
    LIST,
    OBJECT,
    OFFSETS,
    UINT8,
    UINT32,
    UINT32_TABLE,
    UINT64_TABLE,
    kernel,
)
from zoopipe_core.kernels.cpython import class_of, dict_get, list_get

__all__ = ["FOUND", "examples", "objects", "tell", "tell_objects"]


@kernel(
    BYTES, OFFSETS, INT64_SCALAR, UINT64_TABLE, INT64_VALUES, FLOAT64_SCALAR, FLOAT64_VALUES, UINT32_TABLE,
    UINT8, INT32, INT64, FLOAT64, UINT32,
)  # fmt: skip
def tell(
    data: Any, offsets: Any, whole: Any, table: Any, values: Any, real: Any, doubles: Any, words: Any,
    out8: Any, out32: Any, out64: Any, out_double: Any, out_words: Any,
) -> None:  # fmt: skip
    """Write to the last five arrays what arrived: each array's items and length, and both scalars."""
    for i in range(len(data)):
        out8[i] = int(data[i]) ^ 1
    for i in range(len(offsets)):
        out32[i] = int(offsets[i]) + 1
    for i in range(len(values)):
        out64[i] = int(values[i]) + whole
    for i in range(len(table)):
        out64[len(values) + i] = int(table[i] >> np.uint64(1))
    for i in range(len(doubles)):
        out_double[i] = doubles[i] + real
    for i in range(len(words)):
        out_words[i] = int(words[i]) ^ 1
    sizes = len(values) + len(table)
    out64[sizes] = len(data)
    out64[sizes + 1] = len(offsets)
    out64[sizes + 2] = len(table)
    out64[sizes + 3] = len(values)
    out64[sizes + 4] = len(doubles)
    out64[sizes + 5] = len(out8)
    out64[sizes + 6] = len(out32)
    out64[sizes + 7] = len(out64)
    out64[sizes + 8] = len(out_double)
    out64[sizes + 9] = len(words)
    out64[sizes + 10] = len(out_words)


def examples() -> tuple[Any, ...]:
    """Arguments for `tell`, the same ones each time; its results are in the last five, which are new arrays.

    The arrays differ in length, so that one taken for another shows.
    """
    return (
        np.frombuffer(b"\x00\xff\x80\x7f0", np.uint8),
        np.array([-(2**31), -1, 2**31 - 2], np.int32),
        2**62 + 1,
        np.array([2**64 - 1, 1], np.uint64),
        np.array([-(2**62), 0, 5, 2**61], np.int64),
        0.1,
        np.array([1e300, -0.5, 2.0**-40, 7.0, 3.0, 1.5], np.float64),
        np.array([2**32 - 1, 0, 2**31, 5, 6, 7, 8], np.uint32),
        np.zeros(8, np.uint8),
        np.zeros(9, np.int32),
        np.zeros(19, np.int64),
        np.zeros(10, np.float64),
        np.zeros(11, np.uint32),
    )


FOUND = 0b111
"""What `tell_objects` gives for `objects`."""


@kernel(OBJECT, LIST, DICT, INT64_SCALAR, over_objects=True)
def tell_objects(instance: Any, items: Any, known: Any, index: Any) -> int:
    """A bit for each place where the object, or its class, was found."""
    found = 0
    if class_of(instance) == list_get(items, 0):
        found |= 0b001
    if dict_get(known, list_get(items, 1)) == instance:
        found |= 0b010
    if list_get(items, index) == instance:
        found |= 0b100
    return found


def objects() -> tuple[Any, ...]:
    """Arguments for `tell_objects`."""
    instance = object()
    return instance, [object, "key", instance], {"key": instance}, 2
