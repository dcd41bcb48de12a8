"""DuckDB, through its own Python client.

Not through ADBC, although DuckDB has a driver for it: two connections of one process to one file have to share an
instance of the database, and the client knows that while the ADBC driver opens a second one. Measured: a row
committed through one was not seen by the other, and closing either released the file's lock for good. So a notebook
that has the warehouse open can run a load into it.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pyarrow as pa

from zoopipe_core._cores import usable_cores
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
from zoopipe_core.adapters.sql_duckdb_types import delivered, parse_type, recipe, type_name
from zoopipe_core.adapters.sql_files import DatabaseFile, check_file_state, file_state
from zoopipe_core.adapters.sql_locks import ProcessLocks
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.adapters.sql_select import Rewrite, Select
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

__all__ = ["DuckDB"]

# How long a file is waited for that a thread of this process is only about to read, or to let go of.
SHARE_SECONDS = 1.0
SHARE_POLL_SECONDS = 0.01

ROW_GROUP_ROWS = 122_880


class DuckDB(Database):
    """A connection to a DuckDB file.

    To read, the file is opened read-only, so that several processes can; where this process has it open for writing,
    the connection joins that instance. A reader lets go of the file until its first batch is asked for: the same load
    may write to it.
    """

    ignores_case = True
    stages = False
    any_thread = True
    makes_tables_alone = True
    # Just so many rows are compressed and written at once, and others at the checkpoint, a second time. Measured with
    # 1,000,000 rows of 8 columns: 0.6 s of CPU time instead of 1.3.
    chunk_rows = ROW_GROUP_ROWS
    # One for each of its threads.
    chunks_at_once = min(usable_cores(), 4)

    def __init__(self, url: DatabaseURL, *, read_only: bool) -> None:
        self.url = url
        self._read_only = read_only
        self._file = None if read_only else DatabaseFile(url.path, [".wal"])
        self._published = False
        self._locks = ProcessLocks(url.path)
        self._holds = False
        self._connection: duckdb.DuckDBPyConnection | None = None
        try:
            self._connect()
        except BaseException:
            if self._file is not None:
                self._file.discard(is_empty=True)
            raise

    def _connect(self) -> duckdb.DuckDBPyConnection:
        if self._connection is None:
            if self._read_only and not os.path.exists(self.url.path):
                # DuckDB would set up a whole instance before it looked for the file.
                raise SourceNotFoundError(f"there is no file {self.url.path}, which {self.url.label} names")
            with self._errors():
                self._connection = self._open()
                # A table that is not there must not be taken from a variable of that name in some caller's frame.
                self._connection.execute("SET python_enable_replacements = false")
        return self._connection

    def _open(self) -> duckdb.DuckDBPyConnection:
        deadline = time.monotonic() + SHARE_SECONDS
        while True:
            try:
                return duckdb.connect(self.url.path, read_only=self._read_only)
            except duckdb.Error as error:
                # Another thread of this process has it open in the other way, or is just about to.
                shared = "configuration" in str(error) or "already attached" in str(error)
                if not shared:
                    raise
                if self._read_only and "configuration" in str(error):
                    with suppress(duckdb.Error):
                        return duckdb.connect(self.url.path)
                if time.monotonic() >= deadline:
                    raise
            time.sleep(SHARE_POLL_SECONDS)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise self._explained(error) from error
        except OSError as error:  # what a stream of batches raises
            raise DatabaseError(f"{self.url.label}: {error}") from error

    def _explained(self, error: duckdb.Error) -> Exception:
        label, text = self.url.label, str(error)
        if "set lock on file" in text:
            holder = re.search(r"held in .*?\(PID \d+\)", text)
            return DatabaseConnectionError(
                f"{label} is locked by another process{f' ({holder.group()})' if holder else ''}; DuckDB lets one "
                "process write or several read: close it there, or wait for it to end"
            )
        if "different configuration" in text:
            return DatabaseConnectionError(
                f"{label} is open in this process with other settings, perhaps read-only; close that connection first"
            )
        if "not a valid DuckDB" in text or isinstance(error, duckdb.SerializationException):
            kind = CorruptSourceError if self._read_only else TargetWriteError
            return kind(f"{self.url.path} is no DuckDB database: {text}")
        if not self._read_only and (isinstance(error, duckdb.IOException) or "Could not write" in text):
            return TargetWriteError(f"{label} cannot be written: {text}")
        if isinstance(error, duckdb.TransactionException) and "onflict" in text:
            text = f"another connection created, altered or changed the table during the load; run it again ({text})"
        return DatabaseError(f"{label}: {text}")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        connection = self._connect()
        with self._errors():
            return connection.execute(sql, list(parameters)).fetchall()

    def close(self) -> None:
        self._locks.release()
        connection, self._connection = self._connection, None
        file, self._file = self._file, None
        try:
            is_empty = file is not None and not self._published and connection is not None and _is_empty(connection)
        finally:
            if connection is not None:
                connection.close()
        if file is not None and _is_empty_file(f"{self.url.path}.wal"):
            # Of a commit that failed, on a full disk for one; it stays until the file is opened the next time.
            with suppress(duckdb.Error):
                duckdb.connect(self.url.path).close()
        if file is not None and self._published:
            file.keep()
        elif file is not None:
            file.discard(is_empty=is_empty)

    # ---- tables -----------------------------------------------------------------------------------------------

    def find(self, table: TableName) -> ExistingTable | None:
        rows = self.execute(
            "SELECT database_name, schema_name, table_name, is_view FROM ("
            "  SELECT database_name, schema_name, table_name, false AS is_view FROM duckdb_tables()"
            "  UNION ALL SELECT database_name, schema_name, view_name, true FROM duckdb_views()"
            ") WHERE database_name = current_database() AND lower(schema_name) = lower(coalesce(?, current_schema()))"
            " AND lower(table_name) = lower(?) ORDER BY table_name = ? DESC LIMIT 1",
            [table.schema, table.table, table.table],
        )
        if not rows:
            return None
        database, schema, name, is_view = rows[0]
        # Asked for the columns of all tables, as duckdb_columns() is, an instance binds every view that it comes with.
        columns = self.execute(
            'SELECT name, type, NOT "notnull", dflt_value FROM pragma_table_info(?)',
            [".".join(map(quote, (database, schema, name)))],
        )
        return ExistingTable(
            TableName(name, schema),
            tuple(
                ExistingColumn(column, self.parse_type(kind), bool(nullable), default is not None)
                for column, kind, nullable, default in columns
            ),
            is_view,
        )

    def table_names(self) -> list[TableName]:
        rows = self.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = current_database()"
            " UNION ALL SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = current_database()"
            " AND NOT internal"
        )
        return [TableName(name, None if schema == "main" else schema) for schema, name in rows]

    # ---- reading ----------------------------------------------------------------------------------------------

    def select(self, what: Select, batch_size: int) -> ResultSet:
        table = None if what.table is None else self.found(what.table).name
        query = f"SELECT * FROM {table.sql}" if table is not None else what.query or ""  # noqa: S608  quoted
        given, kinds = self._describe(query)
        names, duplicates = unique_names(given)
        recipes = [recipe(*pair) for pair in zip(kinds, Rewrite.sources(given, table), strict=True)]
        rewrite = Rewrite(names, [expression for expression, _ in recipes], table, query)
        schema = self._schema(rewrite.sql(range(len(names)), Select(limit=0)))
        columns = [
            ResultColumn(name, ColumnType(delivered(field.type, decode)), decode)
            for name, field, (_, decode) in zip(names, schema, recipes, strict=True)
        ]
        wanted = [index for index, name in enumerate(names) if what.wants(name)] or [0]
        expected = pa.schema([schema.field(index) for index in wanted])
        sql = rewrite.sql(wanted, what)
        self._let_go()
        return ResultSet(
            [columns[index] for index in wanted],
            {column.name: column.type for column in columns},
            duplicates,
            lambda: self._batches(sql, expected, batch_size),
        )

    def export_state(self) -> str:
        return file_state(self.url.path, [".wal"])

    def enter_state(self, state: str) -> None:
        check_file_state(self.url.label, state, self.export_state())

    def begin_reading(self) -> None:
        self._holds = True

    def end_reading(self) -> None:
        self._holds = False
        self._let_go()

    def _describe(self, query: str) -> tuple[list[str], list[str]]:
        with self._errors():
            relation = self._connect().sql(query)
        if relation is None:
            raise SourceError(f"the query on {self.url.label} returns no rows at all: give a SELECT")
        return list(relation.columns), [str(kind) for kind in relation.types]

    def _schema(self, sql: str) -> pa.Schema:
        with self._errors():
            return self._connect().sql(sql).to_arrow_reader(1).schema

    def _batches(self, sql: str, expected: pa.Schema, batch_size: int) -> Iterator[pa.RecordBatch]:
        with self._errors():
            reader = self._connect().sql(sql).to_arrow_reader(batch_size)
            if not reader.schema.equals(expected):
                raise SourceError(f"the columns of the source in {self.url.label} changed after the load began")
        while True:
            with self._errors():
                try:
                    batch = reader.read_next_batch()
                except StopIteration:
                    break
            yield batch
        self._let_go()

    def _let_go(self) -> None:
        """Close a reader's connection: whoever opens the file next may do so for writing."""
        if self._read_only and not self._holds and self._connection is not None:
            self._connection.close()
            self._connection = None

    # ---- writing ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        self.execute("BEGIN TRANSACTION")

    def commit(self) -> None:
        self.execute("COMMIT")
        self._published = True
        self._locks.release()

    def try_lock(self, name: str, *, exclusive: bool) -> bool:
        return self._locks.take(name, exclusive=exclusive)

    def rollback(self) -> None:
        self._locks.release()
        if self._connection is not None:
            try:
                self.execute("ROLLBACK")
            except DatabaseError as error:
                if "no transaction is active" not in str(error):
                    raise

    def check_writable(self, table: TableName, existing: ExistingTable | None) -> TableName:
        if existing is not None:
            return existing.name
        rows = self.execute(
            "SELECT schema_name FROM duckdb_schemas() WHERE database_name = current_database() AND"
            " lower(schema_name) = lower(coalesce(?, current_schema()))",
            [table.schema],
        )
        if not rows:
            raise TargetError(
                f"there is no schema {table.schema} in {self.url.label}; CREATE SCHEMA {quote(str(table.schema))} first"
            )
        return TableName(table.table, rows[0][0])

    def type_name(self, kind: pa.DataType) -> str | None:
        return type_name(kind)

    def parse_type(self, name: str) -> SQLType:
        return parse_type(name)

    def ingest(self, table: TableName, chunk: Sequence[pa.RecordBatch], *, temporary: bool) -> int:
        connection, view = self._connect(), f"_zoopipe_{secrets.token_hex(8)}"
        names = ", ".join(quote(name) for name in chunk[0].schema.names)
        with self._errors():
            connection.register(view, _by_row_group(chunk))
            sql = f"INSERT INTO {table.sql} ({names}) SELECT * FROM temp.{view}"  # noqa: S608  quoted
            count = int(connection.execute(sql).fetchall()[0][0])
            connection.unregister(view)
        return count

    def insert(self, sql: str) -> int:
        return int(self.execute(sql)[0][0])


def _by_row_group(chunk: Sequence[pa.RecordBatch]) -> pa.RecordBatchReader:
    """The rows in batches of a row group each.

    A thread of DuckDB's takes a batch. Where two batches make a row group, it is put together from what two threads
    have written, a part of it for the second time: measured, 8% more CPU time, and files half as large again now and
    then. A reader of a table holds no Python object, so that these threads do not wait for the GIL.
    """
    table = pa.Table.from_batches(chunk)
    groups = [table.slice(start, ROW_GROUP_ROWS) for start in range(0, table.num_rows, ROW_GROUP_ROWS)]
    return pa.concat_tables([group.combine_chunks() for group in groups]).to_reader()


def _is_empty_file(path: str) -> bool:
    try:
        return os.path.getsize(path) == 0
    except OSError:
        return False


def _is_empty(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether nobody has put anything into the file."""
    try:
        rows = connection.execute(
            "SELECT (SELECT count(*) FROM duckdb_tables()) + (SELECT count(*) FROM duckdb_views() WHERE NOT internal)"
            " + (SELECT count(*) FROM duckdb_schemas() WHERE NOT internal)"
        ).fetchall()
    except duckdb.Error:  # an unusable connection: the file stays
        return False
    return bool(rows[0][0] == 0)
