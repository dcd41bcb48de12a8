"""Adapters are frozen values: what changes something in one makes it anew, with the same checks as when it was made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_core import Pipe

__all__ = ["changed_pipe"]

Change = Callable[[Any], Any]
"""Takes any value within an adapter; returns it as it is, or what takes its place."""

ADAPTERS = ("input_adapter", "output_adapter", "error_output_adapter")


def changed_pipe(pipe: Pipe, change: Change, names: Iterable[str] = ADAPTERS) -> Pipe:
    """The pipe with `change` applied to all that its parts hold; the same object if nothing is changed.

    Args:
        pipe: stays as it is.
        change: asked for each value before what is within it.
        names: the parts of the pipe.

    Raises:
        SpecError: a new value is not what its adapter takes.
    """
    return _replaced(pipe, {name: getattr(pipe, name) for name in names}, change)  # type: ignore[no-any-return]


def _replaced(spec: Any, values: dict[str, Any], change: Change) -> Any:
    found = {name: _changed(value, change) for name, value in values.items()}
    changes = {name: value for name, value in found.items() if value is not values[name]}
    return dataclasses.replace(spec, **changes) if changes else spec


def _changed(value: Any, change: Change) -> Any:
    result = change(value)
    if result is not value:
        return result
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        items = [_changed(item, change) for item in value]
        differs = any(new is not old for new, old in zip(items, value, strict=True))
        return type(value)(items) if differs else value
    if type(value) is dict:
        entries = {key: _changed(item, change) for key, item in value.items()}
        return entries if any(entries[key] is not value[key] for key in value) else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [item.name for item in dataclasses.fields(value) if item.init]
        return _replaced(value, {name: getattr(value, name) for name in fields}, change)
    return value
