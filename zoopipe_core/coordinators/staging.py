"""A private folder for the parts of one load, which also keeps other loads of the same target away.

    out/
        users.jsonl                            the target
        .users.jsonl.zoopipe/                  made by on_start, removed at the end; 0700
            lock                               held with flock while the load lives: the lock dies with its holder
            1f3a.../part-00000.jsonl           the parts of this load

Beside the target, so that a part can become the target by a rename; in the folder for temporary files where the target
is no local file. What a load that was killed has left behind is removed by the next one, since nobody holds its lock.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import secrets
import shutil
import stat
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

from zoopipe_core.adapters.file_moves import make_folders
from zoopipe_core.adapters.paths import filesystem_of, is_url, local_path, strip_credentials
from zoopipe_core.errors import TargetWriteError

__all__ = ["StagingFolder", "StagingPlace", "make_staging_folder"]

logger = logging.getLogger(__name__)

PRIVATE_FOLDER = 0o700
_SUFFIX = ".zoopipe"
_TEMPORARY = "zoopipe-parts-"
_LOCK = "lock"
_MAX_NAME_BYTES = 200
_ATTEMPTS = 100
_MOMENT = 0.01


class StagingPlace(ABC):
    """Where the parts of one load are, until they are published. Building one does no I/O."""

    @abstractmethod
    def create(self) -> None:
        """Make room; what a load of the same target has left that is dead is removed.

        Raises:
            TargetError, DatabaseConnectionError: that cannot be done, or another load is in the way.
        """

    @abstractmethod
    def check(self) -> None:
        """Raises:
        TargetWriteError: the place is gone.
        """

    @abstractmethod
    def remove(self, keep_folders: bool = False) -> None:
        """Remove all that is there. May be called twice.

        Args:
            keep_folders: leave the parent folders that were made, because the target is in them by now.
        """


class StagingFolder(StagingPlace):
    """A folder for the parts of one load on a local file system.

    Building one does no I/O: its path is known before it exists, so that shards can be told.

    Args:
        home: the folder that is locked; the parts are in a folder of this load's own within it.
        label: what messages call the target.
    """

    def __init__(self, home: str, label: str) -> None:
        self._home = home
        self._label = label
        self._lock: int | None = None
        self._has_locks = True
        self._made: list[str] = []
        self.path = os.path.join(home, secrets.token_hex(8))

    def part(self, name: str) -> str:
        """The path of a file within."""
        return os.path.join(self.path, name)

    def exists(self, path: str) -> bool:
        """Whether a part was written."""
        return os.path.exists(path)

    def create(self) -> None:
        """Make the folder and take its lock.

        Raises:
            TargetWriteError: another load holds the lock, or the folder cannot be made.
        """
        try:
            self._create()
        except TargetWriteError:
            self.remove()
            raise
        except OSError as error:
            self.remove()
            raised = TargetWriteError(
                f"{self._label} cannot be written: {self._home} cannot be made: {error.strerror or error}"
            )
            raised.errno = error.errno
            raise raised from error

    def _create(self) -> None:
        for _ in range(_ATTEMPTS):
            self._make_folders()
            descriptor = self._open_lock()
            if descriptor is None:
                continue  # removed by its holder meanwhile
            try:
                is_locked = self._flock(descriptor)
            except OSError:
                os.close(descriptor)
                raise
            if not is_locked:
                os.close(descriptor)
                self._meet_another()
                continue
            if self._is_lock(descriptor):
                self._lock = descriptor
                break
            os.close(descriptor)  # the lock of a folder that is gone
        else:
            raise TargetWriteError(f"{self._label} is being written by other loads; wait for them to end")
        if self._has_locks:
            for name in os.listdir(self._home):
                if name != _LOCK:
                    shutil.rmtree(os.path.join(self._home, name), ignore_errors=True)
        os.mkdir(self.path, PRIVATE_FOLDER)

    def _flock(self, descriptor: int) -> bool:
        """Take the lock; False if another process has it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
            # Then what others have in the folder may be of loads that live: it stays.
            logger.warning("%s: its file system has no locks; let no other load write it meanwhile", self._label)
            self._has_locks = False
        return True

    def _meet_another(self) -> None:
        """Another process holds the lock."""
        raise TargetWriteError(
            f"{self._label} is being written by another load, which holds {os.path.join(self._home, _LOCK)}; wait for "
            "it to end"
        )

    def _make_folders(self) -> None:
        make_folders(os.path.dirname(self._home), self._made, self._label)
        try:
            os.mkdir(self._home, PRIVATE_FOLDER)
        except FileExistsError:
            status = os.lstat(self._home)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise TargetWriteError(
                    f"{self._label} cannot be written: {self._home} is in the way, and is no folder of this user"
                ) from None

    def _open_lock(self) -> int | None:
        try:
            return os.open(os.path.join(self._home, _LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            return None

    def _is_lock(self, descriptor: int) -> bool:
        """Whether an open file is the one that is there under the lock's name."""
        try:
            there = os.stat(os.path.join(self._home, _LOCK))
        except FileNotFoundError:
            return False
        return os.path.samestat(os.fstat(descriptor), there)

    def check(self) -> None:
        """Raises:
        TargetWriteError: the folder was removed or replaced since it was made.
        """
        if self._lock is None or not self._is_lock(self._lock) or not os.path.isdir(self.path):
            raise TargetWriteError(
                f"{self._label} cannot be written: {self._home}, where its parts are, was removed during the load"
            )

    def remove(self, keep_folders: bool = False) -> None:
        """Remove the folder with all that is in it, and let go of the lock. May be called twice.

        Args:
            keep_folders: leave the parent folders that were made, because the target is in them by now.
        """
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            if self._is_lock(self._lock):
                # The lock goes while it is held: who waits for it sees that it is no longer the one that is there.
                os.unlink(os.path.join(self._home, _LOCK))
            os.close(self._lock)
            self._lock = None
        self._remove_home()
        made, self._made = self._made, []
        if not keep_folders:
            for folder in reversed(made):
                try:
                    os.rmdir(folder)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                        raise
                    return  # another load uses it by now, or has removed it

    def _remove_home(self) -> None:
        try:
            os.rmdir(self._home)
        except OSError as error:
            # It is gone, another load has it by now, or it never was a folder of ours.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                raise


class _RemoteFolder(StagingFolder):
    """Objects beside a target that fsspec writes. Object stores have no locks: of two loads the later one wins."""

    def __init__(self, url: str, label: str) -> None:
        folder, slash, name = url.rpartition("/")
        super().__init__(f"{folder}{slash}.{name}{_SUFFIX}", label)
        self.path = f"{self._home}/{secrets.token_hex(8)}"

    def part(self, name: str) -> str:
        return f"{self.path}/{name}"

    def exists(self, path: str) -> bool:
        filesystem, name = filesystem_of(path)
        return bool(filesystem.exists(name))

    def create(self) -> None:
        return  # the first part makes what has to be there

    def check(self) -> None:
        return

    def remove(self, keep_folders: bool = False) -> None:
        filesystem, name = filesystem_of(self.path)
        if filesystem.exists(name):
            filesystem.rm(name, recursive=True)
        home = name.rpartition("/")[0]
        if filesystem.isdir(home) and not filesystem.ls(home):
            filesystem.rmdir(home)


class _TemporaryFolder(StagingFolder):
    """A folder of its own among the temporary files, for targets that have no folder."""

    def __init__(self, label: str) -> None:
        super().__init__(os.path.join(tempfile.gettempdir(), _TEMPORARY + secrets.token_hex(8)), label)

    def create(self) -> None:
        remove_abandoned(tempfile.gettempdir())
        super().create()

    def _meet_another(self) -> None:
        time.sleep(_MOMENT)  # nobody else has this name: it is one who looks for abandoned folders


def remove_abandoned(folder: str) -> None:
    """Remove the staging folders of this user in `folder` whose loads are dead."""
    for path in Path(folder).glob(f"{_TEMPORARY}*"):
        try:
            if path.lstat().st_uid != os.geteuid() or path.is_symlink():
                continue
            descriptor = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            continue  # another load removes it, or is about to lock it
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue  # its load is alive
        finally:
            os.close(descriptor)


def make_staging_folder(target: str | None, label: str) -> StagingFolder:
    """Where the parts of a load go.

    Args:
        target: the path or URL of the target; None for a target that is no file.
        label: what messages call it.
    """
    if target is None:
        return _TemporaryFolder(label)
    if is_url(target):
        return _RemoteFolder(target, strip_credentials(label))
    path = local_path(target)
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        return _TemporaryFolder(label)  # a device or a pipe
    folder, name = os.path.split(os.path.realpath(path))
    name = os.fsencode(name)[:_MAX_NAME_BYTES].decode("utf-8", "ignore")
    return StagingFolder(os.path.join(folder, f".{name}{_SUFFIX}"), label)
