"""A stream of JSON text cut into records, each still as text: nothing is parsed, so no number loses a digit.

    line_records    one value a line, as in JSON Lines
    array_records   the elements of one top-level array

Both yield binary arrays of consecutive records and hold one block and one record in memory. The work is done on
whole blocks with NumPy: lines are cut at about 1 GB/s, with no Python object per line; array elements at about
100 MB/s (0.4 million of 230 bytes), most of it spent on telling brackets and commas in strings from those outside.

Whether a record is valid JSON is for validation to say. Only what makes it uncertain where records begin and end is
an error here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.adapters.encodings import Readable
from zoopipe_core.errors import CorruptSourceError, RecordTooLongError

__all__ = ["array_records", "line_records"]

Positions = npt.NDArray[np.int64]

_BLANK = b" \t\r\n"
_NEWLINE, _RETURN = b"\n\r"
_VISIBLE = bytes(byte not in _BLANK for byte in range(256))
_SCALAR = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[^\s"{}\[\],]+', re.DOTALL)
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1f]")
_COMPRESSED = {b"PK\x03\x04": "zip", b"\x1f\x8b": "gzip", b"BZh": "bz2", b"\x28\xb5\x2f\xfd": "zstd"}

# The kinds of bytes that carry structure; every other byte is 0.
_QUOTE, _BACKSLASH, _COMMA, _OPEN, _CLOSE = 1, 2, 3, 4, 5
_KIND_OF = dict(zip(b'"\\,[{]}', (_QUOTE, _BACKSLASH, _COMMA, _OPEN, _OPEN, _CLOSE, _CLOSE), strict=True))
_KINDS = bytes(_KIND_OF.get(byte, 0) for byte in range(256))
_DEPTH_CHANGE = np.array([0, 0, 0, 0, 1, -1], np.int8)


def line_records(
    stream: Readable, label: str, block_bytes: int, max_record_bytes: int, first_row: int = 1
) -> Iterator[pa.BinaryArray]:
    """The lines of `stream`, without their ends and without blank ones.

    Args:
        stream: UTF-8 without a byte order mark.
        label: the source's name, for messages.
        block_bytes: how much is read and handed on at a time; a longer line is put together from several reads.
        max_record_bytes: the longest line that is accepted.
        first_row: the number of the first record, where `stream` begins within a source.

    Raises:
        RecordTooLongError: a line is longer; the lines before it were yielded.
        CorruptSourceError: the first line shows that this is an array over many lines, or no text.
    """
    row = first_row
    head: list[bytes] = []  # the beginning of a line that has not ended yet
    held = 0
    for block in chain(_blocks(stream, block_bytes), [b""]):
        cut = block.rfind(b"\n") + 1
        if cut or not block:
            text = b"".join([*head, block[:cut] if cut else b"\n"])
            head, held = [block[cut:]], len(block) - cut
            records = _lines(text)
            if row == 1 and len(records):
                _check_first_line(records[0].as_buffer().to_pybytes(), label)
            fitting = _fitting(records, max_record_bytes)
            if fitting:
                yield records[:fitting]
            row += fitting
            if fitting < len(records):
                raise _too_long(label, row, max_record_bytes)
        else:
            head.append(block)
            held += len(block)
        if held > max_record_bytes + 1:  # one more for the \r of a line end
            if row == 1 and b"".join(head).lstrip(_BLANK).startswith(b"["):
                raise _array_expected(label)
            raise _too_long(label, row, max_record_bytes)


def _blocks(stream: Readable, size: int) -> Iterator[bytes]:
    """All of `stream` in blocks of `size` bytes, the last one shorter: a short read makes no short batch."""
    missing = 0
    while missing <= 0:
        parts, missing = [], size
        while missing > 0 and (part := stream.read(missing)):
            parts.append(part)
            missing -= len(part)
        if parts:
            yield b"".join(parts) if len(parts) > 1 else parts[0]


def _lines(text: bytes) -> pa.BinaryArray:
    """The lines of `text`, which ends with a newline. One copy of the text, offsets into it."""
    codes = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(codes == _NEWLINE)
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    lengths = ends - starts
    returns = ends[:0]  # where a \r belongs to the line's end
    if b"\r" in text:
        has_return = (lengths > 0) & (codes[ends - 1] == _RETURN)
        returns = ends[has_return] - 1
        lengths -= has_return
    kept = lengths > 0
    has_blanks = bool((kept & (codes[starts] <= ord(" "))).any())  # or is merely indented
    if has_blanks:
        visible = np.frombuffer(text.translate(_VISIBLE), np.bool_)
        kept = np.logical_or.reduceat(visible, starts)
    if has_blanks or len(returns):
        wanted = np.repeat(kept, ends - starts + 1)
        wanted[ends] = False
        wanted[returns] = False
        return _binary_array(codes[wanted], lengths[kept])
    return _binary_array(text.replace(b"\n", b""), lengths[kept])


def _binary_array(data: bytes | npt.NDArray[np.uint8], lengths: Positions) -> pa.BinaryArray:
    """An array of binary values that follow each other in `data`. Built by hand: `pa.array` would import pandas."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.Array.from_buffers(pa.binary(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def _fitting(records: pa.BinaryArray, max_record_bytes: int) -> int:
    """How many records stand before the first that is too long."""
    offsets = np.frombuffer(records.buffers()[1], np.int32)
    if int(offsets[-1]) <= max_record_bytes:
        return len(records)
    too_long = np.flatnonzero(np.diff(offsets) > max_record_bytes)
    return int(too_long[0]) if len(too_long) else len(records)


