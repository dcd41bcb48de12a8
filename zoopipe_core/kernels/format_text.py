"""Texts with what JSON and CSV put around and into them, and texts that are already what has to be written.

The cells of a text column are the bytes ``data[starts[i]:ends[i]]``. The first pass over JSON and CSV cells marks
those that cannot be copied as they are, and checks that all are UTF-8: ``flags[0]`` (uint8, (1,)) becomes 1 if one is
not, and then nothing may be written.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, INT64_SCALAR, OFFSETS, UINT8, device, kernel
from zoopipe_core.kernels.emit import MARKED, NULL, put_bytes, put_quote
from zoopipe_core.kernels.instructions import WINDOW, where_below, where_equal
from zoopipe_core.kernels.swar import HIGH_BITS, LOW_BITS, PLACE, eight_bytes, four_bytes
from zoopipe_core.kernels.text import is_utf8

__all__ = [
    "ABOVE_ASCII",
    "BELOW_BLANK",
    "ONE_OF_TWO",
    "find_unusual",
    "size_csv_text",
    "size_json_text",
    "size_text",
    "write_csv_text",
    "write_json_text",
    "write_text",
]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Form = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]

QUOTE, BACKSLASH, ZERO, LOWER_U = b'"\\0u'
APOSTROPHE, EQUALS, PLUS, MINUS, AT, TAB, NEWLINE, RETURN = b"'=+-@\t\n\r"
PAGE = 32
"""The first character that is no control character."""
U8, U16, U32 = np.uint64(8), np.uint64(16), np.uint64(32)
ONES = np.uint64(0x0101010101010101)
ALL_BUT_SECOND_AND_THIRD = np.uint64(0xFFFFFFFFFF0000FF)

BELOW_BLANK, ONE_OF_TWO, ABOVE_ASCII = 1, 2, 4
"""What `find_unusual` finds."""
_NOTHING, _EVERYWHERE = np.uint64(0), np.uint64(0xFFFFFFFFFFFFFFFF)
_BEYOND_ASCII = 128


@kernel(BYTES, INT64_SCALAR, INT64_SCALAR, UINT8)
def find_unusual(data: Bytes, one: int, two: int, flags: Bytes) -> None:
    """What bytes there are that a format may have to treat: ``flags[0]``, uint8 (1,), written.

    one, two: bytes.
    flags: the sum of `BELOW_BLANK` (control characters), `ONE_OF_TWO` and `ABOVE_ASCII`, for those that are there.
    """
    size = len(data)
    last = size - WINDOW
    low, found, plain = _NOTHING, _NOTHING, _EVERYWHERE
    at = 0
    while at <= last:
        low |= where_below(data, at, PAGE)
        found |= where_equal(data, at, one) | where_equal(data, at, two)
        plain &= where_below(data, at, _BEYOND_ASCII)
        at += WINDOW
    flag = int(low != _NOTHING) * BELOW_BLANK + int(found != _NOTHING) * ONE_OF_TWO
    flag += int(plain != _EVERYWHERE) * ABOVE_ASCII
    while at < size:
        byte = int(data[at])
        if byte < PAGE:
            flag |= BELOW_BLANK
        if byte in (one, two):
            flag |= ONE_OF_TWO
        if byte >= _BEYOND_ASCII:
            flag |= ABOVE_ASCII
        at += 1
    flags[0] = flag


@device
def _few_bytes(data: Bytes, at: int, end: int) -> np.uint64:
    """One to seven bytes, some of them repeated to make up eight; in no particular order."""
    size = end - at
    if size >= 4:
        return four_bytes(data, at) | four_bytes(data, end - 4) << U32
    repeated = np.uint64(data[at]) * ONES & ALL_BUT_SECOND_AND_THIRD
    return repeated | np.uint64(data[at + (size >> 1)]) << U8 | np.uint64(data[end - 1]) << U16


@device
def _has_special(text: np.uint64, rise: np.uint64, first: np.uint64, second: np.uint64) -> bool:
    """Whether one of eight bytes is `first` or `second`, or so low that `rise` does not lift it above 0x7F.

    `rise`, `first` and `second` are one ASCII character or number, eight times.
    """
    fine = (text & LOW_BITS) + rise
    fine = fine & (((text ^ first) & LOW_BITS) + LOW_BITS)
    fine = fine & (((text ^ second) & LOW_BITS) + LOW_BITS)
    return bool((fine | text) & HIGH_BITS != HIGH_BITS)


@device
def _scan(data: Bytes, at: int, end: int, rise: np.uint64, first: np.uint64, second: np.uint64) -> tuple[bool, bool]:
    """Whether a cell has a special byte, see `_has_special`, and whether it has one beyond ASCII."""
    if end - at < 8:
        if at == end:
            return False, False
        text = _few_bytes(data, at, end)
        return _has_special(text, rise, first, second), text & HIGH_BITS != 0
    special = False
    seen = np.uint64(0)
    while end - at >= 8:
        text = eight_bytes(data, at)
        special |= _has_special(text, rise, first, second)
        seen |= text
        at += 8
    text = eight_bytes(data, end - 8)  # some of them for the second time
    special |= _has_special(text, rise, first, second)
    return special, (seen | text) & HIGH_BITS != 0


# ---- texts that are there already ------------------------------------------------------------------------------------


@kernel(OFFSETS, OFFSETS, UINT8, INT64_SCALAR, INT64_SCALAR, INT64)
def size_text(starts: Offsets, ends: Offsets, form: Form, quotes: int, null_width: int, sizes: Sizes) -> None:
    """Add the size of texts that are copied as they are, with `quotes` more bytes for the quotes."""
    for i in range(len(sizes)):
        sizes[i] += null_width if form[i] == NULL else int(ends[i]) - int(starts[i]) + quotes


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_text(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    form: Form,
    quote: int,
    before: Bytes,
    null: Bytes,
    cursor: Sizes,
    out: Bytes,
) -> None:
    """Copy each text, between quotes unless `quote` is 0."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        at = put_bytes(out, put_quote(out, at, quote), data, int(starts[i]) & PLACE, int(ends[i]))
        cursor[i] = put_quote(out, at, quote)


