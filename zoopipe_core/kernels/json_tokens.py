"""The tokens of JSON: where strings, escapes, numbers and nested values end, as jiter reads them.

Nothing here is a kernel; kernels call it for each value.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import device
from zoopipe_core.kernels.swar import HIGH_BITS, LOW_BITS, PLACE, four_bytes
from zoopipe_core.kernels.text import is_utf8

__all__ = [
    "ABSENT",
    "DEEPEST",
    "ESCAPED",
    "FALSE",
    "INTEGER",
    "NESTED",
    "NOWHERE",
    "NULL",
    "NUMBER",
    "STRING",
    "TRUE",
    "first_mark",
    "literal_kind",
    "mark_other",
    "mark_special",
    "nested_end",
    "number_end",
    "read_escape",
    "skip_space",
    "string_end",
]

Bytes = npt.NDArray[np.uint8]

ABSENT = 0
"""The line has no such key."""
NULL = 1
FALSE = 2
TRUE = 3
INTEGER = 4
"""A number without fraction and exponent, of any size, but not ``-0``."""
NUMBER = 5
"""Any other number; it may be too great for a double."""
STRING = 6
"""The cell is what stands between the quotes: UTF-8 without escapes and control characters."""
ESCAPED = 7
"""The cell is what stands between the quotes, and has escapes in it, all of them valid."""
NESTED = 8
"""The cell is an object or array, brackets included: valid JSON."""

TAB, NEWLINE, RETURN, BLANK = b"\t\n\r "
OPEN, CLOSE, OPEN_ARRAY, CLOSE_ARRAY, QUOTE, BACKSLASH, COLON, COMMA = b'{}[]"\\:,'
ZERO, NINE, MINUS, PLUS, POINT, UPPER_E = b"09-+.E"
LOWER_E, LOWER_F, LOWER_N, LOWER_T, LOWER_U = b"efntu"
UPPER_A, UPPER_F, LOWER_A, SLASH, LOWER_B, LOWER_R = b"AFa/br"
BACKSPACE, FORM_FEED = b"\b\f"
LAST_ASCII = 127
CASE = 32

TEXT_NULL, TEXT_TRUE, TEXT_ALSE = (np.uint64(int.from_bytes(text, "little")) for text in (b"null", b"true", b"alse"))

LONGEST_NUMBER = 4300
"""Bytes; jiter refuses numbers with a longer whole part."""
DEEPEST = 60
"""Brackets within brackets that are followed; jiter follows 200."""
HIGH_SURROGATE, LOW_SURROGATE, AFTER_SURROGATES = 0xD800, 0xDC00, 0xE000
FIRST_WIDE = 0x10000

NOWHERE = -1

# What may come next within a nested value.
_VALUE, _VALUE_OR_CLOSE, _KEY, _KEY_OR_CLOSE, _COMMA_OR_CLOSE = range(5)

# Each of eight bytes: the character, or what has to be added for the high bit to show that a byte is not less.
QUOTES = np.uint64(0x2222222222222222)
BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
FROM_BLANK = np.uint64(0x6060606060606060)
ZEROS = np.uint64(0x3030303030303030)
FROM_TEN = np.uint64(0x7676767676767676)
LOWEST_BITS = np.uint64(0x0101010101010101)
NONE = np.uint64(0)
_1, _7, _8, _16, _32, _255 = (np.uint64(number) for number in (1, 7, 8, 16, 32, 255))


# ---- eight bytes at once: what marks a byte is its high bit ----------------------------------------------------------


@device
def mark_special(eight: np.uint64) -> np.uint64:
    """The bytes that do not stand for themselves in a string, or are not ASCII."""
    low = eight & LOW_BITS
    no_quote = ((eight ^ QUOTES) & LOW_BITS) + LOW_BITS
    no_backslash = ((eight ^ BACKSLASHES) & LOW_BITS) + LOW_BITS
    return (~(no_quote & no_backslash & (low + FROM_BLANK)) | eight) & HIGH_BITS


@device
def mark_other(eight: np.uint64) -> np.uint64:
    """The bytes that are not digits."""
    digits = eight ^ ZEROS
    return (((digits & LOW_BITS) + FROM_TEN) | digits) & HIGH_BITS


@device
def first_mark(marks: np.uint64) -> int:
    """Which byte is the first one with a mark; 8 if none is."""
    below = ((~marks & (marks - _1)) >> _7) & LOWEST_BITS if marks != NONE else LOWEST_BITS
    below += below >> _32
    below += below >> _16
    below += below >> _8
    return int(np.int64(below & _255))


# ---- strings ---------------------------------------------------------------------------------------------------------


@device
def skip_space(data: Bytes, at: int, end: int) -> int:
    """The first place from `at` on that is no white space."""
    at &= PLACE
    while at < end and (data[at] == BLANK or data[at] == TAB or data[at] == NEWLINE or data[at] == RETURN):
        at += 1
    return at


@device
def _code_unit(data: Bytes, at: int, end: int) -> int:
    r"""The number of the ``\uXXXX`` at `at`, or -1 if there is none."""
    code = 0
    if end - at < 6 or data[at] != BACKSLASH or data[at + 1] != LOWER_U:
        code = -1
    else:
        for k in range(at + 2, at + 6):
            byte = int(data[k])
            digit = -1
            if ZERO <= byte <= NINE:
                digit = byte - ZERO
            elif UPPER_A <= byte <= UPPER_F:
                digit = byte - UPPER_A + 10
            elif LOWER_A <= byte <= LOWER_F:
                digit = byte - LOWER_A + 10
            code = code * 16 + digit if code >= 0 and digit >= 0 else -1
    return code


@device
def read_escape(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """The code point of the escape whose backslash is at `at`, and where it ends; -1 if it is none, or half of one."""
    letter = int(data[at + 1]) if end - at >= 2 else 0
    code = -1
    after = at + 2
    if letter in (QUOTE, BACKSLASH, SLASH):
        code = letter
    elif letter == LOWER_N:
        code = NEWLINE
    elif letter == LOWER_T:
        code = TAB
    elif letter == LOWER_R:
        code = RETURN
    elif letter == LOWER_B:
        code = BACKSPACE
    elif letter == LOWER_F:
        code = FORM_FEED
    elif letter == LOWER_U:
        code = _code_unit(data, at, end)
        after = at + 6
        if HIGH_SURROGATE <= code < AFTER_SURROGATES:
            low = _code_unit(data, after, end)
            if code < LOW_SURROGATE <= low < AFTER_SURROGATES:
                code = FIRST_WIDE + (code - HIGH_SURROGATE) * 1024 + low - LOW_SURROGATE
                after = at + 12
            else:
                code = -1
    return code, after


@device
def string_end(data: Bytes, first: int, at: int, end: int) -> tuple[int, bool]:
    """The place of the quote that ends a string, and whether there are escapes in it. `end` if it is not valid.

    first: where its content starts.  at: up to where it is known to be plain.
    """
    wide = False
    escaped = False
    while at < end and data[at] != QUOTE:
        if data[at] > LAST_ASCII:
            wide = True
            at += 1
        elif data[at] == BACKSLASH:
            escaped = True
            code, at = read_escape(data, at, end)
            if code < 0:
                at = end
        elif data[at] >= BLANK:
            at += 1
        else:
            at = end
    if wide and not is_utf8(data, first, at):
        at = end
    return at, escaped


# ---- numbers and names -----------------------------------------------------------------------------------------------


@device
def _digits_end(data: Bytes, at: int, end: int) -> int:
    while at < end and ZERO <= data[at] <= NINE:
        at += 1
    return at


@device
def number_end(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Where the number ends that starts at `at`, and its kind: ABSENT if it is none, or one to be left to jiter."""
    start = at
    negative = data[at] == MINUS
    if negative:
        at += 1
    whole = at
    at = _digits_end(data, at, end)
    leading_zero = at > whole and data[whole] == ZERO
    valid = at > whole and not (leading_zero and at > whole + 1)
    # jiter makes the integer 0 of -0, the text would make -0.0 in a column of doubles.
    kind = ABSENT if leading_zero and negative else INTEGER
    if at < end and data[at] == POINT:
        fraction = at + 1
        at = _digits_end(data, fraction, end)
        valid = valid and at > fraction
        kind = NUMBER
    if at < end and (data[at] == LOWER_E or data[at] == UPPER_E):
        at += 1
        if at < end and (data[at] == PLUS or data[at] == MINUS):
            at += 1
        exponent = at
        at = _digits_end(data, exponent, end)
        valid = valid and at > exponent
        kind = NUMBER
    if not valid or at - start > LONGEST_NUMBER:
        kind = ABSENT
    return at, kind


