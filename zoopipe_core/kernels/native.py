"""Kernels as machine code: compiled once with Numba, kept as object code, loaded without Numba.

    compile_all()   in a process of its own:  Python ──Numba──▶ object code ──▶ one file in the cache
    load()          in a load:                that file ──LLVM's loader──▶ Kernel.native

A scheduled task is a fresh process. Importing Numba and letting it look up its own cache takes longer than many a
load; mapping object code into memory takes milliseconds. Numba gives a compiled function a plain C calling convention
(``int f(ret*, error**, arrays flattened to seven words each)``), which ctypes can call, and ctypes lets go of the GIL.

The file's name is a hash of everything that the code depends on: the kernels' sources, Numba, LLVM and the processor.
It is written aside and renamed, so that several first runs may compete; it is only loaded if no other user could
have written it; and every kernel is checked against its Python form on a small example before it is used.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import logging
import os
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import FunctionType
from typing import Any

from zoopipe_core.kernels._jit import DEVICES, KERNELS, Kernel, Parameter

__all__ = ["FAMILIES", "cache_file", "compile_all", "compile_in_background", "is_disabled", "load"]

logger = logging.getLogger(__name__)

FAMILIES = ("numbers", "temporal", "text", "uuids")
"""The modules with kernels, all of which are compiled together."""

MAGIC = b"ZPK1"
_CTYPES = {"int64": ctypes.c_int64, "float64": ctypes.c_double}
# What Numba flattens an array into: meminfo, parent, item count, item size, data, shape, stride.
_ARRAY_WORDS = (
    ctypes.c_void_p, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t,
    ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_ssize_t,
)  # fmt: skip


def is_disabled() -> bool:
    """Whether the environment forbids compiled kernels: ``ZOOPIPE_KERNELS=off`` or ``NUMBA_DISABLE_JIT=1``."""
    return os.environ.get("ZOOPIPE_KERNELS", "").lower() == "off" or os.environ.get("NUMBA_DISABLE_JIT", "0") != "0"


def import_families() -> None:
    """Import every module with kernels, so that `KERNELS` is complete."""
    for family in FAMILIES:
        importlib.import_module(f"zoopipe_core.kernels.{family}")


# ---- the cache ----------------------------------------------------------------------------------------------------


def cache_file() -> Path:
    """Where the compiled kernels of this installation on this machine belong.

    ``ZOOPIPE_CACHE_DIR`` if it is set, else the user's cache folder, else a private one for temporary files.
    """
    return _cache_folder() / f"kernels-{_fingerprint()}.bin"


def _cache_folder() -> Path:
    named = os.environ.get("ZOOPIPE_CACHE_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    folder = Path(base) if base else Path.home() / ".cache"
    folder = folder / "zoopipe"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return Path(tempfile.gettempdir()) / f"zoopipe-{os.geteuid()}"
    return folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir()) / f"zoopipe-{os.geteuid()}"


def _fingerprint() -> str:
    import llvmlite.binding as llvm

    digest = hashlib.sha256(MAGIC)
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    features = sorted(name for name, present in llvm.get_host_cpu_features().items() if present)
    for part in (metadata.version("numba"), metadata.version("llvmlite"), llvm.get_host_cpu_name(), *features):
        digest.update(part.encode())
    digest.update(str(struct.calcsize("P")).encode())
    return digest.hexdigest()[:32]


def _read_trusted(path: Path) -> bytes | None:
    """The file's bytes, if it is there and nobody but its owner, who is us or root, may write to it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    except (FileNotFoundError, PermissionError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if status.st_uid not in (os.geteuid(), 0) or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            logger.warning("compiled kernels in %s are not ours alone to write and were not loaded", path)
            return None
        return file.read()


# ---- compiling ----------------------------------------------------------------------------------------------------


def compile_all(path: Path | None = None) -> Path:
    """Compile every kernel and keep the result; takes some seconds. To be called in a process of its own.

    Raises:
        OSError: the cache cannot be written.
    """
    path = path or cache_file()
    import_families()
    _compile_devices()
    index: dict[str, Any] = {}
    body = b""
    for name, declared in sorted(KERNELS.items()):
        symbol, code = _compile(declared)
        index[name] = {"symbol": symbol, "start": len(body), "size": len(code)}
        body += code
    head = json.dumps({"kernels": index, "sha256": hashlib.sha256(body).hexdigest()}).encode()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(descriptor, "wb") as file:
        file.write(MAGIC + struct.pack("<Q", len(head)) + head + body)
    os.replace(part, path)
    return path


