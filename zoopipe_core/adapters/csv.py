"""CSV in and out.

Reading: pyarrow cuts the file into columns of undecoded bytes, at several million rows a second; what a cell means
is left to validation. A ragged row, or a last record whose quote is never closed, becomes a reject and not the end of
the load.

Writing: each row becomes one record, in one piece for a batch; see `csv_writer`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoopipe_core.adapters.base import Reader, ReadRequest, Scan, Writer
from zoopipe_core.adapters.csv_dialect import Dialect
from zoopipe_core.adapters.decompression import DecompressionLimits
from zoopipe_core.adapters.encodings import check_encoding
from zoopipe_core.adapters.file_outputs import FileOutputAdapter
from zoopipe_core.adapters.file_parts import FileInputAdapter
from zoopipe_core.adapters.paths import (
    PathLike,
    Paths,
    check_compression,
    check_output_path,
    normalize_paths,
    strip_credentials,
)
from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv_text import CSVFormat
    from zoopipe_core.adapters.splitting import Cuts, Piece

__all__ = ["CSVInputAdapter", "CSVOutputAdapter"]

MAX_RECORD_BYTES = 64 * 2**20
# Places in a block, and in as much room again, are counted with 31 bits.
LARGEST_RECORD_BYTES = 10**9


@dataclass(frozen=True, repr=False)
class CSVInputAdapter(FileInputAdapter):
    """Rows of one or more CSV files.

    Args:
        path: a path, a glob, an fsspec URL, or a list of them; ``.gz .bz2 .zst .zip`` are decompressed. Several files
            are read one after the other, each with its own header.
        delimiter, quotechar, escapechar: single ASCII characters; `quotechar` and `escapechar` may be None.
        doublequote: two quote characters within quotes are one.
        encoding: of the file; a byte order mark wins over it within the UTF family.
        skip_rows: physical lines in front of the header to pass over.
        fieldnames: the columns' names for files without a header.
        comment: records that begin with this character are passed over, and not numbered.
        limit: stop after so many records of each file.
        null_values: cells with one of these texts are None. By default none is: pydantic sees the text as it is.
        quoted_nulls: whether such a text counts as None within quotes too, as pandas and pyarrow have it.
        compression: ``"infer"`` from the suffix, ``"gzip"``, ``"bz2"``, ``"zstd"``, ``"zip"`` or None.
        max_record_bytes: how long a record may be at least before the load fails; at most 1 GB. The parser looks at
            blocks of this size if smaller ones do not hold a record.
        max_decompressed_bytes, max_compression_ratio: caps against decompression bombs.

    Blank lines are no records. Records are numbered from 1, header, comments and blank lines not counted.

    >>> CSVInputAdapter("flights.csv.zip", null_values=["NA"]).label
    'flights.csv.zip'

    Raises:
        SpecError: an argument is out of range.
    """

    path: Paths
    delimiter: str = ","
    quotechar: str | None = '"'
    escapechar: str | None = None
    doublequote: bool = True
    encoding: str = "utf-8"
    skip_rows: int = 0
    fieldnames: Sequence[str] | None = None
    comment: str | None = None
    limit: int | None = None
    null_values: Sequence[str] = ()
    quoted_nulls: bool = True
    compression: str | None = "infer"
    max_record_bytes: int = MAX_RECORD_BYTES
    max_decompressed_bytes: int = DecompressionLimits().max_bytes
    max_compression_ratio: float = DecompressionLimits().max_ratio

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", normalize_paths(self.path))
        object.__setattr__(self, "null_values", _texts("null_values", self.null_values))
        if self.fieldnames is not None:
            object.__setattr__(self, "fieldnames", _texts("fieldnames", self.fieldnames))
            if not self.fieldnames or len(set(self.fieldnames)) != len(self.fieldnames):
                raise SpecError(f"fieldnames has to name each column once, not {list(self.fieldnames)!r}")
        if self.skip_rows < 0:
            raise SpecError(f"skip_rows has to be 0 or more, not {self.skip_rows}")
        if self.limit is not None and self.limit < 0:
            raise SpecError(f"limit has to be 0 or more, or None for all, not {self.limit}")
        if not 1 <= self.max_record_bytes <= LARGEST_RECORD_BYTES:
            raise SpecError(f"max_record_bytes has to be 1 to {LARGEST_RECORD_BYTES:,}, not {self.max_record_bytes:,}")
        check_encoding(self.encoding)
        check_compression(self.compression)
        _ = self.dialect, self.limits

    @property
    def dialect(self) -> Dialect:
        """The special characters, checked."""
        return Dialect(self.delimiter, self.quotechar, self.escapechar, self.doublequote, self.comment)

    @property
    def limits(self) -> DecompressionLimits:
        """The caps against decompression bombs."""
        return DecompressionLimits(self.max_decompressed_bytes, self.max_compression_ratio)

    def open_pieces(self, request: ReadRequest, pieces: Sequence[Piece], first: Piece) -> Reader:
        from zoopipe_core.adapters.csv_reader import CSVReader

        return CSVReader(self, request, pieces, first)

    def cut(self, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
        from zoopipe_core.adapters.csv_split import cut_csv

        return cut_csv(self, piece, targets, scan)


@dataclass(frozen=True, repr=False)
class CSVOutputAdapter(FileOutputAdapter):
    r"""Rows into one CSV file, which appears complete or not at all.

    Args:
        path: a path or fsspec URL; ``.gz .bz2 .zst`` compress. Parent folders are made.
        delimiter, quotechar: single ASCII characters.
        fieldnames: the columns to write, in this order; None: all.
        header: whether to write one.
        null_text: what stands for None; a text that equals it is quoted. Alone in its row, an empty one is quoted
            too, since a blank line is no record.
        escape_formulas: put ``'`` before texts that a spreadsheet would run (``= + - @``, tab, line breaks). Numbers
            and dates stay as they are. This changes data: only for files that people open in a spreadsheet.
        lineterminator: ``"\n"`` or ``"\r\n"``.
        compression: ``"infer"``, ``"gzip"``, ``"bz2"``, ``"zstd"`` or None.

    Raises:
        SpecError: an argument is out of range.
    """

    path: PathLike
    delimiter: str = ","
    quotechar: str = '"'
    fieldnames: Sequence[str] | None = None
    header: bool = True
    null_text: str = ""
    escape_formulas: bool = False
    lineterminator: str = "\n"
    compression: str | None = "infer"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", check_output_path("CSV", self.path, self.compression))
        if self.fieldnames is not None:
            object.__setattr__(self, "fieldnames", _texts("fieldnames", self.fieldnames))
        if self.quotechar is None or self.lineterminator not in ("\n", "\r\n"):
            raise SpecError("a CSV output needs a quotechar, and a lineterminator of '\\n' or '\\r\\n'")
        if re.search(r"[\r\n]", self.null_text) or self.delimiter in self.null_text or self.quotechar in self.null_text:
            raise SpecError(f"null_text {self.null_text!r} would need quotes, and quoted it would be a text")
        Dialect(self.delimiter, self.quotechar)

    @property
    def format(self) -> CSVFormat:
        """How fields and records are written."""
        from zoopipe_core.adapters.csv_text import CSVFormat

        return CSVFormat(self.delimiter, self.quotechar, self.null_text, self.escape_formulas, self.lineterminator)

    @property
    def label(self) -> str:
        return strip_credentials(str(self.path))

    def open(self) -> Writer:
        from zoopipe_core.adapters.csv_writer import CSVWriter

        return CSVWriter(self)


def _texts(name: str, values: Sequence[str]) -> tuple[str, ...]:
    if isinstance(values, str) or not all(isinstance(value, str) for value in values):
        raise SpecError(f"{name} has to be a list of texts, not {values!r}")
    return tuple(values)
