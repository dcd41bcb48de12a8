"""Writing files for every format: an output that appears complete, or not at all.

    AtomicFile(path)  ->  write(data)*, prepare(), publish() | abort()

    out/                       .orders.csv.3f9a0c.part    written and flushed here, readable by nobody else
        orders.csv      <-     renamed at once; until then the old file stands

Local paths, devices, and whatever fsspec can write.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zoopipe_core._faults import reached
from zoopipe_core.adapters.file_moves import copy_range
from zoopipe_core.adapters.file_places import find_place
from zoopipe_core.adapters.paths import infer_compression, strip_credentials
from zoopipe_core.errors import SpecError, TargetWriteError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AtomicFile"]


class AtomicFile:
    """An output file that appears, complete, or not at all.

    It is written under a hidden name in the target's own folder, flushed to the disk, and renamed; an older file of
    that name stays until then. What loads that were killed have left is removed by the next one. Missing parent folders
    are made, and removed again by `abort`. A target that is no regular file (a device, a pipe) is written to directly,
    since a rename would replace the device.

    Args:
        path: a local path or an fsspec URL. A symbolic link is followed: its target is replaced.
        compression: as for `ByteSource`, but no zip.
        folder: where a local file is until it is published; one of the same file system. None: the target's own.

    Raises:
        SpecError: the file would be a zip archive.
        TargetWriteError: the folder cannot be made or written, or the path is a folder.
    """

    def __init__(self, path: str, compression: str | None = "infer", folder: str | None = None) -> None:
        self.path = path
        self.compression = infer_compression(path) if compression == "infer" else compression
        if self.compression == "zip":
            raise SpecError(f"{strip_credentials(path)}: zip files can be read but not written; use .gz or .zst")
        self._state = "open"
        with self.writing():
            self._place = find_place(path, folder)
        self._raw = _CountedSink(self._place.file)
        self._sink: Any = self._raw
        if self.compression is not None:
            import pyarrow as pa

            self._sink = pa.CompressedOutputStream(pa.PythonFile(self._raw, mode="w"), self.compression)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the system says into errors that name the target."""
        try:
            yield
        except TargetWriteError:
            raise
        except OSError as error:
            advice = _ADVICE.get(error.errno or 0, "")
            raised = TargetWriteError(
                f"{strip_credentials(self.path)} cannot be written: {error.strerror or error}{advice}"
            )
            raised.errno = error.errno
            raise raised from error

    @property
    def sink(self) -> Any:
        """The open binary file, for libraries that write to file objects themselves (within `writing`).

        They may close it; the file itself stays open until `prepare`.
        """
        return self._sink

    @property
    def bytes_written(self) -> int:
        """Bytes on their way to the disk, after compression."""
        return self._raw.count

    @property
    def hidden_path(self) -> str | None:
        """Where the bytes of a local file are until it is published, in the file that will have its name then."""
        return self._place.hidden

    def write(self, data: bytes | memoryview | pa.Buffer) -> None:
        """Append `data`.

        Raises:
            TargetWriteError: no space, a size limit, a lost disk.
        """
        with self.writing():
            self._sink.write(data)

    def append_file(self, path: str, start: int = 0, end: int | None = None) -> Iterator[int]:
        """Append bytes of another local file, as they are: by the file system itself where it can.

        Args:
            path: of the other file.
            start: where to begin.
            end: where to end; None: at its end.

        Yields:
            Bytes copied since the last time, at least every 8 MiB, so that the caller can look around.

        Raises:
            TargetWriteError: as `write`, or the other file is gone.
        """
        assert self.compression is None, "a compressor would have to see the bytes"
        with self.writing():
            end = os.path.getsize(path) if end is None else end
            for copied in copy_range(path, self._place.file, start, end):
                self._raw.count += copied
                yield copied

    def adopt_file(self, path: str, end: int | None = None) -> Iterator[int]:
        """As `append_file` from the start of `path`, for the first bytes of this file, and `path` may be used up.

        Where both are in one file system, the file becomes this one, and nothing is copied.
        """
        assert self.compression is None, "a compressor would have to see the bytes"
        assert not self._raw.count, "it is to be the beginning"
        with self.writing():
            end = os.path.getsize(path) if end is None else end
            adopted = self._place.adopt(path, end)
        if adopted:
            self._raw.redirect(self._place.file, end)
            yield end
        else:
            yield from self.append_file(path, 0, end)

    def watch(self) -> None:
        """Let the points of `zoopipe_core.testing.faults` be reached: this is the file of a load's rows."""
        self._raw.watched = True

    def prepare(self) -> None:
        """Flush everything to the disk, under the hidden name."""
        if self._state != "open":
            return
        if self._raw.watched:
            reached("after_stage")
        with self.writing():
            self._sink.close()
            self._place.flush()
        self._state = "prepared"
        if self._raw.watched:
            reached("after_prepare")

    def publish(self) -> None:
        """Rename to the final name; the folder's entry is flushed too."""
        self.prepare()
        if self._state != "prepared":
            return
        with self.writing():
            self._place.publish()
        self._state = "published"
        if self._raw.watched:
            reached("after_commit")

    def abort(self) -> None:
        """Remove what was written, and the folders that were made for it."""
        if self._state in ("published", "aborted"):
            return
        self._state = "aborted"
        # A compressor writes a last block when it is closed; on a full disk that would fail.
        self._raw.discard = True
        self._sink.close()
        self._place.remove()


_ADVICE = {
    errno.EACCES: "; its folder has to be writable",
    errno.EDQUOT: "; free some space, or write elsewhere",
    errno.EFBIG: "; the process may not write so large a file (ulimit -f)",
    errno.ENAMETOOLONG: "; a name may have 255 bytes",
    errno.ENOSPC: "; free some space, or write elsewhere",
    errno.EPERM: "; its folder has to be writable",
    errno.EROFS: "; write elsewhere",
}


class _CountedSink(io.RawIOBase):
    """The file as those that write into it see it: takes all bytes at once, counts them, and closes only itself.

    Attributes:
        count: bytes written.
        discard: drop what is written from now on.
        watched: see `AtomicFile.watch`.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self.count = 0
        self.discard = self.watched = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        size = len(view)
        if self.watched:
            reached("mid_stage" if self.count else "before_stage")
        while len(view) and not self.discard:
            # An unbuffered file may take less than it is given.
            taken = int(self._file.write(view))
            self.count += taken
            view = view[taken:]
        return size

    def tell(self) -> int:
        return self.count

    def redirect(self, file: Any, count: int) -> None:
        """Go on with another file, which holds `count` bytes by now."""
        self._file, self.count = file, count
