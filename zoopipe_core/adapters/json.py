"""JSON in and out: JSON Lines, or one array.

    {"id": 1}                 [
    {"id": 2}                   {"id": 1}, {"id": 2}
    format="jsonl"            ]  format="array"

Reading: files are cut into records, and each record goes on as text. Pydantic parses it (``model_validate_json``), so
big integers and decimals keep every digit, and a broken line is a reject and not the end of the load.

Writing: each row becomes the text that ``model_dump_json()`` gives for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
from pydantic_core import from_json, to_json

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import Reader, ReadRequest, Scan, Writer
from zoopipe_core.adapters.decompression import DecompressionLimits
from zoopipe_core.adapters.encodings import Utf8Stream, check_encoding
from zoopipe_core.adapters.file_outputs import FileOutputAdapter
from zoopipe_core.adapters.file_parts import FileInputAdapter
from zoopipe_core.adapters.file_writers import FileWriter
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.json_records import array_records, line_records
from zoopipe_core.adapters.json_text import join_rows
from zoopipe_core.adapters.paths import (
    PathLike,
    Paths,
    file_size,
    normalize_paths,
    strip_credentials,
)
from zoopipe_core.adapters.splitting import Cuts, Piece
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.source import JSON_COLUMN, SourceBatch, SourceKind, number_rows
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SpecError, UnsupportedValueError
from zoopipe_core.kernels.switch import SWITCH

__all__ = ["JSONInputAdapter", "JSONOutputAdapter"]

JSONFormat = Literal["jsonl", "array"]

MAX_RECORD_BYTES = 64 * 2**20
# Offsets into a batch are 32 bits wide; a record may have to share it with a block.
LARGEST_RECORD_BYTES = 2**30
BLOCK_BYTES = 2 * 2**20
_FORMATS = ("jsonl", "array")


@dataclass(frozen=True, repr=False)
class JSONInputAdapter(FileInputAdapter):
    """Records of one or more JSON files.

    Args:
        path: a path, a glob, an fsspec URL, or a list of them; ``.gz .bz2 .zst .zip`` are decompressed. Several files
            are read one after the other, each with row numbers of its own, from 1.
        format: ``"jsonl"``, one value a line; or ``"array"``, one array of values at the top. Files of either kind
            are streamed, however large.
        encoding: of the file; a byte order mark wins over it within the UTF family.
        limit: stop after so many records of each file.
        compression: ``"infer"`` from the suffix, ``"gzip"``, ``"bz2"``, ``"zstd"``, ``"zip"`` or None.
        max_record_bytes: the longest record that is accepted, as UTF-8; at most 1 GiB.
        max_decompressed_bytes, max_compression_ratio: caps against decompression bombs.

    Blank lines are no records and are not numbered. A record that is no valid JSON becomes a reject.

    >>> JSONInputAdapter(["events.jsonl.gz", "more.jsonl"]).label
    'events.jsonl.gz and 1 more'

    Raises:
        SpecError: an argument is out of range.
    """

    path: Paths
    format: JSONFormat = "jsonl"
    encoding: str = "utf-8"
    limit: int | None = None
    compression: str | None = "infer"
    max_record_bytes: int = MAX_RECORD_BYTES
    max_decompressed_bytes: int = DecompressionLimits().max_bytes
    max_compression_ratio: float = DecompressionLimits().max_ratio

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", normalize_paths(self.path))
        _check_format(self.format)
        _check_compression(self.compression, ("gzip", "bz2", "zstd", "zip"))
        check_encoding(self.encoding)
        if self.limit is not None and self.limit < 0:
            raise SpecError(f"limit has to be 0 or more, or None for all, not {self.limit}")
        if not 1 <= self.max_record_bytes <= LARGEST_RECORD_BYTES:
            raise SpecError(f"max_record_bytes has to be 1 to {LARGEST_RECORD_BYTES:,}, not {self.max_record_bytes:,}")

    @property
    def limits(self) -> DecompressionLimits:
        """The caps against decompression bombs."""
        return DecompressionLimits(self.max_decompressed_bytes, self.max_compression_ratio)

    def open_pieces(self, request: ReadRequest, pieces: Sequence[Piece], first: Piece) -> Reader:
        return JSONReader(self, request, pieces)

    def cut(self, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
        from zoopipe_core.adapters.json_split import cut_json

        return cut_json(self, piece, targets, scan)


class JSONReader(Reader):
    """Batches of one binary column, `JSON_COLUMN`: the text of each record.

    Args:
        adapter: the whole input.
        pieces: what to read of it, cut at line ends.
    """

    def __init__(self, adapter: JSONInputAdapter, request: ReadRequest, pieces: Sequence[Piece]) -> None:
        self._adapter = adapter
        self._batch_size = request.batch_size
        self._pieces = pieces
        sizes = [file_size(piece.path) if piece.size is None else piece.size for piece in pieces]
        self._total = None if None in sizes else sum(size for size in sizes if size is not None)
        self._done_bytes = 0
        self._source: ByteSource | None = self._open_piece(pieces[0])

    @property
    def kind(self) -> SourceKind:
        return SourceKind.JSON

    @property
    def columns(self) -> None:
        return None

    @property
    def bytes_read(self) -> int:
        source = self._source
        return self._done_bytes + (source.position if source else 0)

    @property
    def any_thread(self) -> bool:
        return True

    @property
    def size(self) -> int | None:
        return self._total

    @property
    def fraction(self) -> float | None:
        return min(1.0, self.bytes_read / self._total) if self._total else None

    @property
    def first_record(self) -> int:
        return self._pieces[0].first_row

    def _open_piece(self, piece: Piece) -> ByteSource:
        piece.check()
        adapter = self._adapter
        return ByteSource(piece.path, adapter.compression, adapter.limits, piece.start or 0, piece.stop)

    def __iter__(self) -> Iterator[SourceBatch]:
        for index, piece in enumerate(self._pieces):
            if index:
                self._source = self._open_piece(piece)
            if self._source is None:  # closed before it was read
                return
            yield from self._read_piece(self._source, piece)
            self.close()

    def _read_piece(self, source: ByteSource, piece: Piece) -> Iterator[SourceBatch]:
        adapter, row, label = self._adapter, piece.first_row, strip_credentials(piece.path)
        stop = None if adapter.limit is None else adapter.limit + 1
        if stop is not None and row >= stop:
            return
        if adapter.format == "array":
            stream = Utf8Stream(source, adapter.encoding, label)
            parts = array_records(stream, label, BLOCK_BYTES, adapter.max_record_bytes)
        else:
            encoding = file_encoding(adapter, piece.path)[0] if piece.start else adapter.encoding
            stream = Utf8Stream(source, encoding, label, from_start=not piece.start)
            parts = line_records(stream, label, BLOCK_BYTES, adapter.max_record_bytes, row)
        for records in parts:
            if stop is not None:
                records = records[: stop - row]
            batch = pa.RecordBatch.from_arrays([records], names=[JSON_COLUMN])
            numbers = number_rows(row, len(records))
            yield from self._portions(SourceBatch(label, SourceKind.JSON, batch, numbers))
            row += len(records)
            if row == stop:
                return

    def _portions(self, batch: SourceBatch) -> list[SourceBatch]:
        """Batches of about equal size, none above the size asked for: no small remainder after each block."""
        count = -(-batch.num_rows // self._batch_size)
        return batch.split(-(-batch.num_rows // count))

    def close(self) -> None:
        if self._source is not None:
            source, self._source = self._source, None
            self._done_bytes += source.position
            source.close()


def file_encoding(adapter: JSONInputAdapter, path: str) -> tuple[str, int]:
    """What a file is in, and how long its byte order mark is.

    Raises:
        SourceError: it cannot be read, or needs such a mark and has none.
    """
    source = ByteSource(path, adapter.compression, adapter.limits)
    try:
        stream = Utf8Stream(source, adapter.encoding, strip_credentials(path))
    finally:
        source.close()
    return stream.encoding, stream.mark_bytes


@dataclass(frozen=True, repr=False)
class JSONOutputAdapter(FileOutputAdapter):
    """Rows into one JSON file, which appears complete or not at all.

    Args:
        path: a path or fsspec URL; ``.gz .bz2 .zst`` compress. Parent folders are made.
        format: ``"jsonl"``, one object a line; or ``"array"``, one array of objects.
        indent: blanks for each level, for people to read; only with ``format="array"``. None: one row a line.
        compression: ``"infer"``, ``"gzip"``, ``"bz2"``, ``"zstd"`` or None.

    Rows need not have the same keys. Without rows, JSON Lines are an empty file and an array is ``[]``.

    >>> JSONOutputAdapter("out/events.json", format="array", indent=2).label
    'out/events.json'

    Raises:
        SpecError: an argument is out of range.
    """

    path: PathLike
    format: JSONFormat = "jsonl"
    indent: int | None = None
    compression: str | None = "infer"

    def __post_init__(self) -> None:
        path = normalize_paths(self.path)
        if not isinstance(path, str):
            raise SpecError(f"a JSON output is one file, not {len(path)} of them")
        object.__setattr__(self, "path", path)
        _check_format(self.format)
        _check_compression(self.compression, ("gzip", "bz2", "zstd"))
        if self.indent is not None:
            if self.format != "array":
                raise SpecError(f'indent={self.indent} needs format="array": in JSON Lines a row is one line')
            if not 0 <= self.indent <= 16:
                raise SpecError(f"indent has to be 0 to 16, or None, not {self.indent}")

    @property
    def label(self) -> str:
        return strip_credentials(str(self.path))

    @property
    def wants_json(self) -> bool:
        return True

    def open(self) -> Writer:
        return JSONWriter(self)


class JSONWriter(FileWriter):
    """Writes batches as JSON through an `AtomicFile`."""

    def __init__(self, adapter: JSONOutputAdapter) -> None:
        self._adapter = adapter
        self._file = AtomicFile(str(adapter.path), adapter.compression)
        self._is_array = adapter.format == "array"
        self._empty = True
        self._ended = False

    def start(self, types: Mapping[str, ColumnType]) -> None:
        return  # a row names its own columns

    def write(self, batch: ModelBatch) -> None:
        if batch.num_rows:
            self.write_encoded(self.encode(batch))

    def write_encoded(self, encoded: Any) -> None:
        if self._is_array:
            self._file.write(b"[\n" if self._empty else b",\n")
        self._file.write(encoded)
        if not self._is_array:
            self._file.write(b"\n")
        self._empty = False

    def encode(self, batch: ModelBatch) -> bytes | pa.Buffer:
        """The rows of a batch that has some, with what separates them, without what surrounds them.

        Pure: may be called by any thread.

        Raises:
            UnsupportedValueError: a value has no JSON form; the message names column and row.
        """
        indent, separator = self._adapter.indent, b",\n" if self._is_array else b"\n"
        if batch.json_lines is not None:
            if indent is None:
                return separator.join(batch.json_lines)
            # Only floats could lose by being parsed, and these came from floats.
            values = [from_json(line) for line in batch.json_lines]
            return to_json(values, indent=indent, inf_nan_mode="constants")[2:-2]
        if indent is None:
            body = _by_kernels(batch, separator)
            if body is not None:
                return body
        rows = list(batch.dicts())
        try:
            if indent is not None:
                return to_json(rows, indent=indent, inf_nan_mode="null")[2:-2]
            return join_rows(rows, separator)
        except ValueError as error:  # PydanticSerializationError is one
            raise self._unsupported(rows, batch, error) from error

    def _unsupported(
        self, rows: Sequence[dict[str, Any]], batch: ModelBatch, error: ValueError
    ) -> UnsupportedValueError:
        """Find the cell that made a whole batch fail."""
        for number, row in zip(batch.rows.tolist(), rows, strict=True):
            for name, value in row.items():
                try:
                    to_json({name: value})
                except ValueError as reason:
                    where = f"row {number:,} of {batch.source or 'the source'}" if number else "a row that a hook added"
                    text = repr(value)
                    return UnsupportedValueError(
                        f"{self._adapter.label}: column {name!r}, {where}: the value {text[:80]}"
                        f"{'...' if len(text) > 80 else ''} cannot be written as JSON: {reason}"
                    )
        return UnsupportedValueError(f"{self._adapter.label}: the rows cannot be written as JSON: {error}")

    def prepare(self) -> None:
        if self._is_array and not self._ended:
            self._file.write(b"[]" if self._empty else b"\n]")
        self._ended = True
        self._file.prepare()


def _by_kernels(batch: ModelBatch, separator: bytes) -> pa.Buffer | None:
    """The rows as kernels write them, once they are ready; None where Python has to do it."""
    if not SWITCH.worthwhile(batch.num_rows):
        return None
    from zoopipe_core.adapters.text_rows import encode_json_rows

    try:
        return encode_json_rows(batch, separator)
    except ValueError:  # Python meets the same value, and names its column and row
        return None


def _check_format(value: str) -> None:
    if value not in _FORMATS:
        raise SpecError(f'format has to be "jsonl" or "array", not {value!r}')


def _check_compression(value: str | None, allowed: Sequence[str]) -> None:
    if value is not None and value != "infer" and value not in allowed:
        names = ", ".join(repr(name) for name in ("infer", *allowed))
        raise SpecError(f"compression has to be {names} or None, not {value!r}")
