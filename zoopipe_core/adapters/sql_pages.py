"""Reading a table or a query page by page, in the order of a unique key.

    SELECT ... ORDER BY key LIMIT 50001                      -> 50,000 rows, the last one has the key 81734
    SELECT ... WHERE key > 81734 ORDER BY key LIMIT 50001    -> ...

Each page is a statement and a transaction of its own, so the database has nothing to keep for a reader that takes
hours. A page asks for one row more than it gives: so two rows of one key are seen even at its border.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Scan, Split, scan_here
from zoopipe_core.adapters.splitting import why_fewer
from zoopipe_core.adapters.sql_connect import connect, resolve_uri
from zoopipe_core.adapters.sql_database import Database, ResultSet
from zoopipe_core.adapters.sql_literals import literal
from zoopipe_core.adapters.sql_names import parse_table_name, quote, show_names
from zoopipe_core.adapters.sql_reader import SQLReader
from zoopipe_core.adapters.sql_select import Page
from zoopipe_core.adapters.sql_source import SQLSource
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceError, SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_window import Window

__all__ = ["SQLPaginationInputAdapter"]

Literals = tuple[str, ...]


@dataclass(frozen=True, repr=False)
class SQLPaginationInputAdapter(SQLSource):
    """Rows of a table or a query, in pages by a unique key, each of them a short statement of its own.

    For sources that are read for long, or by way of a connection that does not last: nothing is open between two pages.
    In return the rows are not of one moment. A row that is there all the while, with one key, is read once; one that is
    added, removed or changed meanwhile is read as it is, or not, when its place is reached.

    Args:
        uri, query, table_name: as for `SQLInputAdapter`. A query is run for each page anew: it should be a plain one,
            whose conditions an index serves.
        key: the column, or columns, whose values together no two rows share, such as the primary key. They hold no
            NULL, and are integers, decimals, texts, dates, timestamps or UUIDs; in SQLite integers, texts or bytes.
            There should be an index on them, in this order.
        page_size: rows of a page.
        start_after: begin behind the row of this key: a value, or a tuple of one for each column.
        limit: read no more than so many rows.
        watermark: of these, read only rows that are new since the last load into the same target.

    >>> SQLPaginationInputAdapter("sqlite:///app.db", table_name="events", key="id", start_after=1000)
    SQLPaginationInputAdapter('sqlite:///app.db', table_name='events', key=('id',), start_after=(1000,))

    Raises:
        SpecError: an argument is out of range.
    """

    key: str | Sequence[str] = field(kw_only=True)
    page_size: int = field(default=50_000, kw_only=True)
    start_after: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        key = tuple(self.key) if isinstance(self.key, list | tuple) else (self.key,)
        if not key or not all(isinstance(name, str) and name for name in key) or len(set(key)) < len(key):
            raise SpecError(f'key has to be a column, or a list of different ones, as in "id", not {self.key!r}')
        object.__setattr__(self, "key", key)
        if not isinstance(self.page_size, int) or isinstance(self.page_size, bool) or self.page_size < 1:
            raise SpecError(f"page_size has to be a number of rows of at least 1, not {self.page_size!r}")
        if self.start_after is not None:
            values = self.start_after if isinstance(self.start_after, tuple | list) else (self.start_after,)
            if len(values) != len(key) or any(value is None for value in values):
                raise SpecError(
                    f"start_after has to be a value for each column of the key, {show_names(key)}, not {values!r}"
                )
            object.__setattr__(self, "start_after", tuple(values))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the key."""
        return tuple(self.key)

    def reader(self, database: Database, request: ReadRequest, window: Window | None) -> Reader:
        """Look at the first page.

        Raises:
            SourceError: as `SQLInputAdapter`; also if a row has no key, or the key is of a type without an order. While
                reading: two rows have the same key.
        """
        return self.between(database, request, None, None, 1, window)

    def between(
        self,
        database: Database,
        request: ReadRequest,
        after: Literals | None,
        upto: Literals | None,
        first_row: int,
        window: Window | None = None,
    ) -> Reader:
        """The rows between two keys.

        Args:
            database: open; the reader closes it.
            request: as for `open`.
            after: the key behind which they begin, as literals; None: the beginning.
            upto: the key of the last of them; None: the end.
            first_row: the number of the first row.
            window: which of the rows are new.
        """
        size = request.batch_size
        pages = _Pages(self, database, request, after, upto)
        return SQLReader(database, pages.open, size, self.label, first_row, window=window)

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """Ranges of the key, each with as many rows; the rows that come meanwhile go where their key belongs.

        Raises:
            SourceError: as `open`.
        """
        self.check_whole()
        if count <= 1:
            return Split((self,))
        if self.limit is not None:
            return Split((self,), why_fewer(self.label, 1, count, [f"it is read only up to limit={self.limit:,}"]))
        with closing(connect(resolve_uri(self.uri), read_only=True)) as database:
            bounds, starts = _Pages(self, database, ReadRequest(frozenset())).bounds(count)
        parts = [
            _KeyPart(self, *pair, first) for pair, first in zip(pairwise([None, *bounds, None]), starts, strict=True)
        ]
        if len(parts) == 1:
            return Split((self,), why_fewer(self.label, 1, count, []))
        return Split(tuple(parts), why_fewer(self.label, len(parts), count, []))


