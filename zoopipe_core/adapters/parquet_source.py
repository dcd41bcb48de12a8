"""Reading Parquet: row groups streamed through small buffers, and of the columns only those that are wanted."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.columnar import Layout, TypedFile, reading_columns
from zoopipe_core.adapters.paths import filesystem_of, is_url, strip_credentials
from zoopipe_core.adapters.splitting import Piece
from zoopipe_core.errors import CorruptSourceError

__all__ = ["ParquetSource"]

# Measured with 8 row groups of 1,000,000 rows and 8 columns (510 MB): pyarrow's default of fetching column chunks
# ahead keeps the whole file in memory (554 MB); reading through buffers takes 110 MB and is no slower.
BUFFERED_BYTES = 64 * 2**20
LARGEST_BUFFER, SMALLEST_BUFFER = 2**20, 2**14


class ParquetSource(TypedFile):
    """One open Parquet file, or some row groups of it.

    Attributes:
        metadata: its footer.
    """

    def __init__(self, piece: Piece, request: ReadRequest) -> None:
        self._path = path = piece.path
        self._rows_read = 0
        with reading_columns(path):
            self._source = _open(path)
            try:
                self._size = int(self._source.size())
                self.metadata = metadata = pq.ParquetFile(self._source).metadata
                buffer = max(SMALLEST_BUFFER, min(LARGEST_BUFFER, BUFFERED_BYTES // max(metadata.num_columns, 1)))
                self._file = pq.ParquetFile(
                    self._source,
                    metadata=metadata,
                    # A URL is read in few large requests, one run of row groups after the other.
                    pre_buffer=is_url(path),
                    buffer_size=0 if is_url(path) else buffer,
                    # Nanoseconds would wrap silently for dates before 1677 and after 2262.
                    coerce_int96_timestamp_unit="us",
                    page_checksum_verification=True,
                    arrow_extensions_enabled=True,
                )
                self.layout = Layout(self._file.schema_arrow, request)
            except BaseException:
                self._source.close()
                raise
        stop = metadata.num_row_groups if piece.stop is None else piece.stop
        self._groups = range(piece.start or 0, stop)
        if len(self._groups) < metadata.num_row_groups:
            bytes_of = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
            share = sum(bytes_of[piece.start : stop]) / max(sum(bytes_of), 1)
            self._size = int(self._size * share)
            self._rows = sum(metadata.row_group(group).num_rows for group in self._groups)
        else:
            self._rows = metadata.num_rows

    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        columns = self.layout.schema.names
        names = list(dict.fromkeys(columns[index] for index in self.layout.wanted))
        with reading_columns(self._path):
            for groups in self._runs(size):
                for batch in self._file.iter_batches(size, row_groups=groups, columns=names):
                    self._rows_read += batch.num_rows
                    yield self.layout.dress(self._wanted_columns(batch))
        if self._rows_read != self._rows:
            raise CorruptSourceError(
                f"{strip_credentials(self._path)} holds {self._rows_read:,} rows, but its footer says {self._rows:,}"
            )

    def _runs(self, size: int) -> Iterator[list[int]]:
        """Row groups to be read together: at least `size` rows, so that small groups make no small batches."""
        run: list[int] = []
        rows = 0
        for group in self._groups:
            run.append(group)
            rows += self.metadata.row_group(group).num_rows
            if rows >= size:
                yield run
                run, rows = [], 0
        if run:
            yield run

    def _wanted_columns(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Just the wanted columns, in order: of names, pyarrow gives every copy, and for ``a.b`` also ``a {b}``."""
        names, wanted = self.layout.schema.names, self.layout.wanted
        if batch.schema.names == [names[index] for index in wanted]:
            return batch
        copies: dict[str, list[int]] = {}
        for index, name in enumerate(names):
            copies.setdefault(name, []).append(index)
        places = {copies[name].pop(0): place for place, name in enumerate(batch.schema.names)}
        return batch.select([places[index] for index in wanted])

    @property
    def fraction(self) -> float:
        return self._rows_read / self._rows if self._rows else 1.0

    @property
    def position(self) -> int:
        return int(self._size * self.fraction)

    def close(self) -> None:
        self._source.close()


def _open(path: str) -> pa.NativeFile:
    if not is_url(path):
        return pa.OSFile(path)
    filesystem, name = filesystem_of(path)
    return pa.PythonFile(filesystem.open(name, "rb"), mode="r")
