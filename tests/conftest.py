"""What all tests share."""

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

pytest_plugins = ["tests.browser", "tests.databases"]

ROOT = Path(__file__).resolve().parent.parent

# The machine that runs the tests may be busy: how long one example took says nothing.
settings.register_profile("zoopipe", deadline=None, print_blob=True)
settings.load_profile("zoopipe")


# ---- neither a server of yours nor your home folder is touched ------------------------------------------------------

_HOME = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Airflow and Prefect read their settings when they are imported, and so do the processes that tests start."""
    # A shell lets what it starts in the background ignore it, and so would all programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = config.stash[_HOME] = Path(tempfile.mkdtemp(prefix="zoopipe-tests-"))
    (home / "prefect").mkdir()
    (home / "airflow" / "dags").mkdir(parents=True)
    for example in [*(ROOT / "dags_examples").glob("*.py"), *(ROOT / "tests" / "airflow" / "dags").glob("*.py")]:
        shutil.copy(example, home / "airflow" / "dags")
    os.environ |= {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "airflow" / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING",
        "DO_NOT_TRACK": "1",
        "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",  # takes seconds, and no block is used
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "prefect" / "storage"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_MEMO_STORE_PATH": str(home / "prefect" / "memo_store.toml"),
        # Runs of the tests beside each other can share what takes long to compile.
        "ZOOPIPE_CACHE_DIR": os.environ.get("ZOOPIPE_TEST_KERNELS", str(home / "kernels")),
        "ZOOPIPE_KERNELS": "cached",  # no test starts a compiler by the way; `compiled_kernels` is how to get kernels
    }


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_HOME], ignore_errors=True)


@pytest.fixture(scope="session")
def compiled_kernels() -> Path:
    """The file of compiled kernels, compiled once for all tests in a process of its own."""
    from zoopipe_core.kernels.compiler import compile_kernels

    return compile_kernels()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kernels",
        choices=["auto", "on"],
        default="auto",
        help="on: kernels do all that they can, from the first row of a load; what comes out has to be the same",
    )


@pytest.fixture(scope="session", autouse=True)
def _kernels_at_once(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.config.getoption("--kernels") != "on":
        yield
        return
    request.getfixturevalue("compiled_kernels")
    from zoopipe_core.kernels import native, switch

    assert native.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(switch.SWITCH, "_ready", True)
        patch.setattr(switch, "MIN_BATCH_ROWS", 1)
        yield


@pytest.fixture(scope="session")
def prefect_database(postgres_server: str) -> str:
    """The URL of the database that the Prefect server keeps everything in."""
    from tests.databases import new_database

    return new_database(postgres_server)


@pytest.fixture(scope="session")
def prefect_api(prefect_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the API of a Prefect server that lives as long as the tests; this process talks to it too."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from tests.prefect.server import messages_delivered, prefect_server

    folder = tmp_path_factory.mktemp("prefect-server")
    with (
        prefect_server(folder, prefect_database) as api,
        temporary_settings({PREFECT_API_URL: api}),
        messages_delivered(),
    ):
        yield api


@pytest.fixture(scope="session")
def airflow_dag() -> Callable[[str], Any]:
    """DAGs by their id: those of tests/airflow/dags and of dags_examples, for `dag.test()`."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    bag = DagBag(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert not bag.import_errors
    return bag.dags.__getitem__
