"""Where the cells of CSV text are: records cut into fields, with the meaning of quotes that pyarrow's parser has.

A quote means something only at the start of a field; behind a closing quote, text goes on as it stands. LF, CR and CRLF
end a record outside quotes, and a record of no bytes is none. An escape character is not known here.

The bytes are looked at 64 at a time: a mask has a bit for each delimiter, quote, CR and LF among them, and only those
are visited. That is the first stage of Langdale and Lemire, "Parsing Gigabytes of JSON per Second" (2019).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import INT32, INT64, INT64_SCALAR, OFFSETS, UINT8, device, kernel
from zoopipe_core.kernels.instructions import WINDOW, lowest, where_below, where_equal
from zoopipe_core.kernels.swar import PLACE

__all__ = ["CONTROLS", "FAULT_NUMBERS", "MARGIN", "NOT_ASCII", "split_fields"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]

MARGIN = 64
"""Bytes that may be read behind the text."""
FAULT_NUMBERS = 4
"""What is told of a record that is no row."""

# What there may be in cells, as bits:
CONTROLS = 1
"""A backslash, or a control character that is no line break."""
NOT_ASCII = 2
"""Bytes above 127."""

_NEWLINE, _RETURN = 10, 13
_BACKSLASH, _BLANK, _BEYOND_ASCII = 92, 32, 128
_NOTHING = np.uint64(0)
_1 = np.uint64(1)


@device
def _unquote(data: Bytes, start: int, end: int, quote: int, doubled: int, out: int) -> int:
    """Write what the field ``data[start:end]`` means, whose opening quote is gone, at `out`; where that ends."""
    quoted = True
    at = start
    while at < end:
        byte = data[at]
        at += 1
        if quoted and byte == quote:
            if doubled != 0 and at < end and data[at] == quote:
                at += 1
            else:
                quoted = False
                continue
        data[out] = byte
        out += 1
    return out


@kernel(UINT8, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, OFFSETS, INT32, INT32, UINT8, INT64, INT64)
def split_fields(
    data: Bytes,
    delimiter: int,
    quote: int,
    doubled: int,
    slots: Offsets,
    starts: Offsets,
    ends: Offsets,
    marked: Bytes,
    faults: Numbers,
    notes: Numbers,
) -> None:
    """Find the cells of the records that end in a stretch of CSV text.

    Stops in front of a record that does not end, or when there is no room for another row or fault.

    data: the text, `MARGIN` blanks behind it, and behind ``notes[2]`` room for as many bytes as the text has:
    cells with more in their quotes than plain text are written there, as what they mean.
    quote: -1 for none.  doubled: 1 if two quotes within quotes are one.
    slots: int32 (width,), where each column goes among the `k` wanted ones; -1 for one that nobody wants.
    starts, ends: int32 (k * capacity,), written: of the cell of the wanted column j in row i at ``j * capacity + i``.
    If no column is wanted, their length is the capacity all the same.
    marked: uint8 (k,), set to 1 for a wanted column of which a cell may have the delimiter, the quote character or a
    line break in it.
    faults: int64 (m * FAULT_NUMBERS,), written for each record that is no row: how many rows are in front of it, where
    it starts and ends, how many fields it has.
    notes: int64 (6,), read and written:
        0 where the first record starts; then, where the record that was not reached starts.
        1 where the text ends.
        2 where there is room; then, where there is room left.
        3 then, the number of rows.
        4 then, the number of faults.
        5 then, what there may be in cells: `CONTROLS`, `NOT_ASCII`.
    """
    width = len(slots)
    wanted = 0
    for column in range(width):
        if slots[column] >= 0:
            wanted += 1
    capacity = len(starts) // max(wanted, 1)
    fault_capacity = len(faults) // FAULT_NUMBERS
    mark = quote if quote >= 0 else delimiter

    base = int(notes[0])
    size = int(notes[1])
    room = int(notes[2])
    row = 0
    fault = 0
    begin = base  # of the record
    field = base  # of the field
    column = 0
    skip = 0  # what lies before is dealt with
    close = -1  # where the closing quote of the field is
    quoted = False
    special = False  # whether there is more in the field's quotes than plain text
    marks = False  # whether there is a delimiter, quote or line break in the field
    unusual = 0
    odd = _NOTHING
    plain = ~_NOTHING
    full = capacity == 0 or fault_capacity == 0
    while base < size and not full:
        breaks = where_equal(data, base, _NEWLINE) | where_equal(data, base, _RETURN)
        mask = where_equal(data, base, delimiter) | where_equal(data, base, mark) | breaks
        odd |= (where_below(data, base, _BLANK) | where_equal(data, base, _BACKSLASH)) & ~breaks
        plain &= where_below(data, base, _BEYOND_ASCII)
        if size - base < WINDOW:
            mask &= (_1 << np.uint64(size - base)) - _1
        while mask != _NOTHING and not full:
            at = base + lowest(mask)
            mask &= mask - _1
            if at < skip:
                continue
            byte = int(data[at & PLACE])
            if quoted:
                if byte == quote:
                    if doubled != 0 and at + 1 < size and data[at + 1] == quote:
                        skip = at + 2
                        special = True
                    else:
                        quoted = False
                        close = at
                else:
                    marks = True
                continue
            if byte == quote:
                quoted = at == field
                marks |= not quoted
                continue
            after = at + 1
            if byte == _RETURN:
                if after == size:  # its LF may come next
                    full = True
                    break
                if data[after] == _NEWLINE:
                    after += 1
                    skip = after
            if column < width:
                slot = int(slots[column])
                if slot >= 0:
                    place = (slot * capacity + row) & PLACE
                    if close < 0:
                        starts[place] = field
                        ends[place] = at
                    elif close + 1 == at and not special:
                        starts[place] = field + 1
                        ends[place] = close
                    else:
                        starts[place] = room
                        marks = True
                        room = _unquote(data, field + 1, at, quote, doubled, room)
                        ends[place] = room
                    if marks:
                        marked[slot] = 1
            close = -1
            special = False
            marks = False
            column += 1
            field = after
            if byte != delimiter:
                if at == begin:
                    pass  # a blank line
                elif column == width:
                    row += 1
                else:
                    faults[fault * FAULT_NUMBERS] = row
                    faults[fault * FAULT_NUMBERS + 1] = begin
                    faults[fault * FAULT_NUMBERS + 2] = at
                    faults[fault * FAULT_NUMBERS + 3] = column
                    fault += 1
                begin = after
                column = 0
                full = row == capacity or fault == fault_capacity
        base += WINDOW
    notes[0] = begin
    notes[2] = room
    notes[3] = row
    notes[4] = fault
    if odd != _NOTHING:
        unusual |= CONTROLS
    if ~plain != _NOTHING:
        unusual |= NOT_ASCII
    notes[5] = unusual
