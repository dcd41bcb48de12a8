"""Arrow in and out: IPC files and streams, and any object that gives an Arrow stream.

local IPC file                       mapped into memory, read where it lies
IPC stream, URL, compressed file     read from front to back
Polars, DuckDB, pandas, pyarrow      through the Arrow C stream interface, without a copy where types allow
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Scan, Split, Writer, scan_here
from zoopipe_core.adapters.file_outputs import FileOutputAdapter
from zoopipe_core.adapters.file_parts import FileInputAdapter, check_limit
from zoopipe_core.adapters.paths import PathLike, Paths, check_output_path, normalize_paths, strip_credentials
from zoopipe_core.errors import SourceError, SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.splitting import Cuts, Piece

__all__ = ["ArrowInputAdapter", "ArrowOutputAdapter", "ArrowStreamInputAdapter", "ArrowStreamable"]

# ---- files and streams ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ArrowInputAdapter(FileInputAdapter):
    """Rows of one or more Arrow IPC files or streams (``.arrow``, ``.ipc``, Feather version 2).

    Args:
        path: a path, a glob, an fsspec URL, or a list of them; ``.gz .bz2 .zst .zip`` are decompressed. Which of the
            two formats a file has is seen from its first bytes. Several files are read one after the other, each with
            row numbers and columns of its own.
        limit: stop after so many records of each file.

    Dictionary, run-end encoded and view columns are given as plain ones; large strings and lists as they are.

    >>> ArrowInputAdapter("in/users.arrow").label
    'in/users.arrow'

    Raises:
        SpecError: an argument is out of range.
    """

    path: Paths
    limit: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", normalize_paths(self.path))
        check_limit(self.limit)

    def open_pieces(self, request: ReadRequest, pieces: Sequence[Piece], first: Piece) -> Reader:
        from zoopipe_core.adapters.arrow_ipc import open_ipc
        from zoopipe_core.adapters.columnar import TypedFilesReader

        return TypedFilesReader(pieces, first, lambda piece: open_ipc(piece, request), request, self.limit)

    def cut(self, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
        """Between the batches of a local file."""
        from zoopipe_core.adapters.arrow_ipc import batch_rows
        from zoopipe_core.adapters.splitting import Cuts, cut_between

        try:
            rows = batch_rows(piece)
        except SourceError as error:  # its reader meets it at the right place
            return Cuts(reason=f"is left whole, since it cannot be read: {error}")
        if rows is None:
            return Cuts(reason="is an Arrow stream, or not a plain local file: it can only be read from its beginning")
        return cut_between(rows, rows, [target / (piece.size or 1) for target in targets], self.limit, "batch")


# ---- objects --------------------------------------------------------------------------------------------------------


@runtime_checkable
class ArrowStreamable(Protocol):
    """Anything that gives an Arrow C stream."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object: ...


@runtime_checkable
class _Comparable(Protocol):
    def equals(self, other: Any) -> bool: ...


class FirstUse:
    """Remembers that a source which can be read only once was read."""

    def __init__(self) -> None:
        self.over = False


@dataclass(frozen=True, eq=False, repr=False)
class ArrowStreamInputAdapter(InputAdapter):
    """Rows of an object with ``__arrow_c_stream__``: of Polars, DuckDB, pandas, pyarrow and others.

    Args:
        obj: the object. One that can be read only once, as a ``pyarrow.RecordBatchReader``, serves one run.
        name: what reports and rejects call it.

    >>> import pyarrow as pa
    >>> from zoopipe_core.adapters.base import ReadRequest
    >>> with ArrowStreamInputAdapter(pa.table({"a": [1, 2]}), name="numbers").open(ReadRequest()) as reader:
    ...     [batch.batch.to_pydict() for batch in reader]
    [{'a': [1, 2]}]

    Raises:
        SpecError: the object gives no Arrow stream.
    """

    obj: Any = field(repr=False)
    name: str = "arrow"
    _first_use: FirstUse = field(default_factory=FirstUse, init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.obj, ArrowStreamable):
            raise SpecError(
                f"{type(self.obj).__name__} has no __arrow_c_stream__: give a table or data frame of pyarrow, Polars, "
                "pandas or DuckDB, or use PyGeneratorInputAdapter for an iterable of rows"
            )

    @property
    def label(self) -> str:
        return self.name

    @property
    def one_shot(self) -> bool:
        """Whether the object can be read only once."""
        return isinstance(self.obj, Iterator)

    def open(self, request: ReadRequest) -> Reader:
        """Ask the object for its stream.

        Raises:
            SourceError: it fails, or was read before and can be read only once.
        """
        from zoopipe_core.adapters.arrow_streams import StreamReader

        if self.one_shot and self._first_use.over:
            raise SourceError(
                f"{self.name}: this {type(self.obj).__name__} was read before and is used up; give a table, or a new "
                "adapter for each run"
            )
        self._first_use.over = True
        return StreamReader(self.obj, self.name, request)

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """Slices of a pyarrow table or record batch; anything else is one part."""
        if count <= 1:
            return Split((self,))
        from zoopipe_core.adapters.memory_parts import split_table

        return split_table(self, count)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ArrowStreamInputAdapter):
            return NotImplemented
        mine, theirs = self.obj, other.obj
        if self.name != other.name or type(mine) is not type(theirs):
            return False
        # `==` of a data frame compares cell by cell.
        return mine is theirs or (isinstance(mine, _Comparable) and bool(mine.equals(theirs)))

    def __hash__(self) -> int:
        return hash((self.name, type(self.obj)))

    def __getstate__(self) -> dict[str, Any]:
        if self.one_shot:
            raise SpecError(f"{self.name}: a {type(self.obj).__name__} cannot be sent to another process; give a table")
        return {**self.__dict__, "_first_use": FirstUse()}


# ---- output ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ArrowOutputAdapter(FileOutputAdapter):
    """Rows into one Arrow IPC file or stream, which appears complete or not at all.

    Args:
        path: a path or fsspec URL. Parent folders are made. ``.gz .bz2 .zst`` compress the file as a whole; readers
            that map files into memory want `compression` instead.
        format: ``"file"``, which can be read from any batch on; or ``"stream"``, which can be read while it grows.
        compression: of the columns within: ``"lz4"``, ``"zstd"`` or None.

    >>> ArrowOutputAdapter("out/users.arrow", compression="zstd").label
    'out/users.arrow'

    Raises:
        SpecError: an argument is out of range.
    """

    path: PathLike
    format: Literal["file", "stream"] = "file"
    compression: Literal["lz4", "zstd"] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", check_output_path("Arrow", self.path, "infer"))
        if self.format not in ("file", "stream"):
            raise SpecError(f"format has to be 'file' or 'stream', not {self.format!r}")
        if self.compression not in ("lz4", "zstd", None):
            raise SpecError(f"compression has to be 'lz4', 'zstd' or None, not {self.compression!r}")

    @property
    def label(self) -> str:
        return strip_credentials(str(self.path))

    def open(self) -> Writer:
        """Make the folder and a hidden file in it.

        Raises:
            TargetWriteError: the folder cannot be made or written.
        """
        from zoopipe_core.adapters.arrow_writer import ArrowWriter

        return ArrowWriter(self)
