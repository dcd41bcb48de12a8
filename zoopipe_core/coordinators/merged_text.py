"""Parts of CSV and JSON files, joined; see `merging`."""

from __future__ import annotations

import os

import pyarrow as pa

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import OutputAdapter
from zoopipe_core.adapters.csv import CSVOutputAdapter
from zoopipe_core.adapters.json import JSONOutputAdapter
from zoopipe_core.adapters.paths import infer_compression
from zoopipe_core.batches.types import STRING
from zoopipe_core.coordinators.csv_columns import rearranged_records
from zoopipe_core.coordinators.merging import MergedFile, chunks_of, write_all
from zoopipe_core.coordinators.text_parts import SEPARATOR, CSVPart, JSONPart, PartNote
from zoopipe_core.errors import TargetError

__all__ = ["MergedCSV", "MergedJSON"]


class MergedCSV(MergedFile):
    """Records behind one header."""

    adapter: CSVOutputAdapter

    def __init__(self, adapter: CSVOutputAdapter) -> None:
        super().__init__(adapter)
        self._first: PartNote | None = None  # of the first part that has rows; what is written has its columns
        self._empty: PartNote | None = None

    def part(self, index: int, count: int) -> OutputAdapter:
        return CSVPart(self._at(self.path(index)))

    def _add(self, result: AtomicFile, part: str) -> None:
        note = PartNote.read(part)
        if not note.has_rows:
            self._empty = self._empty or note
            return
        if self._first is None:
            # As in a serial run, the first rows say what the columns are.
            self._first = note
            self._write_header(result, note)
        if tuple(note.names) != tuple(self._first.names):
            part = self._rearranged(part, note, self._first)
        self._append(result, part)

    def _complete(self, result: AtomicFile) -> None:
        if self._first is None and self._empty is not None:
            self._write_header(result, self._empty)

    def _write_header(self, result: AtomicFile, note: PartNote) -> None:
        header = self._at(self.folder.part(f"header{self._suffix}"))
        write_all(header, dict.fromkeys(note.names, STRING), ())
        self._append(result, str(header.path))

    def _rearranged(self, part: str, note: PartNote, wanted: PartNote) -> str:
        """The records of a part with the columns of the first one."""
        extra = [name for name in note.names if name not in wanted.names]
        if extra or len(note.names) == 1:
            raise TargetError(
                f"{self.adapter.label}: the columns {', '.join(map(repr, note.names))} of {part} differ from those of "
                f"the first rows, {', '.join(map(repr, wanted.names))}, which the header names; let the hook that adds "
                "columns declare adds = {...}"
            )
        compression = _compression(self.adapter)
        path = self.folder.part(f"rearranged-{os.path.basename(part)}")
        file = AtomicFile(path, compression)
        try:
            for chunk in rearranged_records(
                chunks_of(part, compression), self.adapter.format, note.names, wanted.names
            ):
                file.write(chunk)
                self._look()
            file.publish()
        finally:
            file.abort()
        return path


class MergedJSON(MergedFile):
    """JSON Lines, or an array."""

    adapter: JSONOutputAdapter

    def __init__(self, adapter: JSONOutputAdapter) -> None:
        super().__init__(adapter)
        self._has_rows = False  # an array, by now

    def part(self, index: int, count: int) -> OutputAdapter:
        return JSONPart(self._at(self.path(index))) if self._is_array else super().part(index, count)

    @property
    def _is_array(self) -> bool:
        return self.adapter.format != "jsonl"

    def _add(self, result: AtomicFile, part: str) -> None:
        if self._is_array:
            if not PartNote.read(part).has_rows:
                return
            result.write(self._compressed(SEPARATOR if self._has_rows else b"[\n"))
            self._has_rows = True
        self._append(result, part)

    def _complete(self, result: AtomicFile) -> None:
        if self._is_array:
            result.write(self._compressed(b"\n]" if self._has_rows else b"[]"))

    def _compressed(self, data: bytes) -> bytes:
        compression = _compression(self.adapter)
        if compression is None:
            return data
        buffer = pa.BufferOutputStream()
        with pa.CompressedOutputStream(buffer, compression) as stream:
            stream.write(data)
        return bytes(buffer.getvalue())


def _compression(adapter: CSVOutputAdapter | JSONOutputAdapter) -> str | None:
    return infer_compression(str(adapter.path)) if adapter.compression == "infer" else adapter.compression
