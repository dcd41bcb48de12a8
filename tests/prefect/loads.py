"""Loads for flows under test, and where to see what Prefect was told of them."""

import os
import time
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from pydantic import BaseModel

from zoopipe_core import BaseHook


class User(BaseModel):
    id: int


class Slow(BaseHook):
    """A batch takes 0.1 s."""

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        Path(store.setdefault("begun", "begun")).touch()
        time.sleep(0.1)
        return entries


class FailOnce(BaseHook):
    """The first load of all that comes here fails in a way that can pass."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        if not self.mark.exists():
            self.mark.touch()
            raise ConnectionError("not yet")
        return entries


class DieOnce(BaseHook):
    """The first worker of all that comes here ends without a word."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def execute(self, entries: list[Any], store: dict[str, Any]) -> list[Any]:
        if not self.mark.exists():
            self.mark.touch()
            os._exit(3)
        return entries


def artifact(key: str) -> Any:
    """The latest artifact of a load."""
    with get_client(sync_client=True) as client:
        [found] = client.read_artifacts(artifact_filter=_with(key), sort=ArtifactSort.UPDATED_DESC, limit=1)
    return found


def attempts(key: str) -> int:
    """How often a load was tried: each time leaves an artifact."""
    with get_client(sync_client=True) as client:
        return len(client.read_artifacts(artifact_filter=_with(key)))


def _with(key: str) -> ArtifactFilter:
    return ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
