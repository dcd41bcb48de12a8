"""zoopipe_core: validated, parallel, retry-safe loads.

    from zoopipe_core import Pipe, CSVInputAdapter, SQLOutputAdapter

Public names are imported when they are first used: ``import zoopipe_core`` itself loads nothing heavy.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_core.adapters.arrow import ArrowInputAdapter, ArrowOutputAdapter, ArrowStreamInputAdapter
    from zoopipe_core.adapters.csv import CSVInputAdapter, CSVOutputAdapter
    from zoopipe_core.adapters.json import JSONInputAdapter, JSONOutputAdapter
    from zoopipe_core.adapters.parquet import ParquetInputAdapter, ParquetOutputAdapter
    from zoopipe_core.adapters.python import PyGeneratorInputAdapter, PyGeneratorOutputAdapter
    from zoopipe_core.adapters.sql import SQLInputAdapter, SQLOutputAdapter
    from zoopipe_core.adapters.sql_pages import SQLPaginationInputAdapter
    from zoopipe_core.adapters.watermark import Watermark
    from zoopipe_core.coordinators.base import BaseCoordinator, CompositeCoordinator, WorkerResult
    from zoopipe_core.coordinators.files import FileMergeCoordinator
    from zoopipe_core.engines.base import BaseEngine
    from zoopipe_core.engines.multiprocess import MultiProcessEngine
    from zoopipe_core.engines.zoosync import ZoosyncPoolEngine
    from zoopipe_core.errors import ZoopipeError
    from zoopipe_core.executors import BatchExecutor, MultiThreadExecutor, SingleThreadExecutor
    from zoopipe_core.hooks import BaseHook, ColumnHook, Entry, EntryStatus
    from zoopipe_core.manager import PipeManager
    from zoopipe_core.managing.publication import ShardPublication
    from zoopipe_core.pipe import Pipe
    from zoopipe_core.report import PipeReport, PipeStatus
    from zoopipe_core.shards import ShardedLoad

__version__ = "0.1.0"

# Who wants the log configures logging; without this, warnings would go to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())

# name -> the module that it lives in
_HOMES = {
    "ArrowInputAdapter": "adapters.arrow",
    "ArrowOutputAdapter": "adapters.arrow",
    "ArrowStreamInputAdapter": "adapters.arrow",
    "BaseCoordinator": "coordinators.base",
    "BaseEngine": "engines.base",
    "BaseHook": "hooks",
    "BatchExecutor": "executors",
    "CSVInputAdapter": "adapters.csv",
    "CSVOutputAdapter": "adapters.csv",
    "ColumnHook": "hooks",
    "CompositeCoordinator": "coordinators.base",
    "Entry": "hooks",
    "EntryStatus": "hooks",
    "FileMergeCoordinator": "coordinators.files",
    "JSONInputAdapter": "adapters.json",
    "JSONOutputAdapter": "adapters.json",
    "MultiProcessEngine": "engines.multiprocess",
    "MultiThreadExecutor": "executors",
    "ParquetInputAdapter": "adapters.parquet",
    "ParquetOutputAdapter": "adapters.parquet",
    "Pipe": "pipe",
    "PipeManager": "manager",
    "PipeReport": "report",
    "PipeStatus": "report",
    "PyGeneratorInputAdapter": "adapters.python",
    "PyGeneratorOutputAdapter": "adapters.python",
    "SQLInputAdapter": "adapters.sql",
    "SQLOutputAdapter": "adapters.sql",
    "SQLPaginationInputAdapter": "adapters.sql_pages",
    "ShardPublication": "managing.publication",
    "ShardedLoad": "shards",
    "SingleThreadExecutor": "executors",
    "Watermark": "adapters.watermark",
    "WorkerResult": "coordinators.base",
    "ZoopipeError": "errors",
    "ZoosyncPoolEngine": "engines.zoosync",
}

__all__ = [
    "ArrowInputAdapter",
    "ArrowOutputAdapter",
    "ArrowStreamInputAdapter",
    "BaseCoordinator",
    "BaseEngine",
    "BaseHook",
    "BatchExecutor",
    "CSVInputAdapter",
    "CSVOutputAdapter",
    "ColumnHook",
    "CompositeCoordinator",
    "Entry",
    "EntryStatus",
    "FileMergeCoordinator",
    "JSONInputAdapter",
    "JSONOutputAdapter",
    "MultiProcessEngine",
    "MultiThreadExecutor",
    "ParquetInputAdapter",
    "ParquetOutputAdapter",
    "Pipe",
    "PipeManager",
    "PipeReport",
    "PipeStatus",
    "PyGeneratorInputAdapter",
    "PyGeneratorOutputAdapter",
    "SQLInputAdapter",
    "SQLOutputAdapter",
    "SQLPaginationInputAdapter",
    "ShardPublication",
    "ShardedLoad",
    "SingleThreadExecutor",
    "Watermark",
    "WorkerResult",
    "ZoopipeError",
    "ZoosyncPoolEngine",
    "__version__",
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
