"""The rows between two marks: which of a batch are new, which were loaded before, what the next load has to know."""

from __future__ import annotations

import copy
import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.adapters.row_hashes import row_hashes
from zoopipe_core.adapters.sql_literals import EPOCH, step_literal, step_sql
from zoopipe_core.adapters.sql_names import show_names
from zoopipe_core.adapters.sql_select import KeyRange
from zoopipe_core.adapters.sql_source import SQLSource
from zoopipe_core.adapters.watermark import Mark, Watermark, text_of
from zoopipe_core.batches.source import index_array
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceError

__all__ = ["Window"]

DAY = 86_400_000_000
_MICROSECOND = dt.timedelta(microseconds=1)
_ONE = {"integer": 1, "date": dt.timedelta(days=1), "timestamp": _MICROSECOND, "timestamptz": _MICROSECOND}


class Window:
    """The rows of one load: which are read, which are passed over, what the next one has to know.

    Args:
        source: what is read.
        database: its kind.
        columns: of the source.
        mark: of the loads before.
        remembers: whether rows are known again.

    Attributes:
        may_be_null: whether the column can be NULL.
        passed_over: how many rows were loaded before.

    Raises:
        SourceError: the column, or the mark, is of another kind.
    """

    def __init__(
        self,
        source: SQLSource,
        database: str,
        columns: Mapping[str, ColumnType],
        mark: Mark | None,
        remembers: bool,
    ) -> None:
        assert source.watermark is not None
        self._watermark: Watermark = source.watermark
        self._column = source.watermark.column
        self._label, self._database = source.label, database
        self._name = source.mark_name or ""
        self._mark, self._remembers = mark, remembers
        self._type = columns[self._column].arrow
        self._kind = self._kind_of(self._type)
        self.may_be_null = self._collects = True
        self._late = self._steps(self._watermark.lateness)
        self._check_mark(columns)
        self._low = self._lowest()
        self._top: int | None = None if mark is None else mark.value
        own = (*self._watermark.key, self._column) if self._watermark.key else tuple(columns)
        self._identity = tuple(dict.fromkeys(own)) if remembers else ()
        missing = [name for name in self._identity if name not in columns]
        if missing:
            raise SourceError(
                f"{self._label} has no column {missing[0]!r}, which the watermark's key names; it has "
                f"{show_names(list(columns))}"
            )
        before = mark.hashes if mark is not None and remembers else np.empty(0, np.uint64)
        self._known = Counter(before.tolist())
        self._known_hashes = np.unique(before)
        self._kept: list[npt.NDArray[np.uint64]] = []
        self._kept_rows = self.passed_over = 0

    def _kind_of(self, kind: pa.DataType) -> str:
        if pa.types.is_integer(kind):
            return "integer"
        if pa.types.is_date32(kind):
            return "date"
        if pa.types.is_timestamp(kind):
            return "timestamp" if kind.tz is None else "timestamptz"
        if pa.types.is_null(kind):  # a query of SQLite, without a value
            return "integer" if self._mark is None else self._mark.kind
        hint = (
            "; SQLite has times only in columns of a table that are declared so" if self._database == "sqlite" else ""
        )
        raise SourceError(
            f"the column {self._column!r} of {self._label} is of type {kind}: a watermark is a column of integers, "
            f"dates or timestamps{hint}"
        )

    def _check_mark(self, names: Mapping[str, ColumnType]) -> None:
        mark = self._mark
        if mark is None:
            return
        if mark.kind != self._kind:
            raise SourceError(
                f"the watermark {self._name} was of type {mark.kind}, and the column {self._column!r} of "
                f"{self._label} is {self._type} now; begin anew with Watermark(..., name=..., initial=...)"
            )
        if self._remembers and mark.seen is None:
            raise SourceError(
                f'the watermark {self._name} was set by loads with mode="merge", which do not remember rows; to append '
                "from here on, begin anew with Watermark(..., name=..., initial=...)"
            )
        gone = [name for name in mark.columns if name not in names]
        if self._remembers and gone:
            raise SourceError(
                f"{self._label} has no column {gone[0]!r} any more, by which the rows of the overlap are known again; "
                "begin anew with Watermark(..., name=..., initial=...)"
            )

    def _steps(self, lateness: dt.timedelta | int) -> int:
        one = _ONE[self._kind]
        if not lateness:
            return 0
        if isinstance(one, int) != isinstance(lateness, int):
            wanted = "a number" if isinstance(one, int) else "a timedelta"
            raise SourceError(
                f"the column {self._column!r} of {self._label} is of type {self._type}: lateness has to be "
                f"{wanted}, not {lateness!r}"
            )
        return int(-(-lateness // one))  # type: ignore[operator]  # both are of one type; a part of a day is a day

    def _lowest(self) -> int | None:
        mark = self._mark
        if mark is None or mark.value is None:
            return None if self._watermark.initial is None else self._initial(self._watermark.initial)
        low = mark.value - self._late
        return max(low, mark.since) if self._remembers and mark.since is not None else low

    def _initial(self, value: Any) -> int:
        is_moment = isinstance(value, dt.datetime)
        if self._kind == "integer" and isinstance(value, int):
            return value
        if self._kind == "date" and isinstance(value, dt.date) and not is_moment:
            return (value - EPOCH.date()).days
        if is_moment and self._kind == ("timestamp" if value.tzinfo is None else "timestamptz"):
            naive = value if value.tzinfo is None else value.astimezone(dt.UTC).replace(tzinfo=None)
            return int((naive - EPOCH) // dt.timedelta(microseconds=1))
        raise SourceError(
            f"initial={value!r} is no value of the column {self._column!r} of {self._label}, of type {self._type}"
        )

    # ---- what is asked for ------------------------------------------------------------------------------------

    @property
    def is_integer(self) -> bool:
        """Whether the column is one of integers."""
        return self._kind == "integer"

    @property
    def columns(self) -> frozenset[str]:
        """The columns that `keep` looks at."""
        before = self._mark.columns if self._mark is not None and self._remembers else ()
        return frozenset([self._column, *self._identity, *before])

    def top_sql(self, key: str) -> str:
        """Whether the greatest value is infinite, and which step it is, in SQL."""
        if self.is_integer:
            return f"false, max({key})"
        step = step_sql(self._type, f"max({key})", self._database)
        return f"NOT isfinite(max({key})), CASE WHEN isfinite(max({key})) THEN {step} END"

    def set_top(self, infinite: bool, top: int | None) -> None:
        """What the greatest value is; None: there is none.

        Raises:
            SourceError: it is infinite.
        """
        if infinite:
            raise SourceError(
                f"the column {self._column!r} of {self._label} has infinite values, behind which nothing can be new: "
                "leave them out with a query"
            )
        if top is not None:
            self._top = int(top) if self._top is None else max(self._top, int(top))

    def raise_top(self, cells: pa.Array) -> None:
        """The greatest value is at least that of `cells`."""
        steps, valid = self._steps_of(cells)
        if valid.any():
            self.set_top(False, int(steps[valid].max()))

    @property
    def low_literal(self) -> str | None:
        """The least value to be read; None: all are."""
        return None if self._low is None else self._literal(self._low)

    def _literal(self, low: int) -> str:
        if self._database != "sqlite" or self.is_integer:
            return step_literal(self._type, low, self._database)
        # The text of the day before stands in front of that of the value, in whatever form and zone that is.
        days = low if self._kind == "date" else low // DAY
        return step_literal(pa.date32(), days - 1, self._database)

    @property
    def range(self) -> KeyRange:
        """The rows to read; SQLite gives some more."""
        high = None
        if self._top is not None and (self._database != "sqlite" or self.is_integer):
            high = step_literal(self._type, self._top + 1, self._database)
        return KeyRange(self._column, self.low_literal, high, self.may_be_null and self._watermark.nulls != "skip")

    @property
    def overlap(self) -> KeyRange:
        """Of them, those that the next load will read again."""
        since = self._since
        return self.range if since is None else replace(self.range, low=self._literal(since))

    def for_parts(self) -> Window:
        """The same for a part of the rows, which keeps nothing in mind."""
        window = copy.deepcopy(self)
        window._collects = False
        return window

    # ---- what came --------------------------------------------------------------------------------------------

    def keep(self, columns: Mapping[str, pa.Array]) -> npt.NDArray[np.bool_] | None:
        """Which rows of a batch are to be loaded, bool (n,); None: all of them.

        Args:
            columns: those that `columns` names, at least.

        Raises:
            SourceError: a value is NULL that must not be, or the overlap has too many rows.
        """
        steps, valid = self._steps_of(columns[self._column])
        nulls = self._watermark.nulls
        if nulls == "fail" and not valid.all():
            raise SourceError(
                f"{self._label} has rows whose {self._column!r} is NULL, of which nobody knows whether they are new: "
                'say Watermark(..., nulls="skip"), or "load" to load each of them once'
            )
        inside = valid.copy()
        if self._low is not None:
            inside &= steps >= self._low
        inside &= steps <= self._top if self._top is not None else False
        if nulls == "load":
            inside |= ~valid
        if self._remembers:
            self._pass_over(columns, steps, valid, inside)
            self._remember(columns, steps, valid, inside)
            inside &= ~self._old
        return None if inside.all() else inside

    def _pass_over(self, columns: Mapping[str, pa.Array], steps: Any, valid: Any, inside: Any) -> None:
        """Find the rows that were loaded before."""
        mark = self._mark
        self._old = np.zeros(len(steps), np.bool_)
        if mark is None or not self._known:
            return
        suspects = inside & (~valid if mark.value is None else ~valid | (steps <= mark.value))
        places = np.flatnonzero(suspects)
        if not len(places):
            return
        hashes = self._hashes(columns, mark.columns, places)
        found = np.isin(hashes, self._known_hashes)
        if self._watermark.key:
            self._old[places[found]] = True
        else:
            for place, one in zip(places[found].tolist(), hashes[found].tolist(), strict=True):
                if self._known[one]:  # equal rows: as many of them as were loaded
                    self._known[one] -= 1
                    self._old[place] = True
        self.passed_over += int(self._old.sum())

    def _remember(self, columns: Mapping[str, pa.Array], steps: Any, valid: Any, inside: Any) -> None:
        """Keep in mind the rows that the next load will meet again."""
        since = self._since
        if not self._collects:
            return
        places = np.flatnonzero(inside & (~valid if since is None else ~valid | (steps >= since)))
        if not len(places):
            return
        self._kept.append(self._hashes(columns, self._identity, places))
        self._kept_rows += len(places)
        most = self._watermark.max_remembered
        if self._kept_rows > most:
            raise SourceError(
                f"more than {most:,} rows of {self._label} lie within the lateness of its watermark {self._column!r}, "
                "and each of them would have to be remembered: raise max_remembered=, lower lateness=, or load with "
                'mode="merge", which needs no memory'
            )

    @property
    def _since(self) -> int | None:
        """The least value that the next load will read again."""
        if self._top is None:
            return None
        since = self._top - self._late
        return since if self._low is None else max(since, self._low)

    @staticmethod
    def _hashes(columns: Mapping[str, pa.Array], names: Sequence[str], places: Any) -> npt.NDArray[np.uint64]:
        taken = index_array(places)
        return row_hashes([columns[name].take(taken) for name in names])

    def _steps_of(self, cells: pa.Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """The column as steps, int64 (n,), and which of them are values, bool (n,)."""
        valid = np.asarray(cells.is_valid())
        kind = cells.type
        if not pa.types.is_null(kind) and self._kind_of(kind) != self._kind:
            raise SourceError(
                f"the column {self._column!r} of {self._label} has values of types {self._kind} and {kind}"
            )
        if pa.types.is_null(kind):
            return np.zeros(len(cells), np.int64), valid
        if self._kind == "date":
            cells = cells.cast(pa.int32())
        try:
            steps = np.asarray(cells.cast(pa.int64()).fill_null(0))
        except pa.ArrowInvalid as error:
            raise SourceError(
                f"the column {self._column!r} of {self._label} has values beyond 64 bits: {error}"
            ) from error
        if self._kind.startswith("timestamp"):
            factor = {"s": 1_000_000, "ms": 1000, "us": 1, "ns": -1000}[kind.unit]
            steps = steps * factor if factor > 0 else steps // -factor
        return steps, valid

    # ---- what is left behind ----------------------------------------------------------------------------------

    @property
    def next_mark(self) -> Mark:
        """Where the next load goes on, if all rows were read."""
        seen = None
        if self._remembers:
            seen = np.concatenate([np.empty(0, np.uint64), *self._kept]).astype("<u8").tobytes()
        return Mark(self._name, self._kind, self._top, self._since, self._identity, seen)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report says of it."""
        begin = "" if self._low is None else f" from {text_of(self._kind, self._low)}"
        note = f"watermark {self._column!r}: read{begin} up to {text_of(self._kind, self._top)}"
        if self.passed_over:
            note += f"; {self.passed_over:,} rows of the overlap were loaded before"
        return (note,)
