"""Python's C interface, for kernels that make and read Python objects: a call for each object, and no bytecode between.

kernel ── dict_get(row, key) ──▶ as Python, and where tests compare: the function here, by way of ctypes
                             └──▶ compiled: a call of ``PyDict_GetItemWithError``, which `lowering` has in its place

An object is known by its address, an int64; who calls a kernel keeps what he hands over alive. Only functions of the
stable interface are here, and one field that the stable interface has laid down: an object's class lies 8 bytes behind
its address. 0 stands for NULL: an exception is set (or, from `dict_get`, the key is not there); the kernel returns at
once, and the exception is raised where it was called. The kernel holds the GIL.

Sources: Python/C API reference manual, chapters "C API Stability", "Dictionary Objects", "List Objects", "Unicode
Objects", "Integer Objects", "Object Protocol".
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = [
    "CALLS",
    "CLASS_OFFSET",
    "byte_at",
    "call",
    "class_of",
    "copy_bytes",
    "decref",
    "dict_copy",
    "dict_get",
    "dict_merge",
    "dict_set",
    "dict_size",
    "error_clear",
    "error_set",
    "incref",
    "int32_at",
    "integer_new",
    "is_supported",
    "list_get",
    "list_new",
    "list_set",
    "list_size",
    "set_attribute",
    "set_byte",
    "set_int32",
    "text_bytes",
    "text_new",
    "word_at",
]

CLASS_OFFSET = 8


class Call(NamedTuple):
    """A function of the C interface.

    Attributes:
        symbol: its name.
        result: ``"word"`` (an address or a Py_ssize_t), ``"int"`` or ``"none"``.
        arguments: how many it takes, words all of them unless `last_is_int`.
    """

    symbol: str
    result: str
    arguments: int
    last_is_int: bool = False


CALLS: dict[Callable[..., Any], Call] = {}
"""Function of this module -> what it stands for."""

_RESULTS: dict[str, Any] = {"word": ctypes.c_ssize_t, "int": ctypes.c_int, "none": None}


def is_supported() -> bool:
    """Whether objects look the way kernels expect, which those of a Python that is built without the GIL do not."""
    return sys.implementation.name == "cpython" and "t" not in getattr(sys, "abiflags", "")


def _stands_for(symbol: str, result: str, arguments: int, *, last_is_int: bool = False) -> Callable[..., Any]:
    words: list[Any] = [ctypes.c_ssize_t] * arguments
    if last_is_int:
        words[-1] = ctypes.c_int

    def function(*given: int) -> Any:
        return ctypes.PYFUNCTYPE(_RESULTS[result], *words)((symbol, ctypes.pythonapi))(*given)

    function.__name__ = symbol
    CALLS[function] = Call(symbol, result, arguments, last_is_int)
    return function


integer_new = _stands_for("PyLong_FromLongLong", "word", 1)
"""(int64) -> new reference to an int."""
incref = _stands_for("Py_IncRef", "none", 1)
"""(object). One reference more."""
decref = _stands_for("Py_DecRef", "none", 1)
"""(object). One reference less."""
error_clear = _stands_for("PyErr_Clear", "none", 0)
"""(). Forget the exception that is set."""
call = _stands_for("PyObject_CallObject", "word", 2)
"""(callable, tuple or 0) -> new reference."""
set_attribute = _stands_for("PyObject_SetAttr", "int", 3)
"""(object, name, value) -> 0, or -1. Takes a reference of its own."""
error_set = _stands_for("PyErr_Occurred", "word", 0)
"""() -> borrowed reference to the class of the exception that is set, or 0."""
dict_copy = _stands_for("PyDict_Copy", "word", 1)
"""(dict) -> new reference, with room for as many keys."""
dict_get = _stands_for("PyDict_GetItemWithError", "word", 2)
"""(dict, key) -> borrowed reference, or 0."""
dict_merge = _stands_for("PyDict_Merge", "int", 3, last_is_int=True)
"""(dict, other dict, whether its values win) -> 0, or -1."""
dict_set = _stands_for("PyDict_SetItem", "int", 3)
"""(dict, key, value) -> 0, or -1. Takes references of its own."""
dict_size = _stands_for("PyDict_Size", "word", 1)
"""(dict) -> the number of its keys."""
list_get = _stands_for("PyList_GetItem", "word", 2)
"""(list, index) -> borrowed reference, or 0."""
list_new = _stands_for("PyList_New", "word", 1)
"""(length) -> new reference; each item is to be set before Python sees the list."""
list_set = _stands_for("PyList_SetItem", "int", 3)
"""(list, index, value) -> 0, or -1. Takes over the caller's reference."""
list_size = _stands_for("PyList_Size", "word", 1)
"""(list) -> its length."""
_utf8_of = _stands_for("PyUnicode_AsUTF8AndSize", "word", 2)
text_new = _stands_for("PyUnicode_DecodeUTF8", "word", 3)
"""(address of bytes, their number, 0) -> new reference to a str."""


def text_bytes(text: int, size: int) -> int:
    """(str, address of a Py_ssize_t for the size) -> address of its bytes as UTF-8, which live as long as it does.

    0 if it has none, and then an exception is set, to be cleared or left.
    """
    try:
        return int(_utf8_of(text, size))
    except UnicodeEncodeError:  # ctypes raises it at once
        return 0


CALLS[text_bytes] = CALLS.pop(_utf8_of)


def word_at(address: int) -> int:
    """The int64 at an address."""
    return ctypes.c_int64.from_address(address).value


def int32_at(address: int) -> int:
    """The int32 at an address."""
    return ctypes.c_int32.from_address(address).value


def byte_at(address: int) -> int:
    """The uint8 at an address."""
    return ctypes.c_uint8.from_address(address).value


def class_of(instance: int) -> int:
    """The class of an object, a borrowed reference."""
    return ctypes.c_int64.from_address(instance + CLASS_OFFSET).value


def set_int32(address: int, value: int) -> None:
    """Write an int32 to an address."""
    ctypes.c_int32.from_address(address).value = value


def set_byte(address: int, value: int) -> None:
    """Write a uint8 to an address."""
    ctypes.c_uint8.from_address(address).value = value


def copy_bytes(target: int, source: int, size: int) -> None:
    """Copy bytes from one address to another."""
    ctypes.memmove(target, source, size)
