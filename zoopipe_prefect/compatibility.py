"""What not every release of Prefect that is supported has, and how its functions are called from anywhere."""

from __future__ import annotations

from typing import Any

__all__ = ["SYNC", "Asset", "AssetContext"]

# A task may be called from an async flow, where Prefect's functions would hand back a coroutine.
SYNC: Any = {"_sync": True}

# The first releases of 3.4 know no assets: loads run there all the same.
Asset: Any
AssetContext: Any
try:
    from prefect.assets import Asset
    from prefect.context import AssetContext
except ImportError:
    Asset = AssetContext = None
