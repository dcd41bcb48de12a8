"""Writing JSON: each row becomes the text that ``model_dump_json()`` gives for it, by kernels or by pydantic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pydantic_core import from_json, to_json

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.file_writers import FileWriter
from zoopipe_core.adapters.json_text import join_rows
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import UnsupportedValueError
from zoopipe_core.kernels.switch import SWITCH

if TYPE_CHECKING:
    from zoopipe_core.adapters.json import JSONOutputAdapter

__all__ = ["JSONWriter"]


class JSONWriter(FileWriter):
    """Writes batches as JSON through an `AtomicFile`."""

    def __init__(self, adapter: JSONOutputAdapter) -> None:
        self._adapter = adapter
        self._file = AtomicFile(str(adapter.path), adapter.compression)
        self._is_array = adapter.format == "array"
        self._empty = True
        self._ended = False

    def start(self, types: Mapping[str, ColumnType]) -> None:
        return  # a row names its own columns

    def write(self, batch: ModelBatch) -> None:
        if batch.num_rows:
            self.write_encoded(self.encode(batch))

    def write_encoded(self, encoded: Any) -> None:
        if self._is_array:
            self._file.write(b"[\n" if self._empty else b",\n")
        self._file.write(encoded)
        if not self._is_array:
            self._file.write(b"\n")
        self._empty = False

    def encode(self, batch: ModelBatch) -> bytes | pa.Buffer:
        """The rows of a batch that has some, with what separates them, without what surrounds them.

        Pure: may be called by any thread.

        Raises:
            UnsupportedValueError: a value has no JSON form; the message names column and row.
        """
        indent, separator = self._adapter.indent, b",\n" if self._is_array else b"\n"
        if batch.json_lines is not None:
            if indent is None:
                return separator.join(batch.json_lines)
            # Only floats could lose by being parsed, and these came from floats.
            values = [from_json(line) for line in batch.json_lines]
            return to_json(values, indent=indent, inf_nan_mode="constants")[2:-2]
        if indent is None:
            body = _by_kernels(batch, separator)
            if body is not None:
                return body
        rows = list(batch.dicts())
        try:
            if indent is not None:
                return to_json(rows, indent=indent, inf_nan_mode="null")[2:-2]
            return join_rows(rows, separator)
        except ValueError as error:  # PydanticSerializationError is one
            raise self._unsupported(rows, batch, error) from error

    def _unsupported(
        self, rows: Sequence[dict[str, Any]], batch: ModelBatch, error: ValueError
    ) -> UnsupportedValueError:
        """Find the cell that made a whole batch fail."""
        for number, row in zip(batch.rows.tolist(), rows, strict=True):
            for name, value in row.items():
                try:
                    to_json({name: value})
                except ValueError as reason:
                    where = f"row {number:,} of {batch.source or 'the source'}" if number else "a row that a hook added"
                    text = repr(value)
                    return UnsupportedValueError(
                        f"{self._adapter.label}: column {name!r}, {where}: the value {text[:80]}"
                        f"{'...' if len(text) > 80 else ''} cannot be written as JSON: {reason}"
                    )
        return UnsupportedValueError(f"{self._adapter.label}: the rows cannot be written as JSON: {error}")

    def prepare(self) -> None:
        if self._is_array and not self._ended:
            self._file.write(b"[]" if self._empty else b"\n]")
        self._ended = True
        self._file.prepare()


def _by_kernels(batch: ModelBatch, separator: bytes) -> pa.Buffer | None:
    """The rows as kernels write them, once they are ready; None where Python has to do it."""
    if not SWITCH.worthwhile(batch.num_rows):
        return None
    from zoopipe_core.adapters.text_rows import encode_json_rows

    try:
        return encode_json_rows(batch, separator)
    except ValueError:  # Python meets the same value, and names its column and row
        return None
