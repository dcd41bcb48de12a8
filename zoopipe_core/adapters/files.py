"""Reading files for every format: bytes, decompressed and capped.

    ByteSource(path)  ->  read(n): decompressed bytes; position in the raw file

Paths and URLs are handled by `zoopipe_core.adapters.paths`, outputs by `zoopipe_core.adapters.atomic`.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import pyarrow as pa

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.decompression import DecompressionLimits
from zoopipe_core.adapters.encodings import read_into
from zoopipe_core.adapters.paths import (
    PathLike,
    Paths,
    describe_paths,
    expand_paths,
    file_size,
    filesystem_of,
    folder_error,
    infer_compression,
    is_url,
    local_path,
    normalize_paths,
    read_error,
    strip_credentials,
)
from zoopipe_core.errors import (
    CorruptSourceError,
    DecompressionLimitError,
    SourceNotFoundError,
    SourceReadError,
)

__all__ = [
    "AtomicFile",
    "ByteSource",
    "DecompressionLimits",
    "PathLike",
    "Paths",
    "describe_paths",
    "expand_paths",
    "file_size",
    "infer_compression",
    "is_url",
    "normalize_paths",
    "open_raw",
    "reading",
    "strip_credentials",
]

# A ratio says nothing about a small file: a few MB of one repeated line are no bomb.
RATIO_GRACE_BYTES = 64 * 2**20
_PIECE_BYTES = 2**20
_BZ2_BYTES = 2**16


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what the system says while `path` is read into errors that name it."""
    try:
        yield
    except (SourceNotFoundError, SourceReadError):
        raise
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"there is no file {strip_credentials(path)}") from error
    except OSError as error:
        if type(error) is OSError and error.errno is None:
            # So pyarrow reports damage.
            raise CorruptSourceError(f"{strip_credentials(path)} is damaged: {error}") from error
        raise read_error(path, error) from error


# What codecs raise when the data is damaged, beside an OSError without a number.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, pa.ArrowException)


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class _CountedFile(io.RawIOBase):
    """A raw file that knows how many bytes were taken from it."""

    def __init__(self, file: Any, left: int | None = None) -> None:
        self._file = file
        self._left = left  # bytes that may yet be taken; None: all
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._left is not None:
            size = self._left if size < 0 else min(size, self._left)
        data: bytes = self._file.read(size)
        self.taken += len(data)
        if self._left is not None:
            self._left -= len(data)
        return data

    def readinto(self, view: Any, /) -> int:
        count = read_into(self._file, memoryview(view)[: self._left])
        self.taken += count
        if self._left is not None:
            self._left -= count
        return count

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


