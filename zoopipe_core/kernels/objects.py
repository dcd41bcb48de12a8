"""Rows as Python objects: made of columns, and read back into columns; by Python's C interface, object by object.

    make_texts, make_integers, pick      Arrow's buffers ──▶ lists of cells
    make_rows                            lists of cells ──▶ dicts of rows
    make_entries                         lists of cells ──▶ dicts of rows, in what a hook is given
    read_entries                         what a hook gave back ──▶ its dicts, if nothing is unusual about it
    read_columns                         dicts ──▶ lists of cells, but of columns that are the very objects handed out
    read_texts                           a list of texts ──▶ Arrow's buffers

A list owns what a kernel puts into it from the moment it is there, so that there is nothing to tidy up where an
exception ends the kernel. What a hook could change meanwhile is never relied on: lists are private to the caller, and a
cell that was looked up is counted before anything else happens. One row is done with before the next is looked at,
since its dict and cells lie anywhere in memory. See `cpython`.
"""

from __future__ import annotations

from typing import Any

from zoopipe_core.kernels._jit import DICT, INT64_SCALAR, LIST, OBJECT, device, kernel
from zoopipe_core.kernels.cpython import (
    byte_at,
    call,
    class_of,
    copy_bytes,
    decref,
    dict_copy,
    dict_get,
    dict_merge,
    dict_set,
    dict_size,
    error_clear,
    error_set,
    incref,
    int32_at,
    integer_new,
    list_get,
    list_new,
    list_set,
    list_size,
    set_attribute,
    set_byte,
    set_int32,
    text_bytes,
    text_new,
    word_at,
)

__all__ = [
    "make_entries",
    "make_integers",
    "make_rows",
    "make_texts",
    "pick",
    "read_columns",
    "read_entries",
    "read_texts",
]


@device
def _is_null(validity: Any, index: Any) -> Any:
    """Whether a cell is null by Arrow's bits, which begin at an address; 0: no cell is."""
    return validity != 0 and (byte_at(validity + (index >> 3)) >> (index & 7)) & 1 == 0


@kernel(OBJECT, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, LIST, over_objects=True)
def make_texts(none: Any, validity: Any, offsets: Any, data: Any, start: Any, cells: Any) -> int:
    """Texts of an array of strings.

    Args:
        none: None.
        validity: the address of the array's first buffer; 0 if no cell is null.
        offsets: the address of the second.
        data: the address of the third.
        start: the first of its cells.
        cells: a list, as long as there are cells, whose items are replaced.
    """
    for i in range(list_size(cells)):
        if _is_null(validity, start + i):
            incref(none)
            list_set(cells, i, none)
            continue
        place = offsets + 4 * (start + i)
        begin = int32_at(place)
        text = text_new(data + begin, int32_at(place + 4) - begin, 0)
        if text == 0:
            return 0
        list_set(cells, i, text)
    return 0


@kernel(OBJECT, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, LIST, over_objects=True)
def make_integers(none: Any, validity: Any, data: Any, start: Any, cells: Any) -> int:
    """Integers of an array of int64.

    Args:
        none: None.
        validity: the address of the array's first buffer; 0 if no cell is null.
        data: the address of the second.
        start: the first of its cells.
        cells: a list, as long as there are cells, whose items are replaced.
    """
    for i in range(list_size(cells)):
        if _is_null(validity, start + i):
            incref(none)
            list_set(cells, i, none)
            continue
        number = integer_new(word_at(data + 8 * (start + i)))
        if number == 0:
            return 0
        list_set(cells, i, number)
    return 0


@kernel(INT64_SCALAR, INT64_SCALAR, LIST, INT64_SCALAR, LIST, over_objects=True)
def pick(data: Any, start: Any, table: Any, first: Any, cells: Any) -> int:
    """Objects out of a list for an array of 32-bit integers without nulls.

    Args:
        data: the address of its buffer.
        start: the first of its cells.
        table: the object for each integer.
        first: the integer that the first of these is for.
        cells: a list, as long as there are cells, whose items are replaced.
    """
    for i in range(list_size(cells)):
        value = list_get(table, int32_at(data + 4 * (start + i)) - first)
        if value == 0:
            return 0
        incref(value)
        list_set(cells, i, value)
    return 0


