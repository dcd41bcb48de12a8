"""Which rows of a source are new: those behind the greatest value of a column that a load has read before.

    last load          this load
    ───────────────┬──────────┬───────▶  updated_at
        lateness ──┤ overlap  │  new
                   └──────────┴─ the mark after this load: what the column's greatest value was when it began

Rows may come late: with a value that is less than the mark by no more than `lateness`. So the overlap is read again,
and its rows that were loaded before are passed over: the target's ledger remembers them, with the mark.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Mark", "Watermark"]

NULLS = ("fail", "load", "skip")
_EPOCH = dt.datetime(1970, 1, 1)


@dataclass(frozen=True)
class Watermark:
    """Read only rows that are new since the last load.

    Args:
        column: integers, dates or timestamps, which grow with every row that is added or changed, and have an index.
        lateness: by how much a value may be less than the greatest one that was seen before its row: a `timedelta`, or
            a number for a column of integers. Rows that come later than that are not loaded.
        key: the columns that, with `column`, tell rows apart. None named: all columns do, and equal rows are counted.
        initial: where the first load begins (a value of the column); None: with all rows.
        nulls: rows without a value: ``"fail"``; ``"skip"`` them; ``"load"`` each of them once, they never get old.
        name: what the ledger calls the mark; default: database, table or query, and column.
        max_remembered: how many rows of the overlap the ledger keeps in mind, 8 bytes each. With more the load fails.

    >>> Watermark("updated_at", dt.timedelta(hours=1), key=["id"])
    Watermark('updated_at', lateness=datetime.timedelta(seconds=3600), key=('id',))

    Raises:
        SpecError: an argument is out of range.
    """

    column: str
    lateness: dt.timedelta | int = 0
    key: Sequence[str] = ()
    initial: Any = None
    nulls: str = "fail"
    name: str | None = None
    max_remembered: int = 100_000

    def __post_init__(self) -> None:
        if not isinstance(self.column, str) or not self.column:
            raise SpecError(f"column has to be the name of a column, not {self.column!r}")
        late = self.lateness
        is_negative = late < dt.timedelta(0) if isinstance(late, dt.timedelta) else isinstance(late, int) and late < 0
        if isinstance(late, bool) or not isinstance(late, dt.timedelta | int) or is_negative:
            raise SpecError(f"lateness has to be a timedelta, or a number, of at least 0, not {late!r}")
        key = (self.key,) if isinstance(self.key, str) else tuple(self.key)
        if not all(isinstance(name, str) and name for name in key):
            raise SpecError(f"key has to be a list of columns, as in ['id'], not {self.key!r}")
        object.__setattr__(self, "key", key)
        if self.initial is not None and not (
            isinstance(self.initial, int | dt.date) and not isinstance(self.initial, bool)
        ):
            raise SpecError(f"initial has to be an integer, a date or a datetime, not {self.initial!r}")
        if self.nulls not in NULLS:
            raise SpecError(f"nulls has to be one of {', '.join(map(repr, NULLS))}, not {self.nulls!r}")
        if self.name is not None and not (isinstance(self.name, str) and self.name and self.name.isprintable()):
            raise SpecError(f"name has to be a printable text, or None, not {self.name!r}")
        if not isinstance(self.max_remembered, int) or isinstance(self.max_remembered, bool) or self.max_remembered < 1:
            raise SpecError(f"max_remembered has to be a number of at least 1, not {self.max_remembered!r}")

    def __repr__(self) -> str:
        options = {name: getattr(self, name) for name in ("lateness", "key", "initial", "nulls", "name")}
        shown = [f"{name}={value!r}" for name, value in options.items() if value != getattr(Watermark, name)]
        return f"Watermark({', '.join([repr(self.column), *shown])})"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the loads of one source into one target have come.

    Attributes:
        name: of the watermark.
        kind: ``"integer"``, ``"date"``, ``"timestamp"`` or ``"timestamptz"``.
        value: the greatest value, as an integer: days or microseconds since 1970. None: there was none.
        since: the least value whose rows are in `seen`.
        columns: those that `seen` was made of.
        seen: hashes of the rows from `since` on that were read, little-endian uint64; None: nobody needs them.
        load_id, run: of the load that has set it; empty before it is published.
    """

    name: str
    kind: str
    value: int | None
    since: int | None = None
    columns: tuple[str, ...] = ()
    seen: bytes | None = None
    load_id: str = ""
    run: str = ""

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """The rows that were seen, (n,)."""
        import numpy as np

        return np.frombuffer(self.seen or b"", "<u8")

    @property
    def text(self) -> str:
        """The value for people."""
        return text_of(self.kind, self.value)

    def to_json(self) -> str:
        """All but what the ledger has columns for."""
        seen = None if self.seen is None else base64.b64encode(self.seen).decode()
        return json.dumps(
            {"kind": self.kind, "value": self.value, "since": self.since, "columns": self.columns, "seen": seen}
        )

    @classmethod
    def from_json(cls, name: str, load_id: str, run: str, text: str) -> Mark:
        """The inverse of `to_json`."""
        data = json.loads(text)
        seen = None if data["seen"] is None else base64.b64decode(data["seen"])
        return cls(name, data["kind"], data["value"], data["since"], tuple(data["columns"]), seen, load_id, run)


def text_of(kind: str, value: int | None) -> str:
    """A value of a watermark for people.

    >>> text_of("timestamp", 1_500_000), text_of("date", -1), text_of("integer", 7), text_of("date", None)
    ('1970-01-01 00:00:01.500000', '1969-12-31', '7', 'nothing')
    """
    if value is None:
        return "nothing"
    if kind == "integer":
        return str(value)
    try:
        moment = _EPOCH + (dt.timedelta(days=value) if kind == "date" else dt.timedelta(microseconds=value))
    except OverflowError:
        return f"{value} {'days' if kind == 'date' else 'microseconds'} after 1970"
    return moment.date().isoformat() if kind == "date" else f"{moment}{'' if kind == 'timestamp' else '+00:00'}"
