"""Merging: rows whose key is in the table take the place of what is there, the others are added.

    staged ─▶ keys: none empty, each once ─▶ compared with the table ─▶ UPDATE what differs ─▶ INSERT what is new

The rows are in a temporary table, with their place in the load; the target is locked against other writers. Keys are
compared as the database compares them. A row that is in the table as it comes is not written again, where the database
can tell: with PostgreSQL a row costs its log and its indexes each time that it is written. Many loads bring known rows,
or new ones, or new ones behind the known: then the rows need not be looked for a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from zoopipe_core.adapters.sql_columns import TargetColumn
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.errors import TableMismatchError, TargetError, UnsupportedValueError

__all__ = ["ROW", "MergeTarget", "merge"]

ROW = "_zoopipe_row"
"""The column of the temporary table that holds the place of a row in the load."""


@dataclass(frozen=True, slots=True)
class MergeTarget:
    """What is merged into.

    Attributes:
        database: within a transaction.
        table: that gets the rows.
        columns: those that the rows have.
        key: the names of those of them that tell rows apart.
        label: what messages call the table.
    """

    database: Database
    table: TableName
    columns: Sequence[TargetColumn]
    key: Sequence[str]
    label: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What is in the table already.

    Attributes:
        rows: of the load, whose key is there.
        first, last: the places of the first and the last of them.
        differing: rows of the table that are to be updated.
        pairs: a row of the load and one of the table that has its key; as many as `rows`, if keys are unique there.
    """

    rows: int
    first: int
    last: int
    differing: int
    pairs: int

    @property
    def is_run(self) -> bool:
        """Whether there are no other rows of the load between the first and the last."""
        return self.rows == self.last - self.first + 1


def merge(
    target: MergeTarget, staged: str, on_duplicate: str, *, fires_triggers: bool, is_in_order: bool
) -> tuple[str, ...]:
    """Merge the rows of a temporary table into a table.

    Args:
        target: the table.
        staged: the temporary table, quoted, with the columns of `target` and `ROW`; it is used up.
        on_duplicate: which of several rows of one key counts: the ``"first"``, the ``"last"``, or none (``"fail"``).
        fires_triggers: the table has triggers: rows are updated even if they are the same already.
        is_in_order: its rows were put in by one after the other, so that a look through it finds them in their order.

    Returns:
        What was done, for the report.

    Raises:
        UnsupportedValueError: a key is NULL, or stands twice and must not.
        TableMismatchError: the table has several rows of one key.
        TargetError: the rows do not add up.
    """
    with target.database.joining():
        return _Merge(target, staged, fires_triggers, is_in_order).run(on_duplicate)


