"""Tables and queries in parts: ranges of a key, or of the places of rows in a PostgreSQL table.

    min 1                                max 4,000,000
    |  or NULL     |              |              |        key < 1000000 OR key IS NULL, key >= 1000000 AND ...

The first row of each part has the number that it has if the parts are read one after the other; so the rows of each are
counted, many at a time if there is somebody to do so.
"""

from __future__ import annotations

import copy
import datetime as dt
import weakref
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from zoopipe_core.adapters.base import DEFAULT_BATCH_SIZE, InputAdapter, Reader, ReadRequest, Scan, Split
from zoopipe_core.adapters.splitting import why_fewer
from zoopipe_core.adapters.sql import SQLInputAdapter
from zoopipe_core.adapters.sql_connect import connect, resolve_uri
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_literals import EPOCH, step_literal, step_sql
from zoopipe_core.adapters.sql_names import quote, show_names
from zoopipe_core.adapters.sql_reader import SQLReader
from zoopipe_core.adapters.sql_select import KeyRange, Select
from zoopipe_core.errors import SourceError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_increment import Increment
    from zoopipe_core.adapters.sql_window import Window

__all__ = ["SQLPart", "split_sql"]

# The first release that reads a range of places without reading all of the table.
POSTGRESQL_WITH_RANGES = 140_000


class Holder:
    """Keeps a connection open for as long as somebody refers to it: on a server, what it sees stays to be read."""

    def __init__(self, database: Database) -> None:
        self.close = weakref.finalize(self, database.close)


