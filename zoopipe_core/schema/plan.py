"""How a model is applied to columns: each field's route, read from pydantic's core schema.

    kernel   a compiled columnar check, see `rules`; until kernels are ready, and for cells that have none: field
    field    pydantic validates the column's cells by themselves, all of them in one call
    row      pydantic validates whole rows

A field may leave the row route only if its verdict and value cannot depend on the rest of the row, and its
``model_dump()`` is the dump of its value alone. Everything that this module does not know to be so takes the row
route, where pydantic is simply called: a mistake here may cost speed, never a result.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import (
    BaseModel,
    PydanticSchemaGenerationError,
    PydanticUndefinedAnnotation,
    PydanticUserError,
    TypeAdapter,
)
from pydantic_core import SchemaSerializer, SchemaValidator, core_schema

from zoopipe_core.batches.types import JSON, ColumnType
from zoopipe_core.errors import SchemaModelError
from zoopipe_core.schema.model_check import check_model
from zoopipe_core.schema.model_shape import (
    field_holder,
    looks_at_raw_rows,
    overrides,
    raw_fields,
    replaces_dump,
    row_reason,
)
from zoopipe_core.schema.model_types import CoreSchema, column_type_of_schema, inner_schema
from zoopipe_core.schema.rules.base import KernelRule
from zoopipe_core.schema.rules.table import rule_of, why_no_rule

__all__ = ["UNSURE", "FieldPlan", "ModelPlan", "Route", "plan_of"]


class _Unsure:
    """The type of `UNSURE`: a cell that was not accepted; its row goes whole to pydantic."""

    def __repr__(self) -> str:
        return "UNSURE"

    def __deepcopy__(self, memo: object) -> _Unsure:
        return self  # pydantic copies defaults


UNSURE = _Unsure()

_SCALARS = frozenset(
    {
        "bool", "bytes", "date", "datetime", "decimal", "enum", "float", "int",
        "literal", "none", "str", "time", "timedelta", "uuid",
    }
)  # fmt: skip
"""Core types whose values ``model_dump()`` returns as they are."""


class Route(StrEnum):
    """How a field is validated; see the module's docstring."""

    KERNEL = "kernel"
    FIELD = "field"
    ROW = "row"


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """One field of a model.

    Attributes:
        name: the attribute's name.
        inputs: the source columns that pydantic looks for, the first one present wins.
        output: its key in ``model_dump()``; None if it is excluded.
        required: whether pydantic rejects a row without it.
        constant: a default that is the same object for every row, as a one-element tuple; None if there is none.
        route, reason: how it is validated, and why not faster.
        column_type: the type of its validated values.
        kernel: the rule by which kernels judge it; None if there is none.
        plain: whether the validated values are what ``model_dump()`` returns, without a call.
        pure: whether a cell's verdict and value depend on nothing but the cell: no code of a user's is called.
        schema: its core schema.
    """

    name: str
    inputs: tuple[str, ...]
    output: str | None
    required: bool
    constant: tuple[Any] | None
    route: Route
    reason: str
    column_type: ColumnType
    kernel: KernelRule | None
    plain: bool
    pure: bool
    schema: CoreSchema


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """A model, ready to be applied.

    Attributes:
        name: the class's name.
        fields: in the order of the model.
        row_reason: why whole rows go to pydantic; empty if the columns can go by themselves.
        needs_all: whether the model looks at columns that are no fields (``extra``, "before" model validators).
        reshapes: whether a validator sees the row before the fields are taken out of it, and may put some in.
        forbids_extra: ``extra="forbid"``.
        custom_json: whether ``model_dump_json()`` may differ from the JSON of ``model_dump()``.
        types: the columns of ``model_dump()`` as far as they are known.
        validate_many: whole rows, a list in one call; `UNSURE` for those that are not accepted.
        validate_all: the same; raises the errors of all of them instead.
        validate_python, validate_json: ``model_validate`` and ``model_validate_json``.
        dump, dump_json: ``model_dump`` and ``model_dump_json`` of an instance.
    """

    name: str
    fields: tuple[FieldPlan, ...]
    row_reason: str
    needs_all: bool
    reshapes: bool
    forbids_extra: bool
    hides_input: bool
    custom_json: bool
    types: Mapping[str, ColumnType]
    validate_many: Callable[[list[Any]], list[Any]]
    validate_all: Callable[[list[Any]], Any]
    validate_json: Callable[[bytes], Any]
    validate_python: Callable[[Any], Any]
    dump: Callable[[Any], dict[str, Any]]
    dump_json: Callable[[Any], bytes]
    column_validators: Mapping[str, SchemaValidator]
    column_serializers: Mapping[str, SchemaSerializer]

    @property
    def source_columns(self) -> frozenset[str] | None:
        """The source columns that the model looks at; None: all of them."""
        if self.needs_all:
            return None
        return frozenset(name for field in self.fields for name in field.inputs)

    def missing(self, columns: Iterable[str]) -> list[str]:
        """The first input name of each required field that none of `columns` provides, as far as that can be told."""
        if self.reshapes:
            return []
        present = set(columns)
        return [f.inputs[0] for f in self.fields if f.required and not present.intersection(f.inputs)]


