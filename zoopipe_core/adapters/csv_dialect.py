"""The shape of a CSV file: its special characters."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass

from zoopipe_core.errors import SpecError

__all__ = ["END_MARK", "Dialect"]

# A record that no CSV file holds: ENQ ACK NAK SYN ETB ACK ENQ. See `csv_stream.ParserInput`.
END_MARK = b"\x05\x06\x15\x16\x17\x06\x05"


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
