"""What engines of clusters have to do beyond `EngineContract`: their workers lack what the driver has."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.contracts.deeds import At, Counted, final, hang, is_running, wait_until
from tests.contracts.engine_contract import EngineContract
from zoopipe_core import BaseHook, Pipe, PipeStatus
from zoopipe_core.engines.base import BaseEngine, Worker, WorkerTask
from zoopipe_core.engines.remote import RemoteEngine
from zoopipe_core.errors import EngineError, SourceNotFoundError, SpecError

Connect = Callable[..., RemoteEngine]

SCRIPT = """
import contextlib, json, time
import psutil
from pydantic import BaseModel
from zoopipe_core import BaseHook, Pipe
from zoopipe_core.engines.base import WorkerTask
from {module} import {engine}

with open("runs", "a") as runs:
    runs.write("x")

class Row(BaseModel):
    id: int

class Double(BaseHook):
    def execute(self, entries, store):
        for entry in entries:
            entry["validated_data"]["id"] *= 2
        return entries

engine = {engine}({options})
worker = engine.launch(WorkerTask(0, Pipe([{{"id": "4"}}], "out.jsonl", None, Row, post_validation_hooks=[Double()])))
while not worker.report().is_finished:
    time.sleep(0.05)
tree = [psutil.Process(), *psutil.Process().children(recursive=True)]
ports = []
for each in tree:
    with contextlib.suppress(psutil.NoSuchProcess):
        ports += [port.laddr.ip for port in each.net_connections() if port.status == "LISTEN"]
children = [each.pid for each in tree[1:]]
print(json.dumps([worker.report().to_dict(), ports, children, engine.capacity]))
"""

KILLED = """
import os, signal, time
from pathlib import Path
from zoopipe_core import BaseHook, Pipe
from zoopipe_core.engines.base import WorkerTask
from {module} import {engine}

class Hang(BaseHook):
    def execute(self, entries, store):
        if not Path("pid").exists():
            Path("pid.part").write_text(str(os.getpid()))
            os.rename("pid.part", "pid")
        time.sleep(600)

engine = {engine}({address!r})
worker = engine.launch(WorkerTask(0, Pipe([{{"id": 4}}], "out.jsonl", pre_validation_hooks=[Hang()])))
while not Path("pid").exists():
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""


def nothing_to_open(name: str) -> None:
    raise SourceNotFoundError(f"no {name}")


def worker_process(name: str) -> int:
    return os.getpid()


class Tiny(BaseHook):
    """Uses a package that only workers install."""

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        import zoo_tiny  # type: ignore[import-not-found]

        for entry in entries:
            entry["validated_data"]["text"] = f"{zoo_tiny.ANSWER} {zoo_tiny.__file__}"
        return entries


