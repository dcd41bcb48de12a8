"""The contracts themselves: a small adapter of someone else's passes them, and each fault of it is found by one."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from zoopipe_core.adapters.base import (
    InputAdapter,
    OutputAdapter,
    Reader,
    ReadRequest,
    Scan,
    Split,
    Writer,
    scan_here,
)
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.source import SourceBatch, SourceKind, object_batch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.errors import SourceNotFoundError, TargetWriteError
from zoopipe_core.testing import InputAdapterContract, OutputAdapterContract

Rows = Sequence[Mapping[str, str]]


# ---- input ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class LinesInput(InputAdapter):
    path: str
    limit: int | None = None
    fault: str = ""

    def __post_init__(self) -> None:
        if self.fault == "looks when built":
            os.makedirs(os.path.dirname(self.path), exist_ok=True)

    @property
    def label(self) -> str:
        return self.path if self.fault == "secret" else self.path.rpartition("@")[2]

    def split(self, count: int, scan: Scan = scan_here) -> Split:
        if self.fault == "splits twice":
            return Split((self,) * count)
        return Split((self,)) if self.fault == "says nothing" else super().split(count, scan)

    def open(self, request: ReadRequest) -> Reader:
        if self.fault != "bare error" and not os.path.exists(self.path):
            raise SourceNotFoundError(f"there is no {self.path}")
        return LinesReader(self, request)


class LinesReader(Reader):
    def __init__(self, adapter: LinesInput, request: ReadRequest) -> None:
        self._adapter, self._request = adapter, request
        self._file = open(adapter.path, encoding="utf-8")  # noqa: SIM115
        self._size = max(os.path.getsize(adapter.path), 1)
        self._done = False
        self._read = 0

    @property
    def kind(self) -> SourceKind:
        return SourceKind.OBJECTS

    @property
    def columns(self) -> None:
        return None

    @property
    def bytes_read(self) -> int:
        return self._read

    @property
    def fraction(self) -> float:
        if self._adapter.fault == "too much":
            return self._read / self._size * 1.5
        return self._read / self._size

    def __iter__(self) -> Iterator[SourceBatch]:
        fault, limit = self._adapter.fault, self._adapter.limit
        size = 1 if fault == "tiny batches" else 10**9 if fault == "one batch" else self._request.batch_size
        held: list[dict[str, Any]] = []
        first = 0 if fault == "counts from zero" else 1
        for rows, line in enumerate(self._file):
            if limit is not None and rows >= limit and fault != "no limit":
                break
            row = json.loads(line)
            if fault == "strips":
                row = {name: value.strip() for name, value in row.items()}
            if fault == "prunes too much" and self._request.columns is not None:
                row.pop("text")
            self._read += -len(line) if fault == "goes back" and rows > 60 else len(line.encode())
            held.append(row)
            if len(held) == size:
                yield object_batch(self._adapter.label, first, held)
                first, held = first + len(held), []
        if held and fault != "loses the rest":
            yield object_batch(self._adapter.label, first, held)
        elif fault == "empty batch":
            yield object_batch(self._adapter.label, first, [])

    def close(self) -> None:
        if self._done and self._adapter.fault == "closes once":
            raise ValueError("closed twice")
        self._done = True
        if self._adapter.fault == "stays open":
            _left_open.append(self._file)
        else:
            self._file.close()


_left_open: list[Any] = []


class LinesInputContract(InputAdapterContract):
    fault = ""

    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        path = folder / "rows.lines"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return LinesInput(str(path), fault=self.fault)

    def absent(self, folder: Path) -> InputAdapter:
        return LinesInput(str(folder / "none.lines"), fault=self.fault)

    def with_secret(self, secret: str) -> InputAdapter:
        return LinesInput(f"lines://me:{secret}@host/rows", fault=self.fault)


class TestLinesInput(LinesInputContract):
    """The adapter without a fault."""


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("looks when built", "test_building_an_adapter_does_no_io"),
        ("secret", "test_label_and_repr_hold_no_secret"),
        ("bare error", "test_a_source_that_does_not_exist_is_an_error_when_it_is_opened"),
        ("strips", "test_rows_come_whole_and_in_order"),
        ("loses the rest", "test_rows_come_whole_and_in_order"),
        ("counts from zero", "test_rows_are_numbered_from_one"),
        ("tiny batches", "test_batches_are_of_the_size_asked_for"),
        ("one batch", "test_batches_are_of_the_size_asked_for"),
        ("empty batch", "test_a_source_without_rows_gives_no_batches"),
        ("no limit", "test_a_limit_ends_reading"),
        ("splits twice", "test_parts_give_one_after_the_other_what_the_whole_gives"),
        ("says nothing", "test_parts_give_one_after_the_other_what_the_whole_gives"),
        ("prunes too much", "test_columns_that_are_not_wanted_may_be_absent_and_the_others_are_there"),
        ("too much", "test_progress_never_goes_back"),
        ("goes back", "test_progress_never_goes_back"),
        ("closes once", "test_a_reader_closes_at_any_point_and_more_than_once"),
        ("stays open", "test_no_file_stays_open"),
    ],
)
def test_each_fault_of_an_input_is_found(tmp_path: Path, fault: str, test: str) -> None:
    contract = type("Faulty", (LinesInputContract,), {"fault": fault})()
    arguments = () if test == "test_label_and_repr_hold_no_secret" else (tmp_path,)
    with pytest.raises((AssertionError, ValueError, FileNotFoundError)):
        getattr(contract, test)(*arguments)
    while _left_open:
        _left_open.pop().close()


# ---- output ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class LinesOutput(OutputAdapter):
    path: str
    fault: str = ""

    @property
    def label(self) -> str:
        return self.path

    def open(self) -> Writer:
        return LinesWriter(self)


class LinesWriter(Writer):
    def __init__(self, adapter: LinesOutput) -> None:
        self._fault, self._path = adapter.fault, adapter.path
        self._part = self._path if self._fault == "in the open" else self._path + ".part"
        self._published = False
        if os.path.isdir(self._path) and self._fault != "bare error":
            raise TargetWriteError(f"{self._path} is a folder")
        if self._fault == "deletes first" and os.path.exists(self._path):
            os.unlink(self._path)
        self._file = open(self._part, "w", encoding="utf-8")  # noqa: SIM115

    def start(self, types: Mapping[str, ColumnType]) -> None:
        return

    def write(self, batch: ModelBatch) -> None:
        try:
            for row in batch.dicts():
                if self._fault == "drops None":
                    row = {name: value for name, value in row.items() if value is not None}
                self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        except OSError as error:
            if self._fault != "full is fine":
                raise TargetWriteError(f"{self._path}: {error}") from error

    def prepare(self) -> None:
        self._file.close()
        if self._fault == "publishes early":
            self.publish()

    def publish(self) -> None:
        if self._fault == "nothing when empty" and os.path.getsize(self._part) == 0:
            return
        if self._fault == "appends" and os.path.exists(self._path):
            Path(self._part).write_bytes(Path(self._path).read_bytes() + Path(self._part).read_bytes())
        if not self._published:
            os.replace(self._part, self._path)
        self._published = True

    def abort(self) -> None:
        if self._fault == "full is fine":
            return
        try:
            self._file.close()
        except OSError as error:
            raise TargetWriteError(f"{self._path}: {error}") from error
        finally:
            if self._fault == "aborts the published" and self._published:
                os.unlink(self._path)
            if self._fault != "leaves a part" and os.path.exists(self._part) and not self._published:
                os.unlink(self._part)


class LinesOutputContract(OutputAdapterContract):
    fixed_columns = False
    makes_folders = False
    fault = ""

    def adapter(self, folder: Path) -> OutputAdapter:
        return LinesOutput(str(folder / "rows.lines"), self.fault)

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        path = folder / "rows.lines"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else None

    def blocked(self, folder: Path) -> OutputAdapter:
        (folder / "rows.lines").mkdir()
        return LinesOutput(str(folder / "rows.lines"), self.fault)


class TestLinesOutput(LinesOutputContract):
    """The adapter without a fault."""


@pytest.mark.parametrize(
    ("fault", "test", "arguments"),
    [
        ("in the open", "test_nothing_is_seen_before_it_is_published", ()),
        ("in the open", "test_an_aborted_write_leaves_the_old_target_as_it_was", (0,)),
        ("publishes early", "test_the_old_rows_are_seen_until_the_new_ones_are_published", ()),
        ("deletes first", "test_the_old_rows_are_seen_until_the_new_ones_are_published", ()),
        ("deletes first", "test_an_aborted_write_leaves_the_old_target_as_it_was", (0,)),
        ("leaves a part", "test_an_aborted_write_leaves_no_trace", (2,)),
        ("aborts the published", "test_aborting_after_publishing_changes_nothing", ()),
        ("appends", "test_a_second_write_replaces_the_first", ()),
        ("nothing when empty", "test_no_rows_make_an_empty_target", ()),
        ("drops None", "test_nothing_and_the_empty_text_are_told_apart", ()),
        ("bare error", "test_a_target_that_cannot_be_written_is_an_error_that_names_it", ()),
        ("full is fine", "test_a_full_disk_fails_the_write_and_leaves_the_old_target", ()),
    ],
)
@pytest.mark.filterwarnings("ignore:unclosed file")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_each_fault_of_an_output_is_found(tmp_path: Path, fault: str, test: str, arguments: tuple[Any, ...]) -> None:
    contract = type("Faulty", (LinesOutputContract,), {"fault": fault})()
    with pytest.raises((AssertionError, OSError)):
        getattr(contract, test)(tmp_path, *arguments)
