"""The table of one load: how it comes to hold the new rows, all at once.

    new table            created and filled within the transaction; nobody sees it before the commit
    append               filled in place; the commit shows the rows
    replace, same form   old rows deleted, new ones filled in: grants, indexes and views stay, readers see the old rows
    all others           filled into a temporary table; what changes the target comes at the end, since PostgreSQL lets
                         nobody read a table once its form is changed

SQLite always takes the temporary table, and begins its transaction when it publishes: it locks the whole file for one
writer, and rows and rejects of one load may go into the same file.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from zoopipe_core._faults import reached
from zoopipe_core.adapters.ledger import COMPLETED, LoadKey, LoadRecord
from zoopipe_core.adapters.sql_columns import ColumnPlanner, TargetColumn
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_ledger import LOAD_SECONDS, LedgerTable, load_lock, under_way
from zoopipe_core.adapters.sql_merge import ROW, merge
from zoopipe_core.adapters.sql_names import TableName, check_columns, quote, show_names
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    DatabaseConnectionError,
    DatabaseError,
    LoadLockedError,
    TableExistsError,
    TableMismatchError,
    TargetError,
)
from zoopipe_core.report import merge_notes

__all__ = ["TargetTable", "WriteSpec"]

logger = logging.getLogger(__name__)

TARGET_SECONDS = 30.0
"""How long a target is waited for that another load writes to."""
ASK_SECONDS = 15.0
"""How long a server that went away during COMMIT is waited for, to be asked what became of it."""
ASK_POLL_SECONDS = 0.5


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


class TargetTable:
    """One table, for one load, over one connection. A failing constructor closes it.

    Args:
        connect: opens the database.
        table: as the user names it.
        spec: how to write it.
        label: what messages call it.
        key: which load this is; None: nothing is looked up, or remembered.
        ledger: of the table, over a connection that is used on; None: one is opened.

    Attributes:
        columns: those that rows go into, by the names that they have in the rows.
        ignored: columns of the rows that do not go into it.
        row_column: the name of a column for the place of each row in the load, as int64; None: none is wanted.
        filling: the table that rows are put into first; may be the target itself.
        is_staged: it is a temporary one.
        notes: remarks for the report.

    Raises:
        TargetError, DatabaseConnectionError: see `OutputAdapter.open`.
        AlreadyLoadedError, LoadIdError, LoadLockedError: see `OutputAdapter.open_load`.
    """

    def __init__(
        self,
        connect: Callable[[], Database],
        table: TableName,
        spec: WriteSpec,
        label: str,
        key: LoadKey | None,
        ledger: LedgerTable | None = None,
    ) -> None:
        self._connect = connect
        self._spec = spec
        self._label = label
        self._key = key
        self._record: LoadRecord | None = None
        self._remembers = key is not None
        self.columns: dict[str, TargetColumn] = {}
        self.ignored: frozenset[str] = frozenset()
        self.row_column = ROW if spec.mode == "merge" else None
        self._added: tuple[str, ...] = ()
        self._widened: tuple[str, ...] = ()
        self._belongings: list[str] = []
        self.notes: tuple[str, ...] = ()
        self.database = database = connect() if ledger is None else ledger.database
        self.planner = ColumnPlanner(database, label)
        self._staging: TableName | None = None
        self._created = self._closed = self._uses_ledger = False
        try:
            self._ledger = ledger or LedgerTable(database, database.full_name(table))
            self._table = self._ledger.table
            if key is not None:
                self._ledger.enter()
                self._uses_ledger = True
            if not database.stages:
                database.begin()
            self._claim()
            if not database.stages:
                self._run(spec.pre_sql)
            self._existing = database.find(table)
            self._check_existing()
            self._table = database.check_writable(table, self._existing)
        except BaseException:
            self.abort()
            raise

    # ---- the load ---------------------------------------------------------------------------------------------

    def _claim(self) -> None:
        """Make sure that this load is to be done, and that nobody else does it now."""
        key, database = self._key, self.database
        if key is None:
            return
        target = str(self._table)
        if not database.lock(load_lock(target, key.load_id), exclusive=True, seconds=LOAD_SECONDS):
            raise under_way(self._label, key.load_id)
        # Rows that are added do not meet; whatever else is done to a table is done alone.
        if not database.lock(f"table {target}", exclusive=self._spec.mode != "append", seconds=TARGET_SECONDS):
            raise LoadLockedError(f"{self._label} is being written by another load; run this one when it has ended")
        key.check(self._ledger.find(key.load_id))
        if self._remembers:
            self._check_ledger(key)

    def _check_ledger(self, key: LoadKey) -> None:
        """Where no ledger may be kept, a load that needs one fails now; others go on without."""
        try:
            self._ledger.check_writable()
        except TargetError as error:
            if key.given:
                raise
            self._remembers = False
            self.notes += (f"not in the ledger, a second run would not be noticed: {error}",)

    def remember(self, record: LoadRecord) -> None:
        """What the ledger is to say of this load."""
        self._record = replace(record, target=str(self._table))

    # ---- the form ---------------------------------------------------------------------------------------------

    def _check_existing(self) -> None:
        if self._existing is None:
            if self._spec.create_table == "never":
                raise TargetError(f'there is no table {self._label}, and create_table="never" forbids making it')
            return
        if self._spec.mode == "fail":
            raise TableExistsError(
                f'{self._label} exists and mode="fail" forbids touching it; use mode="append" or "replace", or drop it'
            )
        if self._existing.is_view:
            raise TableMismatchError(f"{self._label} is a view; a load writes into a table: name another one")

    def start(self, types: Mapping[str, ColumnType]) -> None:
        """Decide what the columns are.

        Raises:
            TargetError: the table cannot have them, or does not take them.
        """
        database = self.database
        if not types:
            raise TargetError(f"{self._label} cannot be a table without columns: no row came and no model names any")
        check_columns(types, limit=database.url.name_limit, ignore_case=database.ignores_case)
        fresh = {name: self.planner.fresh(name, column) for name, column in types.items()}
        self._check_key(fresh)
        for name in self._spec.key:
            fresh[name] = replace(fresh[name], nullable=False)
        existing, spec = self._existing, self._spec
        self._keeps_table = existing is not None and (
            spec.mode != "replace" or spec.on_drift is not None or self.planner.is_same(existing, fresh)
        )
        if existing is not None and self._keeps_table:
            matched = self.planner.matched(existing, fresh, spec.on_drift)
            self.columns, self.ignored = matched.columns, matched.ignored
            self._added, self._widened = matched.added, matched.widened
            self.notes += matched.notes
            self._check_key(self.columns)
        else:
            self.columns = fresh
        remade = existing is not None and not self._keeps_table
        if database.stages or spec.mode == "merge" or remade or self._added or self._widened:
            self._staging = TableName(f"_zoopipe_{secrets.token_hex(8)}")

    def _check_key(self, columns: Mapping[str, TargetColumn]) -> None:
        missing = [name for name in self._spec.key if name not in columns]
        if missing:
            raise TargetError(
                f"the key of {self._label} names {', '.join(map(repr, missing))}, which the rows do not bring into it; "
                f"they have {show_names(columns)}"
            )
        if self.row_column in columns:
            raise TargetError(f"a column cannot be called {self.row_column!r} in a merge; rename it")

    @property
    def filling(self) -> TableName:
        return self._staging or self._table

    @property
    def is_staged(self) -> bool:
        return self._staging is not None

    def settle(self, name: str, settled: TargetColumn) -> None:
        """Values have decided what a column holds that was open. No row may be under way into the table."""
        if settled.type_name != self.columns[name].type_name and self._created:
            self.database.alter_type(self.filling, settled.name, settled.type_name)
        self.columns[name] = settled

    def create(self) -> None:
        """Make the table that rows go into; done once, and as late as possible."""
        if self._created:
            return
        if self._staging is not None:
            definitions = self.planner.definitions([replace(c, nullable=True) for c in self.columns.values()])
            if self.row_column is not None:
                definitions += f", {quote(self.row_column)} {self.database.type_name(pa.int64())}"
            self.database.execute(f"CREATE TEMPORARY TABLE {self._staging.sql} ({definitions})")
        else:
            self._make_target()
        self._created = True

    def _make_target(self) -> None:
        """Bring the target into the state in which the new rows can be put into it."""
        database, table = self.database, self._table
        if self._existing is not None and self._spec.mode in ("merge", "replace"):
            database.lock_for_replacing(table)
        if self._existing is not None and self._spec.mode == "replace":
            if not self._keeps_table:
                self._belongings = database.belongings(table, [column.name for column in self.columns.values()])
            statement = "DELETE FROM" if self._keeps_table else "DROP TABLE"
            database.execute(f"{statement} {table.sql}")
        for name in self._added:
            column = self.columns[name]
            database.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quote(column.name)} {column.type_name}")
        for name in self._widened:
            column = self.columns[name]
            database.widen(table, column.name, column.type_name)
        if not self._keeps_table:
            definitions = self.planner.definitions(list(self.columns.values()), self._spec.key)
            database.execute(f"CREATE TABLE {table.sql} ({definitions})")

    def _run(self, statements: Sequence[str]) -> None:
        """Run statements of the user's own."""
        for statement in statements:
            self.database.execute(statement)

    # ---- the rows ---------------------------------------------------------------------------------------------

    def check_counts(self, given: int, taken: int) -> None:
        """Make sure that the rows that were given are there.

        Args:
            given: how many there were.
            taken: how many the database has said that it took.

        Raises:
            TargetError: some are not.
        """
        self._given, self._taken = given, taken
        self._check_count(self._count())

    def _check_count(self, counted: int) -> None:
        if not self._given == self._taken == counted:
            raise TargetError(
                f"{self._given:,} rows were given to {self._label}, the database took {self._taken:,} and "
                f"holds {counted:,} of them (does a trigger drop some?); nothing was published"
            )

    def _count(self) -> int:
        """How many of the rows that were given the database holds by now."""
        if self._staging is not None or not self._keeps_table:
            return int(self.database.execute(f"SELECT count(*) FROM {self.filling.sql}")[0][0])  # noqa: S608  quoted
        triggered = self._existing is not None and self._existing.has_triggers
        counted = self.database.count_inserted(self._table) if triggered else None
        return self._taken if counted is None else counted

    def prepare(self) -> None:
        """Do all that can be done before the commit; the rows are complete."""
        if not self.database.stages:
            self._finish()

    def _finish(self) -> None:
        if self._staging is not None:
            self._copy(self._staging)
        self._run(self._spec.post_sql)

    def _copy(self, staging: TableName) -> None:
        """Put the staged rows into the target."""
        database = self.database
        now = database.find(self._table)
        if (now is None) != (self._existing is None) or (now is not None and now != self._existing):
            kind = TableExistsError if self._existing is None and self._spec.mode == "fail" else TableMismatchError
            raise kind(f"{self._label} was created, dropped or altered by somebody else during the load; run it again")
        self._make_target()
        staged = f"temp.{staging.sql}" if database.url.kind == "sqlite" else staging.sql
        columns = [column.name for column in self.columns.values()]
        if self._spec.mode == "merge":
            key = [self.columns[name].name for name in self._spec.key]
            self.notes += merge(database, self._table, staged, columns, key, self._spec.on_duplicate, self._label)
        else:
            names = ", ".join(map(quote, columns))
            sql = f"INSERT INTO {self._table.sql} ({names}) SELECT {names} FROM {staged}"  # noqa: S608  quoted
            self._check_count(database.insert(sql))
        self._run(self._belongings)
        database.execute(f"DROP TABLE {staged}")

    # ---- the end ----------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Commit rows and record together.

        Raises:
            AlreadyLoadedError: another try of the same load was faster.
            DatabaseError: nothing was published, or (`DatabaseConnectionError`) nobody knows and the message says so.
        """
        database = self.database
        if database.stages:
            database.begin()
            self._claim()
            self._run(self._spec.pre_sql)
            self._finish()
        reached("before_ledger")
        try:
            if self._record is not None and self._remembers:
                report = self._record.report
                report = replace(report, notes=merge_notes((*report.notes, *self.notes)))
                self._ledger.write(replace(self._record, report=report), alone=self._is_alone())
            reached("after_ledger")
            database.commit()
            reached("after_commit")
        except DatabaseError as error:
            if self._record is None or not self._remembers:
                raise
            self._ask(error)
        self._close()

    def _is_alone(self) -> bool:
        """Whether nothing of earlier loads is left in the table."""
        return self._existing is None or self._spec.mode == "replace"

    def _ask(self, error: DatabaseError) -> None:
        """Look into the ledger: was the load published in spite of `error`, by this try or by another one?"""
        assert self._key is not None
        self.abort()
        found = self._look_up(error)
        if found is not None and found.status == COMPLETED:
            self._key.check(found)  # of another try, it raises
            if found.run == self._key.run:
                logger.info("%s: the connection was lost during COMMIT, and the load is complete", self._label)
                return
        if isinstance(error, DatabaseConnectionError):
            error.add_note("  The ledger was asked: the load is not in it, nothing was published. Run it again.")
        raise error

    def _look_up(self, error: DatabaseError) -> LoadRecord | None:
        assert self._key is not None
        deadline = time.monotonic() + (ASK_SECONDS if isinstance(error, DatabaseConnectionError) else 0)
        while True:
            try:
                database = self._connect()
                try:
                    database.begin()
                    # The transaction that was lost may still be about to end; it has this lock until it does.
                    if database.lock(
                        load_lock(str(self._table), self._key.load_id), exclusive=True, seconds=TARGET_SECONDS
                    ):
                        return LedgerTable(database, self._table).find(self._key.load_id)
                finally:
                    database.close()
            except DatabaseError as second:
                if time.monotonic() < deadline:
                    time.sleep(ASK_POLL_SECONDS)
                    continue
                error.add_note(f"  The ledger cannot be asked: {second}")
            error.add_note(
                "  Whether the load was published is not known. Run it again with the same load_id: the ledger knows."
            )
            raise error

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
        self._closed = True
        try:
            if self._uses_ledger:
                self._ledger.leave()
        except DatabaseError:
            # As the load has ended, whatever it is; an empty table stays.
            logger.debug("%s: an empty ledger could not be removed", self._label, exc_info=True)
        finally:
            self.database.close()
