"""Cells of one field, judged by pydantic for themselves: all of them in one call, or each distinct one once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.schema.plan import UNSURE, FieldPlan, ModelPlan

__all__ = ["Cells", "dumped", "validate_cells", "validate_json_texts", "validate_values"]

Cells: TypeAlias = tuple[list[Any], Collection[int]]
"""Validated cells, `UNSURE` where pydantic did not accept one; and the places of those that have no value at all."""

LOOK_AT = 512
"""Cells that tell whether a column is likely to have few distinct values."""
_IMMUTABLE = (
    bool, bytes, dt.date, dt.time, dt.timedelta, Decimal, Enum, float, int, str, type(None), UUID,
)  # fmt: skip


def validate_cells(f: FieldPlan, array: pa.Array, validate: Callable[[pa.Array], Cells | None]) -> Cells | None:
    """The cells of `array` as `validate` gives them, each distinct one validated once where that saves something and
    cannot be told apart; None if the field cannot go by itself.
    """
    return (_by_distinct_cells(array, validate) if f.pure else None) or validate(array)


def _by_distinct_cells(array: pa.Array, validate: Callable[[pa.Array], Cells | None]) -> Cells | None:
    if len(array) < 2 * LOOK_AT or not (pa.types.is_binary(array.type) or pa.types.is_string(array.type)):
        return None
    if len(array.slice(0, LOOK_AT).unique()) > LOOK_AT // 4:
        return None
    encoded = array.dictionary_encode(null_encoding="encode")
    if len(encoded.dictionary) > len(array) // 4:
        return None
    result = validate(encoded.dictionary)
    if result is None:
        return None
    distinct, bad = result
    if not all(value is UNSURE or isinstance(value, _IMMUTABLE) for value in distinct):
        return None  # rows must not share what one of them might change
    places = np.frombuffer(encoded.indices.buffers()[1], np.int32)[: len(array)].tolist()
    values = [distinct[place] for place in places]
    return values, {row for row, place in enumerate(places) if place in bad} if bad else frozenset()


def validate_values(plan: ModelPlan, f: FieldPlan, cells: list[Any]) -> list[Any] | None:
    """Python values, validated; None if the field cannot go by itself."""
    return _in_one_call(plan.column_validators[f.name].validate_python, cells, len(cells))


def validate_json_texts(plan: ModelPlan, f: FieldPlan, texts: pa.Array) -> list[Any] | None:
    """JSON values, given as an array of strings with one value in each, validated as ``model_validate_json`` does.

    A value in an array means to pydantic what it means in an object: it stands as deep, and no validator that could
    ask for more than the value takes this way.
    """
    if not len(texts):
        return []
    one_list = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    joined = pc.binary_join(one_list, ",")[0].as_buffer()
    return _in_one_call(plan.column_validators[f.name].validate_json, b"[%b]" % joined, len(texts))


def _in_one_call(validate: Callable[[Any], list[Any]], cells: Any, count: int) -> list[Any] | None:
    try:
        values = validate(cells)
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        return None
    # A validator that raises PydanticOmit leaves its item out of the list.
    return values if len(values) == count else None


def dumped(plan: ModelPlan, f: FieldPlan, values: Sequence[Any], unsure: npt.NDArray[np.bool_]) -> Sequence[Any]:
    """The values as ``model_dump()`` shows them; those of unsure rows are placeholders."""
    if f.plain:
        return values
    doubts = unsure.tolist()
    sure = [value for value, doubt in zip(values, doubts, strict=True) if not doubt]
    shown = iter(plan.column_serializers[f.name].to_python(sure))
    return [None if doubt else next(shown) for doubt in doubts]
