"""The shape of a CSV file: its special characters, its header, its comment lines.

Parsing itself is pyarrow's. What pyarrow does not do stands here: a header with duplicate or empty names, lines to
skip in front of it, and comment lines, which have to be told from quoted text that begins a line with the same mark.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zoopipe_core.adapters.encodings import Readable
from zoopipe_core.errors import CorruptSourceError, RecordTooLongError, SpecError

__all__ = ["CommentFilter", "Dialect", "read_header", "unique_names"]

# A record that no CSV file holds: NUL ENQ ACK NUL NAK SYN NUL. See `ParserInput`.
END_MARK = b"\x00\x05\x06\x00\x15\x16\x00"
_MAGIC = (
    (b"PK\x03\x04", "a zip archive"), (b"\x1f\x8b", "gzip data"), (b"BZh", "bzip2 data"),
    (b"\x28\xb5\x2f\xfd", "zstd data"), (b"PAR1", "a Parquet file"), (b"ARROW1", "an Arrow file"),
    (b"%PDF", "a PDF"), (b"SQLite format 3", "an SQLite database"), (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"\x89PNG", "a picture"), (b"\x7fELF", "a program"),
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
            if value.encode() in END_MARK:
                raise SpecError(f"{name} {value!r} is a control character that cannot be used here")
            if value in seen:
                raise SpecError(f"{name} and {seen[value]} are both {value!r}")
            seen[value] = name

    def record_pattern(self) -> re.Pattern[bytes]:
        """Matches one whole record with its line break, as pyarrow cuts them: a quote opens only a field's start."""
        delimiter = re.escape(self.delimiter.encode())
        escape = re.escape(self.escapechar.encode()) if self.escapechar else None
        escaped = rb"%s(?s:.)|" % escape if escape else b""
        plain = rb"(?>%s[^\r\n%s%s])*+" % (escaped, delimiter, escape or b"")
        field = plain
        if self.quotechar:
            quote = re.escape(self.quotechar.encode())
            doubled = rb"|%s%s" % (quote, quote) if self.doublequote else b""
            field = rb"(?>%s(?>%s[^%s%s]%s)*+%s%s|%s)" % (
                quote, escaped, quote, escape or b"", doubled, quote, plain, plain,
            )  # fmt: skip
        return re.compile(rb"%s(?>%s%s)*+(?>\r\n|\r(?!\Z)|\n)" % (field, delimiter, field))

    def parse_first(self, text: str) -> tuple[list[str], int]:
        """The first record of `text` that is not blank, and the number of lines it took with what stood before."""
        lines = iter(_Lines(text))
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


class _Lines(Sequence[str]):
    r"""The lines of a text, cut at ``\n``, ``\r\n`` and ``\r`` only."""

    def __init__(self, text: str) -> None:
        self._lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z", text)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)


class Pushback:
    """A readable with bytes put back in front, or lines skipped."""

    def __init__(self, source: Readable, head: bytes = b"") -> None:
        self._source = source
        self._head = head

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer than `size` where that is convenient; empty at the end only."""
        if self._head:
            data, self._head = (self._head, b"") if size < 0 else (self._head[:size], self._head[size:])
            return data + self._source.read(-1) if size < 0 else data
        return self._source.read(size)

    def skip_lines(self, count: int) -> None:
        """Drop `count` physical lines."""
        while count > 0:
            data = self.read(2**20)
            if not data:
                return
            if data.endswith(b"\r"):  # its \n may come next
                data += self.read(1)
            for match in re.finditer(rb"\r\n|\r|\n", data):
                count -= 1
                if count == 0:
                    self._head = data[match.end() :] + self._head
                    break


class ParserInput:
    """The bytes as pyarrow's parser needs them; what is changed here is undone by the reader.

    - Behind the last record stands a record of ours. pyarrow closes an open quote at the end of the input without a
      word, and everything behind the quote becomes one cell. If our record comes back, all quotes were closed.
    - A byte that is no UTF-8 becomes one character of a private range (`restore_bytes` undoes it): pyarrow
      cannot report a ragged row that is not UTF-8.
    - Reads are filled up: a short one would make a small block.

    Attributes:
        marked: whether a byte was replaced; only then is there anything to restore.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._rest = b""
        self._ended = False
        self.marked = False
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """The next bytes, `size` of them or a few more or fewer; empty at the end only."""
        parts, count = [self._rest], len(self._rest)
        self._rest = b""
        while not self._ended and (size < 0 or count < size):
            data = self._source.read(size - count if size >= 0 else -1)
            if not data:
                self._ended = True
                data = b"\n" + END_MARK + b"\n"
            parts.append(data)
            count += len(data)
        return self._checked(b"".join(parts))

    def _checked(self, data: bytes) -> bytes:
        if data.isascii():
            return data
        if not self._ended:
            data, self._rest = _cut_character(data)
        try:
            str(data, "utf-8")
        except UnicodeDecodeError:
            self.marked = True
            return data.decode("utf-8", "zoopipe_marked").encode()
        return data

    def readable(self) -> bool:
        """For pyarrow."""
        return True

    def close(self) -> None:
        """For pyarrow, which closes what it reads from; the source is closed by its owner."""
        self.closed = True


