"""The ledger of a database: a table `_zoopipe_loads` in each schema that loads write to, a row for each load.

A row is written in the transaction that publishes the rows it tells of: both are there, or neither. A load that puts
all that it has in the place of what was there marks the rows of earlier loads of the same table as replaced.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.ledger import COMPLETED, REPLACED, Decide, Ledger, LoadRecord
from zoopipe_core.adapters.sql_database import Database, ExistingTable
from zoopipe_core.adapters.sql_marks import MarkTable
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.adapters.sql_types import AWARE
from zoopipe_core.adapters.watermark import Mark
from zoopipe_core.errors import (
    DatabaseConnectionError,
    DatabaseError,
    LoadLockedError,
    SourceNotFoundError,
    TargetError,
    ZoopipeError,
)
from zoopipe_core.report import PipeReport

__all__ = ["LEDGER", "LOAD_SECONDS", "LedgerTable", "SQLLedger", "load_lock", "under_way"]

LEDGER = "_zoopipe_loads"
LOAD_SECONDS = 3.0
"""How long a load is waited for that somebody else is at: he may just be taking a note."""

_INTEGER, _TEXT = pa.int64(), pa.string()
_COLUMNS: dict[str, pa.DataType] = {
    "target": _TEXT,
    "load_id": _TEXT,
    "run": _TEXT,
    "mode": _TEXT,
    "status": _TEXT,
    "rows_read": _INTEGER,
    "rows_loaded": _INTEGER,
    "rows_rejected": _INTEGER,
    "rows_filtered": _INTEGER,
    "rows_added": _INTEGER,
    "input_fingerprint": _TEXT,
    "schema_fingerprint": _TEXT,
    "attempt": _INTEGER,
    "started_at": AWARE,
    "committed_at": AWARE,
    "versions": _TEXT,
    "report": _TEXT,
}
_KEY = ("target", "load_id")
# Of ledgers that are made beforehand: how many writers of this process use each, and those that were made for them.
_making = threading.Lock()
_users: Counter[str] = Counter()
_fresh: set[str] = set()


class LedgerTable:
    """The ledger beside one table, over a connection that is open.

    Args:
        database: the connection, within a transaction or not.
        target: the full name of the table whose loads are meant; it need not exist.

    Attributes:
        database, table: as given.
    """

    def __init__(self, database: Database, target: TableName) -> None:
        self.database = database
        self.table = target
        self._name = TableName(LEDGER, target.schema)
        self._found: ExistingTable | None = None

    @property
    def target(self) -> str:
        """The name of the target in records."""
        return str(self.table)

    def exists(self) -> bool:
        """Whether there is a ledger. One that was seen is not looked for again: nobody removes it during a load."""
        if self._found is None:
            self._found = self.database.find(self._name)
        return self._found is not None

    def make(self) -> None:
        """Make the ledger if there is none.

        Raises:
            DatabaseError: it cannot be made.
        """
        if self.exists():
            return
        database = self.database
        database.lock(f"ledger {self._name}", exclusive=True, seconds=LOAD_SECONDS)
        columns = [
            f"{quote(name)} {database.type_name(kind)}{'' if name in ('started_at', 'committed_at') else ' NOT NULL'}"
            for name, kind in _COLUMNS.items()
        ]
        key = ", ".join(map(quote, _KEY))
        database.execute(f"CREATE TABLE IF NOT EXISTS {self._name.sql} ({', '.join(columns)}, PRIMARY KEY ({key}))")

    def check_writable(self) -> None:
        """Raises:
        TargetError: this user may not make the ledger, or may not write to it.
        """
        self.exists()
        self.database.check_writable(self._name, self._found)

    def enter(self) -> None:
        """Make the ledger in a transaction of its own, where two loads could otherwise not make it side by side.

        Called outside of a transaction, and followed by `leave`.
        """
        if not self.database.makes_tables_alone:
            return
        with _making:
            if not self.exists():
                self.make()
                _fresh.add(self._place)
            _users[self._place] += 1

    def leave(self) -> None:
        """The writer is about to close: a ledger that was made for it, and that nobody has used, is removed again."""
        if not self.database.makes_tables_alone:
            return
        with _making:
            _users[self._place] -= 1
            if _users[self._place]:
                return
            del _users[self._place]
            if self._place in _fresh:
                _fresh.discard(self._place)
                if not self.database.execute(f"SELECT count(*) FROM {self._name.sql}")[0][0]:  # noqa: S608  quoted
                    self.database.execute(f"DROP TABLE {self._name.sql}")
                    self._found = None

    @property
    def _place(self) -> str:
        return f"{self.database.url.path}::{self._name}"

    def marks(self) -> list[Mark]:
        """The marks of sources whose rows are in the table, if it is there."""
        return [] if self.database.find(self.table) is None else MarkTable(self.database, self.table).all()

    def find(self, load_id: str) -> LoadRecord | None:
        """The record of a load, if its table is there."""
        found = self._read(f"AND {quote('load_id')} = {self.database.mark(1)}", [load_id])
        return found[0] if found else None

    def records(self, latest: int | None = None) -> list[LoadRecord]:
        """As `Ledger.records`."""
        if latest is None:
            return self._read(f"ORDER BY {quote('started_at')}, {quote('load_id')}", [])
        rest = f"ORDER BY {quote('started_at')} DESC, {quote('load_id')} DESC LIMIT {int(latest)}"
        return self._read(rest, [])[::-1]

    def _read(self, rest: str, parameters: Sequence[str]) -> list[LoadRecord]:
        database = self.database
        if not self.exists():
            return []
        shown = ", ".join(
            database.time_text(quote(name)) if kind == AWARE else quote(name) for name, kind in _COLUMNS.items()
        )
        rows = database.execute(
            f"SELECT {shown} FROM {self._name.sql} WHERE {quote('target')} = {database.mark(0)} {rest}",  # noqa: S608
            [self.target, *parameters],
        )
        records = [_record(dict(zip(_COLUMNS, row, strict=True))) for row in rows]
        if any(record.status == COMPLETED for record in records) and database.find(self.table) is None:
            # Somebody has dropped the table, and with it what was loaded.
            return [_replaced(record) for record in records]
        return records

    def write(self, record: LoadRecord, *, alone: bool) -> None:
        """Put a record in the place of an earlier one of the same load.

        Args:
            record: its target is this one.
            alone: nothing of earlier loads is left in the table.
        """
        self.make()
        database, name = self.database, self._name.sql
        marks = MarkTable(database, self.table)
        if alone:
            marks.clear()
        if record.mark is not None:
            marks.write(record.mark, record.load_id, record.run)
        if alone:
            database.execute(
                f"UPDATE {name} SET {quote('status')} = '{REPLACED}' WHERE {quote('target')} = {database.mark(0)}"  # noqa: S608
                f" AND {quote('status')} = '{COMPLETED}' AND {quote('load_id')} <> {database.mark(1)}",
                [self.target, record.load_id],
            )
        texts = _texts(record)
        known = database.execute(
            f"SELECT count(*) FROM {name} WHERE {quote('target')} = {database.mark(0)}"  # noqa: S608
            f" AND {quote('load_id')} = {database.mark(1)}",
            [self.target, record.load_id],
        )
        if known[0][0]:
            changed = [column for column in _COLUMNS if column not in _KEY]
            values = [f"{quote(column)} = {self._value(place, column)}" for place, column in enumerate(changed)]
            where = [f"{quote(column)} = {database.mark(len(changed) + place)}" for place, column in enumerate(_KEY)]
            database.execute(
                f"UPDATE {name} SET {', '.join(values)} WHERE {' AND '.join(where)}",  # noqa: S608
                [texts[column] for column in (*changed, *_KEY)],
            )
            return
        values = [self._value(place, column) for place, column in enumerate(_COLUMNS)]
        database.execute(
            f"INSERT INTO {name} ({', '.join(map(quote, _COLUMNS))}) VALUES ({', '.join(values)})",  # noqa: S608
            list(texts.values()),
        )

    def _value(self, place: int, column: str) -> str:
        """A parameter, given as text, as a value of the column."""
        database, kind = self.database, _COLUMNS[column]
        mark = database.mark(place)
        if kind == _TEXT:
            return mark
        given = f"NULLIF({mark}, '')"
        if kind == AWARE and database.keeps_times_as_text:
            return given
        return f"CAST({given} AS {database.type_name(kind)})"


class SQLLedger(Ledger):
    """The ledger of one table.

    Args:
        connect: opens the database; the argument says whether to read only.
        table: as the user names it.
        path: of the file, where the database is one.
    """

    def __init__(self, connect: Callable[[bool], Database], table: TableName, path: str = "") -> None:
        self._connect = connect
        self._table = table
        self._path = path
        self._holds = False
        self._held: LedgerTable | None = None

    @property
    def target(self) -> str:
        return str(self._table)

    def hold(self) -> None:
        # A connection to PostgreSQL takes 30 ms and more, one to DuckDB is a checkpoint when it is closed.
        self._holds = True

    def release(self) -> None:
        held, self._held, self._holds = self._held, None, False
        if held is not None:
            held.database.close()

    def take(self) -> LedgerTable | None:
        """The connection that was kept, outside of a transaction; who takes it closes it. None if there is none."""
        held, self._held, self._holds = self._held, None, False
        if held is None:
            return None
        try:
            held.database.execute("SELECT 1")
            held.database.rollback()
        except DatabaseConnectionError:  # a server lets go of those that are idle
            held.database.close()
            return None
        return held

    @contextmanager
    def _open(self, read_only: bool) -> Iterator[LedgerTable]:
        database = self._connect(read_only)
        try:
            yield LedgerTable(database, database.full_name(self._table))
        finally:
            database.close()

    @contextmanager
    def _open_to_hold(self) -> Iterator[LedgerTable]:
        """For writing; kept after the block, if it should be and the block has not failed."""
        database, kept = self._connect(False), False
        try:
            table = LedgerTable(database, database.full_name(self._table))
            yield table
            if self._holds:
                self.release()
                self._held, kept = table, True
        finally:
            if not kept:
                database.close()

    def find(self, load_id: str) -> LoadRecord | None:
        # A connection for writing would make a file that is not there yet.
        if self._holds and (not self._path or os.path.exists(self._path)):
            try:
                with self._open_to_hold() as table:
                    found = table.find(load_id)
                    table.database.rollback()
                    return found
            except (DatabaseError, TargetError):
                if not self._path:
                    raise
                # Where others read, or nobody may write, one may still look.
        try:
            with self._open(True) as table:
                return table.find(load_id)
        except SourceNotFoundError:  # the file is still to be made
            return None

    def records(self, latest: int | None = None) -> list[LoadRecord]:
        try:
            with self._open(True) as table:
                return table.records(latest)
        except SourceNotFoundError:
            return []

    def marks(self) -> list[Mark]:
        try:
            with self._open(True) as table:
                return table.marks()
        except SourceNotFoundError:
            return []

    def note(self, load_id: str, decide: Decide) -> None:
        with self._open_to_hold() as table:
            table.enter()
            try:
                _note(table, load_id, decide)
            finally:
                table.leave()


def _note(table: LedgerTable, load_id: str, decide: Decide) -> None:
    database = table.database
    database.begin()
    try:
        if not database.lock(load_lock(table.target, load_id), exclusive=True, seconds=LOAD_SECONDS):
            raise under_way(table.target, load_id)
        record = decide(table.find(load_id))
        if record is not None:
            table.write(replace(record, target=table.target), alone=False)
        database.commit()
    except ZoopipeError:
        database.rollback()
        raise


def under_way(label: str, load_id: str) -> LoadLockedError:
    """The error for a load that somebody else does now."""
    return LoadLockedError(f"the load {load_id!r} of {label} is under way elsewhere; let it end, then run again")


def load_lock(target: str, load_id: str) -> str:
    """The name of the lock of one load."""
    return f"load {target} {load_id}"


def _texts(record: LoadRecord) -> dict[str, str]:
    """The columns of a record as texts; an empty one is NULL where the column is no text."""
    report = record.report
    texts = {
        "target": record.target,
        "load_id": record.load_id,
        "run": record.run,
        "mode": record.mode,
        "status": record.status,
        "rows_read": str(report.read_rows),
        "rows_loaded": str(report.loaded_rows),
        "rows_rejected": str(report.rejected_rows),
        "rows_filtered": str(report.filtered_rows),
        "rows_added": str(report.added_rows),
        "input_fingerprint": record.input,
        "schema_fingerprint": record.schema,
        "attempt": str(record.attempt),
        "started_at": _time(record.started_at),
        "committed_at": _time(record.committed_at),
        "versions": record.versions,
        "report": json.dumps(report.to_dict()),
    }
    # What no database takes as text: a path may hold NUL as little as half of a surrogate pair.
    return {name: text.encode("utf-8", "replace").decode().replace("\0", "?") for name, text in texts.items()}


def _time(moment: datetime | None) -> str:
    return "" if moment is None else moment.isoformat(sep=" ", timespec="microseconds")


def _record(row: dict[str, Any]) -> LoadRecord:
    return LoadRecord(
        load_id=row["load_id"],
        run=row["run"],
        target=row["target"],
        mode=row["mode"],
        status=row["status"],
        report=PipeReport.from_dict(json.loads(row["report"])),
        input=row["input_fingerprint"],
        schema=row["schema_fingerprint"],
        attempt=int(row["attempt"]),
        versions=row["versions"],
        started_at=_moment(row["started_at"]),
        committed_at=_moment(row["committed_at"]),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)


def _replaced(record: LoadRecord) -> LoadRecord:
    return replace(record, status=REPLACED) if record.status == COMPLETED else record
