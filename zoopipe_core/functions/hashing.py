"""Hashes of a column: by a kernel where there are kernels, else by hashlib; the same bytes."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.kernels.buffers import null_mask, validity_of
from zoopipe_core.kernels.switch import MIN_ROWS, SWITCH

__all__ = ["sha256"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32] | npt.NDArray[np.int64]

_INT32_MAX = 2**31 - 1


def sha256(
    array: pa.Array | pa.ChunkedArray, *, key: bytes | str | None = None, binary: bool = False
) -> pa.Array | pa.ChunkedArray:
    """The SHA-256 of each value, or its HMAC if there is a key. Texts are hashed as UTF-8; nulls stay null.

    A plain hash does not hide what it was made of: e-mail addresses, phone numbers and the like can be tried one after
    the other until one fits. With a secret `key` (`RFC 2104 <https://www.rfc-editor.org/rfc/rfc2104>`_) that takes the
    key: equal values still have equal hashes, so that they can be joined and counted.

    >>> import pyarrow as pa
    >>> sha256(pa.array(["ann@a.org", None])).to_pylist()
    ['a191662697567a3ec8df8e4b1ea5818704fee715554aa40bb5be6358eb3096e7', None]
    >>> sha256(pa.array(["ann@a.org"]), key="a secret").to_pylist()
    ['b79602a026960548b231aeeaa4324919ff7fb05dad038e9a04e6d494a69cd338']

    Args:
        array: a ``pyarrow.Array`` or ``ChunkedArray`` of any type of text or bytes, or of null; n values. The values
            of a dictionary are hashed once each.
        key: a secret of any length, of 32 random bytes at best; a text stands for its UTF-8. Take it from a secret
            store or the environment in `setup`, and it is no part of the pipe that is sent to workers.
        binary: the 32 bytes of each hash, in place of 64 lower-case hex digits.

    Returns:
        A ``pyarrow.Array`` of n strings (``binary=True``: of type binary), or a ``ChunkedArray`` with the chunks of the
        one given.

    Raises:
        TypeError: `array` is no array of pyarrow or holds something else than text or bytes, or `key` does.
        ValueError: `key` is empty; or more hashes than an array of strings can hold, 33 million.
    """
    if key is not None and not isinstance(key, bytes | str):
        raise TypeError(f"key has to be bytes or a text, not {type(key).__name__}")
    if key is not None and not key:
        raise ValueError("key is empty, and would hide nothing; give a secret of 32 random bytes, or None for no key")
    secret = key.encode() if isinstance(key, str) else key
    if isinstance(array, pa.ChunkedArray):
        kind = pa.binary() if binary else pa.string()
        _check_type(array.type)
        return pa.chunked_array([_hashed(chunk, secret, binary) for chunk in array.chunks], kind)
    if not isinstance(array, pa.Array):
        raise TypeError(f"sha256 takes an array of pyarrow, not {type(array).__name__}")
    _check_type(array.type)
    return _hashed(array, secret, binary)


# ---- arrays ----------------------------------------------------------------------------------------------------------


def _check_type(kind: pa.DataType) -> None:
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_null(values) or _has_offsets(values) or _is_castable(values)):
        raise TypeError(f"sha256 takes text or bytes, not {kind}; cast it first, as in array.cast(pyarrow.string())")


def _has_offsets(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind) or types.is_binary(kind) or types.is_large_string(kind) or types.is_large_binary(kind)
    )


def _is_castable(kind: pa.DataType) -> bool:
    """Whether the values are text or bytes that lie in memory in another way."""
    types = pa.types
    return bool(types.is_string_view(kind) or types.is_binary_view(kind) or types.is_fixed_size_binary(kind))


def _hashed(array: pa.Array, key: bytes | None, binary: bool) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        if len(array.dictionary) <= len(array):
            return _hashed(array.dictionary, key, binary).take(array.indices)
        array = array.dictionary_decode()
    kind, width = (pa.binary(), 32) if binary else (pa.string(), 64)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    if _is_castable(array.type):
        array = array.cast(pa.large_binary())
    cells = _cells(array)
    if width * len(cells) > _INT32_MAX:
        raise ValueError(f"{len(cells):,} hashes are too many for one array; give a ChunkedArray, or slices of it")
    return _assembled(kind, width, _hashes(cells, key, binary), cells.nulls, len(array))


def _assembled(
    kind: pa.DataType, width: int, data: Bytes | bytes, nulls: npt.NDArray[np.bool_] | None, count: int
) -> pa.Array:
    """An array of `count` values of `width` bytes, which lie in `data`, but for nulls, which take no place there."""
    if nulls is None:
        offsets = np.arange(0, width * (count + 1), width, dtype=np.int32)
    else:
        offsets = np.zeros(count + 1, np.int32)
        np.cumsum(np.where(nulls, 0, width), out=offsets[1:])
    return pa.Array.from_buffers(kind, count, [validity_of(nulls), pa.py_buffer(offsets), pa.py_buffer(data)])


@dataclass(frozen=True, slots=True)
class _Cells:
    """The values of an array that are not null: m of them.

    data: uint8, read only.
    starts, ends: int32 or int64 (m,), where they lie in `data`.
    nulls: bool (n,), which of all values are null; None if none is.
    """

    data: Bytes
    starts: Offsets
    ends: Offsets
    nulls: npt.NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.starts)


def _cells(array: pa.Array) -> _Cells:
    """The cells of an array with offsets; those of 64 bits are cut to 32 where they fit."""
    _, offsets, values = array.buffers()
    is_large = pa.types.is_large_string(array.type) or pa.types.is_large_binary(array.type)
    count, data = len(array), np.zeros(0, np.uint8)
    bounds: Any = np.zeros(1, np.int32)
    if count:
        bounds = np.frombuffer(offsets, np.int64 if is_large else np.int32)[array.offset : array.offset + count + 1]
        bounds = np.require(bounds, requirements="A")  # memory that came from elsewhere may lie anywhere
    if values is not None and values.size:
        data = np.frombuffer(values, np.uint8)
    if is_large and count:
        first, last = int(bounds[0]), int(bounds[-1])
        if last - first <= _INT32_MAX:
            data, bounds = data[first:last], (bounds - first).astype(np.int32)
    nulls = null_mask(array) if array.null_count else None
    starts, ends = bounds[:-1], bounds[1:]
    return _Cells(data, starts, ends, None) if nulls is None else _Cells(data, starts[~nulls], ends[~nulls], nulls)


# ---- hashes ----------------------------------------------------------------------------------------------------------


def _hashes(cells: _Cells, key: bytes | None, binary: bool) -> Bytes | bytes:
    """The hashes one behind the other, 32 bytes each, or as hex digits."""
    if len(cells) >= MIN_ROWS:
        SWITCH.expect_many()  # maybe it is no load, which counts its rows
    if cells.starts.dtype == np.int32 and SWITCH.worthwhile(len(cells)):
        return _hashes_by_kernel(cells, key, binary)
    data, bounds = cells.data.data, zip(cells.starts.tolist(), cells.ends.tolist(), strict=True)
    if key is None:
        hashes = b"".join([hashlib.sha256(data[start:end]).digest() for start, end in bounds])
    else:
        hashes = b"".join([hmac.digest(key, data[start:end], "sha256") for start, end in bounds])
    return hashes if binary else hashes.hex().encode()


def _hashes_by_kernel(cells: _Cells, key: bytes | None, binary: bool) -> Bytes:
    from zoopipe_core.kernels.sha256 import BLOCK, DIGEST, FIRST, hex_digits

    if key is None:
        hashes = _run(cells.data, cells.starts, cells.ends, FIRST, 0)
    else:
        padded = np.zeros(BLOCK, np.uint8)
        short = key if len(key) <= BLOCK else hashlib.sha256(key).digest()
        padded[: len(short)] = np.frombuffer(short, np.uint8)
        inner = _run(cells.data, cells.starts, cells.ends, _state_behind(padded ^ np.uint8(0x36)), BLOCK)
        bounds = np.arange(0, DIGEST * (len(cells) + 1), DIGEST, dtype=np.int32)
        hashes = _run(inner, bounds[:-1], bounds[1:], _state_behind(padded ^ np.uint8(0x5C)), BLOCK)
    if binary:
        return hashes
    digits = np.empty(2 * len(hashes), np.uint8)
    hex_digits(hashes, digits)
    return digits


def _state_behind(block: Bytes) -> npt.NDArray[np.uint32]:
    """uint32 (8,): where hashing stands behind the one block that all messages begin with."""
    from zoopipe_core.kernels.sha256 import FIRST, NO_END

    state = _run(block, np.zeros(1, np.int32), np.array([len(block)], np.int32), FIRST, NO_END)
    return state.view(">u4").astype(np.uint32)


def _run(data: Bytes, starts: Any, ends: Any, first: npt.NDArray[np.uint32], before: int) -> Bytes:
    from zoopipe_core.kernels.sha256 import DIGEST, LANE_ITEMS, WORK_ITEMS, sha256

    out = np.empty(DIGEST * len(starts), np.uint8)
    sha256(data, starts, ends, first, before, np.zeros(LANE_ITEMS, np.int64), np.zeros(WORK_ITEMS, np.uint32), out)
    return out
