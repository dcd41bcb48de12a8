"""Which files can be put together out of parts, known without importing anything that does it."""

from __future__ import annotations

import importlib

from zoopipe_core.adapters.base import OutputAdapter
from zoopipe_core.coordinators.outputs import StagedOutput

__all__ = ["is_mergeable", "merged_file"]


def is_mergeable(adapter: OutputAdapter) -> bool:
    """Whether `adapter` writes a file of which parts can be joined. Looks at nothing but its class."""
    return _class_name(adapter) in _HOMES


def merged_file(adapter: OutputAdapter) -> StagedOutput | None:
    """How parts become the file that `adapter` names; None if it is none that can be merged."""
    home = _HOMES.get(_class_name(adapter))
    if home is None:
        return None
    module, name = home
    merged: StagedOutput = getattr(importlib.import_module(f"zoopipe_core.coordinators.{module}"), name)(adapter)
    return merged


def _class_name(adapter: OutputAdapter) -> str:
    # The very class: what a subclass writes differently, merging would not know.
    return f"{type(adapter).__module__}.{type(adapter).__qualname__}"


# adapter -> module and class that merges its files
_HOMES = {
    "zoopipe_core.adapters.arrow.ArrowOutputAdapter": ("merged_columns", "MergedArrow"),
    "zoopipe_core.adapters.csv.CSVOutputAdapter": ("merged_text", "MergedCSV"),
    "zoopipe_core.adapters.json.JSONOutputAdapter": ("merged_text", "MergedJSON"),
    "zoopipe_core.adapters.parquet.ParquetOutputAdapter": ("merged_columns", "MergedParquet"),
}
