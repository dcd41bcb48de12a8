"""The marks of watermarks: a table `_zoopipe_watermarks` beside the ledger, a row for each source of each target.

A mark is written in the transaction of the rows that were read up to it. When they are gone, since the table was
dropped or replaced, it is gone as well, and the next load begins anew.
"""

from __future__ import annotations

import pyarrow as pa

from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.adapters.watermark import Mark

__all__ = ["MARKS", "MarkTable", "mark_lock"]

MARKS = "_zoopipe_watermarks"
# value: for people; state: what `Mark` needs.
_COLUMNS = ("target", "name", "load_id", "run", "value", "state")


class MarkTable:
    """The marks of one table.

    Args:
        database: open.
        target: the full name of the table.
    """

    def __init__(self, database: Database, target: TableName) -> None:
        self._database = database
        self._name = TableName(MARKS, target.schema)
        self._target = str(target)

    def all(self) -> list[Mark]:
        """Every mark, by name."""
        database = self._database
        if database.find(self._name) is None:
            return []
        rows = database.execute(
            f"SELECT {', '.join(map(quote, _COLUMNS[1:4]))}, {quote('state')} FROM {self._name.sql}"  # noqa: S608
            f" WHERE {quote('target')} = {database.mark(0)} ORDER BY {quote('name')}",
            [self._target],
        )
        return [Mark.from_json(*row) for row in rows]

    def clear(self) -> None:
        """Forget all marks: nothing of earlier loads is left in the table."""
        database = self._database
        if database.find(self._name) is not None:
            sql = f"DELETE FROM {self._name.sql} WHERE {quote('target')} = {database.mark(0)}"  # noqa: S608  quoted
            database.execute(sql, [self._target])

    def write(self, mark: Mark, load_id: str, run: str) -> None:
        """Put a mark in the place of the one before."""
        database = self._database
        kind = database.type_name(pa.string())
        columns = ", ".join(f"{quote(name)} {kind} NOT NULL" for name in _COLUMNS)
        key = f"PRIMARY KEY ({quote('target')}, {quote('name')})"
        database.execute(f"CREATE TABLE IF NOT EXISTS {self._name.sql} ({columns}, {key})")
        values = [self._target, mark.name, load_id, run, mark.text, mark.to_json()]
        changed = _COLUMNS[2:]
        sets = ", ".join(f"{quote(name)} = {database.mark(place)}" for place, name in enumerate(changed))
        where = (
            f"{quote('target')} = {database.mark(len(changed))} AND {quote('name')} = {database.mark(len(changed) + 1)}"
        )
        sql = f"UPDATE {self._name.sql} SET {sets} WHERE {where}"  # noqa: S608  quoted
        known = any(one.name == mark.name for one in self.all())
        if known:
            database.execute(sql, [*values[2:], *values[:2]])
            return
        marks = ", ".join(database.mark(place) for place in range(len(_COLUMNS)))
        database.execute(
            f"INSERT INTO {self._name.sql} ({', '.join(map(quote, _COLUMNS))}) VALUES ({marks})",  # noqa: S608  quoted
            values,
        )


def mark_lock(target: str, name: str) -> str:
    """The name of the lock of one mark."""
    return f"watermark {target} {name}"
