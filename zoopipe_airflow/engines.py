"""The engines by their short names, built when a task runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoopipe_airflow.imports import is_import_string, load_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from zoopipe_core import BaseEngine

    EngineLike = str | BaseEngine | Callable[[], BaseEngine]

__all__ = ["check_engine", "open_engine"]

_PLACES = {
    "dask": "zoopipe_core.engines.dask:DaskEngine",
    "multiprocess": "zoopipe_core:MultiProcessEngine",
    "ray": "zoopipe_core.engines.ray:RayEngine",
    "zoosync": "zoopipe_core:ZoosyncPoolEngine",
}


def check_engine(engine: Any) -> None:
    """Refuse a name that stands for no engine; nothing is imported.

    Raises:
        ValueError: it does not.
    """
    if isinstance(engine, str) and engine not in _PLACES and not is_import_string(engine):
        names = ", ".join(map(repr, _PLACES))
        raise ValueError(
            f"engine has to be one of {names}, a place such as 'package.module:name', an engine, or a function that "
            f"returns one, not {engine!r}"
        )


@contextmanager
def open_engine(engine: Any) -> Iterator[BaseEngine | None]:
    """The engine that is meant. One that was built here is closed at the end; one that was given stays open.

    Args:
        engine: a short name, the place of an engine or of what builds one, an engine, what builds one, or None.

    Raises:
        ImportError: the engine needs an extra that is not installed, or there is nothing at that place.
        TypeError: what was built is no engine.
    """
    from zoopipe_core import BaseEngine

    value = load_object(_PLACES.get(engine, engine)) if isinstance(engine, str) else engine
    if value is None or isinstance(value, BaseEngine):
        yield value
        return
    built = value() if callable(value) else value
    if not isinstance(built, BaseEngine):
        raise TypeError(f"engine has to be, or build, an engine such as MultiProcessEngine(), not {built!r}")
    try:
        yield built
    finally:
        built.close()
