"""Patterns: a text has a match if and only if it has one to pydantic's engine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic_core import SchemaError

from tests.kernels.conftest import Column, RunKernel, byte_column
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import text_cells
from zoopipe_core.kernels.patterns import match_pattern
from zoopipe_core.schema.rules.pattern_automaton import Automaton, build_automaton
from zoopipe_core.schema.rules.pattern_syntax import read_pattern


def automaton_of(pattern: str, *, python: bool = False) -> Automaton | None:
    node = read_pattern(pattern, python=python)
    return None if node is None else build_automaton(node)


def matches(run_kernel: RunKernel, automaton: Automaton, column: Column, state: Any = None) -> list[bool]:
    state = np.zeros(len(column[1]), np.uint8) if state is None else state
    run_kernel(match_pattern, *column, automaton.follows, automaton.final, automaton.first, state)
    return [value == SURE for value in state.tolist()]


def accepts(pattern: str | re.Pattern[str], texts: Sequence[str], engine: Any = "rust-regex") -> list[bool] | None:
    """Which texts pydantic accepts; None if it does not take the pattern."""
    try:
        adapter: TypeAdapter[str] = TypeAdapter(
            Annotated[str, Field(pattern=pattern)], config=ConfigDict(regex_engine=engine)
        )
    except (SchemaError, re.error):
        return None
    results = []
    for text in texts:
        try:
            adapter.validate_python(text)
        except ValueError:
            results.append(False)
        else:
            results.append(True)
    return results


# ---- patterns as they are written, and as nobody writes them --------------------------------------------------------

ATOMS = [
    "a", "b", "ab", "-", " ", "0", "1", r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", ".", r"\.", r"\-", r"\n", r"\t",
    r"\\", r"\/", r"\@", "[ab]", "[a-c]", "[^a]", r"[^\d]", r"[\w-]", r"[a\]]", "[-a]", "[a-]", r"[\^a]", "[a^]",
    "[ -~]", "[A-Za-z0-9_.+-]", r"[^\s@]", "^", "$", r"\A", r"\z", r"\Z", "()", "a|b", "a||b", "",
]  # fmt: skip
QUANTIFIERS = ["", "", "", "*", "+", "?", "{2}", "{0,1}", "{1,}", "{1,3}", "{0}", "*?", "+?", "??", "{2}?"]
ODD = [
    r"\b", r"\<", "(?i)", "(?=a)", "[[:alpha:]]", "[a&&b]", "[a--b]", "[]a]", "[^]a]", "{", "}", "]", ")", "(", "[",
    "++", "**", "{2}{3}", "{ 2}", "{,2}", "{3,2}", r"\1", r"\x41", r"\p{L}", "é", "[é]", "(?P<n>a)", "(?<n>a)", "(?:a)",
    r"[\b]", "[a-c-e]", r"[\w-a]", "[z-a]", "#", "a{2", r"\Q", "(?x) a", "[a||b]", "[~~]", r"\0", r"[a\-c]",
]  # fmt: skip


def grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    part = st.builds("{}{}{}".format, st.sampled_from(["(", "(?:"]), inner, st.just(")"))
    quantified = st.builds("{}{}".format, part | inner, st.sampled_from(QUANTIFIERS))
    return st.lists(quantified, min_size=1, max_size=4).map("".join) | st.lists(quantified, max_size=3).map("|".join)


simple_patterns = st.recursive(st.sampled_from(ATOMS), grouped, max_leaves=8)
odd_patterns = st.lists(simple_patterns | st.sampled_from(ODD), min_size=1, max_size=4).map("".join)
texts = st.lists(
    st.text("abcAZ01 -_.@\n\t\x0b\x1c\x7f]^\\/", max_size=8) | st.text(max_size=5), min_size=1, max_size=12
).map(lambda found: [text.encode("utf-8", "replace").decode() for text in [*found, "", "a", "aa", "ab\n", "\n"]])


@settings(max_examples=600)
@given(pattern=simple_patterns | odd_patterns, found=texts)
@example(pattern="$^", found=["", "a", "\n"])
@example(pattern="^$|a$", found=["", "a", "b", "ba"])
@example(pattern="(^a|b)*c$", found=["c", "ac", "bac", "aac"])
def test_a_text_has_a_match_if_it_has_one_to_pydantic(pattern: str, found: list[str], run_compiled: RunKernel) -> None:
    expected = accepts(pattern, found)
    assume(expected is not None)
    automaton = automaton_of(pattern)
    assume(automaton is not None)
    actual = matches(run_compiled, automaton, byte_column([text.encode() for text in found]))
    for text, sure, wanted in zip(found, actual, expected, strict=True):
        assert sure == wanted if text.isascii() else sure <= wanted, (pattern, text)


@pytest.mark.filterwarnings("ignore:Possible:FutureWarning")
@settings(max_examples=300)
@given(pattern=simple_patterns | odd_patterns, found=texts, compiled=st.booleans())
def test_a_match_is_one_to_pythons_engine_too(
    pattern: str, found: list[str], compiled: bool, run_compiled: RunKernel
) -> None:
    try:
        given_pattern = re.compile(pattern) if compiled else pattern
    except re.error:
        assume(False)
    expected = accepts(given_pattern, found, "python-re")
    automaton = automaton_of(pattern, python=True)
    assume(expected is not None and automaton is not None)
    actual = matches(run_compiled, automaton, byte_column([text.encode() for text in found]))
    for text, sure, wanted in zip(found, actual, expected, strict=True):
        before_newline = text.endswith("\n") and "$" in pattern
        assert sure == wanted if text.isascii() and not before_newline else sure <= wanted, (pattern, text)


COMMON = [
    (r"^[A-Z]{2}\d+$", ["DE1", "de1", "DE", "DE1x", "XDE1", "DE12345", "DE1\n", "DE٣"]),
    (r"^\d{4}-\d{2}-\d{2}$", ["2024-02-29", "2024-2-29", "x2024-02-29", "2024-02-29 "]),
    (r"^[\w.+-]+@[\w-]+\.[\w.-]+$", ["a@b.c", "a.b+c@d-e.f.g", "@b.c", "a@b", "a b@c.d", "é@b.c"]),
    (r"^(\+\d{1,3}[ -]?)?\(?\d{3}\)?[ -]?\d{3}[ -]?\d{4}$", ["+1 (555) 123-4567", "5551234567", "555-12-4567"]),
    (r"^(red|green|blue)$", ["red", "green", "bluegreen", "", "re"]),
    (r"foo|bar", ["xfoox", "ba", "bar", "fobar"]),
    (r"\d", ["abc1", "abc", "", "٣"]),
    (r"^$", ["", "a", "\n"]),
    ("", ["", "a", "é"]),
    (r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", ["00000000-0000-0000-0000-000000000000", "0-0-0-0-0"]),
    (r"^https?://[^\s/$.?#].[^\s]*$", ["http://a.b", "https://example.com/?q=1#x", "ftp://a", "http:// a"]),
    (r"^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$", ["1.2.3.4", "255.255.255.255", "256.1.1.1"]),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "found"), COMMON)
def test_patterns_as_data_has_them_are_simple(pattern: str, found: list[str], run_kernel: RunKernel) -> None:
    automaton = automaton_of(pattern)
    assert automaton is not None
    actual = matches(run_kernel, automaton, byte_column([text.encode() for text in found]))
    expected = accepts(pattern, found)
    assert expected is not None
    certain = [
        sure or (wanted and not text.isascii()) for text, sure, wanted in zip(found, actual, expected, strict=True)
    ]
    assert certain == expected


@pytest.mark.parametrize(
    "pattern",
    [
        r"\bred\b", "(?i)red", "(?=a)", "é", "[[:alpha:]]", "[a&&b]", "[a--b]", "[]a]", "[^]a]", r"\<a", r"\x41",
        r"\p{L}", "a**", "a++", "a{2}{3}", "a{,2}", "{", "^*", "(?<n>a)", r"[\w-a]", "[a-c-e]", r"(a)\1", "a{999}",
        "(a", "a)", "[a",
        "(" * 40 + "a" + ")" * 40, "(a{100}){100}", "[ab]*a[ab]{9}",
    ],
)  # fmt: skip
def test_what_is_not_simple_is_left_to_pydantic(pattern: str) -> None:
    assert automaton_of(pattern) is None


def test_white_space_is_more_to_python_than_to_rust(run_kernel: RunKernel) -> None:
    texts = ["\x1c", "\x1d", "\x1e", "\x1f", "\t", "\n", "\x0b", "\x0c", "\r", " ", "x"]
    column = byte_column([text.encode() for text in texts])
    for pattern in (r"\s", r"\S", r"^[\s]$", r"^[^\s]\z"):
        for python, engine in ((False, "rust-regex"), (True, "python-re")):
            shown = pattern.replace(r"\z", r"\Z") if python else pattern
            automaton = automaton_of(shown, python=python)
            assert automaton is not None
            assert matches(run_kernel, automaton, column) == accepts(shown, texts, engine)


def test_what_stands_behind_a_certain_match_does_not_matter(run_kernel: RunKernel) -> None:
    automaton = automaton_of("a")
    assert automaton is not None
    assert matches(run_kernel, automaton, byte_column(["aé".encode(), "éa".encode(), b"xa\xff"])) == [True, False, True]


def test_a_column_may_be_sliced_with_nulls_in_any_order_or_empty(run_kernel: RunKernel) -> None:
    automaton = automaton_of("^a+$")
    assert automaton is not None
    array = pa.array([b"a", b"b", None, b"aa", b"", b"a"], pa.binary()).slice(1, 4)
    cells = text_cells(array)
    column = (cells.data, cells.starts, cells.ends)
    assert matches(run_kernel, automaton, column, cells.fresh_state()) == [False, False, True, False]
    backwards = (cells.data, cells.starts[::-1].copy(), cells.ends[::-1].copy())
    assert matches(run_kernel, automaton, backwards) == [False, True, False, False]
    assert matches(run_kernel, automaton, byte_column([])) == []


def test_doubt_is_never_taken_back(run_kernel: RunKernel) -> None:
    automaton = automaton_of("")
    assert automaton is not None
    state = np.array([UNSURE, SURE], np.uint8)
    assert matches(run_kernel, automaton, byte_column([b"a", b"a"]), state) == [False, True]
