"""How inputs of files are split: which files, or which pieces of them, go into which part. No format is known here.

    a.csv ████████████████████████ b.csv ███ c.csv ██ d.csv █████████      all files in a row, by size
         |       part 1      |           part 2        |   part 3   |      cut near equal sizes

A cut that falls into a file is made at the nearest place that its format allows, and moves to an end of the file where
there is none. What has to be known of a piece is found when the input is split; whoever opens it makes sure that the
file is still the same.
"""

from __future__ import annotations

import os
import stat
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Protocol

from zoopipe_core.adapters.paths import filesystem_of, is_url, local_path, strip_credentials
from zoopipe_core.errors import SourceError

__all__ = [
    "Cut",
    "Cutter",
    "Cuts",
    "Piece",
    "Stamp",
    "cut_between",
    "deal",
    "nearest_bounds",
    "split_files",
    "stamp_of",
    "why_fewer",
]

# A cut this near to the end of a file, as a share of a part, is not worth reading the file twice.
NEAR = 0.1
SHOWN_REASONS = 3


@dataclass(frozen=True, slots=True)
class Stamp:
    """What tells one state of a file from another.

    Attributes:
        size: in bytes.
        mark: the time of its last change in nanoseconds; of a remote file what its file system gives instead.
    """

    size: int
    mark: int | str


