"""Texts: valid UTF-8, lengths, stripping, case, and words of a fixed list.

Every kernel takes ``(data, starts, ends, ..., state)``: cell i is the bytes ``data[starts[i]:ends[i]]``; cells whose
state is not `SURE` on entry are passed over. All but `check_utf8` trust their cells to be UTF-8 as Python writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import (
    BYTES,
    INT32,
    INT64_SCALAR,
    OFFSETS,
    SURE,
    UINT8,
    UNSURE,
    device,
    kernel,
)
from zoopipe_core.kernels.swar import HIGH_BITS, PLACE, eight_bytes

__all__ = [
    "Words",
    "check_length",
    "check_utf8",
    "find_word",
    "is_utf8",
    "lower_ascii",
    "match_words",
    "strip_ascii",
    "upper_ascii",
    "word_table",
]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
State = npt.NDArray[np.uint8]

NO_LIMIT = -1
RUN = 64
"""Cells that follow each other without a gap and are looked at as one text first."""

TAB, RETURN, BLANK, UPPER_A, UPPER_Z, LOWER_A, LOWER_Z = b"\t\r AZaz"
CASE = 32
"""The bit by which ASCII letters of either case differ."""


# ---- runs of ASCII ---------------------------------------------------------------------------------------------------


@device
def _run_end(starts: Offsets, ends: Offsets, first: int, count: int) -> int:
    """One past the last cell of up to RUN that follow each other in memory, from cell `first` on."""
    last = min(first + RUN, count)
    i = first + 1
    while i < last and starts[i] == ends[i - 1] and ends[i] >= starts[i]:
        i += 1
    return i


@device
def _is_ascii(data: Bytes, at: int, end: int) -> bool:
    """Whether ``data[at:end]`` is all ASCII."""
    while end - at >= 8:
        if eight_bytes(data, at) & HIGH_BITS != 0:
            return False
        at += 8
    while at < end:
        if data[at] > 127:
            return False
        at += 1
    return True


# ---- UTF-8 -----------------------------------------------------------------------------------------------------------


@device
def is_utf8(data: Bytes, at: int, end: int) -> bool:
    """Whether ``data[at:end]`` is what Python decodes: no surrogates, no overlong forms, nothing above U+10FFFF."""
    while at < end:
        lead = int(data[at])
        if lead < 0x80:
            at += 8 if end - at >= 8 and eight_bytes(data, at) & HIGH_BITS == 0 else 1
            continue
        if lead < 0xC2 or lead > 0xF4:
            return False
        size = 2 + int(lead >= 0xE0) + int(lead >= 0xF0)
        if end - at < size:
            return False
        second = int(data[at + 1])
        low = 0x80
        high = 0xBF
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
        elif lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
        if second < low or second > high:
            return False
        if size > 2 and int(data[at + 2]) >> 6 != 2:
            return False
        if size > 3 and int(data[at + 3]) >> 6 != 2:
            return False
        at += size
    return True


@kernel(BYTES, OFFSETS, OFFSETS, UINT8)
def check_utf8(data: Bytes, starts: Offsets, ends: Offsets, state: State) -> None:
    """UNSURE for cells that are not UTF-8, strictly as Python decodes it."""
    count = len(state)
    i = 0
    while i < count:
        after = _run_end(starts, ends, i, count)
        if not _is_ascii(data, int(starts[i]) & PLACE, int(ends[after - 1])):
            for k in range(i, after):
                if state[k] == SURE and not is_utf8(data, int(starts[k]) & PLACE, int(ends[k])):
                    state[k] = UNSURE
        i = after


# ---- lengths ---------------------------------------------------------------------------------------------------------


@device
def _count_chars(data: Bytes, at: int, end: int) -> int:
    """Code points: every byte but those that continue one."""
    chars = 0
    for k in range(at, end):
        chars += int(int(data[k]) >> 6 != 2)
    return chars


@kernel(BYTES, OFFSETS, OFFSETS, INT64_SCALAR, INT64_SCALAR, UINT8)
def check_length(data: Bytes, starts: Offsets, ends: Offsets, min_chars: int, max_chars: int, state: State) -> None:
    """UNSURE for cells with fewer than `min_chars` or more than `max_chars` code points; -1 is no limit."""
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        start = int(starts[i]) & PLACE
        end = int(ends[i])
        size = end - start
        if size < min_chars:
            state[i] = UNSURE
            continue
        # A code point takes one to four bytes: most cells need no counting.
        short_enough = max_chars == NO_LIMIT or size <= max_chars
        if short_enough and size >= 4 * min_chars - 3:
            continue
        if not short_enough and size > 4 * max_chars:
            state[i] = UNSURE
            continue
        chars = _count_chars(data, start, end)
        if chars < min_chars or (max_chars != NO_LIMIT and chars > max_chars):
            state[i] = UNSURE


# ---- stripping -------------------------------------------------------------------------------------------------------


@device
def _is_wide_space(data: Bytes, at: int, end: int) -> bool:
    """Whether a white space character beyond ASCII starts at `at`: those with Unicode's property White_Space."""
    lead = int(data[at])
    if lead == 0xC2:
        return end - at >= 2 and (data[at + 1] == 0x85 or data[at + 1] == 0xA0)
    if lead < 0xE1 or lead > 0xE3 or end - at < 3:
        return False
    second = int(data[at + 1])
    third = int(data[at + 2])
    if lead == 0xE1:
        return second == 0x9A and third == 0x80
    if lead == 0xE3:
        return second == 0x80 and third == 0x80
    if second == 0x81:
        return third == 0x9F
    return second == 0x80 and (third <= 0x8A or third == 0xA8 or third == 0xA9 or third == 0xAF)


