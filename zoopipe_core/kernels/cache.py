"""Where compiled kernels are kept, and who is trusted with them: the code in these files runs with our rights.

    kernels-<fingerprint>.bin      magic, SHA-256 of the rest, a line of JSON, object code
    kernels-<fingerprint>.failed   why compiling failed; keeps every load from trying again for a day
    compiling.lock                 held by the one process that compiles

A fingerprint is a hash of everything that the code depends on; other versions get files of their own. A file is
written aside and renamed, so that readers see all of it or nothing. It is read only if it is a regular file that
nobody could have written but we, root, or in the folder of the installation its owner, who could as well change
our source.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from zoopipe_core.errors import KernelError
from zoopipe_core.kernels.target import target_cpu

__all__ = [
    "Compiled",
    "compile_lock",
    "failure",
    "find",
    "fingerprint",
    "folder_for_writing",
    "note_failure",
    "publish",
    "read",
    "readable_folders",
    "store",
    "system_folder",
]

logger = logging.getLogger(__name__)

MAGIC = b"ZPK2"
_DIGEST_SIZE = 32
_NAME = re.compile(r"kernels-[0-9a-f]{32}\.(bin|failed)|kernels-\w+\.part")
_DAY = 86_400.0
UNUSED_DAYS = 30
"""After so many days without use, the kernels of another version are removed."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """All kernels as machine code.

    Attributes:
        symbols: kernel's name -> its symbol in the object code.
        code: the object file.
        path: where it was read from.
    """

    symbols: dict[str, str]
    code: bytes
    path: Path


def fingerprint() -> str:
    """A hash of the kernels' sources, of Python, Numba and LLVM, and of the target processor; 32 hex digits.

    Raises:
        KernelError: there is no Numba, or the sources are not at hand.
    """
    digest = hashlib.sha256(MAGIC)
    sources = sorted(Path(__file__).parent.glob("*.py"))
    if not sources:
        raise KernelError("the sources of kernels are not at hand (a zipped or bytecode-only installation)")
    for path in sources:
        digest.update(f"{path.name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    try:
        versions = [f"{package} {metadata.version(package)}" for package in ("llvmlite", "numba")]
        target = [sys.platform, os.uname().machine, target_cpu()]
    except ImportError as error:  # PackageNotFoundError is one
        raise KernelError(f"compiled kernels need Numba: {error}") from error
    python = f"{sys.implementation.cache_tag} {sys.version_info}"
    digest.update("\0".join([*versions, *target, python]).encode())
    return digest.hexdigest()[:32]


# ---- folders ------------------------------------------------------------------------------------------------------


def system_folder() -> Path:
    """What all users of this Python installation share; `warmup --system` fills it."""
    return Path(sys.prefix) / "share" / "zoopipe"


def readable_folders() -> list[Path]:
    """Where compiled kernels are looked for, in this order: the user's folder or folders, the installation's."""
    return [*_user_folders(), system_folder()]


def folder_for_writing() -> Path:
    """The first of the user's folders that can be written to; made if it is not there.

    That is ``ZOOPIPE_CACHE_DIR`` if it is set; else ``zoopipe`` in the user's cache folder, or, where there is none,
    a private one for temporary files.

    Raises:
        KernelError: none of them can be; the message says why.
    """
    reasons = []
    for folder in _user_folders():
        reason = _unfit(folder)
        if reason is None:
            return folder
        reasons.append(f"{folder}: {reason}")
    raise KernelError(
        "compiled kernels cannot be kept: "
        + "; ".join(reasons or ["there is no folder for it"])
        + ". Set ZOOPIPE_CACHE_DIR to a folder that you can write to."
    )


def _user_folders() -> list[Path]:
    named = os.environ.get("ZOOPIPE_CACHE_DIR")
    if named:
        return [Path(named).expanduser().absolute()]
    folders = []
    base = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(base):
        folders.append(Path(base) / "zoopipe")
    else:
        with suppress(RuntimeError):  # a user without a home, as in many containers
            folders.append(Path.home() / ".cache" / "zoopipe")
    with suppress(FileNotFoundError):  # no temporary folder can be written to
        folders.append(_temporary_folder())
    return folders


def _temporary_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"zoopipe-{os.geteuid()}"


def _unfit(folder: Path) -> str | None:
    """Why files cannot be kept in `folder`, which is made if need be; None if they can."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # In a folder that others may write to, someone else may have made one of this name.
        status = folder.lstat() if folder == _temporary_folder() else folder.stat()
    except OSError as error:
        return error.strerror or str(error)
    if not stat.S_ISDIR(status.st_mode):
        return "not a folder"
    if folder == _temporary_folder() and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
        return "not a private folder of yours"
    return None if os.access(folder, os.W_OK | os.X_OK) else "not writable"


# ---- files --------------------------------------------------------------------------------------------------------


