"""A number for each row, by which it is known again."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import to_json

from zoopipe_core.batches.values import python_values

__all__ = ["row_hashes"]


def row_hashes(columns: Sequence[pa.Array]) -> npt.NDArray[np.uint64]:
    """Hashes of the rows that `columns` are, uint64 (n,): the same in every process, for equal values.

    A decimal is the same with or without zeros at its end, an integer the same in every type that holds it.
    """
    texts = [_bytes(column) for column in columns]
    # All lengths in front of all cells: no two different rows are the same bytes.
    lengths = [pc.binary_length(text).cast(pa.string()).fill_null("-").cast(pa.binary()) for text in texts]
    cells = [text.fill_null(b"") for text in texts]
    joined: Any = pc.binary_join_element_wise(*lengths, *cells, pa.scalar(b":", pa.binary()))
    digests = b"".join(blake2b(row, digest_size=8).digest() for row in joined.to_pylist())
    return np.frombuffer(digests, "<u8")


def _bytes(column: pa.Array) -> pa.Array:
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    kind = column.type
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_binary(kind):
        return column.cast(pa.binary())
    if pa.types.is_duration(kind):
        column = column.cast(pa.int64())
    elif pa.types.is_timestamp(kind) and kind.tz is not None:
        column = column.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit))
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.binary())
    if pa.types.is_nested(kind):
        texts = [
            None if value is None else to_json(value, fallback=repr, inf_nan_mode="constants")
            for value in python_values(column)
        ]
        return pa.array(texts, pa.binary())
    if pa.types.is_decimal(kind):
        # Arrow writes 1E-8 or 1.00E-8, after the number of places of the type.
        digits = [None if value is None else format(value.normalize(), "f").encode() for value in column.to_pylist()]
        return pa.array(digits, pa.binary())
    return column.cast(pa.string()).cast(pa.binary())
