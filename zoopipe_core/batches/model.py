"""Validated rows, held as columns: each column as Python values, as an Arrow array, or as both.

Validation in Python yields values, kernels and column hooks yield arrays; a JSON writer wants values, a Parquet
writer wants arrays. `ModelBatch` converts a column the first time the other form is asked for, and never before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress, repeat
from operator import is_
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from zoopipe_core.batches.objects import list_of
from zoopipe_core.batches.row_dicts import columns_of_dicts, dicts_of_columns
from zoopipe_core.batches.source import RowNumbers, index_array, mask_array
from zoopipe_core.batches.types import ColumnType, infer_column_type
from zoopipe_core.errors import DuplicateColumnError, UnsupportedValueError
from zoopipe_core.kernels.buffers import TextCells, strings_from_cells

__all__ = ["MISSING", "Column", "ModelBatch"]


Codes: TypeAlias = npt.NDArray[np.int64]


class _Missing:
    """The type of `MISSING`: a row that does not have the key at all (``extra="allow"``, a TypedDict)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"

    def __reduce__(self) -> str:
        return "MISSING"  # by name, so that copies and pickles are the one and only


MISSING: Final = _Missing()


class Column:
    """One column in one or more forms, which must agree: `values`, `array`, `spelled`; or see `repeating`.

    `spelled` are cells that are each what its value is written as in JSON (but for quotes and escapes) and CSV: a text,
    a number or a date that its source spells just so. For a column of strings they are enough.
    """

    __slots__ = ("_array", "_derived", "_repeats", "_rows", "_spelled", "_values", "type")

    def __init__(
        self,
        column_type: ColumnType,
        values: Sequence[Any] | None = None,
        array: pa.Array | None = None,
        spelled: TextCells | None = None,
    ) -> None:
        self.type = column_type
        self._values = values
        self._array = array
        self._spelled = spelled
        self._rows: RowNumbers | None = None  # which of the cells are this column's; None: all
        self._derived = False  # whether the values were made of the array
        self._repeats: tuple[Sequence[Any], Codes] | None = None

    @classmethod
    def repeating(cls, column_type: ColumnType, distinct: Sequence[Any], codes: Codes) -> Column:
        """A column of few distinct values: row i has ``distinct[codes[i]]``."""
        column = cls(column_type)
        column._repeats = distinct, codes
        return column

    def __len__(self) -> int:
        if self._repeats is not None:
            return len(self._repeats[1])
        if self._values is not None:
            return len(self._values)
        if self._array is not None:
            return len(self._array)
        assert self._spelled is not None
        return len(self._spelled if self._rows is None else self._rows)

    @property
    def values(self) -> Sequence[Any]:
        """Python values as ``model_dump()`` gives them; `MISSING` where a row lacks the key."""
        if self._values is None:
            if self._repeats is not None:
                distinct, codes = self._repeats
                self._values = [distinct[code] for code in codes.tolist()]
            else:
                array = self._own_array()
                assert array is not None
                self._values = self.type.to_values(array)
                self._derived = _is_immutable(array.type)
        return self._values

    @property
    def repeats(self) -> tuple[Sequence[Any], Codes] | None:
        """The distinct values and int64 (n,) the place of each row's among them, if the column is held so."""
        return self._repeats

    @property
    def held_array(self) -> pa.Array | None:
        """The array, if it says all that there is to say: the values, if any, were made of it and cannot change."""
        return self._own_array() if self._values is None or self._derived else None

    @property
    def spelled(self) -> tuple[TextCells, RowNumbers | None] | None:
        """The cells that are what is written, and int64 (n,) which of them are this column's, None for all of them; if
        the column is held so.
        """
        if self._spelled is None or not (self._values is None or self._derived):
            return None
        return self._spelled, self._rows

    def _own_array(self) -> pa.Array | None:
        """The array, if the column has one, or has cells to make it of."""
        if self._array is None and self._spelled is not None:
            cells = self._spelled if self._rows is None else self._spelled.take(self._rows)
            self._array = strings_from_cells(cells, cells.fresh_state())
        return self._array

    @property
    def has_gaps(self) -> bool:
        """Whether some value is `MISSING`."""
        # An array has nulls but no gaps; `is` because a value may be anything, with any idea of ==.
        if self._derived:
            return False
        values = self._values if self._repeats is None else self._repeats[0]
        return values is not None and any(map(is_, values, repeat(MISSING)))

    def array(self, column_type: ColumnType | None = None) -> pa.Array:
        """The Arrow array, of this column's own type or of the one given; `MISSING` is null.

        Raises:
            UnsupportedValueError: a value does not fit the type.
        """
        wanted = column_type or self.type
        own = self._own_array()
        if own is not None:
            if wanted.arrow == own.type or (wanted.open_zone and pa.types.is_timestamp(own.type)):
                return own
            if _is_lossless(own.type, wanted.arrow):
                try:
                    return own.cast(wanted.arrow)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                    return wanted.to_array(self.values)  # names the value that does not fit
        values = self.values
        if self.has_gaps:
            values = [None if value is MISSING else value for value in values]
        array = wanted.to_array(values)
        if wanted == self.type:
            self._array = array
        return array

    def extended(self, values: Sequence[Any]) -> Column:
        """The column with `values` behind its own: an array if it is held as one and they fit, else values."""
        if self._values is None and self._own_array() is not None:
            try:
                return Column(self.type, None, pa.concat_arrays([self._array, self.type.to_array(values)]))
            except UnsupportedValueError:
                pass  # what fits no array is kept exactly, as Python values
        return Column(self.type, [*self.values, *values])

    def handed_out(self) -> list[Any] | None:
        """The `values`, if they were made of an array and nobody can change them: who has them still has the array."""
        values = list_of(self.values)
        return values if self._derived else None

    def slice(self, start: int, stop: int) -> Column:
        """Rows ``start:stop``, in whichever form the column is held; arrays are not copied."""
        if self._repeats is not None:
            return Column.repeating(self.type, self._repeats[0], self._repeats[1][start:stop])
        array = self.held_array
        if array is not None:
            return Column(self.type, None, array.slice(start, stop - start))
        assert self._values is not None
        return Column(self.type, self._values[start:stop])

    @classmethod
    def joined(cls, column_type: ColumnType, parts: Sequence[Column]) -> Column:
        """The rows of `parts`, at least one, one after the other: an array if all are held as arrays of the type."""
        arrays = [part.held_array for part in parts]
        if all(array is not None and array.type == column_type.arrow for array in arrays):
            return cls(column_type, None, arrays[0] if len(arrays) == 1 else pa.concat_arrays(arrays))
        return cls(column_type, [value for part in parts for value in part.values])

    def take(self, indices: RowNumbers) -> Column:
        """The column at `indices`: int64 (m,), each in ``0..n-1``."""
        if self._repeats is not None:
            return Column.repeating(self.type, self._repeats[0], self._repeats[1][indices])
        values = None if self._values is None else [self._values[i] for i in indices.tolist()]
        array = None if self._array is None else self._array.take(index_array(indices))
        return self._with_rows(Column(self.type, values, array), indices)

    def _with_rows(self, column: Column, indices: RowNumbers) -> Column:
        """`column`, given the cells of this one at `indices`."""
        if self.spelled is not None:
            column._spelled = self._spelled
            column._rows = indices if self._rows is None else self._rows[indices]
        return column

    def filter(self, kept: npt.NDArray[np.bool_], indices: RowNumbers | None = None) -> Column:
        """The column where `kept`, bool (n,), is true; cheaper than `take` where that is most of it.

        `indices`, int64 (m,), says where that is, if it is known.
        """
        if indices is None:
            indices = np.flatnonzero(kept)
        if self._array is None or self._values is not None:
            return self.take(indices)
        return self._with_rows(Column(self.type, None, self._array.filter(mask_array(kept))), indices)


