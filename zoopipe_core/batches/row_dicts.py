"""Rows as dicts, made of columns, and columns made of rows: the loops that every load with Python code goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any

from zoopipe_core.batches.objects import is_compiled, list_of, rows_of_cells

__all__ = ["columns_of_dicts", "dicts_of_columns", "likely_keys"]

MAX_LITERAL = 200
"""Columns up to which a function is made for them."""
SPAN_ROWS = 256
"""Rows that are made together."""


def dicts_of_columns(columns: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """A dict for each row of some columns, at least one, which are equally long.

    >>> list(dicts_of_columns({"id": [1, 2], "name": ["a", "b"]}))
    [{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'b'}]

    Raises:
        ValueError: they are not.
    """
    names, lists = tuple(columns), tuple(columns.values())
    if len(set(map(len, lists))) != 1:
        raise ValueError(f"the columns differ in length: {dict(zip(names, map(len, lists), strict=True))}")
    plain = all(type(name) is str for name in names)
    if plain and is_compiled():
        return _in_spans({name: list_of(cells) for name, cells in columns.items()})
    rows = zip(*lists, strict=True)
    if len(names) <= MAX_LITERAL and plain:
        return _row_maker(names)(rows)
    return (dict(zip(names, cells, strict=True)) for cells in rows)


def _in_spans(columns: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """The rows, a few at a time, which stay in the processor's cache until they are taken."""
    count = len(next(iter(columns.values())))
    for start in range(0, count, SPAN_ROWS):
        yield from rows_of_cells(columns, start, min(SPAN_ROWS, count - start))


@lru_cache(maxsize=256)
def _row_maker(names: tuple[str, ...]) -> Callable[[Iterable[tuple[Any, ...]]], Iterator[dict[str, Any]]]:
    """A function from rows of cells to their dicts: three times as fast as ``dict(zip(names, cells))`` for each."""
    cells = [f"c{index}" for index in range(len(names))]
    items = ", ".join(f"{name!r}: {cell}" for name, cell in zip(names, cells, strict=True))
    # The only foreign part is the names, as literals: texts, and no class with a repr of its own.
    maker: Callable[[Iterable[tuple[Any, ...]]], Iterator[dict[str, Any]]]
    maker = eval(f"lambda rows: ({{{items}}} for ({', '.join(cells)},) in rows)")
    return maker


def likely_keys(rows: Sequence[Mapping[Any, Any]]) -> list[Any]:
    """The keys of the first of `rows`, if all have as many; where each has a cell for all of these, it has no others.

    Empty if they have not, or no keys at all.
    """
    keys = list(rows[0]) if rows else []
    return keys if list(map(len, rows)).count(len(keys)) == len(rows) else []


def columns_of_dicts(rows: Sequence[Mapping[Any, Any]], gap: Any) -> dict[Any, list[Any]]:
    """Each key that some row has, in the order of their first appearance, and its cells; `gap` where a row lacks it.

    >>> columns_of_dicts([{"id": 1}, {"name": "b", "id": 2}], None)
    {'id': [1, 2], 'name': [None, 'b']}
    """
    with suppress(KeyError):
        keys = likely_keys(rows)
        if keys:
            return {key: list(map(itemgetter(key), rows)) for key in keys}
    return {key: [row.get(key, gap) for row in rows] for key in dict.fromkeys(chain.from_iterable(rows))}
