"""What the tests of operators share: a folder with users, and how a DAG is run."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
