"""Compiled kernels: loaded without Numba, checked before they are used, strict about what they are called with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.kernels.conftest import RunKernel
from zoopipe_core.errors import KernelError
from zoopipe_core.kernels import cache, native, numbers, probe
from zoopipe_core.kernels._jit import KERNELS, UNSURE, Kernel
from zoopipe_core.kernels.buffers import text_cells

LOAD = """
import sys
from zoopipe_core.kernels import native
sys.prefix = "/nowhere"  # no kernels of the whole installation
print(native.load(), "numba" in sys.modules)
"""


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return done.stdout.strip()


# ---- loading ------------------------------------------------------------------------------------------------------


def test_compiled_kernels_are_loaded_without_numba(compiled_kernels: Path) -> None:
    assert run(LOAD) == "True False"


def test_without_a_cache_there_is_nothing_to_load(tmp_path: Path) -> None:
    assert run(LOAD, ZOOPIPE_CACHE_DIR=str(tmp_path)) == "False False"


@pytest.mark.parametrize("switch", [{"ZOOPIPE_KERNELS": "off"}, {"NUMBA_DISABLE_JIT": "1"}], ids=str)
def test_the_environment_can_forbid_them(compiled_kernels: Path, switch: dict[str, str]) -> None:
    assert run(LOAD, **switch) == "False False"


def test_all_kernels_are_loaded_or_none(compiled_kernels: Path) -> None:
    assert native.load()
    assert [name for name, declared in native.kernels().items() if declared.native is None] == []


def test_threads_that_load_at_once_all_get_kernels(compiled_kernels: Path) -> None:
    code = """
import threading
from concurrent.futures import ThreadPoolExecutor
from zoopipe_core.kernels import native
start = threading.Barrier(8)
def load():
    start.wait(30)
    return native.load()
with ThreadPoolExecutor(8) as pool:
    print(all(future.result() for future in [pool.submit(load) for _ in range(8)]))
"""
    assert run(code) == "True"


def test_a_process_that_is_forked_while_kernels_are_loaded_can_load_them(compiled_kernels: Path) -> None:
    code = """
import os, threading, time
from zoopipe_core.kernels import native
held, done = threading.Event(), threading.Event()
def hold():
    with native._lock:
        held.set()
        done.wait(30)
threading.Thread(target=hold, daemon=True).start()
held.wait(30)
child = os.fork()
if not child:
    os._exit(0 if native.load() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
done.set()
"""
    assert run(code) == "0"


def test_kernels_of_other_signatures_are_refused(compiled_kernels: Path) -> None:
    found = cache.read(compiled_kernels, cache.fingerprint())
    assert found is not None
    text, symbol = found.symbols.popitem()
    with pytest.raises(KernelError, match="just upgraded"):
        native._install(
            cache.Compiled({**found.symbols, text.replace("const ", "", 1): symbol}, found.code, found.path)
        )


def test_code_without_a_kernel_that_it_names_is_refused(compiled_kernels: Path) -> None:
    found = cache.read(compiled_kernels, cache.fingerprint())
    assert found is not None
    key = native.prototype(numbers.parse_int64)
    with pytest.raises(KernelError, match=r"lack numbers\.parse_int64"):
        native._install(cache.Compiled({**found.symbols, key: "no_such_symbol"}, found.code, found.path))


# ---- the probe ----------------------------------------------------------------------------------------------------


def test_the_probe_tells_the_same_as_python_and_compiled(run_kernel: RunKernel) -> None:
    expected, found = probe.examples(), probe.examples()
    probe.tell.function(*expected)
    run_kernel(probe.tell, *found)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_probe_takes_every_kind_of_parameter_that_kernels_have() -> None:
    kinds = {parameter for declared in native.kernels().values() for parameter in declared.signature}
    assert kinds <= {*probe.tell.signature, *probe.tell_objects.signature}


def _swapped(*arguments: Any) -> None:
    probe.tell.function(*arguments)
    arguments[-1][0] += 1


@pytest.mark.parametrize("wrong", [lambda *_: None, _swapped], ids=["does nothing", "one item differs"])
def test_kernels_whose_probe_differs_are_refused(wrong: Callable[..., None]) -> None:
    with pytest.raises(KernelError, match="calling convention"):
        native._check(probe.tell, wrong, probe.examples)


# ---- calling ------------------------------------------------------------------------------------------------------


@pytest.fixture
def parse(compiled_kernels: Path) -> Kernel:
    assert native.load()
    return KERNELS["numbers.parse_int64"]


def _arguments(count: int = 4) -> list[Any]:
    cells = text_cells(pa.array([b"%d" % i for i in range(count)]))
    values, state, respelled = np.zeros(count, np.int64), np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    return [cells.data, cells.starts, cells.ends, values, state, respelled]


def _unaligned(array: Any) -> Any:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    return memory[1:].view(array.dtype)


def _frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda out: out.astype(np.int32), "int64 array", id="another dtype"),
        pytest.param(lambda out: out.astype(">i8" if sys.byteorder == "little" else "<i8"), "int64", id="byte order"),
        pytest.param(lambda out: np.zeros(8, np.int64)[::2], "contiguous", id="with gaps"),
        pytest.param(lambda out: out.reshape(2, 2), "contiguous", id="two dimensions"),
        pytest.param(_unaligned, "aligned", id="unaligned"),
        pytest.param(_frozen, "read-only", id="read-only"),
    ],
)
def test_a_kernel_refuses_arrays_that_it_was_not_compiled_for(
    parse: Kernel, change: Callable[[Any], Any], message: str
) -> None:
    arguments = _arguments()
    arguments[3] = change(arguments[3])
    with pytest.raises(TypeError, match=message):
        parse(*arguments)


def test_a_kernel_refuses_too_few_arguments(parse: Kernel) -> None:
    with pytest.raises(TypeError, match="6 arguments, not 1"):
        parse(np.zeros(1, np.uint8))


def test_a_number_that_is_no_int64_is_refused_and_not_cut(parse: Kernel) -> None:
    with pytest.raises(OverflowError, match="int64, not"):
        numbers.check_int64_range(np.zeros(1, np.int64), 0, 2**63, np.zeros(1, np.uint8))
    with pytest.raises(TypeError):
        numbers.check_int64_range(np.zeros(1, np.int64), 0, 1.5, np.zeros(1, np.uint8))


def test_a_kernel_runs_in_many_threads_at_once(parse: Kernel) -> None:
    def one(_: int) -> list[int]:
        arguments = _arguments(2_000)
        parse(*arguments)
        values: list[int] = arguments[3].tolist()
        return values

    with ThreadPoolExecutor(4) as pool:
        assert all(values == list(range(2_000)) for values in pool.map(one, range(40)))


# ---- buffers ------------------------------------------------------------------------------------------------------


def test_text_cells_are_views_of_sliced_columns_with_nulls_marked() -> None:
    array = pa.array([b"x", None, b"abc", b"", None, b"zz"])
    for start in range(6):
        part = array.slice(start, 3)
        cells = text_cells(part)
        seen = [
            None if cells.nulls is not None and cells.nulls[i] else bytes(cells.data[cells.starts[i] : cells.ends[i]])
            for i in range(len(part))
        ]
        assert seen == part.to_pylist()
        assert [s == UNSURE for s in cells.fresh_state()] == [c is None for c in part.to_pylist()]
