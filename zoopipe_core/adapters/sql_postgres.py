"""PostgreSQL, over ADBC: binary COPY both ways.

COPY wants values in exactly the type of the column; `parse_type` says which Arrow type that is. Types that the driver
gives as PostgreSQL's own bytes (enums, ranges, addresses, money) are asked for as text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.sql_belongings import statements_for
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
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.adapters.sql_postgres_copy import first_nul, pieces
from zoopipe_core.adapters.sql_postgres_types import differs, loose_json, parse_type, recipe, type_name
from zoopipe_core.adapters.sql_select import Rewrite, Select
from zoopipe_core.adapters.sql_staging import lock_key, remove_dead
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    DatabaseConnectionError,
    DatabaseError,
    MissingDependencyError,
    SourceError,
    TargetError,
    TargetWriteError,
)

__all__ = ["PostgreSQL"]

CONNECT_SECONDS = 5
LOCK_SECONDS = 30
# What a load that stages its rows may have, unless the server gives more: by default they are joined by way of files.
_ROOM = "('work_mem', '64MB'), ('temp_buffers', '128MB')"
# The driver's own errors carry no state that would say so.
_LOST = re.compile("(server closed|no|terminating) (the )?connection|connection to (the )?server")
_NOISE = re.compile(
    r"^([A-Z_]+: )?(\[libpq\] )?((Failed|Execution) [^:]*: )?(PGRES_FATAL_ERROR )?((ERROR|FATAL):\s*)?"
    r"|\s*(Query was: .*|\. SQLSTATE: \w+)\Z",
    re.DOTALL,
)


class PostgreSQL(Database):
    """A connection to a PostgreSQL server, within one transaction from its first statement on."""

    ignores_case = False
    stages = False
    any_thread = True
    chunks_ahead = 1
    chunk_rows = 65_536

    def __init__(self, url: DatabaseURL, *, read_only: bool) -> None:
        try:
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            raise MissingDependencyError.build("adbc-driver-postgresql", "postgres", "PostgreSQL") from error
        self.url = url
        self._error: type[Exception] = dbapi.Error
        self._closed = False
        self._state: str | None = None  # the snapshot that this transaction reads
        try:
            self._connection = dbapi.connect(_with_timeout(url.address))
        except dbapi.Error as error:
            raise self._concealed(
                DatabaseConnectionError,
                f"{url.label} cannot be reached: {_plain_text(error)}\n"
                "  Check host, port, database and user, and that the server runs and lets this machine in.",
            ) from self._cause(error)
        if read_only:
            self.execute("SET TRANSACTION READ ONLY")

    # ---- errors -----------------------------------------------------------------------------------------------

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (self._error, OSError) as error:  # a stream of batches raises OSError
            raise self._explained(error) from self._cause(error)

    def _explained(self, error: Exception) -> Exception:
        state, text = str(getattr(error, "sqlstate", None) or ""), _plain_text(error)
        label = self.url.label
        # The driver without a text: libpq has no result, since it could not even send the command (its manual, PQexec).
        silent = not text and isinstance(error, self._error)
        if state.startswith(("08", "57P")) or _LOST.search(text) or silent:
            why = text or "the server cannot be reached any more"
            return self._concealed(DatabaseConnectionError, f"the connection to {label} was lost: {why}")
        if state == "55P03":
            text += f"; another transaction has kept the table locked for {LOCK_SECONDS} s: let it end, then run again"
        if state == "53100":
            return self._concealed(TargetWriteError, f"{label} cannot be written: {text}")
        return self._concealed(DatabaseError, f"{label}: {text}")

    def _concealed(self, kind: type[Exception], message: str) -> Exception:
        return kind(self.url.conceal(message))

    def _cause(self, error: Exception) -> Exception | None:
        """The driver's error, unless its text has a secret in it: tracebacks show it."""
        return error if self.url.conceal(str(error)) == str(error) else None

    # ---- statements -------------------------------------------------------------------------------------------

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._errors(), self._connection.cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            return list(cursor.fetchall()) if cursor.description else []

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._connection.close()

    # ---- tables -----------------------------------------------------------------------------------------------

    def find(self, table: TableName) -> ExistingTable | None:
        rows = self.execute(
            "SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text, EXISTS (SELECT FROM"
            " pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal) FROM pg_catalog.pg_class c"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE c.oid = to_regclass($1::text) AND c.relkind IN ('r', 'p', 'f', 'v', 'm')",
            [table.sql],
        )
        if not rows:
            return None
        oid, schema, name, kind, has_triggers = rows[0]
        columns = self.execute(
            "SELECT a.attname::text, CASE t.typtype WHEN 'd' THEN format_type(t.typbasetype, t.typtypmod)"
            " ELSE format_type(a.atttypid, a.atttypmod) END, t.typtype::text, NOT (a.attnotnull OR t.typnotnull),"
            " a.atthasdef OR a.attidentity <> '' OR t.typdefault IS NOT NULL,"
            " a.attgenerated <> '' OR a.attidentity = 'a' FROM pg_catalog.pg_attribute a"
            " JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
            " WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
            [oid],
        )
        return ExistingTable(
            TableName(name, schema),
            tuple(
                ExistingColumn(
                    column,
                    # COPY takes the label of an enum as its text.
                    SQLType(type_name, pa.string()) if kind_of == "e" else self.parse_type(type_name),
                    nullable,
                    fills_itself,
                    computed,
                )
                for column, type_name, kind_of, nullable, fills_itself, computed in columns
            ),
            kind in ("v", "m"),
            has_triggers,
        )

    def mark(self, place: int) -> str:
        return f"${place + 1}::text"

    def time_text(self, column: str) -> str:
        # Whatever DateStyle and TimeZone are.
        return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""

    def table_names(self) -> list[TableName]:
        rows = self.execute(
            "SELECT n.nspname::text, c.relname::text, n.nspname = ANY (current_schemas(false)) FROM pg_catalog.pg_class"
            " c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')"
            " AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2 LIMIT 10000"
        )
        return [TableName(name, None if visible else schema) for schema, name, visible in rows]

    # ---- reading ----------------------------------------------------------------------------------------------

    def select(self, what: Select, batch_size: int) -> ResultSet:
        table = None if what.table is None else self.found(what.table).name
        query = f"SELECT * FROM {table.sql}" if table is not None else what.query or ""  # noqa: S608  quoted
        schema = self._schema(query)
        if not len(schema):
            raise SourceError(f"the query on {self.url.label} returns no columns: give a SELECT")
        names, duplicates = unique_names(schema.names)
        sources = Rewrite.sources(schema.names, table)
        recipes = [recipe(field, source) for field, source in zip(schema, sources, strict=True)]
        rewrite = Rewrite(names, [expression for expression, _, _ in recipes], table, query)
        columns = [
            ResultColumn(name, ColumnType(kind), decode) for name, (_, kind, decode) in zip(names, recipes, strict=True)
        ]
        wanted = [index for index, name in enumerate(names) if what.wants(name)] or [0]
        sql = rewrite.sql(wanted, what)
        return ResultSet(
            [columns[index] for index in wanted],
            {column.name: column.type for column in columns},
            duplicates,
            lambda: self._batches(sql),
        )

    def export_state(self) -> str:
        self.execute("SET idle_in_transaction_session_timeout = 0")
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self._state = str(self.execute("SELECT pg_export_snapshot()")[0][0])
        return self._state

    def enter_state(self, state: str) -> None:
        if self._state == state:
            return
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        try:
            self.execute(f"SET TRANSACTION SNAPSHOT '{state}'")
        except DatabaseError as error:
            raise SourceError(f"the state of {self.url.label} that was split is no longer kept: {error}") from error
        self._state = state

    def begin_reading(self) -> None:
        self.execute("SET TRANSACTION READ ONLY")

    def end_reading(self) -> None:
        self.rollback()

    def _schema(self, sql: str) -> pa.Schema:
        with self._errors(), self._connection.cursor() as cursor:
            return cursor.adbc_execute_schema(sql)

    def _batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        with self._connection.cursor() as cursor:
            with self._errors():
                cursor.execute(sql)
                reader = cursor.fetch_record_batch()
            ended = False
            try:
                while not ended:
                    batch = None
                    with self._errors():
                        try:
                            batch = reader.read_next_batch()
                        except StopIteration:
                            ended = True
                    if batch is not None:
                        yield batch
            finally:
                if not ended:
                    cursor.adbc_cancel()  # else closing reads all the rest
                reader.close()

    # ---- writing ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        # The driver has begun it. A load may take its time between two statements, but must not wait for ever.
        self.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        self.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")

    def commit(self) -> None:
        try:
            with self._errors():
                self._connection.commit()
        except DatabaseConnectionError as error:
            raise DatabaseConnectionError(
                f"{error}\n  It was lost during COMMIT: whether the load is in the table has to be looked up."
            ) from error

    def rollback(self) -> None:
        with self._errors():
            self._connection.rollback()

    def check_writable(self, table: TableName, existing: ExistingTable | None) -> TableName:
        if existing is not None:
            name = existing.name
            allowed = self.execute("SELECT has_table_privilege($1::text::regclass, 'INSERT')", [name.sql])[0][0]
            if not allowed:
                raise TargetWriteError(f"the user may not insert into {name} in {self.url.label}; GRANT it first")
            return name
        rows = self.execute(
            "SELECT nspname::text, has_schema_privilege(oid, 'CREATE') FROM pg_catalog.pg_namespace"
            " WHERE nspname = coalesce($1::text, current_schema()::text)",
            [table.schema],
        )
        if not rows:
            raise TargetError(
                f"there is no schema {table.schema or 'in the search path'} in {self.url.label}; CREATE SCHEMA first, "
                "or name the table's schema, as in analytics.users"
            )
        schema, allowed = rows[0]
        if not allowed:
            raise TargetWriteError(
                f"the user may not create tables in the schema {schema} of {self.url.label}; GRANT it first"
            )
        return TableName(table.table, schema)

    def type_name(self, kind: pa.DataType) -> str | None:
        return type_name(kind)

    def parse_type(self, name: str) -> SQLType:
        return parse_type(name)

    def ingest(self, table: TableName, chunk: Sequence[pa.RecordBatch], *, temporary: bool) -> int:
        reader = pa.RecordBatchReader.from_batches(chunk[0].schema, pieces(chunk))
        place = {"temporary": True} if temporary else {"db_schema_name": table.schema}
        with self._errors(), self._connection.cursor() as cursor:
            return int(cursor.adbc_ingest(table.table, reader, mode="append", **place))

    def insert(self, sql: str) -> int:
        with self._errors(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            return int(cursor.rowcount)

    def make_room(self) -> None:
        # A session that has had a temporary table cannot change their buffers any more.
        self.execute(
            f"SELECT set_config(name, size, false) FROM (VALUES {_ROOM}) AS room (name, size)"  # noqa: S608  a constant
            " WHERE pg_size_bytes(current_setting(name)) < pg_size_bytes(size)"
            " AND (name <> 'temp_buffers' OR pg_my_temp_schema() = 0)"
        )

    @contextmanager
    def joining(self) -> Iterator[None]:
        # Without statistics it expects a thousand pairs for each row, and sorts both tables, by way of files, for that.
        before = self.execute("SELECT current_setting('enable_mergejoin')")[0][0]
        self.execute("SET LOCAL enable_mergejoin = off")
        yield
        # Not if something was raised: the transaction takes no statement then, and ends, as the setting does.
        self.execute(f"SET LOCAL enable_mergejoin = {before}")

    def count(self, table: TableName) -> int | None:
        # COPY puts in every row that was sent, or fails; and none goes but by a trigger, which a table that this
        # transaction has made gets from an event trigger, if at all.
        sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgrelid = to_regclass($1::text))"
        return super().count(table) if self.execute(sql, [table.sql])[0][0] else None

    def differs(self, column: str, type_name: str) -> str | None:
        return differs(column, type_name)

    def is_unique(self, table: TableName, key: Sequence[str]) -> bool:
        names = ", ".join(f"${place}::text" for place in range(2, 2 + len(key)))
        # By the equality that a join has, for the rows of all partitions, and at once.
        sql = (
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid"  # noqa: S608
            " WHERE c.oid = to_regclass($1::text) AND (c.relkind = 'p' OR NOT c.relhassubclass)"
            " AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indexprs IS NULL AND i.indpred IS NULL"
            " AND NOT EXISTS (SELECT FROM unnest(i.indkey::int2[], i.indcollation::oid[]) WITH ORDINALITY"
            " AS k(number, sorted_by, place) JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND"
            f" a.attnum = k.number WHERE k.place <= i.indnkeyatts AND (a.attname::text NOT IN ({names})"
            " OR k.sorted_by <> a.attcollation)))"
        )
        return bool(self.execute(sql, [table.sql, *key])[0][0])

    def count_inserted(self, table: TableName) -> int | None:
        # What COPY reports is the number of rows that were sent, even if a trigger dropped some.
        sql = f"SELECT count(*) FROM {table.sql} WHERE xmin = pg_current_xact_id()::xid"  # noqa: S608  quoted
        return int(self.execute(sql)[0][0])

    def belongings(self, table: TableName, columns: Collection[str]) -> list[str]:
        return statements_for(self, table, columns)

    def try_lock(self, name: str, *, exclusive: bool) -> bool:
        shared = "" if exclusive else "_shared"
        return bool(self.execute(f"SELECT pg_try_advisory_xact_lock{shared}({lock_key(name)})")[0][0])

    def remove_dead(self, table: TableName) -> None:
        remove_dead(self, table)

    def lock_for_replacing(self, table: TableName) -> None:
        # Two loads that replace at the same time would each delete the old rows and keep each other's.
        self.execute(f"LOCK TABLE {table.sql} IN SHARE ROW EXCLUSIVE MODE")

    def alter_type(self, table: TableName, column: str, type_name: str) -> None:
        self.execute(f"ALTER TABLE {table.sql} ALTER COLUMN {quote(column)} TYPE {type_name} USING NULL::{type_name}")

    def check_value(self, array: pa.Array) -> tuple[int, str] | None:
        if isinstance(array.type, pa.JsonType):
            return loose_json(array.storage)
        if pa.types.is_string(array.type):
            return first_nul(array)
        return None


def _with_timeout(address: str) -> str:
    """The URL with a limit to the wait for a server that does not answer, unless it names one itself."""
    if "connect_timeout=" in address:
        return address
    return f"{address}{'&' if '?' in address else '?'}connect_timeout={CONNECT_SECONDS}"


def _plain_text(error: Exception) -> str:
    """What the server said, without the driver's wrapping."""
    said = {
        key.decode() if isinstance(key, bytes) else key: value.decode(errors="replace")
        for key, value in getattr(error, "details", None) or ()
    }
    if primary := said.get("PG_DIAG_MESSAGE_PRIMARY"):
        return "; ".join(filter(None, [primary, said.get("PG_DIAG_MESSAGE_DETAIL"), said.get("PG_DIAG_MESSAGE_HINT")]))
    return _NOISE.sub("", str(error)).strip()
