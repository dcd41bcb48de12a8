"""Locks of this process, for databases that let in one process at a time but several of its threads."""

from __future__ import annotations

import threading
from collections import defaultdict

__all__ = ["ProcessLocks"]

_guard = threading.Lock()
# name -> holder -> whether alone
_held: defaultdict[str, dict[int, bool]] = defaultdict(dict)


class ProcessLocks:
    """The locks that one connection holds.

    Args:
        place: what tells databases apart; the names of locks are those of one database.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._names: set[str] = set()

    def take(self, name: str, *, exclusive: bool) -> bool:
        """Take a lock, or hold it on; False if others have it in a way that forbids this."""
        name = f"{self._place}::{name}"
        with _guard:
            others = {holder: alone for holder, alone in _held[name].items() if holder != id(self)}
            if others and (exclusive or any(others.values())):
                return False
            _held[name][id(self)] = exclusive
            self._names.add(name)
            return True

    def release(self) -> None:
        """Let go of all of them."""
        with _guard:
            for name in self._names:
                del _held[name][id(self)]
                if not _held[name]:
                    del _held[name]
            self._names.clear()
