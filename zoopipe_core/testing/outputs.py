"""What every output adapter has to do, as tests."""

from __future__ import annotations

import pickle
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from zoopipe_core.adapters.base import OutputAdapter, Writer
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import STRING
from zoopipe_core.errors import TargetError, TargetWriteError, ZoopipeError
from zoopipe_core.testing.inputs import CANARY, open_files
from zoopipe_core.testing.rows import batches_of, many_rows, text_types, tricky_rows, write_rows

__all__ = ["OutputAdapterContract"]

OLD = [{"id": "0", "text": "état"}]
SMALLEST_DISK = 64 * 1024

# Run in a process of its own: the limit holds for all files of a process. Random digits, since no codec makes them
# smaller. pyarrow would import pandas to look whether a list is one of its series, and take a second for it.
FILL_THE_DISK = """
import os, pickle, resource, sys
sys.path[:] = pickle.load(sys.stdin.buffer)
class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoPandas())
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import STRING
adapter = pickle.load(sys.stdin.buffer)
limit = pickle.load(sys.stdin.buffer)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
types = {"id": STRING, "text": STRING}
try:
    writer = adapter.open()
    try:
        writer.start(types)
        for _ in range(10):
            rows = [{"id": str(number), "text": os.urandom(8_000).hex()} for number in range(50)]
            writer.write(ModelBatch.from_rows(rows, types))
        writer.prepare()
        writer.publish()
    finally:
        writer.abort()
except Exception as error:
    print(*(kind.__name__ for kind in type(error).__mro__), sep="|")
    print(error)
else:
    print("no error")
"""