# A private-use block of plane 16 that nobody assigns: one character for each byte from 0x80 to 0xFF.
_MARKED_BASE = 0x10F700
_MARKED = re.compile("[\U0010f780-\U0010f7ff]")


def _mark_bytes(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(chr(_MARKED_BASE + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("zoopipe_marked", _mark_bytes)


def restore_bytes(text: str) -> bytes:
    """The bytes that `ParserInput` read where the parser saw `text`."""
    return _MARKED.sub(lambda match: chr(0xDC00 + ord(match[0]) - _MARKED_BASE), text).encode(
        "utf-8", "surrogateescape"
    )


def _cut_character(data: bytes) -> tuple[bytes, bytes]:
    """`data` up to its last whole character, and the one to three bytes of a character that the read cut in two."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return (data[:-back], data[-back:]) if length > back else (data, b"")
        if byte < 0x80:
            break
    return data, b""


class CommentFilter:
    """Drops the records that begin with the comment character; the same character within quotes stays.

    Args:
        source: UTF-8 bytes.
        dialect: with `Dialect.comment` set.
        max_record_bytes: how far a record's end is looked for.
    """

    def __init__(self, source: Readable, dialect: Dialect, max_record_bytes: int) -> None:
        assert dialect.comment is not None
        self._source = source
        self._mark = dialect.comment.encode()
        self._record = dialect.record_pattern()
        self._comment = re.compile(rb"%s[^\r\n]*(?>\r\n|\r(?!\Z)|\n)" % re.escape(self._mark))
        self._limit = max_record_bytes
        self._buffer = b""
        self._ready = b""
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """The next bytes without comments; empty at the end only."""
        while not self._ready and not self._ended:
            data = self._source.read(max(size, 2**16))
            self._ended = not data
            self._buffer += data
            self._ready = self._filtered()
        if size < 0:
            data, self._ready = self._ready, b""
            rest = self.read(-1) if not self._ended else b""
            return data + rest
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _filtered(self) -> bytes:
        """Whole records from the front of the buffer; at the end of the source, all of it."""
        position, kept_from, kept = 0, 0, []
        buffer, record, comment, mark = self._buffer, self._record, self._comment, self._mark
        while True:
            is_comment = buffer.startswith(mark, position)
            match = (comment if is_comment else record).match(buffer, position)
            if match is None or match.end() == position:
                break
            if is_comment:
                kept.append(buffer[kept_from:position])
                kept_from = match.end()
            position = match.end()
        kept.append(buffer[kept_from:position])
        rest = buffer[position:]
        if self._ended:
            if not rest.startswith(mark):
                kept.append(rest)
            rest = b""
        elif len(rest) > self._limit:
            raise RecordTooLongError(
                f"a record is longer than {self._limit:,} bytes: an unclosed quote, or max_record_bytes is too low"
            )
        self._buffer = rest
        return b"".join(kept)


def read_header(source: Pushback, dialect: Dialect, label: str, max_bytes: int) -> tuple[list[str], Pushback]:
    """The header's names as they stand, and the source behind it.

    Raises:
        CorruptSourceError: there is no header (an empty file), or the file is no text.
        RecordTooLongError: no header ends within `max_bytes`.
    """
    head = b""
    while True:
        data = source.read(2**16)
        head += data
        _refuse_binary(head, label)
        text = head.decode("utf-8", "surrogateescape")
        try:
            names, lines = dialect.parse_first(text)
        except csv.Error as error:
            raise CorruptSourceError(f"{label}: the header cannot be parsed: {error}") from error
        complete = not data or lines < len(_Lines(text))
        if names and complete:
            _refuse_undecodable(names, label)
            break
        if not data:
            raise CorruptSourceError(
                f"{label} is empty: it has no header. If empty files are right, pass fieldnames=[...]"
            )
        if len(head) > max_bytes:
            raise RecordTooLongError(f"{label}: no header ends within {max_bytes:,} bytes; an unclosed quote in it?")
    rest = Pushback(source, head)
    rest.skip_lines(lines)
    return names, rest


def _refuse_binary(head: bytes, label: str) -> None:
    for magic, what in _MAGIC:
        if head.startswith(magic):
            raise CorruptSourceError(f"{label} is {what} and no CSV text; rename it or name its adapter or compression")
    first_line = re.split(rb"[\r\n]", head, maxsplit=1)[0]
    if b"\x00" in first_line:
        raise CorruptSourceError(
            f"{label} has NUL bytes in its first line: binary data, or UTF-16 without a byte order mark "
            "(then pass encoding='utf-16-le' or 'utf-16-be')"
        )


def _refuse_undecodable(names: Sequence[str], label: str) -> None:
    for name in names:
        if not name.isprintable() and any("\udc80" <= character <= "\udcff" for character in name):
            shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")[:80]
            raise CorruptSourceError(
                f"{label}: the column name '{shown}' is no UTF-8: binary data, or another encoding "
                "(then pass encoding='latin-1', 'cp1252', 'utf-16'...)"
            )


def unique_names(names: Sequence[str]) -> tuple[list[str], frozenset[str]]:
    """Column names without repetitions, and those that were repeated.

    The second ``x`` becomes ``x_2``; an empty name becomes ``column_3`` after its position, counted from 1.
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
