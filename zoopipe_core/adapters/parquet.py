"""Parquet in and out.

Reading: row groups are streamed through small buffers, and only the columns that are wanted are read at all. Writing:
row groups are filled evenly, whatever the size of the batches, and every page carries a checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from zoopipe_core.adapters.base import Reader, ReadRequest, Scan, Writer
from zoopipe_core.adapters.file_outputs import FileOutputAdapter
from zoopipe_core.adapters.file_parts import FileInputAdapter, check_limit
from zoopipe_core.adapters.paths import (
    PathLike,
    Paths,
    check_output_path,
    infer_compression,
    normalize_paths,
    strip_credentials,
)
from zoopipe_core.errors import SourceError, SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.splitting import Cuts, Piece

__all__ = ["ParquetInputAdapter", "ParquetOutputAdapter"]

ParquetCompression = Literal["brotli", "gzip", "lz4", "none", "snappy", "zstd"]

# Measured with 1,000,000 rows and 8 columns: writing takes as long as with one large group, holds an eighth of it in
# memory, and goes on beside reading and validation.
ROW_GROUP_SIZE = 2**17
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
            _refuse_outer_compression(path, "unpack it first")
        check_limit(self.limit)

    def open_pieces(self, request: ReadRequest, pieces: Sequence[Piece], first: Piece) -> Reader:
        from zoopipe_core.adapters.columnar import TypedFilesReader
        from zoopipe_core.adapters.parquet_source import ParquetSource

        return TypedFilesReader(pieces, first, lambda piece: ParquetSource(piece, request), request, self.limit)

    def cut(self, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
        """Between row groups, as the footer has them."""
        from zoopipe_core.adapters.parquet_source import ParquetSource
        from zoopipe_core.adapters.splitting import Cuts, cut_between

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
        _refuse_outer_compression(path, 'drop the suffix and choose with compression="zstd"')
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
        from zoopipe_core.adapters.parquet_writer import ParquetWriter

        return ParquetWriter(self)


def _refuse_outer_compression(path: str, advice: str) -> None:
    """Raises:
    SpecError: the path's suffix says that the file is compressed as a whole.
    """
    if infer_compression(path) is not None:
        raise SpecError(f"{strip_credentials(path)}: a Parquet file is not compressed as a whole; {advice}")
