"""The decorators, and the table of all kernels: how they are written, not how they are compiled.

A kernel is a plain Python function over arrays with a declared signature. Importing this module, or one with kernels
in it, loads no Numba: `native` compiles kernels (with Numba, elsewhere or here) and loads what was compiled. Called
as it stands, a kernel runs as Python, which is what ``NUMBA_DISABLE_JIT=1`` stands for and what tests compare with.

Rules for kernels, so that both ways give the same: read sizes by ``len``; make integers of bytes (``int(data[i])``)
before doing arithmetic; allocate nothing; raise nothing; write only to output arrays. Kernels over Python objects have
rules of their own (`objects`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = [
    "BYTES",
    "DEVICES",
    "DICT",
    "FLOAT64",
    "FLOAT64_SCALAR",
    "FLOAT64_VALUES",
    "INT32",
    "INT64",
    "INT64_SCALAR",
    "INT64_VALUES",
    "KERNELS",
    "LIST",
    "OBJECT",
    "OBJECTS",
    "OFFSETS",
    "SURE",
    "UINT8",
    "UINT8_VALUES",
    "UINT32",
    "UINT32_TABLE",
    "UINT64_TABLE",
    "UNSURE",
    "device",
    "kernel",
]

F = TypeVar("F", bound=Callable[..., Any])

SURE = 0
"""State of a cell that is accepted."""
UNSURE = 1
"""State of a cell that pydantic decides; whatever its place in the output holds means nothing."""

# Parameter types: (dtype, may be written to). One-dimensional, contiguous arrays unless the name says scalar.
BYTES = ("uint8", False)
"""uint8 (m,), read only: the bytes of a column, or a table."""
OFFSETS = ("int32", False)
"""int32 (n,), read only: where cells start or end in `BYTES`."""
UINT8 = ("uint8", True)
INT32 = ("int32", True)
INT64 = ("int64", True)
UINT32 = ("uint32", True)
UINT32_TABLE = ("uint32", False)
UINT64_TABLE = ("uint64", False)
FLOAT64 = ("float64", True)
UINT8_VALUES = ("uint8", False)
INT64_VALUES = ("int64", False)
FLOAT64_VALUES = ("float64", False)
"""Read only, as the columns of typed sources are."""
INT64_SCALAR = ("int64", None)
FLOAT64_SCALAR = ("float64", None)
OBJECT = ("object", None)
"""Any Python object, which the function gets as its address; only for kernels over objects."""
LIST = ("list", None)
DICT = ("dict", None)
"""Objects of just this class, which functions of the C interface take for granted."""
OBJECTS = {OBJECT, LIST, DICT}

Parameter = tuple[str, bool | None]


@dataclass(slots=True)
class Kernel:
    """A function over columns, with its signature.

    Attributes:
        function: the Python function.
        signature: one `Parameter` for each argument.
        over_objects: it makes or reads Python objects, by `cpython`, takes scalars and objects and gives an int64. It
            holds the GIL; the others run beside Python.
        native: the compiled function, once `native` has loaded it.
    """

    function: Callable[..., int | None]
    signature: tuple[Parameter, ...]
    over_objects: bool = False
    name: str = field(init=False)
    native: Callable[..., int | None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.function.__module__.rpartition('.')[2]}.{self.function.__name__}"

    def __call__(self, *arguments: Any) -> Any:
        """Run it: compiled if it was loaded, else as Python, on the same arrays or objects."""
        if self.native is not None:
            return self.native(*arguments)
        if self.over_objects:
            kinds = zip(arguments, self.signature, strict=True)
            arguments = tuple(id(given) if parameter in OBJECTS else given for given, parameter in kinds)
        return self.function(*arguments)


KERNELS: dict[str, Kernel] = {}
"""Name (``module.function``) -> kernel, of all modules imported so far."""

DEVICES: list[Callable[..., Any]] = []
"""Functions that kernels call for each cell; compiled into them."""


def kernel(*signature: Parameter, over_objects: bool = False) -> Callable[[Callable[..., int | None]], Kernel]:
    """Declare a kernel.

    >>> @kernel(INT64, INT64)
    ... def double(values, out):
    ...     for i in range(len(values)):
    ...         out[i] = values[i] * 2
    """

    def declare(function: Callable[..., int | None]) -> Kernel:
        declared = Kernel(function, signature, over_objects)
        KERNELS[declared.name] = declared
        return declared

    return declare


def device(function: F) -> F:
    """Declare a function that kernels call: scalars and arrays in, scalars (or a tuple of them) out."""
    DEVICES.append(function)
    return function
