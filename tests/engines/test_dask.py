"""`DaskEngine`, on real clusters."""

from collections.abc import Iterator

import pytest

from tests.contracts.engine_contract import EngineContract
from zoopipe_core.engines.dask import DaskEngine

pytestmark = pytest.mark.slow


class TestDaskEngine(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[DaskEngine]:
        engine = DaskEngine(n_workers=2)
        yield engine
        engine.close()
