"""Parts of files, joined into the one that a serial run would have written.

    JSON Lines       one part behind the other
    CSV              a header, then the records of the parts
    JSON array       brackets around the parts, commas between them
    Parquet          the row groups of the parts as they are, under one footer
    Arrow            the batches of the parts

The first part becomes the file, where it can; the others are appended by the file system. A part is removed once it is
in the result, so that no more than one part is on the disk twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from zoopipe_core.adapters.arrow import ArrowInputAdapter, ArrowOutputAdapter
from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, ReadRequest, Writer
from zoopipe_core.adapters.csv import CSVOutputAdapter
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.json import JSONOutputAdapter
from zoopipe_core.adapters.parquet import ParquetInputAdapter, ParquetOutputAdapter
from zoopipe_core.adapters.paths import infer_compression, is_url
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import STRING, ColumnType
from zoopipe_core.coordinators.csv_columns import rearranged_records
from zoopipe_core.coordinators.outputs import Check, StagedOutput, suffix_of
from zoopipe_core.coordinators.text_parts import SEPARATOR, CSVPart, JSONPart, PartNote
from zoopipe_core.errors import TargetError

__all__ = ["merged_file"]

_CHUNK = 2**20


class _MergedFile(StagedOutput):
    """A file that is put together by appending."""

    def __init__(self, adapter: Any) -> None:
        super().__init__(adapter, str(adapter.path))
        self._suffix = suffix_of(str(adapter.path))
        self._result: AtomicFile | None = None

    def path(self, index: int) -> str:
        return self.folder.part(f"part-{index:05d}{self._suffix}")

    def part(self, index: int, count: int) -> OutputAdapter:
        part: OutputAdapter = self._at(self.path(index))
        return part

    def _at(self, path: str) -> Any:
        """The target's adapter, for another path."""
        return replace(self.adapter, path=path)  # type: ignore[type-var]  # a dataclass

    def assemble(self, written: Sequence[int], check: Check) -> None:
        self._check = check
        check()
        self._result = AtomicFile(str(self.adapter.path), None)  # type: ignore[attr-defined]
        self._join(self._result, [self.path(index) for index in written])
        self._result.prepare()

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        for part in parts:
            self._append(result, part)

    def _append(self, result: AtomicFile, part: str) -> None:
        """Add a file to the result, and remove it."""
        if is_url(part):
            for chunk in _chunks(part, None):
                result.write(chunk)
                self._check()
            return
        copied = result.append_file(part) if result.bytes_written else result.adopt_file(part)
        for _ in copied:
            self._check()
        if os.path.exists(part):
            os.unlink(part)

    def show(self) -> None:
        assert self._result is not None
        self._result.publish()

    def discard(self) -> None:
        if self._result is not None:
            self._result.abort()


def _chunks(path: str, compression: str | None) -> Iterator[bytes]:
    source = ByteSource(path, compression)
    try:
        while chunk := source.read(_CHUNK):
            yield chunk
    finally:
        source.close()


def _compression(adapter: Any) -> str | None:
    return infer_compression(str(adapter.path)) if adapter.compression == "infer" else adapter.compression


# ---- text -----------------------------------------------------------------------------------------------------------


class _MergedCSV(_MergedFile):
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
        _write(header, dict.fromkeys(first.names, STRING), ())
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
            for chunk in rearranged_records(_chunks(part, compression), self.adapter.format, note.names, wanted.names):
                file.write(chunk)
                self._check()
            file.publish()
        finally:
            file.abort()
        return path


class _MergedArray(_MergedFile):
    adapter: JSONOutputAdapter

    def part(self, index: int, count: int) -> OutputAdapter:
        return JSONPart(self._at(self.path(index)))

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
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


# ---- columns --------------------------------------------------------------------------------------------------------


class _MergedArrow(_MergedFile):
    adapter: ArrowOutputAdapter

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        path = self.folder.part(f"merged{self._suffix}")
        rewrite([ArrowInputAdapter(part) for part in parts], self._at(path), self._check)
        self._append(result, path)


class _MergedParquet(_MergedFile):
    adapter: ParquetOutputAdapter

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        path = self.folder.part(f"merged{self._suffix}")
        rewrite([ParquetInputAdapter(part) for part in parts], self._at(path), self._check)
        self._append(result, path)


def rewrite(sources: Sequence[InputAdapter], target: OutputAdapter, check: Check) -> None:
    """Write the rows of several files of columns into one; columns that are open in one are settled by the others.

    Raises:
        TargetError: a column holds values of types that do not go together.
    """
    types: dict[str, ColumnType] = {}

    def batches() -> Iterator[ModelBatch]:
        for source in sources:
            with source.open(ReadRequest()) as reader:
                for batch in reader:
                    check()
                    yield ModelBatch.from_arrow(batch.batch, batch.rows, batch.source)

    for source in sources:
        with source.open(ReadRequest()) as reader:
            types = types or dict(reader.columns or {})
            if next(iter(reader), None) is not None:
                types = dict(reader.columns or {})
                break
    _write(target, types, batches())


def _write(adapter: OutputAdapter, types: dict[str, ColumnType], batches: Any) -> None:
    writer: Writer = adapter.open()
    try:
        writer.start(types)
        for batch in batches:
            writer.write(batch)
        writer.prepare()
        writer.publish()
    finally:
        writer.abort()


def merged_file(adapter: OutputAdapter) -> StagedOutput | None:
    """How parts become the file that `adapter` names; None if it is none that can be merged."""
    # By the very class: what a subclass writes differently, merging would not know.
    kind: type[_MergedFile] | None = _KINDS.get(type(adapter))
    if isinstance(adapter, JSONOutputAdapter) and kind is not None and adapter.format == "array":
        kind = _MergedArray
    return None if kind is None else kind(adapter)


_KINDS: dict[type[OutputAdapter], type[_MergedFile]] = {
    ArrowOutputAdapter: _MergedArrow,
    CSVOutputAdapter: _MergedCSV,
    JSONOutputAdapter: _MergedFile,
    ParquetOutputAdapter: _MergedParquet,
}
