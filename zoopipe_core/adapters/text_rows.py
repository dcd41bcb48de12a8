"""Batches as the text of their rows, laid out by kernels: no Python object for a cell or a row.

Both functions are pure: they may be called by any thread, and hold the GIL only between two kernels. They give None
where a batch is better left to Python as a whole; where Python cannot write it either, that will say why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.adapters.cell_writers import CellStyle, CellWriter, constant, lay_out
from zoopipe_core.adapters.column_writers import column_writer
from zoopipe_core.adapters.csv_text import CSVFormat
from zoopipe_core.adapters.json_text import json_text, json_texts
from zoopipe_core.adapters.spelled_rows import copy_rows
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.kernels import format_text
from zoopipe_core.kernels.buffers import TextCells
from zoopipe_core.kernels.format_floats import JSON_STYLE, REPR_STYLE

__all__ = ["encode_csv_rows", "encode_json_rows"]

Bytes = npt.NDArray[np.uint8]

JSON_NULL = b"null"
QUOTE, BACKSLASH = b'"\\'


def encode_json_rows(batch: ModelBatch, separator: bytes) -> pa.Buffer | None:
    """The rows as JSON objects with `separator` between them. None if a row lacks a key, or cannot be written.

    Raises:
        ValueError: a value has no JSON form.
    """
    columns = batch.columns
    if not columns or not batch.num_rows or any(column.has_gaps for column in columns.values()):
        return None
    befores = [b"," + json_text(name) + b":" for name in columns]
    befores[0] = b"{" + befores[0][1:]
    end = b"}" + separator
    buffer = copy_rows(list(columns.values()), _JSON, _json_takes, (QUOTE, BACKSLASH), befores, end)
    if buffer is None:
        writers = [column_writer(column, _JSON) for column in columns.values()]
        laid_out = lay_out(writers, befores, end, JSON_NULL, batch.num_rows)
        if laid_out is None:
            return None
        buffer, _ = laid_out
    return buffer.slice(0, buffer.size - len(separator))


def encode_csv_rows(batch: ModelBatch, names: Sequence[str], form: CSVFormat) -> pa.Buffer | None:
    """The rows as CSV records of the columns `names`, each with its line break. None if one cannot be written.

    A column that the batch lacks is null.

    Raises:
        ValueError: a text is no Unicode.
    """
    if not names or not batch.num_rows:
        return None
    null = form.null_text.encode()
    if len(names) == 1 and not null:
        null = form.blank.encode()
    lacking = Column(ColumnType(pa.null()), None, pa.nulls(batch.num_rows))
    columns = [batch.columns.get(name, lacking) for name in names]
    befores = [b"", *[form.delimiter.encode()] * (len(names) - 1)]
    end = form.lineterminator.encode()
    style = _csv_style(form, null)
    if not form.null_text and not form.escape_formulas and form.delimiter not in _PLAIN_TEXT:
        special = ord(form.delimiter), ord(form.quotechar)
        buffer = copy_rows(columns, style, _csv_takes(form), special, befores, end)
        if buffer is not None:
            return buffer
    laid_out = lay_out([column_writer(column, style) for column in columns], befores, end, null, batch.num_rows)
    return None if laid_out is None else laid_out[0]


def _json_writer(data: Bytes, starts: Any, ends: Any, form: Bytes, escape_formulas: bool) -> CellWriter:
    flags = np.zeros(1, np.uint8)
    return CellWriter(
        partial(format_text.size_json_text, data, starts, ends, form, flags, len(JSON_NULL)),
        partial(format_text.write_json_text, data, starts, ends, form),
        flags,
    )


_JSON = CellStyle(
    null=JSON_NULL,
    quote=QUOTE,
    float_style=JSON_STYLE,
    text=_json_writer,
    is_safe=lambda alphabet: True,
    python=json_texts,
)


# What JSON does not have in a string as it stands, and CSV not in a field without quotes.
_JSON_SPECIAL = frozenset({*range(32), QUOTE, BACKSLASH})
_BREAKS = frozenset(b"\r\n")
_PLAIN_TEXT = "0123456789+-.:TZaeflrstu"
"""The characters of numbers, booleans and dates."""


def _json_takes(cells: TextCells) -> bool:
    return cells.absent >= _JSON_SPECIAL


def _csv_takes(form: CSVFormat) -> Callable[[TextCells], bool]:
    special = _BREAKS | {ord(form.delimiter), ord(form.quotechar)}

    def takes(cells: TextCells) -> bool:
        # An empty text is quoted, and so is one that begins with a byte order mark.
        return cells.is_ascii and special <= cells.absent and not np.any(cells.starts == cells.ends)

    return takes


def _csv_style(form: CSVFormat, null: bytes) -> CellStyle:
    """How `form` has cells; `null` is what is written for null, and never what a text is compared with."""
    delimiter, quote, null_text = ord(form.delimiter), ord(form.quotechar), constant(form.null_text.encode())

    def text(data: Bytes, starts: Any, ends: Any, cells: Bytes, may_be_formula: bool) -> CellWriter:
        flags, escapes = np.zeros(1, np.uint8), int(form.escape_formulas and may_be_formula)
        return CellWriter(
            partial(
                format_text.size_csv_text, data, starts, ends, cells, flags, delimiter, quote, escapes, null_text,
                len(null),
            ),
            partial(format_text.write_csv_text, data, starts, ends, cells, quote, escapes),
            flags,
        )  # fmt: skip

    def is_safe(alphabet: str) -> bool:
        special = form.delimiter in alphabet or form.quotechar in alphabet
        return not special and (not form.null_text or not set(form.null_text) <= set(alphabet))

    def python(values: Sequence[Any]) -> list[bytes]:
        return [field.encode() or null for field in form.fields(values)]

    return CellStyle(null, 0, REPR_STYLE, text, is_safe, python, unwraps_enums=not form.escape_formulas)