@kernel(BYTES, OFFSETS, OFFSETS, INT32, INT32, UINT8)
def strip_ascii(
    data: Bytes, starts: Offsets, ends: Offsets, new_starts: Offsets, new_ends: Offsets, state: State
) -> None:
    """Where cells start and end without white space around them. UNSURE if some of it is not ASCII.

    Pydantic strips what Unicode calls White_Space, which unlike Python's ``str.strip`` leaves U+001C to U+001F alone.

    new_starts, new_ends: int32 (n,); for cells that are not SURE those of the whole cell.
    """
    for i in range(len(state)):
        at = int(starts[i]) & PLACE
        end = int(ends[i])
        new_starts[i] = at
        new_ends[i] = end
        if state[i] != SURE:
            continue
        while at < end and (data[at] == BLANK or (data[at] >= TAB and data[at] <= RETURN)):
            at += 1
        while end > at and (data[end - 1] == BLANK or (data[end - 1] >= TAB and data[end - 1] <= RETURN)):
            end -= 1
        if end > at and (data[at] > 127 or data[end - 1] > 127):
            wide = _is_wide_space(data, at, end)
            if end - at >= 2:
                wide = wide or (data[end - 2] == 0xC2 and _is_wide_space(data, end - 2, end))
            if end - at >= 3:
                wide = wide or (data[end - 3] > 0xE0 and _is_wide_space(data, end - 3, end))
            if wide:
                state[i] = UNSURE
                continue
        new_starts[i] = at
        new_ends[i] = end


# ---- case ------------------------------------------------------------------------------------------------------------


