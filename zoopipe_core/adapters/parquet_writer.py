"""Writing Parquet.

    batches ─▶ row group ─┬▶ thread: a Parquet file of this one group, in memory ─┬▶ its bytes, in order ─▶ one footer
                          └▶ thread: the next one                                 ┘

pyarrow's writer encodes one column after the other in one thread. Row groups know nothing of each other but where they
begin: so threads encode one each, and what comes out is the file that a single writer would have made, byte for byte.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from zoopipe_core._cores import usable_cores
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.background import Background
from zoopipe_core.adapters.columnar import OpenColumns, writing_columns
from zoopipe_core.adapters.file_writers import FileWriter
from zoopipe_core.adapters.parquet_footer import MAGIC, JoinedFooter, parse_footer
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import TargetError, UnsupportedTypeError

if TYPE_CHECKING:
    from zoopipe_core.adapters.parquet import ParquetOutputAdapter

__all__ = ["ParquetWriter"]

SAMPLE_ROWS = 10_000
# What the row groups being encoded may take in memory, and the one being filled, whatever their number of rows.
MAX_ROW_GROUP_BYTES = 128 * 2**20
# Encoding takes a third of the time of a load from CSV: more threads would wait for rows.
MAX_ENCODERS = 4


class ParquetWriter(FileWriter):
    """Fills row groups, has them encoded while the next are filled, and puts them into an `AtomicFile` in order."""

    def __init__(self, adapter: ParquetOutputAdapter) -> None:
        self._adapter = adapter
        self._file = AtomicFile(str(adapter.path), None)
        self._encoders: Background[pa.Buffer] = Background("zoopipe-parquet", min(usable_cores(), MAX_ENCODERS))
        self._under_way: deque[int] = deque()  # bytes of the row groups that are being encoded
        self._footer = JoinedFooter()
        self._dictionaries: list[str] | None = None
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0
        self._is_complete = False

    def start(self, types: Mapping[str, ColumnType]) -> None:
        for name, kind in types.items():
            try:
                pq.ParquetWriter(io.BytesIO(), pa.schema([(name, kind.arrow)])).close()
            except pa.ArrowNotImplementedError as error:
                raise UnsupportedTypeError(
                    f"{self._adapter.label}: Parquet has no type for the column {name!r} of {kind.arrow}"
                ) from error
        self._columns = OpenColumns(self._adapter.label, types)

    def write(self, batch: ModelBatch) -> None:
        for arrow in self._columns.add(batch):
            self._hold(arrow)

    def _hold(self, batch: pa.RecordBatch) -> None:
        if not batch.num_columns and batch.num_rows:
            raise TargetError(f"{self._adapter.label}: Parquet cannot hold rows without columns")
        size = self._adapter.row_group_size
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, size - self._pending_rows)
            start += piece.num_rows
            self._pending.append(piece)
            self._pending_rows += piece.num_rows
            self._pending_bytes += piece.nbytes
            if self._pending_rows >= size or self._pending_bytes >= MAX_ROW_GROUP_BYTES:
                self._encode_pending()

    def _encode_pending(self) -> None:
        table, size = pa.Table.from_batches(self._pending), self._pending_bytes
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        if self._dictionaries is None:
            self._dictionaries = [name for name in table.schema.names if _repeats(table.column(name))]
        while self._under_way and (self._encoders.is_full or sum(self._under_way) + size > MAX_ROW_GROUP_BYTES):
            self._append_encoded()
        self._encoders.start(self._encode, table, self._dictionaries)
        self._under_way.append(size)

    def _encode(self, table: pa.Table, dictionaries: list[str]) -> pa.Buffer:
        """A Parquet file of one row group, or of none."""
        adapter, sink = self._adapter, pa.BufferOutputStream()
        with pq.ParquetWriter(
            sink,
            table.schema,
            compression=adapter.compression,
            compression_level=adapter.compression_level,
            use_dictionary=dictionaries,
            write_page_checksum=True,
        ) as writer:
            if table.num_rows:
                writer.write_table(table, row_group_size=table.num_rows)
        return sink.getvalue()

    def _append_encoded(self) -> None:
        """Wait for the row group that is next in line, and write it."""
        with writing_columns(self._file):
            encoded = self._encoders.wait()
        self._under_way.popleft()
        self._append(encoded)

    def _append(self, encoded: Any) -> None:
        footer = parse_footer(encoded)
        start = 0
        if self._footer.is_begun:
            start = len(MAGIC)
            footer.shift(self._file.bytes_written - start)
        self._file.write(memoryview(encoded)[start : footer.data_end])
        self._footer.add(footer)

    def prepare(self) -> None:
        if self._is_complete:
            return
        for batch in self._columns.flush():
            self._hold(batch)
        if self._pending:
            self._encode_pending()
        while self._under_way:
            self._append_encoded()
        self._encoders.end()
        if not self._footer.is_begun:
            with writing_columns(self._file):
                empty = self._encode(pa.Table.from_batches([], self._columns.schema), [])
            self._append(empty)
        self._file.write(self._footer.to_bytes())
        self._is_complete = True
        self._file.prepare()

    def abort(self) -> None:
        self._encoders.end()
        self._file.abort()


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether a dictionary of the column's values saves space.

    For values that hardly ever repeat, Parquet's writer would fill one, give it up and begin again: a third of the
    time that it takes.
    """
    sample = column.slice(0, SAMPLE_ROWS)
    try:
        return len(sample.unique()) <= len(sample) // 2
    except pa.ArrowNotImplementedError:  # nested types
        return True
