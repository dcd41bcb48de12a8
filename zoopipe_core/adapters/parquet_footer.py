"""The footer of a Parquet file, and footers of several files as one: row groups move, nothing is decoded.

    PAR1  row groups ...  [indexes, filters]  footer  its length  PAR1

A footer says at which byte each column chunk, its dictionary, its filter and its indexes begin. Where the data of one
file is put behind that of another, all of these move by the same number of bytes. Page indexes hold such numbers too
and are written anew.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from zoopipe_core.adapters.thrift import Field, ListValue, Struct, read_struct, write_struct
from zoopipe_core.errors import CorruptSourceError

__all__ = ["MAGIC", "Footer", "JoinedFooter", "OffsetIndex", "parse_footer", "read_footer"]

MAGIC = b"PAR1"
_TAIL = struct.Struct("<I4s")

# Fields by their numbers in Parquet's definition of its metadata.
_SCHEMA, _ROWS, _GROUPS, _KEY_VALUES, _ORDERS = 2, 3, 4, 5, 7
_GROUP_COLUMNS, _GROUP_OFFSET, _GROUP_ORDINAL = 1, 5, 7
_CHUNK_OFFSET, _CHUNK_META, _OFFSET_INDEX, _OFFSET_INDEX_LENGTH, _COLUMN_INDEX = 2, 3, 4, 5, 6
_PAGE_OFFSETS = (9, 10, 11, 14)  # data pages, index pages, dictionary, bloom filter
_LOCATIONS, _LOCATION_OFFSET = 1, 1
_LARGEST_ORDINAL = 2**15 - 1


@dataclass(frozen=True, slots=True)
class OffsetIndex:
    """Where the page index of a column chunk stands in its file."""

    chunk: Struct
    start: int
    length: int

    def moved(self, data: bytes, by: int, to: int) -> bytes:
        """The index, with its pages `by` bytes further back; the chunk is told that it begins at `to`."""
        index = read_struct(data)
        for location in index[_LOCATIONS].value.items:
            location[_LOCATION_OFFSET].value += by
        written = write_struct(index)
        self.chunk[_OFFSET_INDEX].value = to
        self.chunk[_OFFSET_INDEX_LENGTH].value = len(written)
        return written


@dataclass(frozen=True, slots=True)
class Footer:
    """What a Parquet file says of itself.

    Attributes:
        data_end: where the footer begins: all before it is row groups, indexes and filters.
    """

    metadata: Struct
    data_end: int

    @property
    def rows(self) -> int:
        """How many rows the file has."""
        return int(self.metadata[_ROWS].value)

    def offset_indexes(self) -> Iterator[OffsetIndex]:
        """The page indexes of all column chunks."""
        for group in self._groups.items:
            for chunk in group[_GROUP_COLUMNS].value.items:
                if _OFFSET_INDEX in chunk:
                    yield OffsetIndex(chunk, chunk[_OFFSET_INDEX].value, chunk[_OFFSET_INDEX_LENGTH].value)

    def shift(self, by: int) -> None:
        """Say that everything is `by` bytes further back; page indexes are for `OffsetIndex.moved`."""
        for group in self._groups.items:
            _move(group, _GROUP_OFFSET, by)
            for chunk in group[_GROUP_COLUMNS].value.items:
                _move(chunk, _CHUNK_OFFSET, by)
                _move(chunk, _COLUMN_INDEX, by)
                for field in _PAGE_OFFSETS:
                    _move(chunk[_CHUNK_META].value, field, by)

    @property
    def _groups(self) -> ListValue:
        groups: ListValue = self.metadata[_GROUPS].value
        return groups


class JoinedFooter:
    """The footer of a file into which the data of others are put, one behind the other.

    Row groups wait in their written form, which takes a fortieth of the memory.
    """

    def __init__(self) -> None:
        self._metadata: Struct = {}
        self._written_groups: list[bytes] = []
        self._rows = 0

    @property
    def is_begun(self) -> bool:
        """Whether a footer was added."""
        return bool(self._metadata)

    def is_like(self, footer: Footer) -> bool:
        """Whether the row groups of a file can be put behind those that were added: same columns, types and notes."""
        return all(self._metadata.get(part) == footer.metadata.get(part) for part in (_SCHEMA, _KEY_VALUES, _ORDERS))

    def add(self, footer: Footer) -> None:
        """Add the row groups of a footer, which was shifted to where its data are now. It is used up."""
        self._metadata = self._metadata or footer.metadata
        for group in footer._groups.items:
            if _GROUP_ORDINAL in group:
                ordinal = len(self._written_groups)
                if ordinal <= _LARGEST_ORDINAL:
                    group[_GROUP_ORDINAL].value = ordinal
                else:
                    del group[_GROUP_ORDINAL]  # it is optional, and has no room for more
            self._written_groups.append(write_struct(group))
        self._rows += footer.rows

    def to_bytes(self) -> bytes:
        """The end of the file."""
        self._metadata[_GROUPS].value.items = self._written_groups
        self._metadata[_ROWS].value = self._rows
        data = write_struct(self._metadata)
        return data + _TAIL.pack(len(data), MAGIC)


def _move(fields: Struct, number: int, by: int) -> None:
    field: Field | None = fields.get(number)
    # No data can be at 0, where the file's mark is: there it means that there is none.
    if field is not None and field.value > 0:
        field.value += by


def read_footer(path: str) -> Footer:
    """The footer of a local file.

    Raises:
        CorruptSourceError: it is no Parquet file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL.size))
        tail = file.read()
        length, magic = _TAIL.unpack(tail) if len(tail) == _TAIL.size else (0, b"")
        start = size - _TAIL.size - length
        if magic != MAGIC or start < len(MAGIC):
            raise CorruptSourceError(f"{path} is no Parquet file, or a truncated one")
        file.seek(start)
        data = file.read(length)
    try:
        return Footer(read_struct(data), start)
    except ValueError as error:
        raise CorruptSourceError(f"{path} has a footer that cannot be read: {error}") from error


def parse_footer(data: pa.Buffer) -> Footer:
    """The footer of a whole file in memory, which is known to be one."""
    view = memoryview(data)
    length, _ = _TAIL.unpack(view[-_TAIL.size :])
    start = len(view) - _TAIL.size - length
    return Footer(read_struct(bytes(view[start : start + length])), start)
