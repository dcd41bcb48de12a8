"""Where the bytes of an `AtomicFile` go until it is published, and how it appears: for each kind of file system."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from abc import ABC, abstractmethod
from typing import Any

from zoopipe_core.adapters.direct_files import DirectFile
from zoopipe_core.adapters.file_leftovers import FileLock, remove_leftovers
from zoopipe_core.adapters.file_moves import make_folders, sync_folder
from zoopipe_core.adapters.paths import filesystem_of, is_url, local_path
from zoopipe_core.errors import TargetWriteError

__all__ = ["Place", "find_place"]

PRIVATE_FILE = 0o600
# Leaves room in the 255 bytes of a name for what is put around it.
_MAX_NAME_BYTES = 200
_ATTEMPTS = 5
# These show an object when its upload is completed, and have no rename. All other file systems have one.
_OBJECT_STORES = frozenset({"abfs", "abfss", "az", "gcs", "gs", "oss", "r2", "s3", "s3a"})


class Place(ABC):
    """An output's open file, and how it becomes visible. A failing constructor leaves nothing behind."""

    file: Any  # which takes memoryviews of bytes, not always as a whole
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


def find_place(path: str, folder: str | None) -> Place:
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


class _LocalPlace(Place):
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

    def _open(self) -> DirectFile:
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

    def _open_hidden(self) -> DirectFile:
        folder, name = os.path.split(self._target)
        if len(os.fsencode(name)) > 255:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        name = os.fsencode(name)[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
        self.hidden = os.path.join(self._folder or folder, f".{name}.{secrets.token_hex(6)}.part")
        descriptor = os.open(self.hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._new_mode = stat.S_IMODE(os.fstat(descriptor).st_mode)  # what the umask leaves of 0666
        os.fchmod(descriptor, PRIVATE_FILE)
        file = DirectFile(open(descriptor, "wb", buffering=0))  # noqa: SIM115  closed by flush or remove
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
        file = open(self.hidden, "r+b", buffering=0)  # noqa: SIM115  closed by flush or remove
        self.file = DirectFile(file, end)
        self._lock.release()
        self._lock = FileLock(file.fileno(), self.hidden)
        file.truncate(end)
        file.seek(end)
        return True

    def flush(self) -> None:
        self.file.drain()
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


class _DevicePlace(Place):
    """A device or a pipe: what is written is gone at once."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "wb", buffering=0)  # noqa: SIM115  closed by flush or remove

    def flush(self) -> None:
        self.file.close()

    def publish(self) -> None:
        return

    def remove(self) -> None:
        self.file.close()


class _ObjectPlace(Place):
    """An object whose upload is completed late."""

    def __init__(self, filesystem: Any, name: str) -> None:
        self.file = filesystem.open(name, "wb", autocommit=False)

    def flush(self) -> None:
        self.file.close()

    def publish(self) -> None:
        self.file.commit()

    def remove(self) -> None:
        self.file.discard()


class _RemotePlace(Place):
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
