"""JSON lines: where the values of flat objects are, column by column.

    {"id": 7, "name": "Ann"}      id:   INTEGER "7"    NULL "null"   ...
    {"name": "Bo", "id": null}    name: STRING  "Ann"  STRING "Bo"   ...

The law is jiter, the parser behind pydantic's ``model_validate_json``. A line is SURE only if jiter accepts it and
finds these keys with these values. Other lines are UNSURE, and so are some that jiter takes: nested values, keys with
escapes, wanted strings with escapes, wanted keys that occur twice, the names of infinity and NaN.

Of keys that are not wanted it is only told that there are some. One of them may occur twice, and its string may have
escapes: neither changes what the wanted ones are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT32, OFFSETS, SURE, UINT8, UNSURE, device, kernel
from zoopipe_core.kernels.swar import HIGH_BITS, LOW_BITS, PLACE, eight_bytes, four_bytes
from zoopipe_core.kernels.text import find_word, is_utf8

__all__ = ["ABSENT", "FALSE", "INTEGER", "NULL", "NUMBER", "STRING", "TRUE", "scan_objects"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Kinds = npt.NDArray[np.uint8]
State = npt.NDArray[np.uint8]

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

TAB, NEWLINE, RETURN, BLANK = b"\t\n\r "
OPEN, CLOSE, QUOTE, BACKSLASH, COLON, COMMA = b'{}"\\:,'
ZERO, NINE, MINUS, PLUS, POINT, UPPER_E = b"09-+.E"
LOWER_E, LOWER_F, LOWER_N, LOWER_T, LOWER_U = b"efntu"
UPPER_A, UPPER_F, LOWER_A, SLASH, LOWER_B, LOWER_R = b"AFa/br"
LAST_ASCII = 127
CASE = 32

TEXT_NULL, TEXT_TRUE, TEXT_ALSE = (np.uint64(int.from_bytes(text, "little")) for text in (b"null", b"true", b"alse"))

LONGEST_NUMBER = 4300
"""Bytes; jiter refuses numbers with a longer whole part."""
FIRST_SURROGATE, LAST_SURROGATE = 0xD800, 0xDFFF

NOWHERE = -1

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
def _mark_special(eight: np.uint64) -> np.uint64:
    """The bytes that do not stand for themselves in a string, or are not ASCII."""
    low = eight & LOW_BITS
    no_quote = ((eight ^ QUOTES) & LOW_BITS) + LOW_BITS
    no_backslash = ((eight ^ BACKSLASHES) & LOW_BITS) + LOW_BITS
    return (~(no_quote & no_backslash & (low + FROM_BLANK)) | eight) & HIGH_BITS


@device
def _mark_other(eight: np.uint64) -> np.uint64:
    """The bytes that are not digits."""
    digits = eight ^ ZEROS
    return (((digits & LOW_BITS) + FROM_TEN) | digits) & HIGH_BITS


@device
def _first(marks: np.uint64) -> int:
    """Which byte is the first one with a mark; 8 if none is."""
    below = ((~marks & (marks - _1)) >> _7) & LOWEST_BITS if marks != NONE else LOWEST_BITS
    below += below >> _32
    below += below >> _16
    below += below >> _8
    return int(np.int64(below & _255))


@device
def _same(one: np.uint64, other: np.uint64, size: int) -> bool:
    """Whether the first `size` bytes, of which there are up to eight, are the same."""
    return bool((one ^ other) << np.uint64(64 - 8 * size) == NONE)


# ---- tokens ----------------------------------------------------------------------------------------------------------


@device
def _skip_space(data: Bytes, at: int, end: int) -> int:
    at &= PLACE
    while at < end and (data[at] == BLANK or data[at] == TAB or data[at] == NEWLINE or data[at] == RETURN):
        at += 1
    return at


@device
def _escape_end(data: Bytes, at: int, end: int) -> int:
    """Where the escape ends whose backslash is at `at`. `end` if it is none, or half of a character."""
    letter = int(data[at + 1]) if end - at >= 2 else 0
    if letter in (QUOTE, BACKSLASH, SLASH, LOWER_B, LOWER_F, LOWER_N, LOWER_R, LOWER_T):
        return at + 2
    if letter != LOWER_U or end - at < 6:
        return end
    code = 0
    for k in range(at + 2, at + 6):
        byte = int(data[k])
        if ZERO <= byte <= NINE:
            code = code * 16 + byte - ZERO
        elif UPPER_A <= byte <= UPPER_F:
            code = code * 16 + byte - UPPER_A + 10
        elif LOWER_A <= byte <= LOWER_F:
            code = code * 16 + byte - LOWER_A + 10
        else:
            return end
    return end if FIRST_SURROGATE <= code <= LAST_SURROGATE else at + 6


@device
def _string_end(data: Bytes, first: int, at: int, end: int) -> tuple[int, bool]:
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
            at = _escape_end(data, at, end)
        elif data[at] >= BLANK:
            at += 1
        else:
            at = end
    if wide and not is_utf8(data, first, at):
        at = end
    return at, escaped


@device
def _digits_end(data: Bytes, at: int, end: int) -> int:
    while at < end and ZERO <= data[at] <= NINE:
        at += 1
    return at


@device
def _number_end(data: Bytes, at: int, end: int) -> tuple[int, int]:
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
def _literal(four: np.uint64, next_four: np.uint64, letter: int) -> int:
    """The kind of a literal whose first letter is `letter`: ABSENT if it is none.

    four, next_four: four bytes from this letter on, and from the next one on.
    """
    if four == TEXT_NULL:
        return NULL
    if four == TEXT_TRUE:
        return TRUE
    return FALSE if letter == LOWER_F and next_four == TEXT_ALSE else ABSENT


# ---- objects ---------------------------------------------------------------------------------------------------------


# What most lines are made of is read within the kernel: a device that takes arrays and has more than one way out
# leaves reference counts to Numba, which took up three quarters of the time.


@kernel(
    BYTES, OFFSETS, OFFSETS, BYTES, OFFSETS, OFFSETS, OFFSETS, INT32, INT32, INT32, UINT8, UINT8, UINT8
)  # fmt: skip
def scan_objects(
    data: Bytes,
    starts: Offsets,
    ends: Offsets,
    keys: Bytes,
    key_starts: Offsets,
    key_ends: Offsets,
    slots: Offsets,
    follows: Offsets,
    cell_starts: Offsets,
    cell_ends: Offsets,
    kinds: Kinds,
    extras: State,
    state: State,
) -> None:
    """The values of the wanted keys in lines ``data[starts[i]:ends[i]]``, each of which is to be a flat JSON object.

    keys, key_starts, key_ends, slots: the arrays of a `text.word_table` of w wanted keys in UTF-8.
    follows: int32 (w + 1,), a place for notes: which key came after each key, in the line before.
    cell_starts, cell_ends: int32 (w * n,). ``[k * n : (k + 1) * n]`` is where the values of key k are in `data`: a
    string without its quotes, or the text of the literal or number. (0, 0) for an ABSENT cell; within `data` always,
    so that other kernels may take the column whatever the state.
    kinds: uint8 (w * n,), laid out likewise: ABSENT, NULL, FALSE, TRUE, INTEGER, NUMBER or STRING.
    extras: uint8 (n,), 1 for lines with a key that is not wanted.
    state: uint8 (n,), set to UNSURE for lines that pydantic has to read; their cells and extras mean nothing.
    """
    count = len(state)
    for i in range(len(kinds)):
        cell_starts[i] = 0
        cell_ends[i] = 0
        kinds[i] = ABSENT
    for i in range(count):
        extras[i] = 0
    # Only keys that were read as a string get in here, never one that a JSON string would have to escape.
    for i in range(len(follows)):
        follows[i] = NOWHERE

    last_key = len(keys) - 8
    for i in range(count):
        if state[i] != SURE:
            continue
        end = int(ends[i])
        last = min(len(data) - 8, end - 1)  # where eight bytes may be read at once
        at = _skip_space(data, int(starts[i]), end)
        sure = False
        before = 0  # in `follows`: the start of the line, then one more than the wanted key before this one
        more = at < end and data[at] == OPEN
        if more:
            at = _skip_space(data, at + 1, end)
            if at < end and data[at] == CLOSE:
                more = False
                sure = _skip_space(data, at + 1, end) == end
        while more:
            more = False
            if at >= end or data[at] != QUOTE:
                break
            at += 1

            # The key is most likely the one that came at this place in the line before.
            key = int(follows[before & PLACE])
            guessed = False
            if key >= 0:
                word = int(key_starts[key]) & PLACE
                size = int(key_ends[key]) - word
                guessed = size < end - at and data[at + size] == QUOTE
                k = 0
                while guessed and k < size and at + k <= last and word + k <= last_key:
                    guessed = _same(
                        eight_bytes(data, (at + k) & PLACE), eight_bytes(keys, (word + k) & PLACE), min(size - k, 8)
                    )
                    k += 8
                while guessed and k < size:
                    guessed = data[at + k] == keys[word + k]
                    k += 1
                at += size * int(guessed)
            if not guessed:
                quote, escaped = _string_end(data, at, at, end)
                if quote >= end or escaped:
                    break
                key = find_word(data, at, quote, keys, key_starts, key_ends, slots)
                if key >= 0:
                    follows[before] = key
                at = quote
            at = _skip_space(data, at + 1, end)
            if at >= end or data[at] != COLON:
                break
            at = _skip_space(data, at + 1, end)
            if at >= end:
                break

            letter = int(data[at])
            value = at
            marks = NONE
            if letter == QUOTE:
                kind = STRING
                at += 1
                value = at
                while marks == NONE and at <= last:
                    marks = _mark_special(eight_bytes(data, at & PLACE))
                    at += _first(marks)
                if at >= end or data[at] != QUOTE:
                    at, escaped = _string_end(data, value, min(at, end), end)
                    if at >= end or (escaped and key >= 0):
                        break
                value_end = at
                at += 1
            elif letter <= NINE:
                kind = INTEGER
                at += int(letter == MINUS)
                whole = at
                while marks == NONE and at <= last:
                    marks = _mark_other(eight_bytes(data, at & PLACE))
                    at += _first(marks)
                plain = at > whole and marks != NONE and (data[whole] != ZERO or (at == whole + 1 and whole == value))
                if plain and data[at] == POINT:
                    kind = NUMBER
                    at += 1
                    fraction = at
                    marks = NONE
                    while marks == NONE and at <= last:
                        marks = _mark_other(eight_bytes(data, at & PLACE))
                        at += _first(marks)
                    plain = at > fraction and marks != NONE
                if not plain or at >= end or int(data[at]) | CASE == LOWER_E or at - value > LONGEST_NUMBER:
                    at, kind = _number_end(data, value, end)
                    if kind == ABSENT:
                        break
                value_end = at
            else:
                kind = ABSENT
                if end - at >= 5:  # four letters, and whatever ends the object
                    kind = _literal(four_bytes(data, at & PLACE), four_bytes(data, (at & PLACE) + 1), letter)
                if kind == ABSENT:
                    break
                at += 4 + int(kind == FALSE)
                value_end = at

            if key < 0:
                extras[i] = 1
            else:
                cell = key * count + i
                if kinds[cell] != ABSENT:
                    break
                cell_starts[cell] = value
                cell_ends[cell] = value_end
                kinds[cell] = kind
                before = key + 1

            at = _skip_space(data, at, end)
            if at >= end:
                break
            if data[at] == COMMA:
                at = _skip_space(data, at + 1, end)
                more = True
            elif data[at] == CLOSE:
                sure = _skip_space(data, at + 1, end) == end
        if not sure:
            state[i] = UNSURE
