"""Groups of numbers, by where they lie between others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.types import STRING
from zoopipe_core.kernels.buffers import array_from_numpy, null_mask

__all__ = ["cut"]

FEW_BREAKS = 8
"""Up to so many are compared with each value one after the other, which is faster than a search among them."""


def cut(
    array: pa.Array | pa.ChunkedArray, breaks: Sequence[float], labels: Sequence[str]
) -> pa.Array | pa.ChunkedArray:
    """The label of the group that each number falls into.

    ``pyarrow.compute.if_else`` does it too, but takes longer, and the first Python value that it is given makes pyarrow
    import pandas, where that is installed, which takes longer than many a load.

    >>> import pyarrow as pa
    >>> cut(pa.array([17, 18, 64.5, 65, None]), [18, 65], ["minor", "adult", "senior"]).to_pylist()
    ['minor', 'adult', 'adult', 'senior', None]

    Args:
        array: a ``pyarrow.Array`` or ``ChunkedArray`` of integers or floats; n values.
        breaks: numbers in rising order; each begins a group: ``breaks[i - 1] <= value < breaks[i]`` is group i.
        labels: one more than there are breaks.

    Returns:
        A ``pyarrow.Array`` of n strings, or a ``ChunkedArray`` with the chunks of the one given. Null and NaN are in no
        group: null.

    Raises:
        TypeError: `array` is no array of pyarrow, or one of something else; or a label is no text.
        ValueError: `breaks` do not rise, or do not fit `labels`.
    """
    if not isinstance(array, pa.Array | pa.ChunkedArray):
        raise TypeError(f"cut takes an array of pyarrow, not {type(array).__name__}")
    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise TypeError(f"cut takes integers or floats, not {kind}")
    if len(labels) != len(breaks) + 1:
        raise ValueError(f"{len(breaks)} breaks make {len(breaks) + 1} groups, but there are {len(labels)} labels")
    if not all(low < high for low, high in pairwise(breaks)) or any(map(math.isnan, breaks)):
        raise ValueError(f"breaks have to rise from each to the next, not {list(breaks)}")
    if not all(isinstance(label, str) for label in labels):
        raise TypeError(f"labels have to be texts, not {list(labels)}")
    words = STRING.to_array(list(labels))
    if isinstance(array, pa.ChunkedArray):
        return pa.chunked_array([_cut(chunk, breaks, words) for chunk in array.chunks], pa.string())
    return _cut(array, breaks, words)


def _cut(array: pa.Array, breaks: Sequence[float], labels: pa.Array) -> pa.Array:
    values = _values(array)
    nulls = null_mask(array) if array.null_count else None
    if pa.types.is_floating(array.type):
        nans = np.isnan(values)
        nulls = nans if nulls is None else nulls | nans
    codes = _codes(values, breaks)
    return labels.take(array_from_numpy(codes, pa.from_numpy_dtype(codes.dtype), nulls))


def _values(array: pa.Array) -> npt.NDArray[Any]:
    """The numbers; what stands at nulls means nothing."""
    dtype = np.dtype(array.type.to_pandas_dtype())
    data = array.buffers()[1]
    if not len(array):
        return np.zeros(0, dtype)
    return np.frombuffer(data, dtype, count=array.offset + len(array))[array.offset :]


def _codes(values: npt.NDArray[Any], breaks: Sequence[float]) -> npt.NDArray[Any]:
    """How many of the breaks are at most the value."""
    if values.dtype.kind in "iu":
        # A whole number is at least 2.5 if it is at least 3; compared as floats, large ones would not be exact.
        info = np.iinfo(values.dtype)
        below = sum(each <= info.min for each in breaks)
        wholes = [math.ceil(each) for each in breaks if info.min < each <= info.max]
        places: npt.NDArray[Any] = np.array(wholes, values.dtype)
    else:
        below, places = 0, np.array(breaks, values.dtype if values.dtype.itemsize > 4 else np.float64)
    if len(places) > FEW_BREAKS:
        return np.searchsorted(places, values, side="right") + below
    codes: npt.NDArray[Any] = np.full(len(values), below, np.int8 if len(breaks) <= np.iinfo(np.int8).max else np.int32)
    for place in places:
        codes += values >= place
    return codes
