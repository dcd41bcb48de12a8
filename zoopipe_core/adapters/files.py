"""Files for every format: finding inputs, reading them decompressed, writing outputs that appear at once.

    expand_paths("in/*.csv.gz")  ->  ["in/a.csv.gz", "in/b.csv.gz"]
    ByteSource(path)             ->  read(n): decompressed bytes, capped; position in the raw file
    AtomicFile(path)             ->  write(data)*, prepare(), publish() | abort()

Local paths are handled by the operating system, URLs such as ``s3://`` by fsspec.
"""

from __future__ import annotations

import glob
import io
import os
import re
import secrets
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from zoopipe_core.errors import (
    CorruptSourceError,
    DecompressionLimitError,
    SourceNotFoundError,
    SourceReadError,
    SpecError,
    TargetWriteError,
)
from zoopipe_core.registry import COMPRESSIONS

__all__ = ["AtomicFile", "ByteSource", "DecompressionLimits", "PathLike", "Paths", "expand_paths", "normalize_paths"]

PathLike = str | os.PathLike[str]
Paths = PathLike | Sequence[PathLike]

# A ratio says nothing about a small file: a few MB of one repeated line are no bomb.
RATIO_GRACE_BYTES = 64 * 2**20
PRIVATE_FILE = 0o600
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.\-]*://")
_WILDCARDS = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class DecompressionLimits:
    """Caps against decompression bombs.

    Attributes:
        max_bytes: decompressed bytes of one file; default 1 TiB.
        max_ratio: decompressed over compressed bytes, looked at once a file has grown past 64 MiB; default 300
            (text rarely passes 50, gzip cannot pass 1032).
    """

    max_bytes: int = 2**40
    max_ratio: float = 300.0


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
    filesystem, path = _filesystem(url)
    if not _WILDCARDS.search(path):
        return [url]
    matches = sorted(str(filesystem.unstrip_protocol(match)) for match in filesystem.glob(path))
    if not matches:
        raise SourceNotFoundError(f"no object matches {strip_credentials(url)}")
    return matches


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise SpecError(f"{strip_credentials(url)} cannot be opened by fsspec: {error}") from error
    return filesystem, path


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turn what the system says while `path` is read into errors that name it."""
    try:
        yield
    except FileNotFoundError as error:
        raise SourceNotFoundError(f"there is no file {strip_credentials(path)}") from error
    except (SourceReadError, CorruptSourceError):
        raise
    except OSError as error:
        if error.errno is None:
            # pyarrow's codecs report damage as an OSError without a number.
            raise CorruptSourceError(f"{strip_credentials(path)} is damaged: {error}") from error
        raise SourceReadError(f"{strip_credentials(path)} cannot be read: {error.strerror or error}") from error


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class _CountedFile(io.RawIOBase):
    """A raw file that knows how many bytes were taken from it."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data: bytes = self._file.read(size)
        self.taken += len(data)
        return data

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def close(self) -> None:
        self._file.close()
        super().close()


