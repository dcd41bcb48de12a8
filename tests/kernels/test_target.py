"""Which processor kernels are compiled for."""

from __future__ import annotations

from pathlib import Path

import pytest

from zoopipe_core.kernels import target
from zoopipe_core.kernels.target import level_of, target_cpu

V2 = {"cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"}
V3 = V2 | {"avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"}


@pytest.mark.parametrize(
    ("features", "level"),
    [
        (set(), "x86-64"),
        (V2, "x86-64-v2"),
        (V3, "x86-64-v3"),
        (V3 | {"avx512f"}, "x86-64-v3"),
        (V3 - {"avx2"}, "x86-64-v2"),
        (V3 - {"popcnt"}, "x86-64"),
    ],
)
def test_the_target_is_the_highest_level_of_which_nothing_is_missing(features: set[str], level: str) -> None:
    assert level_of(features) == level


def test_this_machine_runs_what_is_compiled_for_it() -> None:
    """LLVM knows the level by this name, and every feature that it implies is one that the machine has."""
    import llvmlite.binding as llvm

    cpu = target_cpu()
    llvm.initialize_native_target()
    assert llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(cpu=cpu).triple
    known = llvm.get_host_cpu_features()
    if cpu == "x86-64-v3":
        assert all(known[name] for name in V3)


def test_linux_and_llvm_say_the_same_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told = target_cpu()
    monkeypatch.setattr(target, "_CPU_INFO", tmp_path / "not there")
    assert target_cpu() == told


def test_other_processors_get_what_all_of_them_have(monkeypatch: pytest.MonkeyPatch) -> None:
    class Uname:
        machine = "aarch64"

    monkeypatch.setattr(target.os, "uname", Uname)
    assert target_cpu() == "generic"
