"""Which data a load has read and made, as Prefect's assets, and one event that tells how it ended.

load ended ─▶ event zoopipe.load.completed | failed | aborted
          └─▶ the task run's own asset events, once it has ended for good: source ─▶ target, with row counts
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable
from typing import Any

from prefect.events import emit_event
from prefect.states import Completed

from zoopipe_core import PipeReport, PipeStatus
from zoopipe_prefect.compatibility import Asset, AssetContext

__all__ = ["asset_key", "emit_load_event", "record_assets"]

MAX_KEY_CHARS = 480
TOOL = "zoopipe"


def asset_key(label: str) -> str:
    """The asset that a source or target is to Prefect: a URL without the characters that Prefect refuses.

    Args:
        label: as reports have it.

    >>> asset_key("duckdb:///warehouse.duckdb::users"), asset_key("/data/users.parquet")
    ('duckdb:///warehouse.duckdb/users', 'file:///data/users.parquet')
    >>> asset_key("warehouse_url()::analytics.users")
    'database://warehouse_url()/analytics.users'
    """
    place, separator, table = label.partition("::")
    scheme, has_scheme, rest = place.partition("://")
    if has_scheme:
        url = f"{scheme.lower()}://{rest}"
    else:
        url = f"database://{place}" if separator else f"file://{os.path.abspath(place)}"
    url = f"{url}/{table}" if separator else url
    # Dots and dashes of a scheme are refused as well.
    scheme, _, rest = url.partition("://")
    key = f"{re.sub('[^a-z0-9]', '', scheme) or 'data'}://{re.sub(_REFUSED, '_', rest)}"
    if key == url and len(key) <= MAX_KEY_CHARS:
        return key
    checksum = zlib.crc32(label.encode("utf-8", "surrogatepass"))
    return f"{key[:MAX_KEY_CHARS]}~{checksum:08x}"


_REFUSED = re.compile(r"""[\s\x00-\x20\x7f#?&%"'<>\[\]{}|\\^`\ud800-\udfff]""")


def emit_load_event(report: PipeReport) -> None:
    """Tell Prefect's event feed how a load has ended, so that an automation can act on it.

    The event is named ``zoopipe.load.completed``, ``.failed`` or ``.aborted``; its resource is the target; task run and
    flow run are related. The payload has counts and times, without anything from the rows.
    """
    payload: dict[str, Any] = _counts(report) | {
        "source": report.source,
        "target": report.target,
        "load_id": report.load_id,
        "attempt": report.attempt,
    }
    if report.exception is not None:
        payload["error"] = report.exception.type
    emit_event(
        event=f"zoopipe.load.{report.status.value}",
        resource={
            "prefect.resource.id": f"zoopipe.target.{asset_key(report.target)}",
            "prefect.resource.name": report.target,
        },
        payload=payload,
    )


def record_assets(report: PipeReport, pipes: Iterable[PipeReport] = ()) -> None:
    """Name the targets as assets that this task run has made, and the sources as those that they are made of.

    Prefect emits the events when the task run has ended for good.

    Args:
        report: of the load as a whole.
        pipes: of its pipes, where each has a target of its own; they take the place of `report`.
    """
    context = None if AssetContext is None else AssetContext.get()
    if context is None:
        return
    loads = list(pipes) or [report]
    task_fails = any(load.has_error for load in loads)
    for load in loads:
        if load.target in ("", _NOWHERE):
            continue
        asset, metadata = Asset(key=asset_key(load.target)), _counts(load) | {"load_id": load.load_id}
        if task_fails and load.status is PipeStatus.COMPLETED:
            # The task run's own event would say that this one failed, too.
            own = AssetContext(
                downstream_assets={asset}, materialized_by=TOOL, materialization_metadata={asset.key: metadata}
            )
            own.emit_events(Completed())
            continue
        context.downstream_assets.add(asset)
        context.add_asset_metadata(asset.key, metadata)
        if "://" in load.source or os.path.exists(load.source):
            context.direct_asset_dependencies.add(Asset(key=asset_key(load.source)))
    if context.downstream_assets:
        context.materialized_by = context.materialized_by or TOOL
        context.update_tracked_assets()


_NOWHERE = "no output"


def _counts(report: PipeReport) -> dict[str, Any]:
    return {
        "status": report.status.value,
        "rows_read": report.read_rows,
        "rows_loaded": report.loaded_rows,
        "rows_rejected": report.rejected_rows,
        "rows_filtered": report.filtered_rows,
        "seconds": round(report.duration_seconds, 3),
    }
