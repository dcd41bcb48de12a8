"""How the interpreter is set while rows are Python objects."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["paused_gc"]


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
