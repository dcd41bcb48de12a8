"""One load, from the first byte to the commit.

    read -> pre-hooks -> validate -> post-hooks -> write          batch by batch, in order
    then: all counted?  rejects published, rows published         both, or neither

Reading, hooks and writing happen in the thread that calls `run_load`; validation where the executor puts it. Nothing
is visible before the last row was written and counted; whatever ends the load earlier undoes it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoopipe_core.adapters.base import OutputAdapter, Reader, ReadRequest, Writer
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.source import SourceBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import (
    ColumnNotFoundError,
    DuplicateColumnError,
    LoadAbortedError,
    TooManyRejectsError,
    ZoopipeError,
)
from zoopipe_core.hooking import HookChain, PostHooked
from zoopipe_core.progress import LoadProgress
from zoopipe_core.report import PipeStatus
from zoopipe_core.schema.plan import ModelPlan, plan_of
from zoopipe_core.schema.validate import Validated, Validator

if TYPE_CHECKING:
    from zoopipe_core.pipe import Pipe

__all__ = ["run_load"]

logger = logging.getLogger(__name__)


def run_load(pipe: Pipe, progress: LoadProgress, stop: threading.Event) -> None:
    """Run `pipe` to its end and record in `progress` how it ended. Does not raise: the report tells."""
    progress.start()
    try:
        _Load(pipe, progress, stop).run()
    except LoadAbortedError as error:
        progress.finish(PipeStatus.ABORTED, error)
        logger.warning("load %s aborted", pipe)
    except BaseException as error:
        progress.finish(PipeStatus.FAILED, error)
        logger.warning("load %s failed: %s", pipe, type(error).__name__)
        if not isinstance(error, Exception):
            raise
    else:
        progress.finish(PipeStatus.COMPLETED)
        logger.info("load %s completed", pipe)


@dataclass(frozen=True, slots=True)
class _Work:
    """A batch as read, and as pre-validation hooks left it."""

    source: SourceBatch
    batch: SourceBatch


class _Discard(Writer):
    """The target of a pipe without one: rows are validated and counted."""

    def start(self, types: Mapping[str, ColumnType]) -> None:
        return

    def write(self, batch: ModelBatch) -> None:
        return

    def prepare(self) -> None:
        return

    def publish(self) -> None:
        return

    def abort(self) -> None:
        return


class _Load:
    def __init__(self, pipe: Pipe, progress: LoadProgress, stop: threading.Event) -> None:
        self._pipe = pipe
        self._progress = progress
        self._stop = stop
        self._plan: ModelPlan | None = plan_of(pipe.schema_model) if pipe.schema_model is not None else None
        self._before = HookChain(pipe.pre_validation_hooks)
        self._after = HookChain(pipe.post_validation_hooks)
        self._store: dict[str, Any] = {}
        output = pipe.output_adapter
        wants_json = output is not None and output.wants_json and not self._after
        self._validator = Validator(self._plan, wants_json)
        self._checked: tuple[str, ...] | None = None
        self._writer_started = False
        self._reject_names: list[str] | None = None

    def run(self) -> None:
        with self._pipe.input_adapter.open(self._request()) as reader:
            self._check_columns(reader, self._pipe.input_adapter.label, list(reader.columns or ()))
            self._writer = _open(self._pipe.output_adapter)
            self._rejects: Writer | None = None
            try:
                if self._pipe.error_output_adapter is not None:
                    self._rejects = self._pipe.error_output_adapter.open()
                self._process(reader)
                self._finish(reader)
            except BaseException as error:
                self._undo(error)
                raise

    def _request(self) -> ReadRequest:
        wanted: frozenset[str] | None = None
        if self._plan is not None:
            wanted = self._plan.source_columns
            if self._before:
                hooked = self._before.columns
                wanted = None if wanted is None or hooked is None else wanted | hooked
        keep_all = self._pipe.error_output_adapter is not None
        return ReadRequest(wanted, keep_all, self._pipe.executor.batch_size, self._stop)

    # ---- columns ----------------------------------------------------------------------------------------------

    def _check_columns(self, reader: Reader, source: str, names: list[str]) -> None:
        """Before the first row: every column that the model requires is there, and once."""
        if self._plan is None or reader.columns is None:
            return
        self._checked = tuple(names)
        wanted = self._plan.source_columns
        twice = sorted(reader.duplicates & wanted) if wanted is not None else sorted(reader.duplicates)
        if twice:
            raise DuplicateColumnError(
                f"the column {twice[0]!r}, which the model {self._plan.name} needs, stands in {source} more than "
                "once; rename one of them in the file, or pass fieldnames=[...] with skip_rows=1"
            )
        if any(not isinstance(hook.adds, Mapping) or not hook.adds for hook in self._before.hooks):
            return  # a hook may add what is missing, and does not say
        missing = self._plan.missing([*names, *self._before.adds])
        if missing:
            raise ColumnNotFoundError.build(self._plan.name, missing, source, names)

    # ---- batches ----------------------------------------------------------------------------------------------

    def _process(self, reader: Reader) -> None:
        self._start_early(reader)
        try:
            self._before.setup(self._store)
            self._after.setup(self._store)
            results = self._pipe.executor.map(self._validate, self._read(reader))
            try:
                for work, validated in results:
                    self._look_at_stop()
                    self._write(work, validated)
            finally:
                close = getattr(results, "close", None)  # a generator; a plain iterator has none
                if close is not None:
                    close()
        finally:
            try:
                self._after.teardown(self._store)
            finally:
                self._before.teardown(self._store)

    def _read(self, reader: Reader) -> Iterator[_Work]:
        batches = iter(reader)
        while True:
            self._look_at_stop()
            with self._progress.timing("read_seconds"):
                batch = next(batches, None)
            if batch is None:
                return
            names = batch.batch.schema.names
            if self._checked is not None and tuple(names) != self._checked and self._plan is not None:
                wanted = self._plan.source_columns
                if any(name not in names for name in self._plan.missing(names)) and wanted is not None:
                    self._check_columns(reader, batch.source, names)
            for piece in batch.split(self._pipe.executor.batch_size):
                self._progress.add(read_rows=piece.num_records)
                self._progress.set(bytes_read=reader.bytes_read, fraction_done=reader.fraction)
                hooked = piece
                if self._before:
                    with self._progress.timing("hook_seconds"):
                        hooked = self._before.before(piece, self._store)
                yield _Work(piece, hooked)

    def _validate(self, work: _Work) -> tuple[_Work, Validated]:
        with self._progress.timing("validate_seconds"):
            return work, self._validator.validate(work.batch)

    def _write(self, work: _Work, validated: Validated) -> None:
        result = PostHooked(validated.good, validated.rejects)
        if self._after and validated.good.num_rows:
            with self._progress.timing("hook_seconds"):
                result = self._after.after(validated, work.source, self._store)
        hooked = work.batch.hooked
        filtered = result.filtered + (hooked.filtered if hooked else 0)
        added = result.added + (hooked.added if hooked else 0)
        with self._progress.timing("write_seconds"):
            if result.rejects.rejects:
                self._write_rejects(result.rejects)
            if result.good.num_rows:
                if not self._writer_started:
                    self._start_writer(result.good.types)
                self._writer.write(result.good)
        self._progress.add(loaded_rows=result.good.num_rows, filtered_rows=filtered, added_rows=added)
        self._progress.set(bytes_written=self._writer.bytes_written)

    def _write_rejects(self, rejects: RejectBatch) -> None:
        self._progress.count_rejects(rejects)
        self._progress.add(rejected_rows=len(rejects))
        limit = self._pipe.max_errors
        if self._rejects is not None:
            if self._reject_names is None:
                self._start_rejects(rejects.types)
            self._rejects.write(rejects.to_batch(self._reject_names))
        if isinstance(limit, int) and self._progress.count("rejected_rows") > limit:
            raise self._too_many(f"{limit:,}")

    # ---- starting writers -------------------------------------------------------------------------------------

    def _start_early(self, reader: Reader) -> None:
        """Where the columns are known before the first row, a target that cannot hold them says so at once."""
        if self._plan is not None and self._plan.types and not self._after:
            self._start_writer(self._plan.types)
        if self._rejects is not None and reader.columns is not None:
            self._start_rejects(reader.columns)

    def _start_writer(self, types: Mapping[str, ColumnType]) -> None:
        self._writer_started = True
        self._writer.start(types)

    def _start_rejects(self, source_types: Mapping[str, ColumnType]) -> None:
        assert self._rejects is not None
        self._reject_names = list(source_types)
        self._rejects.start(RejectBatch("", (), source_types).to_batch().types)

    # ---- the end ----------------------------------------------------------------------------------------------

    def _finish(self, reader: Reader) -> None:
        progress = self._progress
        progress.set(bytes_read=reader.bytes_read, notes=reader.notes)
        with progress.timing("write_seconds"):
            if not self._writer_started:
                self._start_writer(self._types_without_rows(reader))
            if self._rejects is not None and self._reject_names is None:
                self._start_rejects({})
            self._check_share()
            self._reconcile()
            self._writer.prepare()
            if self._rejects is not None:
                self._rejects.prepare()
            self._look_at_stop()
            if self._rejects is not None:
                self._rejects.publish()
            self._writer.publish()
        progress.set(bytes_written=self._writer.bytes_written)

    def _types_without_rows(self, reader: Reader) -> Mapping[str, ColumnType]:
        if self._plan is not None:
            return {**self._plan.types, **self._after.adds}
        return {**(reader.columns or {}), **self._after.adds}

    def _check_share(self) -> None:
        limit, read = self._pipe.max_errors, self._progress.count("read_rows")
        if isinstance(limit, float) and self._progress.count("rejected_rows") > limit * read:
            raise self._too_many(f"{limit:.2%} of {read:,} rows")

    def _too_many(self, limit: str) -> TooManyRejectsError:
        worst = self._progress.snapshot().rejections[:3]
        lines = [f"  {r.count:,} x {r.field or 'row'}: {r.type} (e.g. {r.source} row {r.row:,})" for r in worst]
        if self._pipe.error_output_adapter is not None:
            lines.append(f"  the rejects so far are in {self._pipe.error_output_adapter.label}")
        return TooManyRejectsError(
            f"{self._progress.count('rejected_rows'):,} rows were rejected; max_errors allows {limit}. Nothing was "
            "published.\n" + "\n".join(lines)
        )

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
        """Abort both outputs. The first error stays the one that counts; what fails here is noted on it."""
        self._noting(error, self._writer.abort)
        if self._rejects is None:
            return
        if isinstance(error, TooManyRejectsError):
            # The rejects are what the user needs now; the good rows stay unpublished.
            self._noting(error, self._rejects.prepare)
            self._noting(error, self._rejects.publish)
        self._noting(error, self._rejects.abort)

    @staticmethod
    def _noting(error: BaseException, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as second:  # noqa: BLE001  kept as a note of the error that is about to be raised
            error.add_note(f"while undoing the load, {type(second).__name__}: {second}")

    def _look_at_stop(self) -> None:
        if self._stop.is_set():
            raise LoadAbortedError("the load was cancelled; nothing was published")


def _open(output: OutputAdapter | None) -> Writer:
    return _Discard() if output is None else output.open()
