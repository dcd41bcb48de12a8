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
from dataclasses import replace

from zoopipe_core._faults import reached
from zoopipe_core.adapters.ledger import COMPLETED, LoadKey, LoadRecord
from zoopipe_core.adapters.sql_adopt import fit_together, gathered
from zoopipe_core.adapters.sql_columns import ColumnPlanner
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_form import FilledTable, TableForm, WriteSpec, table_form
from zoopipe_core.adapters.sql_ledger import LOAD_SECONDS, LedgerTable, load_lock, under_way
from zoopipe_core.adapters.sql_marks import mark_lock
from zoopipe_core.adapters.sql_merge import MergeTarget, merge
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.adapters.sql_staging import Stage
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

__all__ = ["TargetTable"]

logger = logging.getLogger(__name__)

TARGET_SECONDS = 30.0
"""How long a target is waited for that another load writes to."""
ASK_SECONDS = 15.0
"""How long a server that went away during COMMIT is waited for, to be asked what became of it."""
ASK_POLL_SECONDS = 0.5


class TargetTable(FilledTable):
    """One table, for one load, over one connection. A failing constructor closes it.

    Args:
        connect: opens the database.
        table: as the user names it.
        spec: how to write it.
        label: what messages call it.
        key: which load this is; None: nothing is looked up, or remembered.
        ledger: of the table, over a connection that is used on; None: one is opened.

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
        self.columns, self.ignored, self.notes = {}, frozenset(), ()
        self.row_column = spec.row_column
        self._form = TableForm({}, keeps_table=False)
        self._stages: Sequence[Stage] = ()
        self._belongings: list[str] = []
        self.database = database = connect() if ledger is None else ledger.database
        self.planner = ColumnPlanner(database, label)
        self._staging: TableName | None = None
        self._closed = self._uses_ledger = False
        try:
            self._ledger = ledger or LedgerTable(database, database.full_name(table))
            self._table = self._ledger.table
            if key is not None:
                self._ledger.enter()
                self._uses_ledger = True
            database.remove_dead(self._table)
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
        if key.mark_name:
            self._claim_mark(target, key)
        if self._remembers:
            self._check_ledger(key)

    def _claim_mark(self, target: str, key: LoadKey) -> None:
        """Make sure that nobody else reads the source from the same mark on."""
        is_free = self.database.lock(mark_lock(target, key.mark_name), exclusive=True, seconds=LOAD_SECONDS)
        found = next((mark for mark in self._ledger.marks() if mark.name == key.mark_name), None)
        if not is_free or key.mark_run != ("" if found is None else found.run):
            raise LoadLockedError(
                f"another load of {key.mark_name} into {self._label} is under way, or was while this one began; run "
                "this one again when it has ended"
            )

    def _check_ledger(self, key: LoadKey) -> None:
        """Where no ledger may be kept, a load that needs one fails now; others go on without."""
        try:
            self._ledger.check_writable()
        except TargetError as error:
            if key.given or key.mark_name:
                raise
            self._remembers = False
            self.notes += (f"not in the ledger, a second run would not be noticed: {error}",)

    def remember(self, record: LoadRecord) -> None:
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
        database, spec = self.database, self._spec
        form = self._form = table_form(self.planner, database, self._existing, spec, types, self._label)
        self.columns, self.ignored = form.columns, form.ignored
        self.notes += form.notes
        remade = self._existing is not None and not form.keeps_table
        if database.stages or spec.mode == "merge" or remade or form.added or form.widened:
            self._staging = TableName(f"_zoopipe_{secrets.token_hex(8)}")
            database.make_room()

    @property
    def filling(self) -> TableName:
        return self._staging or self._table

    @property
    def is_staged(self) -> bool:
        return self._staging is not None

    def create(self) -> None:
        if self._created:
            return
        if self._staging is not None:
            self.database.execute(f"CREATE TEMPORARY TABLE {self._staging.sql} ({self.definitions()})")
        else:
            self._make_target()
        self._created = True

    def _make_target(self) -> None:
        """Bring the target into the state in which the new rows can be put into it."""
        database, table = self.database, self._table
        if self._existing is not None and self._spec.mode in ("merge", "replace"):
            database.lock_for_replacing(table)
        if self._existing is not None and self._spec.mode == "replace":
            if not self._form.keeps_table:
                self._belongings = database.belongings(table, [column.name for column in self.columns.values()])
            statement = "DELETE FROM" if self._form.keeps_table else "DROP TABLE"
            database.execute(f"{statement} {table.sql}")
        for name in self._form.added:
            column = self.columns[name]
            database.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quote(column.name)} {column.type_name}")
        for name in self._form.widened:
            column = self.columns[name]
            database.widen(table, column.name, column.type_name)
        if not self._form.keeps_table:
            definitions = self.planner.definitions(list(self.columns.values()), self._spec.key)
            database.execute(f"CREATE TABLE {table.sql} ({definitions})")

    def _run(self, statements: Sequence[str]) -> None:
        """Run statements of the user's own."""
        for statement in statements:
            self.database.execute(statement)

    # ---- the rows ---------------------------------------------------------------------------------------------

    def check_counts(self, given: int, taken: int) -> None:
        self._given, self._taken = given, taken
        self._check_count(self._count())

    def _check_count(self, counted: int) -> None:
        hint = "does a trigger drop some?" if not self._stages else "does a trigger drop some, or did the server crash?"
        if not self._given == self._taken == counted:
            raise TargetError(
                f"{self._given:,} rows were given to {self._label}, the database took {self._taken:,} and "
                f"holds {counted:,} of them ({hint}); nothing was published"
            )

    def _count(self) -> int:
        """How many of the rows that were given the database holds by now."""
        counted: int | None = None
        if self._staging is not None or not self._form.keeps_table:
            counted = self.database.count(self.filling)
        elif self._has_triggers:
            counted = self.database.count_inserted(self._table)
        return self._taken if counted is None else counted

    @property
    def _has_triggers(self) -> bool:
        return self._existing is not None and self._existing.has_triggers

    def adopt(self, stages: Sequence[Stage]) -> bool:
        if not stages or not fit_together(self, stages):
            return False
        self._stages = stages
        return True

    def prepare(self) -> None:
        if not self.database.stages:
            self._finish()

    def _finish(self) -> None:
        if self._stages:
            sources = {stage.table.sql: stage.note.rows for stage in self._stages}
            self._copy(sources if self._spec.mode != "merge" else gathered(self, self._stages, self._table))
        elif self._staging is not None:
            temporary = self.database.url.kind == "sqlite"
            self._copy({f"temp.{self._staging.sql}" if temporary else self._staging.sql: self._given})
        self._run(self._spec.post_sql)

    def _copy(self, sources: Mapping[str, int]) -> None:
        """Put the rows of other tables into the target.

        Args:
            sources: the tables, quoted, with the number of their rows; one for a merge. They are removed.
        """
        database = self.database
        now = database.find(self._table)
        if (now is None) != (self._existing is None) or (now is not None and now != self._existing):
            kind = TableExistsError if self._existing is None and self._spec.mode == "fail" else TableMismatchError
            raise kind(f"{self._label} was created, dropped or altered by somebody else during the load; run it again")
        self._make_target()
        for source, rows in sources.items():
            if self._spec.mode == "merge":
                key = [self.columns[name].name for name in self._spec.key]
                into = MergeTarget(database, self._table, list(self.columns.values()), key, self._label)
                self.notes += merge(
                    into,
                    source,
                    self._spec.on_duplicate,
                    fires_triggers=self._has_triggers,
                    is_in_order=not self._stages,
                )
            else:
                names = ", ".join(quote(column.name) for column in self.columns.values())
                sql = f"INSERT INTO {self._table.sql} ({names}) SELECT {names} FROM {source}"  # noqa: S608  quoted
                self._given = self._taken = rows
                self._check_count(database.insert(sql))
        self._run(self._belongings)
        for source in sources:
            database.execute(f"DROP TABLE {source}{' CASCADE' if self._stages else ''}")

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