class OutputAdapterContract(ABC):
    """Subclass this in a test file, under a name that begins with ``Test``, and say how a target is read back.

    Attributes:
        fixed_columns: whether a column that ``start`` did not name is an error.
        makes_folders: whether missing parent folders are made.
        full_disk_error: what is raised when the disk is full; None where rows do not go to a disk.
    """

    fixed_columns: bool = True
    makes_folders: bool = True
    full_disk_error: type[ZoopipeError] | None = TargetWriteError

    @abstractmethod
    def adapter(self, folder: Path) -> OutputAdapter:
        """An adapter for a target in `folder`: the same target for the same folder. Nothing is made yet."""

    @abstractmethod
    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        """The rows of that target, with values of text or None; None if there is no target."""

    def blocked(self, folder: Path) -> OutputAdapter | None:
        """An adapter for a target in `folder` that cannot be written, made so here; None where there is no such."""
        return None

    def with_secret(self, secret: str) -> OutputAdapter | None:
        """An adapter with `secret` as the password of its address; None where addresses have none."""
        return None

    def snapshot(self, folder: Path) -> Any:
        """All that is in `folder`, to be compared: every file, byte for byte, hidden ones too.

        For a database, whose files change without changing in meaning: what `read` gives.
        """
        found = sorted(path for path in folder.rglob("*"))
        return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}

    # ---- the description ----------------------------------------------------------------------------------------

    def test_building_an_adapter_does_no_io(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path / "no" / "such" / "folder")
        assert adapter.label
        assert not any(tmp_path.iterdir())

    def test_an_adapter_pickles_compares_and_hashes(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path)
        copy = pickle.loads(pickle.dumps(adapter))
        assert copy == adapter
        assert hash(copy) == hash(adapter)
        assert copy != object()
        assert bool(adapter)

    def test_label_and_repr_are_short_and_of_one_line(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path)
        shown = repr(adapter)
        assert 0 < len(adapter.label) <= len(str(tmp_path)) + 100
        assert len(shown) <= len(str(tmp_path)) + 300
        assert "\n" not in adapter.label + shown
        assert type(adapter).__name__ in shown

    def test_label_and_repr_hold_no_secret(self) -> None:
        adapter = self.with_secret(CANARY)
        if adapter is not None:
            assert CANARY not in adapter.label + repr(adapter) + str(adapter)

    # ---- rows -----------------------------------------------------------------------------------------------------

    def test_rows_are_written_whole_and_in_order(self, tmp_path: Path) -> None:
        rows = tricky_rows()
        write_rows(self.adapter(tmp_path), rows)
        assert self.read(tmp_path) == rows

    def test_nothing_and_the_empty_text_are_told_apart(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [{"id": "1", "text": None}, {"id": "2", "text": ""}, {"id": "3", "text": None}]
        write_rows(self.adapter(tmp_path), rows)
        assert self.read(tmp_path) == rows

    def test_a_column_of_nothing_can_be_written(self, tmp_path: Path) -> None:
        rows: list[dict[str, Any]] = [{"id": str(number), "text": None} for number in range(30)]
        write_rows(self.adapter(tmp_path), rows)
        assert self.read(tmp_path) == rows

    def test_a_key_that_a_row_lacks_is_nothing(self, tmp_path: Path) -> None:
        rows = [{"id": "1", "text": "x"}, {"id": "2"}]
        types = {"id": STRING, "text": STRING}
        write_rows(self.adapter(tmp_path), rows, types, batch_size=1)
        found = self.read(tmp_path)
        assert found is not None
        assert [(row["id"], row.get("text")) for row in found] == [("1", "x"), ("2", None)]

    def test_many_batches_are_one_target(self, tmp_path: Path) -> None:
        rows = many_rows(2000)
        write_rows(self.adapter(tmp_path), rows, batch_size=90)
        assert self.read(tmp_path) == rows

    def test_no_rows_make_an_empty_target(self, tmp_path: Path) -> None:
        write_rows(self.adapter(tmp_path), [])
        assert self.read(tmp_path) == []

    def test_a_column_that_was_not_announced_is_named(self, tmp_path: Path) -> None:
        if not self.fixed_columns:
            return
        writer = self.adapter(tmp_path).open()
        writer.start({"id": STRING})
        with pytest.raises(TargetError, match="surprise"):
            writer.write(ModelBatch.from_rows([{"id": "1", "surprise": "x"}], {"id": STRING}))
        writer.abort()
        assert self.read(tmp_path) is None

    # ---- all or nothing ---------------------------------------------------------------------------------------------

    def test_nothing_is_seen_before_it_is_published(self, tmp_path: Path) -> None:
        writer = self.adapter(tmp_path).open()
        assert self.read(tmp_path) is None
        for step in _STEPS.values():
            step(writer)
            assert self.read(tmp_path) is None
        writer.publish()
        assert self.read(tmp_path) == many_rows(100)
        assert open_files(tmp_path) == []

    def test_the_old_rows_are_seen_until_the_new_ones_are_published(self, tmp_path: Path) -> None:
        write_rows(self.adapter(tmp_path), OLD)
        writer = self.adapter(tmp_path).open()
        for step in _STEPS.values():
            step(writer)
            assert self.read(tmp_path) == OLD
        writer.publish()
        assert self.read(tmp_path) == many_rows(100)

    @pytest.mark.parametrize("steps", range(4))
    def test_an_aborted_write_leaves_no_trace(self, tmp_path: Path, steps: int) -> None:
        before = self.snapshot(tmp_path)
        writer = self._written(self.adapter(tmp_path), steps)
        writer.abort()
        writer.abort()
        assert self.snapshot(tmp_path) == before
        assert self.read(tmp_path) is None
        assert open_files(tmp_path) == []

    @pytest.mark.parametrize("steps", range(4))
    def test_an_aborted_write_leaves_the_old_target_as_it_was(self, tmp_path: Path, steps: int) -> None:
        write_rows(self.adapter(tmp_path), OLD)
        before = self.snapshot(tmp_path)
        writer = self._written(self.adapter(tmp_path), steps)
        writer.abort()
        writer.abort()
        assert self.snapshot(tmp_path) == before
        assert self.read(tmp_path) == OLD

    def test_aborting_after_publishing_changes_nothing(self, tmp_path: Path) -> None:
        writer = self._written(self.adapter(tmp_path), 3)
        writer.publish()
        before = self.snapshot(tmp_path)
        writer.abort()
        assert self.snapshot(tmp_path) == before
        assert self.read(tmp_path) == many_rows(100)

    def test_publishing_leaves_nothing_but_the_target(self, tmp_path: Path) -> None:
        write_rows(self.adapter(tmp_path), many_rows(5))
        write_rows(self.adapter(tmp_path), OLD)
        hidden = [path.name for path in tmp_path.rglob("*") if path.name.startswith(".")]
        assert hidden == []

    def test_a_second_write_replaces_the_first(self, tmp_path: Path) -> None:
        write_rows(self.adapter(tmp_path), many_rows(50))
        write_rows(self.adapter(tmp_path), OLD)
        assert self.read(tmp_path) == OLD

    @staticmethod
    def _written(adapter: OutputAdapter, steps: int) -> Writer:
        """A writer after so many of the steps start, write, prepare."""
        writer = adapter.open()
        for step in list(_STEPS.values())[:steps]:
            step(writer)
        return writer

    # ---- places -----------------------------------------------------------------------------------------------------

    def test_missing_folders_are_made(self, tmp_path: Path) -> None:
        if self.makes_folders:
            folder = tmp_path / "a" / "b"
            write_rows(self.adapter(folder), OLD)
            assert self.read(folder) == OLD

    def test_folders_that_were_made_go_with_an_aborted_write(self, tmp_path: Path) -> None:
        if self.makes_folders:
            self._written(self.adapter(tmp_path / "a" / "b"), 2).abort()
            assert not any(tmp_path.iterdir())

    def test_a_target_that_cannot_be_written_is_an_error_that_names_it(self, tmp_path: Path) -> None:
        adapter = self.blocked(tmp_path)
        if adapter is not None:
            before = self.snapshot(tmp_path)
            with pytest.raises(ZoopipeError) as caught:
                write_rows(adapter, OLD)
            assert isinstance(caught.value, TargetError) or self.full_disk_error is None
            assert adapter.label.split("::")[0] in str(caught.value)
            assert self.snapshot(tmp_path) == before

    def test_bytes_written_never_go_back(self, tmp_path: Path) -> None:
        writer = self.adapter(tmp_path).open()
        seen = [writer.bytes_written]
        rows = many_rows(500)
        writer.start(text_types(rows))
        for batch in batches_of(rows, text_types(rows), 50):
            writer.write(batch)
            seen.append(writer.bytes_written)
        writer.prepare()
        seen.append(writer.bytes_written)
        writer.publish()
        seen.append(writer.bytes_written)
        assert seen == sorted(seen)
        assert seen[0] >= 0

    def test_a_full_disk_fails_the_write_and_leaves_the_old_target(self, tmp_path: Path) -> None:
        if self.full_disk_error is None:
            return
        write_rows(self.adapter(tmp_path), OLD)
        before = self.snapshot(tmp_path)
        largest = max((path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()), default=0)
        outcome = fill_the_disk(self.adapter(tmp_path), largest + SMALLEST_DISK)
        assert self.full_disk_error.__name__ in outcome.splitlines()[0].split("|"), outcome
        assert self.snapshot(tmp_path) == before
        assert self.read(tmp_path) == OLD


def _start(writer: Writer) -> None:
    writer.start(text_types(many_rows(1)))


def _write(writer: Writer) -> None:
    rows = many_rows(100)
    for batch in batches_of(rows, text_types(rows), 30):
        writer.write(batch)


def _prepare(writer: Writer) -> None:
    writer.prepare()


_STEPS: dict[str, Callable[[Writer], None]] = {"start": _start, "write": _write, "prepare": _prepare}


def fill_the_disk(adapter: OutputAdapter, limit: int) -> str:
    """Write far more than `limit` bytes where no file may grow beyond it; the classes of the error, and its text."""
    given: bytes = pickle.dumps(sys.path) + cloudpickle.dumps(adapter) + pickle.dumps(limit)
    run = subprocess.run([sys.executable, "-c", FILL_THE_DISK], input=given, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert not run.stderr, run.stderr.decode()
    return run.stdout.decode()
