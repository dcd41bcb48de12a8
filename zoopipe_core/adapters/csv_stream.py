"""What lies between a CSV file's text and pyarrow's parser.

    Utf8Stream -> Pushback -> CommentFilter -> ParserInput -> ParserStream (pyarrow.csv)
                  header,     comment          an end mark,
                  skipped     lines            marked bytes
                  lines

Each of these is read with ``read(size)``, which returns what is convenient up to `size` bytes, and nothing at the end
only.
"""

from __future__ import annotations

import atexit
import io
import re
import threading
import weakref
from collections import deque
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.csv as arrow_csv

from zoopipe_core.adapters.csv_dialect import END_MARK
from zoopipe_core.adapters.encodings import Readable, read_into
from zoopipe_core.batches.pools import buffer_pool
from zoopipe_core.errors import RecordTooLongError

__all__ = ["CommentFilter", "ParserInput", "ParserStream", "Pushback", "mark_bytes", "restore_bytes"]

CHUNK_BYTES = 2**16
BLOCKS_AHEAD = 2
PATIENCE_SECONDS = 0.05
STOP_SECONDS = 1.0
_BOM = b"\xef\xbb\xbf"


class Pushback:
    """A source that can be looked at before it is read, and whose lines can be skipped."""

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._head = b""

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        if not self._head:
            return self._source.read(size)
        if size < 0:
            data, self._head = self._head + self._source.read(-1), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data

    def readinto(self, view: memoryview) -> int:
        """As `read`, into `view`; how many bytes."""
        if not self._head:
            return read_into(self._source, view)
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def peek(self, size: int) -> bytes:
        """The next `size` bytes, which stay to be read; fewer only if there are no more."""
        parts, count = [self._head], len(self._head)
        while count < size and (data := self._source.read(size - count)):
            parts.append(data)
            count += len(data)
        self._head = b"".join(parts)
        return self._head[:size]

    def skip_lines(self, count: int) -> None:
        """Drop `count` physical lines."""
        while count > 0:
            data = self.read(CHUNK_BYTES)
            if not data:
                return
            if data.endswith(b"\r"):  # its \n may come next
                data += self.read(1)
            for match in re.finditer(rb"\r\n|\r|\n", data):
                count -= 1
                if count == 0:
                    self._head = data[match.end() :] + self._head
                    break


class CommentFilter:
    """Drops the records that begin with the comment character; the same character within quotes stays.

    Args:
        source: UTF-8 bytes.
        mark: the comment character.
        record: matches one whole record, see `Dialect.record_pattern`.
        max_record_bytes: how far a record's end is looked for.
        label: the source's name, for messages.
    """

    def __init__(
        self, source: Readable, mark: str, record: re.Pattern[bytes], max_record_bytes: int, label: str
    ) -> None:
        self._source = source
        self._mark = mark.encode()
        escaped = re.escape(self._mark)
        self._records = re.compile(rb"(?:(?!%s)%s)*+" % (escaped, record.pattern))
        self._comments = re.compile(rb"(?:%s[^\r\n]*+(?:\n|\r\n|\r(?!\Z)))++" % escaped)
        self._limit = max_record_bytes
        self._label = label
        self._buffer = b""
        self._ready = b""
        self._retry_at = 0
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """The next bytes without comments."""
        if size < 0:
            return b"".join(iter(lambda: self.read(2**20), b""))
        while not self._ready and not self._ended:
            data = self._source.read(max(size, CHUNK_BYTES))
            self._ended = not data
            self._buffer += data
            if self._ended or len(self._buffer) >= self._retry_at:
                self._ready = self._filtered()
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _filtered(self) -> bytes:
        """Whole records from the front of the buffer; at the end of the source, all of it."""
        buffer, kept = self._buffer, []
        position = self._end_of(self._records, 0)
        kept.append(buffer[:position])
        while (after := self._end_of(self._comments, position)) > position:
            position = self._end_of(self._records, after)
            kept.append(buffer[after:position])
        rest = buffer[position:]
        if self._ended:
            if not rest.startswith(self._mark):
                kept.append(rest)
            rest = b""
        elif len(rest) > self._limit:
            raise RecordTooLongError(
                f"{self._label}: a record is longer than {self._limit:,} bytes; an unclosed quote? Raise "
                "max_record_bytes if it is right, or pass quotechar=None if quotes mean nothing in this file"
            )
        # A record is searched from its beginning each time: not again before there is twice as much of it.
        self._retry_at = 0 if position else min(2 * len(rest), self._limit + 1)
        self._buffer = rest
        return b"".join(kept)

    def _end_of(self, pattern: re.Pattern[bytes], position: int) -> int:
        match = pattern.match(self._buffer, position)
        return position if match is None else match.end()


