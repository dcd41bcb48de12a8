"""Cells as literals of a database, for comparing its own values with them.

A literal is what the database itself would take for the cell, exactly. Texts are escaped as the database's own client
does it; all others are digits and signs.
"""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from zoopipe_core.adapters.sql_types import uuid_texts
from zoopipe_core.errors import SourceError

__all__ = ["EPOCH", "literal", "step_literal", "step_sql"]

EPOCH = dt.datetime(1970, 1, 1)
_TIMESTAMPS = {"s": "TIMESTAMP_S", "ms": "TIMESTAMP_MS", "us": "TIMESTAMP", "ns": "TIMESTAMP_NS"}


def literal(cell: pa.Array, database: str) -> str:
    """A cell in SQL.

    Args:
        cell: an array of one, which is not null.
        database: ``"duckdb"``, ``"postgresql"`` or ``"sqlite"``.

    Raises:
        SourceError: a value of that type has no order by which it can be looked up.
    """
    kind = cell.type
    is_sqlite = database == "sqlite"
    if pa.types.is_integer(kind):
        return str(cell[0].as_py())
    if pa.types.is_string(kind):
        return _text(cell[0].as_py(), database)
    if pa.types.is_binary(kind):
        digits = cell[0].as_py().hex()
        if database == "duckdb":
            return f"unhex('{digits}')"
        return f"x'{digits}'" if is_sqlite else f"'\\x{digits}'::bytea"
    # SQLite keeps all others as texts or numbers of a form that is not known.
    if not is_sqlite:
        if pa.types.is_decimal(kind):
            return format(cell[0].as_py(), "f")
        if pa.types.is_date(kind):
            return f"DATE '{cell.cast(pa.string())[0].as_py()}'"
        if pa.types.is_timestamp(kind):
            return _moment(cell, database)
        if isinstance(kind, pa.UuidType):
            return f"'{uuid_texts(cell)[0].as_py()}'::uuid"
    suitable = "integers, texts or bytes" if is_sqlite else "integers, decimals, texts, dates, timestamps or UUIDs"
    raise SourceError(f"its type is {kind}; rows are looked up by {suitable}")


def _text(text: str, database: str) -> str:
    quoted = text.replace("'", "''")
    if database == "postgresql" and "\\" in text:
        # As libpq's PQescapeLiteral: right whatever standard_conforming_strings is.
        escaped = quoted.replace("\\", "\\\\")
        return f" E'{escaped}'"
    if database == "sqlite" and "\0" in text:
        return f"CAST(x'{text.encode().hex()}' AS TEXT)"
    return f"'{quoted}'"


def _moment(cell: pa.Array, database: str) -> str:
    kind = cell.type
    if kind.tz is None:
        name = _TIMESTAMPS[kind.unit] if database == "duckdb" else "TIMESTAMP"
        return f"{name} '{cell.cast(pa.string())[0].as_py()}'"
    naive = cell.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit)).cast(pa.string())
    return f"TIMESTAMPTZ '{naive[0].as_py()}+00:00'"


# ---- steps ----------------------------------------------------------------------------------------------------------


def step_sql(kind: pa.DataType, key: str, database: str) -> str:
    """A date as days and a timestamp as microseconds from 1970 on, in SQL; `key` is an expression."""
    if pa.types.is_date(kind):
        return f"{key} - DATE '1970-01-01'"
    return f"epoch_us({key})" if database == "duckdb" else f"(extract(epoch FROM {key}) * 1000000)::bigint"


def step_literal(kind: pa.DataType, bound: int, database: str) -> str:
    """An integer, or the days or microseconds from 1970 on of a date or timestamp, as a literal of that type."""
    if pa.types.is_integer(kind):
        return str(bound)
    if pa.types.is_date(kind):
        day = (EPOCH + dt.timedelta(days=bound)).date().isoformat()
        return f"'{day}'" if database == "sqlite" else f"DATE '{day}'"
    zone = "" if kind.tz is None else "+00:00"
    moment = (EPOCH + dt.timedelta(microseconds=bound)).isoformat(" ", "microseconds")
    name = "" if database == "sqlite" else "TIMESTAMPTZ " if zone else "TIMESTAMP "
    return f"{name}'{moment}{zone}'"
