"""What not every release of Prefect that is supported has."""

from __future__ import annotations

from typing import Any

__all__ = ["Asset", "AssetContext"]

# The first releases of 3.4 know no assets: loads run there all the same.
Asset: Any
AssetContext: Any
try:
    from prefect.assets import Asset
    from prefect.context import AssetContext
except ImportError:
    Asset = AssetContext = None