@dataclass(frozen=True, repr=False)
class _KeyPart(InputAdapter):
    """The rows of an input between two keys, of which the first is not among them."""

    adapter: SQLPaginationInputAdapter
    after: Literals | None
    upto: Literals | None
    first_row: int

    def __repr__(self) -> str:
        return f"_KeyPart({self.adapter!r}, first_row={self.first_row})"

    @property
    def label(self) -> str:
        return self.adapter.label

    def open(self, request: ReadRequest) -> Reader:
        database = connect(resolve_uri(self.adapter.uri), read_only=True)
        return self.adapter.between(database, request, self.after, self.upto, self.first_row)


class _Pages:
    """The pages of one reader.

    Args:
        adapter: what is read.
        database: open.
        request: what is wanted.
        after, upto: the keys between which the rows lie; None: where the adapter begins, and its end.
    """

    def __init__(
        self,
        adapter: SQLPaginationInputAdapter,
        database: Database,
        request: ReadRequest,
        after: Literals | None = None,
        upto: Literals | None = None,
    ) -> None:
        self._adapter, self._database = adapter, database
        self._key = adapter.columns
        self._batch_size = request.batch_size
        select = adapter.select(request)
        columns = None if select.columns is None else select.columns | set(self._key)
        self._select = replace(select, columns=columns, limit=None)
        self._after, self._upto = after, upto
        self._kind = database.url.kind

    def open(self) -> ResultSet:
        """The result, which reads one page after the other."""
        limit = self._adapter.limit
        with self._transaction():
            self._begin()
            first = self._page(self._after, self._size(limit))
        return replace(first, batches=lambda: self._batches(first, limit))

    def bounds(self, count: int) -> tuple[list[Literals], list[int]]:
        """The keys by which the rows are cut into at most `count` parts, and the number of each part's first row."""
        with self._transaction():
            self._begin()
            end = replace(self._select, page=self._range(self._after, None)).end(lambda name: quote(name or ""))
            source = self._adapter.source_sql(self._database)
            sql = f"SELECT count(*) FROM (SELECT 1 AS one FROM {source}{end}) AS zoopipe_rows"  # noqa: S608  quoted
            total = int(self._database.execute(sql)[0][0])
            places = sorted({total * part // count for part in range(1, count)} - {0})
            keys = []
            for place in places:
                result = self._page(self._after, 1, skip=place - 1)
                keys += [self._literals(self._keys(result, raw)) for raw in result.batches()]
        return keys, [1, *(place + 1 for place in places)]

    # ---- pages ------------------------------------------------------------------------------------------------

    def _batches(self, page: ResultSet, left: int | None) -> Iterator[pa.RecordBatch]:
        last: list[pa.Array] | None = None
        types = {name: kind.arrow for name, kind in page.all_types.items()}
        while left is None or left > 0:
            size = self._size(left)
            with self._transaction():
                if last is not None:
                    page = self._page(self._literals(last), size, types)
                batches = list(page.batches())
            if list(page.all_types) != list(types):
                raise SourceError(f"the columns of {self._adapter.label} changed while it was read")
            given = 0
            for raw in batches:
                keys = self._keys(page, raw)
                self._literals([column.slice(0, 1) for column in keys])  # so that a key without an order is refused
                self._check_unique(keys, last)
                taken = min(size - given, raw.num_rows)
                if taken:
                    given += taken
                    last = [column.slice(taken - 1, 1) for column in keys]
                    yield raw.slice(0, taken)
            if sum(raw.num_rows for raw in batches) <= given:
                return
            left = None if left is None else left - given

    def _size(self, left: int | None) -> int:
        return self._adapter.page_size if left is None else min(left, self._adapter.page_size)

    def _page(
        self, after: Literals | None, size: int, types: Mapping[str, pa.DataType] | None = None, skip: int = 0
    ) -> ResultSet:
        """A page of so many rows, and one more."""
        page = replace(self._range(after, size + 1), skip=skip)
        # Only SQLite has no types of its own: there the first page tells those of all.
        given = types if self._kind == "sqlite" else None
        return self._database.select(replace(self._select, page=page, types=given), self._batch_size)

    def _range(self, after: Literals | None, rows: int | None) -> Page:
        # DuckDB compares whole keys as structures, and would pass over nothing.
        return Page(self._key, rows, after, self._upto, whole=self._kind != "duckdb")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.begin_reading()
        yield
        self._database.end_reading()

    # ---- keys -------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Make sure that the key is one, and find out behind which the rows begin."""
        kinds: Mapping[str, ColumnType] = {}
        if self._kind != "sqlite":  # which would run the query, and has no types
            result = self._database.select(self._select, self._batch_size)
            kinds = result.all_types
            for name in self._key:
                self._check_column(name, result)
        for name in self._nullable():
            sql = f"SELECT 1 FROM {self._adapter.source_sql(self._database)} WHERE {quote(name)} IS NULL LIMIT 1"  # noqa: S608
            if self._database.execute(sql):
                raise self._null(name)
        start = self._adapter.start_after
        if start is not None and self._after is None:
            cells = [self._cell(name, value, kinds.get(name)) for name, value in zip(self._key, start, strict=True)]
            self._after = self._literals(cells)

    def _check_column(self, name: str, result: ResultSet) -> None:
        label = self._adapter.label
        if name not in result.all_types:
            raise SourceError(
                f"{label} has no column {name!r}, which the key names; it has {show_names(list(result.all_types))}"
            )
        if name in result.duplicates:
            raise SourceError(f"{label} has the column {name!r}, which the key names, more than once")
        if self._kind == "duckdb" and pa.types.is_string(result.all_types[name].arrow):
            # What has no type in Arrow comes as text; an ENUM is ordered by its places, and compared as text.
            sql = f"SELECT typeof({quote(name)}) FROM {self._adapter.source_sql(self._database)} LIMIT 1"  # noqa: S608
            found = self._database.execute(sql)
            if found and found[0][0] != "VARCHAR":
                raise self._unsuitable(name, f"its type is {found[0][0][:80]}")

    def _nullable(self) -> list[str]:
        """The columns of the key in which a NULL can be."""
        name = self._adapter.table_name
        if name is None:
            return list(self._key)
        table = self._database.found(parse_table_name(name))
        if table.is_view:
            return list(self._key)
        filled = {column.name for column in table.columns if not column.nullable}
        return [name for name in self._key if name not in filled]

    def _cell(self, name: str, value: Any, kind: ColumnType | None) -> pa.Array:
        """A value of the user's as a cell of its column."""
        try:
            if kind is not None and isinstance(kind.arrow, pa.UuidType):
                return kind.to_array([value if isinstance(value, UUID) else UUID(value)])
            return pa.array([value], None if kind is None else kind.arrow)
        except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError, AttributeError, OverflowError) as error:
            wanted = "" if kind is None else f" of type {kind.arrow}"
            raise SourceError(
                f"start_after={value!r} is no value of the column {name!r}{wanted} of {self._adapter.label}: {error}"
            ) from error

    def _keys(self, page: ResultSet, raw: pa.RecordBatch) -> list[pa.Array]:
        """The columns of the key, decoded."""
        places = {column.name: place for place, column in enumerate(page.columns)}
        missing = [name for name in self._key if name not in places]
        if missing:
            self._check_column(missing[0], page)
        found = []
        for name in self._key:
            column, array = page.columns[places[name]], raw.column(places[name])
            found.append(array if column.decode is None else column.decode(array).array)
            if found[-1].null_count:
                raise self._null(name)
        return found

    def _literals(self, cells: Sequence[pa.Array]) -> Literals:
        found = []
        for name, cell in zip(self._key, cells, strict=True):
            try:
                found.append(literal(cell, self._kind))
            except SourceError as error:
                raise self._unsuitable(name, str(error)) from error
        return tuple(found)

    def _check_unique(self, keys: Sequence[pa.Array], last: Sequence[pa.Array] | None) -> None:
        """Make sure that no two rows that follow each other have one key."""
        same: Any = True
        for column in keys:
            cells = column.storage if isinstance(column.type, pa.BaseExtensionType) else column
            same = pc.and_(pc.equal(cells.slice(1), cells.slice(0, len(cells) - 1)), same)
        border = (
            last is not None
            and len(keys[0]) > 0
            and all(before[0].as_py() == column[0].as_py() for before, column in zip(last, keys, strict=True))
        )
        if border or (len(keys[0]) > 1 and pc.any(same).as_py()):
            raise SourceError(
                f"two rows of {self._adapter.label} have the same {show_names(self._key)}: rows could be lost between "
                'two pages. Name columns that together are unique, as in key=["day", "id"]'
            )

    def _null(self, name: str) -> SourceError:
        return SourceError(
            f"{self._adapter.label} has rows whose {name!r} is NULL: they have no place in the order of the key. Name "
            f"another key, or leave them out with a query that says WHERE {quote(name)} IS NOT NULL"
        )

    def _unsuitable(self, name: str, why: str) -> SourceError:
        return SourceError(f"{self._adapter.label} cannot be read in pages by the column {name!r}: {why}")
