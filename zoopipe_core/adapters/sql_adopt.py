"""How the rows of staging tables go into a target, as they are: within the database, and in the order of the load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from zoopipe_core.adapters.sql_form import FilledTable
from zoopipe_core.adapters.sql_names import TableName
from zoopipe_core.adapters.sql_staging import Stage
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import TargetError

__all__ = ["fit_together", "gathered"]


def fit_together(target: FilledTable, stages: Sequence[Stage]) -> bool:
    """Give all staging tables the columns of the target, if nothing but a type is missing that no value has decided.

    Args:
        target: started; its columns that are open are settled by the first shard that has values.
        stages: in the order of their rows.

    Returns:
        False: some have other columns, and nothing was done to them.
    """
    _settle(target, stages)
    if not all(_fits(target, stage) for stage in stages):
        return False
    for stage in stages:
        for name, column in stage.note.columns.items():
            if column.type_name != target.columns[name].type_name:
                target.database.alter_type(stage.table, column.name, target.columns[name].type_name)
    return True


def _settle(target: FilledTable, stages: Sequence[Stage]) -> None:
    for name, column in target.columns.items():
        if not column.open:
            continue
        known = (stage.note.columns[name] for stage in stages if name in stage.note.columns)
        first = next((staged for staged in known if not staged.open), None)
        if first is not None:
            settled = target.planner.fresh(name, ColumnType(first.given))
            target.settle(name, replace(settled, nullable=column.nullable))


def _fits(target: FilledTable, stage: Stage) -> bool:
    columns = stage.note.columns
    return set(columns) == set(target.columns) and all(
        column.name == target.columns[name].name and (column.open or column.type_name == target.columns[name].type_name)
        for name, column in columns.items()
    )


def gathered(target: FilledTable, stages: Sequence[Stage], table: TableName) -> Mapping[str, int]:
    """One table of which all staging tables are parts, with the number of its rows; no row is moved.

    Args:
        target: as it is to be.
        stages: what is gathered.
        table: the full name of the target.

    Raises:
        TargetError: one does not hold the rows that it held.
    """
    database = target.database
    whole = stages[0].owner.gathered(table).sql
    database.execute(f"CREATE UNLOGGED TABLE {whole} ({target.definitions()})")
    for stage in stages:
        counted = int(database.execute(f"SELECT count(*) FROM {stage.table.sql}")[0][0])  # noqa: S608  quoted
        if counted != stage.note.rows:
            raise TargetError(
                f"the rows of shard {stage.shard} for {table} are no longer all there: {counted:,} of "
                f"{stage.note.rows:,} (did the server crash meanwhile?); nothing was published"
            )
        database.execute(f"ALTER TABLE {stage.table.sql} INHERIT {whole}")
    return {whole: sum(stage.note.rows for stage in stages)}