class _Merge:
    def __init__(self, target: MergeTarget, staged: str, fires_triggers: bool, is_in_order: bool) -> None:
        self._database, self._label, self._key = target.database, target.label, list(target.key)
        self._name, self._staged, self._columns = target.table, staged, target.columns
        self._is_in_order = is_in_order
        self._target = target.table.sql
        self._changed = [column for column in target.columns if column.name not in target.key]
        self._differs = self._condition(fires_triggers)

    def _condition(self, fires_triggers: bool) -> str:
        """Which of the rows whose key is there are to be updated."""
        if not self._changed:
            return "1 = 0"
        told = [self._database.differs(column.name, column.type_name) for column in self._changed]
        known = [condition for condition in told if condition is not None]
        return "1 = 1" if fires_triggers or len(known) < len(told) else f"({' OR '.join(known)})"

    def run(self, on_duplicate: str) -> tuple[str, ...]:
        rows, dropped = self._settle_keys(on_duplicate)
        found = self._compare()
        if found.pairs > found.rows:
            raise TableMismatchError(
                f"{self._label} has several rows of one key ({', '.join(self._key)}): {found.rows:,} keys of the load "
                f"are those of {found.pairs:,} rows. Make the key unique, or name more columns in key=[...]"
            )
        updated = self._update() if found.differing else 0
        inserted = self._insert(found) if found.rows < rows else 0
        if updated != found.differing or found.rows + inserted != rows:
            raise TargetError(
                f"{rows:,} rows were to be merged into {self._label}, {found.rows:,} of them are there and "
                f"{found.differing:,} differ, but {updated:,} were updated and {inserted:,} inserted (does a trigger "
                "drop some?); nothing was published"
            )
        same = f", {found.rows - updated:,} were the same already" if found.rows > updated else ""
        notes = [f"merged: {inserted:,} rows inserted, {updated:,} updated{same}"]
        if dropped:
            notes.append(f"{dropped:,} rows of a key that stands twice in the load gave way to the {on_duplicate} one")
        return tuple(notes)

    # ---- the keys of the load ---------------------------------------------------------------------------------

    def _settle_keys(self, on_duplicate: str) -> tuple[int, int]:
        """Make sure that each row has a key of its own; returns how many rows are left, and how many went."""
        first = next(column for column in self._columns if column.name == self._key[0])
        # Sorting numbers takes a third of the time of grouping them; sorting texts depends on their language.
        sorts = len(self._key) == 1 and pa.types.is_primitive(first.given)
        counts = [f"count({quote(name)})" for name in self._key]
        counts += [f"count(DISTINCT {quote(self._key[0])})"] if sorts else []
        rows, *filled = self._counts(f"SELECT count(*), {', '.join(counts)} FROM {self._staged}")  # noqa: S608  quoted
        for name, count in zip(self._key, filled, strict=False):
            if count < rows:
                raise UnsupportedValueError(
                    f"{rows - count:,} rows for {self._label} have no value in {name!r}, which is part of the key; let "
                    "the model reject them, or leave the column out of key=[...]"
                )
        if sorts and filled[-1] == rows:
            return rows, 0
        dropped = self._settle_duplicates(on_duplicate)
        return rows - dropped, dropped

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

    # ---- the rows ---------------------------------------------------------------------------------------------

    def _compare(self) -> _Found:
        """Look for the rows in the table."""
        place = quote(ROW)
        is_unique = self._database.is_unique(self._name, self._key)
        # Counting different places takes as long as half of the rest. Materialized for it: else PostgreSQL sorts whole
        # rows.
        rows, first, last, differing, pairs = self._counts(
            f"WITH found AS {'NOT ' if is_unique else ''}MATERIALIZED (SELECT new.{place} AS place,"  # noqa: S608  quoted
            f" CASE WHEN {self._differs} THEN 1 END AS differs"
            f" FROM {self._staged} AS new JOIN {self._target} AS old ON {self._same('old', 'new')})"
            f" SELECT count({'' if is_unique else 'DISTINCT '}place), coalesce(min(place), 0), coalesce(max(place), 0),"
            " count(differs), count(*) FROM found"
        )
        return _Found(rows, first, last, differing, pairs)

    def _update(self) -> int:
        values = ", ".join(f"{quote(column.name)} = new.{quote(column.name)}" for column in self._changed)
        return self._database.insert(
            f"UPDATE {self._target} AS old SET {values} FROM {self._staged} AS new"  # noqa: S608
            f" WHERE {self._same('old', 'new')} AND {self._differs}"
        )

    def _insert(self, found: _Found) -> int:
        """Insert the rows that were not found."""
        names = ", ".join(quote(column.name) for column in self._columns)
        is_sorted = self._is_in_order
        if not found.rows:
            is_new = "1 = 1"
        elif found.is_run:
            is_new = f"{quote(ROW)} NOT BETWEEN {found.first} AND {found.last}"
        else:
            is_new = f"NOT EXISTS (SELECT 1 FROM {self._target} AS old WHERE {self._same('old', 'new')})"  # noqa: S608
            is_sorted = False  # it may look for the new rows from the old ones
        order = "" if is_sorted else f" ORDER BY {quote(ROW)}"
        return self._database.insert(
            f"INSERT INTO {self._target} ({names}) SELECT {names} FROM {self._staged} AS new WHERE {is_new}{order}"  # noqa: S608
        )

    def _same(self, one: str, other: str) -> str:
        return " AND ".join(f"{one}.{quote(name)} = {other}.{quote(name)}" for name in self._key)

    def _counts(self, sql: str) -> list[int]:
        return [int(count) for count in self._database.execute(sql)[0]]
