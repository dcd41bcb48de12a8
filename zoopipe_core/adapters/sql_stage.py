"""The table into which one shard of a load puts its rows; see `sql_staging`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.sql_columns import ColumnPlanner
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_form import FilledTable, WriteSpec, table_form
from zoopipe_core.adapters.sql_names import TableName
from zoopipe_core.adapters.sql_staging import SHARD_ROWS, StageNote, StageOwner, check_stageable, write_note
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SpecError, TargetError, TargetWriteError

__all__ = ["StageTable"]


class StageTable(FilledTable):
    """One staging table, over one connection. A failing constructor closes it.

    Its columns have the types of the target's, so that what does not fit is told of here, with the row; and the rows
    need no conversion when they are published.

    Args:
        connect: opens the database.
        target: as the user names it.
        spec: how the target is written.
        label: what messages call the target.
        owner, shard, attempt: whose rows these are.

    Raises:
        TargetError, DatabaseConnectionError: see `OutputAdapter.open`.
        SpecError: the database is no server of PostgreSQL.
    """

    def __init__(
        self,
        connect: Callable[[], Database],
        target: TableName,
        spec: WriteSpec,
        label: str,
        owner: StageOwner,
        shard: int,
        attempt: int,
    ) -> None:
        self._spec, self._label, self._owner = spec, label, owner
        self._types: Mapping[str, ColumnType] = {}
        self._rows = 0
        self._closed = False
        self.columns, self.ignored, self.notes = {}, frozenset(), ()
        self.row_column = spec.row_column
        self.first_row = shard * SHARD_ROWS
        self.database = database = connect()
        self.planner = ColumnPlanner(database, label)
        try:
            if database.url.kind != "postgresql":
                raise SpecError(f'{label}: staging="tables" is for PostgreSQL; say staging="parts", or leave it out')
            database.begin()
            # A crash of the server empties the table in any case.
            database.execute("SET LOCAL synchronous_commit = off")
            full = database.full_name(target)
            self._table = owner.stage(full, shard, attempt)
            check_stageable(database, full)
            self._check_owner()
            self._existing = database.find(target)
        except BaseException:
            self.abort()
            raise

    def _check_owner(self) -> None:
        if not self._owner.lives(self.database):
            raise TargetWriteError(
                f"the load into {self._label} that this shard is part of has ended, or has lost its connection to the "
                "server; nothing of the shard is kept"
            )

    @property
    def filling(self) -> TableName:
        return self._table

    @property
    def is_staged(self) -> bool:
        return False

    def start(self, types: Mapping[str, ColumnType]) -> None:
        form = table_form(self.planner, self.database, self._existing, self._spec, types, self._label)
        self._types, self.columns, self.ignored = types, form.columns, form.ignored

    def create(self) -> None:
        if self._created:
            return
        self.database.execute(f"DROP TABLE IF EXISTS {self._table.sql}")  # the same try, done again
        self.database.execute(f"CREATE UNLOGGED TABLE {self._table.sql} ({self.definitions()})")
        self._created = True

    def check_counts(self, given: int, taken: int) -> None:
        # What the table holds is counted when it is published.
        if given != taken:
            raise TargetError(
                f"{given:,} rows were given to a staging table of {self._label}, and the database took {taken:,}; "
                "nothing was published"
            )
        self._rows = given

    def prepare(self) -> None:
        write_note(self.database, self._table, StageNote.of(self._rows, self._types, self.columns))

    def remember(self, record: LoadRecord) -> None:
        """Nothing: a shard is no load."""

    def publish(self) -> None:
        """Leave the rows to the coordinator.

        Raises:
            TargetWriteError: it is gone.
            DatabaseError: the rows cannot be kept.
        """
        self._check_owner()
        self.database.commit()
        self._close()
