"""The error output of one load: rejects on their way to their writer, few at a time or many.

    encode(rejects)  ─▶  write(rejects, encoded)*  ─▶  prepare, publish | abort
    (any thread)         (the thread of the run)

A file with one bad row in a hundred has some hundreds of them in a batch. To write each batch of so few takes as long
as thousands of them, so they are put together first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoopipe_core.adapters.base import Writer
from zoopipe_core.batches.model import Column
from zoopipe_core.batches.rejects import RejectBatch
from zoopipe_core.batches.types import ColumnType

__all__ = ["RejectsOutput"]

MANY = 4096
"""Rejects that are written together; a batch that has half as many by itself is not held back."""


class RejectsOutput:
    """Writes the rejects of a load, in order.

    Args:
        writer: of the error output; not started.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._names: list[str] | None = None
        self._held: list[RejectBatch] = []
        self._held_rows = 0

    @property
    def is_started(self) -> bool:
        """Whether the columns are known, which `encode` has to wait for."""
        return self._names is not None

    def start(self, source_types: Mapping[str, ColumnType]) -> None:
        """Say what columns the source has; what comes second is ignored."""
        if self._names is None:
            self._names = list(source_types)
            nothing = {name: Column(kind, []) for name, kind in source_types.items()}
            self._writer.start(RejectBatch.of("", np.zeros(0, np.int64), (), nothing).to_batch().types)

    def encode(self, rejects: RejectBatch) -> Any:
        """What `write` takes with these rejects. May be called by any thread.

        Raises:
            UnsupportedValueError: as `Writer.encode`.
        """
        return self._encoded(rejects) if 2 * len(rejects) >= MANY else None

    def write(self, rejects: RejectBatch, encoded: Any) -> None:
        """Write the next rejects, or hold them back until there are more; `encoded` is what `encode` made of them."""
        if encoded is not None or not (self._held and self._held[-1].joins(rejects)):
            self.flush()
        if encoded is not None:
            self._writer.write_encoded(encoded)
            return
        self._held.append(rejects)
        self._held_rows += len(rejects)
        if self._held_rows >= MANY:
            self.flush()

    def flush(self) -> None:
        """Write what was held back."""
        held, self._held, self._held_rows = self._held, [], 0
        if held:
            self._writer.write_encoded(self._encoded(RejectBatch.joined(held)))

    def prepare(self) -> None:
        """Write what was held back, and have the writer make everything durable."""
        self.flush()
        self._writer.prepare()

    def publish(self) -> None:
        """Show the output; it is prepared."""
        self._writer.publish()

    def abort(self) -> None:
        """Drop everything."""
        self._writer.abort()

    def _encoded(self, rejects: RejectBatch) -> Any:
        return self._writer.encode(rejects.to_batch(self._names))
