"""A task as bytes, for another interpreter.

cloudpickle sends what is defined in ``__main__`` by value, and by reference whatever lives in a module of
`sys.modules`, whether or not the other side can import it. Here each module that is met on the way is looked at: what
the other side cannot import travels by value as well, with all that it uses.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import cloudpickle

from zoopipe_core.engines.base import WorkerTask
from zoopipe_core.engines.modules import can_import
from zoopipe_core.errors import EngineError, SpecError

__all__ = ["dump", "load"]

CanImport = Callable[[ModuleType], bool]

_PARTS = (
    "input_adapter", "output_adapter", "error_output_adapter", "schema_model",
    "pre_validation_hooks", "post_validation_hooks", "executor", "max_errors",
)  # fmt: skip
# How deep, and among how many parts of each thing, the one is looked for that cannot be sent.
_MAX_DEPTH = 6
_MAX_CHILDREN = 200
# What a module has by being imported; its loader may be anything, and is of no use to a copy.
_IMPORT_MACHINERY = {"__builtins__", "__cached__", "__loader__", "__spec__"}


def dump(task: WorkerTask, can_import: CanImport = can_import) -> bytes:
    """`task` as bytes for `load` in another interpreter of the same Python and with the same packages.

    Args:
        task: may use models and hooks of ``__main__``, of a notebook, and of modules that only this process has.
        can_import: whether the other interpreter imports a module as this one did; what is defined in other modules
            travels by value. By default as for a process of this machine that is given this one's `sys.path`;
            `zoopipe_core.engines.modules.is_installed` is the answer for another machine.

    Safe to be called by several threads. The bytes hold whatever secrets the adapters hold.

    Raises:
        SpecError: a part cannot be sent; the message names it, as in ``pre_validation_hooks[0].client``.
    """
    try:
        return _dumps(task, can_import)
    except Exception as error:
        path, reason = _locate(task, error, can_import)
        if isinstance(reason, SpecError):
            raise SpecError(f"{path}: {reason}") from error
        raise SpecError(
            f"{path} cannot be sent to another process: {type(reason).__name__}: {reason}\n"
            "  A connection, lock or open file is made where it is used: a hook's setup() runs in the worker."
        ) from error


def load(data: bytes) -> WorkerTask:
    """The task that `dump` was given. Only for bytes of one's own: unpickling runs code.

    Raises:
        EngineError: a module or name is missing here, or the bytes hold no task; the cause tells more.
    """
    try:
        task = pickle.loads(data)
    except Exception as error:
        raise EngineError(f"the worker cannot load its pipe: {type(error).__name__}: {error}") from error
    if not isinstance(task, WorkerTask):
        raise EngineError(f"the worker was sent a {type(task).__name__}, which is no task")
    return task


# ---- by value or by reference ---------------------------------------------------------------------------------------

# cloudpickle's registry of modules that travel by value belongs to the whole process.
_registry_lock = threading.RLock()


def _after_fork() -> None:
    global _registry_lock
    _registry_lock = threading.RLock()  # the thread that held it may not have come along


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it ships no types
    """Registers each module as it comes along, if the other side cannot import it; `undo` takes that back."""

    def __init__(self, file: io.BytesIO, can_import: CanImport) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._can_import = can_import
        self._verdicts: dict[str, bool] = {}
        self._registered: list[ModuleType] = []

    def reducer_override(self, obj: Any) -> Any:
        module = _module_of(obj)
        if module is not None and not self._is_importable(module) and obj is module:
            # Unlike cloudpickle's own way, this one stands a module whose functions use the module itself.
            state = {name: value for name, value in vars(module).items() if name not in _IMPORT_MACHINERY}
            return _new_module, (module.__name__,), state, None, None, _fill_module
        return super().reducer_override(obj)

    def _is_importable(self, module: ModuleType) -> bool:
        name = module.__name__
        if name not in self._verdicts:
            self._verdicts[name] = self._can_import(module)
            registered = cloudpickle.list_registry_pickle_by_value()
            if not self._verdicts[name] and name in sys.modules and name not in registered:
                cloudpickle.register_pickle_by_value(module)
                self._registered.append(module)
        return self._verdicts[name]

    def undo(self) -> None:
        """Leave cloudpickle's registry as it was."""
        for module in self._registered:
            cloudpickle.unregister_pickle_by_value(module)


def _module_of(obj: Any) -> ModuleType | None:
    """The module that decides how `obj` travels, if it is one or if such a thing is sent by name."""
    if isinstance(obj, ModuleType):
        return obj
    if isinstance(obj, type | FunctionType | TypeVar):
        name = getattr(obj, "__module__", None)
        return sys.modules.get(name) if isinstance(name, str) else None
    return None


def _new_module(name: str) -> ModuleType:
    return ModuleType(name)


def _fill_module(module: ModuleType, state: Mapping[str, Any]) -> None:
    vars(module).update(state)


def _dumps(value: Any, can_import: CanImport) -> bytes:
    with io.BytesIO() as file, _registry_lock:
        pickler = _Pickler(file, can_import)
        try:
            pickler.dump(value)
        finally:
            pickler.undo()
        return file.getvalue()


# ---- which part cannot be sent --------------------------------------------------------------------------------------


def _locate(task: WorkerTask, error: Exception, can_import: CanImport) -> tuple[str, Exception]:
    """The path of the innermost part found that cannot be sent, and its own error."""
    path, children = "the pipe", iter([(name, getattr(task.pipe, name)) for name in _PARTS])
    for _ in range(_MAX_DEPTH):
        for _, (name, child) in zip(range(_MAX_CHILDREN), children, strict=False):
            try:
                _dumps(child, can_import)
            except Exception as inner:  # noqa: BLE001  it is what is looked for
                path, error, children = name, inner, _children(name, child)
                if isinstance(inner, SpecError):
                    return path, error  # whoever raised it knows better what to do
                break
        else:
            break
    return path, error


def _children(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What is sent along with `value`, each with its path."""
    if isinstance(value, Mapping):
        yield from ((f"{path}[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"{path}[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, FunctionType):
        used = inspect.getclosurevars(value)
        yield from ((f"{path}: {name}", item) for name, item in {**used.nonlocals, **used.globals}.items())
    elif isinstance(value, type):
        functions = (item for item in vars(value).values() if isinstance(item, FunctionType))
        yield from ((f"{path}.{item.__name__}", item) for item in functions)
        yield from ((f"{path} (base class {base.__name__})", base) for base in value.__bases__ if base is not object)
    elif not isinstance(value, ModuleType):
        if dataclasses.is_dataclass(value):
            yield from ((f"{path}.{item.name}", getattr(value, item.name)) for item in dataclasses.fields(value))
        else:
            yield from ((f"{path}.{name}", item) for name, item in getattr(value, "__dict__", {}).items())
        yield path, type(value)
