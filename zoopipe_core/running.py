"""One run in the background: its thread, and how a caller waits for it, ends it, and is told to end itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from types import FrameType
from typing import Protocol

from zoopipe_core.display import Display, ReportCallback, open_display
from zoopipe_core.report import PipeReport, PipeStatus

__all__ = ["ABORT_GRACE_SECONDS", "Progress", "Run", "ended_on_error", "follow", "watch"]

POLL_SECONDS = 0.1
ABORT_GRACE_SECONDS = 30.0
START_SECONDS = 1.0


class Progress(Protocol):
    """What is known of a run; called from any thread."""

    def start(self) -> None:
        """It begins now; once it has begun, this does nothing."""

    def note(self, *notes: str) -> None:
        """Add remarks to the report, also to one that is final."""

    def snapshot(self) -> PipeReport:
        """The report as of now."""
        ...

    def finish(self, status: PipeStatus, error: BaseException | None = None) -> None:
        """It has ended; but for notes, nothing changes any more."""


class Run:
    """One run: a thread, and what others see of it.

    Args:
        name: what runs, for the name of the thread.
        progress: where it tells how it goes.
        work: does it all, until done or until the event that it is given is set; records in `progress` how it ended.
    """

    def __init__(self, name: str, progress: Progress, work: Callable[[threading.Event], None]) -> None:
        self.progress = progress
        self.stop = threading.Event()
        # Not the thread's own join and is_alive: in Python 3.11 a signal handler that raises within join() makes them
        # take a running thread for one that has ended.
        self.ended = threading.Event()
        self._work: Callable[[threading.Event], None] | None = work
        # With the context of the caller: what is logged here belongs to his task run, trace or request.
        self.thread = threading.Thread(target=copy_context().run, args=(self._run,), name=f"zoopipe-{name}")

    def begin(self) -> None:
        """Start the thread."""
        self.progress.start()
        try:
            self.thread.start()
        except BaseException as error:
            # Ctrl-C may come when the thread has begun, or is about to and has no ident yet.
            self.stop.set()
            self.ended.wait(START_SECONDS if self.thread.ident is None else ABORT_GRACE_SECONDS)
            if self.thread.ident is None:
                self.progress.finish(PipeStatus.FAILED, error)
                self.ended.set()
            raise

    def _run(self) -> None:
        # Let go of here, since it mostly holds the owner of this run: no cycle keeps alive what an input holds open.
        work, self._work = self._work, None
        try:
            if work is not None:
                work(self.stop)
        except BaseException as error:  # noqa: BLE001  it is in the report; a thread has nobody to raise it to
            if not self.progress.snapshot().is_finished:
                self.progress.finish(PipeStatus.FAILED, error)
        finally:
            self.ended.set()

    def end(self, timeout: float) -> None:
        """Tell the load to end, and wait for it up to `timeout` seconds."""
        self.stop.set()
        if self.thread is not threading.current_thread():
            self.ended.wait(timeout)


def follow(run: Run, timeout: float | None, callback: ReportCallback | None) -> bool:
    """Wait for a run and show how it goes; True if it has completed. After `timeout` seconds it is aborted.

    Args:
        run: what was begun.
        timeout: None for any time.
        callback: as ``on_report_update`` of `Pipe.run`.
    """
    with ended_on_error(run), open_display(callback, run.progress.note) as display:
        in_time = watch(run, timeout, display)
        if not in_time:
            run.end(ABORT_GRACE_SECONDS)
        report = run.progress.snapshot()
        if not in_time and report.status is not PipeStatus.COMPLETED:
            run.progress.note(f"aborted: not done after {timeout:g} s, the timeout")
        display.update(run.progress.snapshot())
    return report.status is PipeStatus.COMPLETED


def watch(run: Run, timeout: float | None, display: Display | None) -> bool:
    """Wait for a run and show it; True if it has ended. If this thread is told to end meanwhile, so is the run."""
    deadline = None if timeout is None else time.monotonic() + timeout
    with _noticing_sigterm() as terminated, ended_on_error(run):
        # Long waits are cut in slices: Python runs signal handlers between bytecodes of the main thread only.
        while not run.ended.is_set() and not terminated():
            left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return False
            if not run.ended.wait(left) and display is not None:
                display.update(run.progress.snapshot())
        if terminated():
            run.end(ABORT_GRACE_SECONDS)
            if display is not None:
                display.close()
    return True


@contextmanager
def ended_on_error(run: Run) -> Iterator[None]:
    """End the run if the block raises."""
    try:
        yield
    except BaseException:
        # A run that was told already is not waited for again: a second Ctrl-C means now.
        if not run.stop.is_set():
            run.end(ABORT_GRACE_SECONDS)
        raise


@contextmanager
def _noticing_sigterm() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM wait until the load is undone, as Ctrl-C does; then it takes its usual course.

    Only where it would otherwise kill the process at once: in the main thread, with the default handler. The handler
    only takes a note: an exception raised by it could surface anywhere, also within the code that undoes the load.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield lambda: False
        return
    received: list[int] = []

    def take_note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    signal.signal(signal.SIGTERM, take_note)
    try:
        yield lambda: bool(received)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if received:
            os.kill(os.getpid(), signal.SIGTERM)
