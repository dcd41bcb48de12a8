"""What the operators have in common: a load is built, watched, stopped, and its report handed on.

execute ─▶ build ─▶ run ─▶ report ─▶ return value (XCom)
                     │  ▲      └ failed, killed, skipped ─▶ XCom `report`, then the error
      log every few  │  │
      seconds      ◀─┘  └─ on_kill: a flag; the supervisor is gone: both looked at four times a second

What only a running task needs is imported when it runs: this module is loaded by each process that parses a DAG.
"""

from __future__ import annotations

import os
import stat
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from zoopipe_airflow.compatibility import AirflowSkipException
from zoopipe_airflow.links import LoadReportLink
from zoopipe_airflow.load_ids import load_id_of
from zoopipe_airflow.sources import PipeSource, PipesSource

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from zoopipe_airflow.deferring import EndedLoad
    from zoopipe_airflow.lineage import LoadFacts
    from zoopipe_core import Pipe, PipeManager, PipeReport, ShardPublication

    Load = Pipe | PipeManager | ShardPublication | EndedLoad

__all__ = ["LoadOperator"]

LOG_SECONDS = 5.0
# Within the two seconds that a killed task may take: workers undo what they have done, then they are killed.
KILL_SECONDS = 1.0


class PipeOperator(BaseOperator):
    """A task that builds pipes: their templates rendered, named after the task's run, their connections looked up.

    Args:
        max_errors: how many rows may be rejected, instead of what the pipe says of it.
        kwargs: as for any operator.
    """

    ui_color = "#d9efe3"
    ui_fgcolor = "#12372a"
    shallow_copy_attrs: Sequence[str] = ("engine",)

    _facts: Sequence[LoadFacts] = ()
    _pipes: Sequence[Pipe] = ()

    def __init__(self, *, max_errors: int | float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.max_errors = max_errors

    def render_template(
        self, content: Any, context: Context, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """As for any operator, and within pipes."""
        if isinstance(content, PipeSource | PipesSource):
            return content.rendered(self.renderer(context, jinja_env))
        return super().render_template(content, context, jinja_env, seen_oids)

    def renderer(self, context: Context, jinja_env: Any = None) -> Callable[[str], object]:
        """What renders one template."""
        env = jinja_env

        def render(text: str) -> object:
            nonlocal env
            if env is None:
                env = self.get_template_env()
            return super(PipeOperator, self).render_template(text, context, env)

        return render

    def finished(self, pipe: Pipe, context: Context, index: int | None = None) -> Pipe:
        """A pipe as this task runs it: with the task's `max_errors`, a load id, and its connections looked up.

        Args:
            pipe: as it was given or built; one that has a load id keeps it.
            context: of the task.
            index: which of the task's pipes it is; None if it has one only.
        """
        from dataclasses import replace

        from zoopipe_airflow.connections import resolve_connections
        from zoopipe_airflow.lineage import LoadFacts

        changes: dict[str, Any] = {}
        if self.max_errors is not None:
            changes["max_errors"] = self.max_errors
        if pipe.load_id is None:
            changes["load_id"] = load_id_of(context["ti"], index)
        result = resolve_connections(replace(pipe, **changes) if changes else pipe)
        self._facts = [*self._facts, LoadFacts.of(result)]
        self._pipes = [*self._pipes, result]
        return result

    def forget(self) -> None:
        """Nothing is to be told of the pipes that were `finished` so far."""
        self._facts = self._pipes = ()


class LoadOperator(PipeOperator):
    """A load as a task; see `ZooPipeOperator` for what the operators do.

    Args:
        max_errors: how many rows may be rejected (a number, or a share from 0.0 to 1.0) before the load fails with
            nothing published, instead of what the pipe says of it.
        fail_on_errors: the same as ``max_errors=0``.
        skip_if_empty: the task is skipped, and with it those behind it, if the source has no rows. The load has run
            then: a target that is replaced is empty.
        infer_outlets: what was written becomes an asset without being declared in ``outlets``: the file or table, and
            the rejects if there are some.
        kwargs: as for any operator. Assets among ``outlets`` get events with the counts of the load as ``extra``; an
            `AssetAlias` there stands for all that was written.

    Raises:
        ValueError: both `max_errors` and `fail_on_errors` are given.
    """

    operator_extra_links = (LoadReportLink(),)

    _killed = False

    def __init__(
        self,
        *,
        max_errors: int | float | None = None,
        fail_on_errors: bool = False,
        skip_if_empty: bool = False,
        infer_outlets: bool = False,
        **kwargs: Any,
    ) -> None:
        if fail_on_errors and max_errors is not None:
            raise ValueError("give either fail_on_errors=True, which allows no rejected row, or max_errors=, not both")
        super().__init__(max_errors=0 if fail_on_errors else max_errors, **kwargs)
        self.fail_on_errors = fail_on_errors
        self.skip_if_empty = skip_if_empty
        self.infer_outlets = infer_outlets

    @abstractmethod
    def open_load(self, context: Context) -> AbstractContextManager[Load]:
        """Build the load; the engine that was made for it ends with the block.

        Raises:
            TypeError, ImportError: what was given builds no load.
        """

    def execute(self, context: Context) -> dict[str, Any]:
        """Run the load and return its report."""
        self.forget()
        with self.open_load(context) as load:
            return self.run_load(load, context)

    def run_load(self, load: Load, context: Context) -> dict[str, Any]:
        """Run what `open_load` has built, tell of it, and return its report.

        Raises:
            LoadFailedError, LoadAbortedError: it has failed, or the task was killed.
            AirflowSkipException: there was nothing to load.
        """
        from zoopipe_airflow.lineage import tell_assets
        from zoopipe_core import PipeStatus

        try:
            load.run(on_report_update=self._watcher(load))
            self._settle_facts(load)
            report = load.report.raise_for_status()
            if self.skip_if_empty and not report.read_rows and not report.added_rows:
                raise AirflowSkipException(f"{report.source} has no rows")
            tell_assets(self, context, self._facts, report, self.infer_outlets)
            self._push_history(context)
            return _as_json(load)
        except BaseException:
            load.shutdown(KILL_SECONDS)  # whatever came in between: no worker outlives the task
            self._push(load, context)
            failure = load.report.exception
            # Who kills a task waits for its end; a database that did not answer would be waited for once more.
            if load.report.status is PipeStatus.FAILED and failure and failure.type != "DatabaseConnectionError":
                self._push_history(context)
            raise
        finally:
            self._log(load)

    def on_kill(self) -> None:
        """Called by Airflow in a signal handler; `execute` notices, and raises when the load is undone.

        Nothing but a note: the handler may have interrupted the code that holds the locks of the load.
        """
        self._killed = True

    def _settle_facts(self, load: Load) -> None:
        """Add to what is known of each load how it ended."""
        reports = [load.report] if len(self._facts) == 1 else _pipe_reports(load)
        for facts, report in zip(self._facts, reports, strict=False):  # no pipe has a report if planning failed
            facts.report = report

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Called by the provider of OpenLineage when the task has ended, whichever way."""
        from zoopipe_airflow.lineage import to_openlineage

        return to_openlineage(self._facts)

    def _watcher(self, load: Load) -> Callable[[PipeReport], None]:
        logged = 0.0
        supervisor = _supervisor()

        def update(report: PipeReport) -> None:
            nonlocal logged
            if report.is_finished:
                return
            if self._killed or (supervisor is not None and os.getppid() != supervisor):
                load.shutdown(KILL_SECONDS)
            elif report.duration_seconds - logged >= LOG_SECONDS:
                logged = report.duration_seconds
                self.log.info("%s", report)

        return update

    def _push(self, load: Load, context: Context) -> None:
        if not self.do_xcom_push:
            return
        try:
            context["ti"].xcom_push(key="report", value=_as_json(load))
        except Exception:  # why the load failed is what has to be seen
            self.log.exception("the report could not be pushed to XCom")

    def _push_history(self, context: Context) -> None:
        """Keep what the ledgers of the targets say, for the page that shows the report."""
        if not self.do_xcom_push:
            return
        from zoopipe_airflow.history import LEDGER_KEY, histories_of

        try:
            histories = histories_of(self._pipes)
            if histories:
                context["ti"].xcom_push(key=LEDGER_KEY, value=histories)
        except Exception:  # the load is what it is, whether or not its page can show others
            self.log.warning("what the target remembers of earlier loads could not be kept", exc_info=True)

    def _log(self, load: Load) -> None:
        reports = _pipe_reports(load)
        if reports:
            self.log.info("::group::%d pipes", len(reports))
            for each in reports:
                self.log.info("%s", each)
            self.log.info("::endgroup::")
        self.log.info("%s", load.report)


def _supervisor() -> int | None:
    """The process that supervises this one, and would tell it to end; None if nobody does, as in `dag.test()`.

    Airflow lets a task whose supervisor was killed run on, beside the one that is started in its place.
    """
    try:
        is_supervised = stat.S_ISSOCK(os.fstat(0).st_mode)  # by which a task talks to its supervisor
    except OSError:
        return None
    return os.getppid() if is_supervised else None


def _pipe_reports(load: Load) -> list[PipeReport]:
    """The report of each pipe of a manager; none of a pipe."""
    from zoopipe_core import Pipe

    return [] if isinstance(load, Pipe) else load.pipe_reports


def _as_json(load: Load) -> dict[str, Any]:
    """The report; that of a manager has those of its pipes as ``pipes``."""
    reports = _pipe_reports(load)
    pipes = {"pipes": [each.to_dict() for each in reports]} if reports else {}
    return load.report.to_dict() | pipes