@device
def _new_row(names: Any, columns: Any, index: Any, form: Any) -> Any:
    """A new reference to the dict of a row, or 0."""
    row = dict_copy(form)
    if row != 0:
        for c in range(list_size(names)):
            cell = list_get(list_get(columns, c), index)
            if cell == 0 or dict_set(row, list_get(names, c), cell) != 0:
                decref(row)
                return 0
    return row


@kernel(LIST, LIST, INT64_SCALAR, DICT, LIST, over_objects=True)
def make_rows(names: Any, columns: Any, start: Any, form: Any, rows: Any) -> int:
    """A dict for each item of a list.

    Args:
        names: the keys, texts.
        columns: for each key the list of its cells.
        start: the first of the cells.
        form: a dict with these keys in their order, which is copied: cheaper than to grow a new one.
        rows: as long as there are rows to make; its items are replaced.
    """
    for i in range(list_size(rows)):
        row = _new_row(names, columns, start + i, form)
        if row == 0:
            return 0
        list_set(rows, i, row)
    return 0


@kernel(
    OBJECT, DICT, LIST, LIST, LIST, LIST, OBJECT, LIST, LIST, DICT, LIST, over_objects=True
)  # fmt: skip
def make_entries(
    kind: Any, form: Any, keys: Any, values: Any, attributes: Any, numbers: Any, source: Any,
    names: Any, columns: Any, row_form: Any, entries: Any,
) -> int:  # fmt: skip
    """An entry for each item of a list.

    Args:
        kind: the class of entries, one of dicts.
        form: the keys of an entry that are made at once, in their order, and what all entries share.
        keys: those that differ from entry to entry; the last is that of the row.
        values: the lists of what they hold, but for the row.
        attributes: the names of two attributes: the entry's number, and what all entries share.
        numbers: a list of the first one's values.
        source: the second one's value.
        names: the keys of rows, texts.
        columns: for each of them the list of its cells.
        row_form: a dict with these keys, as for `make_rows`.
        entries: as long as there are entries to make; its items are replaced.
    """
    last = list_size(keys) - 1
    row_key = list_get(keys, last)
    number_name, source_name = list_get(attributes, 0), list_get(attributes, 1)
    for i in range(list_size(entries)):
        entry = call(kind, 0)
        if entry == 0:
            return 0
        list_set(entries, i, entry)
        if dict_merge(entry, form, 1) != 0:
            return 0
        for c in range(last):
            value = list_get(list_get(values, c), i)
            if value == 0 or dict_set(entry, list_get(keys, c), value) != 0:
                return 0
        row = _new_row(names, columns, i, row_form)
        if row == 0:
            return 0
        failed = dict_set(entry, row_key, row)
        decref(row)
        number = list_get(numbers, i)
        if failed != 0 or number == 0:
            return 0
        if set_attribute(entry, number_name, number) != 0 or set_attribute(entry, source_name, source) != 0:
            return 0
    return 0


@kernel(LIST, LIST, LIST, LIST, LIST, LIST, LIST, over_objects=True)
def read_entries(entries: Any, names: Any, ids: Any, positions: Any, statuses: Any, kinds: Any, rows: Any) -> int:
    """The rows of entries, if nothing is unusual about any of these.

    Args:
        entries: a list, as long as `rows`.
        names: a list of the keys of id, position, status, row and notes.
        ids: a list of the very objects that the ids are to be.
        positions: a list of the very objects that the positions are to be.
        statuses: a list of the two that let a row go on.
        kinds: a list of the class of entries, and that of rows.
        rows: a list, whose items are replaced by the rows.

    Returns:
        1; or 2, if some entry has notes; or 0, if something is unusual.
    """
    found = 1
    id_name, position_name, status_name = list_get(names, 0), list_get(names, 1), list_get(names, 2)
    row_name, notes_name = list_get(names, 3), list_get(names, 4)
    for i in range(list_size(rows)):
        entry = list_get(entries, i)
        if class_of(entry) != list_get(kinds, 0):
            return 0
        if dict_get(entry, id_name) != list_get(ids, i) or dict_get(entry, position_name) != list_get(positions, i):
            return 0
        status = dict_get(entry, status_name)
        if status != list_get(statuses, 0) and status != list_get(statuses, 1):
            return 0
        row = dict_get(entry, row_name)
        if row == 0 or class_of(row) != list_get(kinds, 1):
            return 0
        incref(row)
        list_set(rows, i, row)
        if dict_get(entry, notes_name) != 0:
            found = 2
        elif error_set() != 0:
            return 0
    return found


