"""What the formats with columns of their own share: Parquet, Arrow, and whatever gives Arrow batches.

    source file -> TypedFile -> TypedFilesReader -> SourceBatch      names made unique, plain types, even batches
    ModelBatch  -> OpenColumns -> RecordBatch of one settled schema -> file

Encodings that only save space (dictionary, run-end, view types) are undone: a column is what its values are.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import Reader, ReadRequest
from zoopipe_core.adapters.csv_header import unique_names
from zoopipe_core.adapters.files import reading
from zoopipe_core.adapters.paths import file_size, strip_credentials
from zoopipe_core.adapters.splitting import Piece
from zoopipe_core.batches.model import MISSING, ModelBatch
from zoopipe_core.batches.source import SourceBatch, SourceKind, number_rows
from zoopipe_core.batches.types import ColumnType, infer_column_type
from zoopipe_core.errors import CorruptSourceError, TargetError

__all__ = [
    "Layout",
    "OpenColumns",
    "Sink",
    "TypedFile",
    "TypedFilesReader",
    "evened",
    "is_open",
    "reading_columns",
    "settled_type",
    "writing_columns",
]

MAX_HELD_BYTES = 64 * 2**20


# ---- reading --------------------------------------------------------------------------------------------------------


@contextmanager
def reading_columns(path: str) -> Iterator[None]:
    """As `reading`; what Arrow says about the bytes becomes an error that names the file."""
    with reading(path):
        try:
            yield
        except MemoryError as error:
            raise CorruptSourceError(
                f"{strip_credentials(path)} asks for more memory than there is; it is damaged, or one batch of it is "
                f"too large for this machine: {error}"
            ) from error
        except _DAMAGES as error:
            raise CorruptSourceError(f"{strip_credentials(path)} is damaged or of another format: {error}") from error


_DAMAGES = (
    pa.ArrowInvalid,
    pa.ArrowNotImplementedError,
    pa.ArrowTypeError,
    pa.ArrowKeyError,
    pa.ArrowIndexError,
    pa.ArrowSerializationError,
    UnicodeDecodeError,
)


class Layout:
    """The columns of a schema as they are handed on: under unique names, in plain types, only those wanted.

    Attributes:
        schema: the columns as they are stored.
        names: the unique name of each.
        duplicates: names that stand there more than once.
        wanted: indices of the columns to deliver.
    """

    def __init__(self, schema: pa.Schema, request: ReadRequest) -> None:
        self.schema = schema
        self.names, self.duplicates = unique_names(schema.names)
        self.wanted = [index for index, name in enumerate(self.names) if request.wants(name)]
        fields = [schema.field(index) for index in range(len(schema))]
        self.types = {
            name: ColumnType(plain_type(field.type), field.nullable)
            for name, field in zip(self.names, fields, strict=True)
        }

    def pick(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The wanted columns of a batch that has all columns of `schema`."""
        return self.dress(batch.select(self.wanted))

    def dress(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of just the wanted columns, under their unique names and in plain types."""
        if not self.wanted:
            return batch.select([])
        return pa.RecordBatch.from_arrays(
            [plain_array(column) for column in batch.columns], names=[self.names[index] for index in self.wanted]
        )


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values of `kind`, without dictionary, run ends or views."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain_type(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind


def plain_array(array: pa.Array) -> pa.Array:
    """`array` in its `plain_type`; the same object where it is plain."""
    if pa.types.is_dictionary(array.type):
        return plain_array(array.dictionary_decode())
    if pa.types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        return plain_array(pc.run_end_decode(array))
    wanted = plain_type(array.type)
    return array if wanted == array.type else array.cast(wanted)


def evened(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of at most `size`: large ones cut without a copy, runs of small ones joined."""
    held: list[pa.RecordBatch] = []
    rows = held_bytes = 0
    for batch in batches:
        count, weight = batch.num_rows, batch.nbytes
        large = count * 2 > size or weight > MAX_HELD_BYTES
        full = large or rows + count > size or held_bytes + weight > MAX_HELD_BYTES
        if held and (full or not batch.schema.equals(held[0].schema)):
            yield pa.concat_batches(held)
            held, rows, held_bytes = [], 0, 0
        if large:
            step = -(-count // -(-count // size))  # pieces of one length, no small remainder
            yield from (batch.slice(start, step) for start in range(0, count, step))
        elif count:
            held.append(batch)
            rows += count
            held_bytes += weight
    if held:
        yield pa.concat_batches(held)


class TypedFile(ABC):
    """One open file of a columnar format, or a piece of one.

    Attributes:
        layout: its columns.
    """

    layout: Layout

    @abstractmethod
    def batches(self, size: int) -> Iterator[pa.RecordBatch]:
        """The rows, as `Layout.dress` leaves them; of any size, `size` is a wish."""

    @property
    @abstractmethod
    def fraction(self) -> float | None:
        """The share that was read; None if unknown."""

    @property
    @abstractmethod
    def position(self) -> int:
        """Bytes that were read."""

    @abstractmethod
    def close(self) -> None:
        """Release everything."""


class TypedFilesReader(Reader):
    """Files of a columnar format, one after the other, each with row numbers from 1 and columns of its own.

    Args:
        pieces: what to read.
        first: the first file of the whole input, whose columns are those of the reader.
        open_file: opens a file, or a piece of one.
        request: what is wanted.
        limit: the last row of each file to read; None: all.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        first: Piece,
        open_file: Callable[[Piece], TypedFile],
        request: ReadRequest,
        limit: int | None,
    ) -> None:
        self._open_file = open_file
        self._size = request.batch_size
        self._limit = limit
        self._pieces = pieces
        self._done_files = self._done_bytes = 0
        self._file: TypedFile | None = self._open(pieces[0])
        self._layout = self._file.layout
        if first.path != pieces[0].path:
            try:
                head = self._open(first)
                self._layout = head.layout
                head.close()
            except BaseException:
                self._file.close()
                raise
        self._total = self._total_bytes()

    def _open(self, piece: Piece) -> TypedFile:
        piece.check()
        return self._open_file(piece)

    def _total_bytes(self) -> int | None:
        """Bytes of all pieces; None if one is unknown."""
        total = 0
        for piece in self._pieces:
            size = file_size(piece.path)
            if size is None or piece.stop is not None or piece.start:
                return None
            total += size
        return total

    @property
    def kind(self) -> SourceKind:
        return SourceKind.TYPED

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        return self._layout.types

    @property
    def duplicates(self) -> frozenset[str]:
        return self._layout.duplicates

    @property
    def first_record(self) -> int:
        return self._pieces[0].first_row

    @property
    def bytes_read(self) -> int:
        return self._done_bytes + (self._file.position if self._file else 0)

    @property
    def any_thread(self) -> bool:
        return True

    @property
    def size(self) -> int | None:
        return self._total

    @property
    def fraction(self) -> float | None:
        if self._total is not None:
            return min(1.0, self.bytes_read / self._total) if self._total else None
        within = self._file.fraction if self._file else 0.0
        return None if within is None else min(1.0, (self._done_files + within) / len(self._pieces))

    def __iter__(self) -> Iterator[SourceBatch]:
        for index, piece in enumerate(self._pieces):
            if index:
                self._file = self._open(piece)
            if self._file is None:  # closed before it was read
                return
            label, row = strip_credentials(piece.path), piece.first_row
            for batch in evened(self._file.batches(self._size), self._size):
                if self._limit is not None:
                    batch = batch.slice(0, max(0, self._limit - row + 1))
                if not batch.num_rows:
                    break
                yield SourceBatch(label, SourceKind.TYPED, batch, number_rows(row, batch.num_rows))
                row += batch.num_rows
            self.close()

    def close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            self._done_files += 1
            self._done_bytes += file.position
            file.close()


# ---- writing --------------------------------------------------------------------------------------------------------


class Sink(io.RawIOBase):
    """What Arrow's writers write to: an `AtomicFile`'s sink, or nothing once the output is unwanted.

    A writer can only be ended by `close`, which writes a footer; after `discard` that touches no file.
    """

    def __init__(self, file: AtomicFile) -> None:
        self._file = file
        self._discarding = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if not self._discarding:
            self._file.sink.write(data)
        return len(data)

    def discard(self) -> None:
        """From now on, lose what is written."""
        self._discarding = True


@contextmanager
def writing_columns(file: AtomicFile) -> Iterator[None]:
    """As `AtomicFile.writing`; what Arrow says about the rows becomes an error that names the file."""
    with file.writing():
        try:
            yield
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            raise TargetError(f"{strip_credentials(file.path)} cannot hold these rows: {error}") from error


class OpenColumns:
    """Settles the columns of a target whose format wants one schema, and turns batches into that schema.

    Two things may be open when writing starts: whether a datetime column is naive or aware, and what a column of
    nothing but None is. The first values decide. Until then batches are held back, up to 64 MiB of them; a column
    that is open even then is taken for aware, or for a column of nulls.

    Args:
        label: the target's name, for messages.
        types: the columns, in order.
    """

    def __init__(self, label: str, types: Mapping[str, ColumnType]) -> None:
        self._label = label
        self._types = {name: replace(kind, arrow=plain_type(kind.arrow)) for name, kind in types.items()}
        self._held: list[ModelBatch] = []
        self._held_bytes = 0
        self._settled = not any(is_open(kind) for kind in self._types.values())

    @property
    def schema(self) -> pa.Schema:
        """The schema of all batches, final once one was handed out."""
        return pa.schema([pa.field(name, kind.arrow) for name, kind in self._types.items()])

    def add(self, batch: ModelBatch) -> list[pa.RecordBatch]:
        """The batches that can be written now, in order; none while a column is open.

        Raises:
            TargetError: `batch` has a column that is not among the types.
            UnsupportedValueError: a value does not fit.
        """
        self._refuse_extra_columns(batch)
        if self._settled:
            return [batch.to_arrow(self._types)]
        for name, kind in self._types.items():
            if is_open(kind) and name in batch.columns:
                self._types[name] = settled_type(batch, name, kind)
        self._held.append(batch)
        if any(is_open(kind) for kind in self._types.values()):
            self._held_bytes += batch.to_arrow(self._types).nbytes
            if self._held_bytes < MAX_HELD_BYTES:
                return []
        return self.flush()

    def flush(self) -> list[pa.RecordBatch]:
        """What was held back; open columns are settled as they stand."""
        self._settled = True
        self._types = {name: replace(kind, open_zone=False) for name, kind in self._types.items()}
        held, self._held = self._held, []
        return [batch.to_arrow(self._types) for batch in held]

    def _refuse_extra_columns(self, batch: ModelBatch) -> None:
        extra = [name for name in batch.columns if name not in self._types]
        if extra:
            raise TargetError(
                f"{self._label}: the column {extra[0]!r} first appears in {batch.source or 'a later batch'}"
                f"{f', row {batch.rows[0]:,}' if len(batch.rows) else ''}, after the columns were fixed "
                f"({', '.join(self._types) or 'none'}); let the hook that adds it declare adds = {{{extra[0]!r}: ...}}"
            )


def is_open(kind: ColumnType) -> bool:
    """Whether values have yet to say what the column is."""
    return kind.open_zone or pa.types.is_null(kind.arrow)


def settled_type(batch: ModelBatch, name: str, kind: ColumnType) -> ColumnType:
    """The open type `kind` of the column `name`, as far as the values in `batch` settle it."""
    column = batch.columns[name]
    if pa.types.is_null(kind.arrow):
        known = column.type
        if pa.types.is_null(known.arrow):
            known = infer_column_type(value for value in column.values if value is not MISSING) or known
        kind = replace(known, arrow=plain_type(known.arrow))
    if not kind.open_zone:
        return kind
    array = batch.array(name, kind)
    return kind if array.null_count == len(array) else replace(kind, arrow=array.type, open_zone=False)
