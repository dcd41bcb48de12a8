"""Local files that are written past the page cache, where the system offers it.

    DirectFile(file)  ->  write(data)*, drain(), close()
    DirectReader.of(descriptor)  ->  read(start, size)*

A load writes what it will not read again. By way of the page cache each byte costs a copy into fresh memory of the
system's, which may take longer than to make the bytes; it pushes out what others have there, counts against the memory
limit of a container, and the disk still has to be waited for before the file may be shown. Past it, the disk takes the
bytes from one small buffer while other threads make the next.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

__all__ = ["BUFFER_BYTES", "DirectFile", "DirectReader"]

ALIGNMENT = 4096
"""What offsets, sizes and addresses are multiples of: no block device in use asks for more."""

BUFFER_BYTES = 2 * 2**20
"""Large enough for a disk in a network, of which every write waits for an answer; small beside a batch."""

WRITEBACK_BYTES = 8 * 2**20
"""What the page cache has of a file before the disk is told to begin with it."""

_DIRECT = getattr(os, "O_DIRECT", 0)  # Linux and FreeBSD have it
# What a file system says that has no such access, or wants another alignment.
_REFUSALS = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})


class DirectFile:
    """A local file that is appended to: past the page cache as far as that goes, in the usual way elsewhere.

    Bytes are on their way to the disk once there are `BUFFER_BYTES` of them, or when the file is drained.

    Args:
        file: an unbuffered binary file that is written.
        position: how many bytes it has; it stands there.
    """

    def __init__(self, file: Any, position: int = 0) -> None:
        self._file = file
        self._position = position  # of the buffer's first byte
        self._told = position  # the disk has been told of what is before
        self._buffer: mmap.mmap | None = None
        self._filled = 0
        self._is_direct = False
        self._refused = not _DIRECT

    def write(self, data: memoryview) -> int:
        """Take all of `data`, which has a byte an item.

        Raises:
            OSError: these bytes, or earlier ones, cannot be written.
        """
        if self._refused:
            self.drain()
            self._write_through(data)
            return len(data)
        if self._buffer is None:
            self._buffer = mmap.mmap(-1, BUFFER_BYTES)
        rest = data
        while rest:
            # Ends where a block ends, wherever it begins.
            room = BUFFER_BYTES - self._position % ALIGNMENT - self._filled
            taken = rest[:room]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            rest = rest[room:]
            if len(taken) == room:
                self._write_buffer()
        return len(data)

    def drain(self) -> None:
        """Write what is still in the buffer; the descriptor may then be written to, if `moved` is told of it.

        Raises:
            OSError: as `write`.
        """
        if self._filled:
            self._write_buffer()
        self._set_direct(False)

    def moved(self, count: int) -> None:
        """Take note that `count` bytes were appended by way of the descriptor."""
        self._position += count
        if self._position - self._told >= WRITEBACK_BYTES:
            start_writeback(self.fileno(), self._told, self._position - self._told)
            self._told = self._position

    def is_on_disk(self) -> bool:
        """Whether the file system is one of a disk, none of a network, of memory, or on top of others."""
        return bool(_DIRECT) and _is_on_disk(self.fileno())

    def fileno(self) -> int:
        return int(self._file.fileno())

    def close(self) -> None:
        """Close the file; what was not drained is dropped."""
        self._filled = 0
        self._file.close()

    def _write_buffer(self) -> None:
        assert self._buffer is not None
        with memoryview(self._buffer) as whole, whole[: self._filled] as rest:
            self._filled = 0
            is_aligned = not (self._position % ALIGNMENT or len(rest) % ALIGNMENT)
            written = self._write_direct(rest) if is_aligned and not self._refused else 0
            with rest[written:] as left:
                self._write_through(left)

    def _write_direct(self, data: memoryview) -> int:
        """Write past the page cache; how many bytes were taken, which may be none."""
        try:
            self._set_direct(True)
            taken = int(self._file.write(data))
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            taken = 0
        self._position += taken
        self._told = self._position
        # A full disk or a size limit takes what it can. The usual way comes to the same end, and says why.
        self._refused = taken < len(data)
        return taken

    def _write_through(self, data: memoryview) -> None:
        """Write by way of the page cache, and have the disk begin with it."""
        if not data:
            return
        self._set_direct(False)
        while data:
            # An unbuffered file may take less than it is given.
            taken = int(self._file.write(data))
            self.moved(taken)
            data = data[taken:]

    def _set_direct(self, direct: bool) -> None:
        if direct != self._is_direct:
            _set_direct(self.fileno(), direct)
            self._is_direct = direct


class DirectReader:
    """Reads an open file past the page cache, which nobody else has to know of."""

    def __init__(self, descriptor: int) -> None:
        _set_direct(descriptor, True)
        self._descriptor = descriptor
        self._buffer = mmap.mmap(-1, BUFFER_BYTES)

    @classmethod
    def of(cls, descriptor: int) -> DirectReader | None:
        """A reader of a file that is on a disk of this machine; None where it has to be read in the usual way."""
        if not _DIRECT or not _is_on_disk(descriptor):
            return None
        try:
            reader = cls(descriptor)
            reader.read(0, 1)
        except OSError as error:
            if error.errno not in _REFUSALS:
                raise
            _set_direct(descriptor, False)
            return None
        return reader

    def read(self, start: int, size: int) -> memoryview:
        """Up to `size` bytes from `start` on, valid until the next call: none at the end of the file."""
        before = start % ALIGNMENT
        count = os.preadv(self._descriptor, [self._buffer], start - before)
        return memoryview(self._buffer)[before : min(count, before + size)]


def _is_on_disk(descriptor: int) -> bool:
    # The others have numbers of their own, of which the first part is 0.
    return os.major(os.fstat(descriptor).st_dev) != 0


def _set_direct(descriptor: int, direct: bool) -> None:
    import fcntl  # not on Windows, which has no O_DIRECT either

    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _DIRECT if direct else flags & ~_DIRECT)


def start_writeback(descriptor: int, start: int, size: int) -> None:
    """Let the system begin to write bytes of a file to the disk, without waiting for it, where it can be told so.

    The flush at the end of a load then finds little left to do. What goes wrong on the way is what the flush reports.
    """
    tell = _sync_file_range()
    if tell is not None:
        tell(descriptor, start, size, _SYNC_FILE_RANGE_WRITE)


_SYNC_FILE_RANGE_WRITE = 2


@lru_cache(maxsize=1)
def _sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Linux's system call of that name, which Python does not have."""
    if sys.platform != "linux":
        return None
    import ctypes

    function: Any = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if function is not None:
        function.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return function  # type: ignore[no-any-return]
