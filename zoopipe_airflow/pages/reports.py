"""A report out of an XCom. Whoever writes DAGs writes XComs, so what is there may be anything."""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from zoopipe_core import PipeReport

__all__ = ["History", "LoadReport", "PastLoad", "read_histories", "read_report"]

# What each report of a load has, of whatever version, and hardly anything else.
_TELLING = ("status", "source", "target", "read_rows", "loaded_rows")


@dataclass(frozen=True)
class LoadReport:
    """The report of a load, and those of the pipes or shards that it is made of, which may be none."""

    total: PipeReport
    pipes: tuple[PipeReport, ...] = ()


Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class PastLoad:
    """One load in the ledger of a target; see `zoopipe_core.ledger.LoadRecord`."""

    load_id: str
    status: str
    attempt: Count
    read_rows: Count
    loaded_rows: Count
    rejected_rows: Count
    started_at: datetime | None
    committed_at: datetime | None


@dataclass(frozen=True)
class History:
    """What a target remembered when the task ended: the latest load first; `load_ids` are those of the task's own."""

    target: str
    load_ids: tuple[str | None, ...]
    loads: tuple[PastLoad, ...]


_histories = TypeAdapter(tuple[History, ...])


def read_histories(value: object) -> tuple[History, ...]:
    """What an XCom of `zoopipe_airflow.history` holds; nothing if it holds something else.

    >>> read_histories([{"target": "out.csv", "load_ids": ["a"], "loads": []}])[0].target
    'out.csv'
    >>> read_histories("<script>"), read_histories(None), read_histories([{"target": 1}])
    ((), (), ())
    """
    try:
        return _histories.validate_json(value) if isinstance(value, str) else _histories.validate_python(value)
    except ValidationError:
        return ()


def read_report(value: object) -> LoadReport | None:
    """The report that an XCom holds; None if it holds something else.

    Args:
        value: of the XCom: plain JSON types, or JSON as text.

    >>> data = PipeReport(source="in.csv", target="out.csv", read_rows=3).to_dict()
    >>> read_report({**data, "pipes": [data]}).pipes[0].read_rows
    3
    >>> read_report({**data, "read_rows": "<b>many</b>"}), read_report("{}"), read_report(None)
    (None, None, None)
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    total = _report(value)
    if total is None or not isinstance(value, Mapping):
        return None
    listed = value.get("pipes")
    pipes = [_report(one) for one in listed] if isinstance(listed, list) else []
    return LoadReport(total, tuple(pipe for pipe in pipes if pipe is not None))


def _report(value: object) -> PipeReport | None:
    if not isinstance(value, Mapping) or not all(name in value for name in _TELLING):
        return None
    # None stands for what JSON has no number for.
    given = {name: item for name, item in value.items() if item is not None}
    try:
        return PipeReport(**_adapter().validate_python(given))
    except ValidationError:
        return None


@cache
def _adapter() -> TypeAdapter[Any]:
    """The types of a report's fields, as pydantic checks them; `PipeReport` itself checks none."""
    hints = typing.get_type_hints(PipeReport)
    names = [field.name for field in dataclasses.fields(PipeReport) if field.name != "cause"]
    fields = TypedDict("fields", {name: hints[name] for name in names}, total=False)  # type: ignore[misc]
    return TypeAdapter(fields)
