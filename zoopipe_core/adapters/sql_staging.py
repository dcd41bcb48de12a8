"""Tables in which the shards of a load leave their rows until it is published, on PostgreSQL.

    _zoopipe_stage_<target>_<owner>_<shard>_<attempt>

They are UNLOGGED, lie in the schema of the target, and tell by their names whose they are: `target` is a hash of its
name, `owner` the name of one run of a load. While that run lives, its coordinator has an advisory lock of that name,
which ends with its session, however that ends. So a table whose lock nobody has is left over from a load that is dead,
and the next load into the same target removes it. A shard looks for the lock before it commits: one that outlives
its load leaves nothing. A shard that dies leaves nothing either, since its table was never committed.

What a table holds is noted in its comment: the columns of the rows, what became of them, and how many rows there are.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from zoopipe_core.adapters.sql_columns import TargetColumn
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_names import TableName, quote
from zoopipe_core.adapters.sql_select import Select
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import DatabaseConnectionError, DatabaseError, TargetError

__all__ = [
    "SHARD_ROWS",
    "Stage",
    "StageColumn",
    "StageNote",
    "StageOwner",
    "check_stageable",
    "find_stages",
    "lock_key",
    "read_stage",
    "remove_dead",
    "write_note",
]

logger = logging.getLogger(__name__)

SHARD_ROWS = 2**40
"""The places of the rows of one shard begin so many after those of the one before."""

_PREFIX = "_zoopipe_stage_"
_NAME = re.compile(_PREFIX + r"[0-9a-f]{10}_([0-9a-f]{16})_(\d{5,})_(\d+)")
_NOTE = "rows of a load: "
_LOCK_SECONDS = 1


@dataclass(frozen=True, slots=True)
class StageColumn:
    """A column of the rows as a staging table has it.

    Attributes:
        name, type_name: in the database.
        given: the plain type of the values.
        open: there is no value in it, and nothing has decided its type.
    """

    name: str
    type_name: str
    given: pa.DataType
    open: bool


@dataclass(frozen=True, slots=True)
class StageNote:
    """What a staging table holds.

    Attributes:
        rows: how many.
        types: the columns of the rows, as the writer was started with them.
        columns: those of the table, by the names that they have in the rows.
    """

    rows: int
    types: Mapping[str, ColumnType]
    columns: Mapping[str, StageColumn]

    @classmethod
    def of(cls, rows: int, types: Mapping[str, ColumnType], columns: Mapping[str, TargetColumn]) -> StageNote:
        """The note of a table that was filled."""
        staged = {name: StageColumn(c.name, c.type_name, c.given, c.open) for name, c in columns.items()}
        return cls(rows, dict(types), staged)

    def dump(self) -> str:
        """As a text of plain characters."""
        fields = [
            pa.field(name, kind.arrow, kind.nullable, {"place": "row", "open_zone": str(int(kind.open_zone))})
            for name, kind in self.types.items()
        ]
        fields += [
            pa.field(
                name,
                column.given,
                metadata={
                    "place": "table",
                    "name": column.name,
                    "type_name": column.type_name,
                    "open": str(int(column.open)),
                },
            )
            for name, column in self.columns.items()
        ]
        schema = pa.schema(fields, {"rows": str(self.rows)})
        return base64.b64encode(schema.serialize().to_pybytes()).decode()

    @classmethod
    def load(cls, text: str) -> StageNote:
        """The inverse of `dump`."""
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))
        types: dict[str, ColumnType] = {}
        columns: dict[str, StageColumn] = {}
        for field in schema:
            told = {key.decode(): value.decode() for key, value in field.metadata.items()}
            if told["place"] == "row":
                types[field.name] = ColumnType(field.type, field.nullable, told["open_zone"] == "1")
            else:
                columns[field.name] = StageColumn(told["name"], told["type_name"], field.type, told["open"] == "1")
        return cls(int(schema.metadata[b"rows"]), types, columns)


@dataclass(frozen=True, slots=True)
class StageOwner:
    """One run of a load in shards.

    Attributes:
        name: 16 hexadecimal digits, random.
    """

    name: str

    @property
    def lock(self) -> str:
        """The name of the lock that its coordinator has."""
        return f"stage {self.name}"

    def stage(self, target: TableName, shard: int, attempt: int) -> TableName:
        """The name of the table for one try of one shard.

        >>> StageOwner("0123456789abcdef").stage(TableName("users", "public"), 3, 1).table
        '_zoopipe_stage_a4a65a599f_0123456789abcdef_00003_1'

        Args:
            target: the full name of the target.
            shard: its place, from 0.
            attempt: from 1.
        """
        return TableName(f"{_prefix(target)}{self.name}_{shard:05d}_{attempt}", target.schema)

    def gathered(self, target: TableName) -> TableName:
        """The name of a table of which all staging tables of the run are parts; it is never committed."""
        return TableName(f"{_prefix(target)}{self.name}", target.schema)

    def hold(self, database: Database) -> None:
        """Take the lock, which is kept until the connection is closed or lost; commits.

        A machine that went away is noticed after a minute, and a server lets go of no connection for being idle.
        """
        database.execute(
            "SELECT count(set_config(name, CASE name WHEN 'tcp_keepalives_idle' THEN '30' WHEN"
            " 'tcp_keepalives_interval' THEN '10' WHEN 'tcp_keepalives_count' THEN '3' ELSE '0' END, false))"
            " FROM pg_catalog.pg_settings WHERE name IN ('tcp_keepalives_idle', 'tcp_keepalives_interval',"
            " 'tcp_keepalives_count', 'idle_session_timeout', 'idle_in_transaction_session_timeout')"
        )
        database.execute(f"SELECT pg_advisory_lock({lock_key(self.lock)})")
        database.commit()

    def lives(self, database: Database) -> bool:
        """Whether somebody else has the lock; within a transaction."""
        return not database.try_lock(self.lock, exclusive=False)

    def remove(self, database: Database, target: TableName) -> None:
        """Remove all staging tables of the run; the caller commits.

        Raises:
            DatabaseError: one cannot be removed.
        """
        for table, owner, _, _, _ in _listed(database, target):
            if owner == self:
                database.execute(f"DROP TABLE IF EXISTS {table.sql}")


@dataclass(frozen=True, slots=True)
class Stage:
    """A staging table that is there.

    Attributes:
        table: its full name.
        owner: the run of the load that it is part of.
        shard, attempt: whose rows it holds, and of which try.
        note: what it holds.
    """

    table: TableName
    owner: StageOwner
    shard: int
    attempt: int
    note: StageNote


def lock_key(name: str) -> int:
    """The number by which PostgreSQL knows a lock."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little", signed=True)


