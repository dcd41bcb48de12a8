"""One target of a sharded load: the parts that shards write, and how they become the target.

    parts(count)    the adapters of the shards; no I/O
    start()         before the first shard
    take(index)     a part is there, while others are still written
    prepare(count)  all parts are there: make the result durable, without making it visible
    publish()       make it visible at once
    abort()         undo everything

The same two steps as a `Writer`, so that rows and rejects of a load are published together.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.adapters.file_moves import replace_all
from zoopipe_core.adapters.ledger import LoadRecord
from zoopipe_core.adapters.paths import infer_compression, is_url, local_path
from zoopipe_core.coordinators.staging import StagingPlace, make_staging_folder
from zoopipe_core.errors import SpecError, TargetWriteError

if TYPE_CHECKING:
    from zoopipe_core.batches.model import ModelBatch
    from zoopipe_core.batches.types import ColumnType

__all__ = [
    "Check",
    "KeptPart",
    "NumberedFiles",
    "ShardCount",
    "StagedFiles",
    "StagedOutput",
    "absolute_path",
    "numbered_path",
    "suffix_of",
]

logger = logging.getLogger(__name__)

Check = Callable[[], None]
"""Raises `LoadAbortedError` if the load was cancelled."""


@dataclass(frozen=True, slots=True)
class ShardCount:
    """What a shard has written to one target: in which of its tries, and how many rows."""

    attempt: int
    rows: int


class StagedOutput(ABC):
    """One target of one load.

    Args:
        adapter: the target.
        staging: where parts are put.
    """

    def __init__(self, adapter: OutputAdapter, staging: StagingPlace) -> None:
        self.adapter = adapter
        self._staging = staging
        self._parts: list[OutputAdapter] = []
        self._counts: Sequence[ShardCount] | None = None
        self._published = False

    def parts(self, count: int) -> list[OutputAdapter]:
        """The adapters of `count` shards."""
        self._parts = [self.part(index, count) for index in range(count)]
        return list(self._parts)

    def takes(self, adapter: OutputAdapter | None) -> bool:
        """Whether the adapter of a shard is one of the parts."""
        return (adapter.adapter if isinstance(adapter, KeptPart) else adapter) in self._parts[:1]

    @abstractmethod
    def part(self, index: int, count: int) -> OutputAdapter:
        """What shard `index` of `count` writes to."""

    @abstractmethod
    def path(self, index: int) -> str:
        """The file or table that shard `index` leaves."""

    @abstractmethod
    def written(self) -> list[int]:
        """The shards whose parts are there."""

    def take(self, index: int, check: Check) -> None:
        """The part of a shard is there, and does not change any more; others are still written. Returns at once.

        Args:
            index: the shard's place.
            check: called now and then by what is done in the background.

        Raises:
            BaseException: what went wrong in the background.
        """
        return

    def settle(self) -> None:
        """Wait for what is done in the background.

        Raises:
            BaseException: what went wrong there.
        """
        return

    def expect(self, counts: Sequence[ShardCount]) -> None:
        """All shards have ended, and have said what they wrote; called before `prepare`."""
        self._counts = counts

    def start(self) -> None:
        """Make room for the parts.

        Raises:
            TargetWriteError: another load has the target, or its folder cannot be written.
        """
        self._staging.create()

    def prepare(self, check: Check, partial: bool = False) -> None:
        """Make the result durable.

        Args:
            check: called now and then.
            partial: take the parts that are there; else a missing one is an error.

        Raises:
            TargetWriteError: parts are missing, or the result cannot be written.
        """
        self._staging.check()
        self.settle()
        written = self.written()
        if not partial and len(written) != len(self._parts):
            missing = next(index for index in range(len(self._parts)) if index not in written)
            raise TargetWriteError(
                f"{self.adapter.label} cannot be written: the part of shard {missing} of {len(self._parts)}, "
                f"{self.path(missing)}, is not there. {self.missing_hint}"
            )
        self.assemble(written, check)

    def remember(self, record: LoadRecord) -> None:
        """What the ledger of the target is to say of this load; called between `prepare` and `publish`."""
        return

    @property
    @abstractmethod
    def missing_hint(self) -> str:
        """Why a part may be missing."""

    @abstractmethod
    def assemble(self, written: Sequence[int], check: Check) -> None:
        """Make the result out of the parts `written`, in order."""

    def publish(self) -> None:
        """Make the result visible."""
        self.show()
        self._published = True
        try:
            self._staging.remove(keep_folders=True)
        except OSError:  # the load is complete, whatever is left of its parts
            logger.warning("%s is complete, but its parts cannot be removed", self.adapter.label, exc_info=True)

    @abstractmethod
    def show(self) -> None:
        """The last step, which is done at once."""

    def abort(self) -> None:
        """Undo everything; after `publish`, nothing. May be called twice."""
        if not self._published:
            try:
                self.discard()
            finally:
                self._staging.remove()

    def discard(self) -> None:
        """Remove what `assemble` has made outside of the place of parts."""
        return


class StagedFiles(StagedOutput):
    """A target whose parts are files.

    Args:
        adapter: the target.
        place: its path, if it is a file: parts are put beside it.
    """

    def __init__(self, adapter: OutputAdapter, place: str | None) -> None:
        self.folder = make_staging_folder(place, adapter.label)
        super().__init__(adapter, self.folder)

    def written(self) -> list[int]:
        return [index for index in range(len(self._parts)) if self.folder.exists(self.path(index))]

    @property
    def missing_hint(self) -> str:
        return "Workers on other machines need a shared file system"


# ---- names ----------------------------------------------------------------------------------------------------------


def absolute_path(path: str) -> str:
    """A local path that stays the same when the process goes to another folder."""
    path = local_path(path)
    return os.path.abspath(path) + ("/" if path.endswith("/") else "")


def suffix_of(path: str) -> str:
    """The suffix that says what a file holds and how it is compressed.

    >>> suffix_of("out/users.v2.jsonl.gz"), suffix_of("out/.hidden")
    ('.jsonl.gz', '')
    """
    root, suffix = os.path.splitext(os.path.basename(path))
    if infer_compression(path) is not None:
        suffix = os.path.splitext(root)[1] + suffix
    return suffix


def numbered_path(path: str, index: int, count: int) -> str:
    """Where a part of a target goes that stays in parts: in its folder, in order of name, complete when all are there.

    >>> numbered_path("out/users.jsonl.gz", 2, 4)
    'out/users-00002-of-00004.jsonl.gz'
    """
    folder, slash, name = path.rpartition("/")
    suffix = suffix_of(name)
    root = name.removesuffix(suffix) if suffix else name
    return f"{folder}{slash}{root}-{index:05d}-of-{count:05d}{suffix}"


# ---- parts that stay parts ------------------------------------------------------------------------------------------


class NumberedFiles(StagedFiles):
    """A target that stays in parts: complete files of their own, shown together."""

    def __init__(self, adapter: Any) -> None:
        super().__init__(adapter, str(adapter.path))
        path = str(adapter.path)
        if is_url(path):
            raise SpecError(
                f"{adapter.label}: merge=False leaves numbered files, which are renamed together; that needs a local "
                "path. Merge them, or give each pipe an output of its own"
            )
        self._path = absolute_path(path)
        if os.path.exists(self._path) and not os.path.isfile(self._path):
            raise SpecError(f"{adapter.label} is no regular file and cannot be written in parts; use merge=True")

    def part(self, index: int, count: int) -> OutputAdapter:
        return replace(self.adapter, path=self._staged(index, count))  # type: ignore[type-var]  # a dataclass

    def path(self, index: int) -> str:
        return self._staged(index, len(self._parts))

    def _staged(self, index: int, count: int) -> str:
        return self.folder.part(os.path.basename(numbered_path(self._path, index, count)))

    def assemble(self, written: Sequence[int], check: Check) -> None:
        self._written = list(written)

    def show(self) -> None:
        count = len(self._parts)
        try:
            replace_all({self.path(index): numbered_path(self._path, index, count) for index in self._written})
        except OSError as error:
            raised = TargetWriteError(f"{self.adapter.label} cannot be written in parts: {error.strerror or error}")
            raised.errno = error.errno
            raise raised from error


# ---- parts of rejects -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class KeptPart(OutputAdapter):
    """A part that is kept when its shard fails, for rejects: the coordinator decides whether they are shown."""

    adapter: OutputAdapter

    @property
    def label(self) -> str:
        return self.adapter.label

    @property
    def place(self) -> str | None:
        return self.adapter.place

    @property
    def wants_json(self) -> bool:
        return self.adapter.wants_json

    def for_attempt(self, attempt: int) -> KeptPart:
        return replace(self, adapter=self.adapter.for_attempt(attempt))

    def open(self) -> Writer:
        return _KeptWriter(self.adapter.open())


class _KeptWriter(Writer):
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._started = self._ended = False

    def start(self, types: Mapping[str, ColumnType]) -> None:
        self._writer.start(types)
        self._started = True

    def write(self, batch: ModelBatch) -> None:
        self._writer.write(batch)

    def prepare(self) -> None:
        self._writer.prepare()

    def publish(self) -> None:
        self._ended = True
        self._writer.publish()

    def abort(self) -> None:
        try:
            if self._started and not self._ended:
                self._writer.prepare()
                self.publish()
        finally:
            self._ended = True
            self._writer.abort()

    @property
    def bytes_written(self) -> int:
        return self._writer.bytes_written
