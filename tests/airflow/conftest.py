"""What the tests of operators share: a folder with users, and how a DAG is run."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.real_airflow import Begun, RealAirflow, Starter, begin_all

ROWS = 200


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the DAGs of tests/airflow/dags read and write."""
    monkeypatch.setenv("LOAD_FOLDER", str(tmp_path))
    lines = ["id,name", *(f"{number},user {number}" for number in range(ROWS))]
    (tmp_path / "users.csv").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """Airflow's task runner leaves its signal handler behind."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def run(airflow_dag: Callable[[str], Any], folder: Path) -> Callable[..., Any]:
    """Run the one task, `load`, of a DAG and return its task instance."""

    def run_dag(dag_id: str, **arguments: Any) -> Any:
        [task_instance] = airflow_dag(dag_id).test(**arguments).get_task_instances()
        return task_instance

    return run_dag


# ---- a real Airflow, which takes half a minute to start: tests that need none run meanwhile --------------------------

_STARTER = pytest.StashKey[Starter]()
_HERE = Path(__file__).parent


def _uses_airflow(item: pytest.Item | None) -> bool:
    return isinstance(item, pytest.Function) and "real_airflow" in item.fixturenames


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [index for index, item in enumerate(items) if _HERE in item.path.parents]
    ordered = sorted((items[index] for index in places), key=_uses_airflow)
    for index, item in zip(places, ordered, strict=True):
        items[index] = item


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any(map(_uses_airflow, session.items)):
        session.config.stash[_STARTER] = Starter()


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if _uses_airflow(item) and not _uses_airflow(nextitem):
        item.config.stash[_STARTER].stop()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if starter := session.config.stash.get(_STARTER, None):
        starter.stop()


@pytest.fixture(scope="session")
def real_airflow(pytestconfig: pytest.Config) -> RealAirflow:
    """Scheduler, DAG processor, triggerer and api-server, shared by all tests."""
    return pytestconfig.stash[_STARTER].airflow()


@pytest.fixture(scope="session")
def begun(real_airflow: RealAirflow, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Begun]:
    """A run of each DAG, begun at once: what one waits for, the others need not."""
    return begin_all(real_airflow, tmp_path_factory.mktemp("loads"))
