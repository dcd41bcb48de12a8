"""Loads in shards beside the same loads in one piece."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zoopipe_core import Pipe, PipeManager
from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest, Scan, Split, scan_here
from zoopipe_core.batches.source import SourceBatch, SourceKind, object_batch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.testing.engines import ThreadEngine


@dataclass(frozen=True, repr=False)
class Chunks(InputAdapter):
    """Rows in memory that are split just where a test wants it.

    Args:
        chunks: the rows of each shard.
        first: the number of the first row.
    """

    chunks: Sequence[Sequence[Mapping[str, Any]]] = field(hash=False)
    first: int = 1

    @property
    def label(self) -> str:
        return "chunks"

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        starts = np.cumsum([self.first, *map(len, self.chunks)]).tolist()
        return Split(tuple(Chunks([chunk], start) for chunk, start in zip(self.chunks, starts, strict=False)))

    def open(self, request: ReadRequest) -> Reader:
        return _ChunksReader(self)


class _ChunksReader(Reader):
    def __init__(self, adapter: Chunks) -> None:
        self._adapter = adapter

    @property
    def kind(self) -> SourceKind:
        return SourceKind.OBJECTS

    @property
    def columns(self) -> Mapping[str, ColumnType] | None:
        return None

    def __iter__(self) -> Iterator[SourceBatch]:
        row = self._adapter.first
        for chunk in self._adapter.chunks:
            if chunk:
                yield object_batch("chunks", row, list(chunk))
            row += len(chunk)

    def close(self) -> None:
        return


def names_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden files and those in folders too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def sharded(pipe: Pipe, **options: Any) -> PipeManager:
    """A manager of the chunks of a pipe, in threads of this process."""
    return PipeManager.parallelize_pipe(pipe, 100, engine=ThreadEngine(), **options)


def run_both(folder: Path, name: str, chunks: Any, make: Any) -> tuple[Path, Path]:
    """The file `name` as a run in one piece and one in shards write it; `make` gives the pipe for an input and path."""
    serial, parallel = folder / "serial" / name, folder / "parallel" / name
    pipe = make(Chunks(chunks), serial)
    assert pipe.run(on_report_update=None), pipe.report
    manager = sharded(make(Chunks(chunks), parallel))
    assert manager.run(on_report_update=None), manager.report
    assert manager.pipe_count == len(chunks)
    assert names_in(folder / "parallel") == names_in(folder / "serial")
    assert os.stat(serial).st_mode == os.stat(parallel).st_mode
    return serial, parallel
