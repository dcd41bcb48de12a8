"""DuckDB's types: which one a column gets, and how columns of each are read."""

from __future__ import annotations

import re

import pyarrow as pa

from zoopipe_core.adapters.sql_database import Decoder, SQLType
from zoopipe_core.adapters.sql_results import MONTHS, as_json, as_utc, integers, intervals, uuids
from zoopipe_core.adapters.sql_types import AWARE, NAIVE

__all__ = ["delivered", "parse_type", "recipe", "type_name"]

_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "BOOLEAN",
    pa.int8(): "TINYINT",
    pa.int16(): "SMALLINT",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.uint8(): "UTINYINT",
    pa.uint16(): "USMALLINT",
    pa.uint32(): "UINTEGER",
    pa.uint64(): "UBIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.binary(): "BLOB",
    pa.date32(): "DATE",
    pa.time64("us"): "TIME",
    NAIVE: "TIMESTAMP",
    AWARE: "TIMESTAMP WITH TIME ZONE",
    pa.duration("us"): "INTERVAL",
    pa.uuid(): "UUID",
    pa.json_(): "JSON",
}
_BY_NAME = {name: kind for kind, name in _TYPES.items()}
_DECIMAL = re.compile(r"DECIMAL\((\d+),\s*(\d+)\)")
# Types that Arrow holds as they are; "NULL" is the type of a bare NULL.
_NATIVE = {*_BY_NAME, "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", '"NULL"', "NULL"} - {"UUID", "JSON", "INTERVAL"}
_NESTED = re.compile(r"(STRUCT|MAP)\(|.*\[\d*\]\Z", re.DOTALL)


def type_name(kind: pa.DataType) -> str | None:
    """See `Database.type_name`."""
    if pa.types.is_null(kind):
        return "VARCHAR"
    if pa.types.is_decimal(kind):
        fits = kind.precision <= 38 and 0 <= kind.scale <= kind.precision
        return f"DECIMAL({kind.precision},{kind.scale})" if fits else None
    return _TYPES.get(kind)


def parse_type(name: str) -> SQLType:
    """See `Database.parse_type`."""
    if match := _DECIMAL.fullmatch(name):
        return SQLType(name, pa.decimal128(int(match.group(1)), int(match.group(2))))
    if name == "HUGEINT":
        return SQLType(name, pa.decimal128(38, 0))
    if name.startswith("ENUM("):
        return SQLType(name, pa.string())
    return SQLType(name, _BY_NAME.get(name))


def delivered(kind: pa.DataType, decode: Decoder | None) -> pa.DataType:
    """The type of what a column of a result holds once it is decoded."""
    return kind if decode is None else decode(pa.array([], kind)).array.type


def recipe(kind: str, source: str) -> tuple[str, Decoder | None]:
    """How a column of type `kind` is asked for, and how the array that comes is decoded."""
    if kind == "UUID":
        return f"unhex(replace(CAST({source} AS VARCHAR), '-', ''))", uuids
    if kind == "JSON":
        return f"CAST({source} AS VARCHAR)", as_json
    if kind == "INTERVAL":
        # Arrow's own interval counts nanoseconds, which DuckDB lets overflow after 292 years.
        months = f"date_part('year', {source}) * 12 + date_part('month', {source})"
        return f"CASE WHEN {months} <> 0 THEN {MONTHS} ELSE epoch_us({source}) END", intervals
    if kind in ("HUGEINT", "UHUGEINT", "BIGNUM", "VARINT"):
        return f"CAST({source} AS VARCHAR)", integers
    if kind == "TIMESTAMP WITH TIME ZONE":
        return source, as_utc
    if kind in _NATIVE or _DECIMAL.fullmatch(kind) or _NESTED.match(kind):
        return source, None
    return f"CAST({source} AS VARCHAR)", None
