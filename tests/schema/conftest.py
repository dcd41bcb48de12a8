"""Text is judged in two ways, which have to agree: by compiled kernels, and by pydantic alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from zoopipe_core.kernels import native
from zoopipe_core.kernels.switch import SWITCH


@pytest.fixture
def use_kernels(compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled kernels, from the first row on."""
    assert native.load()
    monkeypatch.setattr(SWITCH, "ready", lambda rows: True)


_COUNTED = {"cells": 0}


@pytest.fixture
def count_cells() -> Callable[[int], None]:
    """Add to the number of cells that were compared, which is printed at the end."""

    def count(cells: int) -> None:
        _COUNTED["cells"] += cells

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _COUNTED["cells"]:
        from tests.schema.test_exactness import SEED

        terminalreporter.write_line(f"{_COUNTED['cells']:,} cells compared with pydantic, seed {SEED}")


@pytest.fixture(params=["kernels", "pydantic"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two the validator takes."""
    if request.param == "kernels":
        request.getfixturevalue("use_kernels")
    else:
        monkeypatch.setattr(SWITCH, "ready", lambda rows: False)
    return str(request.param)
