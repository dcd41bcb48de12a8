"""Writing files for every format: an output that appears complete, or not at all.

    AtomicFile(path)  ->  write(data)*, prepare(), publish() | abort()

    out/                       .orders.csv.3f9a0c.part    written and flushed here, readable by nobody else
        orders.csv      <-     renamed at once; until then the old file stands

Local paths, devices, and whatever fsspec can write.
"""

from __future__ import annotations

import errno
import io
import os
import secrets
import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from zoopipe_core._faults import reached
from zoopipe_core.adapters.file_leftovers import FileLock, remove_leftovers
from zoopipe_core.adapters.file_moves import copy_range, make_folders, start_writeback, sync_folder
from zoopipe_core.adapters.paths import filesystem_of, infer_compression, is_url, local_path, strip_credentials
from zoopipe_core.errors import SpecError, TargetWriteError

__all__ = ["AtomicFile"]

PRIVATE_FILE = 0o600
WRITEBACK_BYTES = 8 * 2**20
# Leaves room in the 255 bytes of a name for what is put around it.
_MAX_NAME_BYTES = 200
_ATTEMPTS = 5
# These show an object when its upload is completed, and have no rename. All other file systems have one.
_OBJECT_STORES = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oss", "r2", "s3", "s3a"})


class AtomicFile:
    """An output file that appears, complete, or not at all.

    It is written under a hidden name in the target's own folder, flushed to the disk, and renamed; an older file of
    that name stays until then. What loads that were killed have left is removed by the next one. Missing parent folders
    are made, and removed again by `abort`. A target that is no regular file (a device, a pipe) is written to directly,
    since a rename would replace the device.

    Args:
        path: a local path or an fsspec URL. A symbolic link is followed: its target is replaced.
        compression: as for `ByteSource`, but no zip.
        folder: where a local file is until it is published; one of the same file system. None: the target's own.

    Raises:
        SpecError: the file would be a zip archive.
        TargetWriteError: the folder cannot be made or written, or the path is a folder.
    """

    def __init__(self, path: str, compression: str | None = "infer", folder: str | None = None) -> None:
        self.path = path
        self.compression = infer_compression(path) if compression == "infer" else compression
        if self.compression == "zip":
            raise SpecError(f"{strip_credentials(path)}: zip files can be read but not written; use .gz or .zst")
        self._state = "open"
        with self.writing():
            self._place = _find_place(path, folder)
        self._raw = _CountedSink(self._place.file)
        self._sink: Any = self._raw
        if self.compression is not None:
            self._sink = pa.CompressedOutputStream(pa.PythonFile(self._raw, mode="w"), self.compression)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the system says into errors that name the target."""
        try:
            yield
        except TargetWriteError:
            raise
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "")
            raised = TargetWriteError(
                f"{strip_credentials(self.path)} cannot be written: {error.strerror or error}{advice}"
            )
            raised.errno = error.errno
            raise raised from error

    @property
    def sink(self) -> Any:
        """The open binary file, for libraries that write to file objects themselves (within `writing`).

        They may close it; the file itself stays open until `prepare`.
        """
        return self._sink

    @property
    def bytes_written(self) -> int:
        """Bytes on their way to the disk, after compression."""
        return self._raw.count

    @property
    def hidden_path(self) -> str | None:
        """Where the bytes of a local file are until it is published, in the file that will have its name then."""
        return self._place.hidden

    def write(self, data: bytes | memoryview | pa.Buffer) -> None:
        """Append `data`.

        Raises:
            TargetWriteError: no space, a size limit, a lost disk.
        """
        with self.writing():
            self._sink.write(data)

    def append_file(self, path: str, start: int = 0, end: int | None = None) -> Iterator[int]:
        """Append bytes of another local file, as they are: by the file system itself where it can.

        Args:
            path: of the other file.
            start: where to begin.
            end: where to end; None: at its end.

        Yields:
            Bytes copied since the last time, at least every 64 MiB, so that the caller can look around.

        Raises:
            TargetWriteError: as `write`, or the other file is gone.
        """
        assert self.compression is None, "a compressor would have to see the bytes"
        with self.writing():
            end = os.path.getsize(path) if end is None else end
            for copied in copy_range(path, self._place.file, start, end):
                self._raw.count += copied
                yield copied

    def adopt_file(self, path: str, end: int | None = None) -> Iterator[int]:
        """As `append_file` from the start of `path`, for the first bytes of this file, and `path` may be used up.

        Where both are in one file system, the file becomes this one, and nothing is copied.
        """
        assert self.compression is None, "a compressor would have to see the bytes"
        assert not self._raw.count, "it is to be the beginning"
        with self.writing():
            end = os.path.getsize(path) if end is None else end
            adopted = self._place.adopt(path, end)
        if adopted:
            self._raw.redirect(self._place.file, end)
            yield end
        else:
            yield from self.append_file(path, 0, end)

    def watch(self) -> None:
        """Let the points of `zoopipe_core.testing.faults` be reached: this is the file of a load's rows."""
        self._raw.watched = True

    def prepare(self) -> None:
        """Flush everything to the disk, under the hidden name."""
        if self._state != "open":
            return
        if self._raw.watched:
            reached("after_stage")
        with self.writing():
            self._sink.close()
            self._place.flush()
        self._state = "prepared"
        if self._raw.watched:
            reached("after_prepare")

    def publish(self) -> None:
        """Rename to the final name; the folder's entry is flushed too."""
        self.prepare()
        if self._state != "prepared":
            return
        with self.writing():
            self._place.publish()
        self._state = "published"
        if self._raw.watched:
            reached("after_commit")

    def abort(self) -> None:
        """Remove what was written, and the folders that were made for it."""
        if self._state in ("published", "aborted"):
            return
        self._state = "aborted"
        # A compressor writes a last block when it is closed; on a full disk that would fail.
        self._raw.discard = True
        self._sink.close()
        self._place.remove()


