"""The target of a pipe without one: rows are validated and counted, and go nowhere."""

from __future__ import annotations

from collections.abc import Mapping

from zoopipe_core.adapters.base import Writer
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import ColumnType

__all__ = ["Discard"]


class Discard(Writer):
    """Takes all, keeps nothing."""

    def start(self, types: Mapping[str, ColumnType]) -> None:
        return

    def write(self, batch: ModelBatch) -> None:
        return

    def prepare(self) -> None:
        return

    def publish(self) -> None:
        return

    def abort(self) -> None:
        return
