"""Kernels in both their ways: as plain Python and compiled."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np
import pytest

from zoopipe_core.kernels._jit import DEVICES, KERNELS, Kernel

RunKernel = Callable[..., None]
"""``run_kernel(kernel, *arrays)``: run it in the mode of the test."""


@cache
def _compiled(name: str) -> Callable[..., None]:
    import numba

    from zoopipe_core.kernels.lowering import LOWERED

    kernel = KERNELS[name]

    def type_of(dtype: str, writable: bool | None) -> Any:
        scalar = getattr(numba.types, dtype)
        return scalar if writable is None else numba.types.Array(scalar, 1, "C", readonly=not writable)

    options = {"nogil": True, "error_model": "numpy"}
    dispatchers = {function: numba.njit(function, forceinline=True, **options) for function in DEVICES} | LOWERED
    homes = [
        (vars(module), key, value)
        for home, module in list(sys.modules.items())
        if home.startswith("zoopipe_core.kernels.")
        for key, value in vars(module).items()
        if isinstance(value, FunctionType) and value in dispatchers
    ]
    try:
        for names, key, value in homes:
            names[key] = dispatchers[value]
        signature = tuple(type_of(*parameter) for parameter in kernel.signature)
        compiled: Callable[..., None] = numba.njit(signature, **options)(kernel.function)
    finally:
        for names, key, value in homes:  # or plain Python would call compiled functions
            names[key] = value
    return compiled


def _run_compiled(kernel: Kernel, *arrays: Any) -> None:
    frozen = [
        _read_only(array) if parameter[1] is False else array
        for array, parameter in zip(arrays, kernel.signature, strict=True)
    ]
    _compiled(kernel.name)(*frozen)


def _read_only(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    view = array.view()
    view.flags.writeable = False
    return view


def _run_python(kernel: Kernel, *arrays: Any) -> None:
    kernel.function(*arrays)


@pytest.fixture(scope="session", params=["python", "compiled"])
def run_kernel(request: pytest.FixtureRequest) -> RunKernel:
    """Run a kernel as Python, then compiled: ``run_kernel(kernel, *arrays)``."""
    return _run_python if request.param == "python" else _run_compiled


@pytest.fixture(scope="session")
def run_compiled() -> RunKernel:
    """Run a kernel compiled, in tests with too many cells for Python."""
    return _run_compiled


Column = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def byte_column(cells: Sequence[bytes]) -> Column:
    """`data`, `starts`, `ends` of cells, laid out as an Arrow column."""
    data = np.frombuffer(b"".join(cells), np.uint8)
    offsets = np.zeros(len(cells) + 1, np.int32)
    np.cumsum([len(cell) for cell in cells], out=offsets[1:])
    return data, offsets[:-1].copy(), offsets[1:].copy()
