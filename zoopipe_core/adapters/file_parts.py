"""Inputs of files, and the parts into which they are split: what all formats have in common.

FileInputAdapter.split(3)  ->  FilePart(adapter, pieces), ...      which pieces: `splitting`; where to cut: the format
FilePart.open(request)     ->  adapter.open_pieces(request, pieces, first)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Scan, Split, scan_here
from zoopipe_core.adapters.paths import Paths, describe_paths, expand_paths, places_of
from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.ledger import Fingerprint
    from zoopipe_core.adapters.splitting import Cuts, Piece

__all__ = ["FileInputAdapter", "FilePart", "check_limit"]


@dataclass(frozen=True, repr=False)
class FileInputAdapter(InputAdapter):
    """Rows of one or more files, read one after the other.

    Args:
        path: a path, a glob, an fsspec URL, or a list of them; subclasses normalize it.
    """

    path: Paths

    @property
    def label(self) -> str:
        return describe_paths(self.path)  # type: ignore[arg-type]  # normalized

    @property
    def places(self) -> tuple[str, ...]:
        return places_of(self.path)  # type: ignore[arg-type]  # normalized

    def files(self) -> list[Piece]:
        """Every file that `path` names, as a piece.

        Raises:
            SourceError: one is not there, or a pattern matches nothing.
        """
        from zoopipe_core.adapters.splitting import Piece

        return [Piece(path) for path in expand_paths(self.path)]  # type: ignore[arg-type]  # normalized

    def fingerprint(self) -> Fingerprint:
        """Options, and of each file its path, size, and time of change or what a remote store has instead.

        Raises:
            SourceError: a file is not there.
        """
        from zoopipe_core.adapters.fingerprints import fingerprint_of_files

        paths = [piece.path for piece in self.files()]
        return fingerprint_of_files(self, paths)

    def open(self, request: ReadRequest) -> Reader:
        """Find the files and read the header of the first.

        Raises:
            SourceNotFoundError, SourceReadError: a file is not there, or cannot be read.
            CorruptSourceError: it is not of this format, or damaged.
        """
        files = self.files()
        return self.open_pieces(request, files, files[0])

    @abstractmethod
    def open_pieces(self, request: ReadRequest, pieces: Sequence[Piece], first: Piece) -> Reader:
        """A reader of `pieces`, which says of itself what a reader of the whole says, whose first file is `first`.

        Raises:
            SourceError: as `open`; also if a file has changed since it was split.
        """

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """Consecutive files and pieces of files, of about equal size: `docs/adapters.md` says where files can be cut.

        Raises:
            SourceError: a file is not there.
        """
        if count <= 1:
            return Split((self,))
        from zoopipe_core.adapters.splitting import split_files, why_fewer

        paths = [piece.path for piece in self.files()]
        parts, reasons = split_files(paths, count, lambda piece, targets: self.cut(piece, targets, scan))
        note = why_fewer(self.label, len(parts), count, reasons)
        if len(parts) == 1:
            return Split((self,), note)
        first = replace(parts[0][0], start=None, stop=None)
        return Split(tuple(FilePart(self, pieces, first) for pieces in parts), note)

    @abstractmethod
    def cut(self, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
        """Where a file can be cut near `targets`; see `splitting.Cutter`."""


@dataclass(frozen=True, repr=False)
class FilePart(InputAdapter):
    """Some of the rows of an input of files.

    Args:
        adapter: the whole input.
        pieces: files, and pieces of files, that follow each other.
        first: the first file of the whole, whose columns the reader reports.
    """

    adapter: FileInputAdapter
    pieces: tuple[Piece, ...]
    first: Piece

    @property
    def label(self) -> str:
        return self.adapter.label

    @property
    def places(self) -> tuple[str, ...]:
        return self.adapter.places

    def open(self, request: ReadRequest) -> Reader:
        """As the whole.

        Raises:
            SourceError: as the whole; also if a file has changed since it was split.
        """
        return self.adapter.open_pieces(request, self.pieces, self.first)


def check_limit(limit: int | None) -> None:
    """Raises:
    SpecError: `limit` is neither None nor a count.
    """
    if limit is not None and limit < 0:
        raise SpecError(f"limit has to be 0 or more, or None for all, not {limit}")