@kernel(LIST, OBJECT, LIST, LIST, OBJECT, LIST, over_objects=True)
def read_columns(rows: Any, kind: Any, names: Any, columns: Any, unknown: Any, made: Any) -> int:
    """Columns of rows, if each row has the same keys.

    Args:
        rows: what is looked at.
        kind: the class of dicts.
        names: the keys.
        columns: for each key the list of the cells that were handed out, or `unknown`.
        unknown: None.
        made: as many of it as there are keys, which are replaced by lists of cells, but where the cells are the very
            objects that were handed out.

    Returns:
        1 if all rows are dicts with these keys and no others; else 0.
    """
    count, width = list_size(rows), list_size(names)
    for c in range(width):
        given = list_get(columns, c)
        if given != unknown and list_size(given) != count:
            return 0
    for i in range(count):
        row = list_get(rows, i)
        if class_of(row) != kind or dict_size(row) != width:
            return 0
        for c in range(width):
            cell = dict_get(row, list_get(names, c))
            if cell == 0:
                return 0
            given, cells = list_get(columns, c), list_get(made, c)
            if cells == unknown:
                if given != unknown and list_get(given, i) == cell:
                    continue
                incref(cell)
                cells = _cells_so_far(given, i, count, unknown)
                if cells == 0:
                    decref(cell)
                    return 0
                list_set(made, c, cells)
            else:
                incref(cell)
            list_set(cells, i, cell)
    return 1


@device
def _cells_so_far(given: Any, filled: Any, count: Any, unknown: Any) -> Any:
    """A new reference to a list of `count` cells, the first of which are those that were handed out, or 0."""
    cells = list_new(count)
    if cells != 0:
        for i in range(count):
            cell = list_get(given, i) if i < filled else unknown
            incref(cell)
            list_set(cells, i, cell)
    return cells


@kernel(
    LIST, OBJECT, OBJECT, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR, INT64_SCALAR,
    over_objects=True,
)  # fmt: skip
def read_texts(
    cells: Any, none: Any, kind: Any, scratch: Any, offsets: Any, valid: Any, data: Any, at: Any, room: Any
) -> int:
    """Texts as Arrow holds them.

    Args:
        cells: a list.
        none: None.
        kind: the class of texts.
        scratch: the address of an int64 that the C interface writes to.
        offsets: the address of an int32 for each cell, where it ends.
        valid: the address of a uint8 for each cell, 0 for None and else 1.
        data: the address where the bytes go, as far as there is room.
        at: where the first text begins; the offsets count from there.
        room: where `data` ends.

    Returns:
        Where the last text ends, beyond `room` if there is none for it; -1 if a cell is neither None nor a text that
        has a form in UTF-8, or if they are too long for int32.
    """
    for i in range(list_size(cells)):
        cell = list_get(cells, i)
        if cell == none:
            set_byte(valid + i, 0)
        elif class_of(cell) != kind:
            return -1
        else:
            address = text_bytes(cell, scratch)
            if address == 0:
                error_clear()
                return -1
            size = word_at(scratch)
            if at + size <= room:
                copy_bytes(data + at, address, size)
            at += size
            if at >= 2**31:
                return -1
            set_byte(valid + i, 1)
        set_int32(offsets + 4 * i, at)
    return int(at)
