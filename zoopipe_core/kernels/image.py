"""Object code put into memory without LLVM, which takes longer to load, and more memory, than all kernels together.

    object file ──link()──▶ Image: sections side by side, all references between them settled
                                   place()──▶ executable memory, with the addresses of `memset` and its like filled in

Compiled kernels are small and plain: code and constants that refer to each other by distance, and nothing that is
written to. `link` knows that much of ELF on x86-64, and leaves to LLVM whatever is not so: other systems and
processors, other kinds of references.

Sources: System V ABI, AMD64 Architecture Processor Supplement 1.0, sections 4.3 (object files) and 4.4 (relocation).
"""

from __future__ import annotations

import ctypes
import logging
import mmap
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from zoopipe_core.kernels.cpython import CALLS

__all__ = ["Image", "link"]

logger = logging.getLogger(__name__)

IMPORTS = frozenset({"memcmp", "memcpy", "memmove", "memset", *(call.symbol for call in CALLS.values())})
"""What the process has: what compilers call of their own accord, of the C library, and Python's C interface."""

_IDENT = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian, version 1
_RELOCATABLE, _X86_64 = 1, 62
_PROGBITS, _SYMTAB, _RELA = 1, 2, 4
_WRITE, _ALLOC, _TLS = 0x1, 0x2, 0x400
_ALIGNMENT = 64
_GOT = "_GLOBAL_OFFSET_TABLE_"

# type -> (what it is, bytes); S symbol, A addend, P place, G slot in the table of addresses, GOT that table
_PC32, _PLT32, _PC64, _GOTOFF64, _GOTPC32, _GOT64, _GOTPC64 = 2, 4, 24, 25, 26, 27, 29
_BYTES = {_PC32: 4, _PLT32: 4, _PC64: 8, _GOTOFF64: 8, _GOTPC32: 4, _GOT64: 8, _GOTPC64: 8}


class _NotPlainError(Exception):
    """LLVM has to load this; the message says why."""


class _Section(NamedTuple):
    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry_size: int


class _Symbol(NamedTuple):
    name: str
    section: int
    value: int


@dataclass(frozen=True, slots=True)
class Image:
    """Code and constants that work wherever they lie.

    Attributes:
        data: what to put into memory.
        symbols: name -> offset within `data`.
        slots: offset within `data` -> the name of the function whose address belongs there.
    """

    data: bytes
    symbols: dict[str, int]
    slots: dict[int, str]

    def place(self) -> dict[str, int]:
        """Put it into executable memory, for as long as the process lives; the address of each symbol.

        Raises:
            OSError: the system does not allow it.
        """
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        # Not by Python's mmap, which would give it back when the interpreter ends: a daemon thread may still be in it.
        writable = mmap.PROT_READ | mmap.PROT_WRITE
        base = libc.mmap(None, len(self.data), writable, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
        if base is None or base == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "no memory for compiled kernels")
        ctypes.memmove(base, self.data, len(self.data))
        for offset, name in self.slots.items():
            address = ctypes.cast(libc[name], ctypes.c_void_p).value
            ctypes.c_uint64.from_address(base + offset).value = address  # type: ignore[assignment]  # not NULL
        if libc.mprotect(base, len(self.data), mmap.PROT_READ | mmap.PROT_EXEC):
            raise OSError(ctypes.get_errno(), "memory cannot be made executable")
        return {name: base + offset for name, offset in self.symbols.items()}


def link(code: bytes, wanted: Iterable[str]) -> Image | None:
    """The image of an object file; None if it is not as plain as that.

    Args:
        code: the object file.
        wanted: the symbols whose places are asked for; those that are not there are left out.
    """
    try:
        return _link(code, frozenset(wanted))
    except (_NotPlainError, struct.error, IndexError, ValueError) as error:
        logger.debug("LLVM loads the compiled kernels: %s", error)
        return None


