"""Which processor kernels are compiled for."""

from __future__ import annotations

import pytest

from zoopipe_core.kernels.target import level_of, target_cpu

V2 = dict.fromkeys(("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3"), True)
V3 = V2 | dict.fromkeys(("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"), True)
LINUX = "x86_64-unknown-linux-gnu"


@pytest.mark.parametrize(
    ("triple", "features", "level"),
    [
        (LINUX, {}, "x86-64"),
        (LINUX, V2, "x86-64-v2"),
        (LINUX, V3, "x86-64-v3"),
        (LINUX, V3 | {"avx512f": True}, "x86-64-v3"),
        (LINUX, V3 | {"avx2": False}, "x86-64-v2"),
        (LINUX, V3 | {"popcnt": False}, "x86-64"),
        ("aarch64-unknown-linux-gnu", {"neon": True}, "generic"),
        ("arm64-apple-darwin23", {}, "generic"),
    ],
)
def test_the_target_is_the_highest_level_of_which_nothing_is_missing(
    triple: str, features: dict[str, bool], level: str
) -> None:
    assert level_of(triple, features) == level


def test_this_machine_runs_what_is_compiled_for_it() -> None:
    """LLVM knows the level by this name, and every feature that it implies is one that the machine has."""
    import llvmlite.binding as llvm

    triple, cpu = target_cpu()
    llvm.initialize_native_target()
    assert llvm.Target.from_triple(triple).create_target_machine(cpu=cpu).triple == triple
    known = llvm.get_host_cpu_features()
    if cpu == "x86-64-v3":
        assert all(known[name] for name in V3)