@dataclass(frozen=True, repr=False)
class SQLPart(InputAdapter):
    """Some rows of a table or query.

    Args:
        adapter: the whole input.
        range: which rows.
        state: the state of the database to read.
        first_row: the number of the first of them in the whole.
        types: the types of the whole's columns, for a database that has none that it holds to.
        window: which of the rows are new; None: all.
    """

    adapter: SQLInputAdapter
    range: KeyRange
    state: str
    first_row: int = 1
    types: dict[str, pa.DataType] | None = field(default=None, hash=False)
    window: Window | None = field(default=None, repr=False, compare=False)
    _holder: Holder | None = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        return f"SQLPart({self.adapter!r}, {self.range!r}, first_row={self.first_row})"

    @property
    def label(self) -> str:
        return self.adapter.label

    def select(self, request: ReadRequest) -> Select:
        """What has to be read."""
        return replace(self.adapter.select(request), range=self.range, types=self.types)

    def open(self, request: ReadRequest) -> Reader:
        """As the whole.

        Raises:
            SourceError: as the whole; also if the state that was split is no longer to be had.
        """
        database = connect(resolve_uri(self.adapter.uri), read_only=True)
        window = copy.deepcopy(self.window)  # a part may be read again
        if window is not None and request.columns is not None:
            request = replace(request, columns=request.columns | window.columns)
        select, size = self.select(request), request.batch_size
        return SQLReader(
            database, lambda: database.select(select, size), size, self.label, self.first_row, self.state, window
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_holder": None}


def split_sql(adapter: SQLInputAdapter, count: int, scan: Scan, increment: Increment | None = None) -> Split:
    """The input in at most `count` ranges of its key.

    Args:
        adapter: the whole input.
        count: how many ranges.
        scan: as for `InputAdapter.split`.
        increment: what of the input is new, and all that is read.

    Raises:
        SourceError: the database cannot be read, or the key is not there, or of a type without ranges.
    """
    database = connect(resolve_uri(adapter.uri), read_only=True)
    holder = Holder(database)
    try:
        state, mark, window = database.export_state(), None, None
        if increment is not None:
            adapter, window, mark = increment.narrow(adapter, database)
        ranges, types, reason = _ranges(adapter, database, count)
        if database.url.kind != "postgresql":
            holder.close()  # being open does not keep a file from changing
        parts = [SQLPart(adapter, one, state, 1, types, window, holder) for one in ranges]
        sizes = scan(count_rows, parts) if len(parts) > 1 else []
    except BaseException:
        holder.close()
        raise
    firsts = accumulate(sizes, initial=1)
    filled = [replace(part, first_row=first) for part, first, size in zip(parts, firsts, sizes, strict=False) if size]
    note = why_fewer(adapter.label, max(len(filled), 1), count, [reason] if reason else [])
    if window is not None and len(filled) < 2:
        filled = [SQLPart(adapter, KeyRange(None), state, 1, None, window, holder)]
    elif len(filled) < 2:
        holder.close()
        return Split((adapter,), note)
    return Split(tuple(filled), note, holder.close, mark)


def count_rows(part: SQLPart) -> int:
    """How many rows a part has.

    Raises:
        SourceError: the database cannot be read, or not in that state.
    """
    with closing(connect(resolve_uri(part.adapter.uri), read_only=True)) as database:
        database.enter_state(part.state)
        rows = part.select(ReadRequest()).end(lambda column: "ctid" if column is None else quote(column))
        sql = f"SELECT count(*) FROM {part.adapter.source_sql(database)}{rows}"  # noqa: S608  quoted
        return int(database.execute(sql)[0][0])


def _ranges(
    adapter: SQLInputAdapter, database: Database, count: int
) -> tuple[list[KeyRange], dict[str, pa.DataType] | None, str | None]:
    """The ranges, the types that their readers need to know, and why there are not as many as wanted."""
    if adapter.limit is not None:
        return [], None, f"it is read only up to limit={adapter.limit:,}"
    if adapter.partition_column is not None:
        return _key_ranges(adapter, adapter.partition_column, database, count)
    if database.url.kind == "postgresql" and adapter.table_name is not None:
        ranges, reason = _place_ranges(adapter, database, count)
        return ranges, None, reason
    return [], None, "name a partition_column= of integers, dates or timestamps, by which it can be split"


# ---- ranges of a key ------------------------------------------------------------------------------------------------


def _key_ranges(
    adapter: SQLInputAdapter, column: str, database: Database, count: int
) -> tuple[list[KeyRange], dict[str, pa.DataType] | None, str | None]:
    result = database.select(adapter.select(ReadRequest()), DEFAULT_BATCH_SIZE)
    types = {name: kind.arrow for name, kind in result.all_types.items()}
    if column not in types:
        raise SourceError(f"{adapter.label} has no column {column!r} to split by; it has {show_names(list(types))}")
    if column in result.duplicates:
        raise SourceError(f"{adapter.label} has the column {column!r}, by which to split it, more than once")
    kind = types[column]
    is_moment = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if not is_moment and not pa.types.is_integer(kind):
        raise SourceError(
            f"{adapter.label} cannot be split by the column {column!r} of type {kind}: partition_column has to be a "
            "column of integers, dates or timestamps"
        )
    given_types = types if database.url.kind == "sqlite" else None
    key, finite = quote(column), ""
    if is_moment and database.url.kind != "sqlite":
        finite = f" FILTER (WHERE isfinite({key}))"
        key = step_sql(kind, key, database.url.kind)
    rows = adapter.select(ReadRequest()).end(lambda name: quote(name or ""))
    sql = f"SELECT min({key}){finite}, max({key}){finite} FROM {adapter.source_sql(database)}{rows}"  # noqa: S608  quoted
    try:
        low, high = (_number(kind, value) for value in database.execute(sql)[0])
        if low is None or high is None:
            return [], given_types, f"its column {column!r} has no values"
        bounds = sorted({low + (high - low + 1) * part // count for part in range(1, count)} - {low})
        texts = [step_literal(kind, bound, database.url.kind) for bound in bounds]
    except (ValueError, OverflowError) as error:
        return [], given_types, f"its column {column!r} has values that cannot be computed with: {error}"
    reason = f"its column {column!r} is not spread evenly, or has few values"
    ranges = [KeyRange(column, low, high, low is None) for low, high in pairwise([None, *texts, None])]
    return ranges, given_types, reason


def _number(kind: pa.DataType, value: Any) -> int | None:
    """A key as an integer."""
    if not isinstance(value, str):
        return None if value is None else int(value)
    moment = dt.datetime.fromisoformat(value)
    if moment.tzinfo is not None:
        moment = moment.astimezone(dt.UTC).replace(tzinfo=None)
    elapsed = moment - EPOCH
    return elapsed.days if pa.types.is_date(kind) else elapsed // dt.timedelta(microseconds=1)


# ---- places of rows -------------------------------------------------------------------------------------------------


def _place_ranges(adapter: SQLInputAdapter, database: Database, count: int) -> tuple[list[KeyRange], str | None]:
    """Ranges of ``ctid``, for a PostgreSQL table that has its rows in pages of its own."""
    name = adapter.source_sql(database)
    is_plain, pages, version = database.execute(
        "SELECT c.relkind = 'r' AND NOT c.relhassubclass AND a.amname = 'heap',"
        " pg_relation_size(c.oid) / current_setting('block_size')::bigint, current_setting('server_version_num')::int"
        " FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam"
        " WHERE c.oid = to_regclass($1::text)",
        [name],
    )[0]
    if not is_plain:
        return [], "it is no plain table: name a partition_column= by which it can be split"
    if version < POSTGRESQL_WITH_RANGES:
        return [], "PostgreSQL before 14 cannot read a range of places: name a partition_column="
    texts = [f"'({page},0)'::tid" for page in sorted({pages * part // count for part in range(1, count)} - {0})]
    reason = f"it has only {pages:,} pages" if pages < count else "some of its pages have no rows"
    return [KeyRange(None, low, high) for low, high in pairwise([None, *texts, None])], reason
