"""One CSV file, open: its bytes as UTF-8 without comments, behind its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoopipe_core.adapters.csv_header import HEAD_BYTES, read_header, refuse_binary, unique_names
from zoopipe_core.adapters.csv_stream import CommentFilter, Pushback
from zoopipe_core.adapters.encodings import Utf8Stream
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.paths import strip_credentials
from zoopipe_core.adapters.splitting import Piece

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv import CSVInputAdapter

__all__ = ["OpenCSV"]


class OpenCSV:
    """One CSV file, or a piece of it, its header read.

    Attributes:
        piece: which one. Its bytes begin at a record, or with the file.
        names: the columns.
        duplicates: names that stand in the header twice.
        encoding: what the file is in, byte order marks looked at.
        mark_bytes: how long its byte order mark is.
        source, body: the bytes of the piece, and as the text from its first record on.

    Raises:
        SourceError: it cannot be read, its header not be parsed, or it has changed.
    """

    def __init__(self, adapter: CSVInputAdapter, piece: Piece) -> None:
        self.adapter = adapter
        self.piece = piece
        self.label = strip_credentials(piece.path)
        piece.check()
        names = self._open()
        self.names, self.duplicates = unique_names(names)

    def _open(self) -> list[str]:
        adapter, piece = self.adapter, self.piece
        is_inner = bool(piece.start)
        self.source = self._source(0, None if is_inner else piece.stop)
        try:
            text = Utf8Stream(self.source, adapter.encoding, self.label)
            self.encoding, self.mark_bytes = text.encoding, text.mark_bytes
            stream = Pushback(text)
            refuse_binary(stream.peek(HEAD_BYTES), self.label)
            stream.skip_lines(adapter.skip_rows)
            self.body = stream = self._without_comments(stream)
            names = adapter.fieldnames
            if names is None:
                names = read_header(stream, adapter.dialect, self.label, adapter.max_record_bytes)
            if is_inner:
                self.source.close()
                self.source = self._source(piece.start or 0, piece.stop)
                text = Utf8Stream(self.source, self.encoding, self.label, from_start=False)
                self.body = self._without_comments(Pushback(text))
        except BaseException:
            self.source.close()
            raise
        return list(names)

    def _source(self, start: int, stop: int | None) -> ByteSource:
        return ByteSource(self.piece.path, self.adapter.compression, self.adapter.limits, start, stop)

    def _without_comments(self, stream: Pushback) -> Pushback:
        adapter = self.adapter
        if adapter.comment is None:
            return stream
        record = adapter.dialect.record_pattern()
        return Pushback(CommentFilter(stream, adapter.comment, record, adapter.max_record_bytes, self.label))

    def reopen(self) -> None:
        """Back to the first record."""
        self.source.close()
        self._open()

    def close(self) -> None:
        """Close the file; harmless if done already."""
        self.source.close()
