"""Parts of text files: what shards write instead of CSV files and JSON arrays, so that joining them needs no parsing.

    CSV     records only; the header is written once, when the parts are joined
    JSON    array elements only; the brackets, and the commas between parts, come when they are joined

A part is compressed as the target will be: each of these formats (gzip, bzip2, zstd) reads one stream behind the other
as one. Beside a part stands a note of its columns, and of whether it has rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from zoopipe_core.adapters.atomic import AtomicFile
from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.adapters.csv import CSVOutputAdapter
from zoopipe_core.adapters.csv_writer import CSVWriter
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.adapters.json import JSONOutputAdapter
from zoopipe_core.adapters.json_writer import JSONWriter
from zoopipe_core.batches.types import ColumnType

__all__ = ["CSVPart", "JSONPart", "PartNote"]

_SUFFIX = ".note"
SEPARATOR = b",\n"


@dataclass(frozen=True, slots=True)
class PartNote:
    """What a part holds.

    Attributes:
        has_rows: whether there are any.
        names: its columns, in order; empty for formats without columns.
    """

    has_rows: bool
    names: Sequence[str] = ()

    @classmethod
    def read(cls, part: str) -> PartNote:
        """The note of the part at a path or URL."""
        source = ByteSource(part + _SUFFIX, None)
        try:
            noted = json.loads(source.read())
        finally:
            source.close()
        return cls(noted["has_rows"], tuple(noted["names"]))

    def write(self, part: str) -> None:
        """Put the note beside the part, which is shown afterwards."""
        file = AtomicFile(part + _SUFFIX, None)
        try:
            file.write(json.dumps({"has_rows": self.has_rows, "names": list(self.names)}).encode())
            file.publish()
        finally:
            file.abort()


@dataclass(frozen=True, repr=False)
class CSVPart(OutputAdapter):
    """The records of a shard. `adapter` has the part's path."""

    adapter: CSVOutputAdapter

    @property
    def label(self) -> str:
        return self.adapter.label

    def open(self) -> Writer:
        return _CSVPartWriter(replace(self.adapter, header=False))


class _CSVPartWriter(CSVWriter):
    _has_rows = False

    def write_encoded(self, encoded: Any) -> None:
        self._has_rows = True
        super().write_encoded(encoded)

    def publish(self) -> None:
        self.prepare()
        PartNote(self._has_rows, self._names).write(str(self._adapter.path))
        super().publish()


@dataclass(frozen=True, repr=False)
class JSONPart(OutputAdapter):
    """The elements of an array that a shard writes. `adapter` has the part's path."""

    adapter: JSONOutputAdapter

    @property
    def label(self) -> str:
        return self.adapter.label

    @property
    def wants_json(self) -> bool:
        return self.adapter.wants_json

    def open(self) -> Writer:
        return _JSONPartWriter(self.adapter)


class _JSONPartWriter(JSONWriter):
    def start(self, types: Mapping[str, ColumnType]) -> None:
        return

    def write_encoded(self, encoded: Any) -> None:
        if not self._empty:
            self._file.write(SEPARATOR)
        self._file.write(encoded)
        self._empty = False

    def prepare(self) -> None:
        self._file.prepare()

    def publish(self) -> None:
        self.prepare()
        PartNote(not self._empty).write(str(self._adapter.path))
        self._file.publish()