class ByteSource:
    """The decompressed bytes of one file, read once from front to back.

    Args:
        path: a local path or an fsspec URL.
        compression: ``"infer"`` (from the suffix), ``"gzip"``, ``"bz2"``, ``"zstd"``, ``"zip"`` or None.
        limits: caps on what decompression may produce.

    Attributes:
        size: bytes of the raw file, None if unknown (a pipe).

    Raises:
        SourceNotFoundError, SourceReadError, CorruptSourceError
    """

    def __init__(
        self, path: str, compression: str | None = "infer", limits: DecompressionLimits = DecompressionLimits()
    ) -> None:
        self.path = path
        self.limits = limits
        self.compression = infer_compression(path) if compression == "infer" else compression
        self.decompressed = 0
        with reading(path):
            raw, self.size = _open_raw(path)
            self._raw = _CountedFile(raw)
            try:
                self._stream = self._decompressor()
            except BaseException:
                self._raw.close()
                raise

    def _decompressor(self) -> _Readable:
        if self.compression is None:
            return self._raw
        if self.compression == "zip":
            return _open_zip_member(self._raw, self.path)
        return pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), self.compression)  # type: ignore[no-any-return]

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer only at the end.

        Raises:
            CorruptSourceError: the compressed data is truncated or damaged.
            DecompressionLimitError: more came out than the caps allow.
        """
        with reading(self.path):
            try:
                data = self._stream.read(size)
            except (zipfile.BadZipFile, EOFError) as error:
                raise CorruptSourceError(f"{strip_credentials(self.path)} is damaged: {error}") from error
        self.decompressed += len(data)
        if self.compression is not None:
            self._check_limits()
        return bytes(data)

    def _check_limits(self) -> None:
        name, grown = strip_credentials(self.path), self.decompressed
        if grown > self.limits.max_bytes:
            raise DecompressionLimitError(
                f"{name} holds more than {self.limits.max_bytes:,} bytes decompressed; raise max_decompressed_bytes "
                "if that is right"
            )
        if grown > RATIO_GRACE_BYTES and grown > self.limits.max_ratio * max(self._raw.taken, 1):
            raise DecompressionLimitError(
                f"{name} grows by more than {self.limits.max_ratio:g} times when decompressed ({grown:,} bytes so "
                "far): a decompression bomb? Raise max_compression_ratio if it is right"
            )

    @property
    def position(self) -> int:
        """Bytes taken from the raw file so far."""
        return self._raw.taken

    def close(self) -> None:
        """Close the file; harmless if done already."""
        self._stream.close()
        self._raw.close()


def infer_compression(path: str) -> str | None:
    """The compression that the suffix stands for; None for none."""
    return COMPRESSIONS.get(os.path.splitext(path)[1].lower())


def _open_raw(path: str) -> tuple[Any, int | None]:
    if is_url(path):
        filesystem, name = _filesystem(path)
        file = filesystem.open(name, "rb")
        return file, getattr(file, "size", None)
    path = os.path.expanduser(path)
    if os.path.isdir(path):
        raise SourceReadError(f"{path} is a folder: name its files with a pattern, as in {path.rstrip('/')}/*.csv")
    local = open(path, "rb")  # noqa: SIM115  closed by ByteSource.close
    status = os.fstat(local.fileno())
    return local, status.st_size if stat.S_ISREG(status.st_mode) else None


def _open_zip_member(raw: _CountedFile, path: str) -> _Readable:
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile as error:
        raise CorruptSourceError(f"{path} is no zip archive, or a truncated one: {error}") from error
    members = [info for info in archive.infolist() if not info.is_dir()]
    if len(members) != 1:
        names = ", ".join(info.filename for info in members[:5]) or "none"
        raise CorruptSourceError(
            f"{path} holds {len(members)} files ({names}); a zip input holds exactly one: unpack it and name the files"
        )
    raw.taken = 0  # the directory at the end was read first; what counts is the member
    try:
        return archive.open(members[0])
    except (RuntimeError, NotImplementedError) as error:
        raise CorruptSourceError(f"{path}: {members[0].filename} cannot be unpacked: {error}") from error


class AtomicFile:
    """An output file that appears, complete, or not at all.

    It is written under a hidden name in the target's own folder, flushed to the disk, and renamed; an older file of
    that name stays until then. Missing parent folders are made, and removed again by `abort`. A target that is no
    regular file (a device, a pipe) is written to directly, since a rename would replace the device.

    Args:
        path: a local path or an fsspec URL. A symbolic link is followed: its target is replaced.
        compression: as for `ByteSource`, but no zip.

    Raises:
        TargetWriteError: the folder cannot be made or written, or the path is a folder.
    """

    def __init__(self, path: str, compression: str | None = "infer") -> None:
        self.path = path
        self.compression = infer_compression(path) if compression == "infer" else compression
        if self.compression == "zip":
            raise SpecError(f"{path}: zip files can be read but not written; use .gz or .zst")
        self._made: list[str] = []
        self._state = "open"
        self._written = 0
        with self.writing():
            self._open()
        self._sink: Any = self._file
        if self.compression is not None:
            self._sink = pa.CompressedOutputStream(pa.PythonFile(self._file, mode="w"), self.compression)

    def _open(self) -> None:
        if is_url(self.path):
            filesystem, name = _filesystem(self.path)
            self._temporary, self._target = None, name
            self._file = filesystem.open(name, "wb", autocommit=False)
            return
        self._target = os.path.realpath(os.path.expanduser(self.path))
        if os.path.isdir(self._target) or self.path.endswith("/"):
            raise TargetWriteError(f"{self.path} is a folder; an output is a file")
        folder = os.path.dirname(self._target)
        self._make_folders(folder)
        if os.path.exists(self._target) and not os.path.isfile(self._target):
            self._temporary = None
            self._file = open(self._target, "wb", buffering=0)  # noqa: SIM115
            return
        self._temporary = os.path.join(folder, f".{os.path.basename(self._target)[:100]}.{secrets.token_hex(6)}.part")
        descriptor = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        self._new_mode = stat.S_IMODE(os.fstat(descriptor).st_mode)  # what the umask leaves of 0666
        os.fchmod(descriptor, PRIVATE_FILE)
        self._file = open(descriptor, "wb", buffering=2**20)  # noqa: SIM115

    def _make_folders(self, folder: str) -> None:
        missing: list[str] = []
        while not os.path.isdir(folder):
            missing.append(folder)
            folder = os.path.dirname(folder)
        for path in reversed(missing):
            os.makedirs(path, exist_ok=True)
            self._made.append(path)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the system says into errors that name the target."""
        try:
            yield
        except TargetWriteError:
            raise
        except OSError as error:
            raise TargetWriteError(
                error.errno, f"{strip_credentials(self.path)} cannot be written: {error.strerror or error}"
            ) from error

    @property
    def sink(self) -> Any:
        """The open binary file, for libraries that write to file objects themselves (within `writing`)."""
        return self._sink

    @property
    def bytes_written(self) -> int:
        """Bytes on their way to the disk, after compression."""
        if not self._file.closed:
            self._written = int(self._file.tell())
        return self._written

    def write(self, data: bytes | memoryview | pa.Buffer) -> None:
        """Append `data`.

        Raises:
            TargetWriteError: no space, a size limit, a lost disk.
        """
        with self.writing():
            self._sink.write(data)

    def prepare(self) -> None:
        """Flush everything to the disk, under the hidden name."""
        if self._state != "open":
            return
        with self.writing():
            if self._sink is not self._file:
                self._sink.close()
            if is_url(self.path):
                self._file.close()
            else:
                if not self._file.closed:
                    self._file.flush()
                    self._written = int(self._file.tell()) if self._temporary is not None else self._written
                    if self._temporary is not None:
                        os.fsync(self._file.fileno())
                    self._file.close()
                elif self._temporary is not None:  # a compressor closes what it wraps
                    self._written = os.path.getsize(self._temporary)
                    _sync_path(self._temporary)
        self._state = "prepared"

    def publish(self) -> None:
        """Rename to the final name; the folder's entry is flushed too."""
        self.prepare()
        if self._state == "published":
            return
        with self.writing():
            if is_url(self.path):
                self._file.commit()
            elif self._temporary is not None:
                os.chmod(self._temporary, self._final_mode())
                os.replace(self._temporary, self._target)
                _sync_path(os.path.dirname(self._target))
        self._state = "published"

    def _final_mode(self) -> int:
        """An existing file keeps its permissions; a new one gets what the umask allows."""
        try:
            return stat.S_IMODE(os.stat(self._target).st_mode)
        except FileNotFoundError:
            return self._new_mode

    def abort(self) -> None:
        """Remove what was written, and the folders that were made for it."""
        if self._state in ("published", "aborted"):
            return
        self._state = "aborted"
        if is_url(self.path):
            self._file.discard()
            return
        try:
            self._file.close()
        except OSError:
            # A full disk fails the flush within close(); the data is unwanted and the descriptor is released.
            self._file = io.BytesIO()
        if self._temporary is not None and os.path.exists(self._temporary):
            os.unlink(self._temporary)
        for folder in reversed(self._made):
            if os.path.isdir(folder) and not os.listdir(folder):
                os.rmdir(folder)


def _sync_path(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_size(path: str) -> int | None:
    """Bytes of a regular local file; None for anything else."""
    if is_url(path):
        return None
    try:
        status = os.stat(os.path.expanduser(path))
    except FileNotFoundError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None
