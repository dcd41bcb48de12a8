"""Tables of PostgreSQL, loaded in parallel: shards fill tables of their own, and one transaction publishes them.

    shard 0 ─ COPY ─▶ _zoopipe_stage_..._00000_1 ─┐
    shard 1 ─ COPY ─▶ _zoopipe_stage_..._00001_1 ─┼─▶ INSERT ... SELECT, in order; ledger; DROP        one transaction
    shard 2 ─ COPY ─▶ _zoopipe_stage_..._00002_2 ─┘

Whose these tables are, and how long they live: `zoopipe_core.adapters.sql_staging`. Where the columns of shards differ,
because nothing but their first values says what they are, the rows are read back and written as in a serial run.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from zoopipe_core.adapters.base import DEFAULT_BATCH_SIZE, OutputAdapter, Writer
from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.sql_staging import Stage, StageOwner, check_stageable, find_stages, read_stage
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.coordinators.outputs import Check, StagedOutput
from zoopipe_core.coordinators.staging import StagingPlace
from zoopipe_core.errors import DatabaseConnectionError, TargetError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql import SQLOutputAdapter
    from zoopipe_core.adapters.sql_database import Database
    from zoopipe_core.adapters.sql_names import TableName
    from zoopipe_core.adapters.sql_writer import SQLWriter

__all__ = ["TablePart", "staged_tables"]

logger = logging.getLogger(__name__)

CHECK_SECONDS = 0.1


def staged_tables(
    adapter: OutputAdapter, shards: int, shares_files: bool, open_target: Callable[[], Writer]
) -> StagedOutput | None:
    """How tables of shards become the table that `adapter` names; None if its rows wait elsewhere.

    Args:
        adapter: the target.
        shards: how many there are.
        shares_files: whether they see the files of this process.
        open_target: opens it to be published.
    """
    # The very class: what a subclass writes differently is not known here.
    if f"{type(adapter).__module__}.{type(adapter).__qualname__}" != "zoopipe_core.adapters.sql.SQLOutputAdapter":
        return None
    output: SQLOutputAdapter = adapter  # type: ignore[assignment]
    return _StagedTables(output, open_target) if output.stages_in_tables(shards, shares_files) else None


@dataclass(frozen=True, repr=False)
class TablePart(OutputAdapter):
    """The rows of a shard, into a table beside the target.

    Args:
        adapter: the target.
        owner: the run of the load.
        shard: its place, from 0.
        attempt: the how manieth try this is.
    """

    adapter: SQLOutputAdapter
    owner: StageOwner
    shard: int
    attempt: int = 1

    @property
    def label(self) -> str:
        return self.adapter.label

    @property
    def place(self) -> str:
        return f"{self.adapter.label}, {self.owner.name}"

    def for_attempt(self, attempt: int) -> TablePart:
        return replace(self, attempt=attempt)

    def open(self) -> Writer:
        try:
            return self.adapter.open_stage(self.owner, self.shard, self.attempt)
        except DatabaseConnectionError as error:
            error.add_note(
                '  Shards fill tables of their own there. With staging="parts" they write files, which all workers and '
                "this machine have to share."
            )
            raise


class _StagingTables(StagingPlace):
    """The staging tables of one run, and the connection that tells others that it lives."""

    def __init__(self, adapter: SQLOutputAdapter, owner: StageOwner) -> None:
        self._adapter, self._owner = adapter, owner
        self._target: TableName | None = None
        self._database: Database | None = None

    def create(self) -> None:
        database = self._connect()
        assert self._target is not None
        database.remove_dead(self._target)
        check_stageable(database, self._target)
        database.rollback()

    def _connect(self) -> Database:
        from zoopipe_core.adapters.sql_connect import connect

        url, table = self._adapter.resolve()
        database = connect(url, read_only=False)
        try:
            self._owner.hold(database)
            self._target = database.full_name(table)
            database.rollback()
        except BaseException:
            database.close()
            raise
        self._database = database
        return database

    def _alive(self) -> Database:
        """The connection; a new one, if it was lost."""
        if self._database is None:
            return self._connect()
        try:
            self._database.execute("SELECT 1")
            self._database.rollback()
        except DatabaseConnectionError:
            logger.warning("%s: the connection was lost that keeps the rows of shards", self._adapter.label)
            self._database.close()
            self._database = None
            return self._connect()
        return self._database

    def check(self) -> None:
        self._alive()

    def name(self, shard: int, attempt: int) -> str:
        """What the table of a shard is called."""
        return "a table" if self._target is None else str(self._owner.stage(self._target, shard, attempt))

    def find(self) -> list[Stage]:
        """The tables that are there, by shard and attempt."""
        database = self._alive()
        assert self._target is not None
        try:
            return find_stages(database, self._target, self._owner)
        finally:
            database.rollback()

    def end_statement(self, session: int) -> None:
        """End what another connection is at."""
        database = self._alive()
        database.execute(f"SELECT pg_cancel_backend({session})")
        database.rollback()

    def remove(self, keep_folders: bool = False) -> None:
        if self._database is None:
            return
        try:
            database = self._alive()
            assert self._target is not None
            self._owner.remove(database, self._target)
            database.commit()
        finally:
            database, self._database = self._database, None
            if database is not None:
                database.close()


class _StagedTables(StagedOutput):
    def __init__(self, adapter: SQLOutputAdapter, open_target: Callable[[], Writer]) -> None:
        self._table = adapter
        self._owner = StageOwner(secrets.token_hex(8))
        self._tables = _StagingTables(adapter, self._owner)
        super().__init__(adapter, self._tables)
        self._open_target = open_target
        self._writer: Writer | None = None
        self._found: Mapping[int, Stage] = {}

    def part(self, index: int, count: int) -> OutputAdapter:
        return TablePart(self._table, self._owner, index)

    def path(self, index: int) -> str:
        return self._tables.name(index, 1 if self._counts is None else self._counts[index].attempt)

    @property
    def missing_hint(self) -> str:
        return "It goes when this process loses its connection to the server; run the load again"

    def start(self) -> None:
        # So that a target that cannot be written is told of before any work is done.
        self._open_target().abort()
        super().start()

    def written(self) -> list[int]:
        found: dict[int, Stage] = {}
        for stage in self._tables.find():
            # Of a try that was given up a table may be left as well.
            if self._counts is None or self._counts[stage.shard].attempt == stage.attempt:
                found[stage.shard] = stage
        self._found = found
        return sorted(found)

    def assemble(self, written: Sequence[int], check: Check) -> None:
        from zoopipe_core.adapters.sql_writer import SQLWriter

        stages = [self._found[index] for index in written]
        for stage in stages:
            self._check_count(stage)
        check()
        writer = self._writer = self._open_target()
        assert isinstance(writer, SQLWriter)
        full = [stage for stage in stages if stage.note.rows]
        # As in a serial run, the first rows say what the columns are.
        writer.start((full or stages)[0].note.types if stages else {})
        if not writer.adopt(full):
            self._write(writer, full, check)
        self._prepare(writer, check)

    def _prepare(self, writer: SQLWriter, check: Check) -> None:
        """A single statement moves the rows of a shard, and may take minutes: whoever cancels the load ends it."""
        check()
        session = writer.session
        with ThreadPoolExecutor(1, "zoopipe-publish") as pool:
            preparing = pool.submit(writer.prepare)
            while not wait([preparing], CHECK_SECONDS).done:
                try:
                    check()
                except BaseException:
                    while not preparing.done():  # once may be between two statements
                        self._tables.end_statement(session)
                        wait([preparing], CHECK_SECONDS)
                    raise
            preparing.result()
        check()

    def _check_count(self, stage: Stage) -> None:
        told = stage.note.rows if self._counts is None else self._counts[stage.shard].rows
        if stage.note.rows != told:
            raise TargetError(
                f"shard {stage.shard} has loaded {told:,} rows for {self.adapter.label}, but {stage.table} was given "
                f"{stage.note.rows:,} of them; nothing was published"
            )

    def _write(self, writer: Writer, stages: Sequence[Stage], check: Check) -> None:
        """Read the rows back, over a connection of their own."""
        from zoopipe_core.adapters.sql_connect import connect

        url, _ = self._table.resolve()
        for stage in stages:
            database = connect(url, read_only=True)
            try:
                row = 1
                for batch in read_stage(database, stage, self._table.spec.row_column, DEFAULT_BATCH_SIZE):
                    check()
                    rows = np.arange(row, row + batch.num_rows)
                    row += batch.num_rows
                    writer.write(ModelBatch.from_arrow(batch, rows, f"shard {stage.shard}"))
                if row - 1 != stage.note.rows:
                    raise TargetError(
                        f"of {stage.note.rows:,} rows of shard {stage.shard} for {self.adapter.label} {row - 1:,} are "
                        "left (did the server crash meanwhile?); nothing was published"
                    )
            finally:
                database.close()

    def remember(self, record: LoadRecord) -> None:
        assert self._writer is not None
        self._writer.remember(record)

    def show(self) -> None:
        assert self._writer is not None
        self._writer.publish()

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.abort()
