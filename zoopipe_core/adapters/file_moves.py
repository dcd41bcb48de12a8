"""Moving bytes and names on a local file system: copies that cost little, renames of several files as one.

copy_range(source, target, 0, n)     on a disk past the page cache, elsewhere by the file system, which may share them
replace_all({staged: final, ...})    all are renamed, or all is as before
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from zoopipe_core.adapters.direct_files import BUFFER_BYTES, DirectFile, DirectReader
from zoopipe_core.errors import TargetWriteError

__all__ = ["copy_range", "make_folders", "replace_all", "sync_folder"]

# What is copied between two looks at whether the load goes on; the disk writes one step while the next is copied.
STEP_BYTES = 8 * 2**20
_READ_BYTES = 2**20
# What a file system says that cannot copy in this way; others may.
_UNABLE = frozenset(
    {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EBADF, errno.EPERM, errno.ENOTSOCK}
)

Copy = Callable[[int, Any, int, int], int]


def copy_range(source: str, target: Any, start: int, end: int) -> Iterator[int]:
    """Append the bytes `start` to `end` of the file `source` to `target`, in steps.

    Args:
        source: the path of a local file.
        start: the first of its bytes to copy.
        end: the one behind the last.
        target: a `DirectFile`, or an unbuffered binary file without a descriptor.

    Yields:
        The number of bytes that were copied since the last time.

    Raises:
        OSError: the file is shorter than that, or the target cannot be written.
    """
    with open(source, "rb", buffering=0) as file:
        ways = _ways(file.fileno(), target, end - start)
        while start < end:
            size = min(end - start, STEP_BYTES)
            try:
                copied = ways[0](file.fileno(), target, start, size)
            except OSError as error:
                if len(ways) == 1 or error.errno not in _UNABLE:
                    raise
                ways = ways[1:]
                continue
            if not copied:
                raise OSError(errno.EIO, f"{source} ends {end - start} bytes too early")
            start += copied
            yield copied


def _ways(source: int, target: Any, size: int) -> list[Copy]:
    """How so many bytes can be copied, best first."""
    ways: list[Copy] = [_through_memory]
    # A small file was written into the page cache, and would have to go to the disk before it could be read from there.
    if isinstance(target, DirectFile) and size > BUFFER_BYTES:
        if hasattr(os, "sendfile"):
            ways.insert(0, _by_kernel(lambda source, file, start, size: os.sendfile(file, source, start, size)))
        if hasattr(os, "copy_file_range"):
            ways.insert(0, _by_kernel(lambda source, file, start, size: os.copy_file_range(source, file, size, start)))
        if target.is_on_disk() and (reader := DirectReader.of(source)) is not None:
            ways.insert(0, lambda source, file, start, size: file.write(reader.read(start, size)))
    return ways


def _by_kernel(copy: Callable[[int, int, int, int], int]) -> Copy:
    """A copy to where the descriptor of a `DirectFile` stands."""

    def copy_to(source: int, target: DirectFile, start: int, size: int) -> int:
        target.drain()
        copied = copy(source, target.fileno(), start, size)
        target.moved(copied)
        return copied

    return copy_to


def _through_memory(source: int, target: Any, start: int, size: int) -> int:
    data = memoryview(os.pread(source, min(size, _READ_BYTES), start))
    copied = len(data)
    while data:
        data = data[target.write(data) :]
    return copied


def make_folders(folder: str, made: list[str], label: str) -> None:
    """Make `folder` and those that it lies in, as far as they are missing.

    Args:
        folder: its path.
        made: is given each folder when it is made, outermost first, so that it can be removed again whatever follows;
            one that somebody else makes meanwhile is theirs to remove.
        label: the name of the target, for messages.

    Raises:
        TargetWriteError: a file is in the way.
        OSError: one cannot be made.
    """
    missing: list[str] = []
    while not os.path.isdir(folder):
        if os.path.exists(folder) and not os.path.isdir(folder):  # looked at again: it may have been made just now
            raise TargetWriteError(f"{label} cannot be written: {folder} is a file and no folder")
        missing.append(folder)
        folder = os.path.dirname(folder)
    # Those that were made meanwhile are passed over.
    for path in reversed(missing):
        try:
            os.mkdir(path)
        except FileExistsError:
            continue
        made.append(path)
        sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Flush the names in a folder to the disk."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return  # a folder that may be written but not listed can't be flushed either
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems have no such flush
            raise
    finally:
        os.close(descriptor)


def replace_all(moves: Mapping[str, str]) -> None:
    """Rename each file to a name in another folder of the same file system; if one fails, all is as before.

    An existing file keeps its permissions. Of a process that is killed in between, some names may be new.

    Raises:
        OSError: what made one of them fail.
    """
    done: list[tuple[str, str | None]] = []
    try:
        for source, target in moves.items():
            kept = _keep(target, source + ".old")
            if kept is not None:
                os.chmod(source, stat.S_IMODE(os.stat(kept).st_mode))
            os.replace(source, target)
            done.append((target, kept))
        for folder in dict.fromkeys(os.path.dirname(target) or "." for target in moves.values()):
            sync_folder(folder)
    except BaseException:
        for target, kept in reversed(done):
            if kept is None:
                os.unlink(target)
            else:
                os.replace(kept, target)
        raise


def _keep(path: str, copy: str) -> str | None:
    """Give an existing file a second name."""
    if not os.path.lexists(path):
        return None
    try:
        os.link(path, copy, follow_symlinks=False)
    except OSError:  # a file system without such links
        shutil.copy2(path, copy, follow_symlinks=False)
    return copy
