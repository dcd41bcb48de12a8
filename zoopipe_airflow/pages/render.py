"""Pages as HTML: pure functions from values to text.

What a report says comes from files and databases (paths, names of columns, messages of drivers): every value is escaped
by the templates, and the header that `CONTENT_SECURITY_POLICY` is for lets the browser run no script but ours, should
one ever not be.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined

from zoopipe_airflow.pages.queries import Load
from zoopipe_core import PipeReport

__all__ = ["CONTENT_SECURITY_POLICY", "render_load", "render_loads", "render_message"]

MAX_PIPES = 100  # a page of a thousand rows is read by nobody

_FOLDER = files("zoopipe_airflow.pages") / "templates"


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


_STYLE = _read("style.css")
_SCRIPT = _read("theme.js")


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)


@dataclass(frozen=True)
class Share:
    """A part of a bar.

    Attributes:
        name: what it is, for people.
        kind: its colour, by a class of the style sheet.
        value: what it says, for people.
        start, width: in per cent of the bar.
    """

    name: str
    kind: str
    value: str
    start: float
    width: float

    @property
    def percent(self) -> str:
        """None that is there is called nothing, and none that is not all is called all."""
        return "<1%" if self.width < 1 else ">99%" if 99 < self.width < 100 else f"{self.width:.0f}%"


def render_load(load: Load, earlier: Sequence[Load] = (), home: str = "") -> str:
    """The report of one load.

    Args:
        load: of the task instance that is looked at.
        earlier: what the task did in other runs, the latest first.
        home: where Airflow's UI is, without the slash at the end: ``""``, ``"/airflow"``.
    """
    total = load.report.total if load.report else None
    return _render(
        "load.html",
        home=home,
        load=load,
        total=total,
        pipes=_worst_first(load.report.pipes)[:MAX_PIPES] if load.report else (),
        left_out=max(0, len(load.report.pipes) - MAX_PIPES) if load.report else 0,
        rows=_row_shares(total) if total else [],
        seconds=_time_shares(total) if total else [],
        earlier=earlier,
    )


def render_loads(loads: Sequence[Load], older: str | None = None, dag_id: str | None = None, home: str = "") -> str:
    """The list of loads.

    Args:
        loads: the latest first.
        older: the query that shows the next ones; None if there are none.
        dag_id: the one DAG whose loads these are; None if they are those of all.
        home: as for `render_load`.
    """
    return _render("loads.html", loads=loads, older=older, dag_id=dag_id, home=home)


def render_message(title: str, text: str, home: str = "") -> str:
    """A page that says why there is nothing to be seen."""
    return _render("message.html", title=title, text=text, home=home)


def _render(name: str, **values: object) -> str:
    text = _environment().get_template(name).render(values)
    return text.encode("utf-8", "replace").decode()  # JSON may hold halves of a character, a page may not


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_read), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals |= {"style": _STYLE, "script": _SCRIPT}
    environment.filters |= {"count": _count, "size": _size, "duration": _duration, "moment": _moment}
    return environment


def _worst_first(pipes: Sequence[PipeReport]) -> list[PipeReport]:
    return sorted(pipes, key=lambda pipe: (not pipe.has_error, pipe.pipe_index))


def _row_shares(report: PipeReport) -> list[Share]:
    parts = [
        ("loaded", "loaded", report.loaded_rows),
        ("rejected", "rejected", report.rejected_rows),
        ("filtered", "filtered", report.filtered_rows),
    ]
    return _shares([(name, kind, float(rows), _count(rows)) for name, kind, rows in parts])


def _time_shares(report: PipeReport) -> list[Share]:
    parts = [
        ("reading", "read", report.read_seconds),
        ("validating", "validate", report.validate_seconds),
        ("hooks", "hook", report.hook_seconds),
        ("writing", "write", report.write_seconds),
    ]
    return _shares([(name, kind, seconds, _duration(seconds)) for name, kind, seconds in parts])


def _shares(parts: Sequence[tuple[str, str, float, str]]) -> list[Share]:
    """Those that are more than nothing, side by side."""
    total = sum(amount for _, _, amount, _ in parts if amount > 0)
    shares = []
    start = 0.0
    for name, kind, amount, value in parts:
        if amount > 0:
            width = 100 * amount / total
            shares.append(Share(name, kind, value, round(start, 3), round(width, 3)))
            start += width
    return shares


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _size(count: float) -> str:
    value = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if round(value) < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _duration(seconds: float) -> str:
    if round(seconds, 2) < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def _moment(time: datetime) -> str:
    try:
        return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    except OverflowError:  # at an end of the calendar
        return time.isoformat()
