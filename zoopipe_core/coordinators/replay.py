"""Targets that are no files: shards write what they have validated into parts, and one writer writes them in order.

    shard 0 ─▶ part-00000 ─┐
    shard 1 ─▶ part-00001 ─┼─▶ the target's own Writer: start, write*, prepare, publish        one transaction
    shard 2 ─▶ part-00002 ─┘

A part is a sequence of frames, one for each call of the writer: its length, a keyed hash, and the batch, columns of
Arrow as an IPC stream and all others as the Python values that they are (a Decimal keeps its zeros, a missing key stays
missing). The values are pickled; the key, which travels with the pipe and never to the disk, makes sure that nothing
is unpickled that this load has not written.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import cloudpickle
import pyarrow as pa

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.paths import PathLike
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.coordinators.files import FileMergeCoordinator
from zoopipe_core.coordinators.outputs import Check, StagedFiles, StagedOutput
from zoopipe_core.coordinators.tables import staged_tables
from zoopipe_core.errors import TargetWriteError
from zoopipe_core.memory import LoadMemory
from zoopipe_core.report import PipeReport

__all__ = ["BatchPart", "ReplayCoordinator", "read_part"]

_HEAD = struct.Struct("<Q32s")
_HASH_BYTES = 32


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
        self._key = secrets.token_bytes(_HASH_BYTES)
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
        check()
        self._writer = writer = self._open_target()
        writer.start(self._types(written))
        for index in written:
            for item in read_part(self.path(index), self._key):
                check()
                if isinstance(item, ModelBatch):
                    writer.write(item)
        writer.prepare()

    def _types(self, written: Sequence[int]) -> Mapping[str, ColumnType]:
        """As in a serial run, the first rows say what the columns are."""
        types: Mapping[str, ColumnType] | None = None
        for index in written:
            items = read_part(self.path(index), self._key)
            first = next(items, None)
            if isinstance(first, ModelBatch) or first is None:
                continue
            types = first if types is None else types
            if next(items, None) is not None:
                return first
        return types or {}

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
        return _BatchPartWriter(self)


class _BatchPartWriter(Writer):
    def __init__(self, adapter: BatchPart) -> None:
        self._file = AtomicFile(adapter.path, None)
        self._key = adapter.key

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self._add(cloudpickle.dumps(dict(types)))

    def write(self, batch: ModelBatch) -> None:
        self.write_encoded(self.encode(batch))

    def encode(self, batch: ModelBatch) -> bytes:
        return _pack(batch)

    def write_encoded(self, encoded: Any) -> None:
        self._add(encoded)

    def _add(self, payload: bytes) -> None:
        self._file.write(_HEAD.pack(len(payload), _digest(self._key, payload)))
        self._file.write(payload)

    def prepare(self) -> None:
        self._file.prepare()

    def publish(self) -> None:
        self._file.publish()

    def abort(self) -> None:
        self._file.abort()

    @property
    def bytes_written(self) -> int:
        return self._file.bytes_written


def read_part(path: str, key: bytes) -> Iterator[Mapping[str, ColumnType] | ModelBatch]:
    """What a `BatchPart` was given: the types that it was started with, then the batches.

    Raises:
        TargetWriteError: the part is damaged, or was written by somebody else.
    """
    with open(path, "rb") as file:
        while head := file.read(_HEAD.size):
            payload = _payload(head, file, key)
            if payload is None:
                raise TargetWriteError(f"{path}, a part of this load, was damaged or replaced; nothing was published")
            item = pickle.loads(payload)
            yield item if isinstance(item, dict) else _unpack(item)


def _payload(head: bytes, file: BinaryIO, key: bytes) -> bytes | None:
    """What follows a head, if it is what this load has written."""
    if len(head) < _HEAD.size:
        return None
    length, digest = _HEAD.unpack(head)
    payload = file.read(length)
    return payload if hmac.compare_digest(digest, _digest(key, payload)) else None


def _digest(key: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_HASH_BYTES, key=key).digest()


def _pack(batch: ModelBatch) -> bytes:
    arrays = {name: column.held_array for name, column in batch.columns.items()}
    held = {name: array for name, array in arrays.items() if array is not None}
    stream = pa.BufferOutputStream()
    if held:
        record = pa.RecordBatch.from_arrays(list(held.values()), names=list(held))
        with pa.ipc.new_stream(stream, record.schema) as writer:
            writer.write_batch(record)
    values = {name: list(column.values) for name, column in batch.columns.items() if name not in held}
    # cloudpickle: a value may be of a class that is defined in the caller's script.
    parts = (batch.types, bytes(stream.getvalue()), values, batch.rows, batch.source, batch.json_lines)
    return cloudpickle.dumps(parts)  # type: ignore[no-any-return]


def _unpack(parts: tuple[Any, ...]) -> ModelBatch:
    types, stream, values, rows, source, json_lines = parts
    held: dict[str, pa.Array] = {}
    if stream:
        record = pa.ipc.open_stream(stream).read_next_batch()
        held = dict(zip(record.schema.names, record.columns, strict=True))
    columns = {name: Column(kind, values.get(name), held.get(name)) for name, kind in types.items()}
    return ModelBatch(columns, rows, source, json_lines)
