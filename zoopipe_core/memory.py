"""Whether a load is done already, and what is remembered when it is.

    begin()          before anything is read: is it loaded?      else, for a load that has a name: "running"
    open_writer()    the same again, with other loads kept away
    source, advance  what is new of the input, and how far it was read
    remember()       the record, which the target publishes together with the rows
    tell()           how it ended, where nothing was published

Which loads have a name: `LoadMemory`. Where records are kept: `zoopipe_core.adapters.ledger`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Protocol

from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, Writer
from zoopipe_core.adapters.ledger import COMPLETED, Ledger, LoadKey, LoadRecord, digest
from zoopipe_core.adapters.watermark import Mark
from zoopipe_core.errors import ZoopipeError
from zoopipe_core.report import PipeReport, PipeStatus, now
from zoopipe_core.running import Progress

if TYPE_CHECKING:
    from zoopipe_core.pipe import Pipe

__all__ = ["LoadMemory"]


class Remembering(Protocol):
    """A target that takes the record of what is about to be published in it, such as a `Writer`."""

    def remember(self, record: LoadRecord) -> None: ...


class LoadMemory:
    """What the target of a pipe knows of one run of it.

    A load that the caller has named is done once under that name. One without a name is done again each time, if its
    target is replaced as a whole, since that changes nothing. Where rows are added to those that are there, input and
    target name the load, if the state of the input can be told; if it cannot, it is done again each time.

    Args:
        pipe: that is run.
    """

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._output = pipe.output_adapter
        self._ledger: Ledger | None = None
        self._writer: Writer | None = None
        self._noted = False
        self._mark: Mark | None = None
        self._reached: Mark | None = None
        self.key: LoadKey | None = None

    @property
    def load_id(self) -> str | None:
        """What reports call this load."""
        return self._pipe.load_id if self.key is None or not self._is_named else self.key.load_id

    @property
    def attempt(self) -> int:
        """The how manieth try this is, as far as is known."""
        return 1 if self.key is None else self.key.attempt

    def begin(self, report: PipeReport, *, at_once: bool = False) -> None:
        """Look whether the load is done; nothing is read for that.

        Args:
            report: of the run, which begins.
            at_once: `open_writer`, or `release`, follows without delay: what was opened to look may stay open for it.

        Raises:
            AlreadyLoadedError, LoadIdError: as `LoadKey.check`.
            SourceError: the input is not there.
            DatabaseError, TargetError: the ledger cannot be read.
        """
        output = self._output
        if output is None or not (self._pipe.load_id or output.adds or output.always_remembers):
            return
        ledger = output.ledger()
        if ledger is None:
            return
        self._ledger = ledger
        if at_once:
            ledger.hold()
        key = self.key = self._key(output)
        if key.mark_name:
            self._mark = next((mark for mark in ledger.marks() if mark.name == key.mark_name), None)
            key = self.key = replace(key, mark_run="" if self._mark is None else self._mark.run)
        if not self._is_named:
            return
        if not key.given:
            self._check(key, ledger.find(key.load_id))
            return

        def decide(found: LoadRecord | None) -> LoadRecord | None:
            self._check(key, found)
            return self._unless_done(found, replace(report, status=PipeStatus.RUNNING))

        ledger.note(key.load_id, decide)
        self._noted = True

    def _check(self, key: LoadKey, found: LoadRecord | None) -> None:
        key.check(found)
        self.key = replace(key, attempt=1 if found is None else found.attempt + 1)

    def _key(self, output: OutputAdapter) -> LoadKey:
        pipe = self._pipe
        found = pipe.input_adapter.fingerprint() if pipe.load_id or output.adds else None
        run = secrets.token_hex(8)
        if pipe.load_id is not None:
            load_id = pipe.load_id
        elif found is not None and found.tells_state:
            load_id = f"input-{found.digest}"
        else:
            load_id = f"run-{run}"
        return LoadKey(
            load_id,
            run,
            "" if found is None else str(found),
            _schema(pipe),
            given=pipe.load_id is not None,
            again=pipe.if_loaded == "again",
            mark_name=pipe.input_adapter.mark_name or "",
        )

    @property
    def _is_named(self) -> bool:
        """Whether other runs may have the same id."""
        return self.key is not None and not self.key.load_id.endswith(self.key.run)

    @property
    def source(self) -> InputAdapter:
        """What is to be read: of an input with a watermark, what is new."""
        source = self._pipe.input_adapter
        if self.key is None or not self.key.mark_name or self._output is None:
            return source
        return source.resume(self._mark, remembers=self._output.mode != "merge")

    def advance(self, mark: Mark | None) -> None:
        """All of `source` was read: where the next load goes on, once this one is published."""
        self._reached = mark

    def open_writer(self) -> Writer | None:
        """The target, open; None if there is none.

        Raises:
            TargetError, DatabaseConnectionError: as `OutputAdapter.open`.
            AlreadyLoadedError, LoadIdError, LoadLockedError: as `OutputAdapter.open_load`.
        """
        if self._output is not None:
            open_load = self._output.open_load
            self._writer = self._output.open() if self.key is None else open_load(self.key, self._ledger)
        return self._writer

    def release(self) -> None:
        """Nothing is opened any more: close what was kept for that."""
        if self._ledger is not None:
            self._ledger.release()

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks of the writer that was opened last."""
        return () if self._writer is None else self._writer.notes

    def remember(self, target: Remembering, report: PipeReport) -> None:
        """Say what the ledger is to hold when the load is published.

        Args:
            target: prepared.
            report: of all that was done, but for the commit.
        """
        if self.key is not None:
            done = replace(
                report, status=PipeStatus.COMPLETED, finished_at=now(), fraction_done=1.0, ram_bytes=0, cause=None
            )
            target.remember(replace(self._record(done), mark=self._reached))

    def remembers(self, output: OutputAdapter) -> bool:
        """Whether this is the target that is meant."""
        return output is self._output

    def tell(self, progress: Progress) -> None:
        """Note in the ledger how a load ended of which nothing was published."""
        if not self._noted or self.key is None or self._ledger is None:
            return
        report = progress.snapshot()
        try:
            self._ledger.note(self.key.load_id, lambda found: self._unless_done(found, report))
        except ZoopipeError as error:
            progress.note(f"the ledger could not be told: {error}")

    def _unless_done(self, found: LoadRecord | None, report: PipeReport) -> LoadRecord | None:
        """The record of a load that is not published; what is done stays in the ledger."""
        if found is not None and found.status == COMPLETED:
            return None
        return self._record(replace(report, cause=None))

    def _record(self, report: PipeReport) -> LoadRecord:
        assert self.key is not None
        assert self._ledger is not None
        assert self._output is not None
        return LoadRecord.of(self.key, self._ledger.target, self._output.mode, report, _versions())


@cache
def _versions() -> str:
    import pyarrow as pa
    import pydantic

    # That of ours only from its metadata, which take some milliseconds to find and to read.
    return f"zoopipe-plugins {version('zoopipe-plugins')}, pyarrow {pa.__version__}, pydantic {pydantic.VERSION}"


def _schema(pipe: Pipe) -> str:
    """A digest of the model and the hooks, the same in every process."""
    parts: list[str] = []
    if pipe.schema_model is not None:
        from zoopipe_core.schema.plan import plan_of

        parts.append(pipe.schema_model.__qualname__)
        parts += [f"{name}:{kind.arrow}:{kind.nullable}" for name, kind in plan_of(pipe.schema_model).types.items()]
    parts += [_hook(hook) for hook in (*pipe.pre_validation_hooks, *pipe.post_validation_hooks)]
    return digest(parts)


def _hook(hook: object) -> str:
    """The class of a hook and those of its settings that are plain values."""
    settings = sorted((name, value) for name, value in vars(hook).items() if _is_plain(value))
    return f"{type(hook).__qualname__}{settings!r}"


def _is_plain(value: object) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float | bool)
