"""`ZooPipeLoad`: a load that is stored in Prefect under a name, and triggered as a job.

ZooPipeLoad.load("users").trigger() ─▶ LoadRun.wait_for_completion() ─▶ fetch_result() ─▶ PipeReport
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from prefect.blocks.abstract import JobBlock, JobRun
from prefect.context import TaskRunContext
from pydantic import ConfigDict, Field

from zoopipe_prefect.credentials import HOME, LOGO, WarehouseCredentials
from zoopipe_prefect.engines import engine_in_use
from zoopipe_prefect.load_ids import named
from zoopipe_prefect.places import build_pipes

if TYPE_CHECKING:
    from zoopipe_core import Pipe, PipeManager, PipeReport

__all__ = ["LoadRun", "ZooPipeLoad"]

LOG_SECONDS = 10.0
POLL_SECONDS = 0.2
ABORT_SECONDS = 30.0


class LoadRun(JobRun["PipeReport"]):
    """A load that was triggered, and runs in the background of this process.

    Args:
        load: is started here.
        resources: closed when the load has ended.
    """

    def __init__(self, load: Pipe | PipeManager, resources: ExitStack) -> None:
        self._load = load
        self._resources = resources
        self._ended = threading.Event()
        # Not a daemon: the interpreter waits until the load is published or undone.
        threading.Thread(target=self._run, name="zoopipe-load-run").start()

    def _run(self) -> None:
        try:
            with self._resources:
                self._load.run(on_report_update=None)
        finally:
            self._ended.set()

    @property
    def report(self) -> PipeReport:
        """How far the load is."""
        return self._load.report

    def cancel(self) -> None:
        """End the load, and undo it."""
        self._load.shutdown(ABORT_SECONDS)

    def wait_for_completion(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Wait until the load has ended, and log now and then how far it is.

        Whatever ends the waiting, such as the cancellation of the flow run, ends the load, too, and undoes it. From an
        async flow: ``await asyncio.to_thread(run.wait_for_completion)``.

        Args:
            timeout: seconds, after which the load is undone; None for any time.

        Raises:
            LoadFailedError: the load failed, and nothing was published.
            LoadAbortedError: the load was cancelled.
            TimeoutError: it has not ended in time.
        """
        started = logged = time.monotonic()
        try:
            while not self._ended.wait(POLL_SECONDS):
                now = time.monotonic()
                if timeout is not None and now - started >= timeout:
                    raise TimeoutError(f"the load {self.report.source} -> {self.report.target} took over {timeout:g} s")
                if now - logged >= LOG_SECONDS:
                    logged = now
                    self.logger.info("%s", self.report)
        except BaseException:
            self.cancel()
            raise
        self.logger.info("%s", self.report)
        self.report.raise_for_status()

    def fetch_result(self) -> PipeReport:  # type: ignore[override]
        """The report of a load that has completed.

        Raises:
            LoadFailedError: the load failed, or has not ended.
            LoadAbortedError: the load was cancelled.
        """
        return self.report.raise_for_status()


class ZooPipeLoad(JobBlock["PipeReport"]):
    """A load that is defined in code, with the arguments to run it with.

    Attributes:
        pipe: where it is defined: ``"package.module:name"`` or ``"path/to/file.py:name"`` of a `zoopipe_core.Pipe`, or
            of a function that returns one, or a list of them.
        arguments: for the function, by name. They are no secret.
        credentials: given to the function as ``uri``, a ``SecretStr``.
        workers: by how many workers the load is done; for a list of pipes each has one.
        engine: where they run: ``"multiprocess"``, ``"zoosync"``, ``"ray"`` or ``"dask"``.

    Example:
        Trigger a stored load and look at its report:
        ```python
        from zoopipe_prefect import ZooPipeLoad

        load = ZooPipeLoad.load("BLOCK_NAME")
        run = load.trigger()
        run.wait_for_completion()
        print(run.fetch_result().loaded_rows)
        ```
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", hide_input_in_errors=True)

    _block_type_name = "ZooPipe Load"
    _block_type_slug = "zoopipe-load"
    _description = "A load of validated rows from one place to another, all of it or nothing."
    _documentation_url = HOME
    _logo_url = LOGO

    pipe: str = Field(description="Where the load is defined, as package.module:name or file.py:name.")
    arguments: dict[str, Any] = Field(
        default_factory=dict, description="The arguments of the function that makes the load, none of them secret."
    )
    credentials: WarehouseCredentials | None = Field(
        default=None, description="The database, whose URL is given to the function as its argument uri."
    )
    workers: int = Field(default=1, ge=1, description="By how many workers the load is done.")
    engine: str | None = Field(default=None, description="Where the workers run: multiprocess, zoosync, ray or dask.")

    def trigger(self) -> LoadRun:  # type: ignore[override]
        """Start the load.

        Triggered by a flow itself, not by a task of it, a load that adds rows is named after the flow run as `run_pipe`
        names it: a flow run that is tried again does not add them again.

        Raises:
            ImportError, AttributeError, TypeError, ValueError: `pipe` or `arguments` define no load.
            SpecError: the load cannot be done like this.
        """
        from zoopipe_core import Pipe, PipeManager

        secrets = {} if self.credentials is None else {"uri": self.credentials.get_uri()}
        built = build_pipes(self.pipe, self.arguments | secrets)
        if TaskRunContext.get() is None:
            pipes = [built] if isinstance(built, Pipe) else built
            ready = [named(pipe, None, index) for index, pipe in enumerate(pipes)]
            built = ready[0] if isinstance(built, Pipe) else ready
        if isinstance(built, Pipe) and self.workers == 1 and self.engine is None:
            return LoadRun(built, ExitStack())
        with ExitStack() as stack:
            engine = stack.enter_context(engine_in_use(self.engine))
            if isinstance(built, Pipe):
                manager = PipeManager.parallelize_pipe(built, self.workers, engine=engine)
            else:
                manager = PipeManager(built, engine)
            return LoadRun(manager, stack.pop_all())
