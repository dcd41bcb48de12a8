"""Writing Arrow IPC files and streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.columnar import OpenColumns, Sink, writing_columns
from zoopipe_core.adapters.file_writers import FileWriter
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType

if TYPE_CHECKING:
    from zoopipe_core.adapters.arrow import ArrowOutputAdapter

__all__ = ["ArrowWriter"]


class ArrowWriter(FileWriter):
    """Writes batches as they come through an `AtomicFile`."""

    def __init__(self, adapter: ArrowOutputAdapter) -> None:
        self._adapter = adapter
        self._file = AtomicFile(str(adapter.path))
        self._sink = Sink(self._file)
        self._writer: Any = None
        self._is_complete = False

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self._columns = OpenColumns(self._adapter.label, types)

    def write(self, batch: ModelBatch) -> None:
        for arrow in self._columns.add(batch):
            self._write(arrow)

    def _write(self, batch: pa.RecordBatch) -> None:
        with writing_columns(self._file):
            self._open_writer().write_batch(batch)

    def _open_writer(self) -> Any:
        if self._writer is None:
            new = pa.ipc.new_file if self._adapter.format == "file" else pa.ipc.new_stream
            options = pa.ipc.IpcWriteOptions(compression=self._adapter.compression)
            self._writer = new(self._sink, self._columns.schema, options=options)
        return self._writer

    def prepare(self) -> None:
        if self._is_complete:
            return
        for batch in self._columns.flush():
            self._write(batch)
        with writing_columns(self._file):
            self._open_writer().close()
        self._is_complete = True
        self._file.prepare()

    def abort(self) -> None:
        self._sink.discard()
        try:
            if self._writer is not None and not self._is_complete:
                self._writer.close()
        finally:
            self._file.abort()
