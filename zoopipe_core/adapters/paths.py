"""Naming and finding files: local paths, globs, fsspec URLs, and lists of them.

    expand_paths("in/*.csv.gz")  ->  ["in/a.csv.gz", "in/b.csv.gz"]

Local paths are handled by the operating system, URLs such as ``s3://`` by fsspec.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoopipe_core.errors import SourceNotFoundError, SourceReadError, SpecError
from zoopipe_core.registry import COMPRESSIONS

__all__ = [
    "PathLike",
    "Paths",
    "describe_paths",
    "expand_paths",
    "file_size",
    "filesystem_of",
    "infer_compression",
    "is_url",
    "normalize_paths",
    "strip_credentials",
]

PathLike = str | os.PathLike[str]
Paths = PathLike | Sequence[PathLike]

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*://")
_WILDCARDS = re.compile(r"[*?\[]")


def normalize_paths(paths: Paths) -> str | tuple[str, ...]:
    """What an adapter keeps: one string, or a tuple of them.

    Raises:
        SpecError: there is none, or one is no path.
    """
    if isinstance(paths, str | os.PathLike):
        path = os.fspath(paths)
        if not isinstance(path, str) or not path:
            raise SpecError(f"a path has to be a non-empty text, not {path!r}")
        return path
    if isinstance(paths, Sequence) and paths and all(isinstance(path, str | os.PathLike) for path in paths):
        return tuple(os.fspath(path) for path in paths)
    raise SpecError(f"a path, a glob or a non-empty list of them is wanted, not {paths!r}")


def describe_paths(paths: str | tuple[str, ...]) -> str:
    """A short label: the path itself, or the first one and how many more."""
    if isinstance(paths, str):
        return strip_credentials(paths)
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return strip_credentials(paths[0]) + more


def strip_credentials(url: str) -> str:
    """A URL without user, password and query (signed URLs carry secrets there); a plain path as it is."""
    if not is_url(url):
        return url
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.\-]*://)[^/@]*@", r"\1", url.partition("?")[0])


def is_url(path: str) -> bool:
    """Whether fsspec has to handle the path."""
    return bool(_URL.match(path))


def expand_paths(paths: str | tuple[str, ...]) -> list[str]:
    """Every file that `paths` names, globs sorted by name, a literal name before a pattern.

    Raises:
        SourceNotFoundError: a path does not exist or a pattern matches nothing.
        SourceReadError: a path is a folder.
    """
    found: list[str] = []
    for path in (paths,) if isinstance(paths, str) else paths:
        found.extend(_expand_url(path) if is_url(path) else _expand_local(path))
    return found


def _expand_local(path: str) -> list[str]:
    path = os.path.expanduser(path)
    if os.path.exists(path):
        if os.path.isdir(path):
            raise SourceReadError(f"{path} is a folder: name its files with a pattern, as in {path.rstrip('/')}/*.csv")
        return [path]
    where = f"looked in {Path(path).parent.absolute()}"
    if not _WILDCARDS.search(path):
        raise SourceNotFoundError(f"there is no file {path} ({where}){_near_names(path)}")
    matches = sorted(match for match in glob.glob(path, recursive=True) if os.path.isfile(match))
    if not matches:
        raise SourceNotFoundError(f"no file matches {path} (from {Path.cwd()})")
    return matches


def _near_names(path: str) -> str:
    from difflib import get_close_matches

    parent = Path(path).parent
    try:
        names = os.listdir(parent)
    except OSError:
        return f"; the folder {parent} cannot be listed"
    close = get_close_matches(Path(path).name, names, n=1)
    return f"; did you mean {parent / close[0]}?" if close else ""


def _expand_url(url: str) -> list[str]:
    filesystem, path = filesystem_of(url)
    if not _WILDCARDS.search(path):
        return [url]
    matches = sorted(str(filesystem.unstrip_protocol(match)) for match in filesystem.glob(path))
    if not matches:
        raise SourceNotFoundError(f"no object matches {strip_credentials(url)}")
    return matches


def filesystem_of(url: str) -> tuple[Any, str]:
    """The fsspec file system that handles `url`, and the path within it.

    Raises:
        SpecError: the scheme is unknown, or the package that handles it is not installed.
    """
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SpecError(f"{strip_credentials(url)} cannot be opened by fsspec: {error}") from error
    return filesystem, path


def infer_compression(path: str) -> str | None:
    """The compression that the suffix stands for; None for none."""
    return COMPRESSIONS.get(os.path.splitext(path)[1].lower())


def file_size(path: str) -> int | None:
    """Bytes of a regular local file; None for anything else."""
    if is_url(path):
        return None
    try:
        status = os.stat(os.path.expanduser(path))
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
