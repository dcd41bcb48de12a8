"""What a worker's Python has to hold, and how it gets what it lacks. Runs on the nodes of a cluster.

    <cache>/environments/<digest>/     distributions that were missing, installed with ``--target``
    <cache>/sources/<digest>/          the project's own modules
    <cache>/.../<digest>.lock          held by the one process that builds it

A folder is built aside and renamed, so that it is complete or absent. Nothing is installed into the worker's own
environment: that one may be shared, read-only, or in use by a process that has loaded another version already.

This module and `zoopipe_core.engines.node` reach workers that have no zoopipe yet: they are sent by value, and import
the standard library and `packaging` only, which both Ray and Dask depend on.
"""

from __future__ import annotations

import fcntl
import importlib.util
import io
import os
import shutil
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from packaging.specifiers import SpecifierSet

__all__ = ["Bundle", "Need", "Plain", "UnpreparedError", "describe", "lacking", "node_name", "prepare", "unmet"]

UNUSED_SECONDS = 30 * 86_400.0
"""Folders that no worker has asked for in so long are removed."""

INSTALL_SECONDS = 1_800.0
OUTPUT_CHARS = 1_500


class Need(NamedTuple):
    """A distribution that a worker has to have.

    Attributes:
        name: its canonical name.
        specifier: which versions will do, such as ``">=2,<3"``; empty: any.
        version: the one to install where none of these is there; None: whatever the installer finds, and what that
            one needs.
        url: where it comes from instead of the worker's index, as in ``name @ url``.
    """

    name: str
    specifier: str = ""
    version: str | None = None
    url: str | None = None

    def __str__(self) -> str:
        return f"{self.name}{self.specifier}"

    @property
    def requirement(self) -> str:
        """What the installer is asked for."""
        if self.url is not None:
            return f"{self.name} @ {self.url}"
        return f"{self.name}=={self.version}" if self.version else str(self)


Plain = tuple[Any, ...]
"""A `Bundle`, or needs, in types that any Python unpickles: not every serializer sends classes by value."""


class Bundle(NamedTuple):
    """What the workers of one driver have to have.

    Attributes:
        mode: "sync", "check" or "off".
        needs: distributions, with all that they need in turn.
        sources: a zip of the driver's own modules; empty: none.
        folder: the driver's current folder, where a worker looks for relative paths if it is there too.
    """

    mode: str = "off"
    needs: tuple[Need, ...] = ()
    sources: bytes = b""
    folder: str = ""

    def plain(self) -> Plain:
        """The same for `from_plain`."""
        return self.mode, tuple(map(tuple, self.needs)), self.sources, self.folder

    @classmethod
    def from_plain(cls, plain: Plain) -> Bundle:
        """The bundle that `plain` was called on."""
        mode, needs, sources, folder = plain
        return cls(mode, tuple(Need(*need) for need in needs), sources, folder)


class UnpreparedError(Exception):
    """A node cannot run the pipe; the message says what is missing, or what went wrong while installing it."""


def node_name() -> str:
    """How messages call this machine."""
    return socket.gethostname()


def unmet(needs: Iterable[Need]) -> list[Need]:
    """Those that this interpreter lacks, or has in a version that will not do."""
    return [need for need in needs if not _is_met(need)]


def lacking(needs: Plain) -> str:
    """What this interpreter lacks of needs that came as plain tuples, in words; empty if it has all."""
    return describe(unmet(Need(*need) for need in needs))


def prepare(bundle: Bundle) -> list[str]:
    """Make sure that this node has all of `bundle`; the folders that a worker's ``sys.path`` has to begin with.

    Raises:
        UnpreparedError: something is missing, and is not to be installed or cannot be.
    """
    if bundle.mode == "off":
        return []
    paths = []
    if bundle.sources:
        digest = sha256(bundle.sources).hexdigest()[:32]
        paths.append(_built("sources", digest, lambda folder: _unpack(bundle.sources, folder)))
    missing = unmet(bundle.needs)
    if missing and bundle.mode == "check":
        raise UnpreparedError(
            f"the worker on {node_name()} ({sys.executable}) lacks {describe(missing)}. Install this there, or let "
            "the engine do it: dependencies='sync'."
        )
    if missing:
        # Compiled code fits one version of Python on one platform; folders may be on a file system that several share.
        key = "\n".join([sysconfig.get_platform(), sys.version, *sorted(need.requirement for need in missing)])
        paths.append(_built("environments", sha256(key.encode()).hexdigest()[:32], lambda f: _install(missing, f)))
    return paths