def _is_immutable(kind: pa.DataType) -> bool:
    """Whether nobody can change the Python values of an array of this type."""
    return not (pa.types.is_nested(kind) or isinstance(kind, pa.JsonType))


def _is_lossless(given: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether Arrow's cast gives the same values or fails; others go by way of Python values, which are checked.

    Arrow would write the integer 5 as the text "5", round a double to a decimal and take naive timestamps for UTC.
    """
    kinds = pa.types
    if kinds.is_timestamp(given) and kinds.is_timestamp(wanted):
        return bool((given.tz is None) == (wanted.tz is None))
    if kinds.is_floating(given):
        return bool(wanted == pa.float64() or kinds.is_integer(wanted))
    if kinds.is_integer(given):
        return bool(kinds.is_integer(wanted) or kinds.is_decimal(wanted) or wanted == pa.float64())
    return kinds.is_null(given) or any(group(given) and group(wanted) for group in _KINDRED)


_KINDRED: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_decimal,
    pa.types.is_duration,
    pa.types.is_time,
    lambda kind: pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind),
    lambda kind: pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind),
)


class ModelBatch:
    """Validated rows of one source, in order.

    Attributes:
        columns: name -> `Column`, in output order. All have `num_rows` rows.
        rows: int64 (n,), the number of each row in `source`; 0 for rows that a hook added.
        source: where the rows come from.
        json_lines: each row's JSON text, only for models whose JSON differs from that of their ``model_dump()``
            (custom serializers), and only when a JSON writer asked for it.
    """

    __slots__ = ("columns", "json_lines", "rows", "source")

    def __init__(
        self,
        columns: Mapping[str, Column],
        rows: RowNumbers,
        source: str = "",
        json_lines: Sequence[bytes] | None = None,
    ) -> None:
        self.columns = dict(columns)
        self.rows = rows
        self.source = source
        self.json_lines = json_lines

    @classmethod
    def from_rows(
        cls,
        records: Sequence[Mapping[str, Any]],
        types: Mapping[str, ColumnType],
        rows: RowNumbers | None = None,
        source: str = "",
        json_lines: Sequence[bytes] | None = None,
    ) -> ModelBatch:
        """Columns out of row dicts. Keys beyond `types` are appended, their types taken from the values."""
        lists = columns_of_dicts(records, MISSING)
        columns: dict[str, Column] = {}
        for name in dict.fromkeys([*types, *lists]):
            values = lists.get(name) or [MISSING] * len(records)
            known = types.get(name) or infer_column_type(v for v in values if v is not MISSING)
            columns[name] = Column(known or ColumnType(pa.null()), values)
        numbers = np.arange(1, len(records) + 1, dtype=np.int64) if rows is None else rows
        return cls(columns, numbers, source, json_lines)

    @classmethod
    def from_arrow(
        cls, batch: pa.RecordBatch, rows: RowNumbers, source: str = "", types: Mapping[str, ColumnType] | None = None
    ) -> ModelBatch:
        """Columns of Arrow arrays; their types are the arrays' own unless `types` names a better one.

        Raises:
            DuplicateColumnError: two columns of `batch` have one name.
        """
        columns: dict[str, Column] = {}
        for name, array in zip(batch.schema.names, batch.columns, strict=True):
            if name in columns:
                raise DuplicateColumnError(f"the record batch has the column {name!r} twice; rename one of them")
            known = (types or {}).get(name)
            if known is None or known.arrow != array.type:
                known = ColumnType(array.type)
            columns[name] = Column(known, None, array)
        return cls(columns, rows, source)

    @property
    def num_rows(self) -> int:
        """The number of rows."""
        return len(self.rows)

    @property
    def types(self) -> dict[str, ColumnType]:
        """Name -> type, in output order."""
        return {name: column.type for name, column in self.columns.items()}

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each row as ``model_dump()`` returns it."""
        if not self.columns:
            return ({} for _ in range(self.num_rows))
        rows = dicts_of_columns({name: column.values for name, column in self.columns.items()})
        if any(column.has_gaps for column in self.columns.values()):
            return ({name: value for name, value in row.items() if value is not MISSING} for row in rows)
        return rows

    def to_arrow(self, types: Mapping[str, ColumnType] | None = None) -> pa.RecordBatch:
        """The rows as a record batch with the columns `types` (default: this batch's own), in that order.

        Columns that the batch lacks are null. Columns beyond `types` are the caller's to refuse.

        Raises:
            UnsupportedValueError: a value does not fit; the message names column, row and source.
        """
        wanted = types if types is not None else self.types
        arrays, fields = [], []
        for name, column_type in wanted.items():
            column = self.columns.get(name)
            if column is None:
                array = pa.nulls(self.num_rows, column_type.arrow)
            else:
                array = self.array(name, column_type)
            arrays.append(array)
            fields.append(pa.field(name, array.type))
        if not arrays:
            return pa.RecordBatch.from_struct_array(pa.array([{}] * self.num_rows, pa.struct([])))
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))

    def array(self, name: str, column_type: ColumnType | None = None) -> pa.Array:
        """One column as an Arrow array; see `Column.array`. Errors name column, row and source."""
        try:
            return self.columns[name].array(column_type)
        except UnsupportedValueError as error:
            located = UnsupportedValueError(f"column {name!r}, {self._place(error.index)}: {error}")
            located.index = error.index
            raise located from None

    def _place(self, index: int | None) -> str:
        source = self.source or "the source"
        if index is None:
            return source
        return f"row {self.rows[index]:,} of {source}" if self.rows[index] else "a row that a hook added"

    def slice(self, start: int, stop: int) -> ModelBatch:
        """Rows ``start:stop``, without a copy of what is held as arrays."""
        lines = None if self.json_lines is None else self.json_lines[start:stop]
        columns = {name: column.slice(start, stop) for name, column in self.columns.items()}
        return ModelBatch(columns, self.rows[start:stop], self.source, lines)

    def take(self, indices: RowNumbers) -> ModelBatch:
        """The rows at `indices`: int64 (m,), each in ``0..n-1``."""
        lines = None if self.json_lines is None else [self.json_lines[i] for i in indices.tolist()]
        columns = {name: column.take(indices) for name, column in self.columns.items()}
        return ModelBatch(columns, self.rows[indices], self.source, lines)

    def filter(self, kept: npt.NDArray[np.bool_]) -> ModelBatch:
        """The rows where `kept`, bool (n,), is true; cheaper than `take` where that is most of them."""
        lines = None if self.json_lines is None else list(compress(self.json_lines, kept.tolist()))
        indices = np.flatnonzero(kept)
        columns = {name: column.filter(kept, indices) for name, column in self.columns.items()}
        return ModelBatch(columns, self.rows[kept], self.source, lines)