def _compile_devices() -> None:
    """Replace every function that kernels call by its compiled form, in the modules that use it."""
    from numba import njit

    compiled = {function: njit(nogil=True, error_model="numpy", forceinline=True)(function) for function in DEVICES}
    for module in [m for name, m in sys.modules.items() if name.startswith("zoopipe_core.kernels.")]:
        names = vars(module)
        for name, value in list(names.items()):
            if isinstance(value, FunctionType) and value in compiled:
                names[name] = compiled[value]


def _compile(declared: Kernel) -> tuple[str, bytes]:
    from numba import njit, types

    def numba_type(parameter: Parameter) -> Any:
        dtype, writable = parameter
        kind = getattr(types, dtype)
        return kind if writable is None else types.Array(kind, 1, "C", readonly=not writable)

    signature = types.void(*map(numba_type, declared.signature))
    dispatcher = njit(signature, nogil=True, error_model="numpy")(declared.function)
    result = dispatcher.overloads[dispatcher.signatures[0]]
    return result.fndesc.llvm_func_name, result.library._get_compiled_object()


def compile_in_background() -> subprocess.Popen[bytes]:
    """Start compiling in a process of its own, at low priority; it fills the cache even if we end before it."""
    return subprocess.Popen(
        [sys.executable, "-m", "zoopipe_core.kernels.native"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(part for part in sys.path if part)},
    )


# ---- loading ------------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_engines: list[Any] = []  # what was loaded lives as long as the process


def load() -> bool:
    """Load the compiled kernels from the cache. False if they are not there, or not fit to be used.

    Cheap if they are loaded already. Safe to be called by several threads.
    """
    if is_disabled():
        return False
    with _lock:
        if _engines:
            return True
        data = _read_trusted(cache_file())
        if data is None:
            return False
        import_families()
        return _install(data)


def _install(data: bytes) -> bool:
    if data[: len(MAGIC)] != MAGIC:
        return False
    (size,) = struct.unpack_from("<Q", data, len(MAGIC))
    start = len(MAGIC) + 8
    head = json.loads(data[start : start + size])
    body = data[start + size :]
    if hashlib.sha256(body).hexdigest() != head["sha256"] or set(head["kernels"]) != set(KERNELS):
        logger.warning("the compiled kernels in the cache are damaged; they will be compiled again")
        return False
    engines = []
    for name, place in head["kernels"].items():
        engine, address = _map_code(body[place["start"] : place["start"] + place["size"]], place["symbol"])
        engines.append(engine)
        KERNELS[name].native = _callable(KERNELS[name], address)
    _engines.extend(engines)
    return True


def _map_code(code: bytes, symbol: str) -> tuple[Any, int]:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(symbol)
    if not address:
        raise RuntimeError(f"the compiled kernels lack the symbol {symbol}")
    return engine, address


def _callable(declared: Kernel, address: int) -> Callable[..., None]:
    words: list[Any] = [ctypes.c_void_p, ctypes.c_void_p]
    for dtype, writable in declared.signature:
        words.extend(_ARRAY_WORDS if writable is not None else [_CTYPES[dtype]])
    native = ctypes.CFUNCTYPE(ctypes.c_int32, *words)(address)
    signature = declared.signature
    name = declared.name

    def call(*arguments: Any) -> None:
        result, error = ctypes.c_void_p(), ctypes.c_void_p()
        flat = _flatten(name, signature, arguments)
        status = native(ctypes.addressof(result), ctypes.addressof(error), *flat)
        if status:
            raise RuntimeError(f"the kernel {name} ended with status {status}")

    return call


def _flatten(name: str, signature: Sequence[Parameter], arguments: Sequence[Any]) -> list[Any]:
    if len(arguments) != len(signature):
        raise TypeError(f"the kernel {name} takes {len(signature)} arguments, not {len(arguments)}")
    flat: list[Any] = []
    for (dtype, writable), argument in zip(signature, arguments, strict=True):
        if writable is None:
            flat.append(argument)
            continue
        # The code trusts what it gets: a wrong type here would be a wrong address there.
        if argument.dtype.name != dtype or argument.ndim != 1 or not argument.flags.c_contiguous:
            raise TypeError(
                f"the kernel {name} takes a contiguous {dtype} array, not {argument.dtype} {argument.shape}"
            )
        if writable and not argument.flags.writeable:
            raise TypeError(f"the kernel {name} writes to an array that is read-only")
        size, item = argument.size, argument.itemsize
        flat.extend((None, None, size, item, argument.ctypes.data, size, item))
    return flat


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)
    compile_all()
