"""Which fields kernels can judge, and how: from a field's core schema to a function over its column.

A rule covers text cells only, as CSV has them. It is built only if every key of the schema is one that it knows; a
constraint that a future pydantic adds sends the field back to pydantic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.model import Column
from zoopipe_core.batches.types import NAIVE_MICROSECONDS, UTC_MICROSECONDS, ColumnType
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import TextCells, array_from_numpy, text_cells
from zoopipe_core.schema.model_types import CoreSchema

__all__ = ["KernelRule", "rule_of"]

State: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (n,): SURE or UNSURE for each cell."""

Judge: TypeAlias = Callable[[pa.Array, TextCells, State, ColumnType], Column]
"""Judges the cells whose state is SURE on entry, sets the others' state, returns the values of those that stay so."""


@dataclass(frozen=True, slots=True)
class KernelRule:
    """How a column of text becomes a column of values.

    Attributes:
        name: the kernel's name, for people.
        nullable: whether a null cell is accepted, as None.
        judge: see `Judge`.
    """

    name: str
    nullable: bool
    judge: Judge

    def apply(self, array: pa.Array, column_type: ColumnType) -> tuple[Column, State]:
        """The column's values, and which of them count; the rows of the others go to pydantic."""
        cells = text_cells(array)
        state = cells.fresh_state()
        column = self.judge(array, cells, state, column_type)
        if self.nullable and cells.nulls is not None:
            state[cells.nulls] = SURE
        return column, state


_IGNORED = {"type", "ref", "metadata", "serialization"}


def rule_of(schema: CoreSchema, config: Mapping[str, Any]) -> KernelRule | None:
    """The rule for a field's core schema; None if kernels cannot judge it."""
    if config.get("strict"):
        return None  # strictness takes no text for anything but text
    nullable = False
    while schema["type"] in ("default", "nullable"):
        if schema["type"] == "nullable":
            nullable = True
            if schema.get("strict"):
                return None
        schema = schema["schema"]
    build = _BUILDERS.get(schema["type"])
    if build is None or schema.get("strict"):
        return None
    known, make = build
    if set(schema) - _IGNORED - {"strict"} - known:
        return None
    judge = make(schema, config)
    return None if judge is None else KernelRule(schema["type"], nullable, judge)


def _fixed(cells: TextCells, values: npt.NDArray[Any], kind: ColumnType) -> Column:
    return Column(kind, None, array_from_numpy(values, kind.arrow, cells.nulls))


# ---- numbers ------------------------------------------------------------------------------------------------------

_RANGE = {"gt", "ge", "lt", "le"}
_INT64 = (-(2**63), 2**63 - 1)


def _int(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import numbers

    bounds = [schema.get(name) for name in (*_RANGE, "multiple_of")]
    if any(bound is not None and type(bound) is not int for bound in bounds):
        return None
    lower = max(schema.get("ge", _INT64[0]), schema.get("gt", _INT64[0] - 1) + 1)
    upper = min(schema.get("le", _INT64[1]), schema.get("lt", _INT64[1] + 1) - 1)
    divisor = schema.get("multiple_of")
    limited = lower > _INT64[0] or upper < _INT64[1]
    if lower > _INT64[1] or upper < _INT64[0] or (divisor is not None and not 0 < divisor <= _INT64[1]):
        return None

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(array), np.int64)
        numbers.parse_int64(cells.data, cells.starts, cells.ends, values, state)
        if limited:
            numbers.check_int64_range(values, lower, upper, state)
        if divisor is not None:
            numbers.check_int64_multiple(values, divisor, state)
        return _fixed(cells, values, kind)

    return judge


def _float(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import numbers

    finite = schema.get("allow_inf_nan", config.get("allow_inf_nan", True)) is False
    lower, lower_strict = _tighter(schema, "ge", "gt", max, -np.inf)
    upper, upper_strict = _tighter(schema, "le", "lt", min, np.inf)
    limited = any(name in schema for name in _RANGE)

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(array), np.float64)
        numbers.parse_float64(cells.data, cells.starts, cells.ends, values, state)
        if finite:
            numbers.check_float64_finite(values, state)
        if limited:
            numbers.check_float64_range(values, lower, int(lower_strict), upper, int(upper_strict), state)
        return _fixed(cells, values, kind)

    return judge


def _tighter(
    schema: CoreSchema, inclusive: str, strict: str, choose: Callable[..., float], none: float
) -> tuple[float, bool]:
    """The tighter one of two bounds, and whether it is itself excluded."""
    at, beyond = float(schema.get(inclusive, none)), float(schema.get(strict, none))
    bound = choose(at, beyond)
    return bound, strict in schema and beyond == bound


def _bool(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import numbers

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(array), np.uint8)
        numbers.parse_bool(cells.data, cells.starts, cells.ends, values, state)
        bits = np.packbits(values, bitorder="little")
        validity = None
        if cells.nulls is not None:
            validity = pa.py_buffer(np.packbits(~cells.nulls, bitorder="little"))
        return Column(kind, None, pa.Array.from_buffers(pa.bool_(), len(array), [validity, pa.py_buffer(bits)]))

    return judge


