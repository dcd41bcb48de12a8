"""Any text encoding as UTF-8, in which an undecodable byte costs one row and not the file.

Everything behind this module reads UTF-8. UTF-8 itself passes through unchecked (cells are checked when they are
decoded). From other encodings, a byte that cannot be decoded is written as a byte that is invalid UTF-8, so that the
same check finds it and rejects just that row.
"""

from __future__ import annotations

import codecs
from typing import Protocol

from zoopipe_core.errors import CorruptSourceError, SpecError

__all__ = ["Readable", "Utf8Stream", "check_encoding", "is_ascii_based", "read_into"]

_BOMS = (
    # UTF-32 before UTF-16: its little-endian mark begins with that of UTF-16.
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_UNDECODABLE = "\udcff"
_CHUNK = 2**20


def is_ascii_based(encoding: str) -> bool:
    """Whether each ASCII character is its own byte in this encoding, and that byte never a part of another character.

    So it is in UTF-8, ASCII, Latin-1, the Windows and most other encodings of one byte a character.
    """
    if check_encoding(encoding) in ("utf-8", "utf-8-sig"):
        return True
    make = codecs.getincrementaldecoder(encoding)
    for byte in range(256):
        decoder = make("replace")
        text = decoder.decode(bytes([byte]))
        # A codec that waits for more, or is in another state now, reads this byte together with others.
        if len(text) != 1 or decoder.getstate() != make("replace").getstate():
            return False
        if (byte < 128) != text.isascii() or (byte < 128 and ord(text) != byte):
            return False
    return True


class Readable(Protocol):
    """What `Utf8Stream` reads from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, empty at the end."""
        ...


def read_into(source: Readable, view: memoryview) -> int:
    """Read up to ``len(view)`` bytes into `view`, how many; 0 at the end only. Without a copy where `source` can."""
    readinto = getattr(source, "readinto", None)
    if readinto is not None:
        return int(readinto(view))
    data = source.read(len(view))
    view[: len(data)] = data
    return len(data)


def _mark_undecodable(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeDecodeError):
        return _UNDECODABLE, error.end
    if isinstance(error, UnicodeEncodeError):
        # The mark itself, or half of a surrogate pair that a decoder let through.
        return b"\xff" * (error.end - error.start), error.end
    raise error


codecs.register_error("zoopipe_undecodable", _mark_undecodable)


def check_encoding(encoding: str) -> str:
    """The codec's canonical name.

    Raises:
        SpecError: Python knows no such text encoding.
    """
    try:
        info = codecs.lookup(encoding)
    except LookupError:
        raise SpecError(
            f"encoding {encoding!r} is unknown; use a name such as 'utf-8', 'utf-16', 'latin-1', 'cp1252'"
        ) from None
    if not info._is_text_encoding:
        raise SpecError(f"{encoding!r} is a byte transform and no text encoding")
    return info.name


class Utf8Stream:
    """A byte source as UTF-8 without a byte order mark.

    A byte order mark decides between UTF-8, UTF-16 and UTF-32 when `encoding` names one of these families;
    ``"utf-8"`` without a mark is passed through as it is.

    Args:
        source: anything with ``read(size) -> bytes``.
        encoding: a Python codec's name.
        label: the source's name, for messages.
        from_start: whether the source is read from its beginning, where a byte order mark may stand.

    Attributes:
        encoding: the codec that is used.
        mark_bytes: how long the byte order mark was.

    Raises:
        CorruptSourceError: `encoding` leaves the order of bytes to a mark, and there is none.
    """

    def __init__(self, source: Readable, encoding: str, label: str, *, from_start: bool = True) -> None:
        self._source = source
        name = check_encoding(encoding)
        self.mark_bytes = 0
        head = source.read(4) if from_start else b""
        while 0 < len(head) < 4:
            more = source.read(4 - len(head))
            if not more:
                break
            head += more
        if name.startswith("utf"):
            for mark, marked in _BOMS:
                if head.startswith(mark):
                    head, name, self.mark_bytes = head[len(mark) :], marked, len(mark)
                    break
        if head and name in ("utf-16", "utf-32"):
            raise CorruptSourceError(
                f"{label} has no byte order mark, which encoding={encoding!r} needs; pass '{name}-le' or '{name}-be', "
                "or the encoding that it has"
            )
        self.encoding = name
        self._pending = head
        self._decoder: codecs.IncrementalDecoder | None = None
        if name not in ("utf-8", "utf-8-sig"):
            self._decoder = codecs.getincrementaldecoder(name)("zoopipe_undecodable")
            self._pending = self._convert(head, final=False)
        self._ended = False

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes of UTF-8, possibly fewer; empty at the end only. Negative: all that is left."""
        if size < 0:
            parts = []
            while part := self.read(_CHUNK):
                parts.append(part)
            return b"".join(parts)
        while not self._pending and not self._ended:
            data = self._source.read(max(size, 4096))
            self._ended = not data
            self._pending = data if self._decoder is None else self._convert(data, final=not data)
        data, self._pending = self._pending[:size], self._pending[size:]
        return data

    def readinto(self, view: memoryview) -> int:
        """As `read`, into `view`; how many bytes."""
        if self._decoder is None and not self._pending and not self._ended:
            count = read_into(self._source, view)
            self._ended = not count
            return count
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def _convert(self, data: bytes, final: bool) -> bytes:
        assert self._decoder is not None
        # The mark of an undecodable byte becomes the byte 0xFF, which is never UTF-8.
        return self._decoder.decode(data, final).encode("utf-8", "zoopipe_undecodable")
