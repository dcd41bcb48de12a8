"""Rules for int, float, bool and Decimal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import SchemaValidator, core_schema

from zoopipe_core.batches.model import Column
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.kernels import numbers
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import (
    TextCells,
    array_from_numpy,
    null_mask,
    strings_from_cells,
    true_mask,
    validity_of,
)
from zoopipe_core.schema.model_types import CoreSchema
from zoopipe_core.schema.rules.base import Judge, JudgeTyped, State, fixed

__all__ = ["RANGE", "bool_rules", "decimal_rules", "float_rules", "int_range", "int_rules", "numpy_values"]

RANGE = frozenset({"gt", "ge", "lt", "le"})
INT64 = (-(2**63), 2**63 - 1)
DOUBLE_INTEGERS = 2.0**63

Rules = tuple[Judge | None, JudgeTyped | None] | None
Check = Callable[[Any, State], None]


# ---- int ----------------------------------------------------------------------------------------------------------


def int_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """Integers of 64 bits. Typed: integers, floats without a fraction, booleans."""
    check = _int_check(schema)
    if check is None:
        return None

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(cells), np.int64)
        respelled = np.zeros(len(cells), np.uint8)
        numbers.parse_int64(cells.data, cells.starts, cells.ends, values, state, respelled)
        check(values, state)
        return fixed(cells, values, kind, respelled)

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        given = array.type
        if pa.types.is_integer(given) and given != pa.uint64():
            array = array.cast(pa.int64())
        elif pa.types.is_floating(given) and not strict:
            array = _whole_numbers(array.cast(pa.float64()), state)
        elif pa.types.is_boolean(given) and not strict:
            array = array.cast(pa.int64())
        else:
            return None
        check(numpy_values(array, np.int64), state)
        return Column(kind, None, array)

    return text, typed


def _whole_numbers(array: pa.Array, state: State) -> pa.Array:
    values = numpy_values(array, np.float64)
    # Pydantic takes neither end of what 64 bits can hold from a float.
    whole = (values == np.trunc(values)) & (values > -DOUBLE_INTEGERS) & (values < DOUBLE_INTEGERS)
    state[~whole] = UNSURE
    integers = np.where(whole, values, 0).astype(np.int64)
    return array_from_numpy(integers, pa.int64(), null_mask(array) if array.null_count else None)


def numpy_values(array: pa.Array, dtype: Any) -> Any:
    """The values of a fixed-width array as (n,), whatever where it is null; no copy."""
    values = np.frombuffer(array.buffers()[1], dtype) if len(array) else np.zeros(0, dtype)
    return values[array.offset : array.offset + len(array)]


def _int_check(schema: CoreSchema) -> Check | None:
    if any(type(schema.get(name, 0)) is not int for name in (*RANGE, "multiple_of")):
        return None
    lower = max(schema.get("ge", INT64[0]), schema.get("gt", INT64[0] - 1) + 1)
    upper = min(schema.get("le", INT64[1]), schema.get("lt", INT64[1] + 1) - 1)
    divisor = schema.get("multiple_of")
    if lower > INT64[1] or upper < INT64[0] or (divisor is not None and not 0 < divisor <= INT64[1]):
        return None
    limited = lower > INT64[0] or upper < INT64[1]

    def check(values: Any, state: State) -> None:
        if limited:
            numbers.check_int64_range(values, lower, upper, state)
        if divisor is not None:
            numbers.check_int64_multiple(values, divisor, state)

    return check


def int_range(lower: int | None, upper: int | None) -> Check | None:
    """A check that whole numbers are within bounds, both included; None if a bound is beyond 64 bits."""
    bounds = {"ge": lower, "le": upper}
    return _int_check({name: bound for name, bound in bounds.items() if bound is not None})


# ---- float --------------------------------------------------------------------------------------------------------


def float_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """Doubles. Typed: floats, integers, booleans."""
    limits = [schema[name] for name in (RANGE | {"multiple_of"}) & schema.keys()]
    if any(type(limit) not in (int, float) or (type(limit) is int and int(float(limit)) != limit) for limit in limits):
        return None
    divisor = schema.get("multiple_of")
    if divisor is not None and not (0 < divisor < np.inf and _multiples_are_known()):
        return None
    finite = schema.get("allow_inf_nan", config.get("allow_inf_nan", True)) is False
    lower, lower_strict = _tighter(schema, "ge", "gt", max, -np.inf)
    upper, upper_strict = _tighter(schema, "le", "lt", min, np.inf)
    limited = not RANGE.isdisjoint(schema)

    def check(values: Any, state: State) -> None:
        if finite:
            numbers.check_float64_finite(values, state)
        if limited:
            numbers.check_float64_range(values, lower, int(lower_strict), upper, int(upper_strict), state)
        if divisor is not None:
            state[_are_no_multiples(values, float(divisor))] = UNSURE

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(cells), np.float64)
        respelled = np.zeros(len(cells), np.uint8)
        numbers.parse_float64(cells.data, cells.starts, cells.ends, values, state, respelled)
        check(values, state)
        return fixed(cells, values, kind, respelled)

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        given = array.type
        if pa.types.is_floating(given) or (pa.types.is_integer(given) and given != pa.uint64()):
            # Python's float(int) rounds to the nearest double, as this cast does when told not to mind.
            array = array.cast(pa.float64(), safe=False)
        elif pa.types.is_boolean(given) and not strict:
            array = array.cast(pa.int8()).cast(pa.float64())
        else:
            return None
        check(numpy_values(array, np.float64), state)
        return Column(kind, None, array)

    return text, typed


MULTIPLE_TOLERANCE = 1e-9


def _are_no_multiples(values: Any, divisor: float) -> Any:
    """Which values are no multiple of `divisor`, give or take what pydantic does: bool (n,). NaN and inf are one."""
    with np.errstate(over="ignore", invalid="ignore"):
        quotients = values / divisor
        whole = np.rint(quotients)
        # A half is rounded to the other side by pydantic, which may matter to divisors that are very small.
        return (np.abs(values - whole * divisor) > MULTIPLE_TOLERANCE) | (np.abs(quotients - whole) == 0.5)


@cache
def _multiples_are_known() -> bool:
    """Whether this version of pydantic takes multiples as we do; the tolerance was a part of the value once."""
    telling = [0.3, -0.3, 5e-10, 0.1 + 2e-9, 1000.0000005, -1e7, 1e15, np.inf, np.nan]
    verdicts = SchemaValidator(
        core_schema.list_schema(
            core_schema.with_default_schema(core_schema.float_schema(multiple_of=0.1), default=None, on_error="default")
        )
    ).validate_python(telling)
    refused = [value is None for value in verdicts]
    return bool(refused == _are_no_multiples(np.array(telling), 0.1).tolist())


def _tighter(
    schema: CoreSchema, inclusive: str, strict: str, choose: Callable[..., float], none: float
) -> tuple[float, bool]:
    """The tighter one of two bounds, and whether it is itself excluded."""
    at, beyond = float(schema.get(inclusive, none)), float(schema.get(strict, none))
    bound = choose(at, beyond)
    return bound, strict in schema and beyond == bound


# ---- bool ---------------------------------------------------------------------------------------------------------


def bool_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """Booleans. Typed: booleans, and numbers that are 0 or 1."""

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        values = np.zeros(len(cells), np.uint8)
        respelled = np.zeros(len(cells), np.uint8)
        numbers.parse_bool(cells.data, cells.starts, cells.ends, values, state, respelled)
        bits = pa.py_buffer(np.packbits(values, bitorder="little"))
        array = pa.Array.from_buffers(pa.bool_(), len(cells), [validity_of(cells.nulls), bits])
        return Column(kind, None, array, cells.with_respelled(respelled))

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        given = array.type
        if pa.types.is_boolean(given):
            return Column(kind, None, array)
        if strict or not (pa.types.is_integer(given) or pa.types.is_floating(given)):
            return None
        binary = pc.or_(pc.equal(array, pa.scalar(0, given)), pc.equal(array, pa.scalar(1, given)))
        state[~true_mask(binary)] = UNSURE
        return Column(kind, None, pc.equal(array, pa.scalar(1, given)))

    return text, typed


# ---- Decimal ------------------------------------------------------------------------------------------------------


def decimal_rules(schema: CoreSchema, config: Mapping[str, Any], strict: bool) -> Rules:
    """Decimals that are spelled as Python spells them. Typed: decimals without further constraints."""
    digits, places = schema.get("max_digits", -1), schema.get("decimal_places", -1)
    bounds = {name: schema[name] for name in RANGE & schema.keys()}
    if any(not isinstance(bound, int | Decimal) for bound in bounds.values()):
        return None

    def text(cells: TextCells, state: State, kind: ColumnType) -> Column:
        numbers.check_decimal(cells.data, cells.starts, cells.ends, digits, places, state)
        sure = state == SURE
        texts = strings_from_cells(cells, state)
        listed = texts.to_pylist() if sure.all() else _some(texts, sure)
        values = [None if text is None else Decimal(text) for text in listed]
        for name, bound in bounds.items():
            within = _WITHIN[name]
            state[[i for i, value in enumerate(values) if value is not None and not within(value, bound)]] = UNSURE
        return Column(kind, values)

    def typed(array: pa.Array, state: State, kind: ColumnType) -> Column | None:
        if not pa.types.is_decimal(array.type) or digits >= 0 or places >= 0 or bounds:
            return None
        return Column(ColumnType(array.type, kind.nullable), None, array) if array.type == kind.arrow else None

    return text, typed


_WITHIN: dict[str, Callable[[Decimal, Any], bool]] = {
    "ge": lambda value, bound: value >= bound,
    "gt": lambda value, bound: value > bound,
    "le": lambda value, bound: value <= bound,
    "lt": lambda value, bound: value < bound,
}


def _some(texts: pa.Array, sure: Any) -> list[Any]:
    """The texts of sure cells, None for the others, whose bytes may be no text."""
    return pc.if_else(pa.array(sure), texts.view(pa.binary()), None).cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
