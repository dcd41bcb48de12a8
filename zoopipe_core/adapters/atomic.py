"""Writing files for every format: an output that appears complete, or not at all.

AtomicFile(path)  ->  write(data)*, prepare(), publish() | abort()
"""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.paths import filesystem_of, infer_compression, is_url, strip_credentials
from zoopipe_core.errors import SpecError, TargetWriteError

__all__ = ["AtomicFile"]

PRIVATE_FILE = 0o600


class AtomicFile:
    """An output file that appears, complete, or not at all.

    It is written under a hidden name in the target's own folder, flushed to the disk, and renamed; an older file of
    that name stays until then. Missing parent folders are made, and removed again by `abort`. A target that is no
    regular file (a device, a pipe) is written to directly, since a rename would replace the device.

    Args:
        path: a local path or an fsspec URL. A symbolic link is followed: its target is replaced.
        compression: as for `ByteSource`, but no zip.

    Raises:
        TargetWriteError: the folder cannot be made or written, or the path is a folder.
    """

    def __init__(self, path: str, compression: str | None = "infer") -> None:
        self.path = path
        self.compression = infer_compression(path) if compression == "infer" else compression
        if self.compression == "zip":
            raise SpecError(f"{path}: zip files can be read but not written; use .gz or .zst")
        self._made: list[str] = []
        self._state = "open"
        self._written = 0
        with self.writing():
            self._open()
        self._sink: Any = self._file
        if self.compression is not None:
            self._sink = pa.CompressedOutputStream(pa.PythonFile(self._file, mode="w"), self.compression)

    def _open(self) -> None:
        if is_url(self.path):
            filesystem, name = filesystem_of(self.path)
            self._temporary, self._target = None, name
            self._file = filesystem.open(name, "wb", autocommit=False)
            return
        self._target = os.path.realpath(os.path.expanduser(self.path))
        if os.path.isdir(self._target) or self.path.endswith("/"):
            raise TargetWriteError(f"{self.path} is a folder; an output is a file")
        folder = os.path.dirname(self._target)
        self._make_folders(folder)
        if os.path.exists(self._target) and not os.path.isfile(self._target):
            self._temporary = None
            self._file = open(self._target, "wb", buffering=0)  # noqa: SIM115
            return
        self._temporary = os.path.join(folder, f".{os.path.basename(self._target)[:100]}.{secrets.token_hex(6)}.part")
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._new_mode = stat.S_IMODE(os.fstat(descriptor).st_mode)  # what the umask leaves of 0666
        os.fchmod(descriptor, PRIVATE_FILE)
        self._file = open(descriptor, "wb", buffering=2**20)  # noqa: SIM115

    def _make_folders(self, folder: str) -> None:
        missing: list[str] = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            os.makedirs(path, exist_ok=True)
            self._made.append(path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the system says into errors that name the target."""
        try:
            yield
        except TargetWriteError:
            raise
        except OSError as error:
            raise TargetWriteError(
                error.errno, f"{strip_credentials(self.path)} cannot be written: {error.strerror or error}"
            ) from error

    @property
    def sink(self) -> Any:
        """The open binary file, for libraries that write to file objects themselves (within `writing`)."""
        return self._sink

    @property
    def bytes_written(self) -> int:
        """Bytes on their way to the disk, after compression."""
        if not self._file.closed:
            self._written = int(self._file.tell())
        return self._written

    def write(self, data: bytes | memoryview | pa.Buffer) -> None:
        """Append `data`.

        Raises:
            TargetWriteError: no space, a size limit, a lost disk.
        """
        with self.writing():
            self._sink.write(data)

    def prepare(self) -> None:
        """Flush everything to the disk, under the hidden name."""
        if self._state != "open":
            return
        with self.writing():
            if self._sink is not self._file:
                self._sink.close()
            if is_url(self.path):
                self._file.close()
            else:
                if not self._file.closed:
                    self._file.flush()
                    self._written = int(self._file.tell()) if self._temporary is not None else self._written
                    if self._temporary is not None:
                        os.fsync(self._file.fileno())
                    self._file.close()
                elif self._temporary is not None:  # a compressor closes what it wraps
                    self._written = os.path.getsize(self._temporary)
                    _sync_path(self._temporary)
        self._state = "prepared"

    def publish(self) -> None:
        """Rename to the final name; the folder's entry is flushed too."""
        self.prepare()
        if self._state == "published":
            return
        with self.writing():
            if is_url(self.path):
                self._file.commit()
            elif self._temporary is not None:
                os.chmod(self._temporary, self._final_mode())
                os.replace(self._temporary, self._target)
                _sync_path(os.path.dirname(self._target))
        self._state = "published"

    def _final_mode(self) -> int:
        """An existing file keeps its permissions; a new one gets what the umask allows."""
        try:
            return stat.S_IMODE(os.stat(self._target).st_mode)
        except FileNotFoundError:
            return self._new_mode

    def abort(self) -> None:
        """Remove what was written, and the folders that were made for it."""
        if self._state in ("published", "aborted"):
            return
        self._state = "aborted"
        if is_url(self.path):
            self._file.discard()
            return
        try:
            self._file.close()
        except OSError:
            # A full disk fails the flush within close(); the data is unwanted and the descriptor is released.
            self._file = io.BytesIO()
        if self._temporary is not None and os.path.exists(self._temporary):
            os.unlink(self._temporary)
        for folder in reversed(self._made):
            if os.path.isdir(folder) and not os.listdir(folder):
                os.rmdir(folder)


def _sync_path(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
