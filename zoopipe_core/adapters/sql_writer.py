"""Rows on their way into a table: converted, checked, gathered, counted.

    write(batch) ─▶ settle open columns ─▶ record batch in the table's types ─▶ chunk ─▶ the database, while the next
                                                                                         are gathered

What becomes of the table: `sql_target`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from zoopipe_core._faults import reached
from zoopipe_core.adapters.background import Background
from zoopipe_core.adapters.base import Writer
from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.sql_columns import TargetColumn
from zoopipe_core.adapters.sql_form import FilledTable
from zoopipe_core.adapters.sql_names import show_names
from zoopipe_core.adapters.sql_staging import Stage
from zoopipe_core.adapters.sql_types import first_misfit
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.source import index_array, number_rows
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import TargetError, UnsupportedValueError

__all__ = ["SQLWriter"]

CHUNK_BYTES = 64 * 2**20


class SQLWriter(Writer):
    """Writes one table.

    Args:
        target: the table, open.
        label: what messages call it.
    """

    def __init__(self, target: FilledTable, label: str) -> None:
        self._target = target
        self._label = label
        self._database = target.database
        self._state = "open"
        self._chunk: list[pa.RecordBatch] = []
        self._chunk_rows = self._chunk_bytes = 0
        self._background: Background[int] = Background("zoopipe-sql", waiting=target.database.chunks_ahead)
        self._given_rows = self._taken_rows = self._bytes = 0
        self._adopts = False

    @property
    def bytes_written(self) -> int:
        return self._bytes

    @property
    def notes(self) -> tuple[str, ...]:
        return self._target.notes

    @property
    def session(self) -> int:
        """The number by which a server of PostgreSQL knows the connection."""
        return int(self._database.execute("SELECT pg_backend_pid()")[0][0])

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self._target.start(types)

    # ---- rows -------------------------------------------------------------------------------------------------

    def write(self, batch: ModelBatch) -> None:
        unknown = self._unknown(batch)
        if unknown:
            raise TargetError(
                f"the rows have columns that the first ones had not, and {self._label} was begun without them: "
                f"{show_names(unknown)}; name them in the model, or in the hook's `adds`"
            )
        if batch.num_rows:
            self._settle(batch)
            self._hold(self._record(batch))

    def encode(self, batch: ModelBatch) -> ModelBatch | pa.RecordBatch:
        """The rows as the table takes them, once that is settled."""
        columns = self._target.columns
        if any(column.open for column in columns.values()) or self._unknown(batch):
            return batch
        return self._record(batch)

    def _unknown(self, batch: ModelBatch) -> list[str]:
        columns, ignored = self._target.columns, self._target.ignored
        return [name for name in batch.columns if name not in columns and name not in ignored]

    def write_encoded(self, encoded: Any) -> None:
        if isinstance(encoded, ModelBatch):
            self.write(encoded)
        else:
            self._hold(encoded)

    def _record(self, batch: ModelBatch) -> pa.RecordBatch:
        columns = self._target.columns
        arrays = [self._array(batch, name, column) for name, column in columns.items()]
        return pa.RecordBatch.from_arrays(arrays, names=[column.name for column in columns.values()])

    def _hold(self, record: pa.RecordBatch) -> None:
        if self._target.row_column is not None:
            first = self._target.first_row + self._given_rows
            places = index_array(number_rows(first, record.num_rows))
            record = record.append_column(self._target.row_column, places)
        if self._chunk and record.schema != self._chunk[0].schema:
            self._flush()
        self._given_rows += record.num_rows
        size = self._database.chunk_rows
        while record.num_rows:
            # Never more than the database asks for.
            piece = record.slice(0, size - self._chunk_rows % size)
            record = record.slice(piece.num_rows)
            self._chunk.append(piece)
            self._chunk_rows += piece.num_rows
            self._chunk_bytes += piece.nbytes
            if self._is_full():
                self._flush()

    def _is_full(self) -> bool:
        """Whether the database is to have what is held: whole chunks of it, if these are not too large."""
        chunks, rest = divmod(self._chunk_rows, self._database.chunk_rows)
        if rest:
            return self._chunk_bytes >= CHUNK_BYTES
        one_more = self._chunk_bytes // chunks
        return chunks == self._database.chunks_at_once or self._chunk_bytes + one_more > CHUNK_BYTES

    def _settle(self, batch: ModelBatch) -> None:
        """Let the first values of columns that are still open decide what those hold."""
        target = self._target
        for name, column in target.columns.items():
            if not column.open or name not in batch.columns:
                continue
            source = batch.columns[name]
            known = source.type.resolved(source.values) if source.type.open_zone else source.type
            if known.open_zone or pa.types.is_null(known.arrow):
                continue
            settled = replace(target.planner.fresh(name, known), nullable=column.nullable)
            if settled.type_name != column.type_name:
                self._flush()
                self._await_flush()
            target.settle(name, settled)

    def _array(self, batch: ModelBatch, name: str, column: TargetColumn) -> pa.Array:
        wanted = ColumnType(column.fit.arrow)
        if name not in batch.columns:
            array = wanted.to_array([None] * batch.num_rows)
        else:
            array = batch.array(name, wanted)
        misfit = first_misfit(array, column.fit.max_length) or self._database.check_value(array)
        if misfit is not None:
            index, why = misfit
            row = f"row {batch.rows[index]:,} of {batch.source}" if batch.rows[index] else "a row that a hook added"
            shown = _shown(array.slice(index, 1))
            raise UnsupportedValueError(
                f"column {name!r}, {row}: the value {shown[:80]}{'...' if len(shown) > 80 else ''}: {why}"
            )
        return array if column.fit.encode is None else column.fit.encode(array)

    def adopt(self, stages: Sequence[Stage]) -> bool:
        """Take the rows of staging tables instead of being given them; after `start`.

        Args:
            stages: none of them empty, in the order of their rows.

        Returns:
            False: the columns of these are not those of the target: nothing was done, and the rows are to be written.
        """
        self._adopts = self._target.adopt(stages)
        return self._adopts

    # ---- chunks -----------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        """Let the database take what was gathered, while the load goes on; one chunk at a time."""
        chunk, self._chunk = self._chunk, []
        if not chunk:
            return
        if self._background.is_full:
            self._taken_rows += self._background.wait() or 0
        reached("mid_stage" if self._bytes else "before_stage")
        if self._database.any_thread:
            self._background.start(self._put, chunk)
        else:
            self._taken_rows += self._put(chunk)
        self._bytes += self._chunk_bytes
        self._chunk_rows = self._chunk_bytes = 0

    def _put(self, chunk: Sequence[pa.RecordBatch]) -> int:
        """Put rows into the table, which is made first; returns how many the database took."""
        self._target.create()
        return self._database.ingest(self._target.filling, chunk, temporary=self._target.is_staged)

    def _await_flush(self) -> None:
        while (taken := self._background.wait()) is not None:
            self._taken_rows += taken

    # ---- the end ----------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        if self._state != "open":
            return
        self._flush()
        self._await_flush()
        self._background.end()
        reached("after_stage")
        if not self._adopts:
            self._target.create()
            self._target.check_counts(self._given_rows, self._taken_rows)
        self._target.prepare()
        reached("after_prepare")
        self._state = "prepared"

    def remember(self, record: LoadRecord) -> None:
        self._target.remember(record)

    def publish(self) -> None:
        if self._state == "published":
            return
        self.prepare()
        self._target.publish()
        self._state = "published"

    def abort(self) -> None:
        if self._state in ("published", "aborted"):
            return
        self._state = "aborted"
        self._chunk = []
        self._background.end()
        self._target.abort()


def _shown(one: pa.Array) -> str:
    """The cell of an array of one, which may be none that Python could hold."""
    if isinstance(one.type, pa.BaseExtensionType):
        one = one.storage
    return repr(one.cast(pa.string())[0].as_py()) if pa.types.is_temporal(one.type) else repr(one[0].as_py())
