"""Thrift's compact protocol, without a schema: structures are read into plain values, changed, and written again.

    struct    {field id: Field(type, value)}        in the order in which it was written
    list      ListValue(element type, [values])     also sets
    map       MapValue(key type, value type, [(key, value)])

What a reader does not know it keeps: a file's metadata passes through unharmed, whichever version has written it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

__all__ = ["Field", "ListValue", "MapValue", "Struct", "read_struct", "write_struct"]

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)
_DOUBLE_FORMAT = struct.Struct("<d")
_MAX_DEPTH = 64


@dataclass(slots=True)
class Field:
    """One field of a structure: its wire type, and its value."""

    type: int
    value: Any


@dataclass(slots=True)
class ListValue:
    """A list or a set."""

    type: int
    items: list[Any]


@dataclass(slots=True)
class MapValue:
    """A map, as pairs."""

    key_type: int
    value_type: int
    items: list[tuple[Any, Any]]


Struct = dict[int, Field]


def read_struct(data: bytes) -> Struct:
    """The structure that `data` begins with.

    >>> read_struct(bytes([0x15, 0x02, 0x00]))
    {1: Field(type=5, value=1)}

    Raises:
        ValueError: it is none, or is cut off.
    """
    try:
        return _Reader(data).struct(0)
    except (IndexError, struct.error) as error:
        raise ValueError("the data ends within a structure") from error


def write_struct(value: Struct) -> bytes:
    """The inverse of `read_struct`; a structure within may have been written already."""
    parts = bytearray()
    _write_struct(parts, value)
    return bytes(parts)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _take(self, size: int) -> bytes:
        data = self._data[self._at : self._at + size]
        if len(data) < size:
            raise IndexError
        self._at += size
        return data

    def _varint(self) -> int:
        result = shift = 0
        while True:
            byte = self._byte()
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result
            shift += 7

    def _zigzag(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)

    def struct(self, depth: int) -> Struct:
        if depth > _MAX_DEPTH:
            raise ValueError(f"structures are nested more than {_MAX_DEPTH} deep")
        fields: Struct = {}
        number = 0
        while header := self._byte():
            kind, delta = header & 0x0F, header >> 4
            number = number + delta if delta else self._zigzag()
            # A boolean field has its value in its type.
            fields[number] = Field(kind, kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth))
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._zigzag()
        if kind == _BINARY:
            return self._take(self._varint())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            header = self._byte()
            size = header >> 4
            size = self._varint() if size == 0x0F else size
            return ListValue(header & 0x0F, [self._item(header & 0x0F, depth) for _ in range(size)])
        if kind == _MAP:
            return self._map(depth)
        if kind == _DOUBLE:
            return _DOUBLE_FORMAT.unpack(self._take(8))[0]
        if kind == _BYTE:
            return self._byte()
        raise ValueError(f"there is no type {kind}")

    def _item(self, kind: int, depth: int) -> Any:
        return self._byte() == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)

    def _map(self, depth: int) -> MapValue:
        size = self._varint()
        kinds = self._byte() if size else 0
        pairs = [(self._item(kinds >> 4, depth), self._item(kinds & 0x0F, depth)) for _ in range(size)]
        return MapValue(kinds >> 4, kinds & 0x0F, pairs)


def _write_varint(parts: bytearray, number: int) -> None:
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)


def _write_zigzag(parts: bytearray, number: int) -> None:
    _write_varint(parts, number << 1 if number >= 0 else (-number << 1) - 1)


def _write_struct(parts: bytearray, value: Struct) -> None:
    last = 0
    for number, field in value.items():
        kind = field.type
        if kind in (_TRUE, _FALSE):
            kind = _TRUE if field.value else _FALSE
        delta = number - last
        if 0 < delta < 16:
            parts.append(delta << 4 | kind)
        else:
            parts.append(kind)
            _write_zigzag(parts, number)
        last = number
        if kind not in (_TRUE, _FALSE):
            _write_value(parts, kind, field.value)
    parts.append(0)


def _write_value(parts: bytearray, kind: int, value: Any) -> None:
    if kind in (_I16, _I32, _I64):
        _write_zigzag(parts, value)
    elif kind == _BINARY:
        _write_varint(parts, len(value))
        parts += value
    elif kind == _STRUCT:
        if isinstance(value, bytes):
            parts += value
        else:
            _write_struct(parts, value)
    elif kind in (_LIST, _SET):
        size = len(value.items)
        parts.append(min(size, 0x0F) << 4 | value.type)
        if size >= 0x0F:
            _write_varint(parts, size)
        for item in value.items:
            _write_item(parts, value.type, item)
    elif kind == _MAP:
        _write_varint(parts, len(value.items))
        if value.items:
            parts.append(value.key_type << 4 | value.value_type)
        for key, item in value.items:
            _write_item(parts, value.key_type, key)
            _write_item(parts, value.value_type, item)
    elif kind == _DOUBLE:
        parts += _DOUBLE_FORMAT.pack(value)
    else:
        parts.append(value)


def _write_item(parts: bytearray, kind: int, value: Any) -> None:
    if kind in (_TRUE, _FALSE):
        parts.append(_TRUE if value else _FALSE)
    else:
        _write_value(parts, kind, value)
