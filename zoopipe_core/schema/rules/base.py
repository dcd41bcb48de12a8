"""What a rule is: a function from a column of cells to a column of values, and the cells that it is sure of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.model import Column
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import TextCells, array_from_numpy, null_mask

__all__ = ["Judge", "JudgeTyped", "KernelRule", "State", "fixed", "fresh_state"]

State: TypeAlias = npt.NDArray[np.uint8]
"""uint8 (n,): SURE or UNSURE for each cell."""

Judge: TypeAlias = Callable[[TextCells, State, ColumnType], Column]
"""Judges the text cells whose state is SURE on entry, sets the others' state, returns the values of those that stay
so.
"""

JudgeTyped: TypeAlias = Callable[[pa.Array, State, ColumnType], Column | None]
"""The same for cells of an Arrow type; None if it cannot judge that type."""


_TEXTS = ("literal", "str")


@dataclass(frozen=True, slots=True)
class KernelRule:
    """How a column of cells becomes a column of values.

    Attributes:
        name: the type that it judges, for people.
        nullable: whether a null cell is accepted, as None.
        strict: whether a text is no value unless the type is one of texts. JSON has no dates; there it is one.
        text: for cells that are text; None if pydantic has to judge those.
        typed: for cells of Arrow types; None if pydantic has to judge those.
    """

    name: str
    nullable: bool
    strict: bool
    text: Judge | None
    typed: JudgeTyped | None

    def judge_text(self, cells: TextCells, column_type: ColumnType) -> tuple[Column, State] | None:
        """The values of text cells, and which of them count; the rows of the others go to pydantic.

        None if it has to judge them all.
        """
        if self.strict and self.name not in _TEXTS:
            return None
        return self.judge_spelled(cells, column_type)

    def judge_spelled(self, cells: TextCells, column_type: ColumnType) -> tuple[Column, State] | None:
        """The same for cells of JSON whose text spells a value of the type, whether or not the type is strict."""
        if self.text is None:
            return None
        state = cells.fresh_state()
        column = self.text(cells, state, column_type)
        if self.nullable and cells.nulls is not None:
            state[cells.nulls] = SURE
        return column, state

    def judge_typed(self, array: pa.Array, column_type: ColumnType) -> tuple[Column, State] | None:
        """The same for a column of an Arrow type other than text; None if pydantic has to judge it."""
        if self.typed is None:
            return None
        state = fresh_state(array)
        column = self.typed(array, state, column_type)
        if column is None:
            return None
        if self.nullable and array.null_count:
            state[null_mask(array)] = SURE
        return column, state


def fresh_state(array: pa.Array) -> State:
    """uint8 (n,): SURE, and UNSURE for null cells."""
    state = np.full(len(array), SURE, np.uint8)
    if array.null_count:
        state[null_mask(array)] = UNSURE
    return state


def fixed(
    cells: TextCells, values: npt.NDArray[Any], kind: ColumnType, respelled: npt.NDArray[np.uint8] | None = None
) -> Column:
    """The column of values of a fixed width, null where the cells are.

    respelled: uint8 (n,), 1 for each cell that is not the text that its value is written as, or (0,) if none is; None
    if that is not known.
    """
    spelled = None if respelled is None else cells.with_respelled(respelled)
    return Column(kind, None, array_from_numpy(values, kind.arrow, cells.nulls), spelled)


Option: TypeAlias = Mapping[str, Any]