# ---- JSON ------------------------------------------------------------------------------------------------------------

FROM_BLANK = np.uint64(0x6060606060606060)
QUOTES = np.uint64(0x2222222222222222)
BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)

HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def json_escapes() -> npt.NDArray[np.uint8]:
    """uint8 (256,): the letter behind the backslash for each byte; 0 for bytes that are written as they are."""
    table = np.zeros(256, np.uint8)
    table[:PAGE] = LOWER_U
    for byte, letter in zip(b'"\\\b\f\n\r\t', b'"\\bfnrt', strict=True):
        table[byte] = letter
    table.flags.writeable = False
    return table


ESCAPES = json_escapes()


@device
def _escaped_size(data: Bytes, at: int, end: int) -> int:
    """Bytes of a cell with its escapes."""
    size = end - at
    for k in range(at, end):
        letter = int(ESCAPES[data[k]])
        if letter == LOWER_U:
            size += 5
        elif letter != 0:
            size += 1
    return size


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, UINT8, INT64_SCALAR, INT64)
def size_json_text(
    data: Bytes, starts: Offsets, ends: Offsets, form: Form, flags: Bytes, null_width: int, sizes: Sizes
) -> None:
    """Add the size of each text as a JSON string, quotes included; mark those with escapes."""
    for i in range(len(sizes)):
        if form[i] == NULL:
            sizes[i] += null_width
            continue
        start = int(starts[i]) & PLACE
        end = int(ends[i])
        escapes, beyond_ascii = _scan(data, start, end, FROM_BLANK, QUOTES, BACKSLASHES)
        if beyond_ascii and not is_utf8(data, start, end):
            flags[0] = 1
        if escapes:
            form[i] = MARKED
            sizes[i] += _escaped_size(data, start, end) + 2
        else:
            sizes[i] += end - start + 2


