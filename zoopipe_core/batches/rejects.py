"""Rejected rows: the source columns exactly as they were read, plus where, what and why.

A reject is data, not an exception, and whatever it holds can be written. As a batch for the error output it has the
source's columns followed by

    _source   string   file, table or object that the row comes from
    _row      int64    number of the record in its source, from 1
    _errors   json     pydantic's errors: a list of {type, loc, msg, input}
    _raw      string   the record's text, for records that are no rows (ragged, broken JSON); else null

A source that has a column of such a name keeps it: ours gets one more underscore in front. What no file can hold is
shown as Python shows it: a Python object of a class of its own, half a surrogate pair. A cell that Python reads as
another type than that of its column (a timestamp with nanoseconds, as text) is moved to ``_raw``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from pydantic_core import to_json

from zoopipe_core._text import shorten
from zoopipe_core.batches.model import MISSING, Column, ModelBatch
from zoopipe_core.batches.source import Fault, RowNumbers, index_array
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.report import MAX_KIND_CHARS, MAX_LABEL_CHARS, MAX_REJECTIONS, RejectionSummary

__all__ = ["Errors", "Reject", "RejectBatch", "RejectTally", "reject_faults"]

INT64 = ColumnType(pa.int64())

Errors: TypeAlias = Sequence[Mapping[str, Any]]
"""Pydantic's own error list, or one entry of the same form for a structural fault or a hook."""


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejected record.

    Attributes:
        row: its number in the source, from 1.
        errors: why.
        cells: the source's columns as they were read; None where the record is no row.
        raw: the record's text where there is one to show.
    """

    row: int
    errors: Errors
    cells: Mapping[str, Any] | None = None
    raw: str | None = None


@dataclass(frozen=True, slots=True)
class RejectBatch:
    """Rejected records of one source, in the order of their row numbers; rows that hooks added stand behind them.

    Attributes:
        source: where they come from.
        rows: int64 (m,), the number of each in the source, from 1; 0 for a row that a hook added.
        kinds: the different error lists that there are.
        codes: int64 (m,), the place of each one's among `kinds`.
        cells: the source's columns as they were read, m cells each; None where the record is no row, `MISSING` where
            it lacks the key.
        raws: the text of each record that is no row, None for the others; or None if all are rows.
    """

    source: str
    rows: RowNumbers
    kinds: Sequence[Errors]
    codes: RowNumbers
    cells: Mapping[str, Column] = field(default_factory=dict)
    raws: Sequence[str | None] | None = None

    @classmethod
    def of(
        cls,
        source: str,
        rows: RowNumbers,
        errors: Sequence[Errors],
        cells: Mapping[str, Column] | None = None,
        raws: Sequence[str | None] | None = None,
    ) -> RejectBatch:
        """The batch, given the error list of each; those that are one object are of one kind."""
        kinds: dict[int, int] = {}
        codes = np.array([kinds.setdefault(key, len(kinds)) for key in map(id, errors)], dtype=np.int64)
        firsts = np.unique(codes, return_index=True)[1].tolist()
        return cls(source, rows, [errors[first] for first in firsts], codes, cells or {}, raws)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[Reject]:
        columns = {name: column.values for name, column in self.cells.items()}
        for index, (row, code) in enumerate(zip(self.rows.tolist(), self.codes.tolist(), strict=True)):
            raw = None if self.raws is None else self.raws[index]
            cells = {name: values[index] for name, values in columns.items() if values[index] is not MISSING}
            yield Reject(row, self.kinds[code], cells if raw is None else None, raw)

    @property
    def types(self) -> dict[str, ColumnType]:
        """The source's columns."""
        return {name: column.type for name, column in self.cells.items()}

    def merged(self, other: RejectBatch) -> RejectBatch:
        """Both in one, in order. Columns that only one of them has are `MISSING` in the rows of the other."""
        cells = {}
        for name, column in {**other.cells, **self.cells}.items():
            one, two = (batch._cells_of(name, column.type) for batch in (self, other))
            cells[name] = one.extended(two.values)
        rows = np.concatenate([self.rows, other.rows])
        kinds = [*self.kinds, *other.kinds]
        codes = np.concatenate([self.codes, other.codes + len(self.kinds)])
        both = RejectBatch(self.source, rows, kinds, codes, cells, [*self._all_raws(), *other._all_raws()])
        return both.take(np.lexsort((rows, rows == 0)))

    def joins(self, other: RejectBatch) -> bool:
        """Whether `other` can come behind this one in one batch: it is of the same source, and has its columns."""
        return self.source == other.source and list(self.types.items()) == list(other.types.items())

    @classmethod
    def joined(cls, batches: Sequence[RejectBatch]) -> RejectBatch:
        """Batches, at least one, each of which `joins` the one before, in their order."""
        first = batches[0]
        if len(batches) == 1:
            return first
        starts = np.cumsum([0, *(len(batch.kinds) for batch in batches)])
        return RejectBatch(
            first.source,
            np.concatenate([batch.rows for batch in batches]),
            [errors for batch in batches for errors in batch.kinds],
            np.concatenate([batch.codes + start for batch, start in zip(batches, starts, strict=False)]),
            {name: Column.joined(kind, [b.cells[name] for b in batches]) for name, kind in first.types.items()},
            None if all(b.raws is None for b in batches) else [raw for batch in batches for raw in batch._all_raws()],
        )

    def _all_raws(self) -> Sequence[str | None]:
        return [None] * len(self) if self.raws is None else self.raws

    def _cells_of(self, name: str, kind: ColumnType) -> Column:
        column = self.cells.get(name)
        return column or Column(kind, [None if raw is not None else MISSING for raw in self._all_raws()])

    def take(self, indices: RowNumbers) -> RejectBatch:
        """The rejects at `indices`: int64 (k,)."""
        return RejectBatch(
            self.source,
            self.rows[indices],
            self.kinds,
            self.codes[indices],
            {name: column.take(indices) for name, column in self.cells.items()},
            None if self.raws is None else [self.raws[index] for index in indices.tolist()],
        )

    def to_batch(self, names: Sequence[str] | None = None) -> ModelBatch:
        """The rejects as rows for an error output.

        Args:
            names: the source columns that the output has room for, as fixed by the first batch; the cells of other
                columns are kept as JSON in ``_raw``. None: all of this batch.
        """
        wanted = list(self.cells) if names is None else list(names)
        columns: dict[str, Column] = {}
        rests: dict[int, dict[str, Any]] = {}  # what of a row has no column of its own
        for name in wanted:
            column = self.cells.get(name)
            absent = Column.repeating(STRING, [None], np.zeros(len(self), np.int64))
            columns[name] = absent if column is None else _writable_column(column)
            if column is not None and not _takes_all(column.type):
                texts = {i: v for i, v in enumerate(column.values) if isinstance(v, str | bytes)}
                for index, text in texts.items():
                    rests.setdefault(index, {})[name] = text
        for name in self.cells.keys() - set(wanted):
            for index, value in enumerate(self.cells[name].values):
                if value is not MISSING and (self.raws is None or self.raws[index] is None):
                    rests.setdefault(index, {})[name] = value
        raws = self.raws
        if rests:
            raws = list(self._all_raws())
            for index, rest in rests.items():
                ordered = {name: rest[name] for name in self.cells if name in rest}
                raws[index] = to_json(_writable(ordered)).decode()
        alike = np.zeros(len(self), np.int64)
        source_column, row_column, errors_column, raw_column = added_names(wanted)
        columns[source_column] = Column.repeating(STRING, [self.source], alike)
        columns[row_column] = Column(INT64, None, index_array(self.rows))
        kinds = [[_plain(error) for error in errors] for errors in self.kinds]
        columns[errors_column] = Column.repeating(JSON, kinds, self.codes)
        columns[raw_column] = Column.repeating(STRING, [None], alike) if raws is None else Column(STRING, raws)
        return ModelBatch(columns, self.rows, self.source)


