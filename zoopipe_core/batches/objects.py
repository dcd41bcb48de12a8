"""The loops that every load with Python code goes through, by compiled kernels: rows of cells, entries, and back.

To be used where `is_compiled`. A function that gives None met something unusual; then, and where there are no compiled
kernels, the caller does the same in Python.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from zoopipe_core.kernels.objects import (
    make_entries,
    make_integers,
    make_rows,
    make_texts,
    pick,
    read_columns,
    read_entries,
    read_texts,
)

__all__ = [
    "EntryMaker",
    "TextBuilder",
    "changed_columns",
    "integers_of",
    "is_compiled",
    "list_of",
    "picked",
    "rows_of_cells",
    "rows_of_entries",
    "texts_of",
]

_KERNELS = (
    make_texts, make_integers, pick, make_rows, make_entries, read_entries, read_columns, read_texts,
)  # fmt: skip
_NOTED = 2
_TEXT_BYTES = 32
"""Room for each text, at first."""


def is_compiled() -> bool:
    """Whether the compiled kernels are there; only then are the functions here of use."""
    return all(kernel.native is not None for kernel in _KERNELS)


def list_of(cells: Sequence[Any]) -> list[Any]:
    """The cells as a list, and nothing that is one by inheritance."""
    return cells if type(cells) is list else list(cells)


def rows_of_cells(columns: Mapping[str, list[Any]], start: int, count: int) -> list[dict[str, Any]]:
    """A dict for each of `count` rows from `start` on; `columns` are lists that reach so far, their names are texts."""
    rows: list[Any] = [None] * count
    make_rows(list(columns), list(columns.values()), start, dict.fromkeys(columns), rows)
    return rows


class EntryMaker:
    """Makes entries of one class.

    Args:
        kind: a class of dicts.
        form: an entry, as far as it is made at once; the values of `keys` are replaced.
        keys: those of the id, the position and the row.
        number, source: the names of two attributes: the entry's number, and what knows the rest of it by that.
    """

    def __init__(self, kind: type, form: dict[str, Any], keys: Sequence[str], number: str, source: str) -> None:
        self._kind, self._form, self._keys, self._attributes = kind, form, list(keys), [number, source]

    def entries(self, ids: list[int], positions: list[int], columns: Mapping[str, list[Any]], source: Any) -> list[Any]:
        """An entry for each row; `columns` are lists as long as the others, at least one, and their names are texts."""
        entries: list[Any] = [None] * len(ids)
        make_entries(
            self._kind, self._form, self._keys, [ids, positions], self._attributes, list(range(len(ids))), source,
            list(columns), list(columns.values()), dict.fromkeys(columns), entries,
        )  # fmt: skip
        return entries


def rows_of_entries(
    entries: list[Any],
    names: list[str],
    ids: list[int],
    positions: list[int],
    statuses: list[Any],
    kind: type,
) -> tuple[list[dict[str, Any]], bool] | None:
    """The rows of entries that came back as they have to be, and whether some have notes; None if something is unusual.

    Args:
        entries: as they came back.
        names: the keys of id, position, status, row and notes.
        ids: the very objects that the entries were given.
        positions: as `ids`.
        statuses: the two that let a row go on.
        kind: the class of the entries, one of dicts.
    """
    if len(entries) != len(ids):
        return None
    rows: list[Any] = [None] * len(entries)
    found = read_entries(entries, names, ids, positions, statuses, [kind, dict], rows)
    return (rows, found == _NOTED) if found else None


def changed_columns(rows: list[Any], names: list[Any], given: list[list[Any] | None]) -> list[list[Any] | None] | None:
    """The cells of each column; None for one whose cells are the very objects in `given`.

    None if not all rows are dicts, and nothing that is one by inheritance, with the keys `names` and no others.
    """
    made: list[Any] = [None] * len(names)
    return made if read_columns(rows, dict, names, given, None, made) else None


def texts_of(array: pa.Array) -> list[str | None]:
    """The cells of an array of strings.

    Raises:
        UnicodeDecodeError: it holds what is no UTF-8.
    """
    cells: list[Any] = [None] * len(array)
    validity, offsets, data = array.buffers()
    if len(array):
        make_texts(None, _start_of(validity), offsets.address, _start_of(data), array.offset, cells)
    return cells


def integers_of(array: pa.Array) -> list[int | None]:
    """The cells of an array of int64."""
    cells: list[Any] = [None] * len(array)
    validity, data = array.buffers()
    if len(array):
        make_integers(None, _start_of(validity), _start_of(data), array.offset, cells)
    return cells


def picked(array: pa.Array, table: list[Any], first: int) -> list[Any]:
    """For each cell of an array of 32-bit integers, none of them null, its object: `table` has those of ``first``,
    ``first + 1`` and so on.

    Raises:
        IndexError: it has no object for one of them.
    """
    cells: list[Any] = [None] * len(array)
    if len(array):
        pick(array.buffers()[1].address, array.offset, table, first, cells)
    return cells


def _start_of(buffer: pa.Buffer | None) -> int:
    return 0 if buffer is None else buffer.address


class TextBuilder:
    """An array of strings that grows by lists of texts.

    Args:
        count: how many texts there will be, more or less.
    """

    def __init__(self, count: int) -> None:
        self._count = self._end = 0
        self._word = np.empty(1, np.int64)
        self._scratch: int = self._word.__array_interface__["data"][0]
        self._offsets = _room(4 * (count + 1))
        self._valid = _room(count)
        self._data = _room(_TEXT_BYTES * count)
        np.frombuffer(self._offsets, np.int32, 1)[0] = 0
        self._look()

    def _look(self) -> None:
        """Note where the memory is, and how much."""
        self._places = self._offsets.address + 4, self._valid.address, self._data.address
        self._rows, self._bytes = self._valid.size, self._data.size

    def __len__(self) -> int:
        return self._count

    def extend(self, cells: list[Any]) -> bool:
        """Add texts, and None; False, and nothing is added, if some cell is neither.

        A text without a form in UTF-8 is neither, and so are texts of more than 2 GB altogether.
        """
        count = self._count + len(cells)
        if count > self._rows:
            self._valid.resize(2 * count)
            self._offsets.resize(4 * (2 * count + 1))
            self._look()
        while True:
            offsets, valid, data = self._places
            end = read_texts(
                cells, None, str, self._scratch, offsets + 4 * self._count, valid + self._count,
                data, self._end, self._bytes,
            )  # fmt: skip
            if end < 0:
                return False
            if end <= self._bytes:
                break
            self._data.resize(max(end, 2 * self._bytes))
            self._look()
        self._count, self._end = count, end
        return True

    def array(self) -> pa.Array:
        """All of them; nothing can be added any more."""
        del self._places
        valid = np.frombuffer(self._valid, np.uint8, self._count)
        validity = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
        self._data.resize(self._end, shrink_to_fit=True)
        self._offsets.resize(4 * (self._count + 1), shrink_to_fit=True)
        return pa.Array.from_buffers(pa.string(), self._count, [validity, self._offsets, self._data])


def _room(size: int) -> pa.ResizableBuffer:
    """Memory of Arrow's own, which it keeps for the next one who asks."""
    return pa.allocate_buffer(size, resizable=True)
