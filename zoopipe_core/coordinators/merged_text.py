"""Parts of CSV and JSON files, joined; see `merging`."""

from __future__ import annotations

import os
from collections.abc import Sequence

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

    def part(self, index: int, count: int) -> OutputAdapter:
        return CSVPart(self._at(self.path(index)))

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        notes = [PartNote.read(part) for part in parts]
        # As in a serial run, the first rows say what the columns are.
        first = next((note for note in notes if note.has_rows), notes[0] if notes else None)
        if first is None:
            return
        header = self._at(self.folder.part(f"header{self._suffix}"))
        write_all(header, dict.fromkeys(first.names, STRING), ())
        self._append(result, str(header.path))
        for part, note in zip(parts, notes, strict=True):
            if not note.has_rows:
                continue
            if tuple(note.names) != tuple(first.names):
                part = self._rearranged(part, note, first)
            self._append(result, part)

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
                self._check()
            file.publish()
        finally:
            file.abort()
        return path


class MergedJSON(MergedFile):
    """JSON Lines, or an array."""

    adapter: JSONOutputAdapter

    def part(self, index: int, count: int) -> OutputAdapter:
        if self.adapter.format == "jsonl":
            return super().part(index, count)
        return JSONPart(self._at(self.path(index)))

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        if self.adapter.format == "jsonl":
            super()._join(result, parts)
            return
        full = [part for part in parts if PartNote.read(part).has_rows]
        if not full:
            result.write(self._compressed(b"[]"))
            return
        for index, part in enumerate(full):
            result.write(self._compressed(SEPARATOR if index else b"[\n"))
            self._append(result, part)
        result.write(self._compressed(b"\n]"))

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
