"""Which columns a table has to have, and how the rows' columns go into those that it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from zoopipe_core.adapters.sql_database import Database, ExistingColumn, ExistingTable
from zoopipe_core.adapters.sql_names import quote, show_names
from zoopipe_core.adapters.sql_types import AWARE, NAIVE, Fit, fit, plain, widens
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import TableMismatchError, UnsupportedTypeError

__all__ = ["ColumnPlanner", "Matched", "TargetColumn"]


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column to write.

    Attributes:
        type_name: its type in the database.
        given: the plain type of the values.
        fit: how they go into it.
        open: no value has decided yet what the column holds, nor has the model.
    """

    name: str
    type_name: str
    nullable: bool
    given: pa.DataType
    fit: Fit
    open: bool = False


@dataclass(frozen=True, slots=True)
class Matched:
    """How rows go into a table that is there.

    Attributes:
        columns: by the names that they have in the rows.
        ignored: columns of the rows that do not go into it.
        added, widened: those of `columns` that the table is still to get, or to get with another type.
        notes: remarks for the report.
    """

    columns: dict[str, TargetColumn]
    ignored: frozenset[str]
    added: tuple[str, ...]
    widened: tuple[str, ...]
    notes: tuple[str, ...]


class ColumnPlanner:
    """Plans the columns of one target.

    Args:
        database: that holds it.
        label: what messages call the target.
    """

    def __init__(self, database: Database, label: str) -> None:
        self._database = database
        self._label = label

    def fold(self, name: str) -> str:
        """The name as the database compares it."""
        return name.lower() if self._database.ignores_case else name

    # ---- new columns ------------------------------------------------------------------------------------------

    def fresh(self, name: str, column: ColumnType) -> TargetColumn:
        """The column as a new table has it.

        Raises:
            UnsupportedTypeError: the database has no type for it.
        """
        given = plain(column.arrow)
        type_name = None if given is None else self._database.type_name(given)
        if given is None or type_name is None:
            raise UnsupportedTypeError(
                f"the column {name!r} is of type {column.arrow}, for which {self._database.url.kind} has no column "
                f"type ({self._label}); turn it into JSON text, or leave it out"
            )
        way = fit(given, self._database.parse_type(type_name))
        if way is None:
            raise UnsupportedTypeError(f"the column {name!r} of type {column.arrow} does not go into {type_name}")
        is_open = column.open_zone or pa.types.is_null(given)
        return TargetColumn(name, type_name, column.nullable, given, way, is_open)

    @staticmethod
    def definitions(columns: Sequence[TargetColumn], key: Sequence[str] = ()) -> str:
        """The columns, and their primary key, as CREATE TABLE wants them."""
        parts = [f"{quote(c.name)} {c.type_name}{'' if c.nullable else ' NOT NULL'}" for c in columns]
        if key:
            parts.append(f"PRIMARY KEY ({', '.join(map(quote, key))})")
        return ", ".join(parts)

    # ---- existing columns -------------------------------------------------------------------------------------

    def is_same(self, existing: ExistingTable, fresh: Mapping[str, TargetColumn]) -> bool:
        """Whether a table that is to be replaced has just these columns already."""
        if {column.name for column in existing.columns} != set(fresh):
            return False
        return all(
            self._same_type(column, fresh[column.name])
            and not column.computed
            and (column.nullable or not fresh[column.name].nullable)
            for column in existing.columns
        )

    def _same_type(self, column: ExistingColumn, new: TargetColumn) -> bool:
        if new.open and pa.types.is_timestamp(new.given):
            return column.type.arrow in (NAIVE, AWARE)
        # Of a column without any value so far it is not known what it will need.
        return column.type.name == new.type_name and not new.open

    def matched(self, existing: ExistingTable, fresh: Mapping[str, TargetColumn], on_drift: str | None) -> Matched:
        """The columns as the existing table has them, matched by name.

        Args:
            existing: the table.
            fresh: the rows' columns, as a new table would have them.
            on_drift: what to do where they differ; see `SQLOutputAdapter`.

        Raises:
            TableMismatchError: a column is not there, is wanted and not given, or does not take the values.
        """
        known = {self.fold(column.name): column for column in existing.columns}
        extra = [name for name in fresh if self.fold(name) not in known]
        if extra and on_drift not in ("evolve", "ignore"):
            raise TableMismatchError(
                f"{self._label} has no column {', '.join(map(repr, extra))}; it has "
                f"{show_names(column.name for column in existing.columns)}.\n"
                "  Add the column to the table, drop it from the rows, or say what is to be done: "
                'on_drift="evolve" adds it, on_drift="ignore" leaves it out, mode="replace" makes the table anew.'
            )
        notes = self._check_gone(existing, {self.fold(name) for name in fresh}, on_drift)
        columns: dict[str, TargetColumn] = {}
        added, widened = [], []
        for name, column in fresh.items():
            if name not in extra:
                there = known[self.fold(name)]
                if on_drift == "evolve" and self._widens(there, column):
                    widened.append(name)
                    columns[name] = replace(column, name=there.name, nullable=there.nullable)
                else:
                    columns[name] = self.into(there, column)
            elif on_drift == "evolve":
                added.append(name)
                columns[name] = replace(column, nullable=True)  # the rows that are there have no value
        if extra and on_drift == "ignore":
            notes.append(f"left out, since {self._label} does not have them: {show_names(extra)}")
        if added or widened:
            made = ", ".join(f"{columns[name].name} {columns[name].type_name}" for name in [*added, *widened])
            notes.append(f"{self._label} was changed to fit: {made}")
        ignored = frozenset(extra) if on_drift == "ignore" else frozenset[str]()
        return Matched(columns, ignored, tuple(added), tuple(widened), tuple(notes))

    def _check_gone(self, existing: ExistingTable, given: set[str], on_drift: str | None) -> list[str]:
        """What is to be said of columns that the rows do not have."""
        gone = [c for c in existing.columns if self.fold(c.name) not in given and not c.fills_itself]
        for column in gone:
            if not column.nullable:
                raise TableMismatchError(
                    f"{self._label} has the column {column.name!r}, which is NOT NULL and has no default, but the rows "
                    "do not have it; add it to them, or give it a default"
                )
        names = show_names(column.name for column in gone)
        if gone and on_drift == "fail":
            raise TableMismatchError(
                f"{self._label} has columns that the rows do not have, and that would stay empty: {names}; add them "
                'to the rows, or say on_drift="ignore"'
            )
        return [f"empty in the new rows, which do not have them: {names}"] if gone else []

    def _widens(self, column: ExistingColumn, new: TargetColumn) -> bool:
        if column.computed or new.open or column.type.name == new.type_name or not widens(column.type, new.given):
            return False
        # SQLite keeps each number as it is, whatever the column says.
        return not (self._database.url.kind == "sqlite" and fit(new.given, column.type) is not None)

    def into(self, column: ExistingColumn, new: TargetColumn) -> TargetColumn:
        """How values go into a column that is there.

        Raises:
            TableMismatchError: some would be changed on the way.
        """
        given = new.given
        if new.open and pa.types.is_timestamp(given) and column.type.arrow in (NAIVE, AWARE):
            given = column.type.arrow
        way = None if column.computed else fit(given, column.type)
        if way is None:
            what = "is computed by the database" if column.computed else f"is of type {column.type.name}"
            raise TableMismatchError(
                f"the column {column.name!r} of {self._label} {what} and does not take {new.type_name} without loss; "
                'change the field or the table, or use mode="replace"'
            )
        return TargetColumn(column.name, column.type.name, column.nullable, given, way)
