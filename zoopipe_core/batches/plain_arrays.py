"""Arrow arrays of Python values that are all of one plain class: the commonest case, at the speed of C.

`pyarrow.array` imports pandas where that is installed, which takes longer than a small load, and goes through a text
of ASCII characters byte by byte.
"""

from __future__ import annotations

import datetime as dt
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.objects import TextBuilder, is_compiled, list_of

__all__ = ["NAIVE_MICROSECONDS", "PLAIN_TYPES", "UTC_MICROSECONDS", "plain_array"]

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
NAIVE_MICROSECONDS = pa.timestamp("us")

PLAIN_TYPES: dict[type, pa.DataType] = {
    bool: pa.bool_(),
    dt.date: pa.date32(),
    float: pa.float64(),
    int: pa.int64(),
    str: pa.string(),
}
"""Classes of which each instance has its exact equal in an array of the type, or none at all."""

_NONE = type(None)
_EPOCH = dt.datetime(1970, 1, 1)


def plain_array(kind: pa.DataType, values: Sequence[Any]) -> pa.Array | None:
    """`values` as an array of `kind`, None as null.

    None if this is no type of plain values, if a value is of another class (be it a subclass), or if the texts take
    more than 2 GB. Whether datetimes are naive or aware is not looked at: they have to be as `kind` has it.

    >>> plain_array(pa.string(), ["a", None]).to_pylist()
    ['a', None]
    >>> plain_array(pa.string(), ["a", 1]) is None
    True

    Raises:
        OverflowError, ValueError: a value does not fit: an integer of more than 64 bits, half a surrogate pair.
    """
    known = _BUILDERS.get(kind)
    if known is None:
        return None
    python_type, fill, build = known
    if python_type is str and is_compiled():
        texts = TextBuilder(len(values))
        if texts.extend(list_of(values)):
            return texts.array()
    classes = set(map(type, values))
    if not classes <= {python_type, _NONE}:
        return None
    validity = None
    if _NONE in classes:
        validity = pa.py_buffer(np.packbits([value is not None for value in values], bitorder="little"))
        values = [fill if value is None else value for value in values]
    buffers = build(values)
    return None if buffers is None else pa.Array.from_buffers(kind, len(values), [validity, *buffers])


Buffers = list[pa.Buffer]


def _bits(values: Sequence[bool]) -> Buffers:
    return [pa.py_buffer(np.packbits(np.frombuffer(bytes(values), np.uint8), bitorder="little"))]


def _days(values: Sequence[dt.date]) -> Buffers:
    return [pa.py_buffer(np.fromiter(map(dt.date.toordinal, values), np.int32, len(values)) - _EPOCH.toordinal())]


def _numbers(dtype: Any) -> Callable[[Sequence[Any]], Buffers]:
    return lambda values: [pa.py_buffer(np.fromiter(values, dtype, len(values)))]


def _microseconds(epoch: dt.datetime) -> Callable[[Sequence[dt.datetime]], Buffers]:
    unit = dt.timedelta(microseconds=1)
    return lambda values: [pa.py_buffer(array("q", [(value - epoch) // unit for value in values]))]


def _texts(values: Sequence[str]) -> Buffers | None:
    joined = "".join(values)
    data = joined.encode()
    # A character of ASCII is a byte; else each text has to be looked at.
    sizes = values if len(data) == len(joined) else [value.encode() for value in values]
    offsets = np.zeros(len(values) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, sizes), np.int64, len(values)), out=offsets[1:])
    return None if offsets[-1] >= 2**31 else [pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data)]


# Arrow type -> the class of its values, what stands at nulls, the buffers behind the validity
_BUILDERS: dict[pa.DataType, tuple[type, Any, Callable[[Sequence[Any]], Buffers | None]]] = {
    pa.bool_(): (bool, False, _bits),
    pa.date32(): (dt.date, _EPOCH.date(), _days),
    pa.float64(): (float, 0.0, _numbers(np.float64)),
    pa.int64(): (int, 0, _numbers(np.int64)),
    pa.string(): (str, "", _texts),
    NAIVE_MICROSECONDS: (dt.datetime, _EPOCH, _microseconds(_EPOCH)),
    UTC_MICROSECONDS: (dt.datetime, _EPOCH.replace(tzinfo=dt.UTC), _microseconds(_EPOCH.replace(tzinfo=dt.UTC))),
}
