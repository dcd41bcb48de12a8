"""Where a warehouse is and how to get in: a block of Prefect, whose password nothing but the connection gets to see.

SQLOutputAdapter(WarehouseCredentials.load("warehouse").get_uri(), "users")
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from urllib.parse import quote, urlencode

from prefect.blocks.abstract import CredentialsBlock
from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, HttpUrl, SecretStr, model_validator

from zoopipe_prefect.compatibility import SYNC

if TYPE_CHECKING:
    from zoopipe_core import SQLOutputAdapter

__all__ = ["WarehouseCredentials", "load_uri", "warehouse_uri"]

HOME = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")
LOGO = HttpUrl("https://cdn.sanity.io/images/3ugk85nk/production/ad39089fa66d273b943394a68f003f7a19aa850e-48x48.png")


class WarehouseCredentials(CredentialsBlock):
    """A DuckDB, PostgreSQL or SQLite database that loads write to or read from.

    Attributes:
        kind: ``"duckdb"``, ``"postgresql"`` or ``"sqlite"``.
        path: of the file of a DuckDB or SQLite database.
        host, port, database, username, password: of a PostgreSQL server.
        parameters: of the connection to PostgreSQL, such as ``{"sslmode": "require"}``.

    Example:
        Load stored credentials and load rows into a table:
        ```python
        from zoopipe_core import Pipe, SQLOutputAdapter
        from zoopipe_prefect import WarehouseCredentials

        credentials = WarehouseCredentials.load("BLOCK_NAME")
        pipe = Pipe("users.csv", SQLOutputAdapter(credentials.get_uri(), "users"))
        ```

    Raises:
        ValueError: the fields do not name a database; the message shows none of them.
    """

    # An error of pydantic would otherwise quote what it was given, the password too.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", hide_input_in_errors=True)

    _block_type_name = "ZooPipe Warehouse Credentials"
    _block_type_slug = "zoopipe-warehouse-credentials"
    _description = "A DuckDB, PostgreSQL or SQLite database that loads write to or read from."
    _documentation_url = HOME
    _logo_url = LOGO

    kind: Literal["duckdb", "postgresql", "sqlite"] = Field(description="Which database it is.")
    path: str | None = Field(default=None, description="The file of a DuckDB or SQLite database.")
    host: str | None = Field(default=None, description="The name or address of the PostgreSQL server.")
    port: int | None = Field(default=None, ge=1, le=65535, description="The port of the PostgreSQL server.")
    database: str | None = Field(default=None, description="The name of the database on the PostgreSQL server.")
    username: str | None = Field(default=None, description="Who connects to the PostgreSQL server.")
    password: SecretStr | None = Field(default=None, description="The password for the PostgreSQL server.")
    parameters: dict[str, str] = Field(
        default_factory=dict, description="Parameters of the connection to PostgreSQL, none of them secret."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        server = [
            name for name in ("host", "port", "database", "username", "password") if getattr(self, name) is not None
        ]
        if self.kind == "postgresql":
            if self.path is not None:
                raise ValueError("path names the file of a DuckDB or SQLite database; PostgreSQL has host and database")
            if self.database is None:
                raise ValueError("database is missing: the name of the database on the PostgreSQL server")
        elif self.path is None:
            raise ValueError(f"path is missing: the file of the {self.kind} database")
        elif server or self.parameters:
            given = ", ".join(server or ["parameters"])
            raise ValueError(f"{self.kind} has a path only, and {given} is for PostgreSQL")
        return self

    def get_uri(self) -> SecretStr:
        """The URL of the database, as adapters take it.

        >>> from zoopipe_prefect import WarehouseCredentials
        >>> WarehouseCredentials(kind="duckdb", path="/data/warehouse.duckdb").get_uri().get_secret_value()
        'duckdb:////data/warehouse.duckdb'
        >>> WarehouseCredentials(
        ...     kind="postgresql", host="db.example", database="sales", username="me", password=SecretStr("p@ss")
        ... ).get_uri()
        SecretStr('**********')
        """
        if self.kind != "postgresql":
            return SecretStr(f"{self.kind}:///{self.path}")
        login = "" if self.username is None else quote(self.username, safe="")
        if self.password is not None:
            login += f":{quote(self.password.get_secret_value(), safe='')}"
        host = self.host or ""
        host = f"[{host}]" if ":" in host else host
        place = f"{login}@{host}" if login else host
        port = "" if self.port is None else f":{self.port}"
        query = f"?{urlencode(self.parameters, quote_via=quote)}" if self.parameters else ""
        return SecretStr(f"postgresql://{place}{port}/{quote(self.database or '', safe='')}{query}")

    def get_client(self, table_name: str, **options: Any) -> SQLOutputAdapter:
        """A table of the database as the target of a load.

        Args:
            table_name: ``users`` or ``analytics.users``.
            options: of `zoopipe_core.SQLOutputAdapter`, such as ``mode="append"``.
        """
        from zoopipe_core import SQLOutputAdapter

        return SQLOutputAdapter(self.get_uri(), table_name, **options)


def warehouse_uri(block: Block) -> SecretStr:
    """The URL of the database that a block names.

    Args:
        block: a `WarehouseCredentials`, or a ``SqlAlchemyConnector`` (``AsyncSqlAlchemyConnector``) of the package
            prefect-sqlalchemy for one of these databases; its driver makes no difference, since loads have their own.

    Raises:
        TypeError: the block names no database.
    """
    if isinstance(block, WarehouseCredentials):
        return block.get_uri()
    # By its fields: prefect-sqlalchemy need not be installed.
    connection = getattr(block, "connection_info", None)
    if connection is None:
        raise TypeError(
            "the credentials of a warehouse have to be a WarehouseCredentials or a SqlAlchemyConnector block, not a "
            f"{type(block).__name__}"
        )
    if hasattr(connection, "create_url"):
        return SecretStr(connection.create_url().render_as_string(hide_password=False))
    return SecretStr(str(connection))


def load_uri(reference: str) -> SecretStr:
    """The URL of the database that a stored block names.

    Args:
        reference: the block's type and its name, as ``"zoopipe-warehouse-credentials/warehouse"`` or
            ``"sqlalchemy-connector/warehouse"``.

    Raises:
        ValueError: there is no such block.
        TypeError: it names no database.
    """
    load: Callable[..., Any] = Block.load
    return warehouse_uri(load(reference, **SYNC))
