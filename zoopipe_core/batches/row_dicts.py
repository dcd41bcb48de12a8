"""Rows as dicts, made of columns, and columns made of rows: the loops that every load with Python code goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any

__all__ = ["columns_of_dicts", "dicts_of_columns"]

MAX_LITERAL = 200
"""Columns up to which a function is made for them."""


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
    if len(names) <= MAX_LITERAL and all(type(name) is str for name in names):
        return map(_row_maker(names), *lists)
    return (dict(zip(names, cells, strict=True)) for cells in zip(*lists, strict=True))


@lru_cache(maxsize=256)
def _row_maker(names: tuple[str, ...]) -> Callable[..., dict[str, Any]]:
    """A function from the cells of a row to its dict: three times as fast as ``dict(zip(names, cells))``."""
    cells = [f"c{index}" for index in range(len(names))]
    items = ", ".join(f"{name!r}: {cell}" for name, cell in zip(names, cells, strict=True))
    # The only foreign part is the names, as literals: texts, and no class with a repr of its own.
    maker: Callable[..., dict[str, Any]] = eval(f"lambda {', '.join(cells)}: {{{items}}}")
    return maker


def columns_of_dicts(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[Any, ...]] | None:
    """The columns `names` of rows that have just these keys; None if some row has others, or lacks one.

    >>> columns_of_dicts([{"id": 1, "name": "a"}, {"name": "b", "id": 2}], ["id", "name"])
    [(1, 2), ('a', 'b')]
    """
    count = len(names)
    if not rows or not count or any(map(count.__ne__, map(len, rows))):
        return None
    try:
        if count == 1:
            return [tuple(map(itemgetter(names[0]), rows))]
        return list(zip(*map(itemgetter(*names), rows), strict=True))
    except KeyError:
        return None
