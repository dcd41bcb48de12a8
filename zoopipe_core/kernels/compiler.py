"""Kernels compiled by Numba, in a process of its own: compiling holds the GIL and takes many seconds.

    compile_kernels()  ──starts──▶  python -m zoopipe_core.kernels.compiler FOLDER
        waits                         Numba: functions ──▶ LLVM code, one module for all kernels
                                      LLVM: module ──▶ object code for the target processor
                                      python -m zoopipe_core.kernels.native PART     does the probe run?
                                      PART is renamed

Numba's name in this file stands for its public interface alone: a compiled function's LLVM code and the name of its
symbol. What that code expects of its caller is what `native` knows and `probe` checks.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FunctionType
from typing import Any

from zoopipe_core.errors import KernelError
from zoopipe_core.kernels import cache, native
from zoopipe_core.kernels._jit import DEVICES, OBJECTS, Kernel, Parameter
from zoopipe_core.kernels.image import IMPORTS
from zoopipe_core.kernels.target import target_cpu

__all__ = ["compile_kernels"]

logger = logging.getLogger(__name__)

_NICENESS = 12
"""On a single processor, the compiler gets 6% of it beside one busy thread (with 10 it would be 10%)."""


def compile_kernels(folder: Path | None = None, *, shared: bool = False, background: bool = False) -> Path:
    """Compile every kernel in a process of its own, and wait for it; several seconds.

    If another process is at it, its result is waited for and taken.

    Args:
        folder: where to keep them; by default what `cache.folder_for_writing` finds.
        shared: whether other users may read them.
        background: at low priority, and going on if we end before it; not tried again for a day after it failed.

    Returns:
        The file.

    Raises:
        KernelError: they cannot be compiled, kept or loaded.
    """
    folder = cache.folder_for_writing() if folder is None else folder
    mark = cache.fingerprint()
    with cache.compile_lock(folder) as lock:
        path = folder / f"kernels-{mark}.bin"
        if cache.read(path, mark) is not None:
            return path
        reason = cache.failure(folder, mark) if background else None
        if reason is None:
            reason = _run([str(folder), mark, *(["--shared"] if shared else [])], lock, background)
            if reason is None:
                return path
            with suppress(OSError):  # the folder cannot be written to, which is the reason already
                cache.note_failure(folder, mark, reason)
    raise KernelError(f"compiling kernels failed: {reason}")


def _run(arguments: Sequence[str], lock: int, background: bool) -> str | None:
    """Run the compiling process to its end; None, or what went wrong."""
    process = subprocess.Popen(
        [*_python("compiler"), *arguments, *(["--background"] if background else [])],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # Out of reach of the terminal's Ctrl-C. Not a session of its own: Linux gives each session the same share
        # of the processors (autogroup), whatever the priority of its processes.
        process_group=0 if background else None,
        pass_fds=[lock],
        cwd=arguments[0],  # Numba reads a settings file from the current folder
        env=_environment(),
    )
    try:
        _, errors = process.communicate()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if process.returncode == 0:
        return None
    if process.returncode < 0:
        # Somebody's wish, or want of memory: no fault of the kernels, so that the next load may try again.
        raise KernelError(f"compiling kernels was ended by {signal.Signals(-process.returncode).name}")
    return _last_words(errors) or f"exit code {process.returncode}"


def _last_words(errors: bytes) -> str:
    """The message at the end of a traceback."""
    lines = errors.decode(errors="replace").strip().splitlines() or [""]
    return lines[-1].removeprefix(f"{KernelError.__module__}.{KernelError.__qualname__}: ")


def _python(module: str) -> list[str]:
    if not sys.executable:
        raise KernelError("compiling kernels needs a Python interpreter, and sys.executable names none")
    # -P: a file in the current folder must not stand in for a module of ours.
    return [sys.executable, "-P", "-W", "ignore", "-m", f"zoopipe_core.kernels.{module}"]


def _environment() -> dict[str, str]:
    """Ours, without the user's settings for Numba: they would give other code than the fingerprint stands for."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    return environment | {
        "NUMBA_CPU_NAME": target_cpu(),
        "NUMBA_CPU_FEATURES": "",
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
    }


# ---- in the compiling process -------------------------------------------------------------------------------------