@device
def _put_escaped(out: Bytes, at: int, data: Bytes, start: int, end: int) -> int:
    """Copy a cell with its escapes; where it ends."""
    for k in range(start, end):
        byte = int(data[k])
        letter = int(ESCAPES[byte])
        if letter == 0:
            out[at] = byte
            at += 1
            continue
        out[at] = BACKSLASH
        out[at + 1] = letter
        at += 2
        if letter == LOWER_U:
            out[at] = ZERO
            out[at + 1] = ZERO
            out[at + 2] = HEX[byte >> 4]
            out[at + 3] = HEX[byte & 15]
            at += 4
    return at


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, BYTES, BYTES, INT64, UINT8)
def write_json_text(
    data: Bytes, starts: Offsets, ends: Offsets, form: Form, before: Bytes, null: Bytes, cursor: Sizes, out: Bytes
) -> None:
    """Write each text as a JSON string."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        out[at] = QUOTE
        start = int(starts[i]) & PLACE
        end = int(ends[i])
        if form[i] == MARKED:
            at = _put_escaped(out, at + 1, data, start, end)
        else:
            at = put_bytes(out, at + 1, data, start, end)
        out[at] = QUOTE
        cursor[i] = at + 1


# ---- CSV -------------------------------------------------------------------------------------------------------------

# Lifts all but the first sixteen control characters: line breaks are among them, and few texts have any.
FROM_16 = np.uint64(0x7070707070707070)


@device
def _is_formula(data: Bytes, at: int, end: int) -> bool:
    """Whether a spreadsheet would run the cell: it starts with one of ``= + - @``, a tab or a line break.

    The full-width forms of the first four (U+FF1D, U+FF0B, U+FF0D, U+FF20) count too.
    """
    if at == end:
        return False
    first = int(data[at])
    if first in (EQUALS, PLUS, MINUS, AT, TAB, NEWLINE, RETURN):
        return True
    if first != 0xEF or end - at < 3:
        return False
    second = int(data[at + 1])
    third = int(data[at + 2])
    return second == 0xBC and third in (0x9D, 0x8B, 0x8D, 0xA0)


@device
def _starts_with_mark(data: Bytes, at: int, end: int) -> bool:
    """Whether the cell starts with a byte order mark."""
    return end - at >= 3 and int(data[at]) == 0xEF and int(data[at + 1]) == 0xBB and int(data[at + 2]) == 0xBF


@device
def _equals(data: Bytes, at: int, end: int, text: Bytes, first: int) -> bool:
    """Whether the cell is ``text[first:]``."""
    if end - at != len(text) - first:
        return False
    same = True
    for k in range(end - at):
        same &= data[at + k] == text[first + k]
    return same


@device
def _is_apostrophe_and(data: Bytes, at: int, end: int, text: Bytes) -> bool:
    """Whether the cell with an apostrophe before it is `text`."""
    return len(text) > 0 and int(text[0]) == APOSTROPHE and _equals(data, at, end, text, 1)


@kernel(
    BYTES, OFFSETS, OFFSETS, UINT8, UINT8, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, BYTES, INT64_SCALAR, INT64
)  # fmt: skip
def size_csv_text(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    form: Form,
    flags: Bytes,
    delimiter: int,
    quote: int,
    escape_formulas: int,
    null_text: Bytes,
    null_width: int,
    sizes: Sizes,
) -> None:
    """Add the size of each text as a CSV field; mark those that are quoted.

    Quoted are an empty text, one that equals `null_text`, one with a delimiter, a quote or a line break in it, and one
    that starts with a byte order mark. If `escape_formulas` is 1, an apostrophe comes before formulas. What is written
    for null may be another text, of `null_width` bytes.
    """
    delimiters = np.uint64(delimiter) * ONES
    quotes = np.uint64(quote) * ONES
    for i in range(len(sizes)):
        if form[i] == NULL:
            sizes[i] += null_width
            continue
        start = int(starts[i]) & PLACE
        end = int(ends[i])
        special, beyond_ascii = _scan(data, start, end, FROM_16, delimiters, quotes)
        if beyond_ascii and not is_utf8(data, start, end):
            flags[0] = 1
        size = end - start
        if escape_formulas == 1 and _is_formula(data, start, end):
            size += 1
            marked = delimiter == APOSTROPHE or quote == APOSTROPHE or _is_apostrophe_and(data, start, end, null_text)
            doubled = int(quote == APOSTROPHE)
        else:
            marked = size == 0 or _equals(data, start, end, null_text, 0) or _starts_with_mark(data, start, end)
            doubled = 0
        if special:
            for k in range(start, end):
                byte = int(data[k])
                marked |= byte in (delimiter, quote, NEWLINE, RETURN)
                doubled += int(byte == quote)
        if marked:
            form[i] = MARKED
            size += doubled + 2
        sizes[i] += size


@device
def _put_doubled(out: Bytes, at: int, data: Bytes, start: int, end: int, quote: int) -> int:
    """Copy a cell with every quote twice; where it ends."""
    for k in range(start, end):
        byte = int(data[k])
        out[at] = byte
        at += 1
        if byte == quote:
            out[at] = byte
            at += 1
    return at


@kernel(BYTES, OFFSETS, OFFSETS, UINT8, INT64_SCALAR, INT64_SCALAR, BYTES, BYTES, INT64, UINT8)
def write_csv_text(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    form: Form,
    quote: int,
    escape_formulas: int,
    before: Bytes,
    null: Bytes,
    cursor: Sizes,
    out: Bytes,
) -> None:
    """Write each text as a CSV field."""
    for i in range(len(cursor)):
        at = put_bytes(out, cursor[i], before, 0, len(before))
        if form[i] == NULL:
            cursor[i] = put_bytes(out, at, null, 0, len(null))
            continue
        start = int(starts[i]) & PLACE
        end = int(ends[i])
        quoted = form[i] == MARKED
        if quoted:
            out[at] = quote
            at += 1
        if escape_formulas == 1 and _is_formula(data, start, end):
            out[at] = APOSTROPHE
            at += 1
            if quote == APOSTROPHE:
                out[at] = APOSTROPHE
                at += 1
        if quoted:
            at = _put_doubled(out, at, data, start, end, quote)
            out[at] = quote
            cursor[i] = at + 1
        else:
            cursor[i] = put_bytes(out, at, data, start, end)
