"""What a load added is taken out again if a later step of the same transaction fails.

    with transaction():
        run_pipe(pipe, load_id_column="_load_id")     committed in the database, and noted in the task's transaction
        notify()                                      fails ─▶ Prefect rolls back ─▶ the rows of this load are removed

The load publishes within the task, never in a commit hook: Prefect would pass over an error there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prefect.transactions import Transaction, get_transaction

from zoopipe_core.undo import undo_load, undoable
from zoopipe_prefect.load_ids import flow_run_load_id

if TYPE_CHECKING:
    from zoopipe_core import Pipe

__all__ = ["prepare_rollback", "undo_loads"]

_NOTE = "zoopipe_load"


@dataclass(frozen=True)
class _Undo:
    """How to undo one load. Transactions hand out deep copies of what they keep."""

    target: Any
    load_id: str
    column: str


def prepare_rollback(pipe: Pipe, name: str | None, column: str) -> Pipe:
    """The load as it can be undone, noted in the transaction of the task run that this is called in.

    Args:
        pipe: as the task was given it. Without a load id it gets that of the flow run.
        name: that the caller has given to the load, or None.
        column: for the load id, see `zoopipe_core.undo.undoable`.

    Raises:
        SpecError: what the load would do cannot be undone by removing rows.
    """
    if pipe.load_id is None:
        load_id = flow_run_load_id(pipe, name)
        pipe = pipe if load_id is None else replace(pipe, load_id=load_id)
        ours = True
    else:
        ours = False
    load = undoable(pipe, column)
    transaction = get_transaction()
    if transaction is not None and (ours or not _is_loaded(load)):
        transaction.set(_NOTE, _Undo(load.output_adapter, str(load.load_id), column))
    return load


def _is_loaded(pipe: Pipe) -> bool:
    """Whether an earlier run has done the load: then it is none of this transaction's."""
    assert pipe.output_adapter is not None
    assert pipe.load_id is not None
    ledger = pipe.output_adapter.ledger()
    record = None if ledger is None else ledger.find(pipe.load_id)
    return record is not None and record.status == "completed"


def undo_loads(transaction: Transaction) -> None:
    """The rollback hook of all tasks: take out what the task run has added, if that was prepared.

    Raises:
        ZoopipeError: it could not be done, or not exactly; Prefect logs it.
    """
    noted: _Undo | None = transaction.get(_NOTE, None)
    if noted is None:
        return
    removed = undo_load(noted.target, noted.load_id, noted.column)
    transaction.logger.warning(
        "%s: %s rows were taken out again, since a later step failed (load id %s)",
        noted.target.label,
        f"{removed:,}",
        noted.load_id,
    )
