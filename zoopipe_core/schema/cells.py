"""The Python values of a source's cells: what pydantic is given.

For text a cell is a str or None. For typed columns it is the Python value of its Arrow type. A cell that has no such
value (bytes that are no UTF-8, a timestamp finer than Python's) makes its row a reject.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from zoopipe_core.batches.source import SourceKind, mask_array
from zoopipe_core.batches.types import ColumnType

__all__ = ["BadCells", "cell_values", "readable_cells"]

BadCells = dict[int, Mapping[str, Any]]
"""Index of the row -> an error in pydantic's form."""


def cell_values(name: str, array: pa.Array, kind: SourceKind) -> tuple[list[Any], BadCells]:
    """The values of a column, None in the place of cells that have none, and what is wrong with those."""
    return _text_values(name, array) if _is_text(array, kind) else _typed_values(name, array)


def readable_cells(array: pa.Array, kind: SourceKind) -> list[Any]:
    """The values of a column for a person to read: what is no text is shown with escapes."""
    if _is_text(array, kind):
        return [None if cell is None else cell.decode("utf-8", "backslashreplace") for cell in array.to_pylist()]
    try:
        return ColumnType(array.type).to_values(array)
    except (ValueError, OverflowError, pa.ArrowException):
        return array.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]


def _is_text(array: pa.Array, kind: SourceKind) -> bool:
    # A column hook may put typed columns beside a text source's own.
    return kind is SourceKind.TEXT and pa.types.is_binary(array.type)


def _text_values(name: str, array: pa.Array) -> tuple[list[Any], BadCells]:
    try:
        return array.cast(pa.string()).to_pylist(), {}
    except pa.ArrowInvalid:
        # Somewhere in the column is a byte that is no UTF-8: look at each cell.
        values: list[str | None] = []
        bad: BadCells = {}
        for index, cell in enumerate(array.to_pylist()):
            try:
                values.append(None if cell is None else cell.decode())
            except UnicodeDecodeError as error:
                values.append(None)
                bad[index] = {
                    "type": "invalid_utf8",
                    "loc": (name,),
                    "msg": f"the byte 0x{cell[error.start]:02x} at position {error.start} is no UTF-8",
                    "input": cell.decode("utf-8", "backslashreplace"),
                }
        return values, bad


def _typed_values(name: str, array: pa.Array) -> tuple[list[Any], BadCells]:
    kind = array.type
    bad: BadCells = {}
    if pa.types.is_temporal(kind) and getattr(kind, "unit", None) == "ns":
        coarse = _microseconds(kind)
        try:
            array = array.cast(coarse)
        except pa.ArrowInvalid:
            # Python's datetimes end at microseconds; a finer value is not cut off in silence.
            finer = np.asarray(array.cast(pa.int64()).fill_null(0)) % 1000 != 0
            for index in np.flatnonzero(finer).tolist():
                bad[index] = {
                    "type": "nanoseconds",
                    "loc": (name,),
                    "msg": "the value is finer than a microsecond, which Python cannot hold",
                    "input": str(array[index].cast(pa.string())),
                }
            array = pc.if_else(mask_array(finer), pa.scalar(None, kind), array).cast(coarse)
    try:
        return ColumnType(array.type).to_values(array), bad
    except (ValueError, OverflowError):
        pass
    values: list[Any] = []
    for index in range(len(array)):
        try:
            values.extend(ColumnType(array.type).to_values(array.slice(index, 1)))
        except (ValueError, OverflowError) as error:
            values.append(None)
            shown = str(array.slice(index, 1).to_string())[:200]
            bad[index] = {"type": "value_out_of_range", "loc": (name,), "msg": str(error), "input": shown}
    return values, bad


def _microseconds(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return pa.duration("us") if pa.types.is_duration(kind) else pa.time64("us")