@device
def literal_kind(four: np.uint64, next_four: np.uint64, letter: int) -> int:
    """The kind of a literal whose first letter is `letter`: ABSENT if it is none.

    four, next_four: four bytes from this letter on, and from the next one on.
    """
    if four == TEXT_NULL:
        return NULL
    if four == TEXT_TRUE:
        return TRUE
    return FALSE if letter == LOWER_F and next_four == TEXT_ALSE else ABSENT


# ---- values within values --------------------------------------------------------------------------------------------


@device
def nested_end(data: Bytes, at: int, end: int) -> int:
    """One past the object or array whose bracket is at `at`, or NOWHERE if it is not valid or too deep."""
    depth = 0
    objects = 0  # one bit for each open bracket, the innermost is the lowest: whether it is that of an object
    wanted = _VALUE
    found = NOWHERE
    while found == NOWHERE:
        at = skip_space(data, at, end)
        if at >= end:
            break
        letter = int(data[at])
        if letter in (CLOSE, CLOSE_ARRAY):
            empty_or_full = wanted in (_COMMA_OR_CLOSE, _KEY_OR_CLOSE, _VALUE_OR_CLOSE)
            if not empty_or_full or (objects & 1 == 1) != (letter == CLOSE):
                break
            objects >>= 1
            depth -= 1
            wanted = _COMMA_OR_CLOSE
            at += 1
            if depth == 0:
                found = at
        elif wanted == _COMMA_OR_CLOSE:
            if letter != COMMA:
                break
            wanted = _KEY if objects & 1 == 1 else _VALUE
            at += 1
        elif letter == QUOTE:
            at, _ = string_end(data, at + 1, at + 1, end)
            if at >= end:
                break
            at += 1
            if wanted in (_KEY, _KEY_OR_CLOSE):
                at = skip_space(data, at, end)
                if at >= end or data[at] != COLON:
                    break
                at += 1
                wanted = _VALUE
            else:
                wanted = _COMMA_OR_CLOSE
        elif wanted in (_KEY, _KEY_OR_CLOSE):
            break
        elif letter in (OPEN, OPEN_ARRAY):
            if depth == DEEPEST:
                break
            depth += 1
            objects = objects * 2 + int(letter == OPEN)
            wanted = _KEY_OR_CLOSE if letter == OPEN else _VALUE_OR_CLOSE
            at += 1
        elif letter <= NINE:
            at, kind = number_end(data, at, end)
            if kind == ABSENT:
                break
            wanted = _COMMA_OR_CLOSE
        else:
            kind = ABSENT
            if end - at >= 5:
                kind = literal_kind(four_bytes(data, at & PLACE), four_bytes(data, (at & PLACE) + 1), letter)
            if kind == ABSENT:
                break
            at += 4 + int(kind == FALSE)
            wanted = _COMMA_OR_CLOSE
    return found
