"""From a URL to an open database, without ever showing what is secret in it.

    duckdb:///warehouse.duckdb        a file, relative to the working directory
    duckdb:////data/warehouse.duckdb  a file, absolute
    sqlite:///app.db
    postgresql://user:password@host:5432/database?sslmode=require

A database is named by such a URL, by a `pydantic.SecretStr`, or by a callable that returns either and is called in
the process that connects. Each kind of database has its own file, which loads its driver: `sql_duckdb`,
`sql_postgres`, `sql_sqlite`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import parse_qsl, unquote

from pydantic import SecretStr

from zoopipe_core.adapters.sql_names import TableName, check_length, parse_table_name
from zoopipe_core.errors import DatabaseConnectionError, SpecError

if TYPE_CHECKING:
    from zoopipe_core.adapters.sql_database import Database

__all__ = ["DatabaseURL", "Uri", "check_target", "connect", "describe_uri", "resolve_uri"]

Uri: TypeAlias = "str | SecretStr | Callable[[], str | SecretStr]"

_URL = re.compile(r"^([A-Za-z][A-Za-z0-9.\-]*)(?:\+([A-Za-z0-9_.\-]*))?://(.*)\Z", re.DOTALL)
_SCHEMES = {"duckdb": "duckdb", "postgres": "postgresql", "postgresql": "postgresql", "sqlite": "sqlite"}
_EXAMPLES = "duckdb:///warehouse.duckdb, postgresql://user@host/database or sqlite:///app.db"
# Parameters that say nothing worth hiding; all others may be secrets.
_OPEN_PARAMETERS = frozenset(
    ("application_name", "connect_timeout", "dbname", "host", "hostaddr", "port", "sslmode", "user")
)
POSTGRESQL_NAME_BYTES = 63


@dataclass(frozen=True, slots=True)
class DatabaseURL:
    """A database's URL, taken apart.

    Attributes:
        kind: ``"duckdb"``, ``"postgresql"`` or ``"sqlite"``.
        label: what may be shown: scheme, host and database, or scheme and file.
        path: the file, for DuckDB and SQLite.
        address: the whole URL as the driver takes it, for PostgreSQL. Secret.
        secrets: texts that must not be shown.
    """

    kind: str
    label: str
    path: str = ""
    address: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def name_limit(self) -> int | None:
        """The most bytes that a name may have."""
        return POSTGRESQL_NAME_BYTES if self.kind == "postgresql" else None

    @classmethod
    def parse(cls, text: str) -> DatabaseURL:
        """Take a URL apart.

        >>> DatabaseURL.parse("postgresql://me:secret@db.example/sales").label
        'postgresql://db.example/sales'

        Raises:
            SpecError: it is none that we know. The message shows no part of the URL but its scheme.
        """
        match = _URL.match(text)
        if match is None:
            raise SpecError(f"a database is named by a URL such as {_EXAMPLES}; the given text has no scheme://")
        scheme, rest = match.group(1).lower(), match.group(3)
        kind = _SCHEMES.get(scheme)
        if kind is None:
            raise SpecError(f"no database adapter is known for {scheme}://; known are {_EXAMPLES}")
        return _server(rest) if kind == "postgresql" else _file(kind, rest)

    def conceal(self, message: str) -> str:
        """`message` with whatever is secret in the URL replaced."""
        for secret in sorted({self.address, *self.secrets} - {""}, key=len, reverse=True):
            message = message.replace(secret, "***")
        return message


def _file(kind: str, rest: str) -> DatabaseURL:
    path, mark, _ = rest.partition("?")
    if mark:
        raise SpecError(f"{kind}:// URLs take no parameters here: remove what follows the '?'")
    if not path.startswith("/"):
        if not path:
            raise _no_memory(kind)
        raise SpecError(f"{kind}://{path} names a host; write three slashes for a file, {kind}:///{path}")
    path = path[1:]
    if not path or path == ":memory:":
        raise _no_memory(kind)
    return DatabaseURL(kind, f"{kind}:///{path}", os.path.expanduser(path))


def _no_memory(kind: str) -> SpecError:
    return SpecError(
        f"{kind}:// without a file is a database in memory, which would be gone after the load; "
        f"name a file, as in {kind}:///warehouse.db"
    )


def _server(rest: str) -> DatabaseURL:
    location, _, query = rest.partition("?")
    authority, slash, database = location.partition("/")
    login, at, hosts = authority.rpartition("@")
    if "@" in rest[len(authority) :]:
        # Part of a password may stand where host or database are expected, and would be shown.
        raise SpecError(
            "the postgresql:// URL has an '@' after its first '/' or '?'; write such characters in user, password, "
            "database or parameters percent-encoded: / is %2F, ? is %3F, @ is %40"
        )
    secrets: list[str] = []
    if at:
        password = login.partition(":")[2]
        secrets += [password, unquote(password)]
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() not in _OPEN_PARAMETERS:
            secrets.append(value)
    secrets += [raw.partition("=")[2] for raw in query.split("&") if raw.partition("=")[0] not in _OPEN_PARAMETERS]
    label = f"postgresql://{hosts}{slash}{database}"
    return DatabaseURL("postgresql", label, "", f"postgresql://{rest}", tuple(s for s in secrets if s))


def describe_uri(uri: Uri) -> str:
    """A label without secrets; of a callable its name, since only the connecting process may call it."""
    if isinstance(uri, str | SecretStr):
        return resolve_uri(uri).label
    name = getattr(uri, "__name__", type(uri).__name__)
    return f"{name}()"


def resolve_uri(uri: Uri) -> DatabaseURL:
    """The URL itself, calling `uri` if it is a callable.

    Raises:
        SpecError: it is no URL of a database that we know.
        DatabaseConnectionError: the callable raised.
    """
    if isinstance(uri, SecretStr):
        return DatabaseURL.parse(uri.get_secret_value())
    if isinstance(uri, str):
        return DatabaseURL.parse(uri)
    if not callable(uri):
        raise SpecError(
            f"a database is named by a URL ({_EXAMPLES}), a pydantic.SecretStr or a callable that returns one, "
            f"not by {type(uri).__name__}"
        )
    try:
        result = uri()
    except Exception as error:
        raise DatabaseConnectionError(
            f"{describe_uri(uri)}, which names the database, raised {type(error).__name__}"
        ) from error
    if not isinstance(result, str | SecretStr):
        raise SpecError(f"{describe_uri(uri)} has to return a URL, not {type(result).__name__}")
    return resolve_uri(result)


def check_target(uri: Uri, table_name: str | None) -> TableName | None:
    """Check what an adapter was given, as far as that needs no connection.

    Raises:
        SpecError: the URL or the table's name cannot be right.
    """
    table = None if table_name is None else parse_table_name(table_name)
    if isinstance(uri, str | SecretStr):
        url = resolve_uri(uri)
        if table is not None:
            check_length(table, url.name_limit)
    elif not callable(uri):
        resolve_uri(uri)
    return table


def connect(url: DatabaseURL, *, read_only: bool) -> Database:
    """Open the database. With `read_only`, a file that does not exist is not created.

    Raises:
        SourceNotFoundError: `read_only`, and there is no such file.
        DatabaseConnectionError: it cannot be reached, is locked, or refuses us.
        MissingDependencyError: the driver is not installed.
    """
    if url.kind == "duckdb":
        from zoopipe_core.adapters.sql_duckdb import DuckDB

        return DuckDB(url, read_only=read_only)
    if url.kind == "sqlite":
        from zoopipe_core.adapters.sql_sqlite import SQLite

        return SQLite(url, read_only=read_only)
    from zoopipe_core.adapters.sql_postgres import PostgreSQL

    return PostgreSQL(url, read_only=read_only)
