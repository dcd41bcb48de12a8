"""`DaskEngine`, on a cluster of two workers that another Python has started, and on one of its own."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from tests.contracts.deeds import is_running, wait_until
from tests.engines.clusters import DASK, bare_environment, run_script, running, worker_settings
from tests.engines.remote_contract import SCRIPT, Connect, RemoteContract
from zoopipe_core.engines.dask import DaskEngine
from zoopipe_core.errors import EngineError, SpecError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dask")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(port), str(folder)]
    with running(bare_environment(folder / "bare"), DASK, arguments, worker_settings(folder)) as address:
        with Client(address, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
        yield address


class TestDaskEngine(RemoteContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls, address: str) -> Iterator[DaskEngine]:
        engine = DaskEngine(address)
        yield engine
        engine.close()

    @pytest.fixture
    def make(self, address: str) -> Connect:
        return lambda **options: DaskEngine(address, **options)


def test_a_client_of_the_caller_s_is_used_and_stays_open(address: str) -> None:
    with Client(address) as client:
        for engine in (DaskEngine(client=client), DaskEngine()):
            assert engine.capacity == 2
            engine.close()
            assert client.status == "running"
        with pytest.raises(SpecError, match="not both"):
            DaskEngine(address, client)


def test_a_cluster_of_its_own_is_nobody_else_s_and_ends_with_the_program(tmp_path: Path) -> None:
    script = tmp_path / "load.py"
    script.write_text(SCRIPT.format(module="zoopipe_core.engines.dask", engine="DaskEngine", options="n_workers=1"))
    report, addresses, children, capacity = json.loads(run_script(script, tmp_path).splitlines()[-1])
    assert report["status"] == "completed", report
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {"id": 8}
    assert (tmp_path / "runs").read_text() == "x"
    assert capacity == 1
    assert all(ipaddress.ip_address(each).is_loopback for each in addresses), addresses
    wait_until(lambda: not any(map(is_running, children)), "the end of the worker")


def test_a_cluster_that_is_not_there_is_an_engine_error() -> None:
    with pytest.raises(EngineError, match="cannot be reached"):
        _ = DaskEngine("tcp://127.0.0.1:1", timeout=1).capacity
