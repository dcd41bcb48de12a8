"""Database files that a load makes: their folders, and their removal when the load is undone.

Several writers of one process may share a file (rows and rejects in one warehouse). Only the last of them removes it,
and only if none of them published and nothing is in it.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from zoopipe_core.errors import TargetWriteError

__all__ = ["DatabaseFile"]

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