def _main(arguments: Sequence[str]) -> None:
    folder, mark, *flags = arguments
    if "--background" in flags:
        _step_back()
    symbols, code = _object_code()
    if cache.fingerprint() != mark:
        raise KernelError("the package was changed while it was compiled")
    part = cache.store(Path(folder), mark, symbols, code, shared="--shared" in flags)
    try:
        _try_out(part, mark)
        cache.publish(part, mark)
    finally:
        part.unlink(missing_ok=True)


def _step_back() -> None:
    """Let every other process go first, to the processors and out of a lack of memory."""
    os.nice(_NICENESS)
    with suppress(OSError):  # not on Linux, or forbidden
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _try_out(part: Path, mark: str) -> None:
    """Load the code where there is no Numba, as loads will, and run the probe; a crash there is nobody's loss."""
    done = subprocess.run(
        [*_python("native"), str(part), mark], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        reason = _last_words(done.stderr) or f"it ended with status {done.returncode}"
        raise KernelError(f"the machine code does not work: {reason}")


def _object_code() -> tuple[dict[str, str], bytes]:
    """Each kernel's symbol, and one object file with all of them."""
    import llvmlite.binding as llvm

    native.import_families()
    _compile_devices()
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    triple, cpu = llvm.get_process_triple(), target_cpu()
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3, reloc="pic", codemodel="jitdefault")
    module = llvm.parse_assembly(f'target triple = "{triple}"\ntarget datalayout = "{machine.target_data}"')
    symbols = {}
    for declared in native.kernels().values():
        key = native.prototype(declared)
        try:
            symbols[key], code = _compile(declared)
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise KernelError(f"the kernel {declared.name} cannot be compiled: {first}") from error
        module.link_in(llvm.parse_assembly(code))
    _strip(module, set(symbols.values()))
    return symbols, machine.emit_object(module)


def _njit(function: Any, *signature: Any, **options: bool) -> Any:
    """Numba's compiled form of a function, by our policy.

    Without Numba's run time for reference counts (``_nrt``), a kernel that would allocate does not compile.
    """
    import numba

    untyped: Any = numba.njit  # not all options are in its type
    return untyped(*signature, nogil=True, error_model="numpy", _nrt=False, **options)(function)


def _compile_devices() -> None:
    """Replace every function that kernels call by its compiled form, in the modules that use it."""
    from zoopipe_core.kernels.lowering import LOWERED

    compiled = {function: _njit(function, forceinline=True) for function in DEVICES} | LOWERED
    for module in [m for name, m in sys.modules.items() if name.startswith("zoopipe_core.kernels.")]:
        names = vars(module)
        for name, value in list(names.items()):
            if isinstance(value, FunctionType) and value in compiled:
                names[name] = compiled[value]


def _compile(declared: Kernel) -> tuple[str, str]:
    """The kernel's symbol and its LLVM code, optimised."""
    from numba import types

    def numba_type(parameter: Parameter) -> Any:
        dtype, writable = parameter
        if parameter in OBJECTS:
            return types.int64  # its address
        kind = getattr(types, dtype)
        return kind if writable is None else types.Array(kind, 1, "C", readonly=not writable)

    result = types.int64 if declared.over_objects else types.void
    signature = result(*map(numba_type, declared.signature))
    # Without the wrappers for Python and C there is nothing in it that needs Numba or Python at run time.
    dispatcher = _njit(declared.function, signature, no_cpython_wrapper=True, no_cfunc_wrapper=True)
    (compiled,) = dispatcher.signatures
    return dispatcher.overloads[compiled].fndesc.llvm_func_name, dispatcher.inspect_llvm(compiled)


def _strip(module: Any, kept: set[str]) -> None:
    """Leave in `module` the functions `kept` and what they need.

    Raises:
        KernelError: they need something from outside, which would be missing when they are loaded.
    """
    import llvmlite.binding as llvm

    for value in (*module.functions, *module.global_variables):
        if not value.is_declaration and value.name not in kept:
            value.linkage = "internal"
    machine = llvm.Target.from_triple(module.triple).create_target_machine()
    manager = llvm.create_new_module_pass_manager()
    manager.add_global_dead_code_eliminate_pass()
    manager.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    missing = [
        value.name
        for value in (*module.functions, *module.global_variables)
        if value.is_declaration and not value.name.startswith("llvm.") and value.name not in IMPORTS
    ]
    if missing:
        raise KernelError(f"kernels allocate nothing and raise nothing, but these need {', '.join(sorted(missing))}")


if __name__ == "__main__":
    _main(sys.argv[1:])