def _check_first_line(line: bytes, label: str) -> None:
    """Refuse what is no JSON Lines at all, so that it does not become one reject a line."""
    _refuse_compressed(line, label)
    if b"\x00" in line:
        raise CorruptSourceError(
            f"{label} has NUL bytes in its first line: binary data, or UTF-16 without a byte order mark "
            "(then pass encoding='utf-16-le' or 'utf-16-be')"
        )
    if _CONTROL.search(line) and not _is_utf8(line):
        raise CorruptSourceError(
            f"{label} has control characters in its first line and is no UTF-8: binary data, or another encoding "
            "(then pass encoding='latin-1', 'cp1252', 'utf-16'...)"
        )
    start = line.lstrip(_BLANK)
    if start.startswith(b"[") and not len(_Structure().scan(start).ends):
        raise _array_expected(label)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _array_expected(label: str) -> CorruptSourceError:
    return CorruptSourceError(
        f"{label} is not JSON Lines: it begins with '[' and its first line is no complete value. If the file is one "
        'array, pass format="array"'
    )


def _refuse_compressed(head: bytes, label: str) -> None:
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            raise CorruptSourceError(f"{label} holds {name} data and no text: pass compression={name!r}")


def _too_long(label: str, row: int, max_record_bytes: int) -> RecordTooLongError:
    return RecordTooLongError(
        f"{label}: row {row:,} is longer than {max_record_bytes:,} bytes; raise max_record_bytes if that is right"
    )


@dataclass(frozen=True, slots=True)
class _Marks:
    """Where a block is cut. Each int64 (n,), rising, positions within the block.

    commas: those between elements. opens: brackets that open within an element that no other bracket encloses.
    ends: brackets that close the outermost array (only the first one counts).
    """

    commas: Positions
    opens: Positions
    ends: Positions


@dataclass(slots=True)
class _Structure:
    """Where in JSON text one is: how many brackets deep, within a string or not. Goes from block to block."""

    depth: int = 0
    in_string: bool = False
    escaped: bool = False  # the next byte follows a backslash

    def scan(self, block: bytes) -> _Marks:
        """Find the cuts of `block`, which follows the blocks scanned before."""
        kinds = np.frombuffer(block.translate(_KINDS), np.uint8)
        at = np.flatnonzero(kinds != 0)
        kind = kinds[at]
        self._drop_escaped(at, kind, len(block))
        quotes = np.cumsum(kind == _QUOTE)
        inside = (quotes + self.in_string) & 1
        outside = np.flatnonzero((inside == 0) & (kind >= _COMMA))
        if len(quotes):
            self.in_string = bool(inside[-1])
        at, kind = at[outside], kind[outside]
        level = np.cumsum(_DEPTH_CHANGE[kind]) + self.depth
        if len(level):
            self.depth = int(level[-1])
        return _Marks(
            at[(kind == _COMMA) & (level == 1)],
            at[(kind == _OPEN) & (level == 2)],
            at[(kind == _CLOSE) & (level == 0)],
        )

    def _drop_escaped(self, at: Positions, kind: npt.NDArray[np.uint8], size: int) -> None:
        """Set `kind` to 0 where an odd number of backslashes stands before, and note how the block ends."""
        slashes = at[kind == _BACKSLASH]
        first_escaped = self.escaped
        if first_escaped and len(at) and at[0] == 0:
            kind[0] = 0
        if size:
            self.escaped = False
        if not len(slashes):
            return
        index = np.arange(len(slashes))
        starts_run = np.diff(slashes, prepend=-2) != 1
        run = slashes[np.maximum.accumulate(np.where(starts_run, index, 0))]
        if first_escaped:
            run[run == 0] = 1  # the block's first byte is spent: its run counts from the next one
        targets = slashes[((slashes - run) & 1) == 0] + 1
        if len(targets):
            self.escaped = bool(targets[-1] == size)
            found = np.minimum(np.searchsorted(at, targets), len(at) - 1)
            kind[found[at[found] == targets]] = 0


