"""Taking the rows of one load out of a table again, for a caller whose later steps have failed.

    from zoopipe_core.undo import undo_load, undoable

    pipe = undoable(pipe, column="_load_id")      before: each row says which load has brought it
    pipe.run()
    undo_load(pipe.output_adapter, pipe.load_id, column="_load_id")

Only rows that were added can be taken out: what a load has replaced, or merged into, is gone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from zoopipe_core.adapters.ledger import COMPLETED, LoadRecord
from zoopipe_core.adapters.sql import SQLOutputAdapter
from zoopipe_core.adapters.sql_connect import connect, resolve_uri
from zoopipe_core.adapters.sql_ledger import LOAD_SECONDS, LedgerTable, load_lock, under_way
from zoopipe_core.adapters.sql_names import parse_table_name, quote
from zoopipe_core.errors import SpecError, TargetError
from zoopipe_core.hooks import ColumnHook, Store

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_database import Database
    from zoopipe_core.adapters.sql_names import TableName
    from zoopipe_core.pipe import Pipe

__all__ = ["UNDONE", "LoadIdColumn", "undo_load", "undoable"]

UNDONE = "undone"
"""The status in the ledger of a load whose rows were taken out again: run again, it is loaded again."""

LAST = 1_000_000  # no hook of a user's own replaces the column


class LoadIdColumn(ColumnHook):
    """Gives each row the id of the load that brings it, as a column of text.

    Args:
        column: its name, which no column of the rows has.
        load_id: the same for all rows.
    """

    columns = ()

    def __init__(self, column: str, load_id: str) -> None:
        super().__init__(priority=LAST)
        self.column = column
        self.load_id = load_id
        self.adds = {column: str}

    def execute(self, batch: pa.RecordBatch, store: Store) -> pa.RecordBatch:
        if self.column in batch.schema.names:
            raise SpecError(f"the rows have a column {self.column!r}; name another one for the load id")
        return batch.append_column(self.column, pa.repeat(pa.scalar(self.load_id), batch.num_rows))


def undoable(pipe: Pipe, column: str) -> Pipe:
    """The same load, which `undo_load` can undo: its rows get a column with the load id.

    Args:
        pipe: has a load id, and adds rows to a table.
        column: the name of the column; a table that is there has it, or has ``on_drift="evolve"``.

    Raises:
        SpecError: what the load would do cannot be undone by removing rows.
    """
    if not isinstance(column, str) or not column:
        raise SpecError(f"the column of the load id has to be a name, not {column!r}")
    check_undo(pipe.output_adapter)
    if pipe.load_id is None:
        raise SpecError(f"{pipe!r} has no load_id, by which its rows could be told from others: name it")
    if pipe.input_adapter.mark_name is not None:
        raise SpecError(
            f"{pipe!r} reads what is new behind a watermark: rows that were taken out would not be read again"
        )
    if pipe.if_loaded == "again":
        raise SpecError('if_loaded="again" adds rows under an id that others have: they could not be told apart')
    hooks = (*pipe.post_validation_hooks, LoadIdColumn(column, pipe.load_id))
    return replace(pipe, post_validation_hooks=hooks)


def check_undo(target: object) -> SQLOutputAdapter:
    """Make sure that a load into `target` can be undone.

    Raises:
        SpecError: it cannot.
    """
    if isinstance(target, SQLOutputAdapter) and target.mode == "append":
        return target
    label = "no output" if target is None else getattr(target, "label", repr(target))
    what = f'a table with mode="{target.mode}"' if isinstance(target, SQLOutputAdapter) else "no table"
    raise SpecError(
        f'only rows that were added to a table (mode="append") can be taken out again, and {label} is {what}: '
        "what the load replaces would be gone"
    )


def undo_load(target: SQLOutputAdapter, load_id: str, column: str) -> int:
    """Remove the rows that a load has added, in one transaction with its record in the ledger.

    Args:
        target: of the load.
        load_id: of the load.
        column: where the rows have it; see `undoable`.

    Returns:
        How many rows were removed: 0 for a load that is not in the table, or not any more.

    Raises:
        SpecError: loads into `target` cannot be undone.
        TargetError: the rows with this id are not those that the load brought; nothing is removed.
        LoadLockedError: the load is under way.
        DatabaseError: the database refused; nothing is removed.
    """
    check_undo(target)
    database = connect(resolve_uri(target.uri), read_only=False)
    try:
        table = database.full_name(parse_table_name(target.table_name))
        database.begin()
        try:
            removed = _remove(database, table, load_id, column)
            database.commit()
        except BaseException:
            database.rollback()
            raise
        return removed
    finally:
        database.close()


def _remove(database: Database, table: TableName, load_id: str, column: str) -> int:
    for name, exclusive in ((load_lock(str(table), load_id), True), (f"table {table}", False)):
        if not database.lock(name, exclusive=exclusive, seconds=LOAD_SECONDS):
            raise under_way(str(table), load_id)
    ledger = LedgerTable(database, table)
    record: LoadRecord | None = ledger.find(load_id)
    if record is None or record.status != COMPLETED:
        return 0
    rows = f"FROM {table.sql} WHERE {quote(column)} = {database.mark(0)}"
    counted = cast(int, database.execute(f"SELECT count(*) {rows}", [load_id])[0][0])
    if counted != record.report.loaded_rows:
        raise TargetError(
            f"{counted:,} rows of {table} have {load_id!r} in {column!r}, and the load brought "
            f"{record.report.loaded_rows:,}: somebody has changed them since, so none is removed"
        )
    database.execute(f"DELETE {rows}", [load_id])
    ledger.write(replace(record, status=UNDONE, committed_at=None), alone=False)
    return counted
