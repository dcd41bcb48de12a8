"""What reading and writing need of a database: one contract, fulfilled by DuckDB, PostgreSQL and SQLite.

A `Database` is one open connection. It knows its own types, quotes nothing but through `sql_names`, and turns every
error of its driver into a `DatabaseError` that shows no secret.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, TypeAlias

import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.adapters.sql_connect import DatabaseURL
from zoopipe_core.adapters.sql_names import TableName, quote, show_names
from zoopipe_core.adapters.sql_select import Select
from zoopipe_core.batches.source import mask_array
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceNotFoundError

LOCK_POLL_SECONDS = 0.02

__all__ = [
    "Database",
    "Decoded",
    "Decoder",
    "ExistingColumn",
    "ExistingTable",
    "ResultColumn",
    "ResultSet",
    "SQLType",
]


@dataclass(frozen=True, slots=True)
class SQLType:
    """A column type of a database, as far as writing into it goes.

    Attributes:
        name: as the database spells it.
        arrow: the Arrow type that holds exactly its values; None if there is none that we write.
        max_length: the most characters of a text; None for any number.
        encode: what turns an array of type `arrow` into what the driver takes; None: the array itself.
        any_decimal: a decimal of whatever precision and scale.
    """

    name: str
    arrow: pa.DataType | None = None
    max_length: int | None = None
    encode: Callable[[pa.Array], pa.Array] | None = None
    any_decimal: bool = False


@dataclass(frozen=True, slots=True)
class ExistingColumn:
    """A column of a table that is there. `fills_itself`: it has a default, counts up, or is computed."""

    name: str
    type: SQLType
    nullable: bool = True
    fills_itself: bool = False
    computed: bool = False


@dataclass(frozen=True, slots=True)
class ExistingTable:
    """A table or view that is there, under its full name."""

    name: TableName
    columns: tuple[ExistingColumn, ...]
    is_view: bool = False
    has_triggers: bool = False


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded column.

    Attributes:
        array: the cells.
        bad: bool (n,), the cells that Arrow has no value for, null in `array`; None if there are none.
        code, why: what is wrong with them, for the fault.
    """

    array: pa.Array
    bad: npt.NDArray[Any] | None = None
    code: str = ""
    why: str = ""

    def only(self, kept: npt.NDArray[Any]) -> Decoded:
        """The cells that the mask `kept`, bool (n,), says."""
        bad = None if self.bad is None else self.bad[kept]
        return replace(self, array=self.array.filter(mask_array(kept)), bad=bad)


Decoder: TypeAlias = Callable[[pa.Array], Decoded]


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """A column of a result: its name, what is delivered, and how the driver's array becomes that."""

    name: str
    type: ColumnType
    decode: Decoder | None = None


@dataclass(frozen=True, slots=True)
class ResultSet:
    """A result that is ready to be read.

    Attributes:
        columns: those to be read.
        all_types: every column of the source, in order, whether it is read or not.
        duplicates: names that the result has more than once; later copies are called ``name_2``, ``name_3``...
        batches: starts the query and yields its batches, whose columns are `columns`.
    """

    columns: Sequence[ResultColumn]
    all_types: Mapping[str, ColumnType]
    duplicates: frozenset[str]
    batches: Callable[[], Iterator[pa.RecordBatch]]


