"""Objects that are named by their place, ``"package.module:name"``, so that a DAG file need not import them."""

from __future__ import annotations

import importlib
import re
from typing import Any

__all__ = ["is_import_string", "load_object"]

_PLACE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


def is_import_string(text: str) -> bool:
    """Whether the text has the form of a place; nothing is imported.

    >>> is_import_string("loads.users:daily"), is_import_string("users.csv"), is_import_string("s3://bucket:x")
    (True, False, False)
    """
    return _PLACE.fullmatch(text) is not None


def load_object(place: str) -> Any:
    """The object at a place.

    >>> load_object("os.path:join").__name__
    'join'

    Raises:
        ImportError: there is no such module, or nothing of that name in it.
    """
    module, _, name = place.partition(":")
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise ImportError(f"{place!r}: {module} has no {name!r}") from None
    return value