def _link(code: bytes, wanted: frozenset[str]) -> Image:
    sections = _sections(code)
    places, end = _lay_out(sections)
    data = bytearray(end)
    for index, place in places.items():
        section = sections[index]
        data[place : place + section.size] = code[section.offset : section.offset + section.size]
    symbols = _symbols(code, sections)
    slots: dict[str, int] = {}
    for section in sections:
        if section.kind == _RELA and section.info in places:
            for kind, symbol, addend, offset in _relocations(code, section, symbols):
                place = places[section.info] + offset
                _settle(data, place, _distance(kind, symbol, addend, place, places, end, slots), _BYTES[kind])
    data += bytes(8 * len(slots))
    found = {
        symbol.name: places[symbol.section] + symbol.value
        for symbol in symbols
        if symbol.name in wanted and symbol.section in places
    }
    return Image(bytes(data), found, {end + offset: name for name, offset in slots.items()})


def _sections(code: bytes) -> list[_Section]:
    if not code.startswith(_IDENT):
        raise _NotPlainError("it is no ELF file of 64 bits")
    kind, machine = struct.unpack_from("<HH", code, 16)
    if (kind, machine) != (_RELOCATABLE, _X86_64):
        raise _NotPlainError(f"it is of type {kind} for machine {machine}")
    (start,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    if size != struct.calcsize("<IIQQQQIIQQ"):
        raise _NotPlainError(f"its section headers have {size} bytes")
    table = code[start : start + size * count]
    return [_Section(*fields) for fields in struct.iter_unpack("<IIQQQQIIQQ", table)]


def _lay_out(sections: list[_Section]) -> tuple[dict[int, int], int]:
    """Section -> its offset, for those that lie in memory, and where they end."""
    places, end = {}, 0
    for index, section in enumerate(sections):
        if not section.flags & _ALLOC or not section.size:
            continue
        if section.kind != _PROGBITS or section.flags & (_WRITE | _TLS) or section.align > mmap.PAGESIZE:
            raise _NotPlainError(f"section {index} is of kind {section.kind}, with flags {section.flags:#x}")
        align = max(section.align, _ALIGNMENT)
        places[index] = end = -(-end // align) * align
        end += section.size
    return places, -(-end // _ALIGNMENT) * _ALIGNMENT


def _symbols(code: bytes, sections: list[_Section]) -> list[_Symbol]:
    tables = [section for section in sections if section.kind == _SYMTAB]
    if len(tables) != 1:
        raise _NotPlainError(f"it has {len(tables)} tables of symbols")
    names = sections[tables[0].link].offset
    entries = code[tables[0].offset : tables[0].offset + tables[0].size]
    return [
        _Symbol(code[names + name : code.index(b"\0", names + name)].decode(), section, value)
        for name, _, _, section, value, _ in struct.iter_unpack("<IBBHQQ", entries)
    ]


def _relocations(code: bytes, section: _Section, symbols: list[_Symbol]) -> Iterator[tuple[int, _Symbol, int, int]]:
    for offset, info, addend in struct.iter_unpack("<QQq", code[section.offset : section.offset + section.size]):
        kind = info & 0xFFFFFFFF
        if kind not in _BYTES:
            raise _NotPlainError(f"it has a relocation of type {kind}")
        yield kind, symbols[info >> 32], addend, offset


def _distance(
    kind: int,
    symbol: _Symbol,
    addend: int,
    place: int,
    places: dict[int, int],
    got: int,
    slots: dict[str, int],
) -> int:
    """What is to be written at `place`. `got` is where the slots begin; a new one is added to `slots` if need be."""
    if kind in (_GOTPC32, _GOTPC64):
        if symbol.name != _GOT:
            raise _NotPlainError(f"it refers to the table of addresses as {symbol.name!r}")
        return got + addend - place
    if kind == _GOT64:
        if symbol.section or symbol.name not in IMPORTS:
            raise _NotPlainError(f"it asks for the address of {symbol.name!r}")
        return slots.setdefault(symbol.name, 8 * len(slots)) + addend
    if symbol.section not in places:
        raise _NotPlainError(f"it needs {symbol.name!r}")
    target = places[symbol.section] + symbol.value
    return target + addend - (got if kind == _GOTOFF64 else place)


def _settle(data: bytearray, place: int, distance: int, size: int) -> None:
    if not 0 <= place <= len(data) - size:
        raise _NotPlainError(f"a reference lies outside of it, at {place}")
    data[place : place + size] = distance.to_bytes(size, "little", signed=True)