def find(mark: str) -> Compiled | None:
    """The compiled kernels of fingerprint `mark`, from the first folder that has them whole and trusted."""
    for folder in readable_folders():
        found = read(folder / f"kernels-{mark}.bin", mark)
        if found is not None:
            return found
    return None


def read(path: Path, mark: str) -> Compiled | None:
    """The compiled kernels in `path`; None if they are not there, damaged, of another version, or not to be trusted."""
    data = _read_trusted(path)
    if data is None:
        return None
    start = len(MAGIC) + _DIGEST_SIZE
    if data[: len(MAGIC)] != MAGIC or hashlib.sha256(data[start:]).digest() != data[len(MAGIC) : start]:
        logger.warning("the compiled kernels in %s are damaged and were not loaded", path)
        return None
    line, _, code = data[start:].partition(b"\n")
    head = json.loads(line)
    if head["fingerprint"] != mark:
        logger.warning("the compiled kernels in %s are those of another version and were not loaded", path)
        return None
    return Compiled(head["symbols"], code, path)


def store(folder: Path, mark: str, symbols: dict[str, str], code: bytes, *, shared: bool = False) -> Path:
    """Write a file aside, in `folder`, with all that `read` wants; other users may read it if it is `shared`.

    Returns:
        The file; `publish` gives it its name.

    Raises:
        OSError: it cannot be written.
    """
    head = json.dumps({"fingerprint": mark, "symbols": symbols}).encode() + b"\n"
    digest = hashlib.sha256(head)
    digest.update(code)
    descriptor, name = tempfile.mkstemp(dir=folder, prefix="kernels-", suffix=".part")  # mode 0600
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC + digest.digest() + head + code)
            if shared:
                os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return part


def publish(part: Path, mark: str) -> Path:
    """Give the file `part` its name, and remove what nobody needs any more."""
    path = part.with_name(f"kernels-{mark}.bin")
    os.replace(part, path)
    path.with_suffix(".failed").unlink(missing_ok=True)
    _remove_unused(path.parent)
    return path


def _read_trusted(path: Path) -> bytes | None:
    try:
        # Neither follows a link that someone left there nor waits for the other end of a pipe.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None
    except OSError as error:
        logger.warning("compiled kernels were not loaded: %s", error)
        return None
    try:
        status = os.fstat(descriptor)
        if not _is_trusted(path, status):
            logger.warning("compiled kernels in %s are not ours alone to write and were not loaded", path)
            return None
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read()
    except OSError as error:
        logger.warning("compiled kernels in %s cannot be read: %s", path, error)
        return None
    finally:
        os.close(descriptor)
    if time.time() - status.st_mtime > _DAY:
        with suppress(OSError):  # somebody else's, or on a read-only disk: then nobody removes it either
            os.utime(path)
    return data


def _is_trusted(path: Path, status: os.stat_result) -> bool:
    owners = {os.geteuid(), 0}
    if path.parent == system_folder():
        owners.add(os.stat(__file__).st_uid)
    return (
        stat.S_ISREG(status.st_mode) and status.st_uid in owners and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _remove_unused(folder: Path) -> None:
    """Remove the files of other versions that were not used for long, and parts that were left behind."""
    now = time.time()
    for path in folder.iterdir():
        if not _NAME.fullmatch(path.name):
            continue
        try:
            age = now - path.lstat().st_mtime
            if age > (_DAY if path.suffix == ".part" else UNUSED_DAYS * _DAY):
                path.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        except PermissionError as error:
            logger.info("an old file of compiled kernels stays: %s", error)


# ---- one compiler at a time, and none in vain ---------------------------------------------------------------------


@contextmanager
def compile_lock(folder: Path) -> Iterator[int]:
    """Wait until no other process compiles for `folder`; yields a descriptor that is the lock.

    A child that inherits the descriptor holds the lock, too, and the kernel takes it from the dead.

    Raises:
        KernelError: the lock cannot be made.
    """
    import fcntl

    try:
        descriptor = os.open(folder / "compiling.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KernelError(f"compiled kernels cannot be kept in {folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems: then two may compile the same, which only costs time
            logger.info("%s cannot be locked: %s", folder, error)
        yield descriptor
    finally:
        os.close(descriptor)


def note_failure(folder: Path, mark: str, reason: str) -> None:
    """Keep why compiling failed.

    Raises:
        OSError: it cannot be written.
    """
    descriptor, part = tempfile.mkstemp(dir=folder, prefix="kernels-", suffix=".part")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(reason)
    os.replace(part, folder / f"kernels-{mark}.failed")


def failure(folder: Path, mark: str) -> str | None:
    """Why compiling failed within the last day; None if it did not."""
    path = folder / f"kernels-{mark}.failed"
    try:
        if time.time() - path.lstat().st_mtime > _DAY:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # there is none, or none for us: then compiling is worth a try
        return None
