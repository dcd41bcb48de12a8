"""PostgreSQL's types: which hold what, what COPY takes, how the driver gives them, and when values are the same."""

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.sql_database import Decoder, SQLType
from zoopipe_core.adapters.sql_names import quote
from zoopipe_core.adapters.sql_results import MONTHS, decimals, intervals
from zoopipe_core.adapters.sql_types import AWARE, NAIVE
from zoopipe_core.batches.types import DEFAULT_DECIMAL

__all__ = ["differs", "loose_json", "parse_type", "recipe", "type_name"]

_TYPES: dict[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int16(): "smallint",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float32(): "real",
    pa.float64(): "double precision",
    pa.string(): "text",
    pa.binary(): "bytea",
    pa.date32(): "date",
    pa.time64("us"): "time without time zone",
    NAIVE: "timestamp without time zone",
    AWARE: "timestamp with time zone",
    pa.duration("us"): "interval",
    pa.uuid(): "uuid",
    pa.json_(): "json",
}
_BY_NAME = {name: kind for kind, name in _TYPES.items()}
_WIDER: dict[pa.DataType, str] = {
    pa.int8(): "smallint",
    pa.uint8(): "smallint",
    pa.uint16(): "integer",
    pa.uint32(): "bigint",
    pa.uint64(): "numeric(20,0)",
    pa.null(): "text",
}
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)")
_VARCHAR = re.compile(r"character varying\((\d+)\)")
# What the driver gives in Arrow's own types, by PostgreSQL's internal names.
_NATIVE = frozenset(
    (
        *("bool", "bpchar", "bytea", "char", "date", "float4", "float8", "int2", "int4", "int8", "json", "jsonb"),
        *("name", "text", "time", "timestamp", "timestamptz", "uuid", "varchar"),
    )
)
_NATIVE_ARRAYS = frozenset("_" + name for name in _NATIVE - {"json", "jsonb"})

# Of these, values that are equal are the same; a numeric without a scale has 1.0 and 1.00, a text its collation.
_SAME_IF_EQUAL = re.compile(
    r"boolean|smallint|integer|bigint|numeric\(\d+,\d+\)|bytea|uuid|date|time(stamp)? with(out)? time zone"
)
_TEXT = re.compile(r"text|character varying(\(\d+\))?")


def type_name(kind: pa.DataType) -> str | None:
    """See `Database.type_name`."""
    if pa.types.is_decimal(kind):
        return f"numeric({kind.precision},{kind.scale})" if 0 <= kind.scale <= kind.precision else None
    return _TYPES.get(kind) or _WIDER.get(kind)


def parse_type(name: str) -> SQLType:
    """See `Database.parse_type`."""
    if match := _NUMERIC.fullmatch(name):
        precision, scale = int(match.group(1)), int(match.group(2))
        return SQLType(name, decimal_type(precision, scale) if scale <= precision <= 76 else None)
    if name == "numeric":
        return SQLType(name, DEFAULT_DECIMAL, any_decimal=True)
    if match := _VARCHAR.fullmatch(name):
        return SQLType(name, pa.string(), max_length=int(match.group(1)))
    if name == "character varying":
        return SQLType(name, pa.string())
    if name == "jsonb":
        return SQLType(name, pa.json_(), encode=jsonb)
    return SQLType(name, _BY_NAME.get(name))


def recipe(field: pa.Field, source: str) -> tuple[str, pa.DataType, Decoder | None]:
    """How a column is asked for, what is delivered, and how the array that comes becomes that."""
    metadata = field.metadata or {}
    name = metadata.get(b"POSTGRESQL:type", b"").decode()
    if name == "numeric":
        kind = _numeric(int(metadata.get(b"POSTGRESQL:typmod", b"-1")))
        decode = decimals(kind)
        return source, kind, lambda array: decode(array.storage)
    if name == "interval":
        # The driver gives nanoseconds, which end after 292 years; a month has no number of days.
        months = f"extract(year FROM {source}) * 12 + extract(month FROM {source})"
        return (
            f"CASE WHEN NOT isfinite({source}) OR {months} <> 0 THEN '{MONTHS}'::bigint"
            f" ELSE (extract(epoch FROM {source}) * 1000000)::bigint END",
            pa.duration("us"),
            intervals,
        )
    if name == "oid":
        return f"{source}::bigint", pa.int64(), None
    if name in _NATIVE or name in _NATIVE_ARRAYS:
        return source, field.type, None
    # As the server prints it: a cast to text would add the netmask to an inet.
    return f"CASE WHEN {source} IS NOT NULL THEN format('%s', {source}) END", pa.string(), None


def differs(column: str, type_name: str) -> str:
    """A condition: the column of `old` and that of `new`, of the same type, do not hold the very same value.

    >>> differs("n", "bigint")
    'old."n" IS DISTINCT FROM new."n"'
    """
    old, new = f"old.{quote(column)}", f"new.{quote(column)}"
    if _SAME_IF_EQUAL.fullmatch(type_name):
        return f"{old} IS DISTINCT FROM {new}"
    if _TEXT.fullmatch(type_name):
        return f'{old} COLLATE "C" IS DISTINCT FROM {new} COLLATE "C"'
    if type_name == "double precision":  # zero has two signs
        return f"({old} IS DISTINCT FROM {new} OR {old} = 0 AND float8send({old}) <> float8send({new}))"
    # As they are stored; the casts are for a domain, and make records of what would be compared field by field.
    return f"ROW({old}::{type_name})::record *<> ROW({new}::{type_name})::record"


def _numeric(modifier: int) -> pa.DataType:
    """The decimal type of a column numeric(p, s), from the modifier that encodes both; -1 means neither is given."""
    if modifier < 4:
        return DEFAULT_DECIMAL
    precision, scale = (modifier - 4) >> 16, (((modifier - 4) & 0x7FF) ^ 1024) - 1024
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale, 1)
    return decimal_type(precision, scale) if precision <= 76 else DEFAULT_DECIMAL


def decimal_type(precision: int, scale: int) -> pa.DataType:
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def jsonb(array: pa.Array) -> pa.Array:
    """JSON texts as COPY takes them for a jsonb column: the version of its format, a byte 1, then the text."""
    return pc.binary_join_element_wise(
        pa.scalar(b"\x01", pa.binary()), array.storage.cast(pa.binary()), pa.scalar(b"", pa.binary())
    )


def loose_json(texts: pa.Array) -> tuple[int, str] | None:
    """The first JSON text with a NaN or an infinity in it, which PostgreSQL does not take for JSON."""
    suspects = pc.indices_nonzero(pc.match_substring_regex(texts, "NaN|Infinity").fill_null(False))
    for index in suspects.to_pylist():
        try:
            json.loads(texts[index].as_py(), parse_constant=_refuse)
        except ValueError:
            return index, "PostgreSQL's JSON has neither NaN nor infinities"
    return None


def _refuse(name: str) -> None:
    raise ValueError(name)
