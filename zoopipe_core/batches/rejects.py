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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import to_json

from zoopipe_core._text import shorten
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import Fault, RowNumbers
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.report import MAX_KIND_CHARS, MAX_LABEL_CHARS, MAX_REJECTIONS, RejectionSummary

__all__ = ["Reject", "RejectBatch", "RejectTally"]

INT64 = ColumnType(pa.int64())


@dataclass(frozen=True, slots=True)
class Reject:
    """One rejected record.

    Attributes:
        row: its number in the source, from 1.
        errors: pydantic's own error list, or one entry of the same form for a structural fault or a hook.
        cells: the source's columns as they were read; None where the record is no row.
        raw: the record's text where there is one to show.
    """

    row: int
    errors: Sequence[Mapping[str, Any]]
    cells: Mapping[str, Any] | None = None
    raw: str | None = None

    @classmethod
    def of_fault(cls, fault: Fault) -> Reject:
        """A structural fault as a reject."""
        error = {"type": fault.type, "loc": (), "msg": fault.message, "input": None}
        return cls(fault.row, (error,), None, fault.raw)


@dataclass(frozen=True, slots=True)
class RejectBatch:
    """Rejected records of one source, in the order of their row numbers.

    ``types`` are the source's column types: what `Reject.cells` may hold.
    """

    source: str
    rejects: Sequence[Reject]
    types: Mapping[str, ColumnType] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rejects)

    def to_batch(self, names: Sequence[str] | None = None) -> ModelBatch:
        """The rejects as rows for an error output.

        Args:
            names: the source columns that the output has room for, as fixed by the first batch; the cells of other
                columns are kept as JSON in ``_raw``. None: all of this batch.
        """
        wanted = list(self.types) if names is None else list(names)
        # What stays of each row for _raw, while its cells find their columns.
        rests = [None if r.cells is None else dict(r.cells) for r in self.rejects]
        columns: dict[str, Column] = {}
        for name in wanted:
            column_type = self.types.get(name, STRING)
            if _takes_all(column_type):
                values = [None if rest is None else rest.pop(name, None) for rest in rests]
            else:
                values = [
                    None if rest is None or isinstance(rest.get(name), str | bytes) else rest.pop(name, None)
                    for rest in rests
                ]
            columns[name] = Column(column_type, _all_writable(values))
        raws = [
            to_json(_writable(rest)).decode() if rest else reject.raw
            for reject, rest in zip(self.rejects, rests, strict=True)
        ]
        source_column, row_column, errors_column, raw_column = added_names(wanted)
        columns[source_column] = Column(STRING, [self.source] * len(self.rejects))
        columns[row_column] = Column(INT64, [r.row for r in self.rejects])
        columns[errors_column] = Column(JSON, [[_plain(e) for e in r.errors] for r in self.rejects])
        columns[raw_column] = Column(STRING, raws)
        rows: RowNumbers = np.array([r.row for r in self.rejects], dtype=np.int64)
        return ModelBatch(columns, rows, self.source)


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
        for reject in batch.rejects:
            for error in reject.errors:
                place = ".".join(str(part) for part in error["loc"])
                key = (shorten(place, MAX_KIND_CHARS), shorten(str(error["type"]), MAX_KIND_CHARS))
                if key not in self._examples:
                    if len(self._examples) >= self.MAX_KINDS:
                        key = ("(other)", "other")
                    self._examples.setdefault(key, (shorten(batch.source, MAX_LABEL_CHARS), reject.row))
                self._counts[key] += 1

    def summary(self) -> tuple[RejectionSummary, ...]:
        """The commonest kinds, commonest first."""
        return tuple(
            RejectionSummary(place, kind, count, *self._examples[(place, kind)])
            for (place, kind), count in self._counts.most_common(MAX_REJECTIONS)
        )
