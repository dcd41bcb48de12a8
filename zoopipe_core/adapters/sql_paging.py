"""The pages of a table or a query: the statements that ask for them, and the keys between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.sql_database import Database, ResultSet
from zoopipe_core.adapters.sql_literals import literal
from zoopipe_core.adapters.sql_names import parse_table_name, quote, show_names
from zoopipe_core.adapters.sql_select import Page
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_pages import Literals, SQLPaginationInputAdapter

__all__ = ["Pages"]


class Pages:
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