_plans: weakref.WeakKeyDictionary[type, ModelPlan] = weakref.WeakKeyDictionary()


def plan_of(model: type) -> ModelPlan:
    """The plan of `model`, built once a process.

    >>> from pydantic import BaseModel
    >>> class User(BaseModel):
    ...     id: int
    >>> plan_of(User).fields[0].route.value
    'kernel'

    Raises:
        SchemaModelError: `model` is no model, or pydantic cannot build its schema.
    """
    check_model(model)
    plan = _plans.get(model)
    if plan is None:
        plan = _plans[model] = _build(model)
    return plan


def _build(model: type) -> ModelPlan:
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(model)
        outer: CoreSchema = adapter.core_schema
        validator, serializer = adapter.validator, adapter.serializer
        if not isinstance(validator, SchemaValidator):  # a plugin's wrapper, or a class that was not finished
            adapter.rebuild(force=True)
            outer, validator, serializer = adapter.core_schema, adapter.validator, adapter.serializer
    except (PydanticUserError, PydanticSchemaGenerationError, PydanticUndefinedAnnotation, NameError) as error:
        raise SchemaModelError(f"pydantic cannot build a schema for {model.__name__}: {error}") from error
    definitions = {item["ref"]: item for item in outer.get("definitions", ())}
    top = outer["schema"] if outer["type"] == "definitions" else outer
    while top["type"] == "definition-ref":
        top = definitions[top["schema_ref"]]
    core = inner_schema(top, definitions)
    config = core.get("config") or {}
    holder = field_holder(core, definitions)
    computed = holder.get("computed_fields") or ()
    reason = row_reason(model, top, core, holder, config, computed)
    extra = holder.get("extra_behavior") or config.get("extra_fields_behavior") or "ignore"
    fields = tuple(_field_plan(name, raw, config, definitions) for name, raw in raw_fields(holder))
    if not reason:
        reason = next((f"the field {f.name} {f.reason}" for f in fields if f.route is Route.ROW), "")
    custom_json = _has_custom_json(outer) or overrides(model, "model_dump", "model_dump_json")
    if custom_json and not reason:
        reason = "the model has serializers of its own"
    reshapes = looks_at_raw_rows(top, core, holder)
    types: dict[str, ColumnType] = {f.output: f.column_type for f in fields if f.output is not None}
    for item in computed:
        types[_output_name(item["property_name"], item.get("alias"), config)] = column_type_of_schema(
            item["return_schema"], definitions
        )
    defined = list(definitions.values())
    return ModelPlan(
        name=model.__name__,
        fields=fields,
        row_reason=reason,
        needs_all=extra != "ignore" or reshapes,
        reshapes=reshapes,
        forbids_extra=extra == "forbid",
        hides_input=bool(config.get("hide_input_in_errors")),
        custom_json=custom_json,
        types=types if not replaces_dump(model, outer, core, holder) else {},
        validate_many=_many_validator(top, defined, config).validate_python,
        validate_all=_list_validator(top, defined, config).validate_python,
        validate_json=getattr(model, "model_validate_json", validator.validate_json),
        validate_python=getattr(model, "model_validate", validator.validate_python),
        dump=model.model_dump if issubclass(model, BaseModel) else serializer.to_python,
        dump_json=_json_dumper(model, serializer),
        column_validators={
            f.name: _many_validator(f.schema, defined, config) for f in fields if f.route is not Route.ROW
        },
        column_serializers={
            f.name: SchemaSerializer(_with_definitions(core_schema.list_schema(f.schema), defined), config)  # type: ignore[arg-type]
            for f in fields
            if f.route is not Route.ROW and not f.plain
        },
    )  # fmt: skip


def _many_validator(schema: CoreSchema, definitions: list[CoreSchema], config: CoreSchema) -> SchemaValidator:
    """Validates a list of inputs in one call; what is not accepted comes back as `UNSURE`."""
    return _list_validator(
        core_schema.with_default_schema(schema, default=UNSURE, on_error="default"), definitions, config
    )


def _list_validator(item: Any, definitions: list[CoreSchema], config: CoreSchema) -> SchemaValidator:
    return SchemaValidator(_with_definitions(core_schema.list_schema(item), definitions), config)  # type: ignore[arg-type]


def _with_definitions(schema: Any, definitions: list[CoreSchema]) -> Any:
    return core_schema.definitions_schema(schema, definitions) if definitions else schema


