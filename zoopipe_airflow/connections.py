"""`AirflowConnection`: a database that is named by the connection in which Airflow keeps its password.

    DAG file             AirflowConnection("warehouse")        all that is parsed, shown, and kept of it
    task's process       the connection's fields ─▶ SecretStr  when the load begins; Airflow masks it in logs
    worker's process     SecretStr                             as any secret travels: not by arguments, not by files

URLs are built from the fields of the connection. Airflow's own `get_uri` gives ``postgres://``, encoded paths of
SQLite and a parameter ``__extra__``, none of which a driver understands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote, urlencode

from zoopipe_airflow.walking import changed_pipe

if TYPE_CHECKING:
    from pydantic import SecretStr

    from zoopipe_core import Pipe

__all__ = ["AirflowConnection", "connection_url", "resolve_connections"]

# What of the extra field libpq takes as a parameter of a connection; Airflow's hook has more, which are its own.
_LIBPQ = frozenset(
    (
        "application_name", "channel_binding", "connect_timeout", "gssencmode", "hostaddr", "keepalives",
        "keepalives_count", "keepalives_idle", "keepalives_interval", "krbsrvname", "load_balance_hosts", "options",
        "passfile", "require_auth", "service", "sslcert", "sslcrl", "sslkey", "sslmode", "sslpassword", "sslrootcert",
        "target_session_attrs", "tcp_user_timeout",
    )
)  # fmt: skip


class Fields(Protocol):
    """What is looked at of a connection; Airflow's own has more."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    login: str | None
    password: str | None
    port: int | None

    @property
    def extra_dejson(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class AirflowConnection:
    """Stands for the URL of a database, where an adapter takes one.

    Args:
        conn_id: of a connection of the type ``postgres``, ``sqlite`` or ``duckdb``. May hold a template.

    It is looked up when a task runs, in the task's own process, and never while a DAG file is parsed.

    >>> from zoopipe_core import SQLOutputAdapter
    >>> SQLOutputAdapter(AirflowConnection("warehouse"), "users", mode="append")
    SQLOutputAdapter('AirflowConnection:warehouse()', 'users', mode='append')
    """

    conn_id: str

    @property
    def __name__(self) -> str:
        """By which adapters show it."""
        return f"{type(self).__name__}:{self.conn_id}"

    def __call__(self) -> SecretStr:
        """The URL.

        Raises:
            ValueError: the connection is of another type, or a field that is needed is missing.
            AirflowNotFoundException: there is no such connection.
        """
        from airflow.sdk import BaseHook
        from airflow.sdk.log import mask_secret
        from pydantic import SecretStr

        connection = BaseHook.get_connection(self.conn_id)
        url = connection_url(connection)
        if connection.password:
            # Airflow masks the password as it is; in a URL, it may look different.
            mask_secret(quote(connection.password, safe=""))
        return SecretStr(url)


def resolve_connections(pipe: Pipe) -> Pipe:
    """The pipe with the URLs of its connections, as secrets; the same object if it names no connection.

    Raises:
        ValueError, AirflowNotFoundException: a connection is not there, or is none that loads know.
    """
    return changed_pipe(pipe, lambda value: value() if isinstance(value, AirflowConnection) else value)


def connection_url(connection: Fields) -> str:
    """The URL of a database as adapters take it. It holds the password.

    >>> from airflow.sdk import Connection
    >>> connection_url(Connection(conn_id="dwh", conn_type="postgres", host="db", login="me", schema="sales"))
    'postgresql://me@db/sales'

    Raises:
        ValueError: the type is another one, or a field is missing; the message shows none of the fields.
    """
    build = _URLS.get(connection.conn_type or "")
    if build is None:
        known = ", ".join(map(repr, _URLS))
        raise ValueError(
            f"the connection {connection.conn_id!r} is of the type {connection.conn_type!r}; loads know {known}"
        )
    return build(connection)


def _postgresql(connection: Fields) -> str:
    extra = connection.extra_dejson
    if extra.get("iam"):
        raise ValueError(
            f"the connection {connection.conn_id!r} asks for IAM authentication, for which there is no password to "
            "connect with; give the adapter a function that returns a URL with a token instead"
        )
    parameters = {name: _plain(value) for name, value in extra.items() if name in _LIBPQ}
    host = connection.host or ""
    if host.startswith("/"):
        parameters["host"] = host  # the folder of a socket
        host = ""
    elif ":" in host and not host.startswith("["):
        host = f"[{host}]"
    login = quote(connection.login or "", safe="")
    if connection.password:
        login += ":" + quote(connection.password, safe="")
    port = "" if connection.port is None else f":{connection.port}"
    if port and not host:
        parameters["port"], port = str(connection.port), ""
    query = f"?{urlencode(parameters, quote_via=quote)}" if parameters else ""
    at = "@" if login else ""
    return f"postgresql://{login}{at}{quote(host, safe='[]:,.')}{port}/{quote(connection.schema or '', safe='')}{query}"


def _plain(value: Any) -> str:
    """As libpq writes it."""
    return str(int(value)) if isinstance(value, bool) else str(value)


def _file(scheme: str) -> Callable[[Fields], str]:
    def build(connection: Fields) -> str:
        given = [path for path in (connection.host, connection.schema) if path]
        if len(given) != 1:
            problem = "names no file" if not given else "has both a host and a schema"
            raise ValueError(f"the connection {connection.conn_id!r} {problem}; write the path of the file as its host")
        if connection.password and scheme == "duckdb":
            raise ValueError(f"the connection {connection.conn_id!r} has a token: loads go into files, not MotherDuck")
        return f"{scheme}:///{given[0]}"

    return build


_URLS: Mapping[str, Callable[[Fields], str]] = {
    "duckdb": _file("duckdb"),
    "postgres": _postgresql,
    "postgresql": _postgresql,
    "sqlite": _file("sqlite"),
}
