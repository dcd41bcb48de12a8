"""`run_pipes` and `parallelize_pipe` in real flow runs, against a real server."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from prefect import flow, unmapped
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import TerminationSignal
from prefect.futures import wait
from prefect.runtime import flow_run
from prefect.states import Cancelling, Completed, Failed, Running

from tests.prefect.loads import User, artifact, attempts
from tests.prefect.server import messages_delivered
from zoopipe_core import BaseEngine, Pipe, PipeReport, PipeStatus
from zoopipe_core.errors import LoadAbortedError, LoadFailedError, SpecError
from zoopipe_core.testing import ThreadEngine
from zoopipe_prefect import parallelize_pipe, report_of, run_pipe, run_pipes

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def parts(folder: Path) -> list[Pipe]:
    for part in range(3):
        (folder / f"part-{part}.csv").write_text(f"id\n{part}\nx\n")
    return [Pipe(f"part-{part}.csv", f"part-{part}.jsonl", schema_model=User) for part in range(3)]


@pytest.fixture
def many(folder: Path) -> Pipe:
    """10,000 good rows and one bad one."""
    (folder / "many.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(10_000)) + "x\n")
    return Pipe("many.csv", "many.jsonl", "many-rejects.csv", User)


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]


def test_several_pipes_are_one_task_with_a_report_for_each(parts: list[Pipe], folder: Path) -> None:
    result = flow(lambda: run_pipes(parts, ThreadEngine(), name="parts"), name="nightly")()
    assert json.loads(json.dumps(result)) == result
    assert (result["loaded_rows"], result["rejected_rows"], result["pipe_count"]) == (3, 3, 3)
    assert [pipe["source"] for pipe in result["pipes"]] == ["part-0.csv", "part-1.csv", "part-2.csv"]
    assert [(folder / f"part-{part}.jsonl").read_text() for part in range(3)] == [f'{{"id":{n}}}\n' for n in range(3)]
    page = artifact("load-parts").data
    assert [line.split(" | ")[1:4] for line in page.splitlines() if "| COMPLETED |" in line] == [
        [f"part-{part}.csv", f"part-{part}.jsonl", "COMPLETED"] for part in range(3)
    ]


@pytest.mark.parametrize("engine", ["zoosync", ThreadEngine()], ids=str)
def test_a_pipe_by_several_workers_loads_what_one_would(engine: BaseEngine | str, many: Pipe, folder: Path) -> None:
    @flow
    def nightly() -> Any:
        return run_pipe(many), (folder / "many.jsonl").read_bytes(), parallelize_pipe(many, 2, engine)

    whole, rows, sharded = nightly()
    assert (folder / "many.jsonl").read_bytes() == rows
    assert [whole[name] for name in ("read_rows", "loaded_rows", "rejected_rows")] == [10_001, 10_000, 1]
    assert [sharded[name] for name in ("read_rows", "loaded_rows", "rejected_rows")] == [10_001, 10_000, 1]
    assert sum(shard["loaded_rows"] for shard in sharded["pipes"]) == 10_000
    assert len(sharded["pipes"]) == 2


def test_results_that_are_not_merged_are_numbered_files(many: Pipe, folder: Path) -> None:
    flow(lambda: parallelize_pipe(many, 2, ThreadEngine(), merge=False), name="nightly")()
    assert len(list(folder.glob("many-0000?-of-00002.jsonl"))) == 2


def test_every_task_returns_a_report_if_it_is_asked_to(users: Pipe) -> None:
    @flow
    def nightly() -> Any:
        yield run_pipe(users, as_report=True)
        yield run_pipes([users], ThreadEngine(), as_report=True)
        yield parallelize_pipe(users, 2, ThreadEngine(), as_report=True)

    reports = list(nightly())
    assert all(isinstance(report, PipeReport) for report in reports)
    assert [report.loaded_rows for report in reports] == [2, 2, 2]


def test_tasks_may_be_submitted_mapped_and_given_options(parts: list[Pipe]) -> None:
    @flow
    def nightly() -> Any:
        mapped = run_pipe.with_options(name="mapped", tags=["daily"]).map(parts, as_report=True)
        sharded = parallelize_pipe.with_options(retries=0).map(parts, workers=1, engine=unmapped(ThreadEngine()))
        together = run_pipes.submit(parts, ThreadEngine(), wait_for=[mapped, sharded])
        called = run_pipes.with_options(retries=0)(parts, ThreadEngine())
        return mapped.result(), sharded.result(), together.result(), called

    mapped, sharded, together, called = nightly()
    assert [report.loaded_rows for report in mapped] == [1, 1, 1]
    assert [report["loaded_rows"] for report in sharded] == [1, 1, 1]
    assert together["loaded_rows"] == called["loaded_rows"] == 3


@pytest.mark.parametrize(
    ("rows", "name", "message"),
    [("id\n1\n2\n", "Completed", "2 rows"), ("id\n1\nx\n", "CompletedWithErrors", "1 rows, 1 rejected")],
)
def test_the_state_tells_how_many_rows_there_were(
    users: Pipe, folder: Path, rows: str, name: str, message: str
) -> None:
    (folder / "users.csv").write_text(rows)
    called = flow(lambda: run_pipe(users, return_state=True).name, name="nightly")
    assert called() == name

    @flow
    def nightly() -> Any:
        future = run_pipe.submit(users)
        future.wait()
        return future.state.name, future.state.message, future.state.is_completed()

    assert nightly() == (name, message, True)


def test_a_pipe_that_fails_fails_the_task_and_not_the_other_pipes(parts: list[Pipe], folder: Path) -> None:
    (folder / "part-1.csv").unlink()
    state = flow(lambda: run_pipes(parts, ThreadEngine(), name="part-1 gone"), name="nightly")(return_state=True)
    with pytest.raises(
        LoadFailedError, match=r"^2 rows, 2 rejected; 1 of 3 loads did not complete, 2 did: .*part-1\.csv"
    ) as caught:
        state.result(_sync=True)
    assert caught.value.report.exception.type == "SourceNotFoundError"
    assert (caught.value.report.source, caught.value.report.status) == ("part-1.csv", PipeStatus.FAILED)
    assert sorted(path.name for path in folder.glob("*.jsonl")) == ["part-0.jsonl", "part-2.jsonl"]
    kept = artifact("load-part-1-gone")
    assert kept.description == "FAILED"
    [first, *_] = [line for line in kept.data.splitlines() if line.startswith(("| 0 |", "| 1 |", "| 2 |"))]
    assert "| FAILED |" in first
    assert attempts("load-part-1-gone") == 1


def test_the_state_has_the_report_however_the_load_ended_and_was_started(users: Pipe) -> None:
    def pipes(max_errors: int) -> list[Pipe]:
        return [replace(users, output_adapter=f"{n}.jsonl", max_errors=max_errors) for n in range(4)]

    @flow
    async def nightly(max_errors: int) -> list[State[Any]]:
        called, submitted, *mapped = pipes(max_errors)
        futures = [run_pipe.submit(submitted), *run_pipe.map(mapped, as_report=True)]
        wait(futures)
        return [run_pipe(called, return_state=True), *(future.state for future in futures)]

    for max_errors, name, message in (
        (1, "CompletedWithErrors", "2 rows, 1 rejected"),
        (0, "Failed", "0 rows, 1 rejected"),
    ):
        for state in asyncio.run(nightly(max_errors, return_state=True)).data.result:
            assert (state.name, message in state.message) == (name, True)
            assert (report_of(state).rejected_rows, report_of(state).status.name) == (
                1,
                name.removesuffix("WithErrors").upper(),
            )
            if state.is_failed():
                error = state.result(raise_on_failure=False, _sync=True)
                assert isinstance(error, LoadFailedError)
                assert error.report == report_of(state)


def test_the_report_is_in_the_state_of_a_flow_and_a_state_without_one_is_refused(users: Pipe, folder: Path) -> None:
    (folder / "users.csv").unlink()
    failed = flow(lambda: run_pipe(users), name="nightly")(return_state=True)
    assert report_of(failed) == users.report
    for state in (Completed(data=1), Failed(message="no load"), Running()):
        with pytest.raises(ValueError, match="report"):
            report_of(state)


@pytest.mark.parametrize("max_errors", [0, 1])
def test_a_report_that_is_persisted_can_be_read_from_the_server(users: Pipe, max_errors: int) -> None:
    name = f"persisted {max_errors}"
    task = run_pipe.with_options(persist_result=True)
    with messages_delivered():
        flow(lambda: task(replace(users, max_errors=max_errors), name=name), name="nightly")(return_state=True)
    with get_client(sync_client=True) as client:
        run = client.read_task_run(artifact(f"load-persisted-{max_errors}").task_run_id)
    assert run.tags == ["zoopipe"]
    assert run.state is not None
    assert report_of(run.state).rejected_rows == 1


def test_an_engine_that_does_not_exist_is_refused(users: Pipe) -> None:
    with pytest.raises(ValueError, match="'dask', 'multiprocess', 'ray', 'zoosync', or an engine, not 'spark'"):
        flow(lambda: run_pipes([users], "spark"), name="nightly")()


def test_no_pipes_are_refused() -> None:
    with pytest.raises(SpecError, match="at least one pipe"):
        flow(lambda: run_pipes([]), name="nightly")()


@pytest.mark.usefixtures("terminated")
def test_a_terminated_flow_run_leaves_neither_rows_nor_workers(slow_pipe: Callable[[int], Pipe], folder: Path) -> None:
    pipe, before = slow_pipe(600), children()
    with pytest.raises(TerminationSignal):
        flow(lambda: parallelize_pipe(pipe, 2, "multiprocess", name="terminated shards"), name="nightly")()
    assert [child for child in children() if child not in before] == []
    assert sorted(path.name for path in folder.iterdir()) == ["begun", "users.csv"]
    assert artifact("load-terminated-shards").description == "ABORTED"


def test_a_submitted_load_ends_when_its_flow_run_is_cancelled(slow_pipe: Callable[[int], Pipe], folder: Path) -> None:
    pipe = slow_pipe(600)
    ended: list[State[Any]] = []

    @flow
    def nightly() -> None:
        future = run_pipe.submit(pipe, name="cancelled")
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run.id, Cancelling(), force=True)
        future.wait()
        ended.append(future.state)

    nightly(return_state=True)
    [state] = ended
    assert isinstance(state.result(raise_on_failure=False, _sync=True), LoadAbortedError)
    assert not (folder / "users.jsonl").exists()
    assert artifact("load-cancelled").description == "ABORTED"
