"""What a source gives as a whole, and what its parts give one after the other."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from zoopipe_core.adapters.base import InputAdapter, ReadRequest, Split
from zoopipe_core.batches.source import Fault, SourceBatch, SourceKind
from zoopipe_core.batches.values import python_values
from zoopipe_core.errors import SourceError


@dataclass
class Reading:
    """All that was read.

    Attributes:
        columns, duplicates: what the readers said before the first row; all of them the same.
        rows: (source, number, cells by column) in order.  faults: (source, fault) likewise.
        seen: the duplicates that held for each source's rows.
        error: what ended it.
    """

    columns: Any = None
    duplicates: frozenset[str] = frozenset()
    rows: list[tuple[str, int, Any]] = field(default_factory=list)
    faults: list[tuple[str, Fault]] = field(default_factory=list)
    seen: dict[str, frozenset[str]] = field(default_factory=dict)
    error: tuple[type, str] | None = None


def read(adapters: Iterable[InputAdapter], **request: Any) -> Reading:
    """Read adapters one after the other, up to the first error."""
    found = Reading()
    said: list[tuple[Any, frozenset[str]]] = []
    try:
        for adapter in adapters:
            with adapter.open(ReadRequest(**request)) as reader:
                said.append((reader.columns, reader.duplicates))
                for batch in reader:
                    _add(found, batch)
                    found.seen[batch.source] = reader.duplicates
    except SourceError as error:
        found.error = type(error), str(error)
    assert all(one == said[0] for one in said)
    if said:
        found.columns, found.duplicates = said[0]
    return found


def _add(found: Reading, batch: SourceBatch) -> None:
    numbers = batch.rows.tolist()
    if batch.kind is SourceKind.OBJECTS:
        cells: list[Any] = list(batch.objects or ())
    elif batch.batch.num_columns:
        names = batch.batch.schema.names
        columns = [
            column.to_pylist() if batch.kind is not SourceKind.TYPED else python_values(column)
            for column in batch.batch.columns
        ]
        cells = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    else:
        cells = [{} for _ in numbers]
    found.rows.extend(zip([batch.source] * len(numbers), numbers, cells, strict=True))
    found.faults.extend((batch.source, fault) for fault in batch.faults)


class Copies(list[InputAdapter]):
    """Parts as another process gets them. The originals live as long: they may keep a state of a database."""

    def __init__(self, split: Split) -> None:
        super().__init__(pickle.loads(pickle.dumps(part)) for part in split.parts)
        self.originals = split.parts


def parts_of(adapter: InputAdapter, count: int) -> Copies:
    """The parts, sent to another process."""
    split = adapter.split(count)
    check(split, count)
    return Copies(split)


def check(split: Split, count: int) -> None:
    """Hold a split to its contract."""
    assert 1 <= len(split.parts) <= count
    assert (split.note is None) == (len(split.parts) == count)


def assert_exact(adapter: InputAdapter, count: int, **request: Any) -> list[InputAdapter]:
    """Make sure that the parts give what the whole gives, and return them."""
    parts = parts_of(adapter, count)
    whole, pieces = read([adapter], **request), read(parts, **request)
    assert pieces == whole
    assert all(part.label == adapter.label for part in parts)
    return parts
