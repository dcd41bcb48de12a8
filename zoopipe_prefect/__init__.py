"""Run `zoopipe_core.Pipe`s as Prefect tasks.

    from zoopipe_prefect import parallelize_pipe, run_pipe, run_pipes

Prefect imports this package whenever it starts (entry point `prefect.collections`), so importing it loads nothing:
names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_prefect.artifacts import report_markdown
    from zoopipe_prefect.tasks import parallelize_pipe, run_pipe, run_pipes

# name -> the module that it lives in
_HOMES = {
    "parallelize_pipe": "tasks",
    "report_markdown": "artifacts",
    "run_pipe": "tasks",
    "run_pipes": "tasks",
}

__all__ = ["parallelize_pipe", "report_markdown", "run_pipe", "run_pipes"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