class ByteSource:
    """The decompressed bytes of one file, read once from front to back.

    Args:
        path: a local path or an fsspec URL.
        compression: ``"infer"`` (from the suffix), ``"gzip"``, ``"bz2"``, ``"zstd"``, ``"zip"`` or None.
        limits: caps on what decompression may produce.
        start, stop: read only these bytes of the raw file; for files that are not compressed.

    Attributes:
        size: bytes of the raw file, None if unknown (a pipe).

    Raises:
        SourceNotFoundError, SourceReadError, CorruptSourceError
    """

    def __init__(
        self,
        path: str,
        compression: str | None = "infer",
        limits: DecompressionLimits = DecompressionLimits(),
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        self.path = path
        self.limits = limits
        self.compression = infer_compression(path) if compression == "infer" else compression
        self.decompressed = 0
        with reading(path):
            raw, self.size = open_raw(path)
            self._raw = _CountedFile(raw, None if stop is None else stop - start)
            try:
                if start:
                    self._raw.seek(start)
                self._stream = self._decompressor()
            except BaseException:
                self._raw.close()
                raise

    def _decompressor(self) -> _Readable:
        if self.compression is None:
            return self._raw
        if self.compression == "zip":
            return _open_zip_member(self._raw, self.path)
        if self.compression == "bz2":
            return _Bz2Stream(self._raw)
        return pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), self.compression)  # type: ignore[no-any-return]

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer only at the end. Negative: all that is left.

        Raises:
            CorruptSourceError: the compressed data is truncated or damaged.
            DecompressionLimitError: more came out than the caps allow.
        """
        if size < 0:
            # In pieces, so that a bomb is noticed before it fills the memory.
            return b"".join(iter(lambda: self.read(_PIECE_BYTES), b""))
        with reading(self.path):
            try:
                data = self._stream.read(size)
            except _DAMAGE as error:
                raise self._damaged(error) from error
            except OSError as error:
                # pyarrow's and Python's codecs report damage as an OSError without a number.
                if self.compression is None or error.errno is not None:
                    raise
                raise self._damaged(error) from error
        self.decompressed += len(data)
        if self.compression is not None:
            if size and not self._raw.taken:
                raise self._damaged(EOFError("the file is empty"))
            self._check_limits()
        return bytes(data)

    def readinto(self, view: memoryview) -> int:
        """As `read`, into `view`; how many bytes. Without a copy where nothing is decompressed."""
        if self.compression is not None:
            data = self.read(len(view))
            view[: len(data)] = data
            return len(data)
        with reading(self.path):
            count = self._raw.readinto(view)
        self.decompressed += count
        return count

    def _damaged(self, error: Exception) -> CorruptSourceError:
        return CorruptSourceError(
            f"{strip_credentials(self.path)} is damaged, or no {self.compression} data: {error} (after "
            f"{self.decompressed:,} bytes decompressed). Fetch it again, or pass compression=None if it is plain text"
        )

    def _check_limits(self) -> None:
        name, grown = strip_credentials(self.path), self.decompressed
        if grown > self.limits.max_bytes:
            raise DecompressionLimitError(
                f"{name} holds more than {self.limits.max_bytes:,} bytes decompressed; raise max_decompressed_bytes "
                "if that is right"
            )
        if grown > RATIO_GRACE_BYTES and grown > self.limits.max_ratio * max(self._raw.taken, 1):
            raise DecompressionLimitError(
                f"{name} grows by more than {self.limits.max_ratio:g} times when decompressed ({grown:,} bytes so "
                "far): a decompression bomb? Raise max_compression_ratio if it is right"
            )

    @property
    def position(self) -> int:
        """Bytes taken from the raw file so far."""
        return self._raw.taken

    @property
    def can_reopen(self) -> bool:
        """Whether the file can be read a second time; a pipe cannot."""
        return self.size is not None or is_url(self.path)

    def close(self) -> None:
        """Close the file; harmless if done already."""
        self._stream.close()
        self._raw.close()


class _Bz2Stream:
    """Decompressed bzip2 data, of any number of streams in one file.

    pyarrow fails at an empty stream behind another; Python's own `bz2.BZ2File` takes damage behind the first stream
    for its end.
    """

    def __init__(self, file: _Readable) -> None:
        self._file = file
        self._decompressor = bz2.BZ2Decompressor()
        self._rest = b""  # compressed bytes behind the end of a stream

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes, fewer only at the end.

        Raises:
            OSError, EOFError: the data is damaged, or truncated.
        """
        parts, missing = [], size
        while missing > 0 and (data := self._next(missing)):
            parts.append(data)
            missing -= len(data)
        return b"".join(parts)

    def _next(self, size: int) -> bytes:
        """Some of the next bytes; none at the end only."""
        data = b""
        while not data:
            compressed = b""
            if self._decompressor.needs_input or self._decompressor.eof:
                compressed = self._rest or self._file.read(_BZ2_BYTES)
                self._rest = b""
                if not compressed:
                    if not self._decompressor.eof:
                        raise EOFError("it ends within a bzip2 stream")
                    return b""
                if self._decompressor.eof:
                    self._decompressor = bz2.BZ2Decompressor()
            data = self._decompressor.decompress(compressed, size)
            self._rest = self._decompressor.unused_data
        return data

    def close(self) -> None:
        """Harmless; the file is closed by its owner."""


def open_raw(path: str) -> tuple[Any, int | None]:
    """A file for reading bytes, and its size; None if that is unknown (a pipe).

    Raises:
        OSError, SourceReadError: it cannot be opened.
    """
    if is_url(path):
        filesystem, name = filesystem_of(path)
        file = filesystem.open(name, "rb")
        return file, getattr(file, "size", None)
    path = local_path(path)
    if os.path.isdir(path):
        raise folder_error(path)
    local = open(path, "rb")  # noqa: SIM115  closed by ByteSource.close
    status = os.fstat(local.fileno())
    return local, status.st_size if stat.S_ISREG(status.st_mode) else None


def _open_zip_member(raw: _CountedFile, path: str) -> _Readable:
    label = strip_credentials(path)
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile as error:
        raise CorruptSourceError(f"{label} is no zip archive, or a truncated one: {error}") from error
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) != 1:
        names = ", ".join(info.filename for info in members[:5]) or "none"
        raise CorruptSourceError(
            f"{label} holds {len(members)} files ({names}); a zip input holds exactly one: unpack it and name the files"
        )
    raw.taken = 0  # the directory at the end was read first; what counts is the member
    try:
        return archive.open(members[0])
    except (RuntimeError, NotImplementedError) as error:
        raise CorruptSourceError(f"{label}: {members[0].filename} cannot be unpacked: {error}") from error
