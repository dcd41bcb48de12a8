"""Names of tables and columns: taken apart as SQL does it, checked, and always quoted.

    analytics.users      schema analytics, table users
    "we.ird"             table we.ird

A name is data. It reaches a statement only through `quote`, whatever it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from zoopipe_core.errors import SpecError, TargetError

__all__ = ["TableName", "check_columns", "check_length", "check_statements", "parse_table_name", "quote", "show_names"]

# A quoted part with doubled quotes, or anything without a dot that does not begin with a quote.
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"(?=\.|\Z)|(?P<plain>[^".][^.]*)(?=\.|\Z)')


@dataclass(frozen=True, slots=True)
class TableName:
    """A table, and the schema it lies in if one was named."""

    table: str
    schema: str | None = None

    @property
    def sql(self) -> str:
        """The quoted name, for a statement."""
        return quote(self.table) if self.schema is None else f"{quote(self.schema)}.{quote(self.table)}"

    def __str__(self) -> str:
        parts = [self.table] if self.schema is None else [self.schema, self.table]
        return ".".join(quote(part) if "." in part or part.startswith('"') else part for part in parts)


def quote(name: str) -> str:
    """`name` as an SQL identifier.

    >>> quote('users"; DROP TABLE x; --')
    '"users""; DROP TABLE x; --"'
    """
    return '"' + name.replace('"', '""') + '"'


def parse_table_name(text: str) -> TableName:
    """``table`` or ``schema.table``; a part in double quotes may hold dots.

    >>> parse_table_name("analytics.users")
    TableName(table='users', schema='analytics')

    Raises:
        SpecError: it is no such name.
    """
    if not isinstance(text, str):
        raise SpecError(f"table_name has to be a text such as 'users' or 'analytics.users', not {text!r}")
    parts: list[str] = []
    position = 0
    while match := _PART.match(text, position):
        quoted = match.group("quoted")
        parts.append(match.group("plain") if quoted is None else quoted.replace('""', '"'))
        position = match.end() + 1
    if position != len(text) + 1 or not 1 <= len(parts) <= 2 or not all(parts):
        raise SpecError(
            f"{text!r} is no table name: write table or schema.table, and put a part that holds a dot or begins with "
            'a quote in double quotes, as in "we.ird"'
        )
    for part in parts:
        if problem := _problem(part):
            raise SpecError(f"{text!r} cannot name a table: {problem}")
    return TableName(parts[-1], parts[0] if len(parts) == 2 else None)


def check_length(table: TableName, limit: int | None) -> None:
    """Refuse a table or schema name that the database would cut off.

    Raises:
        SpecError: a part is longer than `limit` bytes.
    """
    for part in (table.schema, table.table):
        if limit is not None and part is not None and len(part.encode()) > limit:
            raise SpecError(
                f"the name {part[:40]!r}... has {len(part.encode())} bytes, but PostgreSQL cuts names off at {limit}; "
                "choose a shorter one"
            )


def check_columns(names: Iterable[str], *, limit: int | None, ignore_case: bool) -> None:
    """Refuse column names that the database cannot tell apart or would change.

    Raises:
        TargetError: one is empty, too long, cannot be written down, or stands twice.
    """
    seen: dict[str, str] = {}
    for name in names:
        if problem := _problem(name):
            raise TargetError(f"the column {name!r} cannot be created: {problem}; rename it with Field(alias=...)")
        if limit is not None and len(name.encode()) > limit:
            raise TargetError(
                f"the column name {name[:40]!r}... has {len(name.encode())} bytes, but PostgreSQL cuts names off at "
                f"{limit}; rename the column"
            )
        folded = name.lower() if ignore_case else name
        if folded in seen:
            raise TargetError(
                f"the columns {seen[folded]!r} and {name!r} are one and the same to this database, which does not "
                "tell upper and lower case apart; rename one of them"
            )
        seen[folded] = name


# What holds no word and no semicolon of the statement itself: texts, quoted names, comments.
_QUOTED = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*|/\*.*?\*/", re.DOTALL
)
_TRANSACTION = re.compile(
    r"\s*(abort|begin|commit|end|prepare\s+transaction|release|rollback|savepoint|start\s+transaction)\b", re.IGNORECASE
)


def check_statements(name: str, statements: str | Sequence[str]) -> tuple[str, ...]:
    """One statement, or several, that are to be part of a transaction.

    >>> check_statements("pre_sql", "SET LOCAL work_mem = '1GB'")
    ("SET LOCAL work_mem = '1GB'",)

    Raises:
        SpecError: one is none, is several in one text, or would begin or end a transaction.
    """
    given = (statements,) if isinstance(statements, str) else tuple(statements)
    for statement in given:
        if not isinstance(statement, str) or not statement.strip():
            raise SpecError(f"{name} has to be a statement of SQL, or a list of them, not {statement!r}")
        bare = _QUOTED.sub(" ", statement).strip().rstrip(";")
        if ";" in bare:
            raise SpecError(f"{name} takes one statement in a text; give a list for several of them")
        if _TRANSACTION.match(bare):
            raise SpecError(f"{name} cannot begin or end a transaction: it is part of that of the load")
    return given


def show_names(names: Iterable[str], most: int = 12) -> str:
    """The first names of a list, for a message."""
    listed = list(names)
    shown = ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")
    return shown or "none"


def _problem(name: str) -> str:
    if not name:
        return "the name is empty"
    if "\0" in name:
        return "it holds a NUL character"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "it holds half of a surrogate pair, which is no character"
    return ""
