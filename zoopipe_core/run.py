"""One load, from the first byte to the commit.

    read -> pre-hooks -> validate -> post-hooks -> write          batch by batch, in order
    then: all counted?  rejects published, rows published         both, or neither

Reading, hooks and writing happen in the thread that calls `run_load`; validation where the executor puts it. Nothing
is visible before the last row was written and counted; whatever ends the load earlier undoes it.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from zoopipe_core.adapters.base import Reader, ReadRequest, Writer
from zoopipe_core.adapters.discard import Discard
from zoopipe_core.batches.pools import forget_blocks
from zoopipe_core.batches.source import SourceBatch, SourceKind
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    AlreadyLoadedError,
    ColumnNotFoundError,
    DuplicateColumnError,
    LoadAbortedError,
    SourceError,
    TooManyRejectsError,
    ZoopipeError,
)
from zoopipe_core.hooking.after import PostHooked
from zoopipe_core.hooking.chain import HookChain, hooks_at_work
from zoopipe_core.hooks import BaseHook
from zoopipe_core.kernels.switch import SWITCH
from zoopipe_core.memory import LoadMemory
from zoopipe_core.progress import LoadProgress
from zoopipe_core.rejects_output import RejectsOutput
from zoopipe_core.report import PipeStatus, merge_columns
from zoopipe_core.schema.plan import ModelPlan, plan_of
from zoopipe_core.schema.validate import Validated, Validator

if TYPE_CHECKING:
    from zoopipe_core.pipe import Pipe

__all__ = ["run_load"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

ROW_HOOK_ROWS = 2**14
"""Rows that are Python objects at a time: more of them take more memory, and no less time each."""
LARGE_BYTES = 2 * 2**20
"""A source of this size holds enough rows for kernels to be loaded at once."""


def run_load(pipe: Pipe, progress: LoadProgress, stop: threading.Event) -> None:
    """Run `pipe` to its end and record in `progress` how it ended.

    A failure is not raised: the report tells. What is no failure of the load (KeyboardInterrupt, SystemExit) undoes it
    and is raised.
    """
    progress.start()
    memory = LoadMemory(pipe)
    try:
        _Load(pipe, progress, stop, memory).run()
    except AlreadyLoadedError as error:
        if pipe.if_loaded == "fail" or error.record is None:
            progress.finish(PipeStatus.FAILED, error)
        else:
            progress.recall(error.record.report, f"{error}; nothing was read")
        logger.info("%s was loaded already", pipe)
    except (LoadAbortedError, KeyboardInterrupt) as error:
        progress.finish(PipeStatus.ABORTED, error)
        logger.warning("%s aborted", pipe)
        memory.tell(progress)
        if not isinstance(error, Exception):
            raise
    except BaseException as error:
        progress.finish(PipeStatus.FAILED, error)
        logger.warning("%s failed: %s", pipe, type(error).__name__)
        memory.tell(progress)
        if not isinstance(error, Exception):
            raise
    else:
        progress.finish(PipeStatus.COMPLETED)
        logger.info("%s completed", pipe)
    finally:
        forget_blocks()


@dataclass(frozen=True, slots=True)
class _Taken:
    """A batch as it came, and what its reader said of itself then."""

    batch: SourceBatch
    duplicates: frozenset[str]
    bytes_read: int
    fraction: float | None


@dataclass(frozen=True, slots=True)
class _Work:
    """A batch as read, with the id of its first row for hooks, and as pre-validation hooks left it."""

    source: SourceBatch
    first_id: int
    batch: SourceBatch


@dataclass(frozen=True, slots=True)
class _Done:
    """A batch behind all hooks, its rows and its rejects encoded for their writers."""

    result: PostHooked
    encoded: Any
    encoded_rejects: Any


class _Load:
    def __init__(self, pipe: Pipe, progress: LoadProgress, stop: threading.Event, memory: LoadMemory) -> None:
        self._pipe = pipe
        self._memory = memory
        self._progress = progress
        self._stop = stop
        self._plan: ModelPlan | None = plan_of(pipe.schema_model) if pipe.schema_model is not None else None
        ids_of_added = itertools.count(-1, -1)
        self._before = HookChain(pipe.pre_validation_hooks, ids_of_added)
        self._after = HookChain(pipe.post_validation_hooks, ids_of_added)
        self._store: dict[str, Any] = {}
        hooks = (*self._before.hooks, *self._after.hooks)
        most = ROW_HOOK_ROWS if any(isinstance(hook, BaseHook) for hook in hooks) else pipe.executor.batch_size
        self._batch_size = min(most, pipe.executor.batch_size)
        self._wanted = self._columns_looked_at()
        output = pipe.output_adapter
        self._validator = Validator(self._plan, output is not None and output.wants_json and not self._after)
        self._writer: Writer | None = None
        self._writer_started = False
        self._rejects: RejectsOutput | None = None
        self._source_types: Mapping[str, ColumnType] | None = None
        self._unknown: tuple[str, ...] = ()

    def run(self) -> None:
        """Read, write, publish.

        Raises:
            BaseException: what ended the load; everything is undone then.
        """
        pipe = self._pipe
        try:
            self._memory.begin(self._progress.snapshot(), at_once=True)
            self._progress.set(load_id=self._memory.load_id, attempt=self._memory.attempt)
            with self._memory.source.open(self._request()) as reader:
                self._source_types = reader.columns
                self._check_columns(pipe.input_adapter.label, reader.columns, reader.duplicates)
                self._list_unknown(reader.columns or ())
                self._writer = writer = self._memory.open_writer() or Discard()
                if pipe.error_output_adapter is not None:
                    self._rejects = RejectsOutput(pipe.error_output_adapter.open())
                self._start_early(writer)
                if (reader.size or 0) >= LARGE_BYTES:
                    SWITCH.expect_many()
                with hooks_at_work([*self._before.hooks, *self._after.hooks], self._store):
                    self._process(reader, writer)
                self._progress.set(bytes_read=reader.bytes_read)
                self._progress.note(*reader.notes)
                self._memory.advance(reader.mark)
            # The source is closed: nothing but the commit can fail from here on.
            self._finish(writer)
        except BaseException as error:
            self._undo(error)
            raise

    def _columns_looked_at(self) -> frozenset[str] | None:
        """The source columns that the model or a hook looks at; None: all."""
        wanted = None if self._plan is None else self._plan.source_columns
        if wanted is None or any(hook.columns is None for hook in self._before.hooks):
            return None
        return wanted.union(*(hook.columns or () for hook in (*self._before.hooks, *self._after.hooks)))

    def _request(self) -> ReadRequest:
        keep_all = self._pipe.error_output_adapter is not None
        return ReadRequest(self._wanted, keep_all, self._batch_size, self._stop)

    def _check_columns(
        self, source: str, columns: Mapping[str, ColumnType] | Sequence[str] | None, duplicates: frozenset[str]
    ) -> None:
        """Before the first row of a source: every column that the model requires is there, and once."""
        if self._plan is None or columns is None:
            return
        twice = sorted(duplicates if self._wanted is None else duplicates & self._wanted)
        if twice:
            raise DuplicateColumnError(
                f"the column {twice[0]!r}, which the model {self._plan.name} or a hook needs, stands in {source} more "
                "than once; rename one of them in the file, or pass fieldnames=[...] with skip_rows=1"
            )
        if any(not hook.adds for hook in self._before.hooks):
            return  # a hook may add what is missing, and does not say
        missing = self._plan.missing([*columns, *self._before.adds])
        if missing:
            raise ColumnNotFoundError.build(self._plan.name, missing, source, columns)

    def _list_unknown(self, columns: Iterable[str]) -> None:
        """Tell the report which columns neither the model nor a hook looks at."""
        if self._plan is None or self._plan.source_columns is None:
            return
        hooks = (*self._before.hooks, *self._after.hooks)
        known = self._plan.source_columns.union(*(hook.columns or () for hook in hooks))
        self._unknown = merge_columns([*self._unknown, *(name for name in columns if name not in known)])
        self._progress.set(unknown_columns=self._unknown)

    # ---- batches ----------------------------------------------------------------------------------------------

    def _process(self, reader: Reader, writer: Writer) -> None:
        executor = self._pipe.executor
        # What needs an order is done in this thread, and what does not by the executor.
        in_one_go = not self._after and self._writer_started and (self._rejects is None or self._rejects.is_started)
        with ExitStack() as stack:  # closed from the last to the first, each ends the threads that work for it
            stage: Any = stack.enter_context(_closing(self._read(reader)))
            if in_one_go:
                work = lambda item: self._encode(self._hook(*self._validate(item)))  # noqa: E731
                stage = stack.enter_context(_closing(executor.map(work, stage)))
            else:
                stage = stack.enter_context(_closing(executor.map(self._validate, stage)))
                stage = stack.enter_context(_closing(self._settle(writer, stage)))
                stage = stack.enter_context(_closing(executor.map(self._encode, stage)))
            for done in stage:
                self._look_at_stop()
                self._write(writer, done)

    def _read(self, reader: Reader) -> Iterator[_Work]:
        executor, checked = self._pipe.executor, None
        taking = self._take(reader)
        with _closing(taking), _closing(executor.ahead(taking) if reader.any_thread else taking) as takings:
            for taken in takings:
                batch = taken.batch
                _check_batch(batch)
                if batch.source != checked and batch.num_rows and reader.columns is not None:
                    checked = batch.source
                    self._check_columns(batch.source, batch.names, taken.duplicates)
                    self._list_unknown(batch.names)
                for piece in batch.split(self._batch_size):
                    first_id = self._progress.count("read_rows") + reader.first_record
                    self._progress.add(read_rows=piece.num_records)
                    self._progress.set(bytes_read=taken.bytes_read, fraction_done=taken.fraction)
                    hooked = piece
                    if self._before:
                        with self._progress.timing("hook_seconds"):
                            hooked = self._before.before(piece, first_id, self._wanted, self._store)
                    yield _Work(piece, first_id, hooked)

    def _take(self, reader: Reader) -> Iterator[_Taken]:
        """The batches with the state of the reader, which may be ahead when they are looked at."""
        batches = iter(reader)
        while True:
            self._look_at_stop()
            with self._progress.timing("read_seconds"):
                batch = next(batches, None)
            if batch is None:
                return
            yield _Taken(batch, reader.duplicates, reader.bytes_read, reader.fraction)

    def _validate(self, work: _Work) -> tuple[_Work, Validated]:
        with self._progress.timing("validate_seconds"):
            return work, self._validator.validate(work.batch)

    def _hook(self, work: _Work, validated: Validated) -> PostHooked:
        hooked = work.batch.hooked
        result = PostHooked(validated.good, validated.rejects)
        if self._after and validated.good.num_rows:
            notes = hooked.metadata if hooked else None
            with self._progress.timing("hook_seconds"):
                result = self._after.after(validated, work.source, work.first_id, self._wanted, self._store, notes)
        if hooked is None:
            return result
        return replace(result, filtered=result.filtered + hooked.filtered, added=result.added + hooked.added)

    def _settle(self, writer: Writer, judged: Iterator[tuple[_Work, Validated]]) -> Iterator[PostHooked]:
        """The batches behind the hooks; the first rows start the writers."""
        for work, validated in judged:
            result = self._hook(work, validated)
            if len(result.rejects) and self._rejects is not None:
                self._rejects.start(result.rejects.types)
            if result.good.num_rows:
                self._start_writer(writer, result.good.types)
            yield result

    def _encode(self, result: PostHooked) -> _Done:
        encoded = encoded_rejects = None
        with self._progress.timing("write_seconds"):
            if len(result.rejects) and self._rejects is not None:
                encoded_rejects = self._rejects.encode(result.rejects)
            if result.good.num_rows and self._writer is not None:
                encoded = self._writer.encode(result.good)
        return _Done(result, encoded, encoded_rejects)

    def _write(self, writer: Writer, done: _Done) -> None:
        result = done.result
        with self._progress.timing("write_seconds"):
            if len(result.rejects):
                self._progress.count_rejects(result.rejects)
                if self._rejects is not None:
                    self._rejects.write(result.rejects, done.encoded_rejects)
                self._check_limit()
            if result.good.num_rows:
                writer.write_encoded(done.encoded)
        self._progress.add(loaded_rows=result.good.num_rows, filtered_rows=result.filtered, added_rows=result.added)
        self._progress.set(bytes_written=writer.bytes_written)

    def _check_limit(self) -> None:
        limit = self._pipe.max_errors
        if isinstance(limit, int) and self._progress.count("rejected_rows") > limit:
            raise self._too_many(f"{limit:,}")

    # ---- starting writers -------------------------------------------------------------------------------------

    def _start_early(self, writer: Writer) -> None:
        """Where the columns are known before the first row, a target that cannot hold them says so at once."""
        if self._plan is not None and self._plan.types and not self._after:
            self._start_writer(writer, self._plan.types)
        if self._rejects is not None and self._source_types is not None:
            self._rejects.start(self._source_types)

    def _start_writer(self, writer: Writer, types: Mapping[str, ColumnType]) -> None:
        if not self._writer_started:
            self._writer_started = True
            writer.start(types)

    # ---- the end ----------------------------------------------------------------------------------------------

    def _finish(self, writer: Writer) -> None:
        with self._progress.timing("write_seconds"):
            self._start_writer(writer, self._types_without_rows())
            if self._rejects is not None:
                self._rejects.start({})
                self._rejects.flush()
            self._check_share()
            self._reconcile()
            writer.prepare()
            if self._rejects is not None:
                self._rejects.prepare()
            self._look_at_stop()
            if self._rejects is not None:
                self._rejects.publish()
            self._progress.set(bytes_written=writer.bytes_written)
            self._progress.note(*self._memory.notes)
            self._memory.remember(writer, self._progress.snapshot())
            writer.publish()
            self._progress.note(*self._memory.notes)
        self._progress.set(bytes_written=writer.bytes_written)

    def _types_without_rows(self) -> Mapping[str, ColumnType]:
        if self._plan is not None:
            return {**self._plan.types, **self._after.adds}
        return {**(self._source_types or {}), **self._before.adds, **self._after.adds}

    def _check_share(self) -> None:
        limit = self._pipe.max_errors
        read, rejected = self._progress.count("read_rows"), self._progress.count("rejected_rows")
        # Divided, since 0.29 * 100 is less than 29.
        if isinstance(limit, float) and rejected and rejected / max(read, 1) > limit:
            raise self._too_many(f"{limit * 100:g}% of {read:,} rows")

    def _too_many(self, limit: str) -> TooManyRejectsError:
        """The error, with the rejects published: they are what the user needs now."""
        lines = [
            f"{self._progress.count('rejected_rows'):,} rows were rejected; max_errors allows {limit}. No row was "
            "published."
        ]
        lines.extend(f"  {rejection}" for rejection in self._progress.snapshot().rejections[:3])
        if self._rejects is not None and self._pipe.error_output_adapter is not None:
            try:
                self._rejects.prepare()
                self._rejects.publish()
            except Exception as error:  # noqa: BLE001  the rejects' error would hide why the load fails
                lines.append(f"  the rejects could not be published: {type(error).__name__}: {error}")
            else:
                lines.append(f"  the rejects so far are in {self._pipe.error_output_adapter.label}")
        return TooManyRejectsError("\n".join(lines))

    def _reconcile(self) -> None:
        count = self._progress.count
        came = count("read_rows") + count("added_rows")
        went = count("loaded_rows") + count("rejected_rows") + count("filtered_rows")
        if came != went:
            raise ZoopipeError(
                f"the rows do not add up: {count('read_rows'):,} read + {count('added_rows'):,} added, but "
                f"{count('loaded_rows'):,} loaded + {count('rejected_rows'):,} rejected + "
                f"{count('filtered_rows'):,} filtered; nothing was published"
            )

    def _undo(self, error: BaseException) -> None:
        """Abort both outputs. `error` stays the one that counts; what fails here is noted on it."""
        # The one that was opened first goes last: it may have made the folder of both.
        aborts = [output.abort for output in (self._rejects, self._writer) if output is not None]
        for undo in (*aborts, self._memory.release):
            try:
                undo()
            except Exception as second:  # noqa: BLE001  kept as a note of the error that is about to be raised
                error.add_note(f"while undoing the load, {type(second).__name__}: {second}")

    def _look_at_stop(self) -> None:
        if self._stop.is_set():
            raise LoadAbortedError("the load was cancelled; nothing was published")


@contextmanager
def _closing(items: Iterator[T]) -> Iterator[Iterator[T]]:
    """The iterator, closed at the end if it can be: a generator ends its threads then."""
    try:
        yield items
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _check_batch(batch: SourceBatch) -> None:
    """Hold a reader to its contract, on which the account of rows rests."""
    if batch.kind is SourceKind.OBJECTS:
        held = len(batch.objects or ())
    else:
        held = batch.columns.num_rows if batch.names else batch.num_rows
    if held != batch.num_rows:
        raise SourceError(f"{batch.source}: the reader gave {held:,} rows with {batch.num_rows:,} row numbers")
    if batch.num_rows and (batch.rows[0] < 1 or np.any(np.diff(batch.rows) < 1)):
        raise SourceError(f"{batch.source}: the reader gave row numbers that do not rise from 1")
