"""The processor that kernels are compiled for: a level that many machines share, not the one at hand.

Kernels that are compiled where a container image is built have to fit the machines that it runs on. So the code uses
what x86-64-v3 has (AVX2, BMI: every server since about 2015), or else less; on other processors, what all of them have.

Linux tells what the processor has, so that a load with compiled kernels need not import LLVM to ask it.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

__all__ = ["level_of", "target_cpu"]

# Level -> what it adds to the level before, as LLVM and as Linux call it; as far as both tell whether it is there.
_LEVELS = (
    (
        "x86-64-v2",
        {
            "cx16": "cx16", "popcnt": "popcnt", "sahf": "lahf_lm", "sse3": "pni", "sse4.1": "sse4_1",
            "sse4.2": "sse4_2", "ssse3": "ssse3",
        },
    ),
    (
        "x86-64-v3",
        {
            "avx": "avx", "avx2": "avx2", "bmi": "bmi1", "bmi2": "bmi2", "f16c": "f16c", "fma": "fma",
            "lzcnt": "abm", "movbe": "movbe", "xsave": "xsave",
        },
    ),
)  # fmt: skip
_CPU_INFO = Path("/proc/cpuinfo")


def target_cpu() -> str:
    """LLVM's name of the processor that kernels are compiled for.

    >>> target_cpu() in ("generic", "x86-64", "x86-64-v2", "x86-64-v3")
    True

    Raises:
        ImportError: only LLVM could tell, and it is not installed.
    """
    machine = os.uname().machine
    return "generic" if machine not in ("x86_64", "amd64") else level_of(_flags() or _features())


def level_of(features: Collection[str]) -> str:
    """The highest level of x86-64 whose features, and those of the levels below, are all there.

    >>> level_of({"cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3", "avx"})
    'x86-64-v2'

    Args:
        features: by LLVM's names.
    """
    level = "x86-64"
    for higher, added in _LEVELS:
        if not all(name in features for name in added):
            break
        level = higher
    return level


def _flags() -> set[str]:
    """What Linux says that the first processor has; nothing if nobody says so."""
    try:
        lines = _CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    told = next((line for line in lines if line.startswith("flags")), "").partition(":")[2].split()
    return {name for _, added in _LEVELS for name, flag in added.items() if flag in told}


def _features() -> set[str]:
    import llvmlite.binding as llvm

    return {name for name, there in llvm.get_host_cpu_features().items() if there}
