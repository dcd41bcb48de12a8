"""Rows and values as JSON text, by Python: exactly as ``model_dump_json()`` has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic_core import to_json

__all__ = ["join_rows", "json_text", "json_texts"]

# What orjson would write differently from pydantic it has to refuse: dates as pydantic writes them differ.
_AS_PYDANTIC = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS


def json_text(value: Any) -> bytes:
    """A value as JSON on one line; NaN and infinities as null.

    >>> json_text([1.5, None])
    b'[1.5,null]'

    Raises:
        ValueError: it cannot be written as JSON.
    """
    try:
        return orjson.dumps(value, option=_AS_PYDANTIC)
    except TypeError:  # a Decimal, a date, a larger integer, ...: pydantic writes it, at a quarter of the speed
        return to_json(value, inf_nan_mode="null")


_MARK = "\0|"
_BETWEEN = b',"\\u0000|",'


def json_texts(values: Sequence[Any]) -> list[bytes]:
    """`json_text` of each value, ten times as fast as one by one: a mark between them tells where to cut.

    >>> json_texts([{"a": 1}, None])
    [b'{"a":1}', b'null']
    """
    marked: list[Any] = [_MARK] * (2 * len(values) - 1)
    marked[::2] = values
    texts = json_text(marked)[1:-1].split(_BETWEEN)
    if len(texts) == len(values):
        return texts
    return [json_text(value) for value in values]  # a value holds the mark, or there is none


def join_rows(rows: list[dict[str, Any]], separator: bytes) -> bytes:
    """The JSON texts of `rows`, joined. Serialising all of them at once is about twice as fast as one by one.

    Rows are objects, so every place between two of them reads ``},{``. If that occurs just as often as there are such
    places, it occurs nowhere else (in a string, in a list of objects), and replacing it cuts the text into its rows.
    """
    text = json_text(rows)
    if text.count(b"},{") == len(rows) - 1:
        return text[1:-1].replace(b"},{", b"}" + separator + b"{")
    return separator.join(map(json_text, rows))
