"""What tests of faults share: engines, targets, and a folder with an input and older targets."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.manager.loads import ENGINES, SHARDS, write_input
from tests.manager.targets import TARGETS, Target
from zoopipe_core.engines.base import BaseEngine
from zoopipe_core.managing import workers


def _ray() -> BaseEngine:
    from zoopipe_core.engines.ray import RayEngine

    return RayEngine(num_cpus=SHARDS, dependencies="off")


def _dask() -> BaseEngine:
    from zoopipe_core.engines.dask import DaskEngine

    return DaskEngine(n_workers=SHARDS, dependencies="off")


CLUSTERS = {"dask": _dask, "ray": _ray}


def _started(engine: BaseEngine) -> Iterator[BaseEngine]:
    assert engine.capacity == SHARDS  # which starts a cluster, before a test changes where temporary files go
    yield engine
    engine.close()


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[BaseEngine]:
    """The engines of this machine."""
    yield from _started(ENGINES[request.param]())


@pytest.fixture(scope="module", params=CLUSTERS)
def cluster(request: pytest.FixtureRequest) -> Iterator[BaseEngine]:
    """The engines of clusters, which take some seconds."""
    yield from _started(CLUSTERS[request.param]())


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    return TARGETS[request.param]


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an input, and an older load in each target."""
    folder = tmp_path_factory.mktemp("before")
    write_input(folder)
    (folder / "temporary").mkdir()
    for target in TARGETS.values():
        target.make_old(folder)
    return folder


@pytest.fixture
def folder(before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of this test's own with an input, and an older load in each target; temporary files have one too."""
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.3)  # what hangs here would use up all of it
    folder = tmp_path / "load"
    shutil.copytree(before, folder)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    monkeypatch.setenv("TMPDIR", str(folder / "temporary"))
    return folder
