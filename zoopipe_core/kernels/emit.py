"""What every kernel that writes text is made of: how a cell is marked, and how bytes and digits are put in place.

Rows are laid out column by column, in two passes over each column:

    size_*     sizes[i] += bytes that cell i takes       then a running sum of `sizes` says where each row starts
    write_*    out[cursor[i]...] = before + cell         and cursor[i] goes to where the next column's cell starts

Both passes have to agree on every byte: `out` is exactly as long as the sizes say, and is written without checks.

``form`` (uint8, (n,)) says how a cell is written. It starts as `NULL` or `PLAIN`; the first pass of some kinds of cells
sets it to `MARKED`, so that the second one need not look at the same bytes again.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zoopipe_core.kernels._jit import BYTES, INT64, INT64_SCALAR, UINT8, device, kernel
from zoopipe_core.kernels.swar import eight_bytes, four_bytes

__all__ = [
    "MARKED",
    "NULL",
    "PLAIN",
    "WIDE",
    "count_digits",
    "put_bytes",
    "put_digits",
    "put_fraction",
    "put_pair",
    "put_quote",
    "put_wide",
    "size_fixed",
    "write_constant",
]

Bytes = npt.NDArray[np.uint8]
Form = npt.NDArray[np.uint8]
Sizes = npt.NDArray[np.int64]

NULL = 0
"""The cell is null: the text for null is written in its place."""
PLAIN = 1
"""The cell is written the common way."""
MARKED = 2
"""The cell needs care: quotes, escapes, or a name in place of a number."""

PAIRS = np.frombuffer(b"".join(b"%02d" % n for n in range(100)), np.uint8)
"""uint8 (200,): the two digits of each number below 100."""

WIDE = 16
"""Bytes that `put_wide` copies at least."""
ANYWHERE = 2**62 - 1
"""``at & ANYWHERE`` is at, and tells the compiler that it is not negative: that no index counts from the end."""

BYTE = np.uint64(255)
U8, U16, U24, U32 = np.uint64(8), np.uint64(16), np.uint64(24), np.uint64(32)
TEN, HUNDRED, TEN_THOUSAND = np.uint64(10), np.uint64(100), np.uint64(10_000)
THOUSAND = np.uint64(1_000)


@device
def _put_four(out: Bytes, at: int, text: np.uint64) -> None:
    """Write the lower four bytes of `text`. One instruction when compiled."""
    out[at] = text & BYTE
    out[at + 1] = text >> U8 & BYTE
    out[at + 2] = text >> U16 & BYTE
    out[at + 3] = text >> U24 & BYTE


@device
def _put_eight(out: Bytes, at: int, text: np.uint64) -> None:
    """Write eight bytes."""
    _put_four(out, at, text)
    _put_four(out, at + 4, text >> U32)


@device
def put_bytes(out: Bytes, at: int, data: Bytes, start: int, end: int) -> int:
    """Copy ``data[start:end]`` to `at`; where it ends there."""
    size = end - start
    after = at + size
    if size >= 8:
        while end - start >= 8:
            _put_eight(out, at, eight_bytes(data, start))
            start += 8
            at += 8
        if start < end:  # the last eight once more, some of them for the second time
            _put_eight(out, after - 8, eight_bytes(data, end - 8))
    elif size >= 4:
        _put_four(out, at, four_bytes(data, start))
        _put_four(out, after - 4, four_bytes(data, end - 4))
    else:
        while start < end:
            out[at] = data[start]
            start += 1
            at += 1
    return after


@device
def put_wide(out: Bytes, at: int, data: Bytes, start: int, end: int) -> int:
    """Copy ``data[start:end]`` to `at`, and up to `WIDE` bytes of anything behind it, for which there must be room;
    where it ends. Both places are 0 or more.
    """
    at &= ANYWHERE
    start &= ANYWHERE
    after = at + end - start
    if start + WIDE > len(data) or end + 8 > len(data):
        return put_bytes(out, at, data, start, end)
    # Sixteen bytes are copied in less time than it takes to find out that there are fewer.
    _put_eight(out, at, eight_bytes(data, start))
    _put_eight(out, at + 8, eight_bytes(data, start + 8))
    while at + WIDE < after:
        at += 8
        start += 8
        _put_eight(out, at + 8, eight_bytes(data, start + 8))
    return after


@device
def put_quote(out: Bytes, at: int, quote: int) -> int:
    """Write the quote character, if there is one (it is not 0); where it ends."""
    if quote != 0:
        out[at] = quote
        at += 1
    return at


@device
def put_pair(out: Bytes, at: int, number: np.uint64) -> None:
    """Write a number below 100 as two digits."""
    place = np.int64(number) * 2
    out[at] = PAIRS[place]
    out[at + 1] = PAIRS[place + 1]


@device
def count_digits(number: np.uint64) -> int:
    """Decimal digits of a number; one for 0."""
    count = 1
    while number >= TEN_THOUSAND:
        number = number // TEN_THOUSAND
        count += 4
    if number >= HUNDRED:
        return count + 2 + int(number >= THOUSAND)
    return count + int(number >= TEN)


@device
def put_digits(out: Bytes, at: int, number: np.uint64, count: int) -> None:
    """Write the last `count` digits of a number, with zeros in front if it has fewer."""
    end = at + count
    while count >= 2:
        rest = number // HUNDRED
        end -= 2
        put_pair(out, end, number - rest * HUNDRED)
        number = rest
        count -= 2
    if count == 1:
        out[at] = number % TEN + np.uint64(48)


@device
def put_fraction(out: Bytes, at: int, micros: np.uint64) -> int:
    """Write a point and six digits if `micros` is not 0; where that ends."""
    if micros == np.uint64(0):
        return at
    out[at] = 46
    put_digits(out, at + 1, micros, 6)
    return at + 7


@kernel(UINT8, INT64_SCALAR, INT64_SCALAR, INT64)
def size_fixed(form: Form, width: int, null_width: int, sizes: Sizes) -> None:
    """Add the size of cells that all take `width` bytes."""
    for i in range(len(sizes)):
        sizes[i] += null_width if form[i] == NULL else width


@kernel(BYTES, INT64, UINT8)
def write_constant(text: Bytes, cursor: Sizes, out: Bytes) -> None:
    """Write the same text into every row."""
    for i in range(len(cursor)):
        cursor[i] = put_bytes(out, cursor[i], text, 0, len(text))