class ParserInput:
    """The bytes as pyarrow's parser needs them; what is changed here is undone by the reader.

    - Behind the last record stands a record of ours. pyarrow closes an open quote at the end of the input without a
      word, and everything behind the quote becomes one cell. If our record comes back, all quotes were closed.
    - A byte that is no UTF-8 becomes a character of a private range (`restore_bytes` undoes it): pyarrow cannot
      report a ragged row that is not UTF-8. So does a NUL, behind which pyarrow overlooks quotes and line breaks.
    - In front of a byte order mark stands a blank line: the file's own mark is gone by now, and this one is data.
    - Reads are filled up: a short one would make a small block, and a record may not span three of them.
    - No read ends with a carriage return that more bytes follow. pyarrow drops a line feed at the beginning of a block
      behind a carriage return at the end of the block before, also within quotes (apache/arrow#51368).

    - No more than a few blocks are read ahead of those that were parsed. pyarrow would read 32 of them.

    Attributes:
        marked: whether a byte was replaced; only then is there anything to restore.
    """

    def __init__(self, source: Readable) -> None:
        self._source = source
        self._room = threading.Semaphore(BLOCKS_AHEAD)
        self._reading = threading.Lock()
        self._stopped = False
        self._ready = b""
        self._rest = b""  # the beginning of a character
        self._started = False
        self._ended = False
        self.marked = False
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, or up to four fewer."""
        # A block without a row makes no batch: what is not parsed soon may never be told of.
        self._room.acquire(timeout=0 if self._stopped else PATIENCE_SECONDS)
        with self._reading:
            return b"" if self._stopped else self._read(size)

    def stop(self) -> bool:
        """The input ends here, whatever there is. False if a read is still under way and does not come back.

        Harmless if done already.
        """
        self._stopped = True
        self._room.release(BLOCKS_AHEAD)
        if not self._reading.acquire(timeout=STOP_SECONDS):
            return False
        self._ready, self._source = b"", io.BytesIO()
        self._reading.release()
        return True

    def _read(self, size: int) -> bytes:
        parts, count = [self._ready] if self._ready else [], len(self._ready)
        while not self._ended and (size < 0 or count < max(1, size - 3)):
            data = self._next(size - count)
            parts.append(data)
            count += len(data)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        end = len(data) if size < 0 else min(len(data), size)
        if end > 1 and data[end - 1] == ord("\r"):
            end -= 1
        self._ready = data[end:]
        return data[:end] if self._ready else data

    def parsed(self) -> None:
        """A block was parsed: there is room for another one."""
        self._room.release()

    def _next(self, size: int) -> bytes:
        data = self._source.read(size)
        if not data:
            self._ended = True
            data = b"\n" + END_MARK + b"\n"
        if not self._started:
            self._started = True
            while len(data) < len(_BOM) and (more := self._source.read(1)):
                data += more
            if data.startswith(_BOM):
                data = b"\n" + data
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not data.isascii() and not self._ended:
            data, self._rest = _cut_character(data)
        marked = mark_bytes(data)
        self.marked = self.marked or marked is not data
        return marked

    def readable(self) -> bool:
        """For pyarrow."""
        return True

    def close(self) -> None:
        """For pyarrow, which closes what it reads from; the source is closed by its owner."""
        self.closed = True


class ParserStream:
    """The record batches of pyarrow's parser, which can be ended at any time.

    pyarrow reads in a thread of its own, and so runs Python code there. Where it asks for the interpreter while that
    ends, the process is aborted. So whoever stops early has to `end` the stream, and what is still open when the
    interpreter ends is ended then.

    Raises:
        pyarrow.ArrowInvalid: the first block cannot be parsed.
    """

    def __init__(
        self,
        source: ParserInput,
        read: arrow_csv.ReadOptions,
        parse: arrow_csv.ParseOptions,
        convert: arrow_csv.ConvertOptions,
    ) -> None:
        self._source = source
        self._turn = threading.Lock()
        self._reader: arrow_csv.CSVStreamingReader | None = None
        _OPEN.add(self)
        # Copied into memory of pyarrow's own: any of its threads may be the last to drop a block, and to drop a Python
        # object takes the interpreter too. So does dropping the file, which is kept for a while.
        file = pa.BufferedInputStream(pa.PythonFile(source, mode="r"), 1, buffer_pool())
        _LATEST.append(file)
        try:
            self._reader = arrow_csv.open_csv(file, read, parse, convert, buffer_pool())
        except BaseException:
            self.end()
            raise
        self.schema: pa.Schema = self._reader.schema

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        while True:
            with self._turn:
                if self._reader is None:
                    return
                try:
                    batch = self._reader.read_next_batch()
                except StopIteration:
                    return
            self._source.parsed()
            yield batch

    def end(self) -> None:
        """Wait until pyarrow's thread has come to its end; harmless if done already."""
        if not self._source.stop() or not self._turn.acquire(timeout=STOP_SECONDS):
            return
        try:
            reader, self._reader = self._reader, None
            for _ in reader or ():  # the few blocks that were read ahead
                pass
        except pa.ArrowInvalid:
            pass  # the input is cut somewhere, or had failed before
        finally:
            self._turn.release()


