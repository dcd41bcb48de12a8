"""Looking at stretches of raw files: in blocks, and for the places where they can be cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from zoopipe_core.adapters.encodings import is_ascii_based
from zoopipe_core.adapters.files import ByteSource, open_raw, reading

__all__ = ["Bytes", "blocks_of", "find_breaks", "open_bytes", "why_not_cut"]

Bytes = npt.NDArray[np.uint8]

# It stays in the cache of a core between being copied and being scanned.
BLOCK_BYTES = 2**18
SEARCH_BYTES = 2**16
_RETURN = ord("\r")


@contextmanager
def open_bytes(path: str) -> Iterator[Any]:
    """The raw file, which can be moved about in if it is `seekable`.

    Raises:
        SourceError: it cannot be read.
    """
    with reading(path):
        file, _ = open_raw(path)
        try:
            yield file
        finally:
            file.close()


def why_not_cut(source: ByteSource, encoding: str) -> str | None:
    """Why a file that holds text in `encoding` can only be read from its beginning; None if it can be cut.

    Raises:
        SourceError: it cannot be read.
    """
    if source.compression is not None:
        return f"is {source.compression} data, which can only be read from its beginning"
    if not is_ascii_based(encoding):
        return f"is in {encoding}, whose records are only found by reading it from its beginning"
    with open_bytes(source.path) as raw:
        return None if raw.seekable() else "can only be read from its beginning"


def blocks_of(file: Any, start: int, stop: int) -> Iterator[tuple[int, Bytes]]:
    """The bytes `start` to `stop` in blocks, with their places in the file; none ends between CR and LF."""
    position, held = start, b""
    file.seek(start)
    while position + len(held) < stop:
        data = file.read(min(BLOCK_BYTES, stop - position - len(held)))
        if not data:
            break
        data, held = (held + data if held else data), b""
        if data[-1] == _RETURN and position + len(data) < stop:
            data, held = data[:-1], b"\r"
        if data:
            yield position, np.frombuffer(data, np.uint8)
        position += len(data)
    if held:
        yield position, np.frombuffer(held, np.uint8)


def find_breaks(path: str, targets: Sequence[int], first: int, size: int, pattern: re.Pattern[bytes]) -> list[int]:
    """Places behind a line break: for each target the first at or behind it.

    Only places above `first` and below `size` count, and only those in front of the next target; where there is none,
    the target has no place. `pattern` matches one line break; it may look at one byte on either side of it.

    Raises:
        SourceError: the file cannot be read.
    """
    places: list[int] = []
    with open_bytes(path) as file:
        for target, limit in zip(targets, [*targets[1:], size], strict=True):
            place = _next_break(file, pattern, max(target, first + 1), min(limit, size))
            if place is not None:
                places.append(place)
    return places


def _next_break(file: Any, pattern: re.Pattern[bytes], at: int, limit: int) -> int | None:
    """The first place from `at` on, and below `limit`, that lies behind what `pattern` matches."""
    while at < limit:
        begin = max(0, at - 2)
        file.seek(begin)
        data = file.read(at - begin + SEARCH_BYTES)
        match = pattern.search(data, at - begin - 1)
        if match is not None and match.end() < len(data):  # at the end, what follows may belong to it
            place = begin + match.end()
            return place if place < limit else None
        if begin + len(data) <= at:  # the file has become shorter
            break
        at = begin + len(data)
    return None
