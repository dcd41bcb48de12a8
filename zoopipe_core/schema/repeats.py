"""Bad cells that come again and again: ``n/a``, ``NULL``, a date that does not exist.

Where a row has just one cell that kernels were not sure of, and no code of a user's looks at that cell, the row's
verdict depends on the cell's text alone. So pydantic is asked once for each such text, with a whole row that holds
it; other rows with the same text in the same field get the same errors, or the same value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.rejects import Errors
from zoopipe_core.batches.source import RowNumbers, SourceBatch
from zoopipe_core.schema.columns import JudgedColumns
from zoopipe_core.schema.plan import FieldPlan

__all__ = ["Repeat", "RepeatedCells", "Verdict", "find_repeats"]

MAX_KNOWN = 4096
"""Texts that are remembered; further ones are judged each time."""
MAX_CHARS = 256
"""The longest text that is remembered."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What pydantic says of a cell: its errors, or if there are none its value as dumped."""

    errors: Errors
    value: Any = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Rows of a batch whose only unsure cell is the same text in the same field.

    Attributes:
        field: the field.
        key: what its verdict is remembered by.
        rows: int64 (k,), their indices.
    """

    field: FieldPlan
    key: tuple[str, str, str | None]
    rows: RowNumbers

    @property
    def text(self) -> str | None:
        """What stands in the cell."""
        return self.key[2]


class RepeatedCells:
    """The verdicts on cells that were judged before. May be used by several threads."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, str | None], Verdict] = {}

    def get(self, repeat: Repeat) -> Verdict | None:
        """The verdict, if it is known."""
        return self._known.get(repeat.key)

    def learn(self, repeat: Repeat, verdict: Verdict) -> None:
        """Remember a verdict, as long as there is room."""
        if len(self._known) < MAX_KNOWN and len(repeat.text or "") <= MAX_CHARS:
            self._known[repeat.key] = verdict


def find_repeats(batch: SourceBatch, judged: JudgedColumns) -> Iterator[Repeat]:
    """The unsure rows of `batch` that can be judged by one cell; together with their only row, if there is just one."""
    doubts = [doubt for doubt in judged.doubts if doubt.field.pure and doubt.field.plain]
    if not doubts:
        return
    count = np.zeros(batch.num_rows, np.uint8)
    for doubt in judged.doubts:
        np.add(count, doubt.rows, out=count, where=count < 2)
    for doubt in doubts:
        rows = np.flatnonzero(doubt.rows & (count == 1))
        column = batch.column_at(doubt.source, rows)
        if not (pa.types.is_binary(column.type) or pa.types.is_string(column.type)):
            continue  # what is equal as a number may be told apart by its spelling
        if len(rows):
            yield from _by_text(doubt.field, doubt.source, column, rows)


def _by_text(field: FieldPlan, source: str, column: pa.Array, rows: RowNumbers) -> Iterator[Repeat]:
    try:
        texts = column.cast(pa.string()).to_pylist()
    except pa.ArrowInvalid:  # a byte that is no UTF-8: no text
        return
    places: dict[str | None, list[int]] = {}
    for text, row in zip(texts, rows.tolist(), strict=True):
        places.setdefault(text, []).append(row)
    for text, found in places.items():
        yield Repeat(field, (field.name, source, text), np.array(found, np.int64))
