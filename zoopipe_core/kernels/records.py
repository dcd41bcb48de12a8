"""Where records end: in CSV text, from the start of a record or from within quotes, and in lines.

A quote means something only at the start of a field; behind a closing quote, text goes on as it stands. LF, CR and CRLF
end a record outside quotes. A byte behind an escape character stands for itself. So pyarrow's parser has it.

What a block ends in is a state, from which the next block goes on. Just behind a line break that no escape character
precedes there are two possibilities only: START and QUOTED.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, INT64_SCALAR, device, kernel
from zoopipe_core.kernels.swar import HIGH_BITS, LOWEST_BITS, PLACE, eight_bytes, eight_times, unlike

__all__ = [
    "BLANK_LINE",
    "COMMENT",
    "FIELD",
    "NONE",
    "PLAIN",
    "PLAIN_ESCAPE",
    "QUOTED",
    "QUOTED_ESCAPE",
    "QUOTED_QUOTE",
    "START",
    "VISIBLE_LINE",
    "scan_lines",
    "scan_records",
]

Bytes = npt.NDArray[np.uint8]
Notes = npt.NDArray[np.int64]

NONE = -1
"""No such character in the dialect; no such place."""

START = 0
"""At the start of a record."""
QUOTED = 1
"""Within quotes."""
FIELD = 2
"""At the start of a later field."""
PLAIN = 3
"""In a field, outside quotes."""
PLAIN_ESCAPE = 4
"""The same, behind an escape character."""
QUOTED_ESCAPE = 5
"""Within quotes, behind an escape character."""
QUOTED_QUOTE = 6
"""Behind a quote within quotes, which is doubled or closes them."""
COMMENT = 7
"""In a comment."""

BLANK_LINE = 0
"""In a line that has been blank so far."""
VISIBLE_LINE = 1
"""In a line with something else than blanks."""

NEWLINE, RETURN, BLANK, TAB = 10, 13, 32, 9

_NEWLINES = np.uint64(0x0A0A0A0A0A0A0A0A)
_RETURNS = np.uint64(0x0D0D0D0D0D0D0D0D)
_NO_MARKS = np.uint64(0)
_1, _7, _8, _16, _32, _255 = (np.uint64(number) for number in (1, 7, 8, 16, 32, 255))


@device
def _first(marks: np.uint64) -> int:
    """Which byte is the first one with a mark in its high bit; 8 if none is."""
    below = ((~marks & (marks - _1)) >> _7) & LOWEST_BITS if marks != _NO_MARKS else LOWEST_BITS
    below += below >> _32
    below += below >> _16
    below += below >> _8
    return int(np.int64(below & _255))


@kernel(BYTES, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, INT64)
def scan_records(
    data: Bytes, delimiter: int, quote: int, escape: int, comment: int, doubled: int, notes: Notes
) -> None:
    """Follow the records of a block of CSV text.

    data: the block. It does not end between CR and LF.
    delimiter, quote, escape, comment: bytes; the last three may be `NONE`.  doubled: 1 if two quotes within quotes are
    one.
    notes: int64 (3,), read and written: the state; how many records have ended, blank lines and comments not counted;
    the index behind the first of them that ended in `data`, unless it is set already (not `NONE`).
    """
    size = len(data)
    if size == 0:
        return
    state, count, first_end = int(notes[0]), int(notes[1]), int(notes[2])
    at = 0
    begin = NONE  # where the record begins, if in this block
    fresh = NONE  # where a field begins, whatever stands before
    floor = 0  # from here on a delimiter ends a field
    if state == START:
        begin = 0
        fresh = 0
        state = COMMENT if data[0] == comment else PLAIN
    elif state == FIELD:
        fresh = 0
        state = PLAIN
    elif state == PLAIN_ESCAPE:
        at = 1
        floor = 1
        state = PLAIN
    elif state == QUOTED_ESCAPE:
        at = 1
        state = QUOTED
    elif state == QUOTED_QUOTE:
        if data[0] == quote:
            at = 1
            state = QUOTED
        else:
            state = PLAIN

    # What is not in the dialect is looked for as something that is.
    quotes = eight_times(quote) if quote >= 0 else _NEWLINES
    escapes = eight_times(escape) if escape >= 0 else quotes
    last = size - 8
    while at < size:
        if state == QUOTED:
            marks = _NO_MARKS
            while marks == _NO_MARKS and at <= last:
                eight = eight_bytes(data, at & PLACE)
                marks = ~(unlike(eight, quotes) & unlike(eight, escapes)) & HIGH_BITS
                at += 8
            if marks != _NO_MARKS:
                at += _first(marks) - 8
            else:
                while at < size and data[at] != quote and data[at] != escape:
                    at += 1
            if at < size:
                if data[at] == escape:
                    if at + 1 == size:
                        state = QUOTED_ESCAPE
                    at += 2
                elif at + 2 < size and data[at + 1] == delimiter and data[at + 2] == quote:
                    at += 3  # the next field is quoted too, as so often
                elif doubled != 0 and at + 1 == size:
                    state = QUOTED_QUOTE
                    at += 1
                elif doubled != 0 and data[at + 1] == quote:
                    at += 2
                else:
                    state = PLAIN
                    at += 1
                    fresh = NONE
                    floor = at
        elif state == PLAIN:
            marks = _NO_MARKS
            while marks == _NO_MARKS and at <= last:
                eight = eight_bytes(data, at & PLACE)
                breaks = unlike(eight, _NEWLINES) & unlike(eight, _RETURNS)
                marks = ~(breaks & unlike(eight, quotes) & unlike(eight, escapes)) & HIGH_BITS
                at += 8
            if marks != _NO_MARKS:
                at += _first(marks) - 8
            else:
                while (
                    at < size
                    and data[at] != NEWLINE
                    and data[at] != RETURN
                    and data[at] != quote
                    and data[at] != escape
                ):
                    at += 1
            if at < size:
                byte = int(data[at])
                if byte == quote:
                    if at == fresh or (at > floor and data[at - 1] == delimiter):
                        state = QUOTED
                    at += 1
                elif byte == escape:
                    if at + 1 == size:
                        state = PLAIN_ESCAPE
                    at += 2
                    floor = at
                else:
                    counts = at != begin
                    at += 1
                    if byte == RETURN and at < size and data[at] == NEWLINE:
                        at += 1
                    if counts:
                        count += 1
                        if first_end == NONE:
                            first_end = at
                    begin = at
                    fresh = at
                    floor = at
                    if at < size and data[at] == comment:
                        state = COMMENT
        else:
            while at < size and data[at] != NEWLINE and data[at] != RETURN:
                at += 1
            if at < size:
                at += 1
                if data[at - 1] == RETURN and at < size and data[at] == NEWLINE:
                    at += 1
                begin = at
                fresh = at
                floor = at
                if at == size or data[at] != comment:
                    state = PLAIN

    if state == PLAIN:
        if begin == size:
            state = START
        elif size > floor and data[size - 1] == delimiter:
            state = FIELD
    notes[0] = state
    notes[1] = count
    notes[2] = first_end


@kernel(BYTES, INT64)
def scan_lines(data: Bytes, notes: Notes) -> None:
    """Count the lines of a block that are not blank: blanks, tabs and CR count for nothing, LF alone ends a line.

    notes: int64 (2,), read and written: `BLANK_LINE` or `VISIBLE_LINE`; how many lines with something in them ended.
    """
    size = len(data)
    state, count = int(notes[0]), int(notes[1])
    last = size - 8
    at = 0
    while at < size:
        while (
            state == BLANK_LINE
            and at < size
            and (data[at] == BLANK or data[at] == TAB or data[at] == RETURN or data[at] == NEWLINE)
        ):
            at += 1
        if at < size:
            state = VISIBLE_LINE
            marks = _NO_MARKS
            while marks == _NO_MARKS and at <= last:
                marks = ~unlike(eight_bytes(data, at & PLACE), _NEWLINES) & HIGH_BITS
                at += 8
            if marks != _NO_MARKS:
                at += _first(marks) - 8
            else:
                while at < size and data[at] != NEWLINE:
                    at += 1
            if at < size:
                at += 1
                count += 1
                state = BLANK_LINE
    notes[0] = state
    notes[1] = count
