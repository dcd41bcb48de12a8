"""Texts of columns: what Python's own methods make of each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.functions import lower, upper

FUNCTIONS = {"lower": (lower, str.lower), "upper": (upper, str.upper)}
each_function = pytest.mark.parametrize(("function", "python"), FUNCTIONS.values(), ids=FUNCTIONS)

Function = Callable[[Any], Any]
Python = Callable[[str], str]

CHARACTERS = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if character < "\u0100" or character.isspace() or character.lower() != character.upper()
]
texts = st.text(st.sampled_from("aZ \t\n\x1c\x1fß\x85\xa0\u2003Σσİŉé日") | st.characters(exclude_categories=["Cs"]))


def check(function: Function, python: Python, array: pa.Array) -> None:
    found = function(array)
    found.validate(full=True)
    assert found.type == pa.string()
    assert found.to_pylist() == [None if value is None else python(value) for value in array.to_pylist()]


@each_function
@given(values=st.lists(st.none() | texts), first=st.integers(0, 2))
def test_each_text_is_what_python_makes_of_it(
    values: list[str | None], first: int, function: Function, python: Python
) -> None:
    check(function, python, pa.array(values, pa.string())[first:])


@each_function
def test_every_character_by_itself_and_between_others(function: Function, python: Python) -> None:
    check(function, python, pa.array(CHARACTERS))
    check(function, python, pa.array([f"{character}Σ{character}" for character in CHARACTERS]))


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.large_string())], ids=str
)
@each_function
def test_texts_may_lie_in_memory_in_any_way(kind: pa.DataType, function: Function, python: Python) -> None:
    check(function, python, pa.array([" É", None, "", " É", "b"]).cast(kind)[1:])


@each_function
def test_the_texts_of_a_chunked_array_have_its_chunks(function: Function, python: Python) -> None:
    found = function(pa.chunked_array([["A "], [], [None, "é"]], pa.string()))
    assert [chunk.to_pylist() for chunk in found.chunks] == [[python("A ")], [], [None, python("é")]]


def test_white_space_is_stripped_by_arrow_as_by_python() -> None:
    """Which is why there is no function for it."""
    check(pc.utf8_trim_whitespace, str.strip, pa.array([f"{c}a {c}" for c in map(chr, range(0x3100))]))


@each_function
def test_what_is_no_text_is_an_error(function: Function, python: Python) -> None:
    with pytest.raises(TypeError, match=f"{python.__name__} takes texts, not binary; cast it first"):
        function(pa.array([b"a"]))
    with pytest.raises(TypeError, match="an array of pyarrow, not list"):
        function(["a"])
