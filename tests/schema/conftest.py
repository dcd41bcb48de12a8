"""Text is judged in two ways, which have to agree: by compiled kernels, and by pydantic alone."""

from __future__ import annotations

import pytest

from zoopipe_core.kernels.switch import SWITCH


@pytest.fixture(params=["kernels", "pydantic"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which of the two the validator takes."""
    if request.param == "kernels":
        request.getfixturevalue("compiled_kernels")
    ready = request.param == "kernels"
    monkeypatch.setattr(SWITCH, "ready", lambda rows: ready)
    return str(request.param)
