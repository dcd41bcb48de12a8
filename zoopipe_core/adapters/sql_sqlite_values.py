"""Values between Arrow and SQLite, which knows integers, reals, texts and blobs, and any of them in any column.

A cell that is not of its column's declared type spoils nothing: its batch then has the type that holds all cells as
they are, at worst JSON, whose values are the very same numbers and texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic_core import to_json

from zoopipe_core.adapters.sql_types import AWARE, NAIVE, json_texts, uuid_texts
from zoopipe_core.batches.values import python_values

__all__ = ["array_of", "bindable", "declared_type"]

# SQLite's own rule for what a declared type means, by a part of its name; the first one found counts.
_AFFINITIES: tuple[tuple[tuple[str, ...], pa.DataType | None], ...] = (
    (("INT",), pa.int64()),
    (("CHAR", "CLOB", "TEXT"), pa.string()),
    (("BLOB",), pa.binary()),
    (("REAL", "FLOA", "DOUB"), pa.float64()),
)
_DECLARED: dict[str, pa.DataType] = {
    "BOOL": pa.bool_(),
    "BOOLEAN": pa.bool_(),
    "DATE": pa.date32(),
    "DATETIME": NAIVE,
    "INTERVAL": pa.duration("us"),
    "JSON_TEXT": pa.json_(),
    "TIME": pa.time64("us"),
    "TIMESTAMP": NAIVE,
    "TIMESTAMPTZ": AWARE,
    "UUID": pa.uuid(),
}
_DECIMAL_TEXT = re.compile(r"DECIMAL_TEXT\((\d+),(\d+)\)")
_UUID_TEXT = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
_TIME_TEXT = r"^[0-2][0-9]:[0-5][0-9]:[0-5][0-9]\.[0-9]{6}$"
_EXACT = 2**53


def declared_type(name: str) -> pa.DataType | None:
    """The Arrow type that a column's declaration speaks of; None if it says nothing."""
    name = name.strip().upper()
    if name in _DECLARED:
        return _DECLARED[name]
    if match := _DECIMAL_TEXT.fullmatch(name.replace(" ", "")):
        precision, scale = int(match.group(1)), int(match.group(2))
        if scale <= precision <= 76 and precision:
            return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)
    return next((kind for parts, kind in _AFFINITIES if any(part in name for part in parts)), None)


# ---- reading --------------------------------------------------------------------------------------------------------


def array_of(cells: Sequence[Any], declared: pa.DataType | None, known: pa.DataType | None) -> pa.Array:
    """Cells as SQLite gives them, as an array of the declared type, else of the known one, else of their own.

    Args:
        cells: one column of some rows.
        declared: what the column's declaration says; None for a query.
        known: the type of the batches before.
    """
    own = _own_type(cells)
    wanted = declared or known
    if wanted is not None:
        array = _restored(cells, own, wanted, texts_are_json=declared is not None)
        if array is not None:
            return array
    if isinstance(own, pa.JsonType):
        texts = [
            None if cell is None else to_json(_jsonable(cell), inf_nan_mode="constants").decode() for cell in cells
        ]
        return pa.ExtensionArray.from_storage(own, pa.array(texts, pa.string()))
    return pa.array(cells, own)


def _own_type(cells: Sequence[Any]) -> pa.DataType:
    """The type that holds the cells just as they are."""
    classes = set(map(type, cells)) - {type(None)}
    if not classes:
        return pa.null()
    if len(classes) == 1:
        return {int: pa.int64(), float: pa.float64(), str: pa.string(), bytes: pa.binary()}[classes.pop()]
    whole = all(-_EXACT <= cell <= _EXACT for cell in cells if type(cell) is int)
    return pa.float64() if classes == {int, float} and whole else pa.json_()


def _jsonable(cell: Any) -> Any:
    # JSON has no bytes: text with escapes stands for them, where a column mixes both.
    return cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else cell


