"""`run_pipe` in real flow runs, against a real server."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prefect import flow
from prefect.artifacts import update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterType
from prefect.exceptions import TerminationSignal
from prefect.utilities.annotations import quote

from tests.prefect.loads import User, artifact
from zoopipe_core import Pipe, PipeReport, PipeStatus
from zoopipe_core.errors import LoadFailedError, SourceNotFoundError
from zoopipe_prefect import run_pipe
from zoopipe_prefect.watching import reporting_failures_as_warnings

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_the_result_is_the_report_as_plain_json(users: Pipe, folder: Path) -> None:
    result = flow(lambda: run_pipe(users), name="nightly")()
    assert json.loads(json.dumps(result)) == result
    report = PipeReport.from_dict(result)
    assert report == users.report
    assert (report.status, report.loaded_rows, report.rejected_rows) == (PipeStatus.COMPLETED, 2, 1)
    assert (folder / "users.jsonl").read_text() == '{"id":1}\n{"id":2}\n'


def test_the_report_is_kept_as_an_artifact_under_the_name_of_the_load(users: Pipe) -> None:
    @flow
    def nightly() -> Any:
        return run_pipe(users, name="Users of today", return_state=True)

    nightly()
    kept = artifact("load-users-of-today")
    assert kept.description == "COMPLETED"
    assert "| 3 | 2 | 1 | 0 | 0 |" in kept.data
    assert "| id | int\\_parsing | 1 | users.csv row 3 |" in kept.data
    with get_client(sync_client=True) as client:
        assert client.read_task_run(kept.task_run_id).name == "load-Users of today"


def test_without_a_name_the_load_is_named_after_its_target(users: Pipe) -> None:
    flow(lambda: run_pipe(users), name="nightly")()
    assert artifact("load-users-jsonl").description == "COMPLETED"


def test_a_failed_load_fails_its_task_and_leaves_its_artifact(users: Pipe, folder: Path) -> None:
    (folder / "users.csv").unlink()

    @flow
    def nightly() -> Any:
        return run_pipe(users, name="gone", return_state=True)

    state = nightly(return_state=True)
    assert state.is_failed()
    with pytest.raises(LoadFailedError, match="the target was left as it was") as caught:
        state.result(_sync=True)
    assert isinstance(caught.value.__cause__, SourceNotFoundError)
    kept = artifact("load-gone")
    assert kept.description == "FAILED"
    assert "**SourceNotFoundError**" in kept.data


def test_the_report_of_a_failed_load_is_the_data_of_its_state(users: Pipe, folder: Path) -> None:
    (folder / "users.csv").unlink()
    flow(lambda: run_pipe.with_options(persist_result=True)(users, name="kept"), name="nightly")(return_state=True)
    with get_client(sync_client=True) as client:
        state = client.read_task_run(artifact("load-kept").task_run_id).state
    error = state.result(raise_on_failure=False, _sync=True)
    assert isinstance(error, LoadFailedError)
    assert (error.report.status, error.report.source) == (PipeStatus.FAILED, "users.csv")


def test_a_retry_loads_what_the_first_attempt_could_not(users: Pipe, folder: Path) -> None:
    (folder / "users.csv").rename(folder / "late.csv")

    def arrive(*_: Any) -> bool:
        (folder / "late.csv").rename(folder / "users.csv")
        return True

    task = run_pipe.with_options(retries=1, retry_delay_seconds=0, retry_condition_fn=arrive)
    assert flow(lambda: task(users), name="nightly")()["loaded_rows"] == 2


def test_loads_may_be_submitted_and_called_from_async_flows(users: Pipe) -> None:
    @flow
    async def nightly() -> list[dict[str, Any]]:
        return [run_pipe(users, name="called"), run_pipe.submit(users, name="submitted").result()]

    assert [report["loaded_rows"] for report in asyncio.run(nightly())] == [2, 2]
    assert artifact("load-called").description == artifact("load-submitted").description == "COMPLETED"


def test_rows_in_memory_need_not_be_searched_for_futures(folder: Path) -> None:
    pipe = Pipe([{"id": number} for number in range(10)], "users.jsonl", schema_model=User)
    assert flow(lambda: run_pipe(quote(pipe)), name="nightly")()["loaded_rows"] == 10


def test_a_load_of_some_seconds_shows_its_progress(slow_pipe: Callable[[int], Pipe]) -> None:
    pipe = slow_pipe(25)
    flow(lambda: run_pipe(pipe, name="slow"), name="nightly")()
    with get_client(sync_client=True) as client:
        shown = client.read_artifacts(artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=["progress"])))
    [progress] = [one for one in shown if one.task_run_id == artifact("load-slow").task_run_id]
    assert progress.data == 100
    assert progress.description == "users.csv → users.jsonl: 25 rows, 0 rejected"


@pytest.mark.usefixtures("terminated")
def test_a_terminated_flow_run_undoes_its_load(slow_pipe: Callable[[int], Pipe], folder: Path) -> None:
    pipe = slow_pipe(300)
    with pytest.raises(TerminationSignal):
        flow(lambda: run_pipe(pipe, name="terminated"), name="nightly")()
    assert pipe.report.status is PipeStatus.ABORTED
    assert sorted(path.name for path in folder.iterdir()) == ["begun", "users.csv"]
    assert artifact("load-terminated").description == "ABORTED"


def test_that_prefect_takes_no_artifact_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    @flow
    def nightly() -> None:
        with reporting_failures_as_warnings(logging.getLogger("load")):
            update_progress_artifact(uuid4(), 50.0)

    nightly()
    assert "Prefect could not be told of the load: PrefectHTTPStatusError: Client error '404" in caplog.text
