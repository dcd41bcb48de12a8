"""Texts as Python's own methods make them, which is not in every case what pyarrow.compute makes of them.

``utf8_lower`` and its like change one character into one: they know neither the final sigma nor that İ, ß or ŉ take two
characters in the other case, and have another version of Unicode. A key or a hash that is made of such a text is then
not the one that a program in Python makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.types import STRING
from zoopipe_core.kernels.buffers import array_from_numpy, null_mask, text_cells, true_mask

__all__ = ["lower", "upper"]

Column: TypeAlias = pa.Array | pa.ChunkedArray

ASCII_END = 128


def lower(array: Column) -> Column:
    """Each text as ``str.lower`` makes it; nulls stay null.

    >>> import pyarrow as pa
    >>> lower(pa.array(["Ann@A.org", "ΣΑΣ", None])).to_pylist()
    ['ann@a.org', 'σας', None]

    Args:
        array: a ``pyarrow.Array`` or ``ChunkedArray`` of any type of text (a dictionary's values are decoded).

    Returns:
        One of strings, as long as the one given, with the same chunks.

    Raises:
        TypeError: `array` is no array of pyarrow, or none of texts.
    """
    import pyarrow.compute as pc

    return _by_chunk("lower", array, lambda chunk: _changed(chunk, pc.ascii_lower, str.lower))


def upper(array: Column) -> Column:
    """Each text as ``str.upper`` makes it; the rest is as for `lower`.

    >>> import pyarrow as pa
    >>> upper(pa.array(["de", "straße"])).to_pylist()
    ['DE', 'STRASSE']
    """
    import pyarrow.compute as pc

    return _by_chunk("upper", array, lambda chunk: _changed(chunk, pc.ascii_upper, str.upper))


def _by_chunk(name: str, array: Column, change: Callable[[pa.Array], pa.Array]) -> Column:
    if not isinstance(array, pa.Array | pa.ChunkedArray):
        raise TypeError(f"{name} takes an array of pyarrow, not {type(array).__name__}")
    types, kind = pa.types, array.type
    values = kind.value_type if types.is_dictionary(kind) else kind
    if not (types.is_string(values) or types.is_large_string(values) or types.is_string_view(values)):
        raise TypeError(f"{name} takes texts, not {kind}; cast it first, as in array.cast(pyarrow.string())")
    texts = array if types.is_string(kind) else array.cast(pa.string())
    if isinstance(texts, pa.ChunkedArray):
        return pa.chunked_array([change(chunk) for chunk in texts.chunks], pa.string())
    return change(texts)


def _changed(array: pa.Array, change_ascii: Callable[[pa.Array], pa.Array], change: Callable[[str], str]) -> pa.Array:
    """Texts in the other case: those in ASCII by Arrow, the others, few in most columns, by Python."""
    import pyarrow.compute as pc

    cells = text_cells(array)
    changed = change_ascii(array)
    if not len(cells) or not _is_beyond_ascii(cells.data[int(cells.starts[0]) : int(cells.ends[-1])]):
        return changed
    beyond = np.flatnonzero(~true_mask(pc.string_is_ascii(array)) & ~null_mask(array))
    texts = array.take(_indices(beyond)).to_pylist()
    places = np.arange(len(array))
    places[beyond] = len(array) + np.arange(len(beyond))
    return pa.concat_arrays([changed, STRING.to_array(list(map(change, texts)))]).take(_indices(places))


def _indices(places: npt.NDArray[np.int64]) -> pa.Array:
    return array_from_numpy(places, pa.int64(), None)


def _is_beyond_ascii(data: npt.NDArray[np.uint8]) -> bool:
    return bool(len(data) and data.max() >= ASCII_END)
