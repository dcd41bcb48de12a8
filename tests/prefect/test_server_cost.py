"""What a load costs Prefect's server, counted; what it costs in seconds is measured by ``benchmarks.prefect_cost``."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from prefect import flow

from benchmarks.prefect_turns import GOALS, counted_requests, measure
from zoopipe_core import Pipe
from zoopipe_prefect import run_pipe

pytestmark = pytest.mark.usefixtures("prefect_api")


def test_a_load_that_is_watched_writes_an_artifact_at_most_twice_a_second(slow_pipe: Callable[[int], Pipe]) -> None:
    pipe = slow_pipe(25)
    with counted_requests() as requests:
        flow(lambda: run_pipe(pipe, name="watched"), name="nightly")()
    sent = Counter(what for _, what in requests.sent)
    assert sent["POST artifacts"] == 3  # progress, the report, its table
    assert 1 <= sent["PATCH artifacts"] <= pipe.report.duration_seconds * GOALS["artifacts_per_second"]
    assert requests.most_artifacts_in_a_second() <= GOALS["artifacts_per_second"]


def test_the_cost_of_a_task_is_measured_in_turns(tmp_path: Path) -> None:
    load = measure(1_000, 2, tmp_path)
    assert [len(turns) for turns in load["turns"].values()] == [2, 2]
    assert load["requests"]["POST artifacts"] >= 2
    assert (tmp_path / "plain.jsonl").read_bytes() == (tmp_path / "task.jsonl").read_bytes() != b""
