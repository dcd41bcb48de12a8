"""Where CSV files can be cut: at a record, wherever line breaks stand within quotes.

A part reads the header of its file, then its own bytes, and numbers its rows as the whole file does. That takes knowing
how many records lie before it: all stretches of a file are scanned once (see `csv_scan`), many at a time if there is
somebody to do so, and nothing but byte positions and counts is kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from zoopipe_core.adapters.base import Scan
from zoopipe_core.adapters.byte_ranges import find_breaks, open_bytes, why_not_cut
from zoopipe_core.adapters.csv_file import OpenCSV
from zoopipe_core.adapters.csv_scan import Characters, Stretch, chain, reach, records_end, scan_stretch
from zoopipe_core.adapters.splitting import Cut, Cuts, Piece
from zoopipe_core.errors import SourceError
from zoopipe_core.kernels.records import START

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv import CSVInputAdapter

__all__ = ["cut_csv"]

HEAD_BYTES = 2**16


def cut_csv(adapter: CSVInputAdapter, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
    """Where a file can be cut: at the first record that begins at or behind each target."""
    try:
        file = OpenCSV(adapter, piece)
        file.close()
        reason = why_not_cut(file.source, file.encoding)
        if reason is not None:
            return Cuts(reason=reason)
        size = piece.size or 0
        body = _body_start(file, size)
        if body is None:
            return Cuts(reason="has a header whose end is not certain")
        characters = Characters.of(adapter.dialect)
        end = size
        if adapter.limit is not None:
            end = reach(Stretch(piece.path, body, size, characters), adapter.limit)
        targets = [body + (end - body) * target // size for target in targets]
        places = find_breaks(piece.path, targets, body, end, characters.breaks)
        stretches = [Stretch(piece.path, start, stop, characters) for start, stop in pairwise([body, *places])]
        cuts, state, row = chain(stretches, scan(scan_stretch, stretches))
        if places:
            cuts += _last_cut(Stretch(piece.path, places[-1], end, characters), state, row)
    except SourceError as error:  # its reader meets it at the right place
        return Cuts(reason=f"is left whole, since it cannot be read: {error}")
    return Cuts(tuple(cut for cut in cuts if adapter.limit is None or cut.first_row <= adapter.limit))


def _last_cut(stretch: Stretch, state: int, row: int) -> list[Cut]:
    """The cut of the last stretch, of which nothing else has to be known: how it is entered, and with which record."""
    if state == START:
        return [Cut(stretch.start, row)]
    end = records_end(stretch, state)
    return [] if end is None or end >= stretch.stop else [Cut(end, row + 1)]


def _body_start(file: OpenCSV, size: int) -> int | None:
    """The place of the first byte behind the header, at most `size`; None if it cannot be told.

    The header is read by rules of its own. So its end is looked for in the bytes, and believed if a file that ends
    there has the same header and nothing behind it.
    """
    adapter, path = file.adapter, file.piece.path
    start = _skip_lines(path, file.mark_bytes, adapter.skip_rows)
    end: int | None = start
    if adapter.fieldnames is None:
        end = records_end(Stretch(path, start, size, Characters.of(adapter.dialect)))
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
