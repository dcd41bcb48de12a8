"""Entries for post-validation hooks, most parts of which are made when they are first looked at.

Most hooks look at ``validated_data`` alone. Making ``raw_data``, ``errors`` and ``metadata`` for each row all the same
would take longer than many a hook.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence, ValuesView
from dataclasses import replace
from itertools import repeat
from typing import Any, cast

import numpy as np

from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.objects import EntryMaker, is_compiled, list_of
from zoopipe_core.batches.source import RowNumbers, SourceBatch
from zoopipe_core.hooking.rows import Shown, raw_rows
from zoopipe_core.hooks import Entry, EntryStatus

__all__ = ["Opened", "RawRows", "metadata_of", "validated_entries"]

LATER = ("raw_data", "errors", "metadata")
"""What is made when it is looked at."""


class RawRows:
    """Some rows of a batch as its source holds them, made when the first of them is asked for.

    Args:
        source: the batch.
        wanted: the columns that are looked at; None: all.
        places: int64 (n,), for each of the rows its place in `source`; -1 for a row that a hook added, which the source
            does not hold.
    """

    __slots__ = ("_places", "_rows", "_source", "_wanted")

    def __init__(self, source: SourceBatch, wanted: frozenset[str] | None, places: RowNumbers) -> None:
        self._source, self._wanted, self._places = source, wanted, places
        self._rows: list[dict[str, Any]] | None = None

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The row, the same dict each time; an empty one where a hook added it."""
        if self._rows is None:
            held = np.flatnonzero(self._places >= 0)
            found = raw_rows(_taken(self._source, self._places[held]), self._wanted)[0]
            self._rows = [{} for _ in self._places]
            for place, row in zip(held.tolist(), found, strict=True):
                self._rows[place] = row
        return self._rows[index]


def _taken(source: SourceBatch, places: RowNumbers) -> SourceBatch:
    """The rows of `source` at `places`."""
    objects = None if source.objects is None else [source.objects[place] for place in places.tolist()]
    return replace(source, columns=source.take(places), rows=source.rows[places], objects=objects)


class Opened:
    """Accepted rows whose cells are Python objects.

    Args:
        batch: the rows.
        ids: int64 (n,), their ids.
        raw: knows their ``raw_data``.
        metadata: the notes on some rows, by id.

    Attributes:
        cells: name -> the cells of a column, of those whose every object stands for itself: who has the very objects
            has the column.
    """

    def __init__(
        self, batch: ModelBatch, ids: RowNumbers, raw: RawRows, metadata: Mapping[int, dict[str, Any]]
    ) -> None:
        self._batch, self._raw, self._metadata = batch, raw, metadata
        self._ids, self._positions = ids.tolist(), batch.rows.tolist()
        self._columns = {name: list_of(column.values) for name, column in batch.columns.items()}
        handed_out = {name: column.handed_out() for name, column in batch.columns.items()}
        self.cells = {name: cells for name, cells in handed_out.items() if cells is not None}
        has_gaps = any(column.has_gaps for column in batch.columns.values())
        self._compiled = is_compiled() and bool(self._columns) and not has_gaps

    def shown(self) -> Shown:
        """The rows as entries."""
        ids, positions = self._ids, self._positions
        if self._compiled:
            entries = cast(list[Entry], _MAKER.entries(ids, positions, self._columns, self._raw))
        else:
            entries = validated_entries(ids, positions, self._batch.dicts(), self._raw)
        if self._metadata:
            for identity, entry in zip(ids, entries, strict=True):
                if identity in self._metadata:
                    entry["metadata"] = self._metadata[identity]
        return Shown(entries, ids, positions, kind=_LazyEntry)


def validated_entries(
    ids: Sequence[int], positions: Sequence[int], rows: Iterable[dict[str, Any]], raw: RawRows
) -> list[Entry]:
    """The entries of accepted rows, made in Python.

    `rows` are their ``validated_data``, `raw` has their ``raw_data``.
    """
    entries = [
        _LazyEntry(id=identity, position=position, status=EntryStatus.VALIDATED, validated_data=data)
        for identity, position, data in zip(ids, positions, rows, strict=True)
    ]
    for index, entry in enumerate(entries):
        entry.raw, entry.index = raw, index
    return cast(list[Entry], entries)


def metadata_of(entries: Sequence[Entry]) -> dict[int, dict[str, Any]]:
    """Id -> ``metadata``, of those entries that have some."""
    made = cast(Sequence[dict[str, Any]], entries)
    if not any(map(dict.get, made, repeat("metadata"))):  # `dict.get` does not make it
        return {}
    return {entry["id"]: entry["metadata"] for entry in entries if entry.get("metadata")}


class _LazyEntry(dict[str, Any]):
    """A dict that has all keys of an `Entry`, whether they were made yet or not."""

    __slots__ = ("index", "raw")

    raw: RawRows | None  # None once all was made
    index: int

    def __missing__(self, key: str) -> Any:
        if key not in LATER or self.raw is None:
            raise KeyError(key)
        value = self[key] = self.raw[self.index] if key == "raw_data" else [] if key == "errors" else {}
        return value

    def _whole(self) -> dict[str, Any]:
        if self.raw is not None:
            for key in LATER:
                if not dict.__contains__(self, key):
                    self.__missing__(key)
            self.raw = None
        return self

    def __contains__(self, key: object) -> bool:
        return dict.__contains__(self, key) or (key in LATER and self.raw is not None)

    def get(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else default  # noqa: SIM401  this is what it stands for

    def setdefault(self, key: str, default: Any = None) -> Any:
        return self[key] if key in self else dict.setdefault(self, key, default)

    def __iter__(self) -> Iterator[str]:
        return dict.__iter__(self._whole())

    def __reversed__(self) -> Iterator[str]:
        return dict.__reversed__(self._whole())

    def __len__(self) -> int:
        return dict.__len__(self._whole())

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        return dict.keys(self._whole())

    def values(self) -> ValuesView[Any]:  # type: ignore[override]
        return dict.values(self._whole())

    def items(self) -> ItemsView[str, Any]:  # type: ignore[override]
        return dict.items(self._whole())

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self._whole(), other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def __repr__(self) -> str:
        return dict.__repr__(self._whole())

    def copy(self) -> dict[str, Any]:
        return {**self}

    def __or__(self, other: Any) -> Any:
        return {**self} | other

    def __ror__(self, other: Any) -> Any:
        return other | {**self}

    def __delitem__(self, key: str) -> None:
        dict.__delitem__(self._whole(), key)

    def pop(self, key: str, *default: Any) -> Any:
        return dict.pop(self._whole(), key, *default)

    def popitem(self) -> tuple[str, Any]:
        return dict.popitem(self._whole())

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ({**self},)


_MAKER = EntryMaker(
    _LazyEntry,
    {"id": 0, "position": 0, "status": EntryStatus.VALIDATED, "validated_data": None},
    ("id", "position", "validated_data"),
    number="index",
    source="raw",
)
