"""Row dicts back to columns, one chunk of rows after the other.

a column, as far as the rows have come
├─ the very objects that were handed out  ──▶  the column that they were made of, as it is
├─ texts, and known to be                 ──▶  Arrow's bytes, written while the texts are in the processor's cache
├─ of one plain class                     ──▶  arrays of some rows each
└─ anything else                          ──▶  Python values, exactly as the hook left them
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import is_
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.objects import TextBuilder, changed_columns, is_compiled
from zoopipe_core.batches.plain_arrays import PLAIN_TYPES, plain_array
from zoopipe_core.batches.row_dicts import columns_of_dicts
from zoopipe_core.batches.types import ColumnType, infer_type_of_classes

__all__ = ["Gathering"]

_UNKNOWN = ColumnType(pa.null())
_PLAIN = frozenset(PLAIN_TYPES.values())
_ARRAY_ROWS = 2**10
"""Rows that are made an array together: of fewer, arrays would cost more than what is in them."""

Rows = list[dict[str, Any]]
Cells = Mapping[str, list[Any]]


class Gathering:
    """The columns of the rows that hooks gave back.

    Args:
        given: all rows as they were shown to the hooks.
        declared: the columns that the hooks say that they add, or give another type.
    """

    def __init__(self, given: ModelBatch, declared: Mapping[str, ColumnType]) -> None:
        self._given, self._declared = given, declared
        self._types = {**given.types, **declared}
        self._count = 0
        self._as_given = set(given.columns)
        self._places: list[int] | None = None  # of all rows so far, where not all of them came back in their order
        self._made: dict[str, _Made] = {}

    def add(self, rows: Rows, cells: Cells, start: int, places: Sequence[int] | None) -> None:
        """The next rows.

        Args:
            rows: as they came back.
            cells: what the rows of the chunk were made of, of those columns that can be told from others.
            start: the place of the chunk's first row in the rows that were given.
            places: for each of `rows` its place in the chunk, -1 if a hook added it; None: all of the chunk, in order.
        """
        self._note_places(len(rows), start, places)
        if not rows:
            return
        if places is not None:
            known = {} if -1 in places else cells
            cells = {name: [column[place] for place in places] for name, column in known.items()}
        found = _told_apart(rows, cells)
        for name in self._as_given - found.keys():
            if self._count:
                self._column(name)
            self._as_given.discard(name)
        for name in self._made.keys() - found.keys():
            self._made[name].extend([MISSING] * len(rows))
        for name, changed in found.items():
            if changed is not None:
                self._column(name).extend(changed)
            elif name not in self._as_given:
                self._column(name).extend(cells[name])
        self._count += len(rows)

    def _note_places(self, count: int, start: int, places: Sequence[int] | None) -> None:
        if self._places is None and (places is not None or start != self._count):
            self._places = list(range(self._count))
        if self._places is not None:
            self._places.extend(range(start, start + count) if places is None else (start + place for place in places))

    def _column(self, name: str) -> _Made:
        """A column that is made, after the rows so far."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = _Made(self._types.get(name), self._given.num_rows)
            if self._count and name in self._as_given:
                made.parts.append(self._kept(name))
            elif self._count:
                made.parts.append(Column(_UNKNOWN, [MISSING] * self._count))
            self._as_given.discard(name)
        return made

    def _kept(self, name: str) -> Column:
        """The rows so far of a column that was left alone."""
        given = self._given.columns[name]
        if self._places is None:
            return given if self._count == len(given) else given.slice(0, self._count)
        return given.take(np.array(self._places[: self._count], np.int64))

    def columns(self) -> dict[str, Column]:
        """All rows so far. A column that they no longer have is gone, one that was declared is there."""
        given = self._given.columns
        columns: dict[str, Column] = {}
        for name in dict.fromkeys([*self._types, *self._made]):
            if name in self._made:
                columns[name] = self._made[name].column()
            elif self._count and name in self._as_given:
                columns[name] = self._kept(name)
            elif not self._count or name in self._declared or _is_empty(given[name]):
                columns[name] = Column(self._types[name], [MISSING] * self._count)
        return columns


def _told_apart(rows: Rows, handed_out: Cells) -> dict[Any, list[Any] | None]:
    """The cells of each column; None for one whose cells are the very objects that were handed out."""
    if is_compiled():
        names = list(rows[0])
        changed = changed_columns(rows, names, [handed_out.get(name) for name in names])
        if changed is not None:
            return dict(zip(names, changed, strict=True))
    found: dict[Any, list[Any] | None] = {}
    for name, cells in columns_of_dicts(rows, MISSING).items():
        known = handed_out.get(name)
        # Nothing is compared: a value may have any idea of equality.
        same = known is not None and all(map(is_, cells, known))
        found[name] = None if same else cells
    return found


class _Made:
    """A column that is made of Python values.

    Args:
        known: its type, if it has one.
        count: how many rows there will be, more or less.
    """

    def __init__(self, known: ColumnType | None, count: int) -> None:
        self.parts: list[Column] = []
        self._known = known
        self._classes: set[type] = set()
        self._pending: list[Any] = []
        self._texts: TextBuilder | None = None
        if known is not None and known.arrow == pa.string() and is_compiled():
            self._texts = TextBuilder(count)

    def extend(self, cells: list[Any]) -> None:
        if self._texts is not None:
            if self._texts.extend(cells):
                return
            self._settle_texts()
        self._pending.extend(cells)
        if len(self._pending) >= _ARRAY_ROWS:
            self._settle()

    def _settle_texts(self) -> None:
        if self._texts is not None and len(self._texts):
            self.parts.append(Column(self._type(), None, self._texts.array()))
        self._texts = None

    def _settle(self) -> None:
        if not self._pending:
            return
        if self._known is None:
            self._classes |= set(map(type, self._pending)) - {type(MISSING)}
        kind = self._type()
        array = None
        if kind.arrow in _PLAIN:
            with suppress(OverflowError, ValueError):  # whoever writes the value says which it is
                array = plain_array(kind.arrow, self._pending)
        self.parts.append(Column(kind, self._pending) if array is None else Column(kind, None, array))
        self._pending = []

    def _type(self) -> ColumnType:
        return self._known or infer_type_of_classes(self._classes) or _UNKNOWN

    def column(self) -> Column:
        self._settle_texts()
        self._settle()
        return Column.joined(self._type(), self.parts)


def _is_empty(column: Column) -> bool:
    """Whether no row has the key."""
    return column.has_gaps and all(value is MISSING for value in column.values)
