"""Writing a table: gathered, counted, and visible all at once.

    new table            created and filled within the transaction; nobody sees it before the commit
    append               filled in place; the commit shows the rows
    replace, same form   old rows deleted, new ones filled in: grants, indexes and views stay, readers see the old rows
    replace, other form  filled into a temporary table; dropped, created and copied at the end, since from the drop on
                         PostgreSQL would let nobody read

SQLite always takes the temporary table, and copies when it publishes: it locks the whole file for one writer, and
rows and rejects of one load may go into the same file.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.base import Writer
from zoopipe_core.adapters.sql_database import Database, ExistingColumn, ExistingTable
from zoopipe_core.adapters.sql_names import TableName, check_columns, quote, show_names
from zoopipe_core.adapters.sql_types import AWARE, NAIVE, Fit, first_misfit, fit, plain
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    DatabaseConnectionError,
    TableExistsError,
    TableMismatchError,
    TargetError,
    UnsupportedTypeError,
    UnsupportedValueError,
)

__all__ = ["SQLWriter"]

CHUNK_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class _Column:
    """A column to write.

    Attributes:
        type_name: its type in the database.
        given: the plain type of the values.
        fit: how they go into it.
        open: no value has decided yet what the column holds, nor has the model.
    """

    name: str
    type_name: str
    nullable: bool
    given: pa.DataType
    fit: Fit
    open: bool = False


class SQLWriter(Writer):
    """Writes one table over one connection.

    Args:
        connect: opens the database.
        table, mode, label: as the adapter says.

    Raises:
        TargetError, DatabaseConnectionError: see `OutputAdapter.open`.
    """

    def __init__(self, connect: Callable[[], Database], table: TableName, mode: str, label: str) -> None:
        self._mode = mode
        self._label = label
        self._database = connect()
        self._state = "open"
        self._columns: dict[str, _Column] = {}
        self._created = False
        self._chunk: list[pa.RecordBatch] = []
        self._chunk_rows = self._chunk_bytes = 0
        self._flusher: ThreadPoolExecutor | None = None
        self._flushing: Future[int] | None = None
        self._given_rows = self._taken_rows = self._bytes = 0
        try:
            if not self._database.stages:
                self._database.begin()
            self._existing = self._database.find(table)
            self._check_existing()
            self._table = self._database.check_writable(table, self._existing)
        except BaseException:
            self._database.close()
            raise

    @property
    def bytes_written(self) -> int:
        return self._bytes

    # ---- columns ----------------------------------------------------------------------------------------------

    def _check_existing(self) -> None:
        if self._existing is None:
            return
        if self._mode == "fail":
            raise TableExistsError(
                f'{self._label} exists and mode="fail" forbids touching it; use mode="append" or "replace", or drop it'
            )
        if self._existing.is_view:
            raise TableMismatchError(f"{self._label} is a view; a load writes into a table: name another one")

    def start(self, types: Mapping[str, ColumnType]) -> None:
        database = self._database
        if not types:
            raise TargetError(f"{self._label} cannot be a table without columns: no row came and no model names any")
        check_columns(types, limit=database.url.name_limit, ignore_case=database.ignores_case)
        given = {name: self._plain(name, column) for name, column in types.items()}
        fresh = {name: self._fresh(name, column, given[name]) for name, column in types.items()}
        self._keeps_table = self._existing is not None and (
            self._mode == "append" or self._is_same(self._existing, fresh)
        )
        if self._keeps_table and self._existing is not None:
            self._columns = self._matched(self._existing, fresh)
        else:
            self._columns = fresh
        self._staging = None
        if database.stages or (self._existing is not None and not self._keeps_table):
            self._staging = TableName(f"_zoopipe_{secrets.token_hex(8)}")

    def _plain(self, name: str, column: ColumnType) -> pa.DataType:
        kind = plain(column.arrow)
        if kind is None or self._database.type_name(kind) is None:
            raise UnsupportedTypeError(
                f"the column {name!r} is of type {column.arrow}, for which {self._database.url.kind} has no column "
                f"type ({self._label}); turn it into JSON text, or leave it out"
            )
        return kind

    def _fresh(self, name: str, column: ColumnType, given: pa.DataType) -> _Column:
        """The column as a new table has it."""
        type_name = self._database.type_name(given)
        assert type_name is not None
        way = fit(given, self._database.parse_type(type_name))
        if way is None:
            raise UnsupportedTypeError(f"the column {name!r} of type {column.arrow} does not go into {type_name}")
        is_open = column.open_zone or pa.types.is_null(given)
        return _Column(name, type_name, column.nullable, given, way, is_open)

    def _is_same(self, existing: ExistingTable, fresh: Mapping[str, _Column]) -> bool:
        """Whether a table that is to be replaced has just these columns already."""
        if {column.name for column in existing.columns} != set(fresh):
            return False
        return all(
            self._same_type(column, fresh[column.name])
            and not column.computed
            and (column.nullable or not fresh[column.name].nullable)
            for column in existing.columns
        )

    def _same_type(self, column: ExistingColumn, new: _Column) -> bool:
        if new.open and pa.types.is_timestamp(new.given):
            return column.type.arrow in (NAIVE, AWARE)
        # Of a column without any value so far it is not known what it will need.
        return column.type.name == new.type_name and not new.open

    def _matched(self, existing: ExistingTable, fresh: Mapping[str, _Column]) -> dict[str, _Column]:
        """The columns as the existing table has them, matched by name."""
        fold = str.lower if self._database.ignores_case else str
        known = {fold(column.name): column for column in existing.columns}
        extra = [name for name in fresh if fold(name) not in known]
        if extra:
            raise TableMismatchError(
                f"{self._label} has no column {', '.join(map(repr, extra))}; it has "
                f"{show_names(column.name for column in existing.columns)}.\n"
                '  Add the column to the table, drop it from the rows, or use mode="replace".'
            )
        given = {fold(name) for name in fresh}
        for column in existing.columns:
            if fold(column.name) not in given and not column.nullable and not column.fills_itself:
                raise TableMismatchError(
                    f"{self._label} has the column {column.name!r}, which is NOT NULL and has no default, but the rows "
                    "do not have it; add it to them, or give it a default"
                )
        return {name: self._into(known[fold(name)], column) for name, column in fresh.items()}

    def _into(self, column: ExistingColumn, new: _Column) -> _Column:
        given = new.given
        if new.open and pa.types.is_timestamp(given) and column.type.arrow in (NAIVE, AWARE):
            given = column.type.arrow
        way = None if column.computed else fit(given, column.type)
        if way is None:
            what = "is computed by the database" if column.computed else f"is of type {column.type.name}"
            raise TableMismatchError(
                f"the column {column.name!r} of {self._label} {what} and does not take {new.type_name} without loss; "
                'change the field or the table, or use mode="replace"'
            )
        return _Column(column.name, column.type.name, column.nullable, given, way)

    # ---- rows -------------------------------------------------------------------------------------------------

    def write(self, batch: ModelBatch) -> None:
        unknown = [name for name in batch.columns if name not in self._columns]
        if unknown:
            raise TargetError(
                f"the rows have columns that the first ones had not, and {self._label} was begun without them: "
                f"{show_names(unknown)}; name them in the model, or in the hook's `adds`"
            )
        if batch.num_rows:
            self._settle(batch)
            self._hold(self._record(batch))

    def encode(self, batch: ModelBatch) -> ModelBatch | pa.RecordBatch:
        """The rows as the table takes them, once that is settled."""
        if any(column.open for column in self._columns.values()) or batch.columns.keys() - self._columns.keys():
            return batch
        return self._record(batch)

    def write_encoded(self, encoded: Any) -> None:
        if isinstance(encoded, ModelBatch):
            self.write(encoded)
        else:
            self._hold(encoded)

    def _record(self, batch: ModelBatch) -> pa.RecordBatch:
        arrays = [self._array(batch, name, column) for name, column in self._columns.items()]
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in self._columns.values()])

    def _hold(self, record: pa.RecordBatch) -> None:
        if self._chunk and record.schema != self._chunk[0].schema:
            self._flush()
        self._given_rows += record.num_rows
        while record.num_rows:
            # Never more than the database asks for.
            piece = record.slice(0, self._database.chunk_rows - self._chunk_rows)
            record = record.slice(piece.num_rows)
            self._chunk.append(piece)
            self._chunk_rows += piece.num_rows
            self._chunk_bytes += piece.nbytes
            if self._chunk_rows == self._database.chunk_rows or self._chunk_bytes >= CHUNK_BYTES:
                self._flush()

    def _settle(self, batch: ModelBatch) -> None:
        """Let the first values of columns that are still open decide what those hold."""
        for name, column in self._columns.items():
            if not column.open or name not in batch.columns:
                continue
            source = batch.columns[name]
            known = source.type.resolved(source.values) if source.type.open_zone else source.type
            if known.open_zone or pa.types.is_null(known.arrow):
                continue
            settled = replace(self._fresh(name, known, self._plain(name, known)), nullable=column.nullable)
            if settled.type_name != column.type_name and self._created:
                self._flush()
                self._await_flush()
                self._database.alter_type(self._staging or self._table, column.name, settled.type_name)
            self._columns[name] = settled

    def _array(self, batch: ModelBatch, name: str, column: _Column) -> pa.Array:
        wanted = ColumnType(column.fit.arrow)
        if name not in batch.columns:
            array = wanted.to_array([None] * batch.num_rows)
        else:
            array = batch.array(name, wanted)
        misfit = first_misfit(array, column.fit.max_length) or self._database.check_value(array)
        if misfit is not None:
            index, why = misfit
            row = f"row {batch.rows[index]:,} of {batch.source}" if batch.rows[index] else "a row that a hook added"
            shown = _shown(array.slice(index, 1))
            raise UnsupportedValueError(
                f"column {name!r}, {row}: the value {shown[:80]}{'...' if len(shown) > 80 else ''}: {why}"
            )
        return array if column.fit.encode is None else column.fit.encode(array)

    def _flush(self) -> None:
        """Let the database take what was gathered, while the load goes on; one chunk at a time."""
        chunk, self._chunk = self._chunk, []
        if not chunk:
            return
        self._await_flush()
        self._create()
        target, temporary = self._staging or self._table, self._staging is not None
        if self._database.any_thread:
            self._flusher = self._flusher or ThreadPoolExecutor(1, "zoopipe-sql")
            self._flushing = self._flusher.submit(self._database.ingest, target, chunk, temporary=temporary)
        else:
            self._taken_rows += self._database.ingest(target, chunk, temporary=temporary)
        self._bytes += self._chunk_bytes
        self._chunk_rows = self._chunk_bytes = 0

    def _await_flush(self) -> None:
        flushing, self._flushing = self._flushing, None
        if flushing is not None:
            self._taken_rows += flushing.result()

    def _end_flushing(self) -> None:
        """Nothing is under way any more, whatever became of it."""
        self._flushing = None
        if self._flusher is not None:
            self._flusher.shutdown(wait=True, cancel_futures=True)
            self._flusher = None

    # ---- tables -----------------------------------------------------------------------------------------------

    def _create(self) -> None:
        """Make the table that rows go into; done once, and as late as possible."""
        if self._created:
            return
        if self._staging is not None:
            columns = [replace(column, nullable=True) for column in self._columns.values()]
            self._database.execute(f"CREATE TEMPORARY TABLE {self._staging.sql} ({self._definitions(columns)})")
        else:
            self._make_target()
        self._created = True

    def _make_target(self) -> None:
        """Bring the target into the state in which the new rows can be put into it."""
        database, table = self._database, self._table
        if self._existing is not None and self._mode == "replace":
            database.lock_for_replacing(table)
            statement = "DELETE FROM" if self._keeps_table else "DROP TABLE"
            database.execute(f"{statement} {table.sql}")
        if not self._keeps_table:
            database.execute(f"CREATE TABLE {table.sql} ({self._definitions(list(self._columns.values()))})")

    @staticmethod
    def _definitions(columns: list[_Column]) -> str:
        return ", ".join(f"{quote(c.name)} {c.type_name}{'' if c.nullable else ' NOT NULL'}" for c in columns)

    def _copy(self) -> None:
        """Put the staged rows into the target."""
        assert self._staging is not None
        database = self._database
        now = database.find(self._table)
        if (now is None) != (self._existing is None) or (now is not None and now != self._existing):
            kind = TableExistsError if self._existing is None and self._mode == "fail" else TableMismatchError
            raise kind(f"{self._label} was created, dropped or altered by somebody else during the load; run it again")
        self._make_target()
        names = ", ".join(quote(column.name) for column in self._columns.values())
        staged = f"temp.{self._staging.sql}" if database.url.kind == "sqlite" else self._staging.sql
        copied = database.insert(f"INSERT INTO {self._table.sql} ({names}) SELECT {names} FROM {staged}")  # noqa: S608
        self._check_counts(copied)
        database.execute(f"DROP TABLE {staged}")

    def _check_counts(self, counted: int) -> None:
        if not self._given_rows == self._taken_rows == counted:
            raise TargetError(
                f"{self._given_rows:,} rows were given to {self._label}, the database took {self._taken_rows:,} and "
                f"holds {counted:,} of them (does a trigger drop some?); nothing was published"
            )

    # ---- the end ----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        if self._state != "open":
            return
        self._flush()
        self._await_flush()
        self._end_flushing()
        self._create()
        self._check_counts(self._count())
        if self._staging is not None and not self._database.stages:
            self._copy()
        self._state = "prepared"

    def _count(self) -> int:
        """How many of the rows that were given the database holds by now."""
        if self._staging is not None or not self._keeps_table:
            filled = self._staging or self._table
            return int(self._database.execute(f"SELECT count(*) FROM {filled.sql}")[0][0])  # noqa: S608  quoted
        triggered = self._existing is not None and self._existing.has_triggers
        counted = self._database.count_inserted(self._table) if triggered else None
        return self._taken_rows if counted is None else counted

    def publish(self) -> None:
        if self._state == "published":
            return
        self.prepare()
        if self._database.stages:
            self._database.begin()
            self._copy()
        self._database.commit()
        self._state = "published"
        self._database.close()

    def abort(self) -> None:
        if self._state in ("published", "aborted"):
            return
        self._state = "aborted"
        self._chunk = []
        self._end_flushing()
        try:
            self._database.rollback()
        except DatabaseConnectionError:
            # Where the connection is gone, the server has rolled back by itself.
            self._chunk_rows = 0
        finally:
            self._database.close()


def _shown(one: pa.Array) -> str:
    """The cell of an array of one, which may be none that Python could hold."""
    if isinstance(one.type, pa.BaseExtensionType):
        one = one.storage
    return repr(one.cast(pa.string())[0].as_py()) if pa.types.is_temporal(one.type) else repr(one[0].as_py())
