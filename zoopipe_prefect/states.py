"""What Prefect is told of a load: the state of its task run, and whether it is worth another try."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed
from prefect.tasks import exponential_backoff
from prefect.transactions import Transaction, get_transaction

from zoopipe_core import PipeReport
from zoopipe_prefect.compatibility import SYNC
from zoopipe_prefect.load_ids import CALLED

__all__ = ["LoadTask", "completed", "counted", "fault_can_pass", "load_task", "report_of", "tag_run"]

P = ParamSpec("P")
R = TypeVar("R")

TAG = "zoopipe"

RETRIES = 2
FIRST_RETRY_SECONDS = 10.0

# By name, since what a worker raised arrives as text. The same load again would end the same way.
LASTING_FAULTS = frozenset(
    {
        "AlreadyLoadedError",
        "ColumnNotFoundError",
        "CorruptSourceError",
        "DecompressionLimitError",
        "DuplicateColumnError",
        "ImportError",
        "KeyboardInterrupt",
        "LoadAbortedError",
        "LoadIdError",
        "MissingDependencyError",
        "ModuleNotFoundError",
        "RecordTooLongError",
        "SchemaModelError",
        "SourceNotFoundError",
        "SpecError",
        "TableExistsError",
        "TableMismatchError",
        "TooManyRejectsError",
        "TypeError",
        "UnknownAdapterError",
        "UnsupportedTypeError",
        "UnsupportedValueError",
        "ValidatorError",
        "ValueError",
    }
)


def fault_can_pass(error: str | None) -> bool:
    """Whether the same load may succeed if it is run again.

    Args:
        error: the name of the exception's type, as in `PipeReport.exception`; None if there is none.

    >>> fault_can_pass("DatabaseConnectionError"), fault_can_pass("WorkerDiedError")
    (True, True)
    >>> fault_can_pass("ColumnNotFoundError"), fault_can_pass("TooManyRejectsError")
    (False, False)
    """
    return error is not None and error not in LASTING_FAULTS


def counted(report: PipeReport) -> str:
    """How many rows there were, as the messages of states tell it.

    >>> counted(PipeReport(loaded_rows=336_776, rejected_rows=12))
    '336,776 rows, 12 rejected'
    """
    rejected = f", {report.rejected_rows:,} rejected" if report.rejected_rows else ""
    return f"{report.loaded_rows:,} rows{rejected}"


def completed(report: PipeReport, data: Any) -> State[Any]:
    """The state of a task run whose load has completed.

    >>> from zoopipe_core import PipeStatus
    >>> state = completed(PipeReport(loaded_rows=336_776, rejected_rows=12, status=PipeStatus.COMPLETED), None)
    >>> state.name, state.message
    ('CompletedWithErrors', '336,776 rows, 12 rejected')
    """
    name = "CompletedWithErrors" if report.rejected_rows else "Completed"
    return Completed(name=name, message=counted(report), data=_persisted(data))


def _persisted(data: Any) -> Any:
    """What the state is to hold, written to the result storage if the task run is to persist its result.

    Prefect writes what a task returns under the key of its cache, and with `NO_CACHE` there is none: the state would
    name a file that nobody has written.
    """
    context, transaction = TaskRunContext.get(), get_transaction()
    if context is None or not context.persist_result or (transaction is not None and transaction.key):
        return data
    record = context.result_store.create_result_record(data)
    try:
        context.result_store.persist_result_record(record)
    except Exception:  # noqa: BLE001  a store may raise anything, and the rows are in the target
        get_run_logger().warning("The report could not be written to the result storage", exc_info=True)
        return data
    return record


def report_of(state: State[Any]) -> PipeReport:
    """The report of the load that a task run, or a flow run that did one load, has ended with: completed or failed.

    Args:
        state: of ``run_pipe(pipe, return_state=True)``, of a future (``future.state``), or read from the server, if
            results are persisted. A failed one holds the error, a completed one what the task returned.

    Raises:
        ValueError: there is no report in the state: it has not ended, it crashed, or is none of a load.

    .. code-block:: python

        state = run_pipe(pipe, return_state=True)
        if state.is_failed():
            print(report_of(state).rejections)
    """
    if not state.is_final():
        raise ValueError(f"the state {state.name} has no report yet; wait for the end of the run")
    result = state.result(raise_on_failure=False, **SYNC)
    found = getattr(result, "report", result)
    if isinstance(found, PipeReport):
        return found
    if isinstance(found, dict) and "loaded_rows" in found:
        return PipeReport.from_dict(found)
    raise ValueError(f"the state {state.name} has no report of a load, but {type(result).__name__}: {result}")


def tag_run() -> None:
    """Tag the task run that this is called in; Prefect's server is told so with the run's next state.

    The tag is none of the task's own: for those Prefect asks the server for a concurrency limit before the task begins.
    That request comes while the start of the run is being written: a server with SQLite finds its database locked then,
    more often than not, and the client asks again after two seconds (measured: 12 of 20 tasks with a tag, none of 20
    without).
    """
    context = TaskRunContext.get()
    if context is not None and TAG not in context.task_run.tags:
        context.task_run.tags.append(TAG)


def _worth_a_retry(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> bool:
    error = state.data
    report = getattr(error, "report", None)
    if isinstance(report, PipeReport):
        return fault_can_pass(report.exception.type if report.exception else None)
    return fault_can_pass(type(error).__name__)


class LoadTask(Task[P, R]):
    """A task that returns a state with a name and a message of its own, whose data is what callers get.

    Prefect does that for tasks that are submitted; of one that is called, it returns the state itself.
    """

    def __call__(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:  # type: ignore[override]
        run: Callable[..., Any] = super().__call__
        # A task within a task is as little in order as that one.
        before = CALLED.set(TaskRunContext.get() is None)
        try:
            result = run(*args, return_state=return_state, **kwargs)
        finally:
            CALLED.reset(before)
        if isinstance(result, State) and not return_state:
            return result.result(**SYNC)
        return result

    def with_options(self, *args: Any, **kwargs: Any) -> LoadTask[P, R]:
        """A copy of the task with other options, as for any task of Prefect."""
        changed = super().with_options(*args, **kwargs)
        # Prefect makes a plain Task, whatever the class of the one that it copies.
        same_class: LoadTask[P, R] = LoadTask.__new__(LoadTask)
        vars(same_class).update(vars(changed))
        return same_class


def load_task(
    run_name: Callable[[], str], on_rollback: Callable[[Transaction], None]
) -> Callable[[Callable[P, R]], LoadTask[P, R]]:
    """Make a `LoadTask` of a function: not cached, and run again after faults that can pass.

    Args:
        run_name: what names a task run, called within it.
        on_rollback: called if a later step of the task run's transaction fails.
    """

    def make(function: Callable[P, R]) -> LoadTask[P, R]:
        return LoadTask(
            function,
            task_run_name=run_name,
            cache_policy=NO_CACHE,
            retries=RETRIES,
            retry_delay_seconds=exponential_backoff(FIRST_RETRY_SECONDS),
            retry_condition_fn=_worth_a_retry,
            on_rollback=[on_rollback],
        )

    return make
