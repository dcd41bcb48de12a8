"""Which form a table has to have for the rows of a load, and the contract of what a `SQLWriter` fills."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.sql_columns import ColumnPlanner, TargetColumn
from zoopipe_core.adapters.sql_database import Database, ExistingTable
from zoopipe_core.adapters.sql_merge import ROW
from zoopipe_core.adapters.sql_names import TableName, check_columns, quote, show_names
from zoopipe_core.adapters.sql_staging import Stage
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import DatabaseConnectionError, TargetError

__all__ = ["FilledTable", "TableForm", "WriteSpec", "table_form"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WriteSpec:
    """How a table is written; see `SQLOutputAdapter`."""

    mode: str
    key: tuple[str, ...] = ()
    on_duplicate: str = "fail"
    on_drift: str | None = None
    create_table: str = "auto"
    pre_sql: tuple[str, ...] = ()
    post_sql: tuple[str, ...] = ()

    @property
    def row_column(self) -> str | None:
        """The column for the place of each row in the load, as int64, where that counts."""
        return ROW if self.mode == "merge" else None


@dataclass(frozen=True, slots=True)
class TableForm:
    """The form of a table for the rows of a load.

    Attributes:
        columns: those that rows go into, by the names that they have in the rows.
        keeps_table: the table that is there stays; else it is made, or made anew.
        ignored: columns of the rows that do not go into it.
        added, widened: those of `columns` that the table is still to get, or to get with another type.
        notes: remarks for the report.
    """

    columns: dict[str, TargetColumn]
    keeps_table: bool
    ignored: frozenset[str] = frozenset()
    added: tuple[str, ...] = ()
    widened: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def table_form(
    planner: ColumnPlanner,
    database: Database,
    existing: ExistingTable | None,
    spec: WriteSpec,
    types: Mapping[str, ColumnType],
    label: str,
) -> TableForm:
    """The form that the table gets.

    Args:
        planner: of the target's columns.
        database: that holds it.
        existing: the table that is there.
        spec: how it is written.
        types: the columns of the rows.
        label: what messages call the target.

    Raises:
        TargetError: the table cannot have these columns, or does not take them.
    """
    if not types:
        raise TargetError(f"{label} cannot be a table without columns: no row came and no model names any")
    check_columns(types, limit=database.url.name_limit, ignore_case=database.ignores_case)
    fresh = {name: planner.fresh(name, column) for name, column in types.items()}
    _check_key(fresh, spec, label)
    for name in spec.key:
        fresh[name] = replace(fresh[name], nullable=False)
    if existing is None or not (
        spec.mode != "replace" or spec.on_drift is not None or planner.is_same(existing, fresh)
    ):
        return TableForm(fresh, keeps_table=False)
    matched = planner.matched(existing, fresh, spec.on_drift)
    _check_key(matched.columns, spec, label)
    return TableForm(matched.columns, True, matched.ignored, matched.added, matched.widened, matched.notes)


def _check_key(columns: Mapping[str, TargetColumn], spec: WriteSpec, label: str) -> None:
    missing = [name for name in spec.key if name not in columns]
    if missing:
        raise TargetError(
            f"the key of {label} names {', '.join(map(repr, missing))}, which the rows do not bring into it; "
            f"they have {show_names(columns)}"
        )
    if spec.row_column in columns:
        raise TargetError(f"a column cannot be called {spec.row_column!r} in a merge; rename it")


class FilledTable(ABC):
    """What a `SQLWriter` puts rows into.

    Attributes:
        database: the connection.
        planner: plans its columns.
        columns: those that rows go into, by the names that they have in the rows.
        ignored: columns of the rows that do not go into it.
        row_column: the name of a column for the place of each row in the load, as int64; None: none is wanted.
        first_row: the place of the first row.
        notes: remarks for the report.
    """

    database: Database
    planner: ColumnPlanner
    columns: dict[str, TargetColumn]
    ignored: frozenset[str]
    row_column: str | None
    first_row: int = 0
    notes: tuple[str, ...]
    _label: str
    _created = False
    _closed = False

    @property
    @abstractmethod
    def filling(self) -> TableName:
        """The table that rows are put into first."""

    @property
    @abstractmethod
    def is_staged(self) -> bool:
        """Whether that is a temporary one."""

    @abstractmethod
    def start(self, types: Mapping[str, ColumnType]) -> None:
        """Decide what the columns are.

        Raises:
            TargetError: the table cannot have them, or does not take them.
        """

    def settle(self, name: str, settled: TargetColumn) -> None:
        """Values have decided what a column holds that was open. No row may be under way into the table."""
        if settled.type_name != self.columns[name].type_name and self._created:
            self.database.alter_type(self.filling, settled.name, settled.type_name)
        self.columns[name] = settled

    @abstractmethod
    def create(self) -> None:
        """Make the table that rows go into; done once, and as late as possible."""

    def definitions(self) -> str:
        """The columns of a table that rows wait in: whether one may be NULL is asked by the target."""
        text = self.planner.definitions([replace(column, nullable=True) for column in self.columns.values()])
        if self.row_column is not None:
            text += f", {quote(self.row_column)} {self.database.type_name(pa.int64())}"
        return text

    @abstractmethod
    def check_counts(self, given: int, taken: int) -> None:
        """Make sure that the rows that were given are there.

        Args:
            given: how many there were.
            taken: how many the database has said that it took.

        Raises:
            TargetError: some are not.
        """

    def adopt(self, stages: Sequence[Stage]) -> bool:
        """Take rows from staging tables, when the load is prepared, instead of being given them; after `start`.

        Args:
            stages: none of them empty, in the order of their rows.

        Returns:
            False: these have other columns, and nothing was done.
        """
        return False

    @abstractmethod
    def prepare(self) -> None:
        """Do all that can be done before the commit; the rows are complete."""

    @abstractmethod
    def remember(self, record: LoadRecord) -> None:
        """What the ledger is to say of this load."""

    @abstractmethod
    def publish(self) -> None:
        """Commit."""

    def abort(self) -> None:
        """Undo everything, and close the connection; harmless if done already."""
        if self._closed:
            return
        try:
            self.database.rollback()
        except DatabaseConnectionError:
            # Where the connection is gone, the server has rolled back by itself.
            logger.debug("%s: the connection is gone", self._label)
        finally:
            self._close()

    def _close(self) -> None:
        """Close the connection."""
        self._closed = True
        self.database.close()
