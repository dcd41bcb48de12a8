"""Parts of Parquet and Arrow files, joined; see `merging`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from zoopipe_core.adapters.arrow import ArrowInputAdapter, ArrowOutputAdapter
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, ReadRequest
from zoopipe_core.adapters.parquet import ParquetInputAdapter, ParquetOutputAdapter
from zoopipe_core.adapters.parquet_footer import MAGIC, Footer, JoinedFooter, read_footer
from zoopipe_core.adapters.paths import is_url
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.coordinators.merging import MergedFile, append_file, write_all
from zoopipe_core.coordinators.outputs import Check

__all__ = ["MergedArrow", "MergedParquet", "join_row_groups", "settled_schema"]


class MergedArrow(MergedFile):
    """Batches behind one schema, which the parts decide together: nothing is joined before all are there."""

    adapter: ArrowOutputAdapter

    def __init__(self, adapter: ArrowOutputAdapter) -> None:
        super().__init__(adapter)
        self._added: list[str] = []

    def _add(self, result: AtomicFile, part: str) -> None:
        self._added.append(part)

    def _complete(self, result: AtomicFile) -> None:
        path = self.folder.part(f"merged{self._suffix}")
        rewrite([ArrowInputAdapter(part) for part in self._added], self._at(path), self._look)
        self._append(result, path)


class MergedParquet(MergedFile):
    """Row groups under one footer.

    Where the model leaves a type open, the first values decide, and the first values of each part may differ: those of
    the first part with rows count. If there are none in it, the parts wait for each other.
    """

    adapter: ParquetOutputAdapter

    def __init__(self, adapter: ParquetOutputAdapter) -> None:
        super().__init__(adapter)
        self._footer = JoinedFooter()
        self._schema: pa.Schema | None = None  # that of the first part with rows
        self._waiting: list[str] = []  # for all to be there
        self._empty: str | None = None
        self._rewrites = False

    def _add(self, result: AtomicFile, part: str) -> None:
        self._rewrites = self._rewrites or is_url(part)
        if self._rewrites:
            self._waiting.append(part)
            return
        footer = read_footer(part)
        if not footer.rows:
            self._empty = self._empty or part
            return
        if self._schema is None:
            self._schema = pq.read_schema(part)
        if _is_open(self._schema):
            self._waiting.append(part)
        else:
            self._join_groups(result, part, footer, self._schema)

    def _complete(self, result: AtomicFile) -> None:
        if self._rewrites:
            path = self.folder.part(f"merged{self._suffix}")
            rewrite([ParquetInputAdapter(part) for part in self._waiting], self._at(path), self._look)
            self._append(result, path)
            return
        if self._waiting:
            wanted = settled_schema([pq.read_schema(part) for part in self._waiting])
            for part in self._waiting:
                self._join_groups(result, part, read_footer(part), wanted)
        if self._footer.is_begun:
            result.write(self._footer.to_bytes())
        elif self._empty is not None:
            self._append(result, self._empty)

    def _join_groups(self, result: AtomicFile, part: str, footer: Footer, wanted: pa.Schema) -> None:
        """Join the row groups of a part, which is written anew if it has another schema than the one `wanted`."""
        if not (self._footer.is_begun and self._footer.is_like(footer)) and not pq.read_schema(part).equals(wanted):
            source, part = part, self.folder.part(f"settled-{os.path.basename(part)}")
            types = {name: ColumnType(wanted.field(name).type) for name in wanted.names}
            write_all(self._at(part), types, _batches([ParquetInputAdapter(source)], self._look))
            footer = read_footer(part)
        join_row_groups(result, part, footer, self._footer, self._look)


def _is_open(schema: pa.Schema) -> bool:
    """Whether there is a column of nothing but nulls, whose type other parts may know."""
    return any(pa.types.is_null(field.type) for field in schema)


def join_row_groups(result: AtomicFile, part: str, footer: Footer, total: JoinedFooter, check: Check) -> None:
    """Put the data of a local file behind those of others, which uses it up.

    Args:
        result: what is written, without a footer yet.
        part: the path of the file.
        footer: that of the file, which is used up too; of the same schema as those before.
        total: the footer of the result, which is told.
        check: called now and then.
    """
    if not total.is_begun:
        append_file(result, part, check, 0, footer.data_end)
        total.add(footer)
        return
    indexes = [(index, _bytes_of(part, index.start, index.length)) for index in footer.offset_indexes()]
    # The mark at the beginning of the file is left out.
    by = result.bytes_written - len(MAGIC)
    footer.shift(by)
    append_file(result, part, check, len(MAGIC), footer.data_end)
    for index, data in indexes:
        result.write(index.moved(data, by, result.bytes_written))
    total.add(footer)


def settled_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """The first schema; a column of nothing but nulls has the type that the next one gives it.

    >>> settled_schema([pa.schema({"a": pa.null()}), pa.schema({"a": pa.int64(), "b": pa.int64()})])
    a: int64
    """
    fields = []
    for field in schemas[0]:
        known = [other.field(field.name) for other in schemas if field.name in other.names]
        fields.append(next((one for one in known if not pa.types.is_null(one.type)), field))
    return pa.schema(fields)


def _bytes_of(path: str, start: int, length: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(start)
        return file.read(length)


def _batches(sources: Sequence[InputAdapter], check: Check) -> Iterator[ModelBatch]:
    for source in sources:
        with source.open(ReadRequest()) as reader:
            for batch in reader:
                check()
                yield ModelBatch.from_arrow(batch.batch, batch.rows, batch.source)


def rewrite(sources: Sequence[InputAdapter], target: OutputAdapter, check: Check) -> None:
    """Write the rows of several files of columns into one; columns that are open in one are settled by the others.

    Raises:
        TargetError: a column holds values of types that do not go together.
    """
    types: dict[str, ColumnType] = {}
    for source in sources:
        with source.open(ReadRequest()) as reader:
            types = types or dict(reader.columns or {})
            if next(iter(reader), None) is not None:
                types = dict(reader.columns or {})
                break
    write_all(target, types, _batches(sources, check))
