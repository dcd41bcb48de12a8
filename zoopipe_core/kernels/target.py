"""The processor that kernels are compiled for: a level that many machines share, not the one at hand.

Kernels that are compiled where a container image is built have to fit the machines that it runs on. So the code uses
what x86-64-v3 has (AVX2, BMI: every server since about 2015), or else less; on other processors, what all of them have.
"""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["level_of", "target_cpu"]

# Level -> what it adds to the level before, by LLVM's names, as far as LLVM tells whether the machine has it.
_LEVELS = (
    ("x86-64-v2", ("cx16", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3")),
    ("x86-64-v3", ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")),
)


def target_cpu() -> tuple[str, str]:
    """LLVM's triple of this system, and the name of the processor that its kernels are compiled for.

    >>> triple, processor = target_cpu()  # such as x86_64-unknown-linux-gnu, x86-64-v3
    """
    import llvmlite.binding as llvm

    triple = llvm.get_process_triple()
    return triple, level_of(triple, llvm.get_host_cpu_features())


def level_of(triple: str, features: Mapping[str, bool]) -> str:
    """The highest level whose features, and those of the levels below, are all there.

    >>> level_of("aarch64-unknown-linux-gnu", {})
    'generic'
    """
    if not triple.startswith("x86_64"):
        return "generic"
    level = "x86-64"
    for higher, added in _LEVELS:
        if not all(features.get(name, False) for name in added):
            break
        level = higher
    return level
