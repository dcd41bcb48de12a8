"""Rules for str, UUID, and the words of a Literal or an Enum."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.model import Column
from zoopipe_core.batches.source import index_array
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.kernels import numbers, patterns, text, uuids
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import TextCells, strings_from_cells, text_cells, validity_of
from zoopipe_core.schema.model_types import CoreSchema
from zoopipe_core.schema.rules.base import Judge, State
from zoopipe_core.schema.rules.numbers import Rules
from zoopipe_core.schema.rules.pattern_automaton import Automaton, build_automaton
from zoopipe_core.schema.rules.pattern_syntax import read_pattern

__all__ = ["enum_rules", "literal_rules", "str_rules", "uuid_rules"]


# ---- str ----------------------------------------------------------------------------------------------------------


def str_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """Valid UTF-8 within its lengths, with a match of a simple pattern.

    Pydantic strips first, then counts, then looks for the pattern, then changes the case.
    """

    def option(name: str) -> Any:
        return schema.get(name, config.get(f"str_{name}"))

    strip, lower, upper = (bool(option(name)) for name in ("strip_whitespace", "to_lower", "to_upper"))
    shortest, longest = option("min_length"), option("max_length")
    limited = bool(shortest) or longest is not None
    most = -1 if longest is None else longest
    if not isinstance(most, int) or not isinstance(shortest or 0, int):
        return None
    wanted = schema.get("pattern")
    automaton = None if wanted is None else _automaton(wanted, schema.get("regex_engine", config.get("regex_engine")))
    if wanted is not None and automaton is None:
        return None

    def judge(cells: TextCells, state: State, kind: ColumnType) -> Column:
        if not cells.is_ascii:
            text.check_utf8(cells.data, cells.starts, cells.ends, state)
        if strip:
            starts, ends = np.zeros(len(cells), np.int32), np.zeros(len(cells), np.int32)
            text.strip_ascii(cells.data, cells.starts, cells.ends, starts, ends, state)
            unchanged = np.array_equal(starts, cells.starts) and np.array_equal(ends, cells.ends)
            cells = replace(cells, starts=starts, ends=ends, array=cells.array if unchanged else None)
        if limited:
            text.check_length(cells.data, cells.starts, cells.ends, shortest or -1, most, state)
        if automaton is not None:
            table = (automaton.follows, automaton.final, automaton.first)
            patterns.match_pattern(cells.data, cells.starts, cells.ends, *table, state)
        if lower or upper:
            if cells.array is None:  # far from each other: what lies between them would be allocated too
                cells = text_cells(strings_from_cells(cells, state))
            data = np.zeros(len(cells.data), np.uint8)
            change = text.lower_ascii if lower else text.upper_ascii
            change(cells.data, cells.starts, cells.ends, data, state)
            cells = replace(cells, data=data, array=None)
        # The bytes are the value. Cells that are no UTF-8 are UNSURE and never looked at.
        return Column(kind, None, None if cells.array is None else strings_from_cells(cells, state), cells)

    return judge, None


def _automaton(pattern: Any, engine: str | None) -> Automaton | None:
    """What looks for a pattern; None if it is not a simple one."""
    python = engine == "python-re"
    if isinstance(pattern, re.Pattern):  # which pydantic uses as it is
        if pattern.flags != re.UNICODE:
            return None
        pattern, python = pattern.pattern, True
    if not isinstance(pattern, str) or engine not in (None, "rust-regex", "python-re"):
        return None
    node = read_pattern(pattern, python=python)
    return None if node is None else build_automaton(node)


# ---- UUID ---------------------------------------------------------------------------------------------------------


def uuid_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """The usual spelling of a UUID. Typed: UUIDs."""
    if schema.get("version") is not None:
        return None

    def judge(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(16 * len(cells), np.uint8)
        uuids.parse_uuid(cells.data, cells.starts, cells.ends, values, state)
        buffers = [validity_of(cells.nulls), pa.py_buffer(values)]
        storage = pa.Array.from_buffers(pa.binary(16), len(cells), buffers)
        return Column(kind, None, pa.ExtensionArray.from_storage(kind.arrow, storage))

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        return Column(kind, None, array) if array.type == kind.arrow else None

    return judge, typed


# ---- words --------------------------------------------------------------------------------------------------------


def literal_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """A Literal of texts: the words themselves. Numbers are only met by numbers, never by text."""
    values = [value for value in schema["expected"] if type(value) is str]
    if not values or any(isinstance(value, Enum) for value in schema["expected"]):
        return None
    return _words(values, values), None


def enum_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """An Enum of texts or of integers: the member whose value the cell is."""
    members = schema["members"]
    if config.get("use_enum_values"):
        return None
    if all(type(member.value) is str for member in members) and schema.get("sub_type") in (None, "str"):
        return _words([member.value for member in members], members), None
    if not strict and schema.get("sub_type") == "int" and all(-(2**63) <= member.value < 2**63 for member in members):
        return _numbers([int(member.value) for member in members], members), None
    return None


def _words(words: list[str], values: list[Any]) -> Judge:
    listed = text.word_table([word.encode("utf-8", "surrogatepass") for word in words])
    table = [*values, None]

    def judge(cells: TextCells, state: State, kind: ColumnType) -> Column:
        found = np.full(len(cells), len(values), np.int32)
        text.match_words(cells.data, cells.starts, cells.ends, *listed, found, state)
        found[state != SURE] = len(values)
        if values is words:  # texts: no Python object for each cell
            return Column(kind, None, pa.array(table, pa.string()).take(index_array(found.astype(np.int64))))
        return Column(kind, [table[index] for index in found.tolist()])

    return judge


def _numbers(numbers_: list[int], members: list[Any]) -> Judge:
    order = np.argsort(np.array(numbers_, np.int64))
    known = np.array(numbers_, np.int64)[order]

    def judge(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(cells), np.int64)
        numbers.parse_int64(cells.data, cells.starts, cells.ends, values, state, np.zeros(len(cells), np.uint8))
        places = np.minimum(np.searchsorted(known, values), len(known) - 1)
        state[known[places] != values] = UNSURE
        return Column(
            kind,
            [
                members[index] if ok else None
                for index, ok in zip(order[places].tolist(), (state == SURE).tolist(), strict=True)
            ],
        )

    return judge