def _json_dumper(model: type, serializer: SchemaSerializer) -> Callable[[Any], bytes]:
    if issubclass(model, BaseModel) and model.model_dump_json is not BaseModel.model_dump_json:
        return lambda instance: instance.model_dump_json().encode()
    return serializer.to_json


# ---- reading the core schema --------------------------------------------------------------------------------------


def _field_plan(name: str, raw: CoreSchema, config: CoreSchema, definitions: Mapping[str, CoreSchema]) -> FieldPlan:
    schema = raw["schema"]
    inputs, simple_alias = _inputs(name, raw.get("validation_alias"), config)
    has_default = schema["type"] == "default"
    required = not has_default and raw.get("required", True)
    reason = ""
    if not simple_alias:
        reason = "has an alias path or alias choices"
    elif raw.get("serialization_exclude_if") is not None:
        reason = "is excluded by a condition"
    elif _depends_on_row(schema):
        reason = "has a validator or default factory that can read other fields"
    inner = inner_schema(schema, definitions)
    if inner["type"] == "nullable":
        inner = inner_schema(inner["schema"], definitions)
    plain = inner["type"] in _SCALARS and not _has_functions(schema)
    excluded = bool(raw.get("serialization_exclude"))
    column_type = column_type_of_schema(schema, definitions)
    rule = rule_of(schema, config) if plain and not reason else None
    if inner["type"] == "function-plain":
        column_type = JSON
    return FieldPlan(
        name=name,
        inputs=inputs,
        output=None if excluded else _output_name(name, raw.get("serialization_alias"), config),
        required=required,
        constant=_constant_default(schema, plain, config),
        route=Route.ROW if reason else Route.FIELD if rule is None else Route.KERNEL,
        reason=reason or ("" if rule else "a validator function" if _has_functions(schema) else why_no_rule(schema)),
        column_type=column_type,
        kernel=rule,
        plain=plain,
        pure=not reason and _is_pure(schema),
        schema=schema,
    )


def _inputs(name: str, alias: Any, config: CoreSchema) -> tuple[tuple[str, ...], bool]:
    """The source columns a field may come from, and whether the first one present is all there is to it."""
    by_name = config.get("validate_by_name", config.get("populate_by_name", False))
    by_alias = config.get("validate_by_alias", True)
    if alias is None or not by_alias:
        return (name,), True
    if isinstance(alias, str):
        return ((alias, name) if by_name else (alias,)), True
    paths = alias if alias and isinstance(alias[0], list) else [alias]
    keys = [str(path[0]) for path in paths] + ([name] if by_name else [])
    return tuple(dict.fromkeys(keys)), False


def _output_name(name: str, alias: str | None, config: CoreSchema) -> str:
    return alias if alias is not None and config.get("serialize_by_alias") else name


def _constant_default(schema: CoreSchema, plain: bool, config: CoreSchema) -> tuple[Any] | None:
    """The default as ``model_dump()`` shows it, if it is the same for every row and validation does not touch it."""
    if schema["type"] != "default" or "default" not in schema:
        return None
    if schema.get("validate_default", config.get("validate_default")):
        return None
    value = schema["default"]
    if not plain:
        # Whatever else may stand in the field, None in an optional one is shown as None.
        shown = value is None and schema["schema"]["type"] == "nullable"
        custom = "serialization" in schema or "serialization" in schema["schema"]
        return (None,) if shown and not custom else None
    immutable = isinstance(value, str | bytes | int | float) or value is None
    return (value,) if immutable else None


def _walk(schema: Any) -> Iterator[CoreSchema]:
    """Every schema within `schema`, itself included; metadata and default values are no schemas."""
    if isinstance(schema, Mapping):
        if "type" in schema:
            yield schema
        for key, value in schema.items():
            if key not in ("metadata", "default", "expected", "members", "config"):
                yield from _walk(value)
    elif isinstance(schema, list | tuple):
        for item in schema:
            yield from _walk(item)


def _has_functions(schema: CoreSchema) -> bool:
    return any(str(part["type"]).startswith("function-") for part in _walk(schema))


def _is_pure(schema: CoreSchema) -> bool:
    """Whether only pydantic's own code is called, all of it within `schema`."""
    return not any(
        str(part["type"]).startswith(("function-", "definition"))
        or part["type"] in ("call", "custom-error")
        or "serialization" in part
        or part.get("missing")
        or part.get("default_factory")
        for part in _walk(schema)
    )


def _depends_on_row(schema: CoreSchema) -> bool:
    return any(
        part.get("default_factory_takes_data")
        or (isinstance(part.get("function"), Mapping) and part["function"].get("type") == "with-info")
        for part in _walk(schema)
    )


def _has_custom_json(schema: CoreSchema) -> bool:
    """Whether JSON may differ from that of the dumped values: serializers, or settings of the ``ser_json`` kind."""
    return any(
        "serialization" in part or any(key.startswith("ser_json") for key in part.get("config") or ())
        for part in _walk(schema)
    )
