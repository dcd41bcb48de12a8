"""The header of a CSV file, with duplicate, empty or undecodable names, and what is no CSV file at all."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from zoopipe_core.adapters.csv_dialect import END_MARK, Dialect
from zoopipe_core.adapters.csv_stream import Pushback
from zoopipe_core.errors import CorruptSourceError, RecordTooLongError

__all__ = ["read_header", "refuse_binary", "unique_names"]

HEAD_BYTES = 2**16
_MARK_TEXT = END_MARK.decode()
# Each as long as it takes to be no text.
_MAGIC = (
    (rb"PK\x03\x04", "a zip archive"), (rb"\x1f\x8b\x08", "gzip data"), (rb"BZh[1-9]1AY&SY", "bzip2 data"),
    (rb"\x28\xb5\x2f\xfd", "zstd data"), (rb"PAR1[\x00-\x08\x0e-\x1f]", "a Parquet file"),
    (rb"ARROW1\x00\x00", "an Arrow file"), (rb"%PDF-\d\.\d", "a PDF"),
    (rb"SQLite format 3\x00", "an SQLite database"), (rb".{8}DUCK", "a DuckDB database"),
    (rb"\xd0\xcf\x11\xe0", "an Excel workbook"), (rb"\x89PNG", "a picture"), (rb"\x7fELF", "a program"),
)  # fmt: skip


def split_lines(text: str) -> list[str]:
    r"""The lines of a text with their ends, cut at ``\n``, ``\r\n`` and ``\r`` only."""
    return re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)


def read_header(source: Pushback, dialect: Dialect, label: str, max_bytes: int) -> list[str]:
    """The header's names as they stand; `source` is left behind the header.

    Raises:
        CorruptSourceError: there is no header (an empty file), or the file is no text.
        RecordTooLongError: no header ends within `max_bytes`.
    """
    wanted = HEAD_BYTES
    while True:
        head = source.peek(wanted)
        ended = len(head) < wanted
        text = head.decode("utf-8", "surrogateescape")
        # As behind the last record: a mark that does not stand alone was swallowed by an open quote.
        lines = split_lines(f"{text}\n{_MARK_TEXT}" if ended else text)
        try:
            names, taken = dialect.parse_first(lines)
        except csv.Error as error:
            raise CorruptSourceError(
                f"{label}: the header cannot be parsed: {error}. An unclosed quote in it? Pass quotechar=None if "
                "quotes mean nothing in this file"
            ) from error
        if names == [_MARK_TEXT]:
            raise CorruptSourceError(
                f"{label} is empty: it has no header. If empty files are right, pass fieldnames=[...]"
            )
        if names and _MARK_TEXT in names[-1]:
            raise CorruptSourceError(
                f"{label}: a quote opens in the header and is never closed, or an escape character ends it. Pass "
                "quotechar=None if quotes mean nothing in this file"
            )
        # A record at the end of what was read may go on behind it.
        if names and (ended or taken < len(lines)):
            break
        if len(head) > max_bytes:
            raise RecordTooLongError(f"{label}: no header ends within {max_bytes:,} bytes; an unclosed quote in it?")
        wanted *= 2
    _refuse_unreadable(names, label)
    source.skip_lines(taken)
    return names


def refuse_binary(head: bytes, label: str) -> None:
    """Refuse what is no text, by the first bytes of a file.

    Raises:
        CorruptSourceError: they are those of another format, or UTF-16 read as UTF-8.
    """
    for magic, what in _MAGIC:
        if re.match(magic, head, re.DOTALL):
            raise CorruptSourceError(f"{label} is {what} and no CSV text; rename it or name its adapter or compression")
    first_line = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    halves = first_line[::2], first_line[1::2]
    if len(first_line) > 3 and any(half.strip(b"\x00") == b"" for half in halves):
        raise _nul_characters(label)


def _nul_characters(label: str) -> CorruptSourceError:
    return CorruptSourceError(
        f"{label} has NUL characters in its first line: binary data, or UTF-16 without a byte order mark "
        "(then pass encoding='utf-16-le' or 'utf-16-be')"
    )


def _refuse_unreadable(names: Sequence[str], label: str) -> None:
    for name in names:
        if "\0" in name:
            raise _nul_characters(label)
        if any("\udc80" <= character <= "\udcff" for character in name):
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")[:80]
            raise CorruptSourceError(
                f"{label}: the column name '{shown}' is no UTF-8: binary data, or another encoding "
                "(then pass encoding='latin-1', 'cp1252', 'utf-16'...)"
            )


def unique_names(names: Sequence[str]) -> tuple[list[str], frozenset[str]]:
    """Column names without repetitions, and those that were repeated.

    The second ``x`` becomes ``x_2``; an empty name becomes ``column_3`` after its position, counted from 1.

    >>> unique_names(["x", "x", "", "x_2"])[0]
    ['x', 'x_3', 'column_3', 'x_2']
    """
    taken = {name for name in names if name}
    unique: list[str] = []
    repeated: set[str] = set()
    seen: set[str] = set()
    for position, name in enumerate(names, 1):
        fresh = name or f"column_{position}"
        if name and name in seen:
            repeated.add(name)
        if fresh in seen or (not name and fresh in taken):
            counter = 2
            while f"{fresh}_{counter}" in taken or f"{fresh}_{counter}" in seen:
                counter += 1
            fresh = f"{fresh}_{counter}"
        seen.add(fresh)
        unique.append(fresh)
    return unique, frozenset(repeated)