def stamp_of(path: str) -> Stamp | None:
    """The present state of a file; None for a pipe, and for a remote file of unknown size.

    Raises:
        SourceError: the file is not there, or cannot be looked at.
    """
    try:
        if is_url(path):
            filesystem, name = filesystem_of(path)
            size = filesystem.info(name).get("size")
            return None if size is None else Stamp(int(size), str(filesystem.ukey(name)))
        status = os.stat(local_path(path))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise SourceError(f"{strip_credentials(path)} cannot be looked at: {reason}") from error
    return Stamp(status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


@dataclass(frozen=True, slots=True)
class Piece:
    """A file, or a piece of one.

    Attributes:
        path: where it is.
        stamp: its state when it was split; None: not to be checked.
        first_row: the number of the piece's first record in its file.
        start, stop: which piece: bytes, row groups or batches. None: from the beginning, to the end.
    """

    path: str
    stamp: Stamp | None = None
    first_row: int = 1
    start: int | None = None
    stop: int | None = None

    @property
    def size(self) -> int | None:
        """Bytes of a file, or of a piece of it that is measured in bytes."""
        if self.stop is not None:
            return self.stop - (self.start or 0)
        return None if self.stamp is None else self.stamp.size - (self.start or 0)

    def check(self) -> None:
        """Make sure that the file is as it was.

        Raises:
            SourceError: it is not.
        """
        if self.stamp is not None and stamp_of(self.path) != self.stamp:
            raise SourceError(
                f"{strip_credentials(self.path)} has changed since it was split into parts; its records are no longer "
                "where they were found. Run the load again, on a file that nobody writes to"
            )


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a file can be cut: `start` of the piece behind it, and the number of the first record there."""

    start: int
    first_row: int


@dataclass(frozen=True, slots=True)
class Cuts:
    """The cuts of one file, rising; none if it stays whole. `reason` says why there are not as many as wanted."""

    cuts: tuple[Cut, ...] = ()
    reason: str | None = None


class Cutter(Protocol):
    """Finds where a file can be cut."""

    def __call__(self, piece: Piece, targets: Sequence[int], /) -> Cuts:
        """Cuts near to `targets`, bytes within the whole file `piece`, at most as many; none at its ends.

        A file that cannot be read is not cut: its reader will say what is wrong.
        """
        ...


@dataclass(slots=True)
class Plan:
    """Where a row of files is to be cut: in front of files (by index), and within files (index -> bytes)."""

    edges: set[int] = field(default_factory=set)
    inside: dict[int, list[int]] = field(default_factory=dict)


def deal(sizes: Sequence[int], count: int) -> Plan:
    """Cut a row of files of these sizes into at most `count` parts of about equal size.

    >>> deal([100, 10, 10, 80], 2)
    Plan(edges={1}, inside={})
    >>> deal([1000], 4)
    Plan(edges=set(), inside={0: [250, 500, 750]})
    """
    if not any(sizes):
        sizes = [1] * len(sizes)
    ends = list(accumulate(sizes))
    share = ends[-1] / count
    plan = Plan()
    for place in range(1, count):
        at = ends[-1] * place // count
        index = bisect_right(ends, at)
        offset = at - ends[index] + sizes[index]
        if offset <= NEAR * share:
            plan.edges.add(index)
        elif sizes[index] - offset <= NEAR * share:
            plan.edges.add(index + 1)
        elif offset not in plan.inside.setdefault(index, []):
            plan.inside[index].append(offset)
    plan.edges -= {0, len(sizes)}
    return plan


def split_files(paths: Sequence[str], count: int, cut: Cutter) -> tuple[list[tuple[Piece, ...]], list[str]]:
    """Files in at most `count` parts, each of them consecutive pieces; and why there are fewer, if somebody said so.

    Raises:
        SourceError: a file is not there.
    """
    files = [Piece(path, stamp_of(path)) for path in paths]
    plan = deal([file.size or 0 for file in files], count)
    reasons: list[str] = []
    found: dict[int, Cuts] = {}
    for index, targets in plan.inside.items():
        file = files[index]
        found[index] = cuts = cut(file, targets)
        if cuts.reason is not None:
            reasons.append(f"{strip_credentials(file.path) if len(files) > 1 else 'it'} {cuts.reason}")
        if not cuts.cuts:
            plan.edges |= {index if 2 * target < (file.size or 0) else index + 1 for target in targets}
    parts: list[list[Piece]] = [[]]
    for index, file in enumerate(files):
        if index in plan.edges and parts[-1]:
            parts.append([])
        first, *others = _pieces(file, found.get(index, Cuts()).cuts)
        parts[-1].append(first)
        parts.extend([piece] for piece in others)
    return [tuple(part) for part in parts], reasons


def nearest_bounds(weights: Sequence[int], shares: Sequence[float]) -> list[int]:
    """Where a row of things that cannot be cut themselves is cut nearest to `shares` of it, 0 to 1; rising indices.

    >>> nearest_bounds([10, 10, 10, 10, 10], [0.25, 0.5, 0.75])
    [1, 2, 4]
    """
    ends = [0, *accumulate(weights)]
    places = [share * ends[-1] for share in shares]
    nearest = {min(range(len(ends)), key=lambda index: abs(ends[index] - place)) for place in places}
    return sorted(nearest - {0, len(weights)})


def cut_between(
    rows: Sequence[int], weights: Sequence[int], shares: Sequence[float], limit: int | None, what: str
) -> Cuts:
    """Cuts between row groups or batches, which are not cut themselves.

    Args:
        rows: how many each has.
        weights: how large each is.
        shares: where cuts are wanted, 0 to 1.
        limit: rows that are read at most; None: all.
        what: what they are called.
    """
    firsts = [1, *(1 + before for before in accumulate(rows))]
    read = len(rows) if limit is None else sum(first <= limit for first in firsts[:-1])
    cuts = tuple(Cut(index, firsts[index]) for index in nearest_bounds(weights[:read], shares))
    if len(cuts) == len(shares):
        return Cuts(cuts)
    some = "no" if not read else f"{read:,}" if limit is None else f"{read:,} within its limit"
    return Cuts(cuts, f"has {some} {what}{'' if read == 1 else 's' if what[-1] != 'h' else 'es'}, which are not cut")


def _pieces(file: Piece, cuts: Sequence[Cut]) -> list[Piece]:
    if not cuts:
        return [file]
    stops = [*(cut.start for cut in cuts), None]
    pieces = [replace(file, start=0, stop=stops[0])]
    for cut, stop in zip(cuts, stops[1:], strict=True):
        pieces.append(replace(file, first_row=cut.first_row, start=cut.start, stop=stop))
    return pieces


def why_fewer(label: str, parts: int, count: int, reasons: Sequence[str]) -> str | None:
    """What a `Split` notes; None if it has as many parts as were asked for."""
    if parts >= count:
        return None
    shown = list(reasons[:SHOWN_REASONS])
    if len(reasons) > len(shown):
        shown.append(f"and {len(reasons) - len(shown)} more files like these")
    why = "; ".join(shown) or "it is too small for more, or its records are too long"
    return f"{label} is read in {parts} part{'s' if parts > 1 else ''} and not in {count}: {why}"
