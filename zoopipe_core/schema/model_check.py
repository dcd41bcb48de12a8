"""What may be a model: looked at when a pipe is built, long before anything is known of its fields."""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import BaseModel, RootModel
from typing_extensions import is_typeddict

from zoopipe_core.errors import SchemaModelError

__all__ = ["check_model"]


def check_model(model: Any) -> None:
    """Refuse what is no model, without building its schema.

    Raises:
        SchemaModelError: `model` is neither a BaseModel, a dataclass nor a TypedDict class.
    """
    if (
        isinstance(model, type)
        and model is not BaseModel
        and not issubclass(model, RootModel)
        and (issubclass(model, BaseModel) or dataclasses.is_dataclass(model) or is_typeddict(model))
    ):
        return
    shown = f"an instance of {type(model).__name__}" if not isinstance(model, type) else model.__name__
    raise SchemaModelError(
        f"schema_model has to be a class derived from pydantic.BaseModel, a dataclass or a TypedDict, not {shown}"
    )
