"""Loads whose driver lives on a cluster: on real ones of Dask and Ray, started by processes that have ended since."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engines.clusters import DASK, RAY, running
from zoopipe_core import PipeStatus
from zoopipe_core.detached import DetachedState, open_detached
from zoopipe_core.errors import EngineError, SpecError
from zoopipe_core.ledger import loads

pytestmark = pytest.mark.slow

ROWS = 400
SECONDS = 60.0

START = """
import sys, time
from pydantic import BaseModel
from zoopipe_core import BaseHook, Pipe
from zoopipe_core.detached import open_detached

kind, address, folder = sys.argv[1:]

class User(BaseModel):
    id: int
    name: str

class Slow(BaseHook):
    def __init__(self, seconds):
        super().__init__()
        self.seconds = seconds

    def execute(self, entries, store):
        time.sleep(self.seconds)
        return entries

with open_detached(kind, address) as cluster:
    for name, seconds in (("done", 0), ("done", 0), ("endless", 600)):
        target = f"{folder}/{name}"
        hooks = [Slow(seconds)]
        pipe = Pipe(f"{folder}/users.csv", f"{target}.jsonl", f"{target}-rejects.csv", User, hooks, load_id=name)
        cluster.start(name, pipe, 1 + (name == "done"), dependencies="off")
"""


@pytest.fixture(scope="module", params=["dask", "ray"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    arguments = []
    if request.param == "dask":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            arguments = [str(free.getsockname()[1]), str(folder)]
    script = DASK if request.param == "dask" else RAY
    with running(Path(sys.executable), script, arguments, settings) as address:
        yield request.param, address


def start(cluster: tuple[str, str], folder: Path) -> None:
    """Both loads, one of them twice, by a process that has ended when this returns."""
    lines = ["id,name", *(f"{'x' if number == 7 else number},user {number}" for number in range(ROWS))]
    (folder / "users.csv").write_text("\n".join(lines))
    arguments = [*cluster, str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", START, *arguments],
        env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr


def wait(connected: Any, name: str, until: Any) -> DetachedState:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        state = connected.look(name)
        assert state is not None
        if until(state.report):
            assert isinstance(state, DetachedState)
            return state
        time.sleep(0.2)
    raise AssertionError(f"still {state.report}")


def test_a_load_outlives_who_started_it_and_is_undone_when_it_is_stopped(
    cluster: tuple[str, str], tmp_path: Path
) -> None:
    start(cluster, tmp_path)
    with open_detached(*cluster) as connected:
        state = wait(connected, "done", lambda report: report.is_finished)
        report = state.report
        assert report.status is PipeStatus.COMPLETED, report.exception
        assert (report.loaded_rows, report.rejected_rows, report.load_id) == (ROWS - 1, 1, "done")
        assert sum(each.read_rows for each in state.pipe_reports) == ROWS
        assert DetachedState.from_dict(json.loads(json.dumps(state.to_dict()))) == state
        assert len((tmp_path / "done.jsonl").read_text().splitlines()) == ROWS - 1
        assert [load.load_id for load in loads(tmp_path / "done.jsonl")] == ["done"]
        connected.forget("done")
        assert connected.look("done") is None

        wait(connected, "endless", lambda report: report.status is PipeStatus.RUNNING)
        connected.stop("endless")
        assert wait(connected, "endless", lambda report: report.is_finished).report.status is PipeStatus.ABORTED
        assert not (tmp_path / "endless.jsonl").exists()
        connected.forget("endless")


def test_threads_look_at_a_cluster_at_once(cluster: tuple[str, str]) -> None:
    def look(number: int) -> DetachedState | None:
        with open_detached(*cluster) as connected:
            return connected.look(f"unknown {number}")

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(look, range(12))) == [None] * 12


def test_who_wants_another_ray_cluster_waits_until_the_first_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoopipe_core.detached import ray

    log = []
    monkeypatch.setattr(ray, "_CONNECTION", ray._Connection())
    monkeypatch.setattr(ray, "_connect", lambda address: log.append(address))
    monkeypatch.setattr(ray, "ray", SimpleNamespace(is_initialized=lambda: False, shutdown=lambda: log.append("left")))
    with ThreadPoolExecutor(1) as threads, open_detached("ray", "one:1"):
        with pytest.MonkeyPatch.context() as hurry, open_detached("ray", "one:1"):
            hurry.setattr(ray, "CONNECT_SECONDS", 0.01)
            with pytest.raises(EngineError, match="is connected to the Ray cluster at one:1, not to two:2"):
                open_detached("ray", "two:2")
        waiting = threads.submit(lambda: open_detached("ray", "two:2").close())
        assert log == ["one:1"]
    assert waiting.exception() is None
    assert log == ["one:1", "left", "two:2", "left"]


def test_a_cluster_has_to_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with pytest.raises(SpecError, match="on 'dask' and 'ray', not on 'spark'"):
        open_detached("spark")
    with pytest.raises(SpecError, match="DASK_SCHEDULER_ADDRESS"):
        open_detached("dask")


def test_a_cluster_that_is_not_there_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from zoopipe_core.detached import dask

    monkeypatch.setattr(dask, "CONNECT_SECONDS", 0.5)
    with pytest.raises(EngineError, match="does not answer"):
        open_detached("dask", "tcp://127.0.0.1:9")
