"""Writing CSV: each batch becomes its records in one piece. What a field looks like is in `csv_text`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.file_writers import FileWriter
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import TargetError, UnsupportedValueError
from zoopipe_core.kernels.switch import SWITCH

if TYPE_CHECKING:
    from zoopipe_core.adapters.csv import CSVOutputAdapter

__all__ = ["CSVWriter"]


class CSVWriter(FileWriter):
    """Writes batches as CSV through an `AtomicFile`."""

    def __init__(self, adapter: CSVOutputAdapter) -> None:
        self._adapter = adapter
        self._file = AtomicFile(str(adapter.path), adapter.compression)
        self._format = adapter.format
        self._names: list[str] = []

    def start(self, types: Mapping[str, ColumnType]) -> None:
        wanted = self._adapter.fieldnames
        if wanted is not None:
            unknown = [name for name in wanted if name not in types]
            if unknown:
                raise TargetError(
                    f"{self._adapter.label}: fieldnames asks for {', '.join(map(repr, unknown))}, "
                    f"but the rows have {', '.join(types) or 'no columns'}"
                )
        self._names = list(types if wanted is None else wanted)
        if self._adapter.header and self._names:
            try:
                self._file.write(self._format.records([self._format.fields([name]) for name in self._names]).encode())
            except UnicodeEncodeError as error:
                raise UnsupportedValueError(
                    f"{self._adapter.label}: a column name holds half of a surrogate pair, {error.object[:80]!r}, and "
                    "cannot be written as UTF-8"
                ) from error

    def write(self, batch: ModelBatch) -> None:
        self.write_encoded(self.encode(batch))

    def write_encoded(self, encoded: Any) -> None:
        self._file.write(encoded)

    def encode(self, batch: ModelBatch) -> bytes | pa.Buffer:
        """The rows of a batch as text. Pure once the writer was started: may be called by any thread.

        Raises:
            TargetError: the batch has columns that the header lacks.
            UnsupportedValueError: a text is no Unicode; the message names column and row.
        """
        if self._adapter.fieldnames is None:
            extra = [name for name in batch.columns if name not in self._names]
            if extra:
                raise TargetError(
                    f"{self._adapter.label}: the column {extra[0]!r} first appears in row {_first_row(batch)} after "
                    "the header was written; let the hook that adds it declare adds = {...}"
                )
        if not self._names and batch.num_rows:
            raise TargetError(f"{self._adapter.label}: rows without columns cannot be written as CSV")
        text = self._by_kernels(batch)
        if text is not None:
            return text
        columns: list[list[str]] = []
        for name in self._names:
            column = batch.columns.get(name)
            columns.append(self._format.fields([None] * batch.num_rows if column is None else column.values))
        try:
            return self._format.records(columns).encode()
        except UnicodeEncodeError as error:
            raise self._refused(batch, error) from error

    def _by_kernels(self, batch: ModelBatch) -> pa.Buffer | None:
        """The rows as kernels write them, once they are ready; None where Python has to do it."""
        if not SWITCH.worthwhile(batch.num_rows):
            return None
        from zoopipe_core.adapters.text_rows import encode_csv_rows

        try:
            return encode_csv_rows(batch, self._names, self._format)
        except ValueError:  # Python meets the same value, and names its column and row
            return None

    def _refused(self, batch: ModelBatch, error: UnicodeEncodeError) -> UnsupportedValueError:
        """Which cell holds half of a surrogate pair, which no encoding has."""
        for name in self._names:
            values = batch.columns[name].values if name in batch.columns else []
            for index, text in enumerate(self._format.fields(values)):
                if any("\ud800" <= character <= "\udfff" for character in text):
                    return UnsupportedValueError(
                        f"{self._adapter.label}: column {name!r}, {batch.source} row {_row(batch, index)}: the text "
                        f"{text[:80]!r} holds half of a surrogate pair and cannot be written as UTF-8"
                    )
        return UnsupportedValueError(f"{self._adapter.label}: the rows cannot be written as UTF-8: {error}")


def _first_row(batch: ModelBatch) -> str:
    return _row(batch, 0) if batch.num_rows else "?"


def _row(batch: ModelBatch, index: int) -> str:
    return f"{int(batch.rows[index]):,}"
