"""Hashes of columns: what hashlib and hmac give, for every form that a column may have."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoopipe_core.functions import hashing, sha256
from zoopipe_core.kernels.switch import MIN_ROWS, SWITCH, KernelSwitch

KEYS = [None, b"k", "schlüssel", b"x" * 64, bytes(range(200))]
TEXTS = ["ann@a.org", "", None, "é" * 40, "x" * 200]


@pytest.fixture(scope="module", params=["hashlib", "kernel"], autouse=True)
def _way(request: pytest.FixtureRequest) -> Any:
    """Both ways to a hash; kernels as plain Python, unless they are loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SWITCH, "worthwhile", lambda rows: request.param == "kernel" and rows > 0)
        yield


def python_hash(value: Any, key: Any) -> str | None:
    if value is None:
        return None
    data = value.encode() if isinstance(value, str) else value
    if key is None:
        return hashlib.sha256(data).hexdigest()
    return hmac.new(key.encode() if isinstance(key, str) else key, data, "sha256").hexdigest()


def hashes(array: Any, key: Any = None) -> list[str | None]:
    found = sha256(array, key=key)
    found.validate(full=True)
    assert found.type == pa.string()
    return [*found.to_pylist()]


@pytest.mark.parametrize("key", KEYS, ids=["no key", "short", "text", "one block", "longer than a block"])
def test_sha256_is_that_of_hashlib_and_with_a_key_that_of_hmac(key: Any) -> None:
    assert hashes(pa.array(TEXTS), key) == [python_hash(text, key) for text in TEXTS]


@settings(max_examples=20)
@given(
    cells=st.lists(st.none() | st.binary(max_size=140), max_size=20),
    key=st.none() | st.binary(min_size=1, max_size=140),
    first=st.integers(0, 3),
)
def test_every_slice_of_bytes_has_the_hashes_of_its_cells(
    cells: list[bytes | None], key: bytes | None, first: int
) -> None:
    array = pa.array(cells, pa.binary())[first:]
    assert hashes(array, key) == [python_hash(cell, key) for cell in cells[first:]]
    binary = sha256(array, key=key, binary=True)
    binary.validate(full=True)
    assert binary.type == pa.binary()
    assert [value and value.hex() for value in binary.to_pylist()] == hashes(array, key)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
        pa.dictionary(pa.int8(), pa.string()), pa.dictionary(pa.int32(), pa.large_binary()),
    ],
    ids=str,
)  # fmt: skip
def test_sha256_takes_text_and_bytes_however_they_lie_in_memory(kind: pa.DataType) -> None:
    array = pa.array([*TEXTS, "ann@a.org", "other"]).cast(kind)
    assert hashes(array) == [python_hash(text, None) for text in (*TEXTS, "ann@a.org", "other")]
    assert hashes(array[1:4]) == [python_hash(text, None) for text in TEXTS[1:4]]
    assert hashes(array[:0]) == []


def test_sha256_takes_bytes_of_one_size_and_columns_of_nulls() -> None:
    assert hashes(pa.array([b"ab", None, b"cd"], pa.binary(2))[1:]) == [None, python_hash(b"cd", None)]
    assert hashes(pa.nulls(3)) == hashes(pa.nulls(3, pa.string())) == [None] * 3


def test_a_null_among_the_values_of_a_dictionary_stays_null() -> None:
    words = pa.array(["a", None])
    array = pa.DictionaryArray.from_arrays(pa.array([1, 0, None, 0], pa.int8()), words)
    assert hashes(array) == [None, python_hash("a", None), None, python_hash("a", None)]


def test_the_hashes_of_a_chunked_array_have_its_chunks() -> None:
    found = sha256(pa.chunked_array([["a", None], [], ["b"]], pa.string()))
    assert [len(chunk) for chunk in found.chunks] == [2, 0, 1]
    assert found.to_pylist() == [python_hash("a", None), None, python_hash("b", None)]
    assert sha256(pa.chunked_array([], pa.string()), binary=True).type == pa.binary()


def test_offsets_may_lie_anywhere_in_memory() -> None:
    array = pa.array(["one", "three"])
    shifted = pa.py_buffer(b"?" + array.buffers()[1].to_pybytes()).slice(1)
    moved = pa.Array.from_buffers(pa.string(), 2, [None, shifted, array.buffers()[2]])
    assert hashes(moved) == hashes(array)


@pytest.mark.parametrize(
    ("array", "key", "message"),
    [
        (pa.array([1]), None, "text or bytes, not int64; cast it first"),
        (pa.chunked_array([[True]]), None, "not bool"),
        (pa.array([1]).dictionary_encode(), None, "not dictionary<values=int64"),
        (["a"], None, "an array of pyarrow, not list"),
        (pa.array(["a"]), 5, "bytes or a text, not int"),
    ],
    ids=["numbers", "chunks", "dictionary", "list", "key"],
)
def test_sha256_of_something_else_is_an_error(array: Any, key: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        sha256(array, key=key)


@pytest.mark.parametrize("key", [b"", ""])
def test_an_empty_key_is_refused_because_it_would_hide_nothing(key: Any) -> None:
    with pytest.raises(ValueError, match="key is empty"):
        sha256(pa.array(["a"]), key=key)


def test_an_array_of_many_values_is_worth_loading_kernels_also_where_no_load_has_counted_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    load = Mock(return_value=False)
    monkeypatch.setattr(hashing, "SWITCH", switch := KernelSwitch())
    monkeypatch.setattr(switch, "_load", load)
    few = pa.array(["a"] * (MIN_ROWS - 1))
    assert (hashes(few)[0], load.call_count) == (python_hash("a", None), 0)
    assert (hashes(pa.concat_arrays([few, few]))[-1], load.call_count) == (python_hash("a", None), 1)
