"""What to read, and the statement that reads it.

    SELECT wanted FROM table or (query) WHERE range AND since AND page ORDER BY the page's key LIMIT rows

Names are quoted. The literals that ranges and pages hold are made by `sql_literals`, and by nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zoopipe_core.adapters.sql_names import TableName, quote

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KeyRange", "Page", "Rewrite", "Select", "strip_query"]


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The rows whose key lies in a range.

    Attributes:
        column: the key; None: the place of a row in its table (PostgreSQL's ``ctid``).
        low, high: literals of the database; the key is at least `low` and less than `high`. None: no such bound.
        with_null: rows without a key are among them.
    """

    column: str | None
    low: str | None = None
    high: str | None = None
    with_null: bool = False

    def condition(self, key: str) -> str:
        """The condition in SQL, where `key` is what the key is called."""
        bounds = [f"{key} {sign} {bound}" for sign, bound in ((">=", self.low), ("<", self.high)) if bound is not None]
        inside = " AND ".join(bounds) or "1 = 1"
        return f"({inside} OR {key} IS NULL)" if self.with_null else inside


@dataclass(frozen=True, slots=True)
class Page:
    """The first rows behind a key, in its order.

    Attributes:
        key: its columns.
        rows: how many rows at most; None: all.
        after, upto: literals, one for each column; the key is greater than `after`, and at most `upto`. None: no such
            bound.
        skip: so many rows behind `after` are passed over.
        whole: the database looks up rows by a comparison of whole keys, ``(a, b) > (1, 2)``; else it is spelled out.
    """

    key: tuple[str, ...]
    rows: int | None = None
    after: tuple[str, ...] | None = None
    upto: tuple[str, ...] | None = None
    skip: int = 0
    whole: bool = True

    def conditions(self, names: Sequence[str]) -> list[str]:
        """The conditions in SQL, where `names` is what the columns of the key are called."""
        found = []
        if self.after is not None:
            found.append(self._compared(names, ">", ">", self.after))
        if self.upto is not None:
            found.append(self._compared(names, "<", "<=", self.upto))
        return found

    def _compared(self, names: Sequence[str], sign: str, last_sign: str, values: Sequence[str]) -> str:
        if len(names) == 1:
            return f"{names[0]} {last_sign} {values[0]}"
        if self.whole:
            return f"({', '.join(names)}) {last_sign} ({', '.join(values)})"
        name, value = names[0], values[0]
        rest = self._compared(names[1:], sign, last_sign, values[1:])
        # The first condition follows from the second, but only of it can a database make use to pass rows over.
        return f"{name} {sign}= {value} AND ({name} {sign} {value} OR ({name} = {value} AND {rest}))"


@dataclass(frozen=True, slots=True)
class Select:
    """What to read: a query as the user wrote it, or a table with the columns wanted (None: all).

    Attributes:
        range: only these rows; None: all.
        types: the types of columns, where the database has none that it holds to.
        since: of those, only these; None: all.
        page: and of those, only this page; None: all.
    """

    query: str | None = None
    table: TableName | None = None
    columns: frozenset[str] | None = None
    limit: int | None = None
    range: KeyRange | None = None
    types: Mapping[str, pa.DataType] | None = None
    since: KeyRange | None = None
    page: Page | None = None

    def wants(self, name: str) -> bool:
        """Whether the column is to be read."""
        return self.columns is None or name in self.columns

    @property
    def is_whole(self) -> bool:
        """Whether a query can be run just as it is."""
        return self.range is None and self.since is None and self.page is None

    def end(self, name_of: Callable[[str | None], str]) -> str:
        """What follows the source in the statement, without the limit.

        Args:
            name_of: what a column is called there; that of None is the place of a row.
        """
        conditions = [one.condition(name_of(one.column)) for one in (self.range, self.since) if one is not None]
        order = ""
        if self.page is not None:
            names = [name_of(column) for column in self.page.key]
            conditions += self.page.conditions(names)
            order = f" ORDER BY {', '.join(names)}"
            if self.page.rows is not None:
                order += f" LIMIT {self.page.rows} OFFSET {self.page.skip}"
        return (f" WHERE {' AND '.join(conditions)}" if conditions else "") + order


def strip_query(query: str) -> str:
    """A query without the semicolon at its end, so that it can stand within another one."""
    return query.rstrip().rstrip(";").rstrip()


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A statement that reads the columns of a table or a query, some of them in another form.

    Attributes:
        names: the columns' names, each once.
        expressions: per column, how it is asked for: in terms of its quoted name, or of c0, c1... for a query.
        table: the table; None for a query.
        query: the query, where it is one.
    """

    names: Sequence[str]
    expressions: Sequence[str]
    table: TableName | None = None
    query: str = ""

    @staticmethod
    def sources(names: Sequence[str], table: TableName | None) -> list[str]:
        """What the columns are called within expressions.

        A query's columns are numbered, since their own names may be missing or stand twice.
        """
        return [f"c{index}" for index in range(len(names))] if table is None else [quote(name) for name in names]

    def sql(self, indices: Sequence[int], what: Select) -> str:
        """The statement for the columns at `indices`, in that order."""
        wanted = ", ".join(f"{self.expressions[i]} AS {quote(self.names[i])}" for i in indices)
        end = what.end(self._called)
        if what.limit is not None:
            end += f" LIMIT {what.limit}"
        if self.table is not None:
            # The alias, since names of columns in ORDER BY would be those of the result.
            return f"SELECT {wanted} FROM {self.table.sql} AS zoopipe_table{end}"  # noqa: S608  all of it quoted
        aliases = ", ".join(f"c{index}" for index in range(len(self.names)))
        # The line break ends a comment on the query's last line.
        inner = f"(\n{strip_query(self.query)}\n) AS zoopipe_query({aliases})"
        return f"SELECT {wanted} FROM {inner}{end}"  # noqa: S608  the user's own query

    def _called(self, column: str | None) -> str:
        if column is None:
            return "ctid"
        return f"zoopipe_table.{quote(column)}" if self.table is not None else f"c{self.names.index(column)}"