def _restored(cells: Sequence[Any], own: pa.DataType, kind: pa.DataType, *, texts_are_json: bool) -> pa.Array | None:
    """The cells as values of `kind`; None if not each of them is one, exactly."""
    if pa.types.is_null(own):
        return pa.nulls(len(cells), kind)
    if own == kind and not isinstance(kind, pa.JsonType):
        return pa.array(cells, kind)
    restore = _RESTORE.get((str(own), _family(kind)))
    if restore is None or (isinstance(kind, pa.JsonType) and not texts_are_json):
        return None
    try:
        return restore(pa.array(cells, own), kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None


def _family(kind: pa.DataType) -> str:
    if pa.types.is_decimal(kind):
        return "decimal"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return str(kind)


def _booleans(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    return array.cast(kind) if pc.all(pc.is_in(array, pa.array([0, 1, None], pa.int64()))).as_py() else None


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return array.cast(kind)


def _decimals(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    # Arrow does not notice when a text has more digits than 38 or 76.
    longest = pc.max(pc.utf8_length(array)).as_py()
    if longest > 76 or not pc.all(pc.match_substring_regex(array, r"^-?[0-9]+(\.[0-9]+)?(E-[0-9]+)?$")).as_py():
        return None
    return array.cast(kind) if longest <= 38 else array.cast(pa.decimal256(76, kind.scale)).cast(kind)


def _times(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    if not pc.all(pc.match_substring_regex(array, _TIME_TEXT)).as_py():
        return None
    day = pc.binary_join_element_wise(pa.scalar("1970-01-01"), array, pa.scalar(" "))
    return day.cast(NAIVE).cast(pa.int64()).cast(kind)


def _uuids(array: pa.Array, kind: pa.DataType) -> pa.Array | None:
    if not pc.all(pc.match_substring_regex(array, _UUID_TEXT)).as_py():
        return None
    storage = [None if text is None else bytes.fromhex(text.replace("-", "")) for text in array.to_pylist()]
    return pa.ExtensionArray.from_storage(kind, pa.array(storage, pa.binary(16)))


def _jsons(array: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, array)


_RESTORE: dict[tuple[str, str], Callable[[pa.Array, pa.DataType], pa.Array | None]] = {
    # (what SQLite gave, what was declared) -> how
    ("int64", "bool"): _booleans,
    ("int64", "double"): _cast,
    ("int64", str(pa.duration("us"))): _cast,
    ("string", "date32[day]"): _cast,
    ("string", "decimal"): _decimals,
    ("string", str(pa.json_())): _jsons,
    ("string", str(pa.time64("us"))): _times,
    ("string", "timestamp"): _cast,
    ("string", str(pa.uuid())): _uuids,
}


# ---- writing --------------------------------------------------------------------------------------------------------


def bindable(array: pa.Array) -> list[Any]:
    """The cells as values that SQLite stores as they are."""
    kind = array.type
    if isinstance(kind, pa.UuidType):
        array = uuid_texts(array)
    elif isinstance(kind, pa.JsonType):
        array = json_texts(array)
    elif pa.types.is_boolean(kind):
        array = array.cast(pa.int8())
    elif pa.types.is_duration(kind):
        array = array.cast(pa.int64())
    elif pa.types.is_timestamp(kind):
        array = array.cast(NAIVE).cast(pa.string())
        if kind.tz is not None:
            array = pc.binary_join_element_wise(array, pa.scalar("+00:00"), pa.scalar(""))
    elif pa.types.is_temporal(kind) or pa.types.is_decimal(kind):
        array = array.cast(pa.string())
    elif len(array) and not array.null_count and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        letter = "f" if pa.types.is_floating(kind) else "u" if pa.types.is_unsigned_integer(kind) else "i"
        dtype = np.dtype(f"{letter}{kind.byte_width}")
        # Not by way of `to_numpy`, for which pyarrow imports pandas.
        cells: list[Any] = np.frombuffer(array.buffers()[1], dtype)[array.offset : array.offset + len(array)].tolist()
        return cells
    return python_values(array)
