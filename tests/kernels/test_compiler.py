"""Compiling kernels, in a process of its own: at most one at a time, nothing half done, nothing that does not work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from zoopipe_core.errors import KernelError
from zoopipe_core.kernels import cache, compiler, native
from zoopipe_core.kernels._jit import INT64, Kernel

COMPILE = """
import sys
from pathlib import Path
from zoopipe_core.errors import KernelError
from zoopipe_core.kernels.compiler import compile_kernels
try:
    print(compile_kernels(Path(sys.argv[1]), background=True))
except KernelError as error:
    print(error)
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", COMPILE, str(folder)], stdout=subprocess.PIPE, text=True)


def compiling(parent: subprocess.Popen[str]) -> psutil.Process:
    """The compiling process that `parent` has started, once it is at work."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for child in psutil.Process(parent.pid).children():
            if "zoopipe_core.kernels.compiler" in child.cmdline():
                return child
        time.sleep(0.01)
    raise AssertionError("no compiling process was started")


@pytest.fixture
def ended() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that the test has started; none survives it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


# ---- processes ----------------------------------------------------------------------------------------------------


SHORT_LOAD = """
import time
from zoopipe_core.kernels.switch import MIN_ROWS, SWITCH
assert not SWITCH.ready(MIN_ROWS)
time.sleep(0.5)  # until the compiler runs
"""
LONG_LOAD = """
import sys, time, psutil
from zoopipe_core.kernels.switch import MIN_ROWS, SWITCH
assert not SWITCH.ready(MIN_ROWS)
while not SWITCH.ready(1):
    time.sleep(0.05)
