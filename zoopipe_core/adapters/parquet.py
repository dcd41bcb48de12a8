"""Parquet in and out.

Reading: row groups are streamed through small buffers, and only the columns that are wanted are read at all. Writing:
row groups are filled evenly, whatever the size of the batches, and every page carries a checksum.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.background import Background
from zoopipe_core.adapters.base import Reader, ReadRequest, Scan, Writer
from zoopipe_core.adapters.columnar import (
    Layout,
    OpenColumns,
    Sink,
    TypedFile,
    TypedFilesReader,
    reading_columns,
    refuse_outer_compression,
    writing_columns,
)
from zoopipe_core.adapters.file_outputs import FileOutputAdapter
from zoopipe_core.adapters.file_parts import FileInputAdapter, check_limit
from zoopipe_core.adapters.file_writers import FileWriter
from zoopipe_core.adapters.paths import (
    PathLike,
    Paths,
    check_output_path,
    filesystem_of,
    is_url,
    normalize_paths,
    strip_credentials,
)
from zoopipe_core.adapters.splitting import Cuts, Piece, cut_between
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import CorruptSourceError, SourceError, SpecError, TargetError, UnsupportedTypeError

__all__ = ["ParquetInputAdapter", "ParquetOutputAdapter"]

ParquetCompression = Literal["brotli", "gzip", "lz4", "none", "snappy", "zstd"]

# Measured with 8 row groups of 1,000,000 rows and 8 columns (510 MB): pyarrow's default of fetching column chunks
# ahead keeps the whole file in memory (554 MB); reading through buffers takes 110 MB and is no slower.
BUFFERED_BYTES = 64 * 2**20
LARGEST_BUFFER, SMALLEST_BUFFER = 2**20, 2**14
# Measured with 1,000,000 rows and 8 columns: writing takes as long as with one large group, holds an eighth of it in
# memory, and goes on beside reading and validation.
ROW_GROUP_SIZE = 2**17
SAMPLE_ROWS = 10_000
# What a row group may take in memory before it is encoded, whatever its number of rows.
MAX_ROW_GROUP_BYTES = 128 * 2**20
_LEVELS = {"brotli": (0, 11), "gzip": (1, 9), "zstd": (1, 22)}
_COMPRESSIONS = ("brotli", "gzip", "lz4", "none", "snappy", "zstd")


@dataclass(frozen=True, repr=False)
class ParquetInputAdapter(FileInputAdapter):
    """Rows of one or more Parquet files.

    Args:
        path: a path, a glob, an fsspec URL, or a list of them. Several files are read one after the other, each with
            row numbers and columns of its own.
        limit: stop after so many records of each file.

    Dictionary columns are decoded, JSON columns parsed, INT96 timestamps read to the microsecond.

    >>> ParquetInputAdapter(["in/2023.parquet", "in/2024.parquet"]).label
    'in/2023.parquet and 1 more'

    Raises:
        SpecError: an argument is out of range.
    """

    path: Paths
    limit: int | None = None

    def __post_init__(self) -> None:
        paths = normalize_paths(self.path)
        object.__setattr__(self, "path", paths)
        for path in (paths,) if isinstance(paths, str) else paths:
            refuse_outer_compression(path, "Parquet", "unpack it first")
        check_limit(self.limit)

    def open_pieces(self, request: ReadRequest, pieces: Sequence[Piece], first: Piece) -> Reader:
        return TypedFilesReader(pieces, first, lambda piece: ParquetSource(piece, request), request, self.limit)

    def cut(self, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
        """Between row groups, as the footer has them."""
        try:
            file = ParquetSource(piece, ReadRequest())
            file.close()
        except SourceError as error:  # its reader meets it at the right place
            return Cuts(reason=f"is left whole, since it cannot be read: {error}")
        groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
        return cut_between(
            [group.num_rows for group in groups],
            [group.total_byte_size for group in groups],
            [target / (piece.size or 1) for target in targets],
            self.limit,
            "row group",
        )


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


@dataclass(frozen=True, repr=False)
class ParquetOutputAdapter(FileOutputAdapter):
    """Rows into one Parquet file, which appears complete or not at all.

    Args:
        path: a path or fsspec URL. Parent folders are made.
        compression: ``"zstd"``, ``"snappy"``, ``"gzip"``, ``"brotli"``, ``"lz4"`` or ``"none"``.
        row_group_size: rows of a row group; wide rows make smaller ones, since a group is held in memory (128 MiB at
            most) until it is written. Readers skip, and share work, by row groups.
        compression_level: for ``"zstd"`` 1 to 22, ``"gzip"`` 1 to 9, ``"brotli"`` 0 to 11; None: the codec's own.

    UUID and JSON columns carry Parquet's own types of these names.

    >>> ParquetOutputAdapter("out/users.parquet").label
    'out/users.parquet'

    Raises:
        SpecError: an argument is out of range.
    """

    path: PathLike
    compression: ParquetCompression | None = "zstd"
    row_group_size: int = ROW_GROUP_SIZE
    compression_level: int | None = None

    def __post_init__(self) -> None:
        path = check_output_path("Parquet", self.path, None)
        object.__setattr__(self, "path", path)
        refuse_outer_compression(path, "Parquet", 'drop the suffix and choose with compression="zstd"')
        if self.compression is None:
            object.__setattr__(self, "compression", "none")
        if self.compression not in _COMPRESSIONS:
            raise SpecError(f"compression has to be one of {', '.join(_COMPRESSIONS)}, not {self.compression!r}")
        if self.row_group_size < 1:
            raise SpecError(f"row_group_size has to be 1 or more, not {self.row_group_size}")
        if self.compression_level is not None:
            low, high = _LEVELS.get(self.compression, (0, -1))
            if not low <= self.compression_level <= high:
                allowed = f"{low} to {high}" if high > 0 else "None"
                raise SpecError(
                    f"compression_level of {self.compression} has to be {allowed}, not {self.compression_level}"
                )

    @property
    def label(self) -> str:
        return strip_credentials(str(self.path))

    def open(self) -> Writer:
        """Make the folder and a hidden file in it.

        Raises:
            TargetWriteError: the folder cannot be made or written.
        """
        return ParquetWriter(self)


class ParquetWriter(FileWriter):
    """Fills row groups and writes them through an `AtomicFile`, one while the next is filled."""

    def __init__(self, adapter: ParquetOutputAdapter) -> None:
        self._adapter = adapter
        self._file = AtomicFile(str(adapter.path), None)
        self._sink = Sink(self._file)
        self._writer: pq.ParquetWriter | None = None
        self._background: Background[None] = Background("zoopipe-parquet")
        self._pending: list[pa.RecordBatch] = []
        self._pending_rows = self._pending_bytes = 0

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
                self._write_group()

    def _write_group(self) -> None:
        table = pa.Table.from_batches(self._pending)
        self._pending, self._pending_rows, self._pending_bytes = [], 0, 0
        self._background.wait()
        self._background.start(self._encode_group, table)

    def _encode_group(self, table: pa.Table) -> None:
        with writing_columns(self._file):
            self._open_writer(table).write_table(table, row_group_size=table.num_rows)

    def _open_writer(self, first: pa.Table) -> pq.ParquetWriter:
        if self._writer is None:
            adapter = self._adapter
            self._writer = pq.ParquetWriter(
                self._sink,
                self._columns.schema,
                compression=adapter.compression,
                compression_level=adapter.compression_level,
                use_dictionary=[name for name in first.schema.names if _repeats(first.column(name))],
                write_page_checksum=True,
            )
        return self._writer

    def prepare(self) -> None:
        for batch in self._columns.flush():
            self._hold(batch)
        if self._pending:
            self._write_group()
        self._background.wait()
        self._background.end()
        with writing_columns(self._file):
            self._open_writer(pa.Table.from_batches([], self._columns.schema)).close()
        self._file.prepare()

    def abort(self) -> None:
        self._sink.discard()
        self._background.end()
        try:
            if self._writer is not None:
                self._writer.close()
        finally:
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
