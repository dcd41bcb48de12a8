"""Object code that is put into memory without LLVM."""

from __future__ import annotations

import platform
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zoopipe_core.errors import KernelError
from zoopipe_core.kernels import cache, native
from zoopipe_core.kernels.image import IMPORTS, Image, link

SECTION = "<IIQQQQIIQQ"
LOAD = """
import sys
from zoopipe_core.kernels import native
print(native.load(), "numba" in sys.modules, "llvmlite" in sys.modules)
"""
RELA, ALLOC, WRITE = 4, 0x2, 0x1


@pytest.fixture
def compiled(compiled_kernels: Path) -> Iterator[cache.Compiled]:
    found = cache.read(compiled_kernels, cache.fingerprint())
    assert found is not None
    yield found
    native._install(found)


def linked(compiled: cache.Compiled, code: bytes | None = None) -> Image | None:
    return link(compiled.code if code is None else code, compiled.symbols.values())


def sections(code: bytes) -> list[tuple[int, tuple[int, ...]]]:
    """Where the header of each section lies, and what it says."""
    (start,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    places = range(start, start + size * count, size)
    return [(place, struct.unpack_from(SECTION, code, place)) for place in places]


def is_plain() -> bool:
    """Whether kernels are linked by us on this system."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def test_kernels_are_plain_where_it_matters_most(compiled: cache.Compiled) -> None:
    image = linked(compiled)
    assert (image is not None) is is_plain()
    if image is not None:
        assert set(image.symbols) == set(compiled.symbols.values())
        assert set(image.slots.values()) <= IMPORTS


def test_a_load_imports_neither_numba_nor_llvm(compiled_kernels: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOAD], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False", str(not is_plain())]


def test_llvm_loads_what_is_not_plain(compiled: cache.Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    by_us = {name: declared.native for name, declared in native.kernels().items()}
    monkeypatch.setattr(native, "link", lambda code, wanted: None)
    native._install(compiled)  # which tries the probe
    assert all(declared.native is not by_us[name] for name, declared in native.kernels().items())


def test_memory_with_code_cannot_be_written_to(compiled: cache.Compiled) -> None:
    image = linked(compiled)
    if image is None:
        assert not is_plain()
        return
    address = min(image.place().values())
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            assert line.split()[1] == "r-xp"
            break
    else:
        pytest.fail("the code lies nowhere")


def test_each_placed_image_has_memory_of_its_own(compiled: cache.Compiled) -> None:
    image = linked(compiled)
    if image is None:
        assert not is_plain()
        return
    one, other = image.place(), image.place()
    assert not set(one.values()) & set(other.values())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.5, 0.9, 0.999])
def test_half_a_file_is_no_image(compiled: cache.Compiled, share: float) -> None:
    assert linked(compiled, compiled.code[: int(len(compiled.code) * share)]) is None


@pytest.mark.parametrize("machine", [183, 3, 0], ids=["AArch64", "386", "none"])
def test_code_for_other_processors_is_no_image(compiled: cache.Compiled, machine: int) -> None:
    assert linked(compiled, compiled.code[:18] + struct.pack("<H", machine) + compiled.code[20:]) is None


def test_code_that_writes_to_its_own_data_is_no_image(compiled: cache.Compiled) -> None:
    code = bytearray(compiled.code)
    place, fields = next((p, f) for p, f in sections(code) if f[2] & ALLOC and f[5])
    struct.pack_into(SECTION, code, place, *fields[:2], fields[2] | WRITE, *fields[3:])
    assert linked(compiled, bytes(code)) is None


def test_references_of_a_kind_that_is_not_known_are_left_to_llvm(compiled: cache.Compiled) -> None:
    code = bytearray(compiled.code)
    _, fields = next((p, f) for p, f in sections(code) if f[1] == RELA)
    offset, info, addend = struct.unpack_from("<QQq", code, fields[4])
    struct.pack_into("<QQq", code, fields[4], offset, info >> 32 << 32 | 1, addend)  # an absolute address
    assert linked(compiled, bytes(code)) is None


def test_references_out_of_a_section_are_refused(compiled: cache.Compiled) -> None:
    code = bytearray(compiled.code)
    _, fields = next((p, f) for p, f in sections(code) if f[1] == RELA)
    _, info, addend = struct.unpack_from("<QQq", code, fields[4])
    struct.pack_into("<QQq", code, fields[4], 1 << 40, info, addend)
    assert linked(compiled, bytes(code)) is None


def test_symbols_that_are_not_there_are_named(compiled: cache.Compiled) -> None:
    symbols = {"one": next(iter(compiled.symbols.values())), "other": "no_such_symbol"}
    with pytest.raises(KernelError, match=r"lack other$"):
        native._map_code(compiled.code, symbols)
