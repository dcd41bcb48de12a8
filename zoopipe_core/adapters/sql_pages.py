"""Reading a table or a query page by page, in the order of a unique key.

    SELECT ... ORDER BY key LIMIT 50001                      -> 50,000 rows, the last one has the key 81734
    SELECT ... WHERE key > 81734 ORDER BY key LIMIT 50001    -> ...

Each page is a statement and a transaction of its own, so the database has nothing to keep for a reader that takes
hours. A page asks for one row more than it gives: so two rows of one key are seen even at its border.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Scan, Split, scan_here
from zoopipe_core.adapters.sql_connect import connect, resolve_uri
from zoopipe_core.adapters.sql_names import show_names
from zoopipe_core.adapters.sql_source import SQLSource
from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_database import Database
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
        from zoopipe_core.adapters.sql_paging import Pages
        from zoopipe_core.adapters.sql_reader import SQLReader

        size = request.batch_size
        pages = Pages(self, database, request, after, upto)
        return SQLReader(database, pages.open, size, self.label, first_row, window=window)

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """Ranges of the key, each with as many rows; the rows that come meanwhile go where their key belongs.

        Raises:
            SourceError: as `open`.
        """
        self.check_whole()
        if count <= 1:
            return Split((self,))
        from zoopipe_core.adapters.splitting import why_fewer
        from zoopipe_core.adapters.sql_paging import Pages

        if self.limit is not None:
            return Split((self,), why_fewer(self.label, 1, count, [f"it is read only up to limit={self.limit:,}"]))
        with closing(connect(resolve_uri(self.uri), read_only=True)) as database:
            bounds, starts = Pages(self, database, ReadRequest(frozenset())).bounds(count)
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
