"""The column type of a model's field, read from pydantic's core schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from zoopipe_core.batches.types import (
    BINARY,
    DEFAULT_DECIMAL,
    JSON,
    NAIVE_MICROSECONDS,
    STRING,
    UTC_MICROSECONDS,
    ColumnType,
    infer_column_type,
)

__all__ = ["CoreSchema", "column_type_of_schema", "inner_schema"]

CoreSchema = Mapping[str, Any]

_SIMPLE: dict[str, ColumnType] = {
    "bool": ColumnType(pa.bool_(), nullable=False),
    "bytes": replace(BINARY, nullable=False),
    "date": ColumnType(pa.date32(), nullable=False),
    "float": ColumnType(pa.float64(), nullable=False),
    "int": ColumnType(pa.int64(), nullable=False),
    "multi-host-url": replace(STRING, nullable=False),
    "none": ColumnType(pa.null()),
    "str": replace(STRING, nullable=False),
    "time": ColumnType(pa.time64("us"), nullable=False),
    "timedelta": ColumnType(pa.duration("us"), nullable=False),
    "url": replace(STRING, nullable=False),
    "uuid": ColumnType(pa.uuid(), nullable=False),
}
_WRAPPERS = {
    "custom-error": "schema",
    "default": "schema",
    "function-after": "schema",
    "function-before": "schema",
    "function-wrap": "schema",
    "json-or-python": "python_schema",
    "lax-or-strict": "strict_schema",
}
"""Schemas that stand for another one: type -> the key that holds it."""


def inner_schema(schema: CoreSchema, definitions: Mapping[str, CoreSchema]) -> CoreSchema:
    """`schema` without the wrappers that do not change the type of the value."""
    while True:
        kind = schema["type"]
        if kind in _WRAPPERS:
            schema = schema[_WRAPPERS[kind]]
        elif kind == "chain":
            schema = schema["steps"][-1]
        elif kind == "definition-ref" and schema["schema_ref"] in definitions:
            schema = definitions[schema["schema_ref"]]
        else:
            return schema


def column_type_of_schema(schema: CoreSchema, definitions: Mapping[str, CoreSchema]) -> ColumnType:
    """The column type of the values that `schema` lets through, as ``model_dump()`` gives them.

    Validator functions are taken to keep the type that they are declared on.
    """
    schema = inner_schema(schema, definitions)
    kind = schema["type"]
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if kind == "nullable":
        return replace(column_type_of_schema(schema["schema"], definitions), nullable=True)
    if kind == "datetime":
        return _datetime_type(schema)
    if kind == "decimal":
        return ColumnType(_decimal_type(schema), nullable=False)
    if kind in ("literal", "enum"):
        values = schema["expected"] if kind == "literal" else [member.value for member in schema["members"]]
        values = [getattr(value, "value", value) for value in values]
        return replace(infer_column_type(values) or JSON, nullable=None in values)
    if kind == "union":
        return _union_type(schema, definitions)
    return replace(JSON, nullable=kind == "any")


def _datetime_type(schema: CoreSchema) -> ColumnType:
    constraint = schema.get("tz_constraint")
    if constraint == "naive":
        return ColumnType(NAIVE_MICROSECONDS, nullable=False)
    return ColumnType(UTC_MICROSECONDS, nullable=False, open_zone=constraint is None)


def _decimal_type(schema: CoreSchema) -> pa.DataType:
    digits, places = schema.get("max_digits"), schema.get("decimal_places")
    if digits is None and places is None:
        return DEFAULT_DECIMAL
    if digits is None:
        digits = 38
    if places is None:
        # Any number of the digits may stand behind the point: room for all of them on either side.
        digits, places = 2 * digits, digits
    digits = max(digits, places, 1)
    if digits > 76:
        return DEFAULT_DECIMAL
    return pa.decimal128(digits, places) if digits <= 38 else pa.decimal256(digits, places)


def _union_type(schema: CoreSchema, definitions: Mapping[str, CoreSchema]) -> ColumnType:
    choices = [choice[0] if isinstance(choice, tuple) else choice for choice in schema["choices"]]
    types = [column_type_of_schema(choice, definitions) for choice in choices]
    nullable = any(column_type.nullable for column_type in types)
    distinct = {replace(column_type, nullable=True) for column_type in types if column_type.arrow != pa.null()}
    if len(distinct) == 1:
        return replace(distinct.pop(), nullable=nullable)
    return replace(JSON, nullable=nullable)
