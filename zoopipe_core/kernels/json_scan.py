"""JSON lines: where the values of objects are, column by column.

    {"id": 7, "name": "Ann"}      id:   INTEGER "7"    NULL "null"   ...
    {"name": "Bo", "id": null}    name: STRING  "Ann"  STRING "Bo"   ...

The law is jiter, the parser behind pydantic's ``model_validate_json``. A line is SURE only if jiter accepts it and
finds these keys with these values. Other lines are UNSURE, and so are some that jiter takes: keys with escapes, wanted
keys that occur twice, the names of infinity and NaN, values nested very deep.

Of keys that are not wanted it is only told that there are some. One of them may occur twice: that does not change what
the wanted ones are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT32, OFFSETS, SURE, UINT8, UNSURE, device, kernel
from zoopipe_core.kernels.json_tokens import (
    ABSENT,
    CASE,
    CLOSE,
    COLON,
    COMMA,
    FALSE,
    INTEGER,
    LONGEST_NUMBER,
    LOWER_E,
    MINUS,
    NESTED,
    NINE,
    NONE,
    NOWHERE,
    NUMBER,
    OPEN,
    OPEN_ARRAY,
    POINT,
    QUOTE,
    STRING,
    ZERO,
    first_mark,
    literal_kind,
    mark_other,
    mark_special,
    nested_end,
    number_end,
    skip_space,
    string_end,
)
from zoopipe_core.kernels.swar import PLACE, eight_bytes, four_bytes
from zoopipe_core.kernels.text import find_word

__all__ = ["scan_objects"]

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
Kinds = npt.NDArray[np.uint8]
State = npt.NDArray[np.uint8]


@device
def _same(one: np.uint64, other: np.uint64, size: int) -> bool:
    """Whether the first `size` bytes, of which there are up to eight, are the same."""
    return bool((one ^ other) << np.uint64(64 - 8 * size) == NONE)


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
    """The values of the wanted keys in lines ``data[starts[i]:ends[i]]``, each of which is to be a JSON object.

    keys, key_starts, key_ends, slots: the arrays of a `text.word_table` of w wanted keys in UTF-8.
    follows: int32 (w + 1,), a place for notes: which key came after each key, in the line before.
    cell_starts, cell_ends: int32 (w * n,). ``[k * n : (k + 1) * n]`` is where the values of key k are in `data`: a
    string without its quotes, or the text of any other value. (0, 0) for an ABSENT cell; within `data` always,
    so that other kernels may take the column whatever the state.
    kinds: uint8 (w * n,), laid out likewise: one of the kinds of `json_tokens`.
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
        at = skip_space(data, int(starts[i]), end)
        sure = False
        before = 0  # in `follows`: the start of the line, then one more than the wanted key before this one
        more = at < end and data[at] == OPEN
        if more:
            at = skip_space(data, at + 1, end)
            if at < end and data[at] == CLOSE:
                more = False
                sure = skip_space(data, at + 1, end) == end
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
                quote, escaped = string_end(data, at, at, end)
                if quote >= end or escaped:
                    break
                key = find_word(data, at, quote, keys, key_starts, key_ends, slots)
                if key >= 0:
                    follows[before] = key
                at = quote
            at = skip_space(data, at + 1, end)
            if at >= end or data[at] != COLON:
                break
            at = skip_space(data, at + 1, end)
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
                    marks = mark_special(eight_bytes(data, at & PLACE))
                    at += first_mark(marks)
                if at >= end or data[at] != QUOTE:
                    at, escaped = string_end(data, value, min(at, end), end)
                    if at >= end:
                        break
                    kind += int(escaped)
                value_end = at
                at += 1
            elif letter <= NINE:
                kind = INTEGER
                at += int(letter == MINUS)
                whole = at
                while marks == NONE and at <= last:
                    marks = mark_other(eight_bytes(data, at & PLACE))
                    at += first_mark(marks)
                plain = at > whole and marks != NONE and (data[whole] != ZERO or (at == whole + 1 and whole == value))
                if plain and data[at] == POINT:
                    kind = NUMBER
                    at += 1
                    fraction = at
                    marks = NONE
                    while marks == NONE and at <= last:
                        marks = mark_other(eight_bytes(data, at & PLACE))
                        at += first_mark(marks)
                    plain = at > fraction and marks != NONE
                if not plain or at >= end or int(data[at]) | CASE == LOWER_E or at - value > LONGEST_NUMBER:
                    at, kind = number_end(data, value, end)
                    if kind == ABSENT:
                        break
                value_end = at
            elif letter in (OPEN, OPEN_ARRAY):
                kind = NESTED
                at = nested_end(data, at, end)
                if at < 0:
                    break
                value_end = at
            else:
                kind = ABSENT
                if end - at >= 5:  # four letters, and whatever ends the object
                    kind = literal_kind(four_bytes(data, at & PLACE), four_bytes(data, (at & PLACE) + 1), letter)
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

            at = skip_space(data, at, end)
            if at >= end:
                break
            if data[at] == COMMA:
                at = skip_space(data, at + 1, end)
                more = True
            elif data[at] == CLOSE:
                sure = skip_space(data, at + 1, end) == end
        if not sure:
            state[i] = UNSURE
