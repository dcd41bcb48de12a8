"""The compiled forms of `instructions`, in LLVM's terms. Imported where kernels are compiled, and nowhere else.

LLVM has vectors of any length: where a processor has shorter ones, several do it. A mask is made by reading 64 truth
values as one integer, which is ``vpmovmskb`` on x86-64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from zoopipe_core.kernels import instructions

__all__ = ["LOWERED"]

_BYTE, _WORD, _MASK = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_WINDOW = ir.VectorType(_BYTE, instructions.WINDOW)
_FIRST_OF_ALL = ir.Constant(ir.VectorType(_WORD, instructions.WINDOW), None)
_UNDEFINED = ir.Constant(_WINDOW, ir.Undefined)


def _compared(relation: str) -> Callable[..., Any]:
    """A mask of the bytes of a window that are in `relation` to a byte."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data, at, byte = arguments
        array = context.make_array(signature.args[0])(context, builder, data)
        place = builder.bitcast(builder.gep(array.data, [at]), _WINDOW.as_pointer())
        window = builder.load(place, align=1)
        single = builder.insert_element(_UNDEFINED, builder.trunc(byte, _BYTE), _WORD(0))
        everywhere = builder.shuffle_vector(single, _UNDEFINED, _FIRST_OF_ALL)
        return builder.bitcast(builder.icmp_unsigned(relation, window, everywhere), _MASK)

    def typed(typing_context: Any, data: Any, at: Any, byte: Any) -> Any:
        return types.uint64(data, types.int64, types.int64), generate

    return intrinsic(typed)


def _generate_lowest(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    return builder.cttz(arguments[0], ir.IntType(1)(1))


def _lowest(typing_context: Any, mask: Any) -> Any:
    return types.int64(types.uint64), _generate_lowest


LOWERED: dict[Callable[..., Any], Callable[..., Any]] = {
    instructions.where_equal: _compared("=="),
    instructions.where_below: _compared("<"),
    instructions.lowest: intrinsic(_lowest),
}
"""Function of `instructions` -> what Numba compiles in its place."""
