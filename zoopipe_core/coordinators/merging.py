"""Parts of files, joined into the one that a serial run would have written.

    JSON Lines       one part behind the other
    CSV              a header, then the records of the parts                       `merged_text`
    JSON array       brackets around the parts, commas between them                `merged_text`
    Parquet          the row groups of the parts as they are, under one footer     `merged_columns`
    Arrow            the batches of the parts                                      `merged_columns`

A part is joined as soon as it and all before it are there, while the shards of others still run. The first becomes the
file, where it can; the others are appended by the file system. A part is removed once it is in the result, so that no
more than one part is on the disk twice.
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
from zoopipe_core.coordinators.in_order import InOrder
from zoopipe_core.coordinators.outputs import Check, StagedFiles, absolute_path, suffix_of
from zoopipe_core.errors import LoadAbortedError

__all__ = ["MergedFile", "append_file", "chunks_of", "write_all"]

_CHUNK = 2**20


class MergedFile(StagedFiles):
    """A file that is put together by appending, in the background while there are parts to come."""

    def __init__(self, adapter: Any) -> None:
        super().__init__(adapter, str(adapter.path))
        path = str(adapter.path)
        self._suffix = suffix_of(path)
        # The folder may be another one by the time of the merge.
        self._target = path if is_url(path) else absolute_path(path)
        self._result: AtomicFile | None = None
        self._joined = InOrder("zoopipe-join", self._join)
        self._check: Check = lambda: None
        self._given_up = False

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

    def take(self, index: int, check: Check) -> None:
        self._check = check
        self._joined.ready(index)

    def settle(self) -> None:
        self._joined.wait()

    def written(self) -> list[int]:
        joined = self._joined.count
        return [*range(joined), *(index for index in range(joined, len(self._parts)) if self._is_there(index))]

    def _is_there(self, index: int) -> bool:
        return self.folder.exists(self.path(index))

    def assemble(self, written: Sequence[int], check: Check) -> None:
        self._check = check
        self._look()
        for index in written[self._joined.count :]:
            self._join(index)
        self._complete(self._file)
        self._file.prepare()

    @property
    def _file(self) -> AtomicFile:
        assert self._result is not None
        return self._result

    def _join(self, index: int) -> None:
        self._look()
        self._add(self._file, self.path(index))

    def _look(self) -> None:
        """See whether the load goes on."""
        if self._given_up:
            raise LoadAbortedError(f"{self.adapter.label} is not written any more: the load has failed")
        self._check()

    def _add(self, result: AtomicFile, part: str) -> None:
        """Add the next part to the result."""
        self._append(result, part)

    def _complete(self, result: AtomicFile) -> None:
        """All parts were added: write what stands behind them."""
        return

    def _append(self, result: AtomicFile, part: str) -> None:
        """Add a file to the result, and remove it."""
        append_file(result, part, self._look)

    def remember(self, record: LoadRecord) -> None:
        remember_file(self._file, record)

    def show(self) -> None:
        self._joined.end()
        self._file.publish()

    def discard(self) -> None:
        self._given_up = True
        self._joined.end()
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
