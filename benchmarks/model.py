"""The model that every contender has to satisfy, in three widths."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

Age = Annotated[int, Field(ge=0, le=150)]
Country = Annotated[str, Field(min_length=2, max_length=2)]


class User(BaseModel):
    user_id: int
    username: str
    email: str
    age: Age
    salary: float
    is_active: bool
    signup_date: date
    country: Country


KINDS: dict[str, Any] = {name: field.annotation for name, field in User.model_fields.items()}
"""The Python type of each of User's columns."""

NARROW = ("user_id", "email", "age", "salary")


def columns_of(width: int) -> dict[str, str]:
    """The columns of an input of `width` columns: name -> the column of User that it repeats.

    4 are some of User's, 8 are all of them, a multiple of 8 repeats them as ``age_2``, ``age_3``...
    """
    if width == len(NARROW):
        return {name: name for name in NARROW}
    if width < len(KINDS) or width % len(KINDS):
        raise ValueError(f"a width of {width} columns: use 4 or a multiple of {len(KINDS)}")
    return {
        name if copy == 1 else f"{name}_{copy}": name for copy in range(1, width // len(KINDS) + 1) for name in KINDS
    }


def model_of(width: int) -> type[BaseModel]:
    """User with `width` columns."""
    if width == len(KINDS):
        return User
    fields = User.model_fields
    definitions = {
        name: (Annotated[fields[base].annotation, fields[base]], ...) for name, base in columns_of(width).items()
    }
    model: type[BaseModel] = create_model(f"User{width}", **definitions)  # type: ignore[call-overload]
    return model