@device
def _change_case(data: Bytes, starts: Offsets, ends: Offsets, first: int, out: Bytes, state: State) -> None:
    """Write cells to `out` with the case of the letters from `first` to 25 after it changed."""
    count = len(state)
    i = 0
    while i < count:
        after = _run_end(starts, ends, i, count)
        seen = 0
        for k in range(int(starts[i]) & PLACE, int(ends[after - 1])):
            byte = int(data[k])
            seen |= byte
            out[k] = byte ^ (CASE * int(byte >= first and byte <= first + 25))
        if seen > 127:
            for k in range(i, after):
                if state[k] == SURE and not _is_ascii(data, int(starts[k]) & PLACE, int(ends[k])):
                    state[k] = UNSURE
        i = after


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, UINT8)
def lower_ascii(data: Bytes, starts: Offsets, ends: Offsets, out: Bytes, state: State) -> None:
    """ASCII cells in lower case. Others are UNSURE.

    out: uint8 (m,), as long as `data`: a cell is at its old place. Bytes outside cells mean nothing.
    """
    _change_case(data, starts, ends, UPPER_A, out, state)


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, UINT8)
def upper_ascii(data: Bytes, starts: Offsets, ends: Offsets, out: Bytes, state: State) -> None:
    """ASCII cells in upper case. Others are UNSURE.

    out: uint8 (m,), as long as `data`: a cell is at its old place. Bytes outside cells mean nothing.
    """
    _change_case(data, starts, ends, LOWER_A, out, state)


# ---- words of a list -------------------------------------------------------------------------------------------------


class Words(NamedTuple):
    """A list of words as `match_words` takes it.

    Attributes:
        data: uint8 (m,), the words one after the other.
        starts, ends: int32 (w,), where word i is in `data`.
        slots: int32 (a power of two,), the index of a word at the place that its hash tells, or at the next free one;
            -1 is free.
    """

    data: Bytes
    starts: Offsets
    ends: Offsets
    slots: Offsets


@device
def _hash(data: Bytes, start: int, end: int) -> int:
    code = end - start
    for k in range(start, end):
        code = (code * 0x01000193 + int(data[k])) & 0x7FFF_FFFF
    return code ^ (code >> 15)


def word_table(words: Sequence[bytes]) -> Words:
    """Prepare words for `match_words`. Of equal words the first one counts.

    >>> table = word_table([b"red", b"green"])
    >>> table.ends.tolist()
    [3, 8]
    """
    data = np.frombuffer(b"".join(words), np.uint8)
    bounds = np.zeros(len(words) + 1, np.int32)
    np.cumsum([len(word) for word in words], out=bounds[1:])
    size = 4
    while size < 4 * len(words):
        size *= 2
    slots = np.full(size, -1, np.int32)
    seen: set[bytes] = set()
    for index, word in enumerate(words):
        if word in seen:
            continue
        seen.add(word)
        slot = _hash(data, int(bounds[index]), int(bounds[index + 1])) & (size - 1)
        while slots[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        slots[slot] = index
    return Words(data, bounds[:-1], bounds[1:], slots)


@device
def _equal(data: Bytes, start: int, end: int, words: Bytes, at: int, word_end: int) -> bool:
    """Whether a cell and a word are the same bytes."""
    if end - start != word_end - at:
        return False
    while start < end and data[start] == words[at]:
        start += 1
        at += 1
    return start == end


@device
def find_word(
    data: Bytes, start: int, end: int, words: Bytes, word_starts: Offsets, word_ends: Offsets, slots: Offsets
) -> int:
    """The index of the word that ``data[start:end]`` is, -1 if it is none. The arrays are those of a `word_table`."""
    mask = len(slots) - 1
    slot = _hash(data, start, end) & mask
    word = int(slots[slot])
    while word >= 0 and not _equal(data, start, end, words, int(word_starts[word]) & PLACE, int(word_ends[word])):
        slot = (slot + 1) & mask
        word = int(slots[slot])
    return word


@kernel(BYTES, OFFSETS, OFFSETS, BYTES, OFFSETS, OFFSETS, OFFSETS, INT32, UINT8)
def match_words(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    words: Bytes,
    word_starts: Offsets,
    word_ends: Offsets,
    slots: Offsets,
    out: Offsets,
    state: State,
) -> None:
    """Which of a list of words a cell is. Cells that are none of them are UNSURE.

    words, word_starts, word_ends, slots: the arrays of a `word_table`.
    out: int32 (n,), the index of the word.
    """
    for i in range(len(state)):
        if state[i] != SURE:
            continue
        word = find_word(data, int(starts[i]) & PLACE, int(ends[i]), words, word_starts, word_ends, slots)
        if word < 0:
            state[i] = UNSURE
        else:
            out[i] = word