def _decimal(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import numbers

    digits, places = schema.get("max_digits", -1), schema.get("decimal_places", -1)

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        numbers.check_decimal(cells.data, cells.starts, cells.ends, digits, places, state)
        sure = (state == SURE).tolist()
        texts = array.to_pylist()
        return Column(kind, [Decimal(t.decode()) if ok else None for t, ok in zip(texts, sure, strict=True)])

    return judge


# ---- dates and times ----------------------------------------------------------------------------------------------


def _date(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import temporal

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(array), np.int32)
        temporal.parse_date(cells.data, cells.starts, cells.ends, values, state)
        return _fixed(cells, values, kind)

    return judge


def _datetime(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import temporal

    constraint = schema.get("tz_constraint")
    if constraint not in (None, "aware", "naive") or schema.get("microseconds_precision", "truncate") != "truncate":
        return None

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values, offsets = np.zeros(len(array), np.int64), np.zeros(len(array), np.int32)
        temporal.parse_datetime(cells.data, cells.starts, cells.ends, values, offsets, state)
        sure = np.flatnonzero(state == SURE)
        if constraint is None:
            # The first one decides for the batch; pydantic takes the others.
            utc = bool(offsets[sure[0]] != temporal.NAIVE) if len(sure) else kind.arrow.tz is not None
        else:
            utc = constraint == "aware"
        state[offsets != (0 if utc else temporal.NAIVE)] = UNSURE
        resolved = ColumnType(UTC_MICROSECONDS if utc else NAIVE_MICROSECONDS, kind.nullable)
        return _fixed(cells, values, resolved)

    return judge


def _time(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import temporal

    if schema.get("microseconds_precision", "truncate") != "truncate" or schema.get("tz_constraint") == "aware":
        return None

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(array), np.int64)
        temporal.parse_time(cells.data, cells.starts, cells.ends, values, state)
        return _fixed(cells, values, kind)

    return judge


def _timedelta(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import temporal

    if schema.get("microseconds_precision", "truncate") != "truncate":
        return None

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(array), np.int64)
        temporal.parse_timedelta(cells.data, cells.starts, cells.ends, values, state)
        return _fixed(cells, values, kind)

    return judge


# ---- text ---------------------------------------------------------------------------------------------------------


def _uuid(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import uuids

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(16 * len(array), np.uint8)
        uuids.parse_uuid(cells.data, cells.starts, cells.ends, values, state)
        validity = None
        if cells.nulls is not None:
            validity = pa.py_buffer(np.packbits(~cells.nulls, bitorder="little"))
        storage = pa.Array.from_buffers(pa.binary(16), len(array), [validity, pa.py_buffer(values)])
        return Column(kind, None, pa.ExtensionArray.from_storage(kind.arrow, storage))

    return judge


def _str(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    from zoopipe_core.kernels import text

    def option(name: str) -> Any:
        return schema.get(name, config.get(f"str_{name}"))

    if option("strip_whitespace") or option("to_lower") or option("to_upper"):
        return None  # the text changes: pydantic's field route, for now
    shortest, longest = option("min_length"), option("max_length")
    limited = bool(shortest) or longest is not None

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        text.check_utf8(cells.data, cells.starts, cells.ends, state)
        if limited:
            most = -1 if longest is None else longest
            text.check_length(cells.data, cells.starts, cells.ends, shortest or -1, most, state)
        # The bytes are the value. Cells that are no UTF-8 are UNSURE and never looked at.
        return Column(kind, None, pa.Array.from_buffers(pa.string(), len(array), array.buffers(), offset=array.offset))

    return judge


def _literal(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    values = schema["expected"]
    if not all(type(value) is str for value in values):
        return None
    return _words(list(values), list(values))


def _enum(schema: CoreSchema, config: Mapping[str, Any]) -> Judge | None:
    members = schema["members"]
    if not all(type(member.value) is str for member in members) or config.get("use_enum_values"):
        return None
    return _words([member.value for member in members], members)


def _words(words: list[str], values: list[Any]) -> Judge | None:
    from zoopipe_core.kernels import text

    listed = text.word_table([word.encode("utf-8", "surrogatepass") for word in words])
    table = [*values, None]

    def judge(array: pa.Array, cells: TextCells, state: State, kind: ColumnType) -> Column:
        found = np.full(len(array), len(values), np.int32)
        text.match_words(cells.data, cells.starts, cells.ends, *listed, found, state)
        found[state != SURE] = len(values)
        return Column(kind, [table[index] for index in found.tolist()])

    return judge


# core type -> (constraints that the rule knows, how to make its judge)
_BUILDERS: dict[str, tuple[set[str], Callable[[CoreSchema, Mapping[str, Any]], Judge | None]]] = {
    "bool": (set(), _bool),
    "date": (set(), _date),
    "datetime": ({"microseconds_precision", "tz_constraint"}, _datetime),
    "decimal": ({"max_digits", "decimal_places", "allow_inf_nan"}, _decimal),
    "enum": ({"cls", "members"}, _enum),
    "float": ({*_RANGE, "allow_inf_nan"}, _float),
    "int": ({*_RANGE, "multiple_of"}, _int),
    "literal": ({"expected"}, _literal),
    "str": ({"min_length", "max_length", "strip_whitespace", "to_lower", "to_upper"}, _str),
    "time": ({"microseconds_precision", "tz_constraint"}, _time),
    "timedelta": ({"microseconds_precision"}, _timedelta),
    "uuid": (set(), _uuid),
}
