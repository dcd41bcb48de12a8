"""Judging a batch by columns: each field's cells by a kernel, or by pydantic in one call.

Nothing is rejected here. A row with a cell that was not accepted is *unsure* as a whole and goes to pydantic; what it
accepts is put back into its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import RowNumbers, SourceBatch, SourceKind
from zoopipe_core.kernels._jit import SURE
from zoopipe_core.kernels.buffers import text_cells
from zoopipe_core.schema.by_field import Cells, dumped, validate_cells, validate_values
from zoopipe_core.schema.cells import cell_values
from zoopipe_core.schema.plan import UNSURE, FieldPlan, ModelPlan
from zoopipe_core.schema.rules.base import State

__all__ = ["Doubt", "JudgedColumns", "judge_columns"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """The cells of one field that were not accepted.

    Attributes:
        field: the field.
        source: the column that its cells come from.
        rows: bool (n,), the rows of these cells; at least one.
    """

    field: FieldPlan
    source: str
    rows: npt.NDArray[np.bool_]


@dataclass(slots=True)
class JudgedColumns:
    """The columns of a batch after their cells were judged.

    Attributes:
        fields: each field of the model with its column; what stands in unsure rows means nothing.
        unsure: bool (n,), the rows that pydantic has to decide.
        doubts: what made them so, by field; for JSON, where a line may be unsure as a whole, not all of it.
        complete: whether the sure cells of unsure rows have their values in the columns, too.
    """

    fields: list[tuple[FieldPlan, Column]]
    unsure: npt.NDArray[np.bool_]
    doubts: list[Doubt]
    complete: bool = False

    @property
    def unsure_by_field(self) -> dict[str, int]:
        """How many rows each field made unsure, by its name; 0 is left out."""
        return {doubt.field.name: int(np.count_nonzero(doubt.rows)) for doubt in self.doubts}

    def settle(self, field: FieldPlan, rows: RowNumbers, value: Any) -> None:
        """Put `value` into the column of `field` in unsure rows that have no other doubt; they are sure then.

        Only where the columns are `complete`.
        """
        place = next(place for place, (f, _) in enumerate(self.fields) if f is field)
        column = self.fields[place][1]
        order = np.arange(len(column), dtype=np.int64)
        order[rows] = len(column)
        self.fields[place] = (field, column.extended([value]).take(order))
        self.unsure[rows] = False

    def collect(self, batch: SourceBatch, accepted: Mapping[int, Mapping[str, Any]]) -> ModelBatch:
        """The accepted rows: the sure ones, and of the unsure ones those that pydantic accepted, as dumps."""
        outputs = [(f, column) for f, column in self.fields if f.output is not None]
        if not self.unsure.any():
            return ModelBatch({str(f.output): column for f, column in outputs}, batch.rows, batch.source)
        kept = ~self.unsure
        sure = np.flatnonzero(kept)
        slow = np.array(sorted(accepted), dtype=np.int64)
        places = np.concatenate([sure, slow])
        order = np.argsort(places, kind="stable") if len(slow) else None
        columns: dict[str, Column] = {}
        for f, column in outputs:
            name = str(f.output)
            taken = column.filter(kept, sure)
            if order is not None:
                taken = taken.extended([accepted[index][name] for index in slow.tolist()]).take(order)
            columns[name] = taken
        rows = batch.rows[places if order is None else places[order]]
        return ModelBatch(columns, rows, batch.source)


def judge_columns(plan: ModelPlan, batch: SourceBatch, kernels: bool) -> JudgedColumns | None:
    """Judge every cell that the model looks at; None if the rows of this batch have to go whole to pydantic.

    `kernels` says whether compiled kernels may be used.
    """
    present = batch.names
    sources = {f.name: next((name for name in f.inputs if name in present), None) for f in plan.fields}
    if plan.row_reason or (plan.forbids_extra and any(name not in sources.values() for name in present)):
        return None
    # A default that cannot simply be repeated, or a required column that is not there: pydantic knows.
    if any(sources[f.name] is None and f.constant is None for f in plan.fields):
        return None
    unsure = np.zeros(batch.num_rows, np.bool_)
    doubts: list[Doubt] = []

    def doubt(f: FieldPlan, rows: npt.NDArray[np.bool_]) -> None:
        if rows.any():
            doubts.append(Doubt(f, str(sources[f.name]), rows))
            np.logical_or(unsure, rows, out=unsure)

    # Kernels first: only rows that they are sure of are worth a look at the dumps of the others.
    judged: dict[str, Column] = {}
    later: list[FieldPlan] = []
    for f in plan.fields:
        source = sources[f.name]
        if source is None:
            assert f.constant is not None
            judged[f.name] = Column(f.column_type, [f.constant[0]] * batch.num_rows)
            continue
        verdict = _by_kernel(f, batch, source) if kernels else None
        if verdict is None:
            later.append(f)
        else:
            judged[f.name], state = verdict
            doubt(f, state != SURE)
    validated: dict[str, Sequence[Any]] = {}
    for f in later:
        source = str(sources[f.name])
        result = validate_cells(f, batch.column(source), partial(_by_cell, plan, f, kind=batch.kind))
        if result is None:
            return None
        values, bad = result
        validated[f.name] = values
        if bad or UNSURE in values:
            doubt(f, np.array([value is UNSURE or index in bad for index, value in enumerate(values)]))
    for f in later:
        judged[f.name] = Column(f.column_type, dumped(plan, f, validated[f.name], unsure))
    # What is no plain value is dumped for sure rows only.
    complete = all(f.plain for f in later)
    return JudgedColumns([(f, judged[f.name]) for f in plan.fields], unsure, doubts, complete)


def _by_kernel(f: FieldPlan, batch: SourceBatch, source: str) -> tuple[Column, State] | None:
    """The column's values and which of them count; None if kernels cannot judge it."""
    if f.kernel is None:
        return None
    cells = batch.cells(source)
    if cells is not None:
        return f.kernel.judge_text(cells, f.column_type)
    array = batch.column(source)
    if pa.types.is_string(array.type) or (batch.kind is SourceKind.TEXT and pa.types.is_binary(array.type)):
        return f.kernel.judge_text(text_cells(array), f.column_type)
    return f.kernel.judge_typed(array, f.column_type)


def _by_cell(plan: ModelPlan, f: FieldPlan, array: pa.Array, kind: SourceKind) -> Cells | None:
    cells, bad = cell_values(f.name, array, kind)
    values = validate_values(plan, f, cells)
    return None if values is None else (values, bad)
