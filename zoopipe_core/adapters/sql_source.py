"""What inputs have in common that read a table or the answer to a query."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from zoopipe_core.adapters.base import InputAdapter, ReadRequest
from zoopipe_core.adapters.ledger import Fingerprint
from zoopipe_core.adapters.sql_connect import Uri, check_target, describe_uri
from zoopipe_core.adapters.sql_database import Database
from zoopipe_core.adapters.sql_names import parse_table_name
from zoopipe_core.adapters.sql_select import KeyRange, Select, strip_query
from zoopipe_core.errors import SpecError

__all__ = ["SQLSource"]


@dataclass(frozen=True, repr=False)
class SQLSource(InputAdapter):
    """A table or a query of a database.

    Args:
        uri: the database.
        query: a SELECT.
        table_name: a table or view instead.
        limit: read no more than so many rows.

    Raises:
        SpecError: an argument is out of range, or not exactly one of `query` and `table_name` is given.
    """

    uri: Uri
    query: str | None = None
    table_name: str | None = None
    limit: int | None = field(default=None, kw_only=True)
    _since: KeyRange | None = field(default=None, kw_only=True, repr=False)

    def __post_init__(self) -> None:
        if (self.query is None) == (self.table_name is None):
            given = "both" if self.query is not None else "neither"
            raise SpecError(f"give either query= or table_name=, not {given}")
        if self.query is not None and not (isinstance(self.query, str) and self.query.strip()):
            raise SpecError(f"query has to be a SELECT as text, not {self.query!r}")
        if self.limit is not None and self.limit < 0:
            raise SpecError(f"limit has to be 0 or more, or None for all, not {self.limit}")
        check_target(self.uri, self.table_name)

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
        columns = None if request.keep_all else request.columns
        table = None if self.table_name is None else parse_table_name(self.table_name)
        return Select(self.query, table, columns, self.limit, since=self._since)

    def source_sql(self, database: Database) -> str:
        """The table, or the query in brackets."""
        if self.table_name is not None:
            return database.found(parse_table_name(self.table_name)).name.sql
        # The line break ends a comment on the query's last line.
        return f"(\n{strip_query(self.query or '')}\n) AS zoopipe_query"

    def fingerprint(self) -> Fingerprint:
        """What is asked of which database; what it will answer cannot be told."""
        return Fingerprint.of([repr(self)], self.label, tells_state=False)
