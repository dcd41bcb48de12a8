"""Applying hooks to batches, with an account of every row: changed, dropped, added or failed.

`HookChain` holds one side of a pipe's hooks (before or after validation) in their order. On its way through a chain a
batch is held as columns or as entries, and converted only where a hook wants the other form.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from zoopipe_core.batches.source import RowNumbers, SourceBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import HookError
from zoopipe_core.hooking.after import AfterValidation, PostHooked, added_types
from zoopipe_core.hooking.before import BeforeValidation
from zoopipe_core.hooking.interpreter import paused_gc, short_turns
from zoopipe_core.hooking.rows import Misuse, Naming
from zoopipe_core.hooks import BaseHook, ColumnHook, Hook, Store
from zoopipe_core.schema.validate import Validated

__all__ = ["HookChain", "hooks_at_work"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@contextmanager
def hooks_at_work(hooks: Sequence[Hook], store: Store) -> Iterator[None]:
    """Set up each hook once, and tear down, in reverse order, those that were set up, whatever happens.

    Raises:
        HookError: a setup failed; or a teardown, where nothing else did: else it is noted on the other error.
    """
    started: list[Hook] = []
    try:
        for hook in hooks:
            if not any(hook is other for other in started):
                with _naming(hook, lambda: "in setup"):
                    hook.setup(store)
                started.append(hook)
        yield
    except BaseException as error:
        for second in _tear_down(started, store):
            error.add_note(str(second))
        raise
    failures = _tear_down(started, store)
    if failures:
        for second in failures[1:]:
            failures[0].add_note(str(second))
        raise failures[0]


def _tear_down(started: list[Hook], store: Store) -> list[HookError]:
    failures = []
    while started:
        hook = started.pop()
        try:
            with _naming(hook, lambda: "in teardown"):
                hook.teardown(store)
        except HookError as error:
            failures.append(error)
    return failures


class HookChain:
    """The hooks of one side of a pipe, in the order of their priorities.

    Args:
        hooks: in the order given by the user.
        new_ids: ids for entries that hooks add.

    Raises:
        HookError: from `before` and `after`, where a hook raises or returns what it should not.
    """

    def __init__(self, hooks: Sequence[Hook], new_ids: Iterator[int] | None = None) -> None:
        self.hooks = sorted(hooks, key=lambda hook: hook.priority)
        self._new_ids = itertools.count(-1, -1) if new_ids is None else new_ids

    def __bool__(self) -> bool:
        return bool(self.hooks)

    @property
    def adds(self) -> dict[str, ColumnType]:
        """The columns that the hooks declare to add."""
        return {name: kind for hook in self.hooks for name, kind in added_types(hook).items()}

    def before(self, batch: SourceBatch, first_id: int, wanted: frozenset[str] | None, store: Store) -> SourceBatch:
        """`batch` as the hooks want it to be validated, with the account in `SourceBatch.hooked`.

        `first_id` is the id of its first row, `wanted` are the columns that the pipe looks at (None: all).
        """
        return self._through(BeforeValidation(batch, first_id, wanted, self._new_ids), batch.source, batch.rows, store)

    def after(
        self,
        validated: Validated,
        source: SourceBatch,
        first_id: int,
        wanted: frozenset[str] | None,
        store: Store,
        metadata: Mapping[int, dict[str, Any]] | None = None,
    ) -> PostHooked:
        """The accepted rows as the hooks want them to be written.

        `source` is the batch as it was read, `first_id` and `wanted` are as for `before`, `metadata` is what
        pre-validation hooks noted: index in `source` -> notes.
        """
        state = AfterValidation(validated, source, first_id, wanted, self._new_ids, metadata or {})
        return self._through(state, validated.good.source, validated.good.rows, store)

    def _through(self, state: _Side[T], source: str, rows: RowNumbers, store: Store) -> T:
        """Run the hooks as long as there are rows left."""

        def naming(hook: Hook, rows: RowNumbers) -> AbstractContextManager[None]:
            return _naming(hook, lambda: _rows_text(source, rows))

        for columnar, group in itertools.groupby(self.hooks, lambda hook: isinstance(hook, ColumnHook)):
            hooks: list[Any] = list(group)
            if columnar:
                for hook in hooks:
                    if state.num_rows:
                        with naming(hook, rows):
                            state.run_columns(hook, store)
            elif state.num_rows:
                with paused_gc(), short_turns():
                    state.run_rows(hooks, store, naming)
        with naming(self.hooks[-1], rows):
            return state.result()


class _Side(Protocol[T_co]):
    """A batch on its way through the hooks of one side."""

    @property
    def num_rows(self) -> int: ...

    def run_rows(self, hooks: Sequence[BaseHook], store: Store, naming: Naming) -> None: ...

    def run_columns(self, hook: ColumnHook, store: Store) -> None: ...

    def result(self) -> T_co: ...


@contextmanager
def _naming(hook: Hook, where: Callable[[], str]) -> Iterator[None]:
    """Turn whatever a hook raises into an error that names the hook and the rows."""
    try:
        yield
    except Misuse as error:
        raise HookError(f"the hook {hook.name} failed {where()}: {error}") from error.__cause__
    except Exception as error:
        raise HookError(f"the hook {hook.name} raised {type(error).__name__} {where()}: {error}") from error


def _rows_text(source: str, rows: RowNumbers) -> str:
    known = rows[rows > 0]
    if not len(known):
        return f"on rows that hooks added to {source}" if len(rows) else f"on a batch of {source} without rows"
    return f"on rows {int(known.min()):,} to {int(known.max()):,} of {source}"
