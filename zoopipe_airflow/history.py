"""What the targets of a task remember of loads: read by the task, which may open them, and kept beside its report.

The api-server that shows it opens no target: it may not reach them, and has no business with their passwords.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoopipe_core import Pipe
    from zoopipe_core.ledger import LoadRecord

__all__ = ["LEDGER_KEY", "MAX_LOADS", "MAX_TARGETS", "histories_of"]

LEDGER_KEY = "ledger"
"""The XCom in which it is kept."""

# It is to be read by people, and an XCom is a row of Airflow's database.
MAX_LOADS = 10
MAX_TARGETS = 10


def histories_of(pipes: Iterable[Pipe]) -> list[dict[str, Any]]:
    """The latest loads into each target, as plain JSON: of ten targets, and of each ten loads, the latest first.

    Targets that remember nothing (remote stores, Python objects, no target at all) are left out.

    Args:
        pipes: as they have run, with their connections looked up.

    Raises:
        ZoopipeError: a ledger cannot be read.

    >>> from zoopipe_core import Pipe
    >>> histories_of([Pipe([{"id": 1}], None, load_id="nightly")])
    []
    """
    from zoopipe_core.ledger import loads

    found: dict[str, dict[str, Any]] = {}
    for pipe in pipes:
        target = pipe.output_adapter
        if target is None:
            continue
        if target.label in found:
            found[target.label]["load_ids"].append(pipe.load_id)
        elif len(found) < MAX_TARGETS:
            records = loads(target, latest=MAX_LOADS)
            shown = [_shown(record) for record in reversed(records)]
            found[target.label] = {"target": target.label, "load_ids": [pipe.load_id], "loads": shown}
    return [history for history in found.values() if history["loads"]]


def _shown(record: LoadRecord) -> dict[str, Any]:
    report = record.report
    return {
        "load_id": record.load_id,
        "status": record.status,
        "attempt": record.attempt,
        "read_rows": report.read_rows,
        "loaded_rows": report.loaded_rows,
        "rejected_rows": report.rejected_rows,
        "started_at": None if record.started_at is None else record.started_at.isoformat(),
        "committed_at": None if record.committed_at is None else record.committed_at.isoformat(),
    }
