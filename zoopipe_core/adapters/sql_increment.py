"""The rows of a table or query that are new since a mark: what is asked for, what is passed over, the next mark.

First the greatest value of the watermark's column is looked up, which is the next mark; then the rows from the
beginning of the overlap up to it are read. What is written meanwhile with a greater value is left to the next load. So
the two need not be of one moment, and neither need the pages of a source that is read in pages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from zoopipe_core.adapters.base import DEFAULT_BATCH_SIZE, InputAdapter, Reader, ReadRequest, Scan, Split, scan_here
from zoopipe_core.adapters.ledger import Fingerprint
from zoopipe_core.adapters.sql_connect import connect, resolve_uri
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_names import parse_table_name, quote, show_names
from zoopipe_core.adapters.sql_select import KeyRange
from zoopipe_core.adapters.sql_source import SQLSource
from zoopipe_core.adapters.sql_window import Window
from zoopipe_core.adapters.watermark import Mark
from zoopipe_core.errors import SourceError, SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql import SQLInputAdapter

__all__ = ["Increment", "open_window"]

FIRST_ROWS = 1000


@dataclass(frozen=True, repr=False)
class Increment(InputAdapter):
    """What a source has that is new since a mark.

    Args:
        source: it has a watermark.
        mark: of the loads before; None: this is the first.
        remembers: rows of the overlap that were loaded before are passed over; else all of it is read again.
    """

    source: SQLSource
    mark: Mark | None
    remembers: bool

    def __repr__(self) -> str:
        return f"Increment({self.source!r})"

    @property
    def label(self) -> str:
        return self.source.label

    def fingerprint(self) -> Fingerprint:
        return self.source.fingerprint()

    def open(self, request: ReadRequest) -> Reader:
        """As the source.

        Raises:
            SourceError: as the source; also if the column is not there, of another type than before, or has values that
                no watermark can have.
        """
        database = connect(resolve_uri(self.source.uri), read_only=True)
        try:
            window = open_window(self.source, database, self.mark, self.remembers)
        except BaseException:
            database.close()
            raise
        source = replace(self.source, watermark=None, _since=window.range)
        wanted = None if request.columns is None else request.columns | window.columns
        return source.reader(database, replace(request, columns=wanted), window)

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """Ranges of the source's `partition_column`, or else of the watermark.

        Raises:
            SourceError: as `open`.
            SpecError: pages are not of one moment, and what was read of them in several places is not known in one.
        """
        from zoopipe_core.adapters.sql import SQLInputAdapter
        from zoopipe_core.adapters.sql_split import split_sql

        if not isinstance(self.source, SQLInputAdapter):
            raise SpecError(
                f"{self.label} is read in pages and by a watermark, which only one process can: use Pipe.run(), or "
                "SQLInputAdapter instead"
            )
        return split_sql(self.source, count, scan, self)

    def narrow(self, source: SQLInputAdapter, database: Database) -> tuple[SQLInputAdapter, Window, Mark]:
        """What is new now: as an input, as the window in which its parts look, and the mark when all were read."""
        assert source.watermark is not None
        window = open_window(source, database, self.mark, self.remembers)
        bounded = replace(
            source,
            watermark=None,
            # Equal rows, which are counted, have to be in one part.
            partition_column=source.partition_column or source.watermark.column,
            _since=window.range,
        )
        of_parts = window.for_parts()
        if self.remembers:
            select = replace(bounded.select(ReadRequest(window.columns)), since=window.overlap)
            result = database.select(select, DEFAULT_BATCH_SIZE)
            for raw in result.batches():
                window.keep(
                    {
                        column.name: array if column.decode is None else column.decode(array).array
                        for column, array in zip(result.columns, raw.columns, strict=True)
                    }
                )
        return bounded, of_parts, window.next_mark


def open_window(source: SQLSource, database: Database, mark: Mark | None, remembers: bool) -> Window:
    """Look up how far the source goes now.

    Raises:
        SourceError: its column is no watermark, or does not fit the mark.
    """
    assert source.watermark is not None
    name = source.watermark.column
    request = ReadRequest(frozenset([name]))
    result = database.select(replace(source.select(request), limit=FIRST_ROWS), FIRST_ROWS)
    if database.url.kind == "sqlite":
        list(result.batches())  # the others have not asked for any row
    if name not in result.all_types:
        raise SourceError(
            f"{source.label} has no column {name!r}, which is to be its watermark; it has "
            f"{show_names(list(result.all_types))}"
        )
    if name in result.duplicates:
        raise SourceError(f"{source.label} has the column {name!r}, its watermark, more than once")
    window = Window(source, database.url.kind, result.all_types, mark, remembers)
    column = KeyRange(name, window.low_literal)
    if database.url.kind == "sqlite" and not window.is_integer:
        # Which compares times as texts, whatever their form: the values are looked at here.
        select = replace(source.select(request), since=column)
        for batch in database.select(select, DEFAULT_BATCH_SIZE).batches():
            window.raise_top(batch.column(0))
    else:
        sql = (
            f"SELECT {window.top_sql(quote(name))} FROM {source.source_sql(database)}"  # noqa: S608  quoted
            f" WHERE {column.condition(quote(name))}"
        )
        infinite, top = database.execute(sql)[0]
        window.set_top(bool(infinite), top)
    window.may_be_null = source.table_name is None or _is_nullable(database, source.table_name, name)
    return window


def _is_nullable(database: Database, table_name: str, column: str) -> bool:
    table = database.found(parse_table_name(table_name))
    return table.is_view or any(one.nullable for one in table.columns if one.name == column)