_ADVICE = {
    errno.EACCES: "; its folder has to be writable",
    errno.EDQUOT: "; free some space, or write elsewhere",
    errno.EFBIG: "; the process may not write so large a file (ulimit -f)",
    errno.ENAMETOOLONG: "; a name may have 255 bytes",
    errno.ENOSPC: "; free some space, or write elsewhere",
    errno.EPERM: "; its folder has to be writable",
    errno.EROFS: "; write elsewhere",
}


class _CountedSink(io.RawIOBase):
    """The file as those that write into it see it: takes all bytes at once, counts them, and closes only itself.

    Attributes:
        count: bytes written.
        discard: drop what is written from now on.
        watched: see `AtomicFile.watch`.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._told = 0
        self.count = 0
        self.discard = self.watched = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        if self.watched:
            reached("mid_stage" if self.count else "before_stage")
        while len(view) and not self.discard:
            # An unbuffered file may take less than it is given.
            taken = int(self._file.write(view))
            self.count += taken
            view = view[taken:]
        if self.count - self._told >= WRITEBACK_BYTES:
            start_writeback(self._file, self._told, self.count - self._told)
            self._told = self.count
        return size

    def tell(self) -> int:
        return self.count

    def redirect(self, file: Any, count: int) -> None:
        """Go on with another file, which holds `count` bytes by now."""
        self._file, self.count, self._told = file, count, count


# ---- where the bytes go ---------------------------------------------------------------------------------------


class _Place(ABC):
    """An output's open file, and how it becomes visible. A failing constructor leaves nothing behind."""

    file: Any
    hidden: str | None = None

    def adopt(self, path: str, end: int) -> bool:
        """Make the first `end` bytes of the local file `path` the beginning of this one; False where it cannot be."""
        return False

    @abstractmethod
    def flush(self) -> None:
        """Make what was written durable, and close the file."""

    @abstractmethod
    def publish(self) -> None:
        """Show the file under its name."""

    @abstractmethod
    def remove(self) -> None:
        """Close the file if it is open, and remove it."""


def _find_place(path: str, folder: str | None) -> _Place:
    if is_url(path):
        filesystem, name = filesystem_of(path)
        protocol = filesystem.protocol
        protocols = {protocol} if isinstance(protocol, str) else set(protocol)
        return _ObjectPlace(filesystem, name) if protocols & _OBJECT_STORES else _RemotePlace(filesystem, name)
    path = local_path(path)
    # Looked at before links are resolved: what /dev/stdout leads to may have no path.
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return _DevicePlace(path)
    return _LocalPlace(path, folder)


