"""Run a `zoopipe_core.Pipe` as an Airflow task.

Airflow parses a DAG file again and again, and imports this package in each of its processes, so importing it loads
nothing: neither Airflow, nor pyarrow, nor Numba. The operator is loaded when it is first named.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_airflow.operators import ZooPipeOperator

__all__ = ["ZooPipeOperator", "get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """What Airflow reads through the entry point `apache_airflow_provider`.

    >>> get_provider_info()["package-name"]
    'zoopipe-plugins'
    """
    return {
        "package-name": "zoopipe-plugins",
        "name": "ZooPipe",
        "description": "Declarative, validated, atomic data loads.",
    }


def __getattr__(name: str) -> Any:
    if name == "ZooPipeOperator":
        from zoopipe_airflow.operators import ZooPipeOperator

        return ZooPipeOperator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
