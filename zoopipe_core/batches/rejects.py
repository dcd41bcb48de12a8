"""Rejected rows: the source columns exactly as they were read, plus where, what and why.

A reject is data, not an exception. As a batch for the error output it has the source's columns followed by

    _source   string   file, table or object that the row comes from
    _row      int64    number of the record in its source, from 1
    _errors   json     pydantic's errors: a list of {type, loc, msg, input}
    _raw      string   the record's text, for records that are no rows (ragged, broken JSON); else null

A source that has a column of such a name keeps it: ours gets one more underscore in front.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic_core import to_json

from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import Fault, RowNumbers
from zoopipe_core.batches.types import JSON, STRING, ColumnType
from zoopipe_core.report import MAX_REJECTIONS, RejectionSummary

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
        columns: dict[str, Column] = {}
        for name in wanted:
            values = [None if r.cells is None else r.cells.get(name) for r in self.rejects]
            columns[name] = Column(self.types.get(name, STRING), values)
        raws = [self._raw_text(reject, set(wanted)) for reject in self.rejects]
        source_column, row_column, errors_column, raw_column = added_names(wanted)
        columns[source_column] = Column(STRING, [self.source] * len(self.rejects))
        columns[row_column] = Column(INT64, [r.row for r in self.rejects])
        columns[errors_column] = Column(JSON, [[_plain(e) for e in r.errors] for r in self.rejects])
        columns[raw_column] = Column(STRING, raws)
        rows: RowNumbers = np.array([r.row for r in self.rejects], dtype=np.int64)
        return ModelBatch(columns, rows, self.source)

    @staticmethod
    def _raw_text(reject: Reject, known: set[str]) -> str | None:
        if reject.raw is not None or reject.cells is None:
            return reject.raw
        rest = {name: value for name, value in reject.cells.items() if name not in known}
        return to_json(rest, fallback=repr).decode() if rest else None


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
        "input": _jsonable(error.get("input")),
    }


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    try:
        to_json(value)
    except (ValueError, TypeError):  # PydanticSerializationError is a ValueError
        return repr(value)
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
                key = (".".join(str(part) for part in error["loc"])[:100], str(error["type"]))
                if key not in self._examples:
                    if len(self._examples) >= self.MAX_KINDS:
                        key = ("(other)", "other")
                    self._examples.setdefault(key, (batch.source, reject.row))
                self._counts[key] += 1

    def summary(self) -> tuple[RejectionSummary, ...]:
        """The commonest kinds, commonest first."""
        return tuple(
            RejectionSummary(place, kind, count, *self._examples[(place, kind)])
            for (place, kind), count in self._counts.most_common(MAX_REJECTIONS)
        )
