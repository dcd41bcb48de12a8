"""What a trigger and its operator make of what a cluster says, or does not say; with a real one: `test_triggerer`."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

import zoopipe_core.detached
from zoopipe_airflow import ZooPipeParallelOperator, deferring, triggers
from zoopipe_airflow.triggers import DetachedLoadTrigger
from zoopipe_core import Pipe, PipeReport, PipeStatus
from zoopipe_core.detached import DetachedLoads, DetachedState
from zoopipe_core.errors import EngineError, LoadFailedError

RUNNING = DetachedState(PipeReport(status=PipeStatus.RUNNING))
ENDED = DetachedState(PipeReport(status=PipeStatus.COMPLETED, loaded_rows=7))


class Cluster(DetachedLoads):
    """Says one thing after the other of the only load that there is, and then the last one again and again."""

    def __init__(self, *says: DetachedState | Exception | None, fails: BaseException | None = None) -> None:
        self.says, self.fails = list(says), fails
        self.stopped: list[str] = []
        self.forgotten: list[str] = []

    def look(self, name: str) -> DetachedState | None:
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def _start(self, name: str, order: Any, first: DetachedState) -> None:
        if self.fails is not None:
            raise self.fails

    def stop(self, name: str) -> None:
        self.stopped.append(name)

    def close(self) -> None: ...


def event_of(monkeypatch: pytest.MonkeyPatch, *says: DetachedState | Exception | None) -> Any:
    """What a trigger fires that looks at such a cluster."""
    cluster = Cluster(*says)
    monkeypatch.setattr(zoopipe_core.detached, "open_detached", lambda kind, address: cluster)

    async def first() -> Any:
        async for event in DetachedLoadTrigger("dask", None, "load", poll_seconds=0).run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    return asyncio.run(first())


def test_a_trigger_waits_until_the_load_has_ended_also_while_the_cluster_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    event = event_of(monkeypatch, RUNNING, EngineError("no answer"), OSError("no route"), RUNNING, ENDED)
    assert DetachedState.from_dict(event["state"]) == ENDED


def test_a_cluster_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triggers, "MAX_FAILURES", 3)
    with pytest.raises(EngineError, match="no answer"):
        event_of(monkeypatch, RUNNING, EngineError("no answer"))


def test_a_load_that_the_cluster_has_lost_fails_its_task(monkeypatch: pytest.MonkeyPatch) -> None:
    event = event_of(monkeypatch, None)
    assert event == {"state": None}
    cluster = zoopipe_core.detached.open_detached("dask", None)
    assert isinstance(cluster, Cluster)
    operator = ZooPipeParallelOperator(
        task_id="load",
        pipe=lambda: Pipe("users.csv", None),
        workers=2,
        engine="dask",
        deferrable=True,
        do_xcom_push=False,
    )
    task = SimpleNamespace(dag_id="dag", task_id="load", run_id="run", map_index=-1, try_number=1)
    with pytest.raises(LoadFailedError):
        operator.conclude({"ti": task}, event)  # type: ignore[typeddict-item]
    assert len(cluster.forgotten) == 1


class _Timeout(BaseException):
    """As Airflow's own, which is no Exception either."""


@pytest.mark.parametrize("answers", [True, False])
def test_a_task_that_is_ended_while_its_load_begins_leaves_none_that_nobody_waits_for(
    monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    undone = DetachedState(PipeReport(status=PipeStatus.ABORTED))
    says = [RUNNING, undone] if answers else [EngineError("no answer")]
    cluster = Cluster(*says, fails=_Timeout("20 s"))
    monkeypatch.setattr(zoopipe_core.detached, "open_detached", lambda kind, address: cluster)
    monkeypatch.setattr(deferring, "POLL_SECONDS", 0.0)
    operator = ZooPipeParallelOperator(
        task_id="load", pipe=lambda: Pipe("users.csv", None), workers=2, engine="dask", deferrable=True
    )
    pushed: dict[str, Any] = {}
    task = SimpleNamespace(
        dag_id="dag",
        task_id="load",
        run_id="run",
        map_index=-1,
        try_number=1,
        xcom_push=lambda key, value: pushed.update({key: value}),
    )
    with pytest.raises(_Timeout) as raised:
        operator.execute({"ti": task})  # type: ignore[typeddict-item]
    assert len(cluster.stopped) == 1
    if answers:
        assert cluster.forgotten == cluster.stopped
        assert pushed["report"]["status"] == "aborted"
    else:
        assert raised.value.__notes__ == [
            f"the load {cluster.stopped[0]} may go on, since it cannot be told to end: no answer"
        ]


def test_only_what_runs_on_a_cluster_can_be_deferred() -> None:
    with pytest.raises(ValueError, match="deferrable=True needs the engine 'dask' or 'ray'"):
        ZooPipeParallelOperator(task_id="load", pipe="loads.users:daily", workers=2, deferrable=True)


def test_a_trigger_is_made_again_of_what_airflow_keeps_of_it() -> None:
    trigger = DetachedLoadTrigger("ray", "10.0.0.1:6379", "load", 3.0)
    place, arguments = trigger.serialize()
    assert place == "zoopipe_airflow.triggers.DetachedLoadTrigger"
    assert DetachedLoadTrigger(**arguments).serialize() == (place, arguments)
