"""Compiled kernels: kept safely, loaded without Numba, and never taken on trust."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from zoopipe_core.kernels import native
from zoopipe_core.kernels._jit import KERNELS, UNSURE
from zoopipe_core.kernels.buffers import text_cells
from zoopipe_core.kernels.switch import MIN_ROWS, KernelSwitch

LOAD = """
import sys
from zoopipe_core.kernels import native
print(native.load(), "numba" in sys.modules)
"""


def run(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return done.stdout.strip()


def test_compiled_kernels_are_loaded_without_numba(compiled_kernels: Path) -> None:
    assert run(LOAD) == "True False"


def test_without_a_cache_there_is_nothing_to_load(tmp_path: Path) -> None:
    assert run(LOAD, ZOOPIPE_CACHE_DIR=str(tmp_path)) == "False False"


@pytest.mark.parametrize("switch", [{"ZOOPIPE_KERNELS": "off"}, {"NUMBA_DISABLE_JIT": "1"}], ids=str)
def test_the_environment_can_forbid_them(compiled_kernels: Path, switch: dict[str, str]) -> None:
    assert run(LOAD, **switch) == "False False"


def test_a_damaged_cache_is_not_loaded(compiled_kernels: Path, tmp_path: Path) -> None:
    data = bytearray(compiled_kernels.read_bytes())
    data[-100] ^= 1
    copy = tmp_path / compiled_kernels.name
    copy.write_bytes(data)
    copy.chmod(0o600)
    assert run(LOAD, ZOOPIPE_CACHE_DIR=str(tmp_path)) == "False False"


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_a_cache_that_others_may_write_to_is_not_loaded(compiled_kernels: Path, tmp_path: Path, mode: int) -> None:
    copy = tmp_path / compiled_kernels.name
    copy.write_bytes(compiled_kernels.read_bytes())
    copy.chmod(mode)
    assert run(LOAD, ZOOPIPE_CACHE_DIR=str(tmp_path)) == "False False"


def test_the_cache_is_private(compiled_kernels: Path) -> None:
    assert compiled_kernels.stat().st_mode & 0o777 == 0o600


def test_a_kernel_refuses_arrays_that_it_was_not_compiled_for(compiled_kernels: Path) -> None:
    assert native.load()
    parse = KERNELS["numbers.parse_int64"]
    cells = text_cells(pa.array([b"1", b"2"]))
    out, state = np.zeros(2, np.int64), np.zeros(2, np.uint8)
    with pytest.raises(TypeError, match="contiguous int64 array"):
        parse(cells.data, cells.starts, cells.ends, out.astype(np.int32), state)
    frozen = out.copy()
    frozen.flags.writeable = False
    with pytest.raises(TypeError, match="read-only"):
        parse(cells.data, cells.starts, cells.ends, frozen, state)
    with pytest.raises(TypeError, match="5 arguments"):
        parse(cells.data)
    parse(cells.data, cells.starts, cells.ends, out, state)
    assert out.tolist() == [1, 2]


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


def test_a_small_load_does_not_touch_kernels_and_a_large_one_takes_them_up(
    compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(native, "load", lambda: bool(calls.append("load")) or True)
    switch = KernelSwitch()
    assert not switch.ready(MIN_ROWS - 1)
    assert calls == []
    assert switch.ready(1)
    assert calls == ["load"]


def test_without_a_cache_the_load_goes_on_and_switches_when_compiling_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Compiler:
        returncode: int | None = None

        def poll(self) -> int | None:
            return self.returncode

    compiler, there = Compiler(), False
    monkeypatch.setattr(native, "load", lambda: there)
    monkeypatch.setattr(native, "compile_in_background", lambda: compiler)
    switch = KernelSwitch()
    assert not switch.ready(MIN_ROWS)
    assert not switch.ready(MIN_ROWS)
    compiler.returncode, there = 0, True
    assert switch.ready(1)


@pytest.mark.slow
def test_several_first_runs_at_once_leave_one_whole_cache(tmp_path: Path) -> None:
    environment = {**os.environ, "ZOOPIPE_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "zoopipe_core.kernels.native"]
    runs = [subprocess.Popen(command, env=environment) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert len(list(tmp_path.iterdir())) == 1
    assert run(LOAD, ZOOPIPE_CACHE_DIR=str(tmp_path)) == "True False"
