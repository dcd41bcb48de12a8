"""`RayEngine`, on real clusters."""

import os
from collections.abc import Iterator

import pytest

from tests.contracts.engine_contract import EngineContract
from zoopipe_core.engines.ray import RayEngine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _quiet_ray() -> Iterator[None]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    yield


class TestRayEngine(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[RayEngine]:
        engine = RayEngine(num_cpus=2)
        yield engine
        engine.close()