def _prefix(target: TableName) -> str:
    digest = hashlib.blake2b(target.table.encode(), digest_size=5).hexdigest()
    return f"{_PREFIX}{digest}_"


def _listed(database: Database, target: TableName) -> Iterator[tuple[TableName, StageOwner, int, int, str]]:
    """The staging tables of a target: name, owner, shard, attempt, comment."""
    prefix = _prefix(target)
    rows = database.execute(
        "SELECT c.relname::text, coalesce(obj_description(c.oid, 'pg_class'), '') FROM pg_catalog.pg_class c"
        " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1::text AND c.relkind = 'r'"
        " AND c.relpersistence = 'u' AND c.relname >= $2::text::name AND c.relname < $3::text::name ORDER BY 1",
        [target.schema, prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1)],
    )
    for name, comment in rows:
        match = _NAME.fullmatch(name)
        # A table of somebody else's that happens to have such a name has no such comment.
        if match is not None and comment.startswith(_NOTE):
            owner, shard, attempt = match.groups()
            yield (
                TableName(name, target.schema),
                StageOwner(owner),
                int(shard),
                int(attempt),
                comment.removeprefix(_NOTE),
            )


def find_stages(database: Database, target: TableName, owner: StageOwner) -> list[Stage]:
    """The staging tables of a run, by shard and attempt.

    Args:
        database: that holds them.
        target: the full name of the target.
        owner: the run.
    """
    found = [
        Stage(table, run, shard, attempt, StageNote.load(note))
        for table, run, shard, attempt, note in _listed(database, target)
        if run == owner
    ]
    return sorted(found, key=lambda stage: (stage.shard, stage.attempt))


def write_note(database: Database, table: TableName, note: StageNote) -> None:
    """Note what a table holds."""
    database.execute(f"COMMENT ON TABLE {table.sql} IS '{_NOTE}{note.dump()}'")


def remove_dead(database: Database, target: TableName) -> int:
    """Remove the staging tables of loads into `target` that are dead, in a transaction of its own.

    What cannot be removed, since it belongs to another user or is being looked at, is logged and stays.

    Args:
        database: outside of a transaction.
        target: its full name.

    Returns:
        How many there were.
    """
    removed = 0
    found = [(table, owner) for table, owner, _, _, _ in _listed(database, target)]
    for table, owner in found:
        try:
            database.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
            if not owner.lives(database):
                database.execute(f"DROP TABLE IF EXISTS {table.sql}")
                removed += 1
            database.commit()
        except DatabaseConnectionError:
            raise
        except DatabaseError as error:
            database.rollback()
            logger.warning("%s, left by a load that is dead, cannot be removed: %s", table, error)
    if removed:
        logger.info("%d staging tables of loads into %s that are dead were removed", removed, target)
    return removed


def check_stageable(database: Database, target: TableName) -> None:
    """Make sure that this user may make tables beside the target.

    Raises:
        TargetError: not so.
    """
    try:
        database.check_writable(TableName(_PREFIX, target.schema), None)
    except TargetError as error:
        raise type(error)(
            f'{error}\n  The shards of this load put their rows into tables beside {target}; with staging="parts" they '
            "put them into files, and need no table of their own."
        ) from error


def read_stage(database: Database, stage: Stage, row_column: str | None, batch_size: int) -> Iterator[pa.RecordBatch]:
    """The rows of a staging table in their order, with the columns' names in the rows.

    Args:
        database: another connection than that which publishes.
        stage: the table.
        row_column: the column of the rows' places, which is left out; None: there is none.
        batch_size: rows of a batch.
    """
    columns = stage.note.columns.items()
    shown = ", ".join(f"{quote(column.name)} AS {quote(name)}" for name, column in columns)
    order = "" if row_column is None else f" ORDER BY {quote(row_column)}"
    result = database.select(Select(f"SELECT {shown} FROM {stage.table.sql}{order}"), batch_size)  # noqa: S608  quoted
    for batch in result.batches():
        arrays = [
            array if column.decode is None else column.decode(array).array
            for column, array in zip(result.columns, batch.columns, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(arrays, names=[column.name for column in result.columns])
