"""`Pipe`: a load described once, and run.

A Pipe says where rows come from, the model that says what a good row is, where good rows go and where rejected rows
go. It is a value: building one does no I/O, it compares, pickles, and its repr is short and holds no secret. Running
it is an all-or-nothing load; see `zoopipe_core.run`.
"""

from __future__ import annotations

import fnmatch
import glob
import operator
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from zoopipe_core._arrow import import_arrow
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, Reader, ReadRequest
from zoopipe_core.display import ReportCallback, progress_display
from zoopipe_core.errors import SpecError
from zoopipe_core.executors import BatchExecutor, SingleThreadExecutor
from zoopipe_core.hooks import BaseHook, ColumnHook, Hook, check_hook
from zoopipe_core.registry import resolve_input, resolve_output

if TYPE_CHECKING:
    from zoopipe_core.batches.source import SourceBatch
    from zoopipe_core.progress import LoadProgress
    from zoopipe_core.report import PipeReport
    from zoopipe_core.running import Run
    from zoopipe_core.schema.explain import Explanation

__all__ = ["Pipe"]

MAX_LOAD_ID_CHARS = 200
IF_LOADED = ("skip", "fail", "again")


@dataclass(frozen=True, repr=False, eq=False)
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
        load_id: the name of this load, the same for all tries of it. Under one name an input is loaded once: a second
            run reads nothing, completes, and has the report of the first. None: a target that rows are added to
            remembers each file by name, size and time of change; a target that is replaced is replaced again.
        if_loaded: what to do if the target has this load: ``"skip"`` it, ``"fail"``, or load it ``"again"``.

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
    load_id: str | None = None
    if_loaded: str = "skip"
    _state: _State = field(default_factory=lambda: _State(), init=False)

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
        load_id: str | None = None,
        if_loaded: str = "skip",
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
            "load_id": load_id,
            "if_loaded": if_loaded,
            "_state": _State(),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    def _check(self) -> None:
        if self.schema_model is not None:
            from zoopipe_core.schema.model_check import check_model

            check_model(self.schema_model)
        if not isinstance(self.executor, BatchExecutor):
            raise SpecError(
                f"executor has to be a SingleThreadExecutor or a MultiThreadExecutor, not {self.executor!r}"
            )
        target, rejects = self.output_adapter, self.error_output_adapter
        if target is not None and rejects is not None and _same_place(target.place, rejects.place):
            raise SpecError(f"rows and rejects cannot both go to {target.label}; name another place for one of them")
        if rejects is not None and any(_same_place(place, rejects.place) for place in self.input_adapter.places):
            raise SpecError(f"the rejects would replace their own source, {rejects.label}; name another place for them")
        self._check_watermark()
        self._check_load_id()
        limit = self.max_errors
        if limit is None:
            return
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if not is_number or limit < 0 or (isinstance(limit, float) and not limit <= 1):
            raise SpecError(
                f"max_errors has to be a number of rows (0, 100), a share of them (0.01), or None, not {limit!r}"
            )

    def _check_watermark(self) -> None:
        target = self.output_adapter
        if self.input_adapter.mark_name is not None and not (
            target is not None and target.adds and target.always_remembers
        ):
            raise SpecError(
                f"{self.input_adapter.label} is read by a watermark: its new rows have to be added to those of earlier "
                'loads, by SQLOutputAdapter(..., mode="append") or "merge"'
            )

    def _check_load_id(self) -> None:
        given = self.load_id
        if given is not None and not (
            isinstance(given, str) and 0 < len(given) <= MAX_LOAD_ID_CHARS and given.isprintable()
        ):
            raise SpecError(
                f"load_id has to be a printable text of at most {MAX_LOAD_ID_CHARS} characters, or None, not {given!r}"
            )
        if self.if_loaded not in IF_LOADED:
            raise SpecError(f"if_loaded has to be one of {', '.join(map(repr, IF_LOADED))}, not {self.if_loaded!r}")

    def explain(self, sample: int | None = None) -> Explanation:
        """Each field's route through validation and why it is not a faster one; print it to see a table.

        Args:
            sample: read so many rows of the input, and count those that kernels leave to pydantic. Hooks are not run.

        >>> from pydantic import BaseModel
        >>> class User(BaseModel):
        ...     id: int
        >>> Pipe("users.csv", None, schema_model=User).explain()
        User:
        field  route   kernel  why not faster
        -----  ------  ------  --------------
        id     kernel  int

        Raises:
            SpecError: the pipe has no model, or `sample` is below 1.
            SourceError: the input cannot be read.
        """
        from zoopipe_core.schema.explain import explain_plan
        from zoopipe_core.schema.plan import plan_of

        if self.schema_model is None:
            raise SpecError(f"{self!r} has no schema_model: rows pass as they are, there is nothing to explain")
        plan = plan_of(self.schema_model)
        if sample is None:
            return explain_plan(plan)
        if not isinstance(sample, int) or sample < 1:
            raise SpecError(f"sample has to be a number of rows of at least 1, or None, not {sample!r}")
        with self.input_adapter.open(ReadRequest(plan.source_columns, batch_size=self.executor.batch_size)) as reader:
            return explain_plan(plan, _first_rows(reader, sample))

    # ---- running ----------------------------------------------------------------------------------------------

    def run(
        self,
        wait: bool = True,
        timeout: float | None = None,
        on_report_update: ReportCallback | None = progress_display,
    ) -> bool:
        """Run the load. True if all of it is read, written, closed and published.

        Args:
            wait: False to return at once (True means "started" then); see `start`, and `wait` for the rest.
            timeout: seconds after which the load is aborted and False returned.
            on_report_update: called with a `PipeReport` a few times a second and at the end, in this thread; what it
                raises is logged and noted in the report. Default: a progress display, where standard error is a
                terminal. None: nothing is shown.

        A failed load does not raise: see ``report``, and ``report.raise_for_status()``. Ctrl-C and SIGTERM abort
        the load, undo it, and then take their usual course.

        Raises:
            RuntimeError: the pipe is running already.
        """
        from zoopipe_core.running import follow

        run = self._begin()
        if not wait:
            return True
        return follow(run, timeout, on_report_update)

    def start(self) -> None:
        """Start the load in a thread of its own.

        The interpreter waits for it before it ends. `wait` for it all the same: only then do Ctrl-C and SIGTERM
        undo it first.

        Raises:
            RuntimeError: it is running already.
        """
        self._begin()

    def _begin(self) -> Run:
        from zoopipe_core.running import Run

        with self._state.lock:
            if self.is_running:
                raise RuntimeError(f"{self!r} is already running; wait() for it or shutdown() first")
            progress = self._new_progress()
            run = self._state.run = Run(self.input_adapter.label, progress, lambda stop: self._load(progress, stop))
            run.begin()
        return run

    def _load(self, progress: LoadProgress, stop: threading.Event) -> None:
        from zoopipe_core.run import run_load

        run_load(self, progress, stop)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the load to end. True if it has ended, False if `timeout` seconds passed first; it goes on then.

        Ctrl-C and SIGTERM abort the load, undo it, and then take their usual course.

        Raises:
            RuntimeError: it was never started.
        """
        from zoopipe_core.running import watch

        run = self._state.run
        if run is None:
            raise RuntimeError(f"{self!r} was not started; call start() or run()")
        return watch(run, timeout, None)

    def shutdown(self, timeout: float = 5.0) -> None:
        """Abort the load if it is running, and wait up to `timeout` seconds for it to be undone.

        A load that is stuck outside Python (a source that never answers) may take longer; it can publish nothing
        any more, and its report tells when it has ended.
        """
        if self._state.run is not None:
            self._state.run.end(timeout)

    @property
    def is_running(self) -> bool:
        """True from `start` until the load has ended."""
        return self._state.run is not None and not self._state.run.progress.snapshot().is_finished

    @property
    def report(self) -> PipeReport:
        """The latest snapshot; PENDING before the first start."""
        return (self._new_progress() if self._state.run is None else self._state.run.progress).snapshot()

    def _new_progress(self) -> LoadProgress:
        import_arrow()  # before anything else does
        from zoopipe_core.progress import LoadProgress

        target, rejects = self.output_adapter, self.error_output_adapter
        return LoadProgress(
            self.input_adapter.label,
            "no output" if target is None else target.label,
            None if rejects is None else rejects.label,
        )

    def __enter__(self) -> Self:
        """Start the load; leaving the block aborts it unless it has ended: `wait` for it inside."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from zoopipe_core.running import ABORT_GRACE_SECONDS

        self.shutdown(ABORT_GRACE_SECONDS)

    # ---- a value ----------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        target = "no output" if self.output_adapter is None else self.output_adapter.label
        model = "" if self.schema_model is None else f", schema_model={self.schema_model.__name__}"
        return f"Pipe({self.input_adapter.label} -> {target}{model})"

    def __eq__(self, other: object) -> bool:
        return self._parts() == other._parts() if isinstance(other, Pipe) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._parts())

    def _parts(self) -> tuple[Any, ...]:
        # With the type of max_errors: 1 is one row and 1.0 is all of them.
        return (*self.__getstate__().values(), type(self.max_errors))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_state"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_state", _State())


