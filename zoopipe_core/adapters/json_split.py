"""Where JSON files can be cut: JSON Lines behind a line end, arrays nowhere.

A line end is never within a record, so that files could be cut without being read; but rows are numbered as in the
whole file, and that takes counting the lines before each part, many stretches at a time if there is somebody to do so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from zoopipe_core.adapters.base import Scan
from zoopipe_core.adapters.byte_ranges import Bytes, blocks_of, find_breaks, open_bytes, why_not_cut
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.json import JSONInputAdapter
from zoopipe_core.adapters.json_reader import file_encoding
from zoopipe_core.adapters.splitting import Cut, Cuts, Piece
from zoopipe_core.errors import SourceError
from zoopipe_core.kernels.records import BLANK_LINE, VISIBLE_LINE, scan_lines
from zoopipe_core.kernels.switch import SWITCH

if TYPE_CHECKING:
    Notes = npt.NDArray[np.int64]

__all__ = ["LineStretch", "count_block", "count_lines", "cut_json", "reach"]

# How many bytes of JSON stand for a row, where kernels are loaded for so many rows.
BYTES_PER_ROW = 128
_LINE_END = re.compile(rb"\n")
_VISIBLE = np.array([byte not in b" \t\r\n" for byte in range(256)])


def cut_json(adapter: JSONInputAdapter, piece: Piece, targets: Sequence[int], scan: Scan) -> Cuts:
    """Where a file can be cut: at the first line that begins at or behind each target."""
    if adapter.format == "array":
        return Cuts(reason="is one JSON array, whose elements are only found by reading it from its beginning")
    try:
        encoding, mark_bytes = file_encoding(adapter, piece.path)
        source = ByteSource(piece.path, adapter.compression, adapter.limits)
        source.close()
        reason = why_not_cut(source, encoding)
        if reason is not None:
            return Cuts(reason=reason)
        end = size = piece.size or 0
        if adapter.limit is not None:
            end = reach(LineStretch(piece.path, mark_bytes, size), adapter.limit)
        targets = [mark_bytes + (end - mark_bytes) * target // size for target in targets]
        places = find_breaks(piece.path, targets, mark_bytes, end, _LINE_END)
        bounds = pairwise([mark_bytes, *places])
        counts = scan(count_lines, [LineStretch(piece.path, start, stop) for start, stop in bounds])
    except SourceError as error:  # its reader meets it at the right place
        return Cuts(reason=f"is left whole, since it cannot be read: {error}")
    firsts = accumulate(counts, initial=1)
    next(firsts)
    cuts = [Cut(place, first) for place, first in zip(places, firsts, strict=True)]
    return Cuts(tuple(cut for cut in cuts if adapter.limit is None or cut.first_row <= adapter.limit))


@dataclass(frozen=True, slots=True)
class LineStretch:
    """Bytes `start` to `stop` of a file, both behind a line end or at an end of the file."""

    path: str
    start: int
    stop: int


def count_lines(stretch: LineStretch) -> int:
    """How many lines of a stretch have something in them.

    Raises:
        SourceError: the file cannot be read.
    """
    use_kernel = SWITCH.ready((stretch.stop - stretch.start) // BYTES_PER_ROW)
    notes = np.array([BLANK_LINE, 0], np.int64)
    with open_bytes(stretch.path) as file:
        for _, block in blocks_of(file, stretch.start, stretch.stop):
            (scan_lines if use_kernel else count_block)(block, notes)
    return int(notes[1])


def reach(stretch: LineStretch, records: int) -> int:
    """A place within a stretch before which so many records end; else its end.

    Raises:
        SourceError: the file cannot be read.
    """
    use_kernel = SWITCH.ready(records)
    notes = np.array([BLANK_LINE, 0], np.int64)
    if not records:
        return stretch.start
    with open_bytes(stretch.path) as file:
        for position, block in blocks_of(file, stretch.start, stretch.stop):
            (scan_lines if use_kernel else count_block)(block, notes)
            if notes[1] >= records:
                return position + len(block)
    return stretch.stop


def count_block(data: Bytes, notes: Notes) -> None:
    """`kernels.records.scan_lines` for NumPy."""
    ends = np.flatnonzero(data == ord("\n"))
    starts = np.concatenate(([0], ends + 1))
    if len(starts) and starts[-1] == len(data):
        starts = starts[:-1]
    if not len(starts):
        return
    # Most lines begin with something; where none begins with a blank, nothing else has to be looked at.
    visible = data[starts] > ord(" ")
    if not visible.all():
        visible = np.logical_or.reduceat(_VISIBLE[data], starts)
    visible[0] |= notes[0] == VISIBLE_LINE
    notes[0] = VISIBLE_LINE if len(ends) < len(starts) and visible[-1] else BLANK_LINE
    notes[1] += int(np.count_nonzero(visible[: len(ends)]))
