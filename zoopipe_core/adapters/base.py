"""What an adapter is: a frozen description that can be opened for reading or for writing.

    InputAdapter.open(request) -> Reader      yields SourceBatches, knows its position
    OutputAdapter.open()       -> Writer      start(types), write(batch)*, prepare(), publish() | abort()
                                              (in parallel: encode(batch), then in order: write_encoded)

Building an adapter does no I/O: it checks its own arguments and nothing else, pickles, compares, and its repr and
`label` hold no secret. All state lives in what `open` returns. The modules of adapters import neither pyarrow nor
NumPy, nor readers and writers, which `open` does: a scheduler builds pipes again and again, and runs them elsewhere.

A `Writer` publishes in two steps so that several of them can succeed together: after `prepare` everything is durable
but nothing is visible; `publish` makes it visible at once; `abort` undoes whatever came before `publish`.
"""

from __future__ import annotations

import dataclasses
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from zoopipe_core.adapters.paths import strip_credentials

if TYPE_CHECKING:
    from zoopipe_core.adapters.ledger import Fingerprint, Ledger, LoadKey, LoadRecord
    from zoopipe_core.adapters.watermark import Mark
    from zoopipe_core.batches.model import ModelBatch
    from zoopipe_core.batches.source import SourceBatch, SourceKind
    from zoopipe_core.batches.types import ColumnType

__all__ = ["InputAdapter", "OutputAdapter", "ReadRequest", "Reader", "Scan", "Split", "Writer", "scan_here"]

DEFAULT_BATCH_SIZE = 65_536

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """What the rest of the pipe wants from a reader.

    Attributes:
        columns: the columns that will be looked at; others need not be decoded, nor read at all. None: all.
        keep_all: whole source rows are wanted for the rejects; columns beyond `columns` are still to be delivered,
            though they may stay undecoded.
        batch_size: the number of rows that a batch should not exceed by much.
        stop: set when the load is cancelled; a reader that waits or skips for long should look at it.
    """

    columns: frozenset[str] | None = None
    keep_all: bool = False
    batch_size: int = DEFAULT_BATCH_SIZE
    stop: threading.Event = field(default_factory=threading.Event, compare=False)

    def wants(self, name: str) -> bool:
        """Whether the column has to be delivered."""
        return self.keep_all or self.columns is None or name in self.columns


class Reader(ABC):
    """An open source. Used as a context manager and iterated once."""

    @property
    @abstractmethod
    def kind(self) -> SourceKind:
        """How the batches' cells are to be read; the same for the whole run."""

    @property
    @abstractmethod
    def columns(self) -> Mapping[str, ColumnType] | None:
        """All columns of the (first) source, before pruning, in order; None if rows have no fixed columns.

        For `SourceKind.TEXT` every type is `STRING`. Names that stand twice are reported as `duplicates`.
        """

    @property
    def any_thread(self) -> bool:
        """Whether batches may be taken in another thread than the one that opens and closes the reader."""
        return False

    @property
    def size(self) -> int | None:
        """Bytes of the source, before decompression; None if unknown."""
        return None

    @property
    def duplicates(self) -> frozenset[str]:
        """Column names that stand more than once in the source, or in that one of several whose batches come now.

        Their later copies were renamed in `columns`.
        """
        return frozenset()

    @abstractmethod
    def __iter__(self) -> Iterator[SourceBatch]:
        """The batches in source order. An empty source yields none.

        Raises:
            SourceError: the source cannot be read on; rows already yielded stay valid.
        """

    @abstractmethod
    def close(self) -> None:
        """Release everything. May be called at any point, and more than once."""

    @property
    def first_record(self) -> int:
        """The place of the first record among all that the whole input gives, as far as that is known.

        It is 1, but for the later parts of an input that was split; within one of several files, the place in the file.
        """
        return 1

    @property
    def bytes_read(self) -> int:
        """Bytes taken from the source so far, before decompression; 0 where that has no meaning."""
        return 0

    @property
    def fraction(self) -> float | None:
        """The share of the source that was read, 0 to 1; None if its size is unknown."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the report, such as what was skipped by an option."""
        return ()

    @property
    def mark(self) -> Mark | None:
        """Where the next load goes on, for a source with a watermark; known when all is read, also after `close`."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Adapter(ABC):
    """What inputs and outputs have in common."""

    @property
    @abstractmethod
    def label(self) -> str:
        """A short name without secrets, for reports and messages."""

    def __repr__(self) -> str:
        """The label and the options that are not at their default, for subclasses with ``dataclass(repr=False)``.

        >>> from zoopipe_core.adapters.parquet import ParquetInputAdapter
        >>> ParquetInputAdapter("s3://key:secret@bucket/in.parquet", limit=10)
        ParquetInputAdapter('s3://bucket/in.parquet', limit=10)
        """
        options = [option for option in _options(self)[1:] if option is not None]
        return f"{type(self).__name__}({', '.join([repr(self.label), *options])})"


def _options(adapter: Any) -> list[str | None]:
    """``name=value`` for each field of a dataclass, None in the place of those that are not to be shown."""
    shown: list[str | None] = []
    for item in dataclasses.fields(adapter):
        value = getattr(adapter, item.name)
        hidden = not (item.repr and item.init) or value == item.default
        if isinstance(value, str):
            value = strip_credentials(value)
        shown.append(None if hidden else f"{item.name}={value!r}")
    return shown


class Scan(Protocol):
    """``[function(item) for item in items]``, here or elsewhere; function and items pickle."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> list[R]: ...


def scan_here(function: Callable[[T], R], items: Iterable[T], /) -> list[R]:
    """One after the other, in this thread."""
    return [function(item) for item in items]


def _nothing() -> None:
    """What there is to release for most inputs."""


