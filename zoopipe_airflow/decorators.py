"""`@task.zoopipe`: a function that returns the pipe, or the pipes, that its task runs.

The function is called when the task runs, with what other tasks have returned and with the keys of the context that its
signature names. The templates in what it returns are rendered then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.bases.decorator import DecoratedOperator, task_decorator_factory

from zoopipe_airflow.base import LoadOperator
from zoopipe_airflow.engines import check_engine, open_engine
from zoopipe_airflow.sources import PipeSource, PipesSource

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.bases.decorator import TaskDecorator

    from zoopipe_airflow.engines import EngineLike
    from zoopipe_core import Pipe, PipeManager

__all__ = ["ZooPipeDecoratedOperator", "zoopipe_task"]


class ZooPipeDecoratedOperator(DecoratedOperator, LoadOperator):
    """The task of a function under ``@task.zoopipe``.

    Args:
        workers: cut the input of the one pipe that the function returns into so many shards at most, as
            `ZooPipeParallelOperator` does. None: the pipe runs in the task's own process.
        engine: where shards or pipes run, as for `ZooPipeManagerOperator`.
        merge: as for `ZooPipeParallelOperator`.
        retries_per_pipe: how often a shard or a pipe that failed is run again within one try of the task.
        kwargs: as for `ZooPipeOperator`.

    Raises (when the task runs):
        TypeError: the function returned no pipe, or several of them where `workers` is given.
    """

    template_fields: Sequence[str] = ("op_args", "op_kwargs")
    template_fields_renderers: ClassVar[dict[str, str]] = {"op_args": "py", "op_kwargs": "py"}
    shallow_copy_attrs: Sequence[str] = ("python_callable", "engine")
    custom_operator_name = "@task.zoopipe"

    def __init__(
        self,
        *,
        workers: int | None = None,
        engine: EngineLike | None = None,
        merge: bool = True,
        retries_per_pipe: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_engine(engine)
        self.workers = workers
        self.engine = engine
        self.merge = merge
        self.retries_per_pipe = retries_per_pipe

    @contextmanager
    def open_load(self, context: Context) -> Iterator[Pipe | PipeManager]:
        from zoopipe_core import Pipe, PipeManager

        named = self.determine_kwargs({**context, **self.op_kwargs})
        built = self.python_callable(*self.op_args, **named)
        render = self.renderer(context)
        if not isinstance(built, Pipe):
            if self.workers is not None:
                raise TypeError(f"with workers=, {self.task_id} has to return one zoopipe_core.Pipe, not {built!r}")
            pipes = PipesSource.of(_returning(self.python_callable, built)).build(render)
            finished = [self.finished(pipe, context, index) for index, pipe in enumerate(pipes)]
            with open_engine(self.engine) as engine:
                yield PipeManager(finished, engine, retries=self.retries_per_pipe)
            return
        pipe = self.finished(PipeSource(built).rendered(render).build(render), context)
        if self.workers is None and self.engine is None:
            yield pipe
            return
        with open_engine(self.engine) as engine:
            if self.workers is None:
                yield PipeManager([pipe], engine, retries=self.retries_per_pipe)
            else:
                yield PipeManager.parallelize_pipe(
                    pipe, self.workers, self.merge, engine=engine, retries=self.retries_per_pipe
                )


def _returning(function: Callable[..., Any], value: Any) -> Callable[[], Any]:
    """What returns `value`, under the name of `function` in messages."""

    def build() -> Any:
        return value

    build.__module__, build.__qualname__ = function.__module__, function.__qualname__
    return build


def zoopipe_task(
    python_callable: Callable[..., Any] | None = None, multiple_outputs: bool | None = None, **kwargs: Any
) -> TaskDecorator:
    """``@task.zoopipe``: run what a function returns.

    Args:
        python_callable: the function; it returns a `zoopipe_core.Pipe`, or a list of them, each a load of its own.
        multiple_outputs: True: each key of the report becomes an XCom of its own.
        kwargs: as for `ZooPipeDecoratedOperator`, such as ``workers=4`` or ``max_errors=0.01``.

    The task's return value is the report, as that of `ZooPipeOperator` is.

    .. code-block:: python

        @task.zoopipe(workers=4)
        def load(day_file: str, ds=None):
            from zoopipe_core import Pipe
            return Pipe(day_file, f"duckdb:///warehouse.duckdb::users_{ds.replace('-', '')}")
    """
    return task_decorator_factory(
        python_callable=python_callable,
        multiple_outputs=multiple_outputs,
        decorated_operator_class=ZooPipeDecoratedOperator,
        **kwargs,
    )
