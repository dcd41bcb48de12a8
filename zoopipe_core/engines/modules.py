"""Which modules another interpreter can import: what is defined in the others has to travel by value.

A DAG file lives under a name that only the process that parsed it knows (``unusual_prefix_<hash>_<stem>``), a flow may
be loaded from a path, a notebook has no file at all. Being in `sys.modules` here says nothing about there.
"""

from __future__ import annotations

import importlib.machinery
import os
import site
import sys
import sysconfig
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

__all__ = ["can_import", "is_installed", "is_of_installation"]


def can_import(module: ModuleType) -> bool:
    """Whether a fresh interpreter of this installation, given this process's `sys.path`, imports the same module.

    The same means from the same file: another module of that name, found first on the path, is not it. Of two copies
    of an installed package each will do: Ray puts one of psutil on the path in front of that which may be loaded here.
    """
    name = module.__name__
    if name in ("__main__", "__mp_main__"):
        return False
    spec = _find(name)
    if spec is None:
        return False
    file = getattr(module, "__file__", None)
    if file is None or not spec.has_location:
        # Built in, frozen, or a namespace package, of which there is one for each name.
        return not spec.has_location
    if spec.origin is None:
        return False
    both_installed = is_of_installation(spec.origin) and is_of_installation(file)
    return spec.origin == file or _same_file(spec.origin, file) or both_installed


def is_installed(module: ModuleType) -> bool:
    """Whether the module belongs to Python or to an installed package, rather than to a project's own files.

    For workers on other machines: they have the packages that a project asks for, but not its folder.
    """
    name = module.__name__
    if name in ("__main__", "__mp_main__"):
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return can_import(module) and not hasattr(module, "__path__")
    return can_import(module) and is_of_installation(file)


def is_of_installation(file: str) -> bool:
    """Whether a file lies where Python and installed packages do."""
    return os.path.realpath(file).startswith(_installation_folders())


def _find(name: str) -> importlib.machinery.ModuleSpec | None:
    """Where a fresh interpreter finds a module of this name."""
    path: Sequence[str] | None = None
    spec: importlib.machinery.ModuleSpec | None = None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        if end > 1:
            if spec is None or spec.submodule_search_locations is None:
                return None
            path = list(spec.submodule_search_locations)
        spec = _find_below(".".join(parts[:end]), path)
    return spec


def _find_below(name: str, path: Sequence[str] | None) -> importlib.machinery.ModuleSpec | None:
    finders: list[Any] = [
        importlib.machinery.BuiltinImporter,
        importlib.machinery.FrozenImporter,
        importlib.machinery.PathFinder,
        *filter(_is_editable, sys.meta_path),
    ]
    for finder in finders:
        spec: importlib.machinery.ModuleSpec | None = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None


def _is_editable(finder: Any) -> bool:
    """Whether a fresh interpreter has this finder too: build tools install one for each editable package.

    All of them (setuptools, scikit-build-core, meson-python, ...) say so in its module's name. Any other finder was put
    there by code that ran in this process.
    """
    owner = finder if isinstance(finder, type) else type(finder)
    return "editable" in owner.__module__


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.abspath(one) == os.path.abspath(other)


@cache
def _installation_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_path(name) for name in names] + site.getsitepackages() + [site.getusersitepackages()]
    return tuple(os.path.join(os.path.realpath(folder), "") for folder in folders)
