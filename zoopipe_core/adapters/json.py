"""JSON in and out: JSON Lines, or one array.

    {"id": 1}                 [
    {"id": 2}                   {"id": 1}, {"id": 2}
    format="jsonl"            ]  format="array"

Reading: files are cut into records, and each record goes on as text. Pydantic parses it (``model_validate_json``), so
big integers and decimals keep every digit, and a broken line is a reject and not the end of the load.

Writing: each row becomes the text that ``model_dump_json()`` gives for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zoopipe_core.adapters.base import Reader, ReadRequest, Scan, Writer
from zoopipe_core.adapters.decompression import DecompressionLimits
from zoopipe_core.adapters.encodings import check_encoding
from zoopipe_core.adapters.file_outputs import FileOutputAdapter
from zoopipe_core.adapters.file_parts import FileInputAdapter
from zoopipe_core.adapters.paths import PathLike, Paths, normalize_paths, strip_credentials
from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.splitting import Cuts, Piece

__all__ = ["JSONInputAdapter", "JSONOutputAdapter"]

JSONFormat = Literal["jsonl", "array"]

MAX_RECORD_BYTES = 64 * 2**20
# Offsets into a batch are 32 bits wide; a record may have to share it with a block.
LARGEST_RECORD_BYTES = 2**30
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
        from zoopipe_core.adapters.json_reader import JSONReader

        return JSONReader(self, request, pieces)

    def cut(self, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
        from zoopipe_core.adapters.json_split import cut_json

        return cut_json(self, piece, targets, scan)


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
        from zoopipe_core.adapters.json_writer import JSONWriter

        return JSONWriter(self)


def _check_format(value: str) -> None:
    if value not in _FORMATS:
        raise SpecError(f'format has to be "jsonl" or "array", not {value!r}')


def _check_compression(value: str | None, allowed: Sequence[str]) -> None:
    if value is not None and value != "infer" and value not in allowed:
        names = ", ".join(repr(name) for name in ("infer", *allowed))
        raise SpecError(f"compression has to be {names} or None, not {value!r}")
