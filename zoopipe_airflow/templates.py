"""Jinja templates within pipes: paths, queries, table names, load ids.

Only texts that hold a template are touched: what is none (a delimiter, a line end) stays as it is to the letter.
Secrets and functions are no texts, and are not rendered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zoopipe_airflow.walking import ADAPTERS, changed_pipe

if TYPE_CHECKING:
    from zoopipe_core import Pipe

__all__ = ["describe_pipe", "render_pipe"]

_TEMPLATE = re.compile(r"\{[{%#]")
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")


def render_pipe(pipe: Pipe, render: Callable[[str], object]) -> Pipe:
    """The pipe with all templates in its adapters and its load id rendered; the same object if there are none.

    Args:
        pipe: stays as it is.
        render: one template; what it returns counts as text.

    >>> from zoopipe_core import Pipe
    >>> render_pipe(Pipe("in/{{ ds }}.csv", None), lambda text: text.replace("{{ ds }}", "2026-01-31"))
    Pipe(in/2026-01-31.csv -> no output)

    Raises:
        SpecError: what was rendered is not what the adapter takes.
    """
    return changed_pipe(pipe, lambda value: _rendered(value, render), (*ADAPTERS, "load_id"))


def _rendered(value: Any, render: Callable[[str], object]) -> Any:
    """`value` rendered, if it is a text with a template; itself if not."""
    if isinstance(value, str):
        return str(render(value)) if _TEMPLATE.search(value) else value
    if isinstance(value, os.PathLike):
        path = os.fspath(value)
        result = _rendered(path, render)
        return value if result is path else result
    return value


def describe_pipe(pipe: Pipe) -> dict[str, Any]:
    """What Airflow shows of a pipe, and by which it knows one version of a DAG from another: plain JSON.

    The same in each process that parses the DAG, and without secrets, since the repr of an adapter has none.

    >>> from zoopipe_core import Pipe
    >>> describe_pipe(Pipe("users.csv", "out/{{ ds }}.jsonl", max_errors=0))
    {'input': "CSVInputAdapter('users.csv')", 'output': "JSONOutputAdapter('out/{{ ds }}.jsonl')", 'max_errors': 0}
    """
    shown = {
        "input": _shown(pipe.input_adapter),
        "output": None if pipe.output_adapter is None else _shown(pipe.output_adapter),
        "rejects": None if pipe.error_output_adapter is None else _shown(pipe.error_output_adapter),
        "schema_model": None if pipe.schema_model is None else pipe.schema_model.__qualname__,
        "hooks": [type(hook).__qualname__ for hook in (*pipe.pre_validation_hooks, *pipe.post_validation_hooks)],
        "max_errors": pipe.max_errors,
        "load_id": pipe.load_id,
    }
    return {name: value for name, value in shown.items() if value not in (None, [])}


def _shown(adapter: object) -> str:
    return _ADDRESS.sub("", repr(adapter))
