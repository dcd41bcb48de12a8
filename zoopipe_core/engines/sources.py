"""A project's own modules, for workers that have its packages but not its folders.

What is imported from a project's folder, and from packages that are installed in editable mode, is sent as files, so
that imports on the worker do what they do here, those inside functions too. Packages are sent whole, since what they
will import later is not known; of their files only code and small data, never hidden ones (``.git``, ``.env``,
``.venv``), virtual environments or caches.
"""

from __future__ import annotations

import io
import os
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from zoopipe_core.engines.modules import can_import, is_installed
from zoopipe_core.errors import EngineError

__all__ = ["LocalSources"]

MAX_FILE_BYTES = 1 << 20
"""Larger files are data that a pipe should read from where the workers can read it."""
MAX_TOTAL_BYTES = 64 << 20

_SKIPPED_FOLDERS = {"__pycache__", "node_modules"}
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    name: str
    modified: int
    size: int


class LocalSources:
    """The modules of this process that come from its own files; packed again whenever one of them has changed."""

    def __init__(self) -> None:
        self._roots: dict[str, Path] = {}
        self._files: list[_File] = []
        self._packed = b""

    def pack(self) -> bytes:
        """A zip to be put on `sys.path` after unpacking; empty if there is nothing. Equal files give equal bytes.

        Raises:
            EngineError: the files are too large to be sent.
        """
        self._roots = _roots()
        files = sorted(_files(self._roots), key=lambda file: file.name)
        if files != self._files:
            total = sum(file.size for file in files)
            if total > MAX_TOTAL_BYTES:
                largest = sorted({file.name.partition("/")[0] for file in files})
                raise EngineError(
                    f"the modules that this program has loaded from its own folders ({', '.join(largest)}) have "
                    f"{total >> 20:,} MB of files, more than the {MAX_TOTAL_BYTES >> 20} MB that are sent to workers; "
                    "install them as a package there, or pass dependencies='off'"
                )
            self._packed = _zip(files) if files else b""
            self._files = files
        return self._packed

    def holds(self, module: ModuleType) -> bool:
        """Whether a worker that has what was packed last, and what is installed here, imports `module` as we did."""
        return is_installed(module) or (module.__name__.partition(".")[0] in self._roots and can_import(module))


def _roots() -> dict[str, Path]:
    """Top-level name -> the folder or file that it is, of all modules that were loaded from files of our own."""
    # Most modules are of this kind; `is_installed` takes longer to say so.
    installed = tuple(
        os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")
    )
    roots: dict[str, Path] = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        name = getattr(module, "__name__", None)
        if not isinstance(file, str) or not isinstance(name, str) or not file.endswith(".py"):
            continue
        top = name.partition(".")[0]
        if top in roots or file.startswith(installed):
            continue
        root = _root(name, Path(file))
        if root is not None and can_import(module) and not is_installed(module):
            roots[top] = root
    return roots


def _root(name: str, file: Path) -> Path | None:
    """What stands for the first part of a module's name; None if its file does not lie where its name says."""
    parts = name.split(".")
    if file.name == "__init__.py":
        file = file.parent
    if list(file.with_suffix("").parts[-len(parts) :]) != parts:
        return None
    return file if len(parts) == 1 else file.parents[len(parts) - 2]


def _files(roots: dict[str, Path]) -> Iterator[_File]:
    for top, root in roots.items():
        if root.is_file():
            yield _file(root, root.name)
            continue
        for folder, folders, names in os.walk(root):
            here = Path(folder)
            folders[:] = [name for name in folders if _is_wanted(here / name)]
            for name in names:
                path = here / name
                if not name.startswith(".") and path.is_file() and path.stat().st_size <= MAX_FILE_BYTES:
                    yield _file(path, f"{top}/{path.relative_to(root).as_posix()}")


def _is_wanted(folder: Path) -> bool:
    name = folder.name
    return not name.startswith(".") and name not in _SKIPPED_FOLDERS and not (folder / "pyvenv.cfg").exists()


def _file(path: Path, name: str) -> _File:
    found = path.stat()
    return _File(path, name, found.st_mtime_ns, found.st_size)


def _zip(files: list[_File]) -> bytes:
    with io.BytesIO() as packed:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for file in files:
                archive.writestr(zipfile.ZipInfo(file.name, _EPOCH), file.path.read_bytes(), zipfile.ZIP_DEFLATED)
        return packed.getvalue()
