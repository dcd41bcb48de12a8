"""Regular expressions as a table: which state follows on which character, for `kernels.patterns`.

    tree ──▶ automaton that may be in several states at once (NFA) ──▶ its sets of states as single ones (DFA)

A match may start anywhere, so that the start belongs to every set. A set in which a match has ended needs no further
look at the text, and neither does the empty one, from which none can start: the two states `MATCHED` and `NEVER`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels.patterns import CHARACTERS, MATCHED, NEVER
from zoopipe_core.schema.rules.pattern_syntax import Chars, Choice, Edge, Node, Repeat, Sequence

__all__ = ["Automaton", "build_automaton"]

MOST_STATES = 256
"""As many as a byte can name."""
MOST_STEPS = 600
"""States of the NFA; each copy of a repeated part has its own."""

States: TypeAlias = frozenset[int]


@dataclass(frozen=True, slots=True)
class Automaton:
    """A pattern as `kernels.patterns.match_pattern` takes it.

    Attributes:
        follows: uint8 (s * 128,), the state after each of s states and each ASCII character.
        final: uint8 (s,), 1 for states in which the end of the text makes a match.
        first: the state to start in.
    """

    follows: npt.NDArray[np.uint8]
    final: npt.NDArray[np.uint8]
    first: int


class _TooLarge(Exception):
    """There are more states than a kernel takes."""


def build_automaton(node: Node) -> Automaton | None:
    """The automaton that looks for a pattern anywhere in a text; None if it would be too large."""
    try:
        steps = _Steps()
        start, end = steps.add(), steps.add()
        steps.connect(node, start, end)
        return _Subsets(steps, start, end).table()
    except _TooLarge:
        return None


class _Steps:
    """The NFA: from each state, where one comes without a character, at an edge of the text, or with a character."""

    def __init__(self) -> None:
        self.free: list[list[int]] = []
        self.at_start: list[list[int]] = []
        self.at_end: list[list[int]] = []
        self.on: list[list[tuple[int, int]]] = []

    def add(self) -> int:
        if len(self.free) == MOST_STEPS:
            raise _TooLarge
        for ways in (self.free, self.at_start, self.at_end):
            ways.append([])
        self.on.append([])
        return len(self.free) - 1

    def connect(self, node: Node, start: int, end: int) -> None:
        """Make a way from `start` to `end` that reads `node`."""
        if isinstance(node, Chars):
            self.on[start].append((node.mask, end))
        elif isinstance(node, Edge):
            (self.at_start if node.at_start else self.at_end)[start].append(end)
        elif isinstance(node, Sequence):
            for part in node.parts:
                after = self.add()
                self.connect(part, start, after)
                start = after
            self.free[start].append(end)
        elif isinstance(node, Choice):
            for option in node.options:
                self.connect(option, start, end)
        else:
            self._connect_repeated(node, start, end)

    def _connect_repeated(self, node: Repeat, start: int, end: int) -> None:
        for _ in range(node.least):
            after = self.add()
            self.connect(node.part, start, after)
            start = after
        if node.most is None:
            again, after = self.add(), self.add()  # of its own, so that nothing else leads back into the loop
            self.free[start].append(again)
            self.connect(node.part, again, after)
            self.free[after].append(again)
            self.free[again].append(end)
            return
        for _ in range(node.most - node.least):
            self.free[start].append(end)
            after = self.add()
            self.connect(node.part, start, after)
            start = after
        self.free[start].append(end)

    def reach(self, states: Iterable[int], *, at_start: bool = False, at_end: bool = False) -> States:
        """All states that are reached from some of them without a character."""
        reached = set(states)
        open_ = list(reached)
        while open_:
            state = open_.pop()
            ways = self.free[state] + self.at_start[state] * at_start + self.at_end[state] * at_end
            for target in ways:
                if target not in reached:
                    reached.add(target)
                    open_.append(target)
        return frozenset(reached)


class _Subsets:
    """The DFA, whose states are sets of states of the NFA."""

    def __init__(self, steps: _Steps, start: int, end: int) -> None:
        self._steps = steps
        self._start = start
        self._end = end
        self._states: list[States] = [frozenset()] * (MATCHED + 1)
        self._known: dict[States, int] = {}
        masks = {mask for ways in steps.on for mask, _ in ways}
        groups: dict[tuple[bool, ...], list[int]] = {}
        for character in range(CHARACTERS):
            groups.setdefault(tuple(bool(mask >> character & 1) for mask in masks), []).append(character)
        self._groups = list(groups.values())  # characters that no part of the pattern tells apart

    def table(self) -> Automaton:
        steps = self._steps
        follows = np.zeros((MOST_STATES, CHARACTERS), np.uint8)
        final = np.zeros(MOST_STATES, np.uint8)
        follows[MATCHED], final[MATCHED] = MATCHED, 1
        begin = steps.reach([self._start], at_start=True)
        first = MATCHED if self._end in begin else len(self._states)
        if first != MATCHED:
            # Known to nobody, so that nothing leads back to the one state that is at the start of the text.
            self._states.append(begin)
        anywhere = steps.reach([self._start])
        for number, states in enumerate(self._states):  # which grows meanwhile
            if number in (NEVER, MATCHED):
                continue
            final[number] = self._end in steps.reach(states, at_start=number == first, at_end=True)
            for group in self._groups:
                targets = {target for state in states for mask, target in steps.on[state] if mask >> group[0] & 1}
                follows[number, group] = self._number(steps.reach(targets) | anywhere)
        count = len(self._states)
        return Automaton(follows[:count].reshape(-1), final[:count].copy(), first)

    def _number(self, states: States) -> int:
        if self._end in states:
            return MATCHED
        useful = frozenset(state for state in states if self._steps.on[state] or self._steps.at_end[state])
        if not useful:
            return NEVER
        number = self._known.get(useful)
        if number is None:
            number = self._known[useful] = len(self._states)
            if number == MOST_STATES:
                raise _TooLarge
            self._states.append(useful)
        return number