@dataclass(eq=False)
class _State:
    """What a pipe has beside its description: the latest run."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    run: Run | None = None


def _first_rows(reader: Reader, count: int) -> Iterator[SourceBatch]:
    for batch in reader:
        yield batch if batch.num_rows <= count else batch.slice(0, count)
        count -= batch.num_rows
        if count <= 0:
            return


def _output(target: Any) -> OutputAdapter | None:
    if target is None or isinstance(target, OutputAdapter):
        return target
    return resolve_output(target)  # type: ignore[no-any-return]


def _hooks(name: str, hooks: Iterable[Hook] | None) -> tuple[Hook, ...]:
    if hooks is None:
        return ()
    if isinstance(hooks, Hook) or not isinstance(hooks, Iterable):
        raise SpecError(f"{name} has to be a list of hooks, not {hooks!r}")
    result = tuple(hooks)
    for hook in result:
        check_hook(hook)
    return result


def _same_place(one: str | None, other: str | None) -> bool:
    """Whether two places are one; the first may be a pattern."""
    if one is None or other is None:
        return False
    if one == other:
        return True
    # What is no pattern is compared as it is: a pattern takes a while to compile, and no second one is like it.
    matches = fnmatch.fnmatch if glob.has_magic(one) else operator.eq
    if matches(other, one):
        return True
    return "://" not in one + other and matches(os.path.abspath(other), os.path.abspath(one))
