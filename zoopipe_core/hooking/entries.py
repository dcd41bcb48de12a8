"""Entries for post-validation hooks, most parts of which are made when they are first looked at.

Most hooks look at ``validated_data`` alone. Making ``raw_data``, ``errors`` and ``metadata`` for each row all the same
would take longer than many a hook.
"""

from __future__ import annotations

import gc
from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from contextlib import contextmanager
from typing import Any, cast

from zoopipe_core.batches.source import SourceBatch
from zoopipe_core.hooking.rows import raw_rows
from zoopipe_core.hooks import Entry, EntryStatus

__all__ = ["RawRows", "metadata_of", "paused_gc", "validated_entry"]

LATER = ("raw_data", "errors", "metadata")
"""What is made when it is looked at."""


class RawRows:
    """The rows of a batch as its source holds them, made when the first of them is asked for."""

    __slots__ = ("_rows", "_source", "_wanted")

    def __init__(self, source: SourceBatch, wanted: frozenset[str] | None) -> None:
        self._source, self._wanted = source, wanted
        self._rows: list[dict[str, Any]] | None = None

    def __getitem__(self, place: int) -> dict[str, Any]:
        """The row at `place`, the same dict each time; an empty one for the place -1 of a row that a hook added."""
        if place < 0:
            return {}
        if self._rows is None:
            self._rows = raw_rows(self._source, self._wanted)[0]
        return self._rows[place]


def validated_entry(
    identity: int, position: int, data: dict[str, Any], raw: RawRows, place: int, metadata: dict[str, Any] | None
) -> Entry:
    """The entry of an accepted row, whose ``raw_data`` is ``raw[place]``."""
    entry = _LazyEntry(id=identity, position=position, status=EntryStatus.VALIDATED, validated_data=data)
    entry.raw, entry.place = raw, place
    if metadata is not None:
        entry["metadata"] = metadata
    return cast(Entry, entry)


def metadata_of(entry: Entry) -> Any:
    """``metadata``, None if nobody looked at it yet."""
    return dict.get(cast(dict[str, Any], entry), "metadata")


class _LazyEntry(dict[str, Any]):
    """A dict that has all keys of an `Entry`, whether they were made yet or not."""

    __slots__ = ("place", "raw")

    raw: RawRows | None  # None once all was made
    place: int

    def __missing__(self, key: str) -> Any:
        if key not in LATER or self.raw is None:
            raise KeyError(key)
        value = self[key] = self.raw[self.place] if key == "raw_data" else [] if key == "errors" else {}
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


@contextmanager
def paused_gc() -> Iterator[None]:
    """No search for reference cycles meanwhile.

    A batch of rows as Python objects is some ten thousand dicts, which are gone before the next batch. Python's
    collector would take their number as a reason to look through all objects of the process, again and again: a
    quarter of the time of a load with row hooks.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
