"""CSV inputs in parts: pieces of files that begin at a record, wherever line breaks stand within quotes.

A part reads the header of its file, then its own bytes, and numbers its rows as the whole file does. That takes knowing
how many records lie before it: all stretches of a file are scanned once (see `csv_scan`), many at a time if there is
somebody to do so, and nothing but byte positions and counts is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Scan, Split
from zoopipe_core.adapters.csv_reader import CSVReader, OpenCSV
from zoopipe_core.adapters.csv_scan import (
    Characters,
    Stretch,
    chain,
    find_breaks,
    open_bytes,
    records_end,
    scan_stretch,
)
from zoopipe_core.adapters.encodings import is_ascii_based
from zoopipe_core.adapters.paths import expand_paths
from zoopipe_core.adapters.splitting import Cuts, Piece, split_files, why_fewer
from zoopipe_core.errors import SourceError

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv import CSVInputAdapter

__all__ = ["CSVPart", "split_csv"]

HEAD_BYTES = 2**16


@dataclass(frozen=True, repr=False)
class CSVPart(InputAdapter):
    """Some of the rows of a `CSVInputAdapter`.

    Args:
        adapter: the whole input.
        pieces: files, and pieces of files, that follow each other.
        first: the first file of the whole, whose columns the reader reports.
    """

    adapter: CSVInputAdapter
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
        return CSVReader(self.adapter, request, self.pieces, self.first)


def split_csv(adapter: CSVInputAdapter, count: int, scan: Scan) -> Split:
    """The input in at most `count` parts of about equal size.

    Raises:
        SourceError: a file is not there.
    """
    if count <= 1:
        return Split((adapter,))
    paths = expand_paths(adapter.path)  # type: ignore[arg-type]  # normalized by the adapter
    parts, reasons = split_files(paths, count, lambda piece, targets: _cut(adapter, piece, targets, scan))
    note = why_fewer(adapter.label, len(parts), count, reasons)
    if len(parts) == 1:
        return Split((adapter,), note)
    first = replace(parts[0][0], start=None, stop=None)
    return Split(tuple(CSVPart(adapter, pieces, first) for pieces in parts), note)


def _cut(adapter: CSVInputAdapter, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
    """Where a file can be cut: at the first record that begins at or behind each target."""
    try:
        file = OpenCSV(adapter, piece)
        file.close()
        if file.source.compression is not None:
            return Cuts(reason=f"is {file.source.compression} data, which can only be read from its beginning")
        if not is_ascii_based(file.encoding):
            return Cuts(reason=f"is in {file.encoding}, whose records are only found by reading it from its beginning")
        with open_bytes(piece.path) as raw:
            if not raw.seekable():
                return Cuts(reason="can only be read from its beginning")
        size = piece.size or 0
        body = _body_start(file, size)
        if body is None:
            return Cuts(reason="has a header whose end is not certain")
        characters = Characters.of(adapter.dialect)
        if adapter.limit is not None:
            return Cuts(reason=f"is read only up to limit={adapter.limit:,}")
        places = find_breaks(piece.path, targets, body, size, characters.escape)
        starts, stops = [body, *places], [*places, size]
        stretches = [Stretch(piece.path, start, stop, characters) for start, stop in zip(starts, stops, strict=True)]
        cuts, _ = chain(stretches, scan(scan_stretch, stretches))
    except SourceError:
        return Cuts()
    return Cuts(tuple(cuts))


def _body_start(file: OpenCSV, size: int) -> int | None:
    """The place of the first byte behind the header, at most `size`; None if it cannot be told.

    The header is read by rules of its own. So its end is looked for in the bytes, and believed if a file that ends
    there has the same header and nothing behind it.
    """
    adapter, path = file.adapter, file.piece.path
    start = _skip_lines(path, file.mark_bytes, adapter.skip_rows)
    end: int | None = start
    if adapter.fieldnames is None:
        end = records_end(path, start, size, Characters.of(adapter.dialect))
    if end is None:
        return size  # no record follows
    if not end:
        return 0
    try:
        head = OpenCSV(adapter, replace(file.piece, start=0, stop=end))
    except SourceError:
        return None
    with_rest = head.body.read(1)
    head.close()
    return None if with_rest or head.names != file.names else end


def _skip_lines(path: str, start: int, count: int) -> int:
    """The place behind `count` physical lines from `start` on."""
    wanted = HEAD_BYTES
    with open_bytes(path) as raw:
        while count:
            raw.seek(start)
            data = raw.read(wanted)
            ends = [match.end() for match in re.finditer(rb"\r\n|\r|\n", data)]
            if ends and ends[-1] == len(data) and data.endswith(b"\r"):
                ends.pop()  # its LF may come next
            if len(ends) >= count:
                return start + ends[count - 1]
            if len(data) < wanted:
                return start + len(data)
            wanted *= 2
    return start
