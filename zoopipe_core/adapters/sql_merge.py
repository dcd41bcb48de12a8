"""Merging: rows whose key is in the table take the place of what is there, the others are added.

The rows are in a temporary table, with their place in the load; the target is locked against other writers. Keys are
compared as the database compares them.
"""

from __future__ import annotations

from collections.abc import Sequence

from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.errors import TableMismatchError, TargetError, UnsupportedValueError

__all__ = ["ROW", "merge"]

ROW = "_zoopipe_row"
"""The column of the temporary table that holds the place of a row in the load."""


def merge(
    database: Database,
    target: TableName,
    staged: str,
    columns: Sequence[str],
    key: Sequence[str],
    on_duplicate: str,
    label: str,
) -> tuple[str, ...]:
    """Merge the rows of a temporary table into a table.

    Args:
        database: within a transaction.
        target: the table.
        staged: the temporary table, quoted; it is used up.
        columns: the columns that both have.
        key: those of them that tell rows apart.
        on_duplicate: which of several rows of one key counts: the ``"first"``, the ``"last"``, or none (``"fail"``).
        label: what messages call the target.

    Returns:
        What was done, for the report.

    Raises:
        UnsupportedValueError: a key is NULL, or stands twice and must not.
        TableMismatchError: the table has several rows of one key.
        TargetError: the rows do not add up.
    """
    return _Merge(database, target, staged, columns, key, label).run(on_duplicate)


class _Merge:
    def __init__(
        self,
        database: Database,
        target: TableName,
        staged: str,
        columns: Sequence[str],
        key: Sequence[str],
        label: str,
    ) -> None:
        self._database, self._target, self._staged, self._label = database, target.sql, staged, label
        self._columns, self._key = list(columns), list(key)

    def run(self, on_duplicate: str) -> tuple[str, ...]:
        self._refuse_nulls()
        dropped = self._settle_duplicates(on_duplicate)
        rows = self._count(f"SELECT count(*) FROM {self._staged}")  # noqa: S608  all of it quoted, here and below
        known = self._count(
            f"SELECT count(*) FROM {self._staged} AS new WHERE EXISTS (SELECT 1 FROM {self._target} AS old"  # noqa: S608
            f" WHERE {self._same('old', 'new')})"
        )
        updated = self._update() if known else 0
        inserted = self._insert() if known < rows else 0
        if updated > known:
            raise TableMismatchError(
                f"{self._label} has several rows of one key ({', '.join(self._key)}): {known:,} keys of the load are "
                f"those of {updated:,} rows. Make the key unique, or name more columns in key=[...]"
            )
        if updated + inserted != rows:
            raise TargetError(
                f"{rows:,} rows were to be merged into {self._label}, but {updated:,} were updated and {inserted:,} "
                "inserted (does a trigger drop some?); nothing was published"
            )
        notes = [f"merged: {inserted:,} rows inserted, {updated:,} updated"]
        if dropped:
            notes.append(f"{dropped:,} rows of a key that stands twice in the load gave way to the {on_duplicate} one")
        return tuple(notes)

    def _refuse_nulls(self) -> None:
        for name in self._key:
            empty = self._count(f"SELECT count(*) FROM {self._staged} WHERE {quote(name)} IS NULL")  # noqa: S608
            if empty:
                raise UnsupportedValueError(
                    f"{empty:,} rows for {self._label} have no value in {name!r}, which is part of the key; let the "
                    "model reject them, or leave the column out of key=[...]"
                )

    def _settle_duplicates(self, on_duplicate: str) -> int:
        """Leave one row of each key; returns how many went."""
        keys = ", ".join(map(quote, self._key))
        twice = self._database.execute(
            f"SELECT {keys}, count(*) FROM {self._staged} GROUP BY {keys} HAVING count(*) > 1 LIMIT 1"  # noqa: S608
        )
        if not twice:
            return 0
        if on_duplicate == "fail":
            *values, count = twice[0]
            shown = ", ".join(f"{name}={value!r}" for name, value in zip(self._key, values, strict=True))
            raise UnsupportedValueError(
                f"{count} rows for {self._label} have the same key ({shown[:80]}); say which one counts with "
                'on_duplicate="last" or "first"'
            )
        if self._database.url.kind == "sqlite":
            # It would look at each pair of rows otherwise; the others hash them.
            table = self._staged.removeprefix("temp.")
            self._database.execute(f"CREATE INDEX temp._zoopipe_key ON {table} ({keys})")
        later = "<" if on_duplicate == "last" else ">"
        return self._database.insert(
            f"DELETE FROM {self._staged} AS one WHERE EXISTS (SELECT 1 FROM {self._staged} AS other"  # noqa: S608
            f" WHERE {self._same('one', 'other')} AND one.{quote(ROW)} {later} other.{quote(ROW)})"
        )

    def _update(self) -> int:
        changed = [name for name in self._columns if name not in self._key]
        if not changed:
            return self._count(
                f"SELECT count(*) FROM {self._target} AS old WHERE EXISTS (SELECT 1 FROM {self._staged} AS new"  # noqa: S608
                f" WHERE {self._same('old', 'new')})"
            )
        values = ", ".join(f"{quote(name)} = new.{quote(name)}" for name in changed)
        return self._database.insert(
            f"UPDATE {self._target} AS old SET {values} FROM {self._staged} AS new WHERE {self._same('old', 'new')}"  # noqa: S608
        )

    def _insert(self) -> int:
        names = ", ".join(map(quote, self._columns))
        return self._database.insert(
            f"INSERT INTO {self._target} ({names}) SELECT {names} FROM {self._staged} AS new WHERE NOT EXISTS ("  # noqa: S608
            f"SELECT 1 FROM {self._target} AS old WHERE {self._same('old', 'new')}) ORDER BY {quote(ROW)}"
        )

    def _same(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{quote(name)} = {other}.{quote(name)}" for name in self._key)

    def _count(self, sql: str) -> int:
        return int(self._database.execute(sql)[0][0])