_OPEN: weakref.WeakSet[ParserStream] = weakref.WeakSet()
_LATEST: deque[pa.NativeFile] = deque(maxlen=16)


@atexit.register
def _end_all() -> None:
    for stream in list(_OPEN):
        stream.end()


# A private-use block of plane 16: one character for NUL and for each byte from 0x80 to 0xFF. A text that holds one of
# these characters has each of its bytes replaced too, so that what comes back is what was read.
_MARKS_FROM = 0x10F700
_MARKS = re.compile("[\U0010f700-\U0010f7ff]")
_UNSAFE = re.compile("[\0\udc80-\udcff\U0010f700-\U0010f7ff]")


def mark_bytes(data: bytes) -> bytes:
    r"""What the parser is to see in place of `data`, which holds whole characters; the same object if nothing changes.

    >>> mark_bytes(b"plain"), mark_bytes(b"\xff").decode() == chr(0x10F7FF)
    (b'plain', True)
    """
    # 0xF4 begins the characters of the private range.
    if b"\0" not in data and b"\xf4" not in data and _is_utf8(data):
        return data
    text = data.decode("utf-8", "surrogateescape")
    marked = _UNSAFE.sub(_mark, text)
    return data if marked == text else marked.encode()


def restore_bytes(text: str) -> bytes:
    """The bytes that `ParserInput` read where the parser saw `text`."""
    return _MARKS.sub(_unmark, text).encode("utf-8", "surrogateescape")


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        str(data, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _mark(match: re.Match[str]) -> str:
    return "".join(chr(_MARKS_FROM + byte) for byte in match[0].encode("utf-8", "surrogateescape"))


def _unmark(match: re.Match[str]) -> str:
    byte = ord(match[0]) - _MARKS_FROM
    return chr(0xDC00 + byte) if byte else "\0"


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
