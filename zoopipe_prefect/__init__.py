"""Run `zoopipe_core.Pipe`s as Prefect tasks.

    from zoopipe_prefect import parallelize_pipe, run_pipe, run_pipes

Prefect imports this package (entry point `prefect.collections`) to learn which blocks there are, so these are defined
by then. Everything else, the core among it, is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from zoopipe_prefect.blocks import ZooPipeLoad
from zoopipe_prefect.credentials import WarehouseCredentials, warehouse_uri

if TYPE_CHECKING:
    from zoopipe_prefect.artifacts import report_markdown
    from zoopipe_prefect.flows import load_flow
    from zoopipe_prefect.states import report_of
    from zoopipe_prefect.tasks import parallelize_pipe, run_pipe, run_pipes

# name -> the module that it lives in
_HOMES = {
    "load_flow": "flows",
    "parallelize_pipe": "tasks",
    "report_markdown": "artifacts",
    "report_of": "states",
    "run_pipe": "tasks",
    "run_pipes": "tasks",
}

__all__ = [
    "WarehouseCredentials",
    "ZooPipeLoad",
    "load_flow",
    "parallelize_pipe",
    "report_markdown",
    "report_of",
    "run_pipe",
    "run_pipes",
    "warehouse_uri",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
