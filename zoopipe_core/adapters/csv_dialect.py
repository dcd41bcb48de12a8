"""The shape of a CSV file: its special characters, and its header with duplicate, empty or undecodable names."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from zoopipe_core.adapters.csv_stream import END_MARK, Pushback
from zoopipe_core.errors import CorruptSourceError, RecordTooLongError, SpecError

__all__ = ["Dialect", "read_header", "refuse_binary", "unique_names"]

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


@dataclass(frozen=True, slots=True)
class Dialect:
    """The special characters, each one ASCII character; `quotechar`, `escapechar` and `comment` may be None.

    Raises:
        SpecError: a character is no single ASCII character, or two of them are the same.
    """

    delimiter: str = ","
    quotechar: str | None = '"'
    escapechar: str | None = None
    doublequote: bool = True
    comment: str | None = None

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name in ("delimiter", "quotechar", "escapechar", "comment"):
            value = getattr(self, name)
            if value is None and name != "delimiter":
                continue
            if not isinstance(value, str) or len(value) != 1 or not value.isascii() or value in "\r\n":
                raise SpecError(f"{name} has to be a single ASCII character and no line break, not {value!r}")
            if value == "\0" or value.encode() in END_MARK:
                raise SpecError(f"{name} {value!r} is a control character that cannot be used here")
            if value in seen:
                raise SpecError(f"{name} and {seen[value]} are both {value!r}")
            seen[value] = name

    def record_pattern(self) -> re.Pattern[bytes]:
        """Matches one whole record with its line break, as pyarrow cuts them: a quote opens only a field's start.

        It does not match where the record's end is not there yet: an open quote, an escape character or a carriage
        return at the end of the text.
        """
        delimiter = re.escape(self.delimiter.encode())
        newline = rb"(?:\n|\r\n|\r(?!\Z))"
        if self.escapechar is not None:
            escape = re.escape(self.escapechar.encode())
            plain = rb"(?:[^\r\n%s%s]++|%s(?s:.))*+" % (delimiter, escape, escape)
            field = plain
            if self.quotechar is not None:
                quote = re.escape(self.quotechar.encode())
                doubled = rb"|%s%s" % (quote, quote) if self.doublequote else b""
                quoted = rb"%s(?:[^%s%s]++|%s(?s:.)%s)*+%s" % (quote, quote, escape, escape, doubled, quote)
                field = rb"(?:%s|(?!%s))%s" % (quoted, quote, plain)
            return re.compile(rb"%s(?:%s%s)*+%s" % (field, delimiter, field, newline))
        if self.quotechar is None:
            return re.compile(rb"[^\r\n]*+" + newline)
        quote = re.escape(self.quotechar.encode())
        again = rb"(?:%s%s[^%s]*+)*+" % (quote, quote, quote) if self.doublequote else b""
        quoted = rb"%s[^%s]*+%s%s" % (quote, quote, again, quote)
        # A line without a quote is by far the commonest record, and by far the fastest to find.
        return re.compile(
            rb"(?:[^\r\n%s]*+%s|(?:%s|(?!%s))(?:[^\r\n%s]++|(?<=%s)%s|(?<!%s)%s)*+%s)"
            % (quote, newline, quoted, quote, quote, delimiter, quoted, delimiter, quote, newline)
        )

    def parse_first(self, lines: Sequence[str]) -> tuple[list[str], int]:
        """The first record of `lines` that is not blank, and the number of lines it took with what stood before."""
        rows = csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quotechar,
            quoting=csv.QUOTE_NONE if self.quotechar is None else csv.QUOTE_MINIMAL,
            escapechar=self.escapechar,
            doublequote=self.doublequote,
        )
        for row in rows:
            if row:
                return row, rows.line_num
        return [], rows.line_num

    def join(self, cells: Sequence[str], open_last: bool = False) -> str:
        """A record of these cells as it may have stood in the file; with `open_last`, the last one's quote is open."""
        quote = self.quotechar
        if quote is None:
            return self.delimiter.join(cells)
        texts = [self._quoted(cell) if _needs_quotes(cell, self.delimiter, quote) else cell for cell in cells]
        if open_last and texts:
            texts[-1] = self._quoted(cells[-1])[:-1]
        return self.delimiter.join(texts)

    def _quoted(self, cell: str) -> str:
        quote = self.quotechar or ""
        front = quote if self.doublequote else self.escapechar or ""
        return quote + cell.replace(quote, front + quote) + quote


def _needs_quotes(cell: str, delimiter: str, quote: str) -> bool:
    return any(character in cell for character in (delimiter, quote, "\r", "\n"))


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
