"""Parts of Parquet and Arrow files, joined; see `merging`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence

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
    """Batches behind one schema."""

    adapter: ArrowOutputAdapter

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        path = self.folder.part(f"merged{self._suffix}")
        rewrite([ArrowInputAdapter(part) for part in parts], self._at(path), self._check)
        self._append(result, path)


class MergedParquet(MergedFile):
    """Row groups under one footer."""

    adapter: ParquetOutputAdapter

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        if any(map(is_url, parts)):
            path = self.folder.part(f"merged{self._suffix}")
            rewrite([ParquetInputAdapter(part) for part in parts], self._at(path), self._check)
            self._append(result, path)
            return
        footers = {part: read_footer(part) for part in parts}
        full = [part for part in parts if footers[part].rows]
        if not full:
            self._append(result, parts[0])
            return
        if not all(footers[part].is_like(footers[full[0]]) for part in full):
            full = self._settled(full)
            footers = {part: read_footer(part) for part in full}
        join_row_groups(result, {part: footers[part] for part in full}, self._check)

    def _settled(self, parts: Sequence[str]) -> list[str]:
        """The parts with one schema; those that have another are written anew.

        Where the model leaves a type open, the first values decide, and the first values of each part may differ.
        """
        schemas = [pq.read_schema(part) for part in parts]
        wanted = settled_schema(schemas)
        types = {name: ColumnType(wanted.field(name).type) for name in wanted.names}
        settled = []
        for part, schema in zip(parts, schemas, strict=True):
            if not schema.equals(wanted):
                source, part = part, self.folder.part(f"settled-{os.path.basename(part)}")
                write_all(self._at(part), types, _batches([ParquetInputAdapter(source)], self._check))
            settled.append(part)
        return settled


def join_row_groups(result: AtomicFile, parts: Mapping[str, Footer], check: Check) -> None:
    """Put the data of local files one behind the other, which uses them up, and one footer behind all.

    Args:
        result: what is written; nothing was yet.
        parts: path -> footer, all of one schema.
        check: called now and then.
    """
    total = JoinedFooter()
    for part, footer in parts.items():
        if not total.is_begun:
            append_file(result, part, check, 0, footer.data_end)
            total.add(footer)
            continue
        indexes = [(index, _bytes_of(part, index.start, index.length)) for index in footer.offset_indexes()]
        # The mark at the beginning of the file is left out.
        by = result.bytes_written - len(MAGIC)
        footer.shift(by)
        append_file(result, part, check, len(MAGIC), footer.data_end)
        for index, data in indexes:
            result.write(index.moved(data, by, result.bytes_written))
        total.add(footer)
    if total.is_begun:
        result.write(total.to_bytes())


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
