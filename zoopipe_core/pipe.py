"""`Pipe`: a load described once, and run.

A Pipe says where rows come from, the model that says what a good row is, where good rows go and where rejected rows
go. It is a value: building one does no I/O, it compares, pickles, and its repr is short and holds no secret. Running
it is an all-or-nothing load; see `zoopipe_core.run`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from zoopipe_core.adapters.base import InputAdapter, OutputAdapter
from zoopipe_core.display import AUTO, Display, ReportCallback, open_display
from zoopipe_core.errors import SpecError
from zoopipe_core.executors import BatchExecutor, SingleThreadExecutor
from zoopipe_core.hooks import BaseHook, ColumnHook
from zoopipe_core.registry import resolve_input, resolve_output
from zoopipe_core.report import PipeReport

if TYPE_CHECKING:
    from zoopipe_core.progress import LoadProgress

__all__ = ["Pipe"]

POLL_SECONDS = 0.1
# Long waits are cut in slices: Python runs signal handlers between bytecodes of the main thread only.
ABORT_GRACE_SECONDS = 30.0


@dataclass(frozen=True, repr=False)
class Pipe:
    """A declarative load of rows from one place to another.

    Args:
        input_adapter: where rows come from: an adapter, a path or URL (``"users.csv"``), an iterable of rows, or an
            object with ``__arrow_c_stream__``.
        output_adapter: where good rows go: an adapter, a path or a URL (``"duckdb:///wh.db::users"``). None: nowhere,
            the rows are only validated and counted.
        error_output_adapter: where rejected rows go, in the same forms. None: they are only counted and summarized.
        schema_model: the pydantic BaseModel, dataclass or TypedDict that a row has to satisfy. None: rows pass as
            they are.
        pre_validation_hooks, post_validation_hooks: `BaseHook`s and `ColumnHook`s.
        executor: how batches are worked on; default `SingleThreadExecutor`.
        max_errors: how many rows may be rejected before the load fails with nothing published: a number, or a share
            of the rows read (a float from 0 to 1). None: any number.

    >>> from pydantic import BaseModel
    >>> class User(BaseModel):
    ...     id: int
    >>> pipe = Pipe([{"id": "1"}, {"id": "x"}], None, schema_model=User)
    >>> pipe.run()
    True
    >>> pipe.report.loaded_rows, pipe.report.rejected_rows
    (1, 1)

    Raises:
        SpecError: the parts do not fit together; `UnknownAdapterError` and `SchemaModelError` are of this kind.
    """

    input_adapter: InputAdapter
    output_adapter: OutputAdapter | None
    error_output_adapter: OutputAdapter | None = None
    schema_model: type | None = None
    pre_validation_hooks: Sequence[BaseHook | ColumnHook] = ()
    post_validation_hooks: Sequence[BaseHook | ColumnHook] = ()
    executor: BatchExecutor = field(default_factory=SingleThreadExecutor)
    max_errors: int | float | None = None
    _state: _State = field(default_factory=lambda: _State(), init=False, compare=False)

    def __init__(
        self,
        input_adapter: Any,
        output_adapter: Any,
        error_output_adapter: Any = None,
        schema_model: type | None = None,
        pre_validation_hooks: Iterable[BaseHook | ColumnHook] | None = None,
        post_validation_hooks: Iterable[BaseHook | ColumnHook] | None = None,
        executor: BatchExecutor | None = None,
        *,
        max_errors: int | float | None = None,
    ) -> None:
        values = {
            "input_adapter": input_adapter if isinstance(input_adapter, InputAdapter) else resolve_input(input_adapter),
            "output_adapter": _output(output_adapter),
            "error_output_adapter": _output(error_output_adapter),
            "schema_model": schema_model,
            "pre_validation_hooks": _hooks("pre_validation_hooks", pre_validation_hooks),
            "post_validation_hooks": _hooks("post_validation_hooks", post_validation_hooks),
            "executor": executor if executor is not None else SingleThreadExecutor(),
            "max_errors": max_errors,
            "_state": _State(),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        if self.schema_model is not None:
            from zoopipe_core.schema.plan import check_model

            check_model(self.schema_model)
        if not isinstance(self.executor, BatchExecutor):
            raise SpecError(
                f"executor has to be a SingleThreadExecutor or a MultiThreadExecutor, not {self.executor!r}"
            )
        if self.output_adapter is not None and self.output_adapter == self.error_output_adapter:
            raise SpecError(f"rows and rejects cannot both go to {self.output_adapter.label}")
        limit = self.max_errors
        if limit is None:
            return
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if not is_number or limit < 0 or (isinstance(limit, float) and not limit <= 1):
            raise SpecError(
                f"max_errors has to be a number of rows (0, 100), a share of them (0.01), or None, not {limit!r}"
            )

    # ---- running ----------------------------------------------------------------------------------------------

    def run(
        self, wait: bool = True, timeout: float | None = None, on_report_update: ReportCallback | None = AUTO
    ) -> bool:
        """Run the load. True if all of it is read, written, closed and published.

        Args:
            wait: False to return at once (True means "started" then); see `wait`.
            timeout: seconds after which the load is aborted and False returned.
            on_report_update: called with a `PipeReport` a few times a second and at the end. Default: a progress
                display, where standard error is a terminal. None: nothing is shown.

        A failed load does not raise: see ``report``, and ``report.raise_for_status()``. Ctrl-C and SIGTERM abort
        the load, undo it, and then take their usual course.

        Raises:
            RuntimeError: the pipe is running already.
        """
        if not wait:
            self.start()
            return True
        with open_display(on_report_update) as display, _sigterm_as_exit():
            self.start()
            try:
                finished = self._watch(timeout, display)
            except BaseException:
                self.shutdown(ABORT_GRACE_SECONDS)
                raise
            if not finished:
                self.shutdown(ABORT_GRACE_SECONDS)
            display.update(self.report)
        return self.report.status.value == "completed"

    def start(self) -> None:
        """Start the load in a thread of its own.

        Raises:
            RuntimeError: it is running already.
        """
        from zoopipe_core.progress import LoadProgress
        from zoopipe_core.run import run_load

        state = self._state
        with state.lock:
            if state.thread is not None and state.thread.is_alive():
                raise RuntimeError(f"{self!r} is already running; wait() for it or shutdown() first")
            state.stop = threading.Event()
            target = self.output_adapter.label if self.output_adapter is not None else "no output"
            rejects = self.error_output_adapter
            state.progress = LoadProgress(self.input_adapter.label, target, None if rejects is None else rejects.label)
            state.thread = threading.Thread(
                target=run_load, args=(self, state.progress, state.stop), name=f"zoopipe-{self.input_adapter.label}"
            )
            state.thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the load to end. True if it has ended, False if `timeout` seconds passed first.

        Raises:
            RuntimeError: it was never started.
        """
        with open_display(None) as silent:
            return self._watch(timeout, silent)

    def _watch(self, timeout: float | None, display: Display) -> bool:
        thread = self._state.thread
        if thread is None:
            raise RuntimeError(f"{self!r} was not started; call start() or run()")
        deadline = None if timeout is None else time.monotonic() + timeout
        while thread.is_alive():
            left = POLL_SECONDS if deadline is None else min(POLL_SECONDS, deadline - time.monotonic())
            if left <= 0:
                return False
            thread.join(left)
            display.update(self.report)
        return True

    def shutdown(self, timeout: float = 5.0) -> None:
        """Abort the load if it is running, and wait up to `timeout` seconds for it to be undone.

        A load that is stuck outside Python (a source that never answers) may take longer; it can publish nothing
        any more, and its report tells when it has ended.
        """
        self._state.stop.set()
        thread = self._state.thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    @property
    def is_running(self) -> bool:
        """True from `start` until the load has ended."""
        thread = self._state.thread
        return thread is not None and thread.is_alive()

    @property
    def report(self) -> PipeReport:
        """The latest snapshot; PENDING before the first start."""
        progress: LoadProgress | None = self._state.progress
        if progress is None:
            target = self.output_adapter.label if self.output_adapter is not None else "no output"
            return PipeReport(source=self.input_adapter.label, target=target)
        return progress.snapshot()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown(ABORT_GRACE_SECONDS)

    # ---- a value ----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        target = "no output" if self.output_adapter is None else self.output_adapter.label
        model = "" if self.schema_model is None else f", schema_model={self.schema_model.__name__}"
        return f"Pipe({self.input_adapter.label} -> {target}{model})"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_state"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_state", _State())


@dataclass(eq=False)
class _State:
    """What a running pipe has beside its description."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    progress: LoadProgress | None = None


def _output(target: Any) -> OutputAdapter | None:
    if target is None or isinstance(target, OutputAdapter):
        return target
    return resolve_output(target)  # type: ignore[no-any-return]


def _hooks(name: str, hooks: Iterable[BaseHook | ColumnHook] | None) -> tuple[BaseHook | ColumnHook, ...]:
    if hooks is None:
        return ()
    if isinstance(hooks, BaseHook | ColumnHook):
        raise SpecError(f"{name} has to be a list of hooks: [{hooks.name}()]")
    result = tuple(hooks)
    for hook in result:
        if not isinstance(hook, BaseHook | ColumnHook):
            raise SpecError(f"{name}: {hook!r} is no hook; derive it from BaseHook or ColumnHook, and give an instance")
    return result


class _Terminated(BaseException):
    """SIGTERM arrived while a load was waited for."""


@contextmanager
def _sigterm_as_exit() -> Iterator[None]:
    """Let SIGTERM undo the load before it ends the process, as Ctrl-C does.

    Only where it would otherwise kill the process at once: in the main thread, with the default handler.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except _Terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
