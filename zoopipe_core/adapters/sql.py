"""SQL databases in and out: DuckDB, PostgreSQL and SQLite.

Reading streams the result of a query or a table, as columns of the database's own types. Writing is one transaction:
what others see is the old table or the new one. Names are quoted, values never pass through SQL text, and neither
labels nor messages show a password.

How each database is spoken to: `sql_duckdb`, `sql_postgres`, `sql_sqlite`; what they have in common: `sql_database`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoopipe_core.adapters.base import OutputAdapter, Reader, ReadRequest, Scan, Split, Writer, scan_here
from zoopipe_core.adapters.sql_connect import DatabaseURL, Uri, check_target, connect, describe_uri, resolve_uri
from zoopipe_core.adapters.sql_names import TableName, check_length, check_statements, parse_table_name
from zoopipe_core.adapters.sql_source import SQLSource
from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.ledger import Ledger, LoadKey
    from zoopipe_core.adapters.sql_database import Database
    from zoopipe_core.adapters.sql_form import WriteSpec
    from zoopipe_core.adapters.sql_ledger import LedgerTable
    from zoopipe_core.adapters.sql_staging import StageOwner
    from zoopipe_core.adapters.sql_window import Window

__all__ = ["SQLInputAdapter", "SQLOutputAdapter"]

MAX_STAGES = 500
"""With many more tables in one transaction, a server of PostgreSQL with its own settings runs out of locks."""
MODES = ("append", "fail", "merge", "replace")


@dataclass(frozen=True, repr=False)
class SQLInputAdapter(SQLSource):
    """Rows of a query or a table.

    Args:
        uri: the database: ``duckdb:///file``, ``sqlite:///file``, ``postgresql://user:password@host/database``, a
            `pydantic.SecretStr` of such a URL, or a callable that returns one and is called in the process that reads.
        query: a SELECT. Its columns may be computed, but each needs a name of its own.
        table_name: a table or view instead, as ``users`` or ``analytics.users``; only the columns needed are read.
        limit: read no more than so many rows.
        partition_column: a column of integers, dates or timestamps, by whose values the rows can be split into parts.
            It should have an index, and values that are spread evenly.
        watermark: read only rows that are new since the last load into the same target.

    Rows are numbered from 1 in the order in which the database gives them; only a query with ORDER BY fixes it. The
    parts of a split input have them in the order of the key, those without one first.

    All parts read one state of the database: PostgreSQL keeps it for them, for as long as the parts are there in the
    process that made them. A DuckDB or SQLite file cannot keep it: if somebody writes to it meanwhile, the parts that
    are not open yet refuse to read.

    >>> SQLInputAdapter("postgresql://me:secret@db.example/sales", table_name="analytics.users").label
    'postgresql://db.example/sales::analytics.users'

    Raises:
        SpecError: an argument is out of range, or not exactly one of `query` and `table_name` is given.
    """

    partition_column: str | None = field(default=None, kw_only=True)

    def reader(self, database: Database, request: ReadRequest, window: Window | None) -> Reader:
        from zoopipe_core.adapters.sql_reader import SQLReader

        select, size = self.select(request), request.batch_size
        return SQLReader(database, lambda: database.select(select, size), size, self.label, window=window)

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """Ranges of `partition_column`; without one, a PostgreSQL table by the places of its rows.

        Raises:
            SourceError: the database cannot be read, or the column is not there, or of another type.
        """
        self.check_whole()
        if count <= 1:
            return Split((self,))
        from zoopipe_core.adapters.sql_split import split_sql

        return split_sql(self, count, scan)


@dataclass(frozen=True, repr=False)
class SQLOutputAdapter(OutputAdapter):
    """Rows into a table, which shows all of them or none.

    Args:
        uri: the database, as for `SQLInputAdapter`. The file and its folder are made where they are missing.
        table_name: ``users`` or ``analytics.users``; a part that holds a dot stands in double quotes.
        mode: what to do where the table exists. ``"replace"``: its rows are deleted, or if its columns differ, the
            table is made anew. ``"append"``: rows are added; columns are matched by name, and a type that would change
            a value is refused. ``"merge"``: rows whose `key` is there take the place of that row, others are added.
            ``"fail"``: nothing, it is an error.
        key: the columns that tell rows apart, for ``"merge"``; a table that is made gets them as its primary key.
        on_duplicate: which of several rows of one key in a load is merged: the ``"last"``, the ``"first"``, or none
            (``"fail"``: the load fails).
        on_drift: what to do where rows and the table that is there have other columns. ``"fail"``: the load fails.
            ``"evolve"``: the table gets new columns, and types that hold more. ``"ignore"``: new columns are left out,
            and those that the rows lack stay empty. None: as ``"fail"``, but columns that the rows lack may stay empty,
            which the report notes; a table that is replaced is made anew.
        create_table: ``"auto"``, or ``"never"``: the table has to be there.
        pre_sql, post_sql: statements to run in the transaction of the load, before and after the rows.
        staging: where the rows of a load in shards wait until all are there. ``"parts"``: in files, which one
            connection loads. ``"tables"``: each worker fills a table of its own beside the target, on PostgreSQL.
            ``"auto"``: in tables on a cluster, whose workers may not see each other's files, or else in parts.

    >>> SQLOutputAdapter("duckdb:///warehouse.duckdb", "flights").label
    'duckdb:///warehouse.duckdb::flights'

    Raises:
        SpecError: an argument is out of range.
    """

    uri: Uri
    table_name: str
    mode: str = "replace"
    key: Sequence[str] = field(default=(), kw_only=True)
    on_duplicate: str = field(default="fail", kw_only=True)
    on_drift: str | None = field(default=None, kw_only=True)
    create_table: str = field(default="auto", kw_only=True)
    pre_sql: str | Sequence[str] = field(default=(), kw_only=True)
    post_sql: str | Sequence[str] = field(default=(), kw_only=True)
    staging: str = field(default="auto", kw_only=True)

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                shown = ", ".join(map(repr, allowed))
                raise SpecError(f"{name} has to be one of {shown}, not {getattr(self, name)!r}")
        object.__setattr__(self, "key", _key(self.key))
        if self.mode == "merge" and not self.key:
            raise SpecError('mode="merge" needs the columns that tell rows apart, as in key=["id"]')
        for name in ("pre_sql", "post_sql"):
            object.__setattr__(self, name, check_statements(name, getattr(self, name)))
        parse_table_name(self.table_name)
        check_target(self.uri, self.table_name)

    @property
    def label(self) -> str:
        return f"{describe_uri(self.uri)}::{self.table_name}"

    def __repr__(self) -> str:
        options = {"mode": self.mode, "key": list(self.key), "on_drift": self.on_drift}
        shown = [f"{name}={value!r}" for name, value in options.items() if value]
        return f"SQLOutputAdapter({describe_uri(self.uri)!r}, {self.table_name!r}, {', '.join(shown)})"

    @property
    def adds(self) -> bool:
        return self.mode in ("append", "merge")

    @property
    def always_remembers(self) -> bool:
        return True

    def ledger(self) -> Ledger:
        """The table ``_zoopipe_loads`` in the schema of the target."""
        from zoopipe_core.adapters.sql_ledger import SQLLedger

        url, table = self.resolve()
        return SQLLedger(lambda read_only: connect(url, read_only=read_only), table, url.path)

    def open(self) -> Writer:
        return self._open(None, None)

    def open_load(self, key: LoadKey, ledger: Ledger | None = None) -> Writer:
        from zoopipe_core.adapters.sql_ledger import SQLLedger

        return self._open(key, ledger.take() if isinstance(ledger, SQLLedger) else None)

    def _open(self, key: LoadKey | None, ledger: LedgerTable | None) -> Writer:
        from zoopipe_core.adapters.sql_target import TargetTable
        from zoopipe_core.adapters.sql_writer import SQLWriter

        url, table = self.resolve()
        target = TargetTable(lambda: connect(url, read_only=False), table, self.spec, self.label, key, ledger)
        return SQLWriter(target, self.label)

    def open_stage(self, owner: StageOwner, shard: int, attempt: int) -> Writer:
        """A table beside the target, in which the rows of a shard wait for the load to be published.

        Args:
            owner: the run of the load.
            shard: its place, from 0.
            attempt: the how manieth try of it this is.

        Raises:
            TargetError, DatabaseConnectionError: as `open`.
            SpecError: the database is no server of PostgreSQL.
        """
        from zoopipe_core.adapters.sql_stage import StageTable
        from zoopipe_core.adapters.sql_writer import SQLWriter

        url, table = self.resolve()
        stage = StageTable(lambda: connect(url, read_only=False), table, self.spec, self.label, owner, shard, attempt)
        return SQLWriter(stage, self.label)

    def stages_in_tables(self, shards: int, shares_files: bool) -> bool:
        """Whether the rows of a load in shards wait in tables beside the target, or else in files.

        Args:
            shards: how many there are.
            shares_files: whether they see the files of the process that publishes.

        Raises:
            SpecError: `staging` says tables, and the database has none for that.
        """
        if self.staging == "parts" or (self.staging == "auto" and (shares_files or shards > MAX_STAGES)):
            return False
        has_tables = resolve_uri(self.uri).kind == "postgresql"
        if self.staging == "tables" and not has_tables:
            raise SpecError(f'{self.label}: staging="tables" is for PostgreSQL; say "parts", or leave it out')
        return has_tables

    @property
    def spec(self) -> WriteSpec:
        """How the table is written."""
        from zoopipe_core.adapters.sql_form import WriteSpec

        return WriteSpec(
            self.mode,
            tuple(self.key),
            self.on_duplicate,
            self.on_drift,
            self.create_table,
            tuple(self.pre_sql),
            tuple(self.post_sql),
        )

    def resolve(self) -> tuple[DatabaseURL, TableName]:
        """The database, whose URL may be secret, and the table.

        Raises:
            SpecError: the table's name is too long.
            DatabaseConnectionError: the callable that gives the URL raised.
        """
        url, table = resolve_uri(self.uri), parse_table_name(self.table_name)
        check_length(table, url.name_limit)
        return url, table


_CHOICES: dict[str, tuple[str | None, ...]] = {
    "mode": MODES,
    "on_duplicate": ("fail", "first", "last"),
    "on_drift": (None, "evolve", "fail", "ignore"),
    "create_table": ("auto", "never"),
    "staging": ("auto", "parts", "tables"),
}


def _key(names: Any) -> tuple[str, ...]:
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"key has to be a list of columns, as in ['id'], not {names!r}")
    if len(set(names)) != len(names):
        raise SpecError(f"key names a column twice: {names!r}")
    return tuple(names)
