"""Flows that a runner and a worker execute, on a real server: engines, cancelling, killing."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelling, Scheduled

from tests.engines.clusters import running, worker_settings
from tests.prefect.server import CLUSTERS, processes_of, program
from tests.prefect.server_flows import ENGINES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_SECONDS = 300.0
ROWS = 1000
# name -> where?, in shards?, submitted?
MANNERS = {
    "a pipe that is called": ("served", False, False),
    "shards that are submitted": ("served", True, True),
    "shards in a work pool": ("pool", True, False),
}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s for {what}"
        time.sleep(0.4)  # what is asked more often keeps the server from the runs that are waited for


@dataclass(frozen=True)
class Run:
    """A flow run of a deployment, and the folder that it works in."""

    client: SyncPrefectClient
    id: UUID
    folder: Path

    @property
    def state(self) -> State[Any]:
        state = self.client.read_flow_run(self.id).state
        assert state is not None
        return state

    def set_state(self, state: State[Any]) -> None:
        self.client.set_flow_run_state(self.id, state, force=True)

    def wait_for_begin(self) -> None:
        wait_until(lambda: (self.folder / "begun").exists() or self.state.is_final(), "the load to begin")
        assert self.state.is_running(), self.state

    def wait_for_end(self) -> State[Any]:
        wait_until(lambda: self.state.is_final(), "the end of the flow run")
        return self.state

    def task_states(self) -> dict[str, State[Any]]:
        found = self.client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[self.id])))
        return {task.name: task.state for task in found if task.state is not None}


class Published:
    """Deployments that are there to be run."""

    def __init__(self, client: SyncPrefectClient, script: Path) -> None:
        self.client = client
        self.script = script

    def start(self, deployment: str, folder: Path, **parameters: Any) -> Run:
        wait_until(lambda: self._has(deployment), deployment)
        found = self.client.read_deployment_by_name(deployment)
        made = self.client.create_flow_run_from_deployment(
            found.id, parameters={"folder": str(folder), **parameters}, state=Scheduled()
        )
        return Run(self.client, made.id, folder)

    def _has(self, deployment: str) -> bool:
        try:
            return self.client.read_deployment_by_name(deployment) is not None
        except ObjectNotFound:
            return False


@dataclass(frozen=True)
class Clusters:
    """A Ray cluster and a Dask cluster: the variables that name them, and the process that has started them."""

    addresses: dict[str, str]
    pid: int


# A driver is told, too, that there are no other machines.
ON_LOOPBACK = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clusters]:
    folder = tmp_path_factory.mktemp("clusters")
    settings = worker_settings(folder) | ON_LOOPBACK | {"DASK_TEMPORARY_DIRECTORY": str(folder)}
    with running(Path(sys.executable), CLUSTERS, [], settings) as started:
        yield Clusters(*json.loads(started))


@pytest.fixture(scope="module")
def published(prefect_api: str, clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """The flows, served by a runner and deployed to a work pool with a worker."""
    folder = tmp_path_factory.mktemp("published")
    script = Path(shutil.copy(Path(__file__).with_name("server_flows.py"), folder / "loads.py"))
    settings = {
        "PREFECT_API_URL": prefect_api,
        "PREFECT_RUNNER_POLL_FREQUENCY": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        **clusters.addresses,
    }
    worker = ["-m", "prefect", "worker", "start", "--pool", "processes", "--type", "process"]
    with get_client(sync_client=True) as client, ExitStack() as stack:
        client.create_work_pool(WorkPoolCreate(name="processes", type="process"))
        stack.enter_context(program([str(script), "publish", "processes"], folder, folder / "runner.log", settings))
        stack.enter_context(program(worker, folder, folder / "worker.log", settings))
        yield Published(client, script)


def numbers(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "numbers.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(ROWS)) + "x\n")
    return folder


@pytest.fixture(scope="module")
def held(published: Published, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Flow runs that are in the middle of a load, to be cancelled or killed: one in each manner."""
    runs = {}
    for manner, (place, in_shards, submitted) in MANNERS.items():
        folder = numbers(tmp_path_factory.mktemp("held"))
        (folder / "held.jsonl").write_text("old\n")
        runs[manner] = published.start(
            f"held/{place}", folder, into_table=False, in_shards=in_shards, submitted=submitted
        )
    folder = numbers(tmp_path_factory.mktemp("killed"))
    execute(folder, "CREATE TABLE numbers AS SELECT -1::BIGINT AS id")
    runs["killed"] = published.start("held/served", folder, into_table=True, in_shards=True, submitted=False)
    return runs


# ---- engines --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Everywhere:
    """What flows have loaded by all engines in all places: the folder, and how the flows have ended."""

    folder: Path
    outcomes: dict[str, str]


