"""Keeping rows in memory, and giving them as a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from zoopipe_core.adapters.base import Writer
from zoopipe_core.adapters.columnar import is_open, settled_type
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import JSON, ColumnType

if TYPE_CHECKING:
    from zoopipe_core.adapters.python import Results

__all__ = ["PyGeneratorWriter", "table_of"]


def table_of(batches: Iterable[ModelBatch], declared: Mapping[str, ColumnType]) -> pa.Table:
    """All rows as one table; keys that a row lacks are null.

    Raises:
        UnsupportedValueError: a value does not fit its column's type.
    """
    held = list(batches)
    types = common_types(declared, held)
    schema = pa.schema([pa.field(name, kind.arrow) for name, kind in types.items()])
    return pa.Table.from_batches([batch.to_arrow(types) for batch in held], schema)


class PyGeneratorWriter(Writer):
    """Collects batches, and hands them over when published."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._batches: list[ModelBatch] = []
        self._types: Mapping[str, ColumnType] = {}

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self._types = dict(types)

    def write(self, batch: ModelBatch) -> None:
        if batch.num_rows:
            self._batches.append(batch)

    def prepare(self) -> None:
        return

    def publish(self) -> None:
        self._results.batches, self._results.types = self._batches, self._types

    def abort(self) -> None:
        self._batches = []


def common_types(declared: Mapping[str, ColumnType], batches: Iterable[ModelBatch]) -> dict[str, ColumnType]:
    """The column types of all batches together: those declared, settled by the values, then columns beyond them."""
    types = dict(declared)
    for batch in batches:
        for name, column in batch.columns.items():
            kind = types.get(name, NOTHING)
            if is_open(kind):
                types[name] = settled_type(batch, name, kind)
            elif name not in declared:
                types[name] = _wider(kind, settled_type(batch, name, column.type))
    return {name: replace(kind, open_zone=False) for name, kind in types.items()}


NOTHING = ColumnType(pa.null())


def _wider(one: ColumnType, other: ColumnType) -> ColumnType:
    if one.arrow == other.arrow or is_open(other):
        return one
    if {one.arrow, other.arrow} == {pa.int64(), pa.float64()}:
        return ColumnType(pa.float64())
    return JSON
