"""`ZoosyncPoolEngine`: warm processes, kept across runs."""

from collections.abc import Iterator

import pytest

from tests.contracts.engine_contract import EngineContract
from zoopipe_core import ZoosyncPoolEngine


class TestZoosyncPoolEngine(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[ZoosyncPoolEngine]:
        engine = ZoosyncPoolEngine(n_workers=2)
        yield engine
        engine.close()
