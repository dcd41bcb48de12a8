"""Parts that hold validated rows exactly as they are, for a writer that takes them elsewhere.

A part is a sequence of frames, one for each call of the writer: its length, a keyed hash, and the batch, columns of
Arrow as an IPC stream and all others as the Python values that they are (a Decimal keeps its zeros, a missing key stays
missing). The values are pickled; the key, which travels with the pipe and never to the disk, makes sure that nothing
is unpickled that this load has not written.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

import cloudpickle
import pyarrow as pa

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import Writer
from zoopipe_core.adapters.file_writers import FileWriter
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.coordinators.replay import KEY_BYTES, BatchPart
from zoopipe_core.errors import TargetWriteError

__all__ = ["BatchPartWriter", "Part", "read_part", "replay"]

_HEAD = struct.Struct("<Q32s")

Part = Iterator[Mapping[str, ColumnType] | ModelBatch]
"""What a part was given, in order."""


class BatchPartWriter(FileWriter):
    """Writes a `BatchPart`."""

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


def read_part(path: str, key: bytes) -> Part:
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


def replay(paths: Sequence[str], read: Callable[[str], Part], writer: Writer, check: Callable[[], None]) -> None:
    """Give a writer the rows of all parts, in order.

    Args:
        paths: of the parts, which are read twice.
        read: `read_part`, with the key.
        writer: is started; everything else is left to the caller.
        check: called between batches; may raise.
    """
    writer.start(_types(paths, read))
    for path in paths:
        for item in read(path):
            check()
            if isinstance(item, ModelBatch):
                writer.write(item)


def _types(paths: Sequence[str], read: Callable[[str], Part]) -> Mapping[str, ColumnType]:
    """As in a serial run, the first rows say what the columns are."""
    types: Mapping[str, ColumnType] | None = None
    for path in paths:
        items = read(path)
        first = next(items, None)
        if first is None or isinstance(first, ModelBatch):
            continue
        if next(items, None) is not None:
            return first
        types = first if types is None else types
    return types or {}


def _payload(head: bytes, file: BinaryIO, key: bytes) -> bytes | None:
    """What follows a head, if it is what this load has written."""
    if len(head) < _HEAD.size:
        return None
    length, digest = _HEAD.unpack(head)
    payload = file.read(length)
    return payload if hmac.compare_digest(digest, _digest(key, payload)) else None


def _digest(key: bytes, payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=KEY_BYTES, key=key).digest()


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
