"""From a field's core schema to its rule.

A rule is built only if every key of the schema is one that it knows: a constraint that a future pydantic adds sends
the field back to pydantic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zoopipe_core.schema.model_types import CoreSchema
from zoopipe_core.schema.rules.base import KernelRule
from zoopipe_core.schema.rules.numbers import RANGE, Rules, bool_rules, decimal_rules, float_rules, int_rules
from zoopipe_core.schema.rules.temporal import date_rules, datetime_rules, time_rules, timedelta_rules
from zoopipe_core.schema.rules.texts import enum_rules, literal_rules, str_rules, uuid_rules

__all__ = ["rule_of", "why_no_rule"]

_IGNORED = frozenset({"type", "ref", "metadata", "serialization", "strict"})


def rule_of(schema: CoreSchema, config: Mapping[str, Any]) -> KernelRule | None:
    """The rule for a field's core schema; None if kernels cannot judge it."""
    nullable = False
    strict = bool(config.get("strict"))
    while schema["type"] in ("default", "nullable"):
        nullable = nullable or schema["type"] == "nullable"
        strict = schema.get("strict", strict)
        schema = schema["schema"]
    entry = _BUILDERS.get(schema["type"])
    if entry is None:
        return None
    known, build = entry
    if schema.keys() - _IGNORED - known:
        return None
    strict = bool(schema.get("strict", strict))
    rules = build(schema, config, strict)
    if rules is None or rules == (None, None):
        return None
    return KernelRule(schema["type"], nullable, strict, *rules)


def why_no_rule(schema: CoreSchema) -> str:
    """What about a field kernels do not know, in a few words that follow its name."""
    while schema["type"] in ("default", "nullable"):
        schema = schema["schema"]
    kind = str(schema["type"])
    if kind not in _BUILDERS:
        return f"{kind} has no kernel"
    unknown = sorted(schema.keys() - _IGNORED - _BUILDERS[kind][0])
    if kind == "str" and "pattern" in schema and not unknown:
        return "its pattern is not a simple one"
    return f"{kind} with {unknown[0]} has no kernel" if unknown else f"this kind of {kind} has no kernel"


_STR = frozenset(
    {
        "coerce_numbers_to_str", "max_length", "min_length", "pattern", "regex_engine", "strip_whitespace",
        "to_lower", "to_upper",
    }
)  # fmt: skip
# core type -> (the constraints that the rule knows, how to make it)
_BUILDERS: dict[str, tuple[frozenset[str], Callable[[CoreSchema, Mapping[str, Any], bool], Rules]]] = {
    "bool": (frozenset(), bool_rules),
    "date": (RANGE, date_rules),
    "datetime": (RANGE | {"microseconds_precision", "tz_constraint"}, datetime_rules),
    "decimal": (RANGE | {"max_digits", "decimal_places", "allow_inf_nan"}, decimal_rules),
    "enum": (frozenset({"cls", "members", "sub_type"}), enum_rules),
    "float": (RANGE | {"allow_inf_nan", "multiple_of"}, float_rules),
    "int": (RANGE | {"multiple_of"}, int_rules),
    "literal": (frozenset({"expected"}), literal_rules),
    "str": (_STR, str_rules),
    "time": (RANGE | {"microseconds_precision", "tz_constraint"}, time_rules),
    "timedelta": (RANGE | {"microseconds_precision"}, timedelta_rules),
    "uuid": (frozenset(), uuid_rules),
}
