"""Rows and values as CSV text, by Python.

Numbers as Python writes them, everything else as pydantic writes it to JSON, without the quotes. A NULL is an empty
field and an empty text is ``""``, so that the two can be told apart again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cached_property
from typing import Any
from uuid import UUID

from pydantic_core import to_json

from zoopipe_core.batches.model import MISSING

__all__ = ["CSVFormat", "cell_text"]


@dataclass(frozen=True)
class CSVFormat:
    """How fields and records are written; the attributes are those of `CSVOutputAdapter`."""

    delimiter: str = ","
    quotechar: str = '"'
    null_text: str = ""
    escape_formulas: bool = False
    lineterminator: str = "\n"

    @cached_property
    def _needs_quotes(self) -> Callable[[str], object]:
        # A field needs quotes if the format could read it otherwise.
        special = re.escape(self.delimiter + self.quotechar)
        return re.compile(rf"[{special}\r\n]|^\ufeff").search

    @property
    def blank(self) -> str:
        """What stands for an empty field that is alone in its row: a blank line would be no record."""
        return self.quotechar * 2

    def fields(self, values: Iterable[Any]) -> list[str]:
        """The fields of a column, quoted where they have to be."""
        null, quote, needs_quotes = self.null_text, self.quotechar, self._needs_quotes
        escapes = self.escape_formulas
        values = list(values)
        if not escapes and set(map(type, values)) <= {str, type(None)}:
            # One look at all of them together: mostly none needs quotes for what it holds.
            together = "".join([value for value in values if value])
            if not needs_quotes(together) and "\ufeff" not in together:
                empty = quote * 2
                named = quote + null + quote if null else empty
                return [null if v is None else empty if not v else named if v == null else v for v in values]
        texts = []
        known: dict[int, str] = {}  # rejects share their error lists
        for value in values:
            if value is None or value is MISSING:
                texts.append(null)
                continue
            text = known.get(id(value))
            if text is None:
                text = cell_text(value)
                if escapes and text[:1] in _FORMULA_STARTS and not isinstance(value, _NO_FORMULAS):
                    text = "'" + text
                if not text or text == null or needs_quotes(text):
                    text = quote + text.replace(quote, quote + quote) + quote
                if type(value) is list:
                    known[id(value)] = text
            texts.append(text)
        return texts

    def records(self, columns: Sequence[Sequence[str]]) -> str:
        """The records that have these columns of fields."""
        end = self.lineterminator
        if len(columns) == 1:
            return "".join([(text or self.blank) + end for text in columns[0]])
        join = self.delimiter.join
        return "".join([join(cells) + end for cells in zip(*columns, strict=True)])


# The last four are the full-width forms, which some spreadsheets take for the same.
_FORMULA_STARTS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NO_FORMULAS = (int, float, Decimal, date, time, timedelta)


def _json_scalar(value: Any) -> str:
    text = to_json(value, inf_nan_mode="constants").decode()
    return _unquoted(text)


def _unquoted(text: str) -> str:
    # Dates, times and UUIDs hold no character that JSON escapes.
    return text[1:-1] if text.startswith('"') else text


_TEXT_BY_TYPE: dict[type, Callable[[Any], str]] = {
    str: str,
    int: str,
    float: repr,
    bool: lambda value: "true" if value else "false",
    Decimal: str,
    UUID: str,
    date: date.isoformat,
    datetime: _json_scalar,
    time: _json_scalar,
    timedelta: _json_scalar,
    bytes: lambda value: value.decode("utf-8", "backslashreplace"),
}


def cell_text(value: Any) -> str:
    """A value as the text of a CSV field, before quoting.

    >>> cell_text(True), cell_text(1e16), cell_text([1, None])
    ('true', '1e+16', '[1,null]')
    """
    write = _TEXT_BY_TYPE.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, Enum):
        return cell_text(value.value)
    if isinstance(value, str):
        return str.__str__(value)
    text = to_json(value, inf_nan_mode="constants", fallback=str).decode()
    return _unquoted(text) if not isinstance(value, list | tuple | dict | set) else text
