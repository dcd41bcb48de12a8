"""`DuckDBHook`: what Airflow needs to know the connection type ``duckdb``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

if TYPE_CHECKING:
    import duckdb

__all__ = ["DuckDBHook"]


class DuckDBHook(BaseHook):
    """Opens the DuckDB file that a connection names as its host.

    Args:
        duckdb_conn_id: the connection.
    """

    conn_name_attr = "duckdb_conn_id"
    default_conn_name = "duckdb_default"
    conn_type = "duckdb"
    hook_name = "DuckDB"

    def __init__(self, duckdb_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.duckdb_conn_id = duckdb_conn_id

    def get_conn(self, read_only: bool = False) -> duckdb.DuckDBPyConnection:
        """The file, open. Of several processes one may write, or all may read.

        Raises:
            ValueError: the connection names no file.
            duckdb.Error: it cannot be opened.
        """
        import duckdb

        from zoopipe_airflow.connections import connection_url

        url = connection_url(self.get_connection(self.duckdb_conn_id))
        return duckdb.connect(url.removeprefix("duckdb:///"), read_only=read_only)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the file can be read, and what to say about it."""
        try:
            with self.get_conn(read_only=True) as connection:
                connection.execute("SELECT 1")
        except Exception as error:  # noqa: BLE001  whatever it is, Airflow shows it to who pressed the button
            return False, str(error)
        return True, "The file can be read."
