"""What pydantic's core schema says of a model as a whole: where its fields are, and what looks at whole rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from zoopipe_core.schema.model_types import CoreSchema, inner_schema

__all__ = ["field_holder", "looks_at_raw_rows", "overrides", "raw_fields", "replaces_dump", "row_reason"]


def field_holder(core: CoreSchema, definitions: Mapping[str, CoreSchema]) -> CoreSchema:
    """The schema with the fields: within a model or dataclass, or the typed-dict itself."""
    return core if core["type"] == "typed-dict" else inner_schema(core["schema"], definitions)


def raw_fields(holder: CoreSchema) -> Iterator[tuple[str, CoreSchema]]:
    fields = holder["fields"]
    if isinstance(fields, Mapping):
        yield from fields.items()
    else:
        yield from ((field["name"], field) for field in fields)


def row_reason(
    model: type, top: CoreSchema, core: CoreSchema, holder: CoreSchema, config: CoreSchema, computed: Any
) -> str:
    """Why the model as a whole takes the row route; empty if it does not."""
    direct = core if core["type"] == "typed-dict" else core["schema"]
    checks: tuple[tuple[object, str], ...] = (
        (top is not core or direct is not holder, "the model has model validators"),
        (core.get("custom_init"), "the model has an __init__ of its own"),
        (core.get("post_init"), "the model has model_post_init or __post_init__"),
        (core["type"] == "dataclass" and any(f.get("init_only") for _, f in raw_fields(holder)), "it has InitVars"),
        (
            (holder.get("extra_behavior") or config.get("extra_fields_behavior")) == "allow",
            'the model has extra="allow"',
        ),
        (computed, "the model has computed fields"),
        (
            overrides(model, "model_dump", "model_dump_json", "model_validate", "model_validate_json", "__new__"),
            "the model overrides a method of BaseModel",
        ),
        (
            core["type"] == "typed-dict" and any(_absent_allowed(f) for _, f in raw_fields(holder)),
            "the TypedDict has optional keys",
        ),
    )  # fmt: skip
    return next((reason for found, reason in checks if found), "")


def _absent_allowed(field: CoreSchema) -> bool:
    return not field.get("required", True) and field["schema"]["type"] != "default"


def overrides(model: type, *names: str) -> bool:
    if not issubclass(model, BaseModel):
        return False
    return any(
        getattr(getattr(model, name), "__func__", getattr(model, name))
        is not getattr(getattr(BaseModel, name), "__func__", getattr(BaseModel, name))
        for name in names
    )


def looks_at_raw_rows(top: CoreSchema, core: CoreSchema, holder: CoreSchema) -> bool:
    """Whether a model validator sees the row before pydantic takes the fields out of it."""
    if core.get("custom_init"):
        return True
    for schema, end in ((top, core), (core.get("schema", holder), holder)):
        while schema is not end:
            if schema["type"] != "function-after":
                return True
            schema = schema["schema"]
    return False


def replaces_dump(model: type, outer: CoreSchema, core: CoreSchema, holder: CoreSchema) -> bool:
    """Whether the keys of ``model_dump()`` are unknown before it is called."""
    return overrides(model, "model_dump") or any("serialization" in schema for schema in (outer, core, holder))
