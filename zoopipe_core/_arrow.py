"""Arrow, imported so that it takes its memory from where a load needs it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["environment_for_import", "import_arrow"]


def import_arrow() -> None:
    """Import pyarrow, unless that was done before, with jemalloc for its memory, unless the user has chosen.

    Its default, mimalloc, asks Linux for huge pages, and each of them is cleared as a whole when its first byte is
    touched: from CSV to Parquet a load in a fresh process took a third longer so, and a third more memory. pyarrow can
    be told at its import only, and for all that it does without being given a pool.
    """
    if "pyarrow" in sys.modules or not _has_jemalloc():
        importlib.import_module("pyarrow")
        return
    with environment_for_import("ARROW_DEFAULT_MEMORY_POOL", "jemalloc"):
        importlib.import_module("pyarrow")


def _has_jemalloc() -> bool:
    """Whether pyarrow is built with it: for Linux, but not where musl is the C library."""
    if sys.platform != "linux":
        return False
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return False


@contextmanager
def environment_for_import(name: str, value: str) -> Iterator[None]:
    """Have an environment variable while something is imported, unless the user has set it.

    It is gone again afterwards: hooks and what they start find the environment that the caller has.
    """
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
