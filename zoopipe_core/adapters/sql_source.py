"""What inputs have in common that read a table or the answer to a query."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest
from zoopipe_core.adapters.sql_connect import Uri, check_target, connect, describe_uri, resolve_uri
from zoopipe_core.adapters.sql_names import parse_table_name
from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.ledger import Fingerprint
    from zoopipe_core.adapters.sql_database import Database
    from zoopipe_core.adapters.sql_select import KeyRange, Select
    from zoopipe_core.adapters.sql_window import Window
    from zoopipe_core.adapters.watermark import Mark, Watermark

__all__ = ["SQLSource"]


@dataclass(frozen=True, repr=False)
class SQLSource(InputAdapter):
    """A table or a query of a database.

    Args:
        uri: the database.
        query: a SELECT.
        table_name: a table or view instead.
        limit: read no more than so many rows.
        watermark: read only rows that are new.

    Raises:
        SpecError: an argument is out of range, or not exactly one of `query` and `table_name` is given.
    """

    uri: Uri
    query: str | None = None
    table_name: str | None = None
    limit: int | None = field(default=None, kw_only=True)
    watermark: Watermark | None = field(default=None, kw_only=True)
    _since: KeyRange | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if (self.query is None) == (self.table_name is None):
            given = "both" if self.query is not None else "neither"
            raise SpecError(f"give either query= or table_name=, not {given}")
        if self.query is not None and not (isinstance(self.query, str) and self.query.strip()):
            raise SpecError(f"query has to be a SELECT as text, not {self.query!r}")
        if self.limit is not None and self.limit < 0:
            raise SpecError(f"limit has to be 0 or more, or None for all, not {self.limit}")
        if self.watermark is not None:
            self._check_watermark(self.watermark)
        check_target(self.uri, self.table_name)

    def _check_watermark(self, given: Any) -> None:
        from zoopipe_core.adapters.watermark import Watermark

        if not isinstance(given, Watermark):
            raise SpecError(f"watermark has to be a Watermark, as in Watermark('updated_at'), not {given!r}")
        if self.limit is not None:
            raise SpecError("limit= would leave out rows that the watermark takes for read; give only one of them")

    @property
    def label(self) -> str:
        return f"{describe_uri(self.uri)}::{self.table_name or 'query'}"

    def __repr__(self) -> str:
        options = [
            f"{option.name}={getattr(self, option.name)!r}"
            for option in fields(self)
            if option.repr and option.name != "uri" and getattr(self, option.name) != option.default
        ]
        return f"{type(self).__name__}({', '.join([repr(describe_uri(self.uri)), *options])})"

    def select(self, request: ReadRequest) -> Select:
        """What has to be read."""
        from zoopipe_core.adapters.sql_select import Select

        columns = None if request.keep_all else request.columns
        table = None if self.table_name is None else parse_table_name(self.table_name)
        return Select(self.query, table, columns, self.limit, since=self._since)

    def source_sql(self, database: Database) -> str:
        """The table, or the query in brackets."""
        from zoopipe_core.adapters.sql_select import strip_query

        if self.table_name is not None:
            return database.found(parse_table_name(self.table_name)).name.sql
        # The line break ends a comment on the query's last line.
        return f"(\n{strip_query(self.query or '')}\n) AS zoopipe_query"

    @property
    def mark_name(self) -> str | None:
        if self.watermark is None or self.watermark.name is not None:
            return None if self.watermark is None else self.watermark.name
        from zoopipe_core.adapters.ledger import digest

        query = "" if self.query is None else f" {digest([self.query])[:12]}"
        return f"{self.label}{query}.{self.watermark.column}"

    def resume(self, mark: Mark | None, remembers: bool) -> InputAdapter:
        """What is new since `mark`."""
        from zoopipe_core.adapters.sql_increment import Increment

        return self if self.watermark is None else Increment(self, mark, remembers)

    def check_whole(self) -> None:
        """Make sure that the rows to be split are all that there are.

        Raises:
            SpecError: there is a watermark, and only the target knows which of them are new.
        """
        if self.watermark is not None:
            raise SpecError(
                f"{self.label} is read by a watermark: what is new, and how that is split, is known only when "
                "the load has begun"
            )

    def open(self, request: ReadRequest) -> Reader:
        if self.watermark is not None:
            return self.resume(None, False).open(request)
        return self.reader(connect(resolve_uri(self.uri), read_only=True), request, None)

    @abstractmethod
    def reader(self, database: Database, request: ReadRequest, window: Window | None) -> Reader:
        """As `open`, over a connection that the reader closes, and of these rows only those in `window`."""

    def fingerprint(self) -> Fingerprint:
        """What is asked of which database; what it will answer cannot be told."""
        from zoopipe_core.adapters.ledger import Fingerprint

        return Fingerprint.of([repr(self)], self.label, tells_state=False)
