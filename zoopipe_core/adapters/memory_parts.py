"""What lies in memory, in parts: slices of a list of rows, or of an Arrow table. A part pickles without the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.arrow import ArrowStreamable, ArrowStreamInputAdapter
from zoopipe_core.adapters.arrow_streams import StreamReader
from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Split
from zoopipe_core.adapters.python import PyGeneratorInputAdapter
from zoopipe_core.adapters.python_reader import PyGeneratorReader
from zoopipe_core.adapters.splitting import why_fewer

__all__ = ["RowsPart", "TablePart", "split_rows", "split_table"]


@dataclass(frozen=True, repr=False)
class RowsPart(InputAdapter):
    """Some rows of a list.

    Args:
        rows: these.
        name: the label of the whole.
        first_row: the number of the first of them in the whole.
    """

    rows: Sequence[Any] = field(hash=False)
    name: str
    first_row: int

    def __repr__(self) -> str:
        return f"RowsPart({self.name!r}, first_row={self.first_row})"

    @property
    def label(self) -> str:
        return self.name

    def open(self, request: ReadRequest) -> Reader:
        return PyGeneratorReader(self.name, iter(self.rows), len(self.rows), request, self.first_row)


@dataclass(frozen=True, repr=False, eq=False)
class TablePart(InputAdapter):
    """Some rows of an Arrow table.

    Args:
        table: these, which share the memory of the whole.
        name: the label of the whole.
        first_row: the number of the first of them in the whole.
    """

    table: pa.Table
    name: str
    first_row: int

    def __repr__(self) -> str:
        return f"TablePart({self.name!r}, first_row={self.first_row})"

    @property
    def label(self) -> str:
        return self.name

    def open(self, request: ReadRequest) -> Reader:
        return StreamReader(self.table, self.name, request, self.first_row)

    def __getstate__(self) -> dict[str, Any]:
        # Pickled as it is, a slice would take along the memory of the whole table.
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.table.schema) as writer:
            writer.write_table(self.table)
        return {**self.__dict__, "table": sink.getvalue().to_pybytes()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, table=pa.ipc.open_stream(state["table"]).read_all())


def split_rows(adapter: PyGeneratorInputAdapter, count: int) -> Split:
    """A list or tuple of rows in slices; any other iterable, and one of tables, as one part."""
    rows, label = adapter.iterable, adapter.label
    if not isinstance(rows, Sequence):
        return Split((adapter,), why_fewer(label, 1, count, ["only a list or tuple of rows can be split"]))
    if any(issubclass(kind, ArrowStreamable) for kind in set(map(type, rows))):
        return Split((adapter,), why_fewer(label, 1, count, ["a list of tables is not split; make them one table"]))
    bounds = _bounds(len(rows), count)
    parts = tuple(RowsPart(rows[start:stop], label, start + 1) for start, stop in pairwise(bounds))
    return Split(parts if len(parts) > 1 else (adapter,), why_fewer(label, max(len(parts), 1), count, []))


def split_table(adapter: ArrowStreamInputAdapter, count: int) -> Split:
    """A table or record batch of pyarrow in slices; any other object as one part."""
    obj, label = adapter.obj, adapter.label
    if not isinstance(obj, pa.Table | pa.RecordBatch):
        reason = f"a {type(obj).__name__} gives one stream; make it a table, with pyarrow.table(...)"
        return Split((adapter,), why_fewer(label, 1, count, [reason]))
    table = obj if isinstance(obj, pa.Table) else pa.Table.from_batches([obj])
    bounds = _bounds(table.num_rows, count)
    parts = tuple(TablePart(table.slice(start, stop - start), label, start + 1) for start, stop in pairwise(bounds))
    return Split(parts if len(parts) > 1 else (adapter,), why_fewer(label, max(len(parts), 1), count, []))


def _bounds(rows: int, count: int) -> list[int]:
    """Where so many rows are cut into at most `count` parts, none of them empty, with the ends."""
    parts = min(rows, count)
    return [rows * part // max(parts, 1) for part in range(parts + 1)]