def reject_faults(source: str, faults: Sequence[Fault]) -> RejectBatch:
    """Structural faults as rejects."""
    errors = [({"type": fault.type, "loc": (), "msg": fault.message, "input": None},) for fault in faults]
    rows = np.array([fault.row for fault in faults], dtype=np.int64)
    return RejectBatch.of(source, rows, errors, {}, [fault.raw for fault in faults])


def _writable_column(column: Column) -> Column:
    """The column as any file can hold it."""
    array = column.held_array
    if array is not None and pa.types.is_string(array.type):
        return column  # UTF-8, which was checked when it became a string
    values = column.values
    if _takes_all(column.type):
        return Column(column.type, _all_writable([None if value is MISSING else value for value in values]))
    kept = [None if value is MISSING or isinstance(value, str | bytes) else value for value in values]
    return Column(column.type, _all_writable(kept))


def added_names(source_names: Iterable[str]) -> list[str]:
    """The names of the four added columns, apart from those of the source."""
    taken, names = set(source_names), []
    for name in ("_source", "_row", "_errors", "_raw"):
        while name in taken:
            name = "_" + name
        names.append(name)
    return names


def _plain(error: Mapping[str, Any]) -> dict[str, Any]:
    """Pydantic's error as JSON values: its own fields, an input that JSON does not know shown as its repr."""
    return {
        "type": error["type"],
        "loc": list(error["loc"]),
        "msg": error["msg"],
        "input": _writable(error.get("input")),
    }