print("numba" in sys.modules, psutil.Process().children())
"""


@pytest.mark.slow
@pytest.mark.timeout(300)  # at low priority, on a machine that may be busy
def test_one_compiler_serves_all_first_runs_and_goes_on_when_its_load_has_ended(
    tmp_path: Path, ended: list[subprocess.Popen[str]]
) -> None:
    environment = {**os.environ, "ZOOPIPE_CACHE_DIR": str(tmp_path), "ZOOPIPE_KERNELS": ""}
    short = [sys.executable, "-W", "error", "-c", SHORT_LOAD]
    done = subprocess.run(short, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert not list(tmp_path.glob("*.bin"))  # it did not wait; the compiler goes on, and has the lock

    load = subprocess.Popen([sys.executable, "-c", LONG_LOAD], env=environment, stdout=subprocess.PIPE, text=True)
    ended += [load, start(tmp_path), start(tmp_path)]
    told = [process.communicate(timeout=280)[0] for process in ended]

    (found,) = tmp_path.glob("kernels-*")
    assert told == ["False []\n", f"{found}\n", f"{found}\n"]
    assert cache.read(found, cache.fingerprint()) is not None


@pytest.mark.slow
def test_a_compiler_that_is_killed_leaves_nothing_and_may_be_tried_again(
    tmp_path: Path, ended: list[subprocess.Popen[str]]
) -> None:
    first, second = start(tmp_path), start(tmp_path)
    ended += [first, second]
    while not psutil.Process(first.pid).children() and not psutil.Process(second.pid).children():
        time.sleep(0.01)
    at_work = first if psutil.Process(first.pid).children() else second
    waiting = second if at_work is first else first
    compiling(at_work).kill()
    assert "ended by SIGKILL" in at_work.communicate(timeout=30)[0]
    assert list(tmp_path.glob("kernels-*")) == []
    compiling(waiting)  # the lock was free: the other one takes over


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/oom_score_adj").exists(), reason="how Linux tells who goes first")
def test_the_compiler_is_the_first_to_go_and_the_last_to_get_the_processor(
    tmp_path: Path, ended: list[subprocess.Popen[str]]
) -> None:
    ended.append(start(tmp_path))
    child = compiling(ended[0])
    until = time.monotonic() + 60
    score = Path(f"/proc/{child.pid}/oom_score_adj")
    while score.read_text().strip() != "1000" and time.monotonic() < until:
        time.sleep(0.01)
    assert score.read_text().strip() == "1000"
    assert child.nice() >= psutil.Process().nice() + 10
    # Another session would get the same share of the processors as ours, whatever the priority.
    assert os.getsid(child.pid) == os.getsid(0)
    assert os.getpgid(child.pid) != os.getpgid(0)
    child.kill()


def test_kernels_that_are_there_are_not_compiled_again(compiled_kernels: Path) -> None:
    before = compiled_kernels.stat()
    assert compiler.compile_kernels(compiled_kernels.parent) == compiled_kernels
    assert compiled_kernels.stat().st_ino == before.st_ino


def test_a_failure_is_told_and_not_repeated_in_the_background(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken" / "numba"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('this Numba is broken')\n")
    monkeypatch.setattr(sys, "path", [str(broken.parent), *sys.path])
    folder = tmp_path / "cache"
    folder.mkdir()
    with pytest.raises(KernelError, match="this Numba is broken"):
        compiler.compile_kernels(folder)
    monkeypatch.setattr(compiler, "_run", None)  # to be called would be an error
    with pytest.raises(KernelError, match="this Numba is broken"):
        compiler.compile_kernels(folder, background=True)


def test_a_package_that_changes_meanwhile_is_not_kept_under_the_old_fingerprint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiler, "_object_code", lambda: ({}, b""))
    with pytest.raises(KernelError, match="was changed"):
        compiler._main([str(tmp_path), "0" * 32])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [b"no object code", None], ids=["garbage", "other symbols"])
def test_code_that_does_not_work_is_not_kept(
    compiled_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: bytes | None
) -> None:
    mark = cache.fingerprint()
    real = cache.read(compiled_kernels, mark)
    assert real is not None
    symbols = real.symbols if code else dict.fromkeys(real.symbols, "no_such_symbol")
    monkeypatch.setattr(compiler, "_object_code", lambda: (symbols, code or real.code))
    with pytest.raises(KernelError, match="does not work"):
        compiler._main([str(tmp_path), mark])
    assert list(tmp_path.iterdir()) == []


def test_settings_of_the_user_for_numba_do_not_reach_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_BOUNDSCHECK", "1")
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    monkeypatch.setattr(sys, "path", ["", "relative"])
    environment = compiler._environment()
    assert {name for name in environment if name.startswith("NUMBA_")} == {"NUMBA_CPU_FEATURES", "NUMBA_CPU_NAME"}
    assert environment["NUMBA_CPU_NAME"] == cache.target_cpu()
    assert environment["PYTHONPATH"] == f"{os.getcwd()}{os.pathsep}{os.getcwd()}/relative"


def test_an_interpreter_that_does_not_know_itself_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", None)
    with pytest.raises(KernelError, match=r"sys\.executable"):
        compiler.compile_kernels(tmp_path)


# ---- code ---------------------------------------------------------------------------------------------------------

MODULE = """
@used = common global i64 0
@unused = global i64 7
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
declare void @outside()
define i32 @kept(ptr %p) {{
  call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 8, i1 false)
  %1 = call i32 @helper()
  ret i32 %1
}}
define linkonce_odr i32 @helper() noinline {{ {calls} ret i32 0 }}
define i32 @wrapper() {{ call void @outside() ret i32 0 }}
"""


def parsed(**parts: str) -> Any:
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    module = llvm.parse_assembly(MODULE.format(**parts))
    module.triple = llvm.get_process_triple()
    return module


def test_code_that_no_kernel_needs_is_left_out() -> None:
    module = parsed(calls="")
    compiler._strip(module, {"kept"})
    assert {function.name for function in module.functions} == {"kept", "helper", "llvm.memset.p0.i64"}
    assert list(module.global_variables) == []


def test_code_that_needs_something_from_outside_is_refused() -> None:
    with pytest.raises(KernelError, match="but these need outside"):
        compiler._strip(parsed(calls="call void @outside()"), {"kept"})


def test_a_kernel_that_allocates_does_not_compile() -> None:
    from numba.core.errors import TypingError

    def allocate(out: Any) -> None:
        out[0] = len(np.zeros(len(out), np.int64))

    with pytest.raises(TypingError, match="zeros"):
        compiler._compile(Kernel(allocate, (INT64,)))


def test_a_kernel_that_cannot_be_compiled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(out: Any) -> None:
        out[0] = "text"

    monkeypatch.setattr(native, "kernels", lambda: {"wrong": Kernel(wrong, (INT64,))})
    monkeypatch.setattr(compiler, "_compile_devices", lambda: None)
    with pytest.raises(KernelError, match=r"the kernel test_compiler\.wrong cannot be compiled"):
        compiler._object_code()
