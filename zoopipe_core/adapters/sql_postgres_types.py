"""PostgreSQL's types as its driver gives and takes them: which are Arrow's own, and how the others are asked for."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.adapters.sql_database import Decoder
from zoopipe_core.adapters.sql_results import MONTHS, decimals, intervals
from zoopipe_core.batches.types import DEFAULT_DECIMAL

__all__ = ["decimal_type", "jsonb", "loose_json", "recipe"]

# What the driver gives in Arrow's own types, by PostgreSQL's internal names.
_NATIVE = frozenset(
    (
        *("bool", "bpchar", "bytea", "char", "date", "float4", "float8", "int2", "int4", "int8", "json", "jsonb"),
        *("name", "text", "time", "timestamp", "timestamptz", "uuid", "varchar"),
    )
)
_NATIVE_ARRAYS = frozenset("_" + name for name in _NATIVE - {"json", "jsonb"})


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