def array_records(stream: Readable, label: str, block_bytes: int, max_record_bytes: int) -> Iterator[pa.BinaryArray]:
    """The elements of the one array that `stream` holds, without the blanks around them.

    The arguments are those of `line_records`. An element with wrong brackets inside is handed on as long as it is
    clear where it ends.

    Raises:
        RecordTooLongError: an element is longer than `max_record_bytes`.
        CorruptSourceError: there is no array, it is not closed, something follows it, or a comma or a value is
            missing. The elements before the place were yielded.
    """
    blocks = _blocks(stream, block_bytes)
    first = next((text for block in blocks if (text := block.lstrip(_BLANK))), b"")
    _check_start(first, label)
    blocks = chain([first[1:]], blocks)
    structure = _Structure(depth=1)
    row = 1
    head: list[bytes] = []  # the beginning of an element that has not ended yet
    held = 0
    opens = 0  # outermost brackets in it
    for block in blocks:
        marks = structure.scan(block)
        bounds, end = marks.commas, int(marks.ends[0]) if len(marks.ends) else -1
        if end >= 0:
            bounds = np.append(bounds[bounds < end], end)
        if len(bounds):
            before = np.searchsorted(marks.opens, bounds)
            counts = np.diff(before, prepend=0)
            counts[0] += opens
            text = b"".join([*head, block])
            records, fault = _elements(text, bounds + held, counts, max_record_bytes, row == 1 and end >= 0)
            if records:
                yield _binary_array(b"".join(records), np.fromiter(map(len, records), np.int64, len(records)))
            row += len(records)
            if fault:
                raise fault(label, row, max_record_bytes)
            if end >= 0:
                if block[end] != ord("]"):
                    raise CorruptSourceError(f"{label}: the array is closed by '}}' after row {row - 1:,}")
                _check_end(chain([block[end + 1 :]], blocks), label, row)
                return
            block = block[int(bounds[-1]) + 1 :]
            head, held, opens = [], 0, -int(before[-1])
        opens += len(marks.opens)
        piece = block if held else block.lstrip(_BLANK)
        if piece:
            head.append(piece)
            held += len(piece)
        if held > max_record_bytes:
            raise _too_long(label, row, max_record_bytes)
    raise CorruptSourceError(
        f"{label} ends within row {row:,}: its array is not closed. The file is truncated, or a bracket or quote of "
        "this row is never closed"
    )


_Fault = Callable[[str, int, int], Exception]


def _elements(
    text: bytes, bounds: Positions, counts: Positions, max_record_bytes: int, whole: bool
) -> tuple[list[bytes], _Fault | None]:
    """The elements of `text` that end at `bounds`, and what is wrong with the one after them.

    `counts` says how many outermost brackets open in each. `whole`: these are all elements of the array, so that one
    blank element means none.
    """
    records: list[bytes] = []
    start = 0
    for bound, opened in zip(bounds.tolist(), counts.tolist(), strict=True):
        if bound - start > max_record_bytes and len(text[start:bound].lstrip(_BLANK)) > max_record_bytes:
            return records, _too_long
        record = text[start:bound].strip(_BLANK)
        if opened == 1:
            is_value = record[0] in b"[{" and record[-1] in b"]}"
        else:
            is_value = opened == 0 and _SCALAR.fullmatch(record) is not None
        if not is_value:
            if whole and not record and len(bounds) == 1:
                return [], None
            return records, _incomplete if record else _missing
        records.append(record)
        start = bound + 1
    return records, None


def _incomplete(label: str, row: int, _: int) -> Exception:
    return CorruptSourceError(f"{label}: row {row:,} is not one JSON value; is a comma, a quote or a bracket missing?")


def _missing(label: str, row: int, _: int) -> Exception:
    return CorruptSourceError(f"{label}: there is no value for row {row:,}: a comma too many in the array")


def _check_start(first: bytes, label: str) -> None:
    if not first:
        raise CorruptSourceError(f"{label} is empty: an array without elements is written []")
    _refuse_compressed(first, label)
    if not first.startswith(b"["):
        raise CorruptSourceError(
            f"{label} holds no JSON array: it begins with {first[:1]!r} and not with '['. If every line is a value of "
            'its own, pass format="jsonl"'
        )


def _check_end(blocks: Iterable[bytes], label: str, row: int) -> None:
    for block in blocks:
        if block.strip(_BLANK):
            raise CorruptSourceError(
                f"{label}: text follows the closing bracket of the array, after row {row - 1:,}. If every line is a "
                'value of its own, pass format="jsonl"'
            )
