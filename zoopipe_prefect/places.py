"""Pipes by the place where they are defined, for whatever is started by parameters alone."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect.utilities.importtools import import_object

if TYPE_CHECKING:
    from zoopipe_core import Pipe

__all__ = ["build_pipes"]

_lock = threading.Lock()  # Prefect's import changes sys.path for a moment


def build_pipes(place: str, arguments: Mapping[str, Any] | None = None) -> Pipe | list[Pipe]:
    """The load, or the loads, that are defined at a place.

    Args:
        place: ``"package.module:name"``, or ``"path/to/file.py:name"``, of a `Pipe`, a list of them, or a function that
            returns either.
        arguments: for the function, by name.

    >>> build_pipes("zoopipe_core:Pipe", {"input_adapter": "users.csv", "output_adapter": None})
    Pipe(users.csv -> no output)

    Raises:
        ImportError, AttributeError: there is nothing at that place.
        TypeError: it is no load, or the arguments are not those of the function.
        ValueError: the text is no place.
    """
    from zoopipe_core import Pipe

    if ":" not in place:
        raise ValueError(f"a load is named by its place, as 'package.module:name' or 'file.py:name', not {place!r}")
    with _lock:
        found: Any = import_object(place)
    if isinstance(found, Pipe) or not callable(found):
        if arguments:
            raise TypeError(
                f"{place!r} is no function, so it takes no arguments, but got {', '.join(sorted(arguments))}"
            )
        built = found
    else:
        built = found(**(arguments or {}))
    if isinstance(built, Pipe):
        return built
    if isinstance(built, Sequence) and built and all(isinstance(pipe, Pipe) for pipe in built):
        return list(built)
    raise TypeError(f"{place!r} has to be or to return a Pipe, or a list of them, not {type(built).__name__}")
