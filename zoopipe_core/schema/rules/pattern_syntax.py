r"""Regular expressions, as far as they mean the same on ASCII text to everybody: read into a tree.

    ^[A-Z]{2}(-\d+)?$       Sequence(Edge(start), Repeat(Chars(A-Z), 2, 2), Repeat(Sequence(...), 0, 1), Edge(end))

Pydantic has two engines, Rust's ``regex`` and Python's ``re``. What is read here they read alike: characters, classes,
groups, ``|``, the quantifiers, ``^`` and ``$``. Whatever else, or reads oddly, is no pattern to this module. Two
things differ. White space is more in Python. And ``$`` also stands before a newline at the end there; it is read as
the end alone, which finds a match less often, never more often: nothing in these patterns asks for the lack of one.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["Chars", "Choice", "Edge", "Node", "Repeat", "Sequence", "read_pattern"]

MOST_REPEATS = 200
"""A bound of a quantifier up to which it is read."""
DEEPEST = 30
"""Groups within groups."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of some: bit c of `mask` stands for the ASCII character with the code c."""

    mask: int


@dataclass(frozen=True, slots=True)
class Edge:
    """The start of the text, or its end."""

    at_start: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    """One part after the other; none is the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of the options."""

    options: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The part, `least` to `most` times; None is no limit."""

    part: Node
    least: int
    most: int | None


Node: TypeAlias = Chars | Edge | Sequence | Choice | Repeat


def _mask(characters: Iterable[str]) -> int:
    return sum(1 << ord(character) for character in set(characters))


_ALL = (1 << 128) - 1
_DIGITS = _mask(string.digits)
_WORD = _mask(string.ascii_letters + string.digits + "_")
_SPACE = _mask("\t\n\v\f\r ")
_PYTHON_SPACE = _SPACE | _mask("\x1c\x1d\x1e\x1f")
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_EDGES = {"A": True, "z": False, "Z": False}
"""Escapes that stand for the start or the end; where an engine does not know one, pydantic has refused the pattern."""
_ESCAPABLE = frozenset(string.punctuation) - frozenset("<>")  # those are edges of words to Rust
_SPECIAL = frozenset("\\.+*?()|[{^$")
_QUANTIFIER = re.compile(r"[*+?]|\{([0-9]{1,3})(,([0-9]{0,3}))?\}", re.ASCII)
_CLASS = re.compile(r"\[\^?((?:\\.|[^\]\\])+)\]", re.DOTALL)
_GROUP = re.compile(r"\((\?:|\?P<[A-Za-z_][A-Za-z0-9_]*>|(?!\?))", re.ASCII)


class _Unread(Exception):
    """The pattern is not one of those that are read here."""


def read_pattern(pattern: str, *, python: bool) -> Node | None:
    """The tree of a pattern that pydantic has accepted; None if it is not one that everybody reads alike.

    python: whether Python's engine looks for it, not Rust's.

    >>> read_pattern("^|$", python=False)
    Choice(options=(Edge(at_start=True), Edge(at_start=False)))
    >>> read_pattern("(?i)red", python=False) is None
    True
    """
    try:
        if not pattern.isascii():
            return None
        reader = _Reader(pattern, _PYTHON_SPACE if python else _SPACE)
        node = reader.choice(0)
    except _Unread:
        return None
    return node if reader.at == len(pattern) else None


class _Reader:
    """Reads a pattern from the left to the right; `at` is the next character."""

    def __init__(self, pattern: str, space: int) -> None:
        self.pattern = pattern
        self.at = 0
        self._space = space

    def _next(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def choice(self, depth: int) -> Node:
        if depth > DEEPEST:
            raise _Unread
        options = [self._sequence(depth)]
        while self._next() == "|":
            self.at += 1
            options.append(self._sequence(depth))
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._repeated(depth))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, depth: int) -> Node:
        part = self._one(depth)
        found = _QUANTIFIER.match(self.pattern, self.at)
        if found is None:
            return part
        self.at = found.end()
        if isinstance(part, Edge):
            raise _Unread
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(found[0], (0, 0))
        if found[1] is not None:
            least = int(found[1])
            most = least if found[2] is None else int(found[3]) if found[3] else None
        if self._next() == "?":  # as few as possible: that tells which match is taken, not whether there is one
            self.at += 1
        if _QUANTIFIER.match(self.pattern, self.at) or max(least, most or 0) > MOST_REPEATS:
            raise _Unread
        if most is not None and most < least:
            raise _Unread
        return Repeat(part, least, most)

    def _one(self, depth: int) -> Node:
        character = self._next()
        if character == "(":
            return self._group(depth)
        if character == "[":
            return Chars(self._class())
        if character == "\\":
            edge = self.pattern[self.at + 1 : self.at + 2]
            if edge in _EDGES:
                self.at += 2
                return Edge(at_start=_EDGES[edge])
            return Chars(self._escape())
        self.at += 1
        if character in "^$":
            return Edge(at_start=character == "^")
        if character == ".":
            return Chars(_ALL & ~_mask("\n"))
        if character in _SPECIAL:
            raise _Unread
        return Chars(_mask(character))

    def _group(self, depth: int) -> Node:
        opening = _GROUP.match(self.pattern, self.at)
        if opening is None:
            raise _Unread
        self.at = opening.end()
        node = self.choice(depth + 1)
        if self._next() != ")":
            raise _Unread
        self.at += 1
        return node

    def _escape(self) -> int:
        letter = self.pattern[self.at + 1 : self.at + 2]
        self.at += 2
        classes = {"d": _DIGITS, "w": _WORD, "s": self._space}
        if letter in classes:
            return classes[letter]
        if letter.lower() in classes:
            return _ALL & ~classes[letter.lower()]
        if letter in _CONTROLS:
            return _mask(_CONTROLS[letter])
        if letter not in _ESCAPABLE:
            raise _Unread
        return _mask(letter)

    def _class(self) -> int:
        """A class in brackets. What one of the engines might take for an operation on classes is not read."""
        whole = _CLASS.match(self.pattern, self.at)
        if whole is None:
            raise _Unread
        unescaped = re.sub(r"\\.", "", whole[1], flags=re.DOTALL)
        if any(odd in unescaped for odd in ("[", "&&", "--", "~~", "||")):
            raise _Unread
        negated = self.pattern[self.at + 1] == "^"
        self.at += 1 + int(negated)
        if self._next() == "]":
            raise _Unread
        mask = 0
        while self._next() != "]":
            first = self._class_item()
            if self._is_range():
                self.at += 1
                last = self._class_item()
                if first.bit_count() != 1 or last.bit_count() != 1 or last < first or self._is_range():
                    raise _Unread
                first = 2 * last - first
            mask |= first
        self.at += 1
        return _ALL & ~mask if negated else mask

    def _is_range(self) -> bool:
        return self._next() == "-" and self.pattern[self.at + 1] != "]"

    def _class_item(self) -> int:
        if self._next() == "\\":
            return self._escape()
        self.at += 1
        return _mask(self.pattern[self.at - 1])
