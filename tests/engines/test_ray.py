"""`RayEngine`, on a cluster of two nodes that another Python has started, and on one of its own."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.contracts.deeds import At, final, hang, is_running, wait_until
from tests.engines.clusters import RAY, bare_environment, run_script, running, worker_settings
from tests.engines.remote_contract import SCRIPT, Connect, RemoteContract
from zoopipe_core import PipeStatus
from zoopipe_core.engines.base import Worker, WorkerTask
from zoopipe_core.engines.ray import RayEngine
from zoopipe_core.errors import EngineError, SpecError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("ray")
    with running(bare_environment(folder / "bare"), RAY, [], worker_settings(folder)) as address:
        yield address


class TestRayEngine(RemoteContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, address: str) -> Iterator[RayEngine]:
        engine = RayEngine(address)
        yield engine
        engine.close()

    @pytest.fixture
    def make(self, engine: RayEngine, address: str) -> Connect:
        engine.close()  # a process has one connection to Ray at a time
        return lambda **options: RayEngine(address, **options)

    def test_without_either_a_worker_needs_zoopipe_itself(self, connect: Connect, tmp_path: Path) -> None:
        """Ray lets workers import from the driver's folder, and these are on its machine."""
        report = final(connect(dependencies="off").launch(WorkerTask(0, self.pipe(tmp_path))))
        assert report.status is PipeStatus.COMPLETED, report

    def test_a_host_that_the_cluster_takes_back_before_it_begins_is_replaced(
        self, launch: Callable[..., Worker], tmp_path: Path
    ) -> None:
        busy = [launch(self.pipe(tmp_path, hooks=(At("start", hang, tmp_path),))) for _ in range(2)]
        waiting: Any = launch(self.pipe(tmp_path))
        wait_until(lambda: waiting._host is not None, "its turn")
        ray.kill(waiting._host._actor)
        wait_until(lambda: waiting._places == 2, "another host")
        for worker in busy:
            worker.kill()
        assert final(waiting).status is PipeStatus.COMPLETED


def test_a_cluster_of_its_own_is_nobody_else_s_and_ends_with_the_program(tmp_path: Path) -> None:
    script = tmp_path / "load.py"
    script.write_text(SCRIPT.format(module="zoopipe_core.engines.ray", engine="RayEngine", options="num_cpus=1"))
    report, addresses, children, capacity = json.loads(run_script(script, tmp_path).splitlines()[-1])
    assert report["status"] == "completed", report
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"id": 8}
    assert (tmp_path / "runs").read_text() == "x"
    assert capacity == 1
    assert addresses
    for each in addresses:
        ip = ipaddress.ip_address(each)
        assert (getattr(ip, "ipv4_mapped", None) or ip).is_loopback, each
    assert children
    wait_until(lambda: not any(map(is_running, children)), "the end of the cluster")


def test_a_worker_holds_at_least_some_of_a_cpu() -> None:
    with pytest.raises(SpecError, match="cpus_per_worker"):
        RayEngine(cpus_per_worker=0)


def test_a_cluster_that_is_not_there_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="cannot be reached"):
        _ = RayEngine("127.0.0.1:1").capacity
