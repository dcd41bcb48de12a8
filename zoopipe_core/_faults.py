"""Named points of a load at which tests make something go wrong; see `zoopipe_core.testing.faults`.

Reaching one costs a look into an empty dictionary.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["POINTS", "handlers", "reached"]

POINTS = (
    "before_stage",  # nothing was written yet
    "mid_stage",  # some rows were
    "after_stage",  # all rows were
    "after_prepare",  # the target holds them, or the file is durable under its hidden name; nobody sees them
    "before_ledger",
    "after_ledger",  # COMMIT comes next, or the renaming
    "after_commit",  # the target has it, the caller does not know
)

handlers: dict[str, Callable[[], None]] = {}


def reached(point: str) -> None:
    """The load has come to `point`."""
    handler = handlers.get(point)
    if handler is not None:
        handler()