@pytest.fixture(scope="module")
def everywhere(
    published: Published,
    clusters: Clusters,
    prefect_api: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Everywhere:
    folder = numbers(tmp_path_factory.mktemp("everywhere"))
    settings = {"PREFECT_API_URL": prefect_api, **ON_LOOPBACK}
    known = {**settings, **clusters.addresses}
    dask, ray = clusters.addresses["DASK_SCHEDULER_ADDRESS"], clusters.addresses["RAY_ADDRESS"]
    with (
        script(published.script, ["call", str(folder)], folder / "called.log", known) as called,
        script(published.script, ["under", str(folder), dask, ray], folder / "under.log", settings) as under,
    ):
        outcomes = {"called": called(), "under": under()}
    # Two at a time: each is some processes that import all that there is, which a small machine takes long for.
    runs = {place: published.start(f"all-engines/{place}", folder, place=place) for place in ("served", "pool")}
    ended = {place: run.wait_for_end() for place, run in runs.items()}
    outcomes |= {place: f"{state.name} {state.message or ''}".strip() for place, state in ended.items()}
    return Everywhere(folder, outcomes | {"submitted": outcomes["called"]})


@contextmanager
def script(path: Path, arguments: list[str], log: Path, settings: dict[str, str]) -> Iterator[Callable[[], str]]:
    """A script that runs beside the block; "Completed", or what it has written, as soon as it has ended."""
    with program([str(path), *arguments], log.parent, log, settings) as process:

        def outcome() -> str:
            return "Completed" if process.wait(PATIENCE_SECONDS) == 0 else log.read_text()

        yield outcome


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", ["called", "submitted", "served", "pool"])
def test_an_engine_loads_with_models_and_hooks_of_the_flow_s_own_file(
    everywhere: Everywhere, place: str, engine: str
) -> None:
    assert everywhere.outcomes[place] == "Completed"
    rows = (everywhere.folder / f"{place}-{engine}.jsonl").read_text()
    assert rows == "".join(f'{{"id":{2 * number}}}\n' for number in range(ROWS))
    assert len((everywhere.folder / f"{place}-{engine}-rejects.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("manner", ["called", "submitted"])
@pytest.mark.parametrize("engine", ["dask", "ray"])
def test_the_cluster_that_a_flow_s_tasks_run_on_runs_its_loads_too(
    everywhere: Everywhere, clusters: Clusters, engine: str, manner: str
) -> None:
    assert everywhere.outcomes["under"] == "Completed"
    assert str(clusters.pid) in (everywhere.folder / f"{engine}-{manner}.txt").read_text().split()


# ---- cancelling and killing -----------------------------------------------------------------------------------------


def execute(folder: Path, sql: str, database: str = "held.duckdb") -> list[Any]:
    with duckdb.connect(folder / database) as connection:
        return connection.execute(sql).fetchall()


@pytest.mark.parametrize("manner", MANNERS)
def test_a_cancelled_flow_run_leaves_no_process_and_the_old_target(held: dict[str, Run], manner: str) -> None:
    run = held[manner]
    run.wait_for_begin()
    assert processes_of(run.id)
    run.set_state(Cancelling())
    assert run.wait_for_end().name == "Cancelled"
    # The process of the pool that has reported this is about to end.
    wait_until(lambda: processes_of(run.id) == [], "the end of its processes", 30)
    assert (run.folder / "held.jsonl").read_text() == "old\n"
    assert (run.folder / "removed").read_text() == "Cancelling"
    left = sorted(path.name for path in run.folder.iterdir())
    assert left == ["begun", "done.duckdb", "held.jsonl", "numbers.csv", "removed"]
    assert run.task_states()["load-done"].is_completed()
    assert not run.task_states()["load-held"].is_running()


def test_a_killed_flow_run_that_is_retried_has_each_row_once(held: dict[str, Run]) -> None:
    run = held["killed"]
    run.wait_for_begin()
    [process] = [each for each in processes_of(run.id) if "prefect.engine" in each.cmdline()]
    process.kill()
    wait_until(lambda: run.state.is_crashed(), "the crash")
    wait_until(lambda: processes_of(run.id) == [], "the end of its workers")
    assert execute(run.folder, "SELECT id FROM numbers") == [(-1,)]

    (run.folder / "go").touch()
    run.set_state(Scheduled(message="as `prefect flow-run retry` does it"))
    wait_until(lambda: run.state.is_completed() or run.state.is_failed(), "the second try")
    assert run.state.is_completed(), run.state
    assert run.client.read_flow_run(run.id).run_count == 2
    assert execute(run.folder, "SELECT count(*), count(DISTINCT id), sum(id)::INT FROM numbers") == [
        (ROWS + 1, ROWS + 1, ROWS * (ROWS - 1) // 2 - 1)
    ]
    assert execute(run.folder, "SELECT id FROM numbers ORDER BY id", "done.duckdb") == [(1,), (2,)]
    left = {path.name for path in run.folder.iterdir()} - {f"work-{run.id}"}
    assert left == {"begun", "done.duckdb", "go", "held.duckdb", "numbers.csv"}
