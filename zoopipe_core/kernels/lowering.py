"""The compiled forms of `instructions`, in LLVM's terms. Imported where kernels are compiled, and nowhere else.

LLVM has vectors of any length: where a processor has shorter ones, several do it. A mask is made by reading 64 truth
values as one integer, which is ``vpmovmskb`` on x86-64. Functions of Python's C interface become calls of symbols that
are found in the process where the code is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from zoopipe_core.kernels import cpython, instructions
from zoopipe_core.kernels.cpython import Call

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


# ---- Python's C interface ----------------------------------------------------------------------------------------

_RESULTS = {"word": (types.int64, _MASK), "int": (types.int64, _WORD), "none": (types.void, ir.VoidType())}


def _called(wanted: Call) -> Callable[..., Any]:
    """A call of a function that the process has. An address is a word, to the processor as well."""
    result, returned = _RESULTS[wanted.result]
    parameters = [_MASK] * wanted.arguments
    if wanted.last_is_int:
        parameters[-1] = _WORD

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = builder.module.globals.get(wanted.symbol)
        if function is None:
            function = ir.Function(builder.module, ir.FunctionType(returned, parameters), wanted.symbol)
            function.attributes.add("nounwind")  # else each caller would need a table for unwinding
        words = list(arguments)
        if wanted.last_is_int:
            words[-1] = builder.trunc(words[-1], _WORD)
        given = builder.call(function, words)
        if returned is _WORD:
            return builder.sext(given, _MASK)
        return context.get_dummy_value() if wanted.result == "none" else given

    signature = result(*[types.int64] * wanted.arguments)
    by_count: dict[int, Callable[..., Any]] = {
        0: lambda typing_context: (signature, generate),
        1: lambda typing_context, a: (signature, generate),
        2: lambda typing_context, a, b: (signature, generate),
        3: lambda typing_context, a, b, c: (signature, generate),
    }
    return intrinsic(by_count[wanted.arguments])


def _loaded(kind: Any, align: int, offset: int = 0, signed: bool = True) -> Callable[..., Any]:
    """The number at an address, or behind it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(builder.add(arguments[0], _MASK(offset)), kind.as_pointer())
        value = builder.load(place, align=align)
        if kind is _MASK:
            return value
        return builder.sext(value, _MASK) if signed else builder.zext(value, _MASK)

    return intrinsic(lambda typing_context, address: (types.int64(types.int64), generate))


def _stored(kind: Any, align: int) -> Callable[..., Any]:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, value = arguments
        if kind is not _MASK:
            value = builder.trunc(value, kind)
        builder.store(value, builder.inttoptr(address, kind.as_pointer()), align=align)
        return context.get_dummy_value()

    return intrinsic(lambda typing_context, address, value: (types.void(types.int64, types.int64), generate))


def _generate_copy(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    target, source, size = arguments
    pointer = _BYTE.as_pointer()
    copy = builder.module.declare_intrinsic("llvm.memcpy", [pointer, pointer, _MASK])
    builder.call(copy, [builder.inttoptr(target, pointer), builder.inttoptr(source, pointer), size, ir.IntType(1)(0)])
    return context.get_dummy_value()


def _copy(typing_context: Any, target: Any, source: Any, size: Any) -> Any:
    return types.void(*[types.int64] * 3), _generate_copy


LOWERED: dict[Callable[..., Any], Callable[..., Any]] = {
    instructions.where_equal: _compared("=="),
    instructions.where_below: _compared("<"),
    instructions.lowest: intrinsic(_lowest),
    cpython.class_of: _loaded(_MASK, 8, cpython.CLASS_OFFSET),
    cpython.word_at: _loaded(_MASK, 8),
    cpython.int32_at: _loaded(_WORD, 4),
    cpython.byte_at: _loaded(_BYTE, 1, signed=False),
    cpython.set_int32: _stored(_WORD, 4),
    cpython.set_byte: _stored(_BYTE, 1),
    cpython.copy_bytes: intrinsic(_copy),
    **{function: _called(wanted) for function, wanted in cpython.CALLS.items()},
}
"""Function of `instructions` or `cpython` -> what Numba compiles in its place."""
