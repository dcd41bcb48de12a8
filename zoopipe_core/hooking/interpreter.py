"""How the interpreter is set while rows are Python objects."""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["paused_gc", "short_turns"]

TURN_SECONDS = 0.0002
"""How long a thread that runs Python may go on while others wait for it."""


@contextmanager
def paused_gc() -> Iterator[None]:
    """No search for reference cycles meanwhile.

    A batch of rows as Python objects is some ten thousand dicts, which are gone before the next batch. Python's
    collector would take their number as a reason to look through all objects of the process, again and again: a
    quarter of the time of a load with row hooks.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


_lock = threading.Lock()
_running = 0
_before = _ours = 0.0


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # the thread that held it may not have come along


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def short_turns() -> Iterator[None]:
    """Threads take turns more often meanwhile, than every 5 ms as Python has it.

    Reading, validating and writing run outside of the GIL, but need it for a moment between two kernels, a hundred
    times a batch. While a row hook holds it, each of these moments would be waited for as long as a turn takes, and
    the other threads get nothing done beside the hook. The setting is one for the whole process: several loads share
    it, the last to end restores it, and what somebody else has set in the meantime is left alone.
    """
    global _running, _before, _ours
    with _lock:
        if not _running:
            _before = sys.getswitchinterval()
            sys.setswitchinterval(min(_before, TURN_SECONDS))
            _ours = sys.getswitchinterval()
        _running += 1
    try:
        yield
    finally:
        with _lock:
            _running -= 1
            if not _running and sys.getswitchinterval() == _ours:
                sys.setswitchinterval(_before)