class _LocalPlace(_Place):
    """A hidden file beside the target, renamed."""

    hidden: str

    def __init__(self, path: str, folder: str | None) -> None:
        self._target = os.path.realpath(path)
        self._folder = folder
        if os.path.isdir(self._target) or path.endswith("/"):
            raise TargetWriteError(f"{path} is a folder; an output is a file: {path.rstrip('/')}/rows.csv")
        self._made: list[str] = []
        try:
            self.file = self._open()
        except BaseException:
            self._remove_folders()
            raise

    def _open(self) -> io.RawIOBase:
        attempt = 0
        while True:
            attempt += 1
            make_folders(os.path.dirname(self._target), self._made, self._target)
            try:
                return self._open_hidden()
            except FileNotFoundError:
                # Another load may have removed a folder which it had made, or the file, before it was locked.
                if attempt == _ATTEMPTS:
                    raise

    def _open_hidden(self) -> io.RawIOBase:
        folder, name = os.path.split(self._target)
        if len(os.fsencode(name)) > 255:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        name = os.fsencode(name)[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
        self.hidden = os.path.join(self._folder or folder, f".{name}.{secrets.token_hex(6)}.part")
        descriptor = os.open(self.hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._new_mode = stat.S_IMODE(os.fstat(descriptor).st_mode)  # what the umask leaves of 0666
        os.fchmod(descriptor, PRIVATE_FILE)
        file = open(descriptor, "wb", buffering=0)  # noqa: SIM115  closed by flush or remove
        try:
            self._lock = FileLock(descriptor, self.hidden)
        except OSError:
            file.close()
            raise
        if self._folder is None:
            remove_leftovers(folder, name)
        return file

    def adopt(self, path: str, end: int) -> bool:
        try:
            os.replace(path, self.hidden)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return False
        self.file.close()
        os.chmod(self.hidden, PRIVATE_FILE)
        self.file = open(self.hidden, "r+b", buffering=0)  # noqa: SIM115  closed by flush or remove
        self._lock.release()
        self._lock = FileLock(self.file.fileno(), self.hidden)
        self.file.truncate(end)
        self.file.seek(end)
        return True

    def flush(self) -> None:
        os.fsync(self.file.fileno())
        self.file.close()

    def publish(self) -> None:
        os.chmod(self.hidden, self._final_mode())
        os.replace(self.hidden, self._target)
        self._lock.release()
        sync_folder(os.path.dirname(self._target))

    def _final_mode(self) -> int:
        """An existing file keeps its permissions; a new one gets what the umask allows."""
        try:
            return stat.S_IMODE(os.stat(self._target).st_mode)
        except FileNotFoundError:
            return self._new_mode

    def remove(self) -> None:
        self.file.close()
        if os.path.exists(self.hidden):
            os.unlink(self.hidden)
        self._lock.release()
        self._remove_folders()

    def _remove_folders(self) -> None:
        for folder in reversed(self._made):
            try:
                os.rmdir(folder)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise
                return  # another load uses it by now, or has removed it


class _DevicePlace(_Place):
    """A device or a pipe: what is written is gone at once."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115  closed by flush or remove

    def flush(self) -> None:
        self.file.close()

    def publish(self) -> None:
        return

    def remove(self) -> None:
        self.file.close()


class _ObjectPlace(_Place):
    """An object whose upload is completed late."""

    def __init__(self, filesystem: Any, name: str) -> None:
        self.file = filesystem.open(name, "wb", autocommit=False)

    def flush(self) -> None:
        self.file.close()

    def publish(self) -> None:
        self.file.commit()

    def remove(self) -> None:
        self.file.discard()


class _RemotePlace(_Place):
    """A hidden file beside the target on another file system, renamed."""

    def __init__(self, filesystem: Any, name: str) -> None:
        if filesystem.isdir(name):
            raise TargetWriteError(f"{name} is a folder; an output is a file: {name.rstrip('/')}/rows.csv")
        self._filesystem = filesystem
        self._target = name
        folder, slash, base = name.rpartition("/")
        self._hidden = f"{folder}{slash}.{base[:_MAX_NAME_BYTES]}.{secrets.token_hex(6)}.part"
        self._made: list[str] = []
        while folder and not filesystem.exists(folder):
            self._made.append(folder)
            folder = folder.rpartition("/")[0]
        try:
            if self._made:
                filesystem.makedirs(self._made[0], exist_ok=True)
            self.file = filesystem.open(self._hidden, "wb")
        except BaseException:
            self._remove_folders()
            raise

    def flush(self) -> None:
        self.file.close()

    def publish(self) -> None:
        self._filesystem.mv(self._hidden, self._target)

    def remove(self) -> None:
        self.file.close()
        if self._filesystem.exists(self._hidden):
            self._filesystem.rm_file(self._hidden)
        self._remove_folders()

    def _remove_folders(self) -> None:
        for folder in self._made:
            if not self._filesystem.isdir(folder) or self._filesystem.ls(folder):
                return  # it was never made, or another load uses it by now
            self._filesystem.rmdir(folder)
