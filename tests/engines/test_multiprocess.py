"""`MultiProcessEngine`: a fresh process for each pipe."""

from collections.abc import Iterator

import pytest

from tests.contracts.engine_contract import EngineContract
from zoopipe_core import MultiProcessEngine
from zoopipe_core.errors import SpecError


class TestMultiProcessEngine(EngineContract):
    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Iterator[MultiProcessEngine]:
        engine = MultiProcessEngine(max_workers=2)
        yield engine
        engine.close()


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2"])
def test_a_number_of_workers_is_a_positive_whole_number(count: object) -> None:
    with pytest.raises(SpecError, match="max_workers"):
        MultiProcessEngine(count)  # type: ignore[arg-type]
