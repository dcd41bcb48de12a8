"""Hooks: a user's own code between reading, validating and writing.

    pre-validation hooks  ->  validation  ->  post-validation hooks  ->  output

A `BaseHook` sees rows, one dict an entry; a `ColumnHook` sees record batches and is the fast way. Both run in input
order and never two at a time, so they need no locks; `setup` and `teardown` run once a run, in the process that runs
the pipe. ``store`` is a dict that all hooks of a run share. Batches without rows are not shown to hooks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict

from zoopipe_core.errors import SpecError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["BaseHook", "ColumnHook", "Entry", "EntryStatus", "Hook", "Store", "check_hook"]

Store = dict[str, Any]


class EntryStatus(StrEnum):
    """What is known about an entry: not yet validated, validated, or failed (it will be rejected)."""

    PENDING = "pending"
    VALIDATED = "validated"
    FAILED = "failed"


class Entry(TypedDict, total=False):
    """One row on its way through row hooks.

    id: identifies the row within the run, and is all that does: the count of rows read, from 1. Return an entry with
        its id to keep the row; an entry that you add needs none, and is given a negative one.
    position: the row's number in its source, from 1; 0 for an entry that a hook added. Changes are ignored.
    status: an `EntryStatus`; set it to FAILED to reject the row.
    raw_data: the row as the source holds it: all columns before validation (or those of the model and of
        `BaseHook.columns`), after it those that the model needs (and those of `BaseHook.columns`). A model or
        dataclass instance is shown as a dict. What a pre-validation hook changes here is what gets validated.
    validated_data: what ``model_dump()`` returned, None before validation; what a post-validation hook changes here
        is what gets written.
    errors: of a FAILED entry: error dicts in pydantic's form (type, loc, msg, input); plain texts will do.
    metadata: the hooks' own notes on a row that was read, for the hooks that come later; never written anywhere.
    """

    id: int
    position: int
    status: EntryStatus
    raw_data: dict[str, Any]
    validated_data: dict[str, Any] | None
    errors: list[Any]
    metadata: dict[str, Any]


class _Hook:
    """What both kinds of hook have in common."""

    priority: int = 50
    """Hooks run in rising order of priority; equal ones in the order given."""

    columns: tuple[str, ...] | None = None
    """The source columns that the hook looks at, beside those of the model. None: all of them for a pre-validation
    hook, no others for a post-validation hook."""

    adds: Mapping[str, type] = {}
    """Columns that the hook adds, or gives another type, and the Python types of their values. Where nothing is said,
    the types are those of the values in the first batch."""

    def __init__(self, priority: int = 50) -> None:
        self.priority = priority

    @property
    def name(self) -> str:
        """The class name, for messages."""
        return type(self).__name__

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), self.priority))

    def setup(self, store: Store) -> None:
        """Called once, before the first batch."""
        return

    def teardown(self, store: Store) -> None:
        """Called once, after the last batch, also when the run failed."""
        return


class BaseHook(_Hook, ABC):
    """A hook on rows.

    Entries may be changed, dropped (they count as filtered), added, or marked FAILED (they become rejects).

    >>> class Lower(BaseHook):
    ...     def execute(self, entries, store):
    ...         for entry in entries:
    ...             entry["validated_data"]["email"] = entry["validated_data"]["email"].lower()
    ...         return entries
    """

    @abstractmethod
    def execute(self, entries: list[Entry], store: Store) -> list[Entry]:
        """Look at up to a batch of entries (after validation, up to 4,096 of them), in input order, and return those
        that go on.

        An exception fails the run; its message will name the hook and the rows.
        """


class ColumnHook(_Hook, ABC):
    """A hook on record batches: pyarrow.compute, NumPy, or a Numba function of your own.

    As a pre-validation hook it gets the source's columns: undecoded text as binary for CSV, one column ``_raw`` of
    JSON text for JSON, typed ones for Parquet, Arrow and SQL; rows of Python objects have none. As a post-validation
    hook it gets typed columns. Columns may be added, replaced or removed; rows may be dropped only through `execute`
    of a `BaseHook` or with `keep`, since a record batch does not say which rows are missing. Values of columns that
    the hook leaves alone stay exactly what they were.

    >>> import pyarrow.compute as pc
    >>> class Upper(ColumnHook):
    ...     def execute(self, batch, store):
    ...         index = batch.schema.get_field_index("country")
    ...         return batch.set_column(index, "country", pc.utf8_upper(batch.column("country")))
    """

    @abstractmethod
    def execute(self, batch: pa.RecordBatch, store: Store) -> pa.RecordBatch:
        """Return a batch of as many rows, in the same order."""

    def keep(self, batch: pa.RecordBatch, store: Store) -> pa.BooleanArray | None:
        """Which rows of what `execute` returned go on: true to keep; null and false count as filtered. None: all."""
        return None


Hook = BaseHook | ColumnHook


def check_hook(hook: Any) -> None:
    """Refuse what is no hook, or a hook that describes itself wrongly.

    Raises:
        SpecError: the message says what is wrong.
    """
    if not isinstance(hook, Hook):
        shown = hook.__name__ if isinstance(hook, type) else repr(hook)
        raise SpecError(f"{shown} is no hook; derive it from BaseHook or ColumnHook, and give an instance")
    if not isinstance(hook.priority, int | float):
        raise SpecError(f"{hook.name}.priority has to be a number, not {hook.priority!r}")
    columns: Any = hook.columns
    if columns is not None and (isinstance(columns, str) or not all(isinstance(name, str) for name in columns)):
        raise SpecError(f"{hook.name}.columns has to be a tuple of names, or None for all, not {columns!r}")
    adds: Any = hook.adds
    if not isinstance(adds, Mapping) or not all(isinstance(n, str) and isinstance(k, type) for n, k in adds.items()):
        raise SpecError(f'{hook.name}.adds has to be a dict of names and types, as {{"total": float}}, not {adds!r}')