def _takes_all(column_type: ColumnType) -> bool:
    """Whether a column takes the text of a cell that could not be read as a value, too."""
    kind = column_type.arrow
    return not (pa.types.is_temporal(kind) or pa.types.is_nested(kind))


def _all_writable(values: list[Any]) -> list[Any]:
    """Each value if it can be written to any file, else its text."""
    if set(map(type, values)) <= {str, type(None)}:
        try:
            "".join([value for value in values if value]).encode()
        except UnicodeEncodeError:
            pass  # one of them holds half of a surrogate pair
        else:
            return values
    return [_writable(value) for value in values]


def _writable(value: Any) -> Any:
    """`value` if it can be written to any file, else its text."""
    try:
        to_json(value)
    except (ValueError, TypeError, RecursionError):  # PydanticSerializationError is a ValueError
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            return {_writable(key): _writable(item) for key, item in value.items()}
        text = value if isinstance(value, str) else repr(value)
        return text.encode("utf-8", "backslashreplace").decode()
    return value


class RejectTally:
    """Counts the kinds of rejection of a load, with one position each, in bounded space."""

    MAX_KINDS = 1000

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._examples: dict[tuple[str, str], tuple[str, int]] = {}

    def add(self, batch: RejectBatch) -> None:
        """Count every error of every reject."""
        counts = np.bincount(batch.codes, minlength=len(batch.kinds)).tolist()
        for code, place in zip(*map(np.ndarray.tolist, np.unique(batch.codes, return_index=True)), strict=True):
            for error in batch.kinds[code]:
                self._count(error, counts[code], batch.source, int(batch.rows[place]))

    def _count(self, error: Mapping[str, Any], count: int, source: str, row: int) -> None:
        place = ".".join(str(part) for part in error["loc"])
        key = (shorten(place, MAX_KIND_CHARS), shorten(str(error["type"]), MAX_KIND_CHARS))
        if key not in self._examples:
            if len(self._examples) >= self.MAX_KINDS:
                key = ("(other)", "other")
            self._examples.setdefault(key, (shorten(source, MAX_LABEL_CHARS), row))
        self._counts[key] += count

    def summary(self) -> tuple[RejectionSummary, ...]:
        """The commonest kinds, commonest first."""
        return tuple(
            RejectionSummary(place, kind, count, *self._examples[(place, kind)])
            for (place, kind), count in self._counts.most_common(MAX_REJECTIONS)
        )