@dataclass(frozen=True, slots=True)
class Split:
    """An input in pieces that, read one after the other, give what the whole gives: rows, faults, row numbers.

    Attributes:
        parts: at least one; adapters of any kind, each reads its own piece only.
        note: why there are fewer parts than were asked for, or None. For the log and the report.
        release: ends what the parts need of this process, such as a snapshot of a database; to be called when all are
            read. The parts given here keep it as long as they live, copies of them do not.
        mark: of an input with a watermark, where the next load goes on when all parts were read.
    """

    parts: tuple[InputAdapter, ...]
    note: str | None = None
    release: Callable[[], object] = field(default=_nothing, compare=False, repr=False)
    mark: Mark | None = None


class InputAdapter(_Adapter):
    """Where rows come from. Subclasses are frozen dataclasses."""

    @property
    def places(self) -> tuple[str, ...]:
        """What it reads, as far as that is known without looking; may hold patterns such as ``in/*.csv``."""
        return (self.label,)

    def fingerprint(self) -> Fingerprint | None:
        """What tells what would be read now from anything else, without reading it; None if that cannot be told.

        Raises:
            SourceError: the source is not there, or cannot be looked at.
        """
        return None

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        """The input in at most `count` pieces.

        Args:
            count: 1 or more.
            scan: how to look at several stretches of the source at a time, if that is needed: ``map`` as a list.

        By default an input is one piece.

        Raises:
            SourceError: the source has to be looked at, and cannot be read.
        """
        return Split((self,), f"{self.label} cannot be split" if count > 1 else None)

    @property
    def mark_name(self) -> str | None:
        """What the target's ledger calls the mark up to which this was read; None: it is read as a whole each time."""
        return None

    def resume(self, mark: Mark | None, remembers: bool) -> InputAdapter:
        """The part of this that is new since `mark`.

        Args:
            mark: of the loads before; None: this is the first.
            remembers: rows that come again are passed over; else the target does not mind them.
        """
        return self

    @abstractmethod
    def open(self, request: ReadRequest) -> Reader:
        """Find the source and read its header.

        Raises:
            SourceError: it does not exist, cannot be read, or is not of this format.
        """


class Writer(ABC):
    """An open target.

    The calls come in the order start, write*, prepare, remember, publish; abort may replace any of them.
    """

    @abstractmethod
    def start(self, types: Mapping[str, ColumnType]) -> None:
        """Called once, before the first `write` or `prepare`: the columns and their order.

        Raises:
            TargetError: the target cannot hold such columns.
        """

    @abstractmethod
    def write(self, batch: ModelBatch) -> None:
        """Add the rows of `batch`. A column that `start` did not name is an error, unless the format has no columns.

        Raises:
            TargetError: a value does not fit, or the target is full or gone.
        """

    def encode(self, batch: ModelBatch) -> Any:
        """What `write_encoded` takes for the rows of `batch`: the part of `write` that needs no order.

        Called after `start`, in any thread, also for several batches at a time; it must not change the writer. By
        default it is the batch itself.

        Raises:
            TargetError: as `write`.
        """
        return batch

    def write_encoded(self, encoded: Any) -> None:
        """Add the rows that `encode` was given. Called in input order, in one thread."""
        self.write(encoded)

    @abstractmethod
    def prepare(self) -> None:
        """Make everything durable, without making it visible."""

    def remember(self, record: LoadRecord) -> None:
        """Take what the target's ledger is to say of this load; it is written together with the rows.

        May be left out; for targets without a ledger it does nothing.
        """
        return

    @abstractmethod
    def publish(self) -> None:
        """Make everything visible at once. The load is complete when this returns, and not before.

        Raises:
            AlreadyLoadedError: another try of the same load was faster; nothing was published.
        """

    @abstractmethod
    def abort(self) -> None:
        """Undo everything; the target is as it was before `open`. May be called twice; after `publish` a no-op."""

    @property
    def bytes_written(self) -> int:
        """Bytes written so far, after compression; 0 where that has no meaning."""
        return 0

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks for the report, such as what was decided about a column."""
        return ()


class OutputAdapter(_Adapter):
    """Where rows go. Subclasses are frozen dataclasses.

    Attributes:
        mode: what becomes of rows that are in the target already; a word for the ledger.
    """

    mode: str = "replace"

    @property
    def adds(self) -> bool:
        """Whether rows are added to those that are there, so that a load that is run twice would be in it twice."""
        return False

    @property
    def always_remembers(self) -> bool:
        """Whether every load is written into the ledger, or only those that the caller has named."""
        return False

    def ledger(self) -> Ledger | None:
        """Where the target remembers its loads; None if it does not."""
        return None

    def open_load(self, key: LoadKey, ledger: Ledger | None = None) -> Writer:
        """As `open`, for a load that has a name: keeps other loads away for as long as the writer is open.

        Args:
            key: which load this is.
            ledger: of this target; what it holds open may be used on.

        Raises:
            AlreadyLoadedError, LoadIdError: as `LoadKey.check`.
            LoadLockedError: another load is under way.
        """
        return self.open()

    def for_attempt(self, attempt: int) -> OutputAdapter:
        """The same target for the how manieth try of a worker; for parts that may be there twice then."""
        return self

    @property
    def place(self) -> str | None:
        """What tells this target from others, or None if no other can be the same: rows and rejects need two."""
        return self.label

    @property
    def wants_json(self) -> bool:
        """Whether the writer uses `ModelBatch.json_lines`."""
        return False

    @abstractmethod
    def open(self) -> Writer:
        """Check that the target can be written (reachable, permitted, not in the way) and prepare to do so.

        Raises:
            TargetError: it cannot.
            DatabaseConnectionError: the database cannot be reached.
        """
