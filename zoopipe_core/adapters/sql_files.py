"""Database files: their folders, their removal when the load that made them is undone, and whether they changed.

Several writers of one process may share a file (rows and rejects in one warehouse). Only the last of them removes it,
and only if none of them published and nothing is in it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from zoopipe_core.errors import SourceError, TargetWriteError

__all__ = ["DatabaseFile", "check_file_state", "file_state"]

_lock = threading.Lock()
_writers: Counter[str] = Counter()
# Files that did not exist when their first writer came -> the folders made for them, outermost first.
_new: dict[str, list[str]] = {}


class DatabaseFile:
    """The file of one writer.

    Args:
        path: where the database is, or shall be.
        companions: suffixes of files that the database keeps beside it.

    Raises:
        TargetWriteError: it is a folder, may not be written, or its folder cannot be made.
    """

    def __init__(self, path: str, companions: Sequence[str]) -> None:
        self.path = os.path.realpath(path)
        self._companions = companions
        self._released = False
        if os.path.isdir(self.path):
            raise TargetWriteError(f"{path} is a folder; a database is a file")
        if os.path.exists(self.path) and not os.access(self.path, os.W_OK):
            raise TargetWriteError(f"{path} may not be written to by this user")
        with _lock:
            if self.path not in _new and not os.path.exists(self.path):
                _new[self.path] = _make_folders(os.path.dirname(self.path), path)
            _writers[self.path] += 1

    def keep(self) -> None:
        """The load was published: the file stays."""
        with _lock:
            _new.pop(self.path, None)
        self._leave()

    def discard(self, *, is_empty: bool) -> None:
        """The load was undone: if the file was made for it and holds nothing, it goes. Close the database first."""
        if not self._leave():
            return
        with _lock:
            folders = _new.pop(self.path, None)
            if folders is None or not is_empty:
                return
            for suffix in ("", *self._companions):
                with suppress(FileNotFoundError):
                    os.unlink(self.path + suffix)
            for folder in reversed(folders):
                if not os.listdir(folder):
                    os.rmdir(folder)

    def _leave(self) -> bool:
        """Whether this was the last writer."""
        with _lock:
            if not self._released:
                self._released = True
                _writers[self.path] -= 1
            last = _writers[self.path] <= 0
            if last:
                del _writers[self.path]
            return last


def _make_folders(folder: str, path: str) -> list[str]:
    missing: list[str] = []
    while not os.path.isdir(folder):
        missing.append(folder)
        folder = os.path.dirname(folder)
    missing.reverse()
    try:
        for name in missing:
            os.makedirs(name, exist_ok=True)
    except OSError as error:
        raise TargetWriteError(
            error.errno, f"the folder of {path} cannot be made: {error.strerror or error}"
        ) from error
    if not os.access(os.path.dirname(os.path.realpath(path)), os.W_OK):
        raise TargetWriteError(f"the folder of {path} may not be written to by this user")
    return missing


def file_state(path: str, suffixes: Sequence[str]) -> str:
    """What tells one state of a database file, and of the files beside it, from another: sizes and times of change."""
    marks = []
    for suffix in ("", *suffixes):
        try:
            status = os.stat(path + suffix)
        except FileNotFoundError:
            marks.append("0")
        else:
            # An empty log says as much as none, and readers make one.
            marks.append(f"{status.st_size}@{status.st_mtime_ns}" if status.st_size else "0")
    return " ".join(marks)


def check_file_state(label: str, then: str, now: str) -> None:
    """Make sure that nobody has written to a database file.

    Raises:
        SourceError: somebody has.
    """
    if now != then:
        raise SourceError(
            f"{label} has changed since it was split into parts, which have to be read from one state of it. Run the "
            "load again while nobody writes to it"
        )
