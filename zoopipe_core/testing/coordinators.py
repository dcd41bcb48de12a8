"""What every coordinator has to do that stands for the output of a load in shards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from zoopipe_core.adapters.base import OutputAdapter
from zoopipe_core.coordinators.base import BaseCoordinator, Managed, WorkerResult
from zoopipe_core.errors import LoadAbortedError
from zoopipe_core.manager import PipeManager
from zoopipe_core.pipe import Pipe
from zoopipe_core.report import PipeReport, PipeStatus
from zoopipe_core.testing.engines import ThreadEngine
from zoopipe_core.testing.rows import many_rows, text_types, tricky_rows, write_rows

__all__ = ["CoordinatorContract"]

SHARDS: tuple[list[int], ...] = ([0, 1], [], [2], [3, 4, 5])


class CoordinatorContract(ABC):
    """Subclass it, and say how the coordinator is made, what it writes to, and how that is read back.

    Shards are written with the adapters of `prepare_shards`, in this process.
    """

    @abstractmethod
    def coordinator(self) -> BaseCoordinator:
        """A new coordinator."""

    @abstractmethod
    def target(self, folder: Path) -> OutputAdapter:
        """The target, the same one for the same folder."""

    @abstractmethod
    def rows_in(self, folder: Path) -> list[dict[str, Any]] | None:
        """The rows that are in the target, as texts; None if there is no target."""

    def parts(self, coordinator: BaseCoordinator, folder: Path) -> list[OutputAdapter]:
        """The adapters of the shards."""
        parts: list[OutputAdapter] = coordinator.prepare_shards(self.target(folder), len(SHARDS))
        return parts

    def write(self, parts: Sequence[OutputAdapter], rows: Sequence[dict[str, Any]]) -> None:
        """Each shard writes its own rows."""
        for part, numbers in zip(parts, SHARDS, strict=True):
            write_rows(part, [rows[number] for number in numbers], text_types(rows))

    def load(self, folder: Path, rows: Sequence[dict[str, Any]]) -> None:
        """Load six rows, from the plan to the commit."""
        coordinator = self.coordinator()
        parts = self.parts(coordinator, folder)
        manager = _Manager(parts)
        coordinator.on_start(manager)
        self.write(parts, rows)
        coordinator.on_finish(manager, _results(parts))

    # ---- publishing -----------------------------------------------------------------------------------------------

    def test_planning_does_nothing_to_the_target(self, tmp_path: Path) -> None:
        before = _tree(tmp_path)
        assert len(self.parts(self.coordinator(), tmp_path)) == len(SHARDS)
        assert _tree(tmp_path) == before

    def test_what_is_no_output_is_left_to_others(self) -> None:
        from zoopipe_core.adapters.python import PyGeneratorInputAdapter

        assert self.coordinator().prepare_shards(PyGeneratorInputAdapter([]), 2) == []

    def test_the_rows_of_all_shards_are_there_in_order(self, tmp_path: Path) -> None:
        rows = tricky_rows()[:6]
        self.load(tmp_path, rows)
        assert self.rows_in(tmp_path) == rows

    def test_nothing_is_visible_before_the_end_nor_left_behind_after_it(self, tmp_path: Path) -> None:
        self.load(tmp_path, many_rows(6))
        before, tree = self.rows_in(tmp_path), _tree(tmp_path)
        coordinator = self.coordinator()
        parts = self.parts(coordinator, tmp_path)
        manager = _Manager(parts)
        coordinator.on_start(manager)
        self.write(parts, tricky_rows()[:6])
        assert self.rows_in(tmp_path) == before
        coordinator.on_finish(manager, _results(parts))
        assert self.rows_in(tmp_path) == tricky_rows()[:6]
        assert _tree(tmp_path) == tree

    def test_a_shard_that_is_written_again_counts_once(self, tmp_path: Path) -> None:
        coordinator = self.coordinator()
        parts = self.parts(coordinator, tmp_path)
        manager = _Manager(parts)
        coordinator.on_start(manager)
        self.write(parts, tricky_rows()[:6])
        self.write(parts, many_rows(6))
        coordinator.on_finish(manager, _results(parts))
        assert self.rows_in(tmp_path) == many_rows(6)

    def test_it_serves_a_manager(self, tmp_path: Path) -> None:
        rows = many_rows(6)
        pipes = [Pipe([rows[number] for number in numbers], self.target(tmp_path)) for numbers in SHARDS if numbers]
        manager = PipeManager(pipes, ThreadEngine(), self.coordinator())
        assert manager.run(on_report_update=None), manager.report
        assert self.rows_in(tmp_path) == rows

    def test_a_plan_that_was_given_up_is_of_no_account(self, tmp_path: Path) -> None:
        coordinator = self.coordinator()
        self.parts(coordinator, tmp_path)
        parts = self.parts(coordinator, tmp_path)
        manager = _Manager(parts)
        coordinator.on_start(manager)
        self.write(parts, many_rows(6))
        coordinator.on_finish(manager, _results(parts))
        assert self.rows_in(tmp_path) == many_rows(6)

    # ---- failing --------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("written", [False, True])
    @pytest.mark.parametrize("existing", [False, True])
    def test_a_load_that_fails_leaves_the_target_as_it_was(self, tmp_path: Path, existing: bool, written: bool) -> None:
        if existing:
            self.load(tmp_path, many_rows(6))
        before, tree = self.rows_in(tmp_path), _tree(tmp_path)
        coordinator = self.coordinator()
        parts = self.parts(coordinator, tmp_path)
        manager = _Manager(parts)
        coordinator.on_start(manager)
        if written:
            self.write(parts, tricky_rows()[:6])
        coordinator.on_error(manager, LookupError("a shard failed"))
        assert self.rows_in(tmp_path) == before
        assert _tree(tmp_path) == tree

    def test_a_load_that_is_cancelled_while_it_is_published_is_undone(self, tmp_path: Path) -> None:
        self.load(tmp_path, many_rows(6))
        before, tree = self.rows_in(tmp_path), _tree(tmp_path)
        coordinator = self.coordinator()
        parts = self.parts(coordinator, tmp_path)
        manager = _Manager(parts)
        coordinator.on_start(manager)
        self.write(parts, tricky_rows()[:6])
        manager.stopped = True
        with pytest.raises(LoadAbortedError) as caught:
            coordinator.on_finish(manager, _results(parts))
        coordinator.on_error(manager, caught.value)
        assert self.rows_in(tmp_path) == before
        assert _tree(tmp_path) == tree

    def test_a_missing_part_is_an_error_and_not_fewer_rows(self, tmp_path: Path) -> None:
        coordinator = self.coordinator()
        parts = self.parts(coordinator, tmp_path)
        manager = _Manager(parts)
        coordinator.on_start(manager)
        write_rows(parts[0], many_rows(2))
        with pytest.raises(Exception, match="shard 1 of 4") as caught:
            coordinator.on_finish(manager, _results(parts))
        coordinator.on_error(manager, caught.value)
        assert self.rows_in(tmp_path) is None


class _Manager(Managed):
    """As much of a manager as a coordinator may ask for."""

    def __init__(self, parts: Sequence[OutputAdapter]) -> None:
        self._pipes = [Pipe([], part) for part in parts]
        self.stopped = False

    @property
    def pipes(self) -> list[Pipe]:
        return self._pipes

    @property
    def report(self) -> PipeReport:
        return PipeReport(status=PipeStatus.RUNNING)

    def raise_if_stopped(self) -> None:
        if self.stopped:
            raise LoadAbortedError("the load was cancelled")


def _results(parts: Sequence[OutputAdapter]) -> list[WorkerResult]:
    reports = [PipeReport(status=PipeStatus.COMPLETED, loaded_rows=len(numbers)) for numbers in SHARDS]
    return [
        WorkerResult(index, True, part.label, report)
        for index, (part, report) in enumerate(zip(parts, reports, strict=True))
    ]


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
