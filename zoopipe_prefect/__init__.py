"""Run a `zoopipe_core.Pipe` as a Prefect task.

    from zoopipe_prefect import run_pipe

Prefect imports this package whenever it starts (entry point `prefect.collections`), so importing it loads nothing:
names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_prefect.artifacts import report_markdown
    from zoopipe_prefect.tasks import run_pipe

# name -> the module that it lives in
_HOMES = {"report_markdown": "artifacts", "run_pipe": "tasks"}

__all__ = ["report_markdown", "run_pipe"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
