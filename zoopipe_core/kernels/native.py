"""Kernels as machine code: compiled once with Numba, kept as object code, loaded without Numba.

    compiler.compile_kernels()   in a process of its own:  Python ──Numba──▶ object code ──▶ one file in the cache
    native.load()                in a load:                that file ──image.link, else LLVM──▶ Kernel.native

A scheduled task is a fresh process. Importing Numba and letting it look up its own cache takes longer than many a
load; mapping object code into memory takes milliseconds. Numba gives a compiled function a plain C calling convention
(``int f(ret*, error**, arrays flattened to seven words each)``), which ctypes can call, and ctypes lets go of the GIL.
Each call checks what it is given, because machine code does not. Before any kernel is used, `probe.tell` must give
what it gives as Python.
"""

from __future__ import annotations

import ctypes
import importlib
import logging
import operator
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoopipe_core.errors import KernelError
from zoopipe_core.kernels import cache, cpython
from zoopipe_core.kernels._jit import DICT, KERNELS, LIST, OBJECTS, Kernel
from zoopipe_core.kernels.image import link

__all__ = ["FAMILIES", "import_families", "is_disabled", "kernels", "load", "prototype"]

logger = logging.getLogger(__name__)

FAMILIES = (
    "cells", "emit", "fields", "format_floats", "format_numbers", "format_temporal", "format_text", "format_uuids",
    "json_numbers", "json_scan", "json_strings", "numbers", "objects", "patterns", "probe", "records", "rows", "sha256",
    "temporal", "text", "uuids",
)  # fmt: skip
"""The modules with kernels, all of which are compiled together."""

# What Numba flattens an array into: meminfo, parent, item count, item size, data, shape, stride.
_ARRAY_WORDS = (
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t,
    ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t,
)  # fmt: skip


def is_disabled() -> bool:
    """Whether kernels must not be used compiled: ``ZOOPIPE_KERNELS=off``, ``NUMBA_DISABLE_JIT=1``, or no POSIX system.

    Elsewhere the owner of a file cannot be told, and what is loaded cannot be trusted.
    """
    return (
        os.name != "posix"
        or os.environ.get("ZOOPIPE_KERNELS", "").lower() == "off"
        or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"
    )


def import_families() -> None:
    """Import every module with kernels, so that `KERNELS` is complete."""
    for family in FAMILIES:
        importlib.import_module(f"zoopipe_core.kernels.{family}")


def kernels() -> dict[str, Kernel]:
    """Name -> kernel, for all `FAMILIES`; `KERNELS` may hold others, that somebody declared elsewhere."""
    import_families()
    return {name: declared for name, declared in KERNELS.items() if name.partition(".")[0] in FAMILIES}


def prototype(declared: Kernel) -> str:
    """A kernel's name and parameters, as they have to be the same where it is compiled and where it is called.

    >>> from zoopipe_core.kernels.numbers import check_float64_finite
    >>> prototype(check_float64_finite)
    'numbers.check_float64_finite(const float64[], uint8[])'
    """
    forms = {None: "{}", False: "const {}[]", True: "{}[]"}
    return f"{declared.name}({', '.join(forms[writable].format(dtype) for dtype, writable in declared.signature)})"


# ---- loading ------------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_loaded: Path | None = None


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()  # the thread that held it may not have come along


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def load() -> bool:
    """Load the compiled kernels from the cache. False if they are not there, or not fit to be used.

    Cheap if they are loaded already. Safe to be called by several threads: the others wait for the first.
    """
    global _loaded
    if is_disabled():
        return False
    with _lock:
        if _loaded is not None:
            return True
        try:
            found = cache.find(cache.fingerprint())
            if found is None:
                return False
            _install(found)
        except KernelError as error:
            logger.warning("kernels are not used, pydantic does it all: %s", error)
            return False
        _loaded = found.path
        return True


def _install(compiled: cache.Compiled) -> None:
    """Make every kernel's compiled form the one that is called.

    Raises:
        KernelError: the code is not that of these kernels, or does not do what it should.
    """
    from zoopipe_core.kernels import probe

    declared = {prototype(kernel): kernel for kernel in kernels().values()}
    if set(compiled.symbols) != set(declared):
        raise KernelError(f"{compiled.path} holds other kernels than this process; was the package just upgraded?")
    addresses = _map_code(compiled.code, compiled.symbols)
    ready = {text: _callable(kernel, addresses[text]) for text, kernel in declared.items()}
    _check(probe.tell, ready[prototype(probe.tell)], probe.examples)
    over_objects = cpython.is_supported() and ready[prototype(probe.tell_objects)](*probe.objects()) == probe.FOUND
    if not over_objects:
        logger.info("this Python's objects do not look as kernels expect: rows are made by Python")
    for text, kernel in declared.items():
        if over_objects or not kernel.over_objects:
            kernel.native = ready[text]


def _check(declared: Kernel, native: Callable[..., int | None], examples: Callable[[], tuple[Any, ...]]) -> None:
    expected, found = examples(), examples()
    declared.function(*expected)
    native(*found)
    if not all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True)):
        raise KernelError("compiled kernels do not get what they are given; Numba's calling convention has changed")


