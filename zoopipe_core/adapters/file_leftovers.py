"""Hidden files of loads that were killed: the next load into the same file removes them.

A load locks its hidden file for as long as it lives, and the lock dies with the process. So whoever gets the lock of
another one's hidden file knows that nobody writes it any more.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress

__all__ = ["FileLock", "remove_leftovers"]


class FileLock:
    """The lock of a hidden file, until `release`.

    Args:
        descriptor: of the file, open for writing; may be closed before the lock is released.
        path: of the file.

    Raises:
        FileNotFoundError: it was removed before it could be locked.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        with suppress(OSError):  # a file system without locks; leftovers stay there
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.stat(path)
        self._descriptor: int | None = os.dup(descriptor)

    def release(self) -> None:
        """Let go of it; harmless if done already."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(folder: str, name: str) -> None:
    """Remove the hidden files of dead loads.

    Args:
        folder: where they are.
        name: their name, but for the dot before it and the random part behind it.
    """
    hidden = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{12}}\.part")
    for entry in os.listdir(folder):
        if hidden.fullmatch(entry):
            with suppress(OSError):  # of another user, or removed by another load just now
                _remove_if_dead(os.path.join(folder, entry))


def _remove_if_dead(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.unlink(path)
    finally:
        os.close(descriptor)