class RemoteContract(EngineContract):
    """Give it a fixture ``make`` too, which makes engines for the cluster of ``engine``, with some options."""

    @pytest.fixture
    def connect(self, make: Connect) -> Iterator[Connect]:
        """Makes engines, which are closed after the test."""
        engines = []

        def connect(**options: Any) -> RemoteEngine:
            engines.append(make(**options))
            return engines[-1]

        yield connect
        for engine in engines:
            engine.close()

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "requirements.txt").write_text("zoo-tiny<2\n")
        return tmp_path / "project"

    # ---- what workers lack ----------------------------------------------------------------------------------------

    def test_a_worker_installs_what_it_lacks_and_nothing_else(
        self, connect: Connect, project: Path, tmp_path: Path
    ) -> None:
        engine = connect(project=project)
        lacking = engine.missing()
        assert set(lacking.values()) == {"zoo-tiny<2"}
        assert len(lacking) == 2
        worker = engine.launch(WorkerTask(0, self.pipe(tmp_path, Counted(1), (Tiny(),))))
        assert final(worker).status is PipeStatus.COMPLETED, worker.report()
        answer, path = json.loads((tmp_path / "out.jsonl").read_text())["text"].split()
        assert answer == "1"
        assert sorted(os.listdir(Path(path).parent))[-2:] == ["zoo_tiny-1.0.dist-info", "zoo_tiny.py"]
        assert len({name.partition("-")[0] for name in os.listdir(Path(path).parent)} - {"__pycache__", "bin"}) <= 2
        assert engine.missing() == lacking

    def test_check_names_what_is_missing_on_which_node(self, connect: Connect, project: Path, tmp_path: Path) -> None:
        engine = connect(project=project, dependencies="check")
        with pytest.raises(EngineError, match="workers lack") as raised:
            engine.launch(WorkerTask(0, self.pipe(tmp_path)))
        told = [line for line in str(raised.value).splitlines() if line.endswith(": zoo-tiny<2")]
        assert len(told) == len(set(told)) == 2

    def test_without_either_a_worker_needs_zoopipe_itself(self, connect: Connect, tmp_path: Path) -> None:
        engine = connect(dependencies="off")
        report = final(engine.launch(WorkerTask(0, self.pipe(tmp_path))))
        assert report.status is PipeStatus.FAILED
        assert report.exception is not None
        assert "zoopipe_core" in report.exception.message

    def test_modes_are_checked(self, connect: Connect) -> None:
        with pytest.raises(SpecError, match="'sync', 'check', 'off', not 'always'"):
            connect(dependencies="always")

    # ---- what dies ------------------------------------------------------------------------------------------------

    def test_a_load_ends_with_the_process_of_the_cluster_and_is_not_run_again(
        self, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        before = self.old_target(tmp_path)
        one, other = tmp_path / "one", tmp_path / "other"
        one.mkdir()
        other.mkdir()
        worker = launch(self.pipe(tmp_path, hooks=(At("middle", hang, one),)))
        wait_until(lambda: (one / "pid").exists(), "the hook")
        pid = int((one / "pid").read_text())
        os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
        report = final(worker)
        assert report.status is PipeStatus.FAILED
        assert report.exception is not None
        assert report.exception.type == "WorkerDiedError"
        assert "lost" in report.exception.message
        wait_until(lambda: not is_running(pid), "the end of the process")
        assert final(launch(self.pipe(other))).status is PipeStatus.COMPLETED
        assert int((one / "pid").read_text()) == pid
        assert (tmp_path / "out.jsonl").read_bytes() == before

    def test_a_load_ends_with_the_process_that_asked_for_it(
        self, engine: RemoteEngine, address: str, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        before = self.old_target(tmp_path)
        (tmp_path / "driver.py").write_text(
            KILLED.format(module=type(engine).__module__, engine=type(engine).__name__, address=address)
        )
        driver = subprocess.run(
            [sys.executable, "driver.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
        )
        assert driver.returncode == -signal.SIGKILL, driver.stderr
        pid = int((tmp_path / "pid").read_text())
        wait_until(lambda: not is_running(pid), "the end of the worker")
        assert (tmp_path / "out.jsonl").read_bytes() == before
        assert final(launch(self.pipe(tmp_path))).status is PipeStatus.COMPLETED
        assert not list(tmp_path.glob(".*.part"))

    def test_a_worker_that_waits_for_room_can_be_stopped(
        self, launch: Callable[..., Worker], engine: BaseEngine, tmp_path: Path
    ) -> None:
        workers = [launch(self.pipe(tmp_path, hooks=(At("start", hang, tmp_path),))) for _ in range(3)]
        for worker in workers[::-1]:
            worker.stop()
            worker.kill()
        assert [final(worker).status for worker in workers] == [PipeStatus.ABORTED] * 3

    # ---- the engine -----------------------------------------------------------------------------------------------

    def test_a_map_runs_on_the_nodes_and_raises_what_was_raised_there(self, engine: BaseEngine) -> None:
        wait_until(lambda: engine.capacity == 2, "both nodes")
        pids = engine.map(worker_process, ["a", "b", "c"])
        assert os.getpid() not in pids
        assert len(set(pids)) == 2
        with pytest.raises(SourceNotFoundError, match="no a"):
            engine.map(nothing_to_open, ["a", "b"])

    def test_relative_paths_are_those_of_the_driver(
        self, launch: Callable[..., Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert final(launch(Pipe([{"id": 1}], "here.jsonl"))).status is PipeStatus.COMPLETED
        assert (tmp_path / "here.jsonl").exists()

    def test_closing_an_engine_leaves_the_cluster_to_others(self, connect: Connect, tmp_path: Path) -> None:
        engine = connect()
        hung = engine.launch(WorkerTask(0, self.pipe(tmp_path, hooks=(At("middle", hang, tmp_path),))))
        wait_until(lambda: (tmp_path / "pid").exists(), "the hook")
        engine.close()
        assert hung.report().status is PipeStatus.ABORTED
        wait_until(lambda: not is_running(int((tmp_path / "pid").read_text())), "the end of the process")
        assert engine.capacity == 2  # a closed engine may be used again
