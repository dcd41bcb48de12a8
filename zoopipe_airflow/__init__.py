"""Run loads of `zoopipe_core` as Airflow tasks.

    from zoopipe_airflow import ZooPipeOperator             one pipe
    from zoopipe_airflow import ZooPipeManagerOperator      several pipes, each in a worker
    from zoopipe_airflow import ZooPipeParallelOperator     one pipe by several workers
    from zoopipe_airflow import zoopipe_task_group          one pipe, each shard of it a task
    from zoopipe_airflow import AirflowConnection           a database by the connection that has its password

Airflow parses a DAG file again and again, and imports this package in each of its processes, so importing it loads
nothing: neither Airflow, nor pyarrow, nor Numba. Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_airflow.connections import AirflowConnection
    from zoopipe_airflow.groups import zoopipe_task_group
    from zoopipe_airflow.operators import ZooPipeManagerOperator, ZooPipeOperator, ZooPipeParallelOperator

# name -> the module that it lives in
_HOMES = {
    "AirflowConnection": "connections",
    "ZooPipeManagerOperator": "operators",
    "ZooPipeOperator": "operators",
    "ZooPipeParallelOperator": "operators",
    "zoopipe_task_group": "groups",
}

__all__ = [
    "AirflowConnection",
    "ZooPipeManagerOperator",
    "ZooPipeOperator",
    "ZooPipeParallelOperator",
    "get_provider_info",
    "zoopipe_task_group",
]


def get_provider_info() -> dict[str, Any]:
    """What Airflow reads through the entry point `apache_airflow_provider`.

    >>> get_provider_info()["package-name"]
    'zoopipe-plugins'
    """
    return {
        "package-name": "zoopipe-plugins",
        "name": "ZooPipe",
        "description": "Declarative, validated, atomic data loads.",
        "connection-types": [
            {
                "connection-type": "duckdb",
                "hook-class-name": "zoopipe_airflow.hooks.DuckDBHook",
                "hook-name": "DuckDB",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "password", "port"],
                    "relabeling": {"host": "File"},
                    "placeholders": {"host": "/data/warehouse.duckdb"},
                },
            }
        ],
        "task-decorators": [{"name": "zoopipe", "class-name": "zoopipe_airflow.decorators.zoopipe_task"}],
    }


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
