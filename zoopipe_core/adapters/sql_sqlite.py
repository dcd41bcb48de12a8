"""SQLite, through Python's own `sqlite3`.

Not through ADBC: its driver brings a second copy of the SQLite library, and two copies in one process cannot see each
other's locks. Measured: while the driver had a large load open, a mere SELECT by `sqlite3` in the same process took
the load's journal for that of a crash, rolled it back and left a corrupt file.

SQLite locks the whole file for one writer. So the rows are gathered in a temporary table, which lies in a file of its
own, and the database is locked only while the load is published.

SQLite does not know most types. What a column declares tells which values were meant:

    BOOLEAN            0 and 1            TIMESTAMP            2024-01-31 12:00:00.000000
    DATE               2024-01-31         TIMESTAMPTZ          the same in UTC, with +00:00
    TIME               12:00:00.000000    DECIMAL_TEXT(p,s)    the digits, as text
    INTERVAL           microseconds       UUID, JSON_TEXT      text

They are given back as such when a table is read; a query gives what SQLite gives. -0.0 comes back as 0.0, because
SQLite keeps whole numbers as integers; NaN, which it would make NULL, is refused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote as percent_encode

import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.sql_connect import DatabaseURL
from zoopipe_core.adapters.sql_database import (
    Database,
    ExistingColumn,
    ExistingTable,
    ResultColumn,
    ResultSet,
    SQLType,
    unique_names,
)
from zoopipe_core.adapters.sql_files import DatabaseFile, check_file_state, file_state
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.adapters.sql_select import Select, strip_query
from zoopipe_core.adapters.sql_sqlite_values import array_of, bindable, declared_type
from zoopipe_core.adapters.sql_types import AWARE, NAIVE, first
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    CorruptSourceError,
    DatabaseConnectionError,
    DatabaseError,
    SourceError,
    SourceNotFoundError,
    TargetError,
    TargetWriteError,
)

__all__ = ["SQLite"]

BUSY_SECONDS = 10.0

_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "SMALLINT",
    pa.uint16(): "INTEGER",
    pa.uint32(): "BIGINT",
    pa.uint64(): "BIGINT",
    pa.float32(): "DOUBLE",
    pa.float64(): "DOUBLE",
    pa.string(): "TEXT",
    pa.null(): "TEXT",
    pa.binary(): "BLOB",
    pa.date32(): "DATE",
    pa.time64("us"): "TIME",
    NAIVE: "TIMESTAMP",
    AWARE: "TIMESTAMPTZ",
    pa.duration("us"): "INTERVAL",
    pa.uuid(): "UUID",
    pa.json_(): "JSON_TEXT",
}


class SQLite(Database):
    """A connection to an SQLite file."""

    ignores_case = True
    stages = True
    keeps_times_as_text = True
    chunk_rows = 16_384

    def __init__(self, url: DatabaseURL, *, read_only: bool) -> None:
        self.url = url
        self._read_only = read_only
        self._file = None if read_only else DatabaseFile(url.path, ["-journal", "-wal", "-shm"])
        self._published = False
        self._connection: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None
        try:
            with self._errors():
                self._connection = sqlite3.connect(
                    f"file://{percent_encode(os.path.abspath(url.path))}?mode={'ro' if read_only else 'rwc'}",
                    uri=True,
                    timeout=BUSY_SECONDS,
                    isolation_level=None,
                    check_same_thread=False,
                )
                self._connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._explained(error) from error

    def _explained(self, error: sqlite3.Error) -> Exception:
        label, code = self.url.label, getattr(error, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return DatabaseConnectionError(
                f"{label} is locked by another connection, for more than {BUSY_SECONDS:g} s; SQLite lets one write "
                "at a time: end the other transaction, then run again"
            )
        if code == "SQLITE_CANTOPEN" and self._read_only:
            return SourceNotFoundError(f"there is no file {self.url.path}, which {label} names, or it may not be read")
        if code in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            kind = CorruptSourceError if self._read_only else TargetWriteError
            return kind(f"{self.url.path} is no SQLite database, or a damaged one: {error}")
        if (
            code.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY"))
            and not self._read_only
        ):
            return TargetWriteError(f"{label} cannot be written: {error}")
        return DatabaseError(f"{label}: {error}")

    def _live(self) -> sqlite3.Connection:
        if self._connection is None:
            raise DatabaseConnectionError(f"the connection to {self.url.label} is closed")
        return self._connection

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors():
            return self._live().execute(sql, tuple(parameters)).fetchall()

    def close(self) -> None:
        connection, self._connection = self._connection, None
        file, self._file = self._file, None
        is_empty = connection is None
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            cursor.close()  # else the file stays locked, whatever becomes of the connection
        if connection is not None:
            is_empty = file is not None and not self._published and _is_empty(connection)
            connection.close()
        if file is not None and self._published:
            file.keep()
        elif file is not None:
            file.discard(is_empty=is_empty)

    # ---- tables -----------------------------------------------------------------------------------------------

    def find(self, table: TableName) -> ExistingTable | None:
        if table.schema not in (None, "main"):
            return None
        rows = self.execute(
            "SELECT t.name, t.type, EXISTS (SELECT 1 FROM main.sqlite_master g WHERE g.type = 'trigger' AND"
            " lower(g.tbl_name) = lower(t.name)) FROM main.sqlite_master t WHERE t.type IN ('table', 'view') AND"
            " lower(t.name) = lower(?)",
            [table.table],
        )
        if not rows:
            return None
        name, kind, has_triggers = rows[0]
        columns = self.execute(
            'SELECT name, type, "notnull", dflt_value, pk, hidden'
            " FROM pragma_table_xinfo(?, 'main') WHERE hidden <> 1",
            [name],
        )
        return ExistingTable(
            TableName(name, "main"),
            tuple(
                ExistingColumn(
                    column,
                    self.parse_type(type_name),
                    not not_null,
                    default is not None or (key == 1 and type_name.upper() == "INTEGER"),
                    hidden in (2, 3),
                )
                for column, type_name, not_null, default, key, hidden in columns
            ),
            kind == "view",
            bool(has_triggers),
        )

    def current_schema(self) -> str:
        return "main"

    def table_names(self) -> list[TableName]:
        rows = self.execute(
            "SELECT name FROM main.sqlite_master WHERE type IN ('table', 'view') AND substr(name, 1, 7) <> 'sqlite_'"
        )
        return [TableName(name) for (name,) in rows]

    # ---- reading ----------------------------------------------------------------------------------------------

    def select(self, what: Select, batch_size: int) -> ResultSet:
        if what.table is not None:
            existing = self.found(what.table)
            given = [column.name for column in existing.columns]
            declared = [declared_type(column.type.name) for column in existing.columns]
            names, duplicates = given, frozenset[str]()
            wanted = [index for index, name in enumerate(names) if what.wants(name)] or [0]
            chosen = ", ".join(quote(names[index]) for index in wanted)
            sql = f"SELECT {chosen} FROM {existing.name.sql}{_end(what)}"  # noqa: S608  quoted
            cursor = self._run(sql)
            indices: Sequence[int] = range(len(wanted))
        else:
            cursor = self._run(what.query or "")
            if cursor.description is None:
                raise SourceError(f"the query on {self.url.label} returns no rows at all: give a SELECT")
            names, duplicates = unique_names([column[0] for column in cursor.description])
            if not what.is_whole:
                # The line break ends a comment on the query's last line.
                sql = f"SELECT * FROM (\n{strip_query(what.query or '')}\n) AS zoopipe_query{_end(what)}"  # noqa: S608
                cursor.close()
                cursor = self._run(sql)
            declared = [None] * len(names)
            wanted = [index for index, name in enumerate(names) if what.wants(name)] or [0]
            indices = wanted
        rows = self._chunks(cursor, batch_size, what.limit)
        head = next(rows, [])
        # The type of a column is that of the first cells: SQLite itself has none for an expression.
        told = what.types or {}
        kinds = {
            index: told.get(names[index]) or array_of([row[place] for row in head], declared[index], None).type
            for index, place in zip(wanted, indices, strict=True)
        }
        for index, kind in kinds.items():
            if kind not in (declared[index], pa.null()):
                declared[index] = None  # the table does not hold to it
        types = {name: ColumnType(kinds.get(i, declared[i] or pa.null())) for i, name in enumerate(names)}
        columns = [ResultColumn(names[index], types[names[index]]) for index in wanted]

        def batches() -> Iterator[pa.RecordBatch]:
            known = {index: None if pa.types.is_null(kind) else kind for index, kind in kinds.items()}
            part = head
            while part:
                arrays = []
                for index, place in zip(wanted, indices, strict=True):
                    array = array_of([row[place] for row in part], declared[index], known[index])
                    if known[index] is None and not pa.types.is_null(array.type):
                        known[index] = array.type
                    arrays.append(array)
                yield pa.RecordBatch.from_arrays(arrays, names=[str(index) for index in wanted])
                part = next(rows, [])

        return ResultSet(columns, types, duplicates, batches)

    def export_state(self) -> str:
        return file_state(self.url.path, ["-wal"])

    def enter_state(self, state: str) -> None:
        check_file_state(self.url.label, state, self.export_state())

    def _run(self, sql: str) -> sqlite3.Cursor:
        with self._errors():
            self._cursor = self._live().execute(sql)
        return self._cursor

    def _chunks(self, cursor: sqlite3.Cursor, size: int, limit: int | None) -> Iterator[list[tuple[Any, ...]]]:
        left = limit
        while left is None or left > 0:
            with self._errors():
                rows = cursor.fetchmany(size if left is None else min(size, left))
            if not rows:
                break
            left = None if left is None else left - len(rows)
            yield rows
        cursor.close()  # lets go of the file's lock

    # ---- writing ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        self.execute("COMMIT")
        self._published = True

    def rollback(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            self.execute("ROLLBACK")

    def check_writable(self, table: TableName, existing: ExistingTable | None) -> TableName:
        if existing is not None:
            return existing.name
        if table.schema not in (None, "main"):
            raise TargetError(f"SQLite has no schemas: {table.schema!r} in {table} cannot be; name the table alone")
        if table.table.lower().startswith("sqlite_"):
            raise TargetError(f"SQLite keeps names that begin with sqlite_, such as {table.table}, for itself")
        return TableName(table.table, "main")

    def type_name(self, kind: pa.DataType) -> str | None:
        if pa.types.is_decimal(kind):
            return f"DECIMAL_TEXT({kind.precision},{kind.scale})" if 0 <= kind.scale <= kind.precision else None
        return _TYPES.get(kind)

    def parse_type(self, name: str) -> SQLType:
        kind = declared_type(name)
        if kind is None and ("NUMERIC" in name.upper() or "DECIMAL" in name.upper()):
            kind = pa.float64()  # SQLite would make a double of the text of a decimal
        return SQLType(name, kind)

    def ingest(self, table: TableName, chunk: Sequence[pa.RecordBatch], *, temporary: bool) -> int:
        names = chunk[0].schema.names
        columns, marks = ", ".join(map(quote, names)), ", ".join("?" * len(names))
        place = f"temp.{quote(table.table)}" if temporary else table.sql
        sql = f"INSERT INTO {place} ({columns}) VALUES ({marks})"  # noqa: S608  quoted
        count = 0
        with self._errors():
            for batch in chunk:
                cells = [bindable(column) for column in batch.columns]
                self._live().executemany(sql, zip(*cells, strict=True))
                count += batch.num_rows
        return count

    def insert(self, sql: str) -> int:
        self.execute(sql)
        return int(self.execute("SELECT changes()")[0][0])

    def widen(self, table: TableName, column: str, type_name: str) -> None:
        raise TargetError(
            f"SQLite cannot change the type of the column {column!r} of {table} to {type_name}; make the table anew, "
            'with mode="replace"'
        )

    def alter_type(self, table: TableName, column: str, type_name: str) -> None:
        """Nothing to do: a temporary table's column takes any value."""

    def check_value(self, array: pa.Array) -> tuple[int, str] | None:
        if pa.types.is_floating(array.type):
            return first(pc.is_nan(array), "SQLite has no NaN, it would store NULL")
        return None


def _end(what: Select) -> str:
    return what.end(lambda column: quote(column or "rowid"))


def _is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nobody has put anything into the file."""
    try:
        return bool(connection.execute("SELECT count(*) = 0 FROM main.sqlite_master").fetchone()[0])
    except sqlite3.Error:  # an unusable connection: the file stays
        return False
