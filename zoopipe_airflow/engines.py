"""The engines by their short names, built when a task runs."""

from __future__ import annotations

import os
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
    with _airflow_as_library():
        yield from _open(engine)


def _open(engine: Any) -> Iterator[BaseEngine | None]:
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


@contextmanager
def _airflow_as_library() -> Iterator[None]:
    """Processes that are started within the block may import Airflow.

    A hook of a DAG file may name what that file has imported from Airflow, whose import reads the settings; and in a
    task's environment the address of Airflow's database is none, so that nobody uses it.
    """
    name = "_AIRFLOW__AS_LIBRARY"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = before