def describe(missing: Iterable[Need]) -> str:
    """What is missing, and what is there instead: ``"polars>=1.20 (has 0.9), orjson"``."""
    return ", ".join(f"{need} (has {have})" if (have := _installed(need.name)) else str(need) for need in missing)


def _is_met(need: Need) -> bool:
    have = _installed(need.name)
    if have is None:
        return False
    if need.url is not None and need.version is not None:
        return have == need.version
    return SpecifierSet(need.specifier).contains(have, prereleases=True)


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


# ---- installing -------------------------------------------------------------------------------------------------


def _install(missing: list[Need], folder: Path) -> None:
    # What the driver has itself is complete: each of its needs is a need of its own. Others bring theirs along.
    known = [need for need in missing if need.version is not None]
    unknown = [need for need in missing if need.version is None]
    installer = _installer()
    for needs, options in ((unknown, []), (known, ["--no-deps"])):
        if needs:
            _run([*installer, "--target", str(folder), *options], needs)


def _installer() -> list[str]:
    """The worker's own manager: uv where there is one, else pip. Both read the worker's own settings."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        return [uv, "pip", "install", "--no-progress", "--python", sys.executable]
    if importlib.util.find_spec("pip") is None:
        raise UnpreparedError(
            f"the worker on {node_name()} ({sys.executable}) has neither uv nor pip, which could install what is "
            "missing; use an image that has all, and dependencies='check'"
        )
    return [sys.executable, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-warn-conflicts"]


def _run(command: list[str], needs: list[Need]) -> None:
    # In a file, since a URL may hold a token, and arguments of processes are seen by everybody.
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as listed:
        listed.write("".join(f"{need.requirement}\n" for need in needs))
        listed.flush()
        try:
            done = subprocess.run(
                [*command, "-r", listed.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnpreparedError(
                f"the worker on {node_name()} lacks {describe(needs)}, and {command[0]} could not install it within "
                f"{INSTALL_SECONDS:,.0f} s"
            ) from error
    if done.returncode:
        raise UnpreparedError(
            f"the worker on {node_name()} ({sys.executable}) lacks {describe(needs)}, and {command[0]} could not "
            f"install it (exit code {done.returncode}):\n{done.stdout.strip()[-OUTPUT_CHARS:]}"
        )


def _unpack(sources: bytes, folder: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(sources)) as archive:
        archive.extractall(folder)


# ---- folders ----------------------------------------------------------------------------------------------------


def _built(kind: str, digest: str, build: Callable[[Path], None]) -> str:
    """The path of a folder that `build` has filled, now or before, here or in another process."""
    home = _home(kind)
    folder = home / digest
    with _locked(home / f"{digest}.lock"):
        if not folder.is_dir():
            _remove_unused(home)
            part = home / f"{digest}.part"
            shutil.rmtree(part, ignore_errors=True)  # of a process that was killed while it was at it
            part.mkdir(mode=0o700)
            try:
                build(part)
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
        os.utime(folder)
    return str(folder)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for, and hold, a lock that ends with its holder."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_unused(home: Path) -> None:
    for folder in home.iterdir():
        if folder.is_dir() and folder.suffix != ".part" and folder.stat().st_mtime < time.time() - UNUSED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _home(kind: str) -> Path:
    """A folder for `kind` that only we can write: what lies there is run with our rights."""
    given = os.environ.get("ZOOPIPE_CACHE_DIR")
    cache = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zoopipe"
    candidates = [cache / kind, Path(tempfile.gettempdir()) / f"zoopipe-{os.getuid()}" / kind]
    for home in candidates:
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in (home.parent, home):
                found = folder.lstat()
                writable = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or writable:
                    break
            else:
                if os.access(home, os.W_OK):
                    return home
        except OSError:
            continue
    raise UnpreparedError(
        f"the worker on {node_name()} finds no folder of its own to put modules in; tried "
        f"{' and '.join(map(str, candidates))}. Set ZOOPIPE_CACHE_DIR there to one that only its user can write."
    )
