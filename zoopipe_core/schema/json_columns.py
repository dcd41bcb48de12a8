"""Judging a batch of JSON lines by columns: a kernel finds the values, the rules for text judge them.

Of a field that has no rule, pydantic judges the values by themselves, as JSON.

A JSON value is not a text: which kinds of value a rule may judge by their spelling is told here, and rests on what
``model_validate_json`` does with them. Whatever is not told makes its row unsure, and pydantic reads that line.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic_core import SchemaValidator, core_schema

from zoopipe_core.batches.model import Column
from zoopipe_core.batches.source import JSON_COLUMN, RowNumbers, SourceBatch
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import TextCells, strings_from_cells, text_cells, validity_of
from zoopipe_core.kernels.json_numbers import trim_numbers
from zoopipe_core.kernels.json_scan import scan_objects
from zoopipe_core.kernels.json_strings import unescape_cells
from zoopipe_core.kernels.json_tokens import ABSENT, ESCAPED, FALSE, INTEGER, NULL, NUMBER, STRING, TRUE
from zoopipe_core.kernels.text import Words, word_table
from zoopipe_core.schema.by_field import Cells, dumped, validate_cells, validate_json_texts
from zoopipe_core.schema.columns import Doubt, JudgedColumns
from zoopipe_core.schema.plan import UNSURE as UNSURE_VALUE
from zoopipe_core.schema.plan import FieldPlan, ModelPlan
from zoopipe_core.schema.rules.base import State

__all__ = ["judge_json"]

_STRINGS = (STRING, ESCAPED)
# core type -> the kinds of JSON value that mean what their spelling means as a text.
_SPELLED: dict[str, tuple[int, ...]] = {
    "bool": (FALSE, TRUE, INTEGER, *_STRINGS),
    "date": _STRINGS,
    "datetime": _STRINGS,
    "decimal": (INTEGER, NUMBER, *_STRINGS),
    "enum": _STRINGS,
    "float": (INTEGER, NUMBER, *_STRINGS),
    "int": (INTEGER, *_STRINGS),  # 9007199254740993.0 would be rounded on its way to an int
    "literal": _STRINGS,
    "str": _STRINGS,
    "time": _STRINGS,
    "timedelta": _STRINGS,
    "uuid": _STRINGS,
}
_SPELLED_STRICTLY = _SPELLED | {"bool": (FALSE, TRUE), "float": (INTEGER, NUMBER), "int": (INTEGER,)}
SAFE_DIGITS = 18
"""Bytes of an integer up to which pydantic takes it for one of 64 bits."""
DATE_SIZE = 10
"""Bytes of a date, which is no datetime if the field is strict."""


@dataclass(frozen=True, slots=True)
class _Values:
    """The values of one key: where they are, and of what kind."""

    starts: npt.NDArray[np.int32]
    ends: npt.NDArray[np.int32]
    kinds: npt.NDArray[np.uint8]

    def or_else(self, other: _Values) -> _Values:
        """These, and where there is none those of another key."""
        absent = self.kinds == ABSENT
        return _Values(
            np.where(absent, other.starts, self.starts),
            np.where(absent, other.ends, self.ends),
            np.where(absent, other.kinds, self.kinds),
        )

    def texts(self, data: npt.NDArray[np.uint8], rows: RowNumbers) -> pa.Array:
        """The values in `rows`, none of them absent, as they are spelled in JSON: an array of strings."""
        quotes = np.isin(self.kinds[rows], _STRINGS).astype(np.int32)
        cells = TextCells(data, self.starts[rows] - quotes, self.ends[rows] + quotes, None)
        return strings_from_cells(cells, cells.fresh_state())


def judge_json(plan: ModelPlan, batch: SourceBatch) -> JudgedColumns | None:
    """Judge every line of a batch of JSON; None if all of them have to go to pydantic."""
    if plan.row_reason:
        return None
    names = tuple(dict.fromkeys(name for f in plan.fields for name in f.inputs))
    lines = text_cells(batch.batch.column(JSON_COLUMN))
    values, extras, state = _scan(lines, names)
    if plan.forbids_extra:
        state[extras != 0] = UNSURE
    understood = state == SURE
    unsure = ~understood
    doubts: list[Doubt] = []

    def doubt(f: FieldPlan, rows: npt.NDArray[np.bool_]) -> None:
        if rows.any():
            doubts.append(Doubt(f, JSON_COLUMN, rows))
            np.logical_or(unsure, rows, out=unsure)

    # Kernels first: pydantic is asked for the other fields of the lines that they are sure of, and no more.
    judged: dict[str, Column] = {}
    later: list[tuple[FieldPlan, _Values]] = []
    for f in plan.fields:
        found = values[f.inputs[0]]
        for name in f.inputs[1:]:
            found = found.or_else(values[name])
        if f.kernel is None or f.kernel.text is None:
            later.append((f, found))
        else:
            judged[f.name], cells = _by_kernel(f, lines.data, found)
            doubt(f, (cells != SURE) & understood)
    validated: dict[str, list[Any]] = {}
    for f, found in later:
        result = _by_pydantic(plan, f, lines.data, found, ~unsure)
        if result is None:
            return None
        validated[f.name] = result
        doubt(f, np.fromiter((value is UNSURE_VALUE for value in result), np.bool_, len(result)) & ~unsure)
    for f, _ in later:
        judged[f.name] = Column(f.column_type, dumped(plan, f, validated[f.name], unsure))
    return JudgedColumns([(f, judged[f.name]) for f in plan.fields], unsure, doubts)


def _by_pydantic(
    plan: ModelPlan, f: FieldPlan, data: npt.NDArray[np.uint8], found: _Values, wanted: npt.NDArray[np.bool_]
) -> list[Any] | None:
    """The values of a field in the `wanted` lines, UNSURE_VALUE in others and where pydantic does not accept one.

    None if the field cannot go by itself.
    """
    default = UNSURE_VALUE if f.constant is None else f.constant[0]
    values: list[Any] = [default if absent else UNSURE_VALUE for absent in (found.kinds == ABSENT).tolist()]
    rows = np.flatnonzero(wanted & (found.kinds != ABSENT))

    def validate(texts: pa.Array) -> Cells | None:
        accepted = validate_json_texts(plan, f, texts)
        return None if accepted is None else (accepted, ())

    result = validate_cells(f, found.texts(data, rows), validate)
    if result is None:
        return None
    for row, value in zip(rows.tolist(), result[0], strict=True):
        values[row] = value
    return values


def _by_kernel(f: FieldPlan, data: npt.NDArray[np.uint8], found: _Values) -> tuple[Column, State]:
    """The values of one field, and which of them count."""
    rule, kinds, constant = f.kernel, found.kinds, f.constant
    assert rule is not None
    absent = kinds == ABSENT
    if constant is not None and absent.all():
        return Column(f.column_type, [constant[0]] * len(kinds)), np.zeros(len(kinds), np.uint8)
    nulls = absent | (kinds == NULL)
    known = np.isin(kinds, (_SPELLED_STRICTLY if rule.strict else _SPELLED)[rule.name])
    if rule.name in ("float", "decimal"):
        known &= (kinds != INTEGER) | (found.ends - found.starts <= SAFE_DIGITS)
    if rule.name == "decimal" and NUMBER in kinds:
        found, trimmed = _trimmed(data, found)
        known &= trimmed
    cells = _cells(data, found, nulls if nulls.any() else None)
    if rule.name == "datetime" and rule.strict:
        known &= cells.ends - cells.starts != DATE_SIZE
    verdict = rule.judge_spelled(cells, f.column_type)
    assert verdict is not None
    column, state = verdict
    state[~(known | nulls)] = UNSURE
    if rule.name == "float":
        # A number beyond doubles is an error to some parsers and infinite to others.
        state[(kinds == NUMBER) & _infinite(column)] = UNSURE
    # Where a key is missing its default counts; None stands in the column already.
    state[absent] = UNSURE if constant is None else SURE
    if constant not in (None, (None,)) and absent.any():
        order = np.where(absent, len(kinds), np.arange(len(kinds)))
        column = column.extended(constant).take(order)
    return column, state


def _trimmed(data: npt.NDArray[np.uint8], found: _Values) -> tuple[_Values, npt.NDArray[np.bool_]]:
    """Numbers spelled as pydantic spells their doubles, on the way to decimals; and which cells that is known of."""
    ends, state = np.zeros(len(found.ends), np.int32), np.zeros(len(found.ends), np.uint8)
    if not _decimals_are_known():
        return found, found.kinds != NUMBER
    trim_numbers(data, found.starts, found.ends, found.kinds, ends, state)
    return _Values(found.starts, ends, found.kinds), state == SURE


@cache
def _decimals_are_known() -> bool:
    """Whether this version of pydantic makes decimals of JSON numbers in the way that `trim_numbers` knows."""
    telling = {"12.50": "12.5", "12.0": "12", "-0.0": "-0", "0.1": "0.1", "99999999.9999999": "99999999.9999999"}
    decimals = SchemaValidator(core_schema.list_schema(core_schema.decimal_schema()))
    return [str(value) for value in decimals.validate_json(f"[{','.join(telling)}]")] == list(telling.values())


_IN_NO_PLAIN_TEXT = frozenset({*range(32), *b'"\\'})
"""What JSON does not have in a string but behind a backslash."""


def _cells(data: npt.NDArray[np.uint8], found: _Values, nulls: npt.NDArray[np.bool_] | None) -> TextCells:
    """The values as text: where they stand in the lines, or copied together if some of them have escapes."""
    if ESCAPED not in found.kinds:
        return TextCells(data, found.starts, found.ends, nulls, absent=_IN_NO_PLAIN_TEXT)
    count = len(found.kinds)
    out = np.empty(int(np.sum(found.ends - found.starts, dtype=np.int64)), np.uint8)
    offsets, state = np.empty(count + 1, np.int32), np.zeros(count, np.uint8)
    unescape_cells(data, found.starts, found.ends, found.kinds, out, offsets, state)
    assert not state.any()  # the scan has seen every escape
    buffers = [validity_of(nulls), pa.py_buffer(offsets), pa.py_buffer(out)]
    return text_cells(pa.Array.from_buffers(pa.binary(), count, buffers))


def _infinite(column: Column) -> Any:
    array = column.array()
    return np.isinf(np.frombuffer(array.buffers()[1], np.float64)[: len(array)])


def _scan(lines: TextCells, names: tuple[str, ...]) -> tuple[dict[str, _Values], State, State]:
    """The values of each name, whether a line has other keys, and which lines were understood."""
    table, count = _keys(names), len(lines)
    starts, ends = np.zeros(len(names) * count, np.int32), np.zeros(len(names) * count, np.int32)
    kinds = np.zeros(len(names) * count, np.uint8)
    extras, state = np.zeros(count, np.uint8), lines.fresh_state()
    follows = np.zeros(len(names) + 1, np.int32)
    scan_objects(lines.data, lines.starts, lines.ends, *table, follows, starts, ends, kinds, extras, state)
    values = {}
    for index, name in enumerate(names):
        part = slice(index * count, (index + 1) * count)
        values[name] = _Values(starts[part], ends[part], kinds[part])
    return values, extras, state


@lru_cache(maxsize=64)
def _keys(names: tuple[str, ...]) -> Words:
    return word_table([name.encode("utf-8", "surrogatepass") for name in names])
