"""What targets remember of the loads into them.

from zoopipe_core.ledger import loads

for load in loads("duckdb:///wh.duckdb", "flights"):
print(load.load_id, load.status, load.report.loaded_rows)
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from zoopipe_core.adapters.base import OutputAdapter
from zoopipe_core.adapters.ledger import Ledger, LoadRecord
from zoopipe_core.adapters.watermark import Mark
from zoopipe_core.registry import resolve_output

if TYPE_CHECKING:
    from zoopipe_core.adapters.paths import PathLike
    from zoopipe_core.adapters.sql_connect import Uri

__all__ = ["LoadRecord", "Mark", "loads", "next_step", "watermarks"]

_NEXT_STEPS = {
    "completed": "nothing to do: it is in the target, and run again it is passed over",
    "failed": "nothing was published: repair the cause, then run it again under the same load_id",
    "aborted": "nothing was published: run it again under the same load_id",
    "running": "begun and not ended: it runs, or its process was killed; then run it again under the same load_id",
    "replaced": "no longer in the target, which holds another load: run it again if its rows are to be there",
}


def loads(
    target: PathLike | Uri | OutputAdapter, table: str | None = None, *, latest: int | None = None
) -> list[LoadRecord]:
    """What is remembered of loads into a table or a file, in the order in which they began.

    Args:
        target: the database, as for `SQLOutputAdapter`; or the path of a file; or the adapter that writes either.
        table: the table; None for a file or an adapter, and for a URL that names the table itself
            (``duckdb:///wh.db::flights``).
        latest: only the so many loads that began last; None: all.

    Raises:
        SpecError: there is no such kind of target, or it remembers nothing.
        DatabaseError, TargetError: it cannot be read.
    """
    ledger = _ledger(target, table)
    return [] if ledger is None else ledger.records(latest)


def watermarks(target: PathLike | Uri | OutputAdapter, table: str | None = None) -> list[Mark]:
    """How far the sources with a watermark have come whose rows are in a table, by name.

    Args:
        target: the database, the file or the adapter, as for `loads`.
        table: the table.

    Raises:
        SpecError, DatabaseError, TargetError: as `loads`.
    """
    ledger = _ledger(target, table)
    return [] if ledger is None else ledger.marks()


def _ledger(target: PathLike | Uri | OutputAdapter, table: str | None) -> Ledger | None:
    output: OutputAdapter
    if isinstance(target, OutputAdapter):
        output = target
    elif table is None and isinstance(target, str | os.PathLike):
        output = resolve_output(target)
    else:
        from zoopipe_core.adapters.sql import SQLOutputAdapter

        output = SQLOutputAdapter(target, table or "")  # type: ignore[arg-type]  # refused there if it is no URL
    return output.ledger()


def next_step(record: LoadRecord) -> str:
    """What somebody can do who finds a load in this state, as one sentence."""
    return _NEXT_STEPS[record.status]
