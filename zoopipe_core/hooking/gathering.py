"""Row dicts back to columns, one chunk of rows after the other.

the cells of a column in a chunk are
├─ the very objects that were handed out  ──▶  the array that they were made of, as it is
├─ all of one plain class                 ──▶  an array, made while they are in the processor's cache
└─ anything else                          ──▶  Python values, exactly as the hook left them
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.plain_arrays import PLAIN_TYPES, plain_array
from zoopipe_core.batches.row_dicts import columns_of_dicts, likely_keys
from zoopipe_core.batches.types import ColumnType, infer_type_of_classes

__all__ = ["Gathering"]

_UNKNOWN = ColumnType(pa.null())
_PLAIN = frozenset(PLAIN_TYPES.values())


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
        self._parts: dict[str, list[Column]] = {}
        self._classes: dict[str, set[type]] = {}
        self._changed: set[str] = set()
        self._same_rows = True

    def add(self, chunk: ModelBatch, records: Sequence[Mapping[str, Any]], places: Sequence[int] | None) -> None:
        """The next rows.

        Args:
            chunk: the rows as they were shown.
            records: the rows as they came back.
            places: for each of `records` its place in `chunk`, -1 if a hook added it; None: all of `chunk`, in order.
        """
        self._same_rows = self._same_rows and places is None
        shown = {} if places is not None and -1 in places else chunk.columns
        found = self._alike(records, shown, places)
        if not found:
            found = {}
            for name, cells in columns_of_dicts(records, MISSING).items():
                found[name] = self._kept(shown.get(name), cells, places) or self._made(name, cells)
        for name, part in found.items():
            if name not in self._parts:
                self._parts[name] = [self._gap(name, self._count)] if self._count else []
            self._parts[name].append(part)
        for name in self._parts.keys() - found.keys():
            self._parts[name].append(self._gap(name, len(records)))
        self._count += len(records)

    def _alike(
        self, records: Sequence[Mapping[str, Any]], shown: Mapping[str, Column], places: Sequence[int] | None
    ) -> dict[str, Column] | None:
        """The columns, if all rows have the same keys. One that was left alone is recognised without a list of it."""
        found = {}
        try:
            for name in likely_keys(records):
                cell = itemgetter(name)
                kept = self._kept(shown.get(name), map(cell, records), places)
                found[name] = kept or self._made(name, list(map(cell, records)))
        except KeyError:
            return None
        return found

    def _kept(self, old: Column | None, cells: Iterable[Any], places: Sequence[int] | None) -> Column | None:
        """The column that was handed out, if these are its cells, of which there are some."""
        if old is None or not old.holds(cells, places):
            return None
        kept = old.without_values()
        return kept if places is None else kept.take(np.array(places, np.int64))

    def _made(self, name: str, cells: Sequence[Any]) -> Column:
        self._changed.add(name)
        known = self._types.get(name)
        if known is None:
            classes = set(map(type, cells)) - {type(MISSING)}
            self._classes[name] = self._classes.get(name, set()) | classes
            known = infer_type_of_classes(classes) or _UNKNOWN
        array = None
        if known.arrow in _PLAIN:
            with suppress(OverflowError, ValueError):  # whoever writes the value says which it is
                array = plain_array(known.arrow, cells)
        return Column(known, cells) if array is None else Column(known, None, array)

    def _gap(self, name: str, count: int) -> Column:
        self._changed.add(name)
        return Column(_UNKNOWN, [MISSING] * count)

    def columns(self) -> dict[str, Column]:
        """All rows so far. A column that they no longer have is gone, one that was declared is there."""
        given = self._given.columns
        columns: dict[str, Column] = {}
        for name in dict.fromkeys([*self._types, *self._parts]):
            parts = self._parts.get(name)
            if parts is None:
                if not self._count or name in self._declared or _is_empty(given[name]):
                    columns[name] = Column(self._types[name], [MISSING] * self._count)
            elif self._same_rows and name in given and name not in self._changed:
                columns[name] = given[name]
            else:
                known = self._types.get(name) or infer_type_of_classes(self._classes[name]) or _UNKNOWN
                columns[name] = Column.joined(known, parts)
        return columns


def _is_empty(column: Column) -> bool:
    """Whether no row has the key."""
    return column.has_gaps and all(value is MISSING for value in column.values)
