"""Parts of files, joined into the one that a serial run would have written.

    JSON Lines       one part behind the other
    CSV              a header, then the records of the parts                       `merged_text`
    JSON array       brackets around the parts, commas between them                `merged_text`
    Parquet          the row groups of the parts as they are, under one footer     `merged_columns`
    Arrow            the batches of the parts                                      `merged_columns`

The first part becomes the file, where it can; the others are appended by the file system. A part is removed once it is
in the result, so that no more than one part is on the disk twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.adapters.file_writers import remember_file
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.paths import is_url
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.coordinators.outputs import Check, StagedFiles, absolute_path, suffix_of

__all__ = ["MergedFile", "append_file", "chunks_of", "write_all"]

_CHUNK = 2**20


class MergedFile(StagedFiles):
    """A file that is put together by appending."""

    def __init__(self, adapter: Any) -> None:
        super().__init__(adapter, str(adapter.path))
        path = str(adapter.path)
        self._suffix = suffix_of(path)
        # The folder may be another one by the time of the merge.
        self._target = path if is_url(path) else absolute_path(path)
        self._result: AtomicFile | None = None

    def path(self, index: int) -> str:
        return self.folder.part(f"part-{index:05d}{self._suffix}")

    def part(self, index: int, count: int) -> OutputAdapter:
        part: OutputAdapter = self._at(self.path(index))
        return part

    def _at(self, path: str) -> Any:
        """The target's adapter, for another path."""
        return replace(self.adapter, path=path)  # type: ignore[type-var]  # a dataclass

    def start(self) -> None:
        super().start()
        # Now, so that a target that cannot be written is told of before any work is done.
        self._result = AtomicFile(self._target, None, self.folder.path)

    def assemble(self, written: Sequence[int], check: Check) -> None:
        assert self._result is not None
        self._check = check
        check()
        self._join(self._result, [self.path(index) for index in written])
        self._result.prepare()

    def _join(self, result: AtomicFile, parts: Sequence[str]) -> None:
        for part in parts:
            self._append(result, part)

    def _append(self, result: AtomicFile, part: str) -> None:
        """Add a file to the result, and remove it."""
        append_file(result, part, self._check)

    def remember(self, record: LoadRecord) -> None:
        assert self._result is not None
        remember_file(self._result, record)

    def show(self) -> None:
        assert self._result is not None
        self._result.publish()

    def discard(self) -> None:
        if self._result is not None:
            self._result.abort()


def append_file(result: AtomicFile, part: str, check: Check, start: int = 0, end: int | None = None) -> None:
    """Add a file to a result, or some of it, and remove it; the first one becomes the result, if it is local."""
    if is_url(part):
        for chunk in chunks_of(part, None):
            result.write(chunk)
            check()
        return
    first = not result.bytes_written and not start
    for _ in result.adopt_file(part, end) if first else result.append_file(part, start, end):
        check()
    if os.path.exists(part):
        os.unlink(part)


def chunks_of(path: str, compression: str | None) -> Iterator[bytes]:
    """The bytes of a part, decompressed."""
    source = ByteSource(path, compression)
    try:
        while chunk := source.read(_CHUNK):
            yield chunk
    finally:
        source.close()


def write_all(adapter: OutputAdapter, types: Mapping[str, ColumnType], batches: Iterable[ModelBatch]) -> None:
    """Write and publish a file of its own."""
    writer: Writer = adapter.open()
    try:
        writer.start(types)
        for batch in batches:
            writer.write(batch)
        writer.prepare()
        writer.publish()
    finally:
        writer.abort()
