"""Targets that are no files: shards write what they have validated into parts, and one writer writes them in order.

    shard 0 ─▶ part-00000 ─┐
    shard 1 ─▶ part-00001 ─┼─▶ the target's own Writer: start, write*, prepare, publish        one transaction
    shard 2 ─▶ part-00002 ─┘

What a part holds, `batch_parts` says.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.paths import PathLike
from zoopipe_core.coordinators.files import FileMergeCoordinator
from zoopipe_core.coordinators.outputs import Check, StagedFiles, StagedOutput
from zoopipe_core.memory import LoadMemory
from zoopipe_core.report import PipeReport

__all__ = ["BatchPart", "ReplayCoordinator"]

KEY_BYTES = 32


class ReplayCoordinator(FileMergeCoordinator):
    """Merges files as `FileMergeCoordinator` does, and writes all other targets through one writer of their own.

    A table is loaded in one transaction of one connection, whatever the number of shards, or out of tables that the
    shards have filled (`tables`); a Python object gets its rows in the process of the manager.

    Args:
        target, merge: as for `FileMergeCoordinator`.
        memory: gives what the target knows of the load that runs.
        shares_files: whether the workers see the files of this process.
    """

    def __init__(
        self,
        target: PathLike | None = None,
        merge: bool = True,
        memory: Callable[[], LoadMemory | None] = lambda: None,
        shares_files: bool = True,
    ) -> None:
        super().__init__(target, merge)
        self._shares_files = shares_files
        self._memory = memory

    def stage(self, adapter: OutputAdapter, workers: int) -> StagedOutput | None:
        from zoopipe_core.coordinators.tables import staged_tables

        return (
            super().stage(adapter, workers)
            or staged_tables(adapter, workers, self._shares_files, lambda: self._open(adapter))
            or _ReplayedOutput(adapter, lambda: self._open(adapter))
        )

    def _open(self, adapter: OutputAdapter) -> Writer:
        memory = self._memory()
        writer = memory.open_writer() if memory is not None and memory.remembers(adapter) else None
        return writer or adapter.open()

    def remember(self, output: StagedOutput, report: PipeReport) -> None:
        memory = self._memory()
        if memory is not None and memory.remembers(output.adapter):
            memory.remember(output, report)


class _ReplayedOutput(StagedFiles):
    def __init__(self, adapter: OutputAdapter, open_target: Callable[[], Writer]) -> None:
        super().__init__(adapter, None)
        self._open_target = open_target
        self._key = secrets.token_bytes(KEY_BYTES)
        self._writer: Writer | None = None

    def path(self, index: int) -> str:
        return self.folder.part(f"part-{index:05d}")

    def part(self, index: int, count: int) -> OutputAdapter:
        return BatchPart(self.path(index), self.adapter.label, self.adapter.wants_json, self._key)

    def start(self) -> None:
        super().start()
        # So that a target that cannot be written is told of before any work is done. It is not kept open meanwhile: a
        # transaction would be idle for hours, and some databases let nobody else read.
        self._open_target().abort()

    def assemble(self, written: Sequence[int], check: Check) -> None:
        from zoopipe_core.coordinators.batch_parts import read_part, replay

        check()
        self._writer = writer = self._open_target()
        replay([self.path(index) for index in written], lambda path: read_part(path, self._key), writer, check)
        writer.prepare()

    def remember(self, record: LoadRecord) -> None:
        assert self._writer is not None
        self._writer.remember(record)

    def show(self) -> None:
        assert self._writer is not None
        self._writer.publish()

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.abort()


# ---- parts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class BatchPart(OutputAdapter):
    """Validated rows into a file that only `read_part` reads, exactly as they are.

    Args:
        path: of the file.
        name: what reports and messages call the target.
        json: whether the target's writer wants the JSON texts of rows.
        key: 32 bytes, without which nothing is read.
    """

    path: str
    name: str
    json: bool
    key: bytes = field(repr=False)

    @property
    def label(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        return self.path

    @property
    def wants_json(self) -> bool:
        return self.json

    def open(self) -> Writer:
        from zoopipe_core.coordinators.batch_parts import BatchPartWriter

        return BatchPartWriter(self)