def _map_code(code: bytes, symbols: dict[str, str]) -> dict[str, int]:
    """Put an object file into memory, for as long as the process lives; the address of each of `symbols`."""
    found = _placed(code, symbols) or _loaded_by_llvm(code, symbols)
    addresses = {key: found.get(symbol, 0) for key, symbol in symbols.items()}
    missing = [key for key, address in addresses.items() if not address]
    if missing:
        raise KernelError(f"the compiled kernels lack {', '.join(missing)}")
    return addresses


def _placed(code: bytes, symbols: dict[str, str]) -> dict[str, int] | None:
    linked = link(code, symbols.values())
    try:
        return None if linked is None else linked.place()
    except OSError as error:
        logger.warning("compiled kernels cannot be put into memory: %s", error)
        return None


def _loaded_by_llvm(code: bytes, symbols: dict[str, str]) -> dict[str, int]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    found = {symbol: engine.get_function_address(symbol) for symbol in symbols.values()}
    # Never freed: at the end of the process, a daemon thread may still be running in it.
    engine.detach()
    return found


# ---- calling ------------------------------------------------------------------------------------------------------


def _callable(declared: Kernel, address: int) -> Callable[..., int | None]:
    if declared.over_objects:
        return _callable_with_objects(declared, address)
    name = declared.name
    native: Callable[..., int] | None = None
    parameters = [(np.dtype(dtype), writable) for dtype, writable in declared.signature]

    def call(*arguments: Any) -> None:
        nonlocal native
        if native is None:  # a load uses a few of the kernels, and ctypes takes long to prepare one
            native = _function_at(address, declared)
        result, error = ctypes.c_void_p(), ctypes.c_void_p()
        flat = _flatten(name, parameters, arguments)
        status = native(ctypes.addressof(result), ctypes.addressof(error), *flat)
        if status:
            raise KernelError(f"the kernel {name} ended with status {status}")

    return call


def _callable_with_objects(declared: Kernel, address: int) -> Callable[..., int]:
    name = declared.name
    count, classes = len(declared.signature), {LIST: list, DICT: dict}
    kinds = [(place, classes[kind]) for place, kind in enumerate(declared.signature) if kind in classes]
    native: Callable[..., int] | None = None

    def call(*arguments: Any) -> int:
        nonlocal native
        if native is None:
            native = _function_at(address, declared)
        if len(arguments) != count:  # ctypes lets too many pass
            raise TypeError(f"the kernel {name} takes {count} arguments, not {len(arguments)}")
        for place, kind in kinds:
            if type(arguments[place]) is not kind:
                raise TypeError(f"the kernel {name} takes a {kind.__name__}, not a {type(arguments[place]).__name__}")
        result, error = ctypes.c_int64(), ctypes.c_void_p()
        status = native(ctypes.addressof(result), ctypes.addressof(error), *arguments)
        if status:
            raise KernelError(f"the kernel {name} ended with status {status}")
        return result.value

    return call


def _function_at(address: int, declared: Kernel) -> Callable[..., int]:
    words: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    if declared.over_objects:
        words.extend(ctypes.py_object if kind in OBJECTS else ctypes.c_int64 for kind in declared.signature)
        return ctypes.PYFUNCTYPE(ctypes.c_int32, *words)(address)
    for dtype, writable in declared.signature:
        if writable is None:
            words.append(ctypes.c_int64 if dtype == "int64" else ctypes.c_double)
        else:
            words.extend(_ARRAY_WORDS)
    return ctypes.CFUNCTYPE(ctypes.c_int32, *words)(address)


def _flatten(name: str, parameters: Sequence[tuple[Any, bool | None]], arguments: Sequence[Any]) -> list[Any]:
    """The words that machine code takes; it trusts them: a wrong type here would be a wrong address there.

    Raises:
        TypeError, OverflowError: an argument is not what the kernel was compiled for.
    """
    if len(arguments) != len(parameters):
        raise TypeError(f"the kernel {name} takes {len(parameters)} arguments, not {len(arguments)}")
    flat: list[Any] = []
    for (dtype, writable), argument in zip(parameters, arguments, strict=True):
        if writable is None:
            flat.append(_scalar(name, dtype, argument))
            continue
        flags = argument.flags
        # The dtypes are compared, not their names, which do not tell the byte order.
        if argument.dtype != dtype or argument.ndim != 1 or not flags.c_contiguous or not flags.aligned:
            raise TypeError(
                f"the kernel {name} takes a contiguous, aligned {dtype} array, not {argument.dtype} {argument.shape}"
            )
        if writable and not flags.writeable:
            raise TypeError(f"the kernel {name} writes to an array that is read-only")
        size, item = argument.size, argument.itemsize
        # Not `argument.ctypes.data`, which makes several objects of its own first.
        flat.extend((None, None, size, item, argument.__array_interface__["data"][0], size, item))
    return flat


def _scalar(name: str, dtype: Any, argument: Any) -> int | float:
    if dtype.kind == "f":
        return float(argument)
    whole = operator.index(argument)
    if not -(2**63) <= whole < 2**63:  # ctypes would cut it without a word
        raise OverflowError(f"the kernel {name} takes an int64, not {whole}")
    return whole


if __name__ == "__main__":
    file, mark = Path(sys.argv[1]), sys.argv[2]
    tried = cache.read(file, mark)
    if tried is None:
        raise KernelError(f"{file} cannot be read back")
    _install(tried)