class Database(ABC):
    """An open connection; nothing is committed before `commit`."""

    url: DatabaseURL
    ignores_case: bool
    """Whether names that differ in case only are the same."""
    stages: bool
    """Whether rows are always gathered in a temporary table first, so that the database is locked for a moment only."""
    any_thread: bool = False
    """Whether it may be used in another thread than before, while nothing else is done with it."""
    chunks_ahead: int = 0
    """How many chunks may wait while one is ingested in another thread."""
    chunk_rows: int
    """The number of rows that is worth a statement of its own."""
    chunks_at_once: int = 1
    """How many times as many rows a statement takes in at once, where these are not too large."""
    makes_tables_alone: bool = False
    """Whether a table that two transactions make, if it is missing, fails one of them."""
    keeps_times_as_text: bool = False
    """Whether a time is stored as its text."""

    # ---- both ways --------------------------------------------------------------------------------------------

    @abstractmethod
    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement to its end and return its rows.

        Raises:
            DatabaseError: the database refused it.
            DatabaseConnectionError: the connection is lost.
        """

    @abstractmethod
    def find(self, table: TableName) -> ExistingTable | None:
        """The table or view of that name, with its columns."""

    @abstractmethod
    def table_names(self) -> list[TableName]:
        """All tables and views that are not the database's own."""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; what was not committed is gone. Harmless if done already."""

    # ---- reading ----------------------------------------------------------------------------------------------

    @abstractmethod
    def select(self, what: Select, batch_size: int) -> ResultSet:
        """Prepare to read.

        Raises:
            SourceNotFoundError: there is no such table.
            DatabaseError: the database refused the query.
        """

    @abstractmethod
    def export_state(self) -> str:
        """A name for what the database holds now, by which other connections can read just that.

        A server keeps that state for as long as this connection is open. A file cannot keep it, and its readers are
        told that it is gone.
        """

    @abstractmethod
    def enter_state(self, state: str) -> None:
        """Read what the database held when `state` was exported. Called before `select`, and with the first rows.

        Raises:
            SourceError: that is no longer there.
        """

    def begin_reading(self) -> None:
        """What is read from here on, up to `end_reading`, is a transaction of its own, if there are transactions."""
        return

    def end_reading(self) -> None:
        """Nothing is kept for this reader any more."""
        return

    def full_name(self, table: TableName) -> TableName:
        """The name with its schema, whether or not there is such a table."""
        existing = self.find(table)
        if existing is not None:
            return existing.name
        return table if table.schema is not None else TableName(table.table, self.current_schema())

    def current_schema(self) -> str:
        """Where a table lies whose schema is not named."""
        return str(self.execute("SELECT current_schema()")[0][0])

    def mark(self, place: int) -> str:
        """What stands in a statement for the text that is parameter `place`, from 0."""
        return "?"

    def time_text(self, column: str) -> str:
        """The text of a time with its zone, in ISO's form; `column` is quoted."""
        return f"CAST({column} AS VARCHAR(64))"

    def found(self, table: TableName) -> ExistingTable:
        """The table to read.

        Raises:
            SourceNotFoundError: it is not there; the message lists names near to it.
        """
        existing = self.find(table)
        if existing is None:
            raise no_table(self.url.label, table, self.table_names())
        return existing

    # ---- writing ----------------------------------------------------------------------------------------------

    @abstractmethod
    def begin(self) -> None:
        """Start the transaction of a load."""

    @abstractmethod
    def commit(self) -> None:
        """Make everything visible.

        Raises:
            DatabaseError: the database refused; nothing is visible.
            DatabaseConnectionError: the connection was lost, and nobody knows.
        """

    @abstractmethod
    def rollback(self) -> None:
        """Undo everything since `begin`; harmless if there is nothing to undo."""

    @abstractmethod
    def check_writable(self, table: TableName, existing: ExistingTable | None) -> TableName:
        """The full name under which `table` is to be written.

        Raises:
            TargetError: there is no such schema, or we may not write there.
        """

    @abstractmethod
    def type_name(self, kind: pa.DataType) -> str | None:
        """The column type to create for `kind`, one of `sql_types.plain`'s; None if the database has none."""

    @abstractmethod
    def parse_type(self, name: str) -> SQLType:
        """What is known of the type that the database calls `name`."""

    @abstractmethod
    def ingest(self, table: TableName, chunk: Sequence[pa.RecordBatch], *, temporary: bool) -> int:
        """Append rows to a table's columns of the same names; returns how many.

        Raises:
            DatabaseError: a constraint is violated, the disk is full...
        """

    @abstractmethod
    def insert(self, sql: str) -> int:
        """Run an INSERT, UPDATE or DELETE; returns how many rows it has put in, changed or removed."""

    def make_room(self) -> None:
        """Let this connection have the memory that joining many rows takes; before its first temporary table."""
        return

    @contextmanager
    def joining(self) -> Iterator[None]:
        """While tables are joined of which one was just filled, so that there are no statistics of it."""
        yield

    def count(self, table: TableName) -> int | None:
        """The rows of a table that this transaction has made and filled; None if `ingest` knows it as well."""
        return int(self.execute(f"SELECT count(*) FROM {table.sql}")[0][0])  # noqa: S608  quoted

    def count_inserted(self, table: TableName) -> int | None:
        """The rows that this transaction has put into a table with triggers; None if `ingest` knows it as well."""
        return None

    def differs(self, column: str, type_name: str) -> str | None:
        """A condition: a column of the rows `old` and `new`, of the same type, does not hold the very same value.

        Equal is not enough: 0.0 is equal to -0.0. None: it costs as much to find that out as to update the row.
        """
        return None

    def is_unique(self, table: TableName, key: Sequence[str]) -> bool:
        """Whether the database makes sure that no two rows of a table are equal in these columns; False: it may not."""
        return False

    def belongings(self, table: TableName, columns: Collection[str]) -> list[str]:
        """Statements by which a new table gets what belongs to the one of that name that is about to be dropped.

        Args:
            table: the one that is there.
            columns: of the new one.
        """
        return []

    def widen(self, table: TableName, column: str, type_name: str) -> None:
        """Change the type of a column to one that holds all of its values.

        Raises:
            DatabaseError: something depends on the column.
            TargetError: this database cannot.
        """
        self.execute(f"ALTER TABLE {table.sql} ALTER COLUMN {quote(column)} TYPE {type_name}")

    def lock(self, name: str, *, exclusive: bool, seconds: float) -> bool:
        """Take a lock that ends with the transaction, or with its holder; True if it is had.

        Args:
            name: of the lock; all that use this database have the same ones.
            exclusive: nobody else may have it; else others may who ask for it like this.
            seconds: how long to wait if somebody has it.
        """
        deadline = time.monotonic() + seconds
        # Asked again and again: a statement that waits could not be ended.
        while not self.try_lock(name, exclusive=exclusive):
            if time.monotonic() >= deadline:
                return False
            time.sleep(LOCK_POLL_SECONDS)
        return True

    def try_lock(self, name: str, *, exclusive: bool) -> bool:
        """As `lock`, without waiting; where transactions that write are alone, there is nothing to do."""
        return True

    def remove_dead(self, table: TableName) -> None:
        """Remove what dead loads into `table`, its full name, have left; called outside of a transaction."""
        return

    def lock_for_replacing(self, table: TableName) -> None:
        """Keep others from writing to `table` until the end of the transaction, where rows could otherwise mix."""
        return

    def alter_type(self, table: TableName, column: str, type_name: str) -> None:
        """Change the type of a column that holds nothing but NULL."""
        self.execute(f"ALTER TABLE {table.sql} ALTER COLUMN {quote(column)} TYPE {type_name}")

    def check_value(self, array: pa.Array) -> tuple[int, str] | None:
        """The index of the first cell that the database cannot hold, and why; None if it takes them all."""
        return None


def no_table(label: str, table: TableName, known: Sequence[TableName]) -> SourceNotFoundError:
    """The error for a table that is not there."""
    by_text = {str(name).lower(): str(name) for name in known}
    by_text.update({name.table.lower(): str(name) for name in known if table.schema is None})
    near = get_close_matches(str(table).lower(), by_text, n=1, cutoff=0.6)
    hint = f"; did you mean {by_text[near[0]]}?" if near else ""
    return SourceNotFoundError(
        f"there is no table {table} in {label}{hint}\n  tables: {show_names(sorted({str(name) for name in known}))}"
    )


def unique_names(names: Sequence[str]) -> tuple[list[str], frozenset[str]]:
    """Names of which later copies are renamed, and those that stood more than once.

    >>> unique_names(["a", "b", "a"])
    (['a', 'b', 'a_2'], frozenset({'a'}))
    """
    taken, unique, duplicates = set(names), [], set()
    seen: set[str] = set()
    for name in names:
        given, count = name, 1
        if given in seen:
            duplicates.add(given)
            while name in taken:
                count += 1
                name = f"{given}_{count}"
            taken.add(name)
        seen.add(name)
        unique.append(name)
    return unique, frozenset(duplicates)
