"""What every input adapter has to do, as tests."""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from zoopipe_core.adapters.base import InputAdapter, Reader, ReadRequest
from zoopipe_core.batches.source import SourceKind
from zoopipe_core.errors import SourceNotFoundError
from zoopipe_core.testing.rows import many_rows, read_rows, rows_of, tricky_rows

__all__ = ["InputAdapterContract"]

CANARY = "c4n4ry-p4ssw0rd"


class InputAdapterContract(ABC):
    """Subclass this in a test file, under a name that begins with ``Test``, and say how a source is made.

    Attributes:
        limit_option: the name of the adapter's parameter that ends reading early; None if it has none.
        keeps_empty_columns: whether a source without rows still has columns.
    """

    limit_option: str | None = "limit"
    keeps_empty_columns: bool = True

    @abstractmethod
    def adapter(self, folder: Path, rows: Sequence[Mapping[str, str]]) -> InputAdapter:
        """An adapter for a source in `folder` that holds `rows`, made here and now. All values are text."""

    def absent(self, folder: Path) -> InputAdapter | None:
        """An adapter for a source in `folder` that does not exist; None where there can be no such thing."""
        return None

    def with_secret(self, secret: str) -> InputAdapter | None:
        """An adapter with `secret` as the password of its address; None where addresses have none."""
        return None

    # ---- the description ----------------------------------------------------------------------------------------

    def test_building_an_adapter_does_no_io(self, tmp_path: Path) -> None:
        folder = tmp_path / "no" / "such" / "folder"
        adapter = self.absent(folder)
        if adapter is not None:
            assert adapter.label
        assert not any(tmp_path.iterdir())

    def test_an_adapter_pickles_compares_and_hashes(self, tmp_path: Path) -> None:
        rows = many_rows(3)
        adapter = self.adapter(tmp_path, rows)
        copy = pickle.loads(pickle.dumps(adapter))
        assert copy == adapter
        assert hash(copy) == hash(adapter)
        assert copy != object()
        assert read_rows(copy) == rows

    def test_label_and_repr_are_short_and_of_one_line(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path, tricky_rows())
        shown = repr(adapter)
        assert 0 < len(adapter.label) <= len(str(tmp_path)) + 100
        assert len(shown) <= len(str(tmp_path)) + 300
        assert "\n" not in adapter.label + shown
        assert type(adapter).__name__ in shown

    def test_label_and_repr_hold_no_secret(self) -> None:
        adapter = self.with_secret(CANARY)
        if adapter is not None:
            assert CANARY not in adapter.label + repr(adapter) + str(adapter)

    def test_a_source_that_does_not_exist_is_an_error_when_it_is_opened(self, tmp_path: Path) -> None:
        adapter = self.absent(tmp_path)
        if adapter is not None:
            with pytest.raises(SourceNotFoundError) as caught:
                adapter.open(ReadRequest())
            assert str(caught.value)

    # ---- rows -----------------------------------------------------------------------------------------------------

    def test_rows_come_whole_and_in_order(self, tmp_path: Path) -> None:
        rows = tricky_rows()
        assert read_rows(self.adapter(tmp_path, rows)) == rows

    def test_rows_are_numbered_from_one(self, tmp_path: Path) -> None:
        rows = many_rows(250)
        with self.adapter(tmp_path, rows).open(ReadRequest(batch_size=100)) as reader:
            numbered: dict[int, dict[str, Any]] = {}
            for batch in reader:
                assert batch.source
                assert batch.rows.dtype.name == "int64"
                numbered.update(zip(batch.rows.tolist(), rows_of(batch), strict=True))
        assert list(numbered) == list(range(1, 251))
        assert list(numbered.values()) == rows

    def test_batches_are_of_the_size_asked_for(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path, many_rows(1000))
        for size in (1000, 100, 7):
            with adapter.open(ReadRequest(batch_size=size)) as reader:
                counts = [batch.num_records for batch in reader]
            assert sum(counts) == 1000
            assert min(counts) > 0
            assert max(counts) <= 2 * size
            assert len(counts) <= 3 * (1000 // size + 1)

    def test_a_source_without_rows_gives_no_batches(self, tmp_path: Path) -> None:
        with self.adapter(tmp_path, []).open(ReadRequest()) as reader:
            assert list(reader) == []
            if self.keeps_empty_columns and reader.columns is not None:
                assert set(reader.columns) >= {"id", "text"}

    def test_reading_twice_gives_the_same(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path, many_rows(50))
        assert read_rows(adapter) == read_rows(adapter)

    def test_a_limit_ends_reading(self, tmp_path: Path) -> None:
        if self.limit_option is None:
            return
        rows = many_rows(50)
        adapter: Any = self.adapter(tmp_path, rows)
        for limit in (0, 1, 7, 50, 99):
            limited = replace(adapter, **{self.limit_option: limit})
            assert read_rows(limited) == rows[:limit]
            assert read_rows(limited, ReadRequest(batch_size=5)) == rows[:limit]

    def test_parts_give_one_after_the_other_what_the_whole_gives(self, tmp_path: Path) -> None:
        rows = many_rows(250)
        adapter = self.adapter(tmp_path, rows)
        for count in (1, 2, 3, 16):
            split = adapter.split(count)
            assert 1 <= len(split.parts) <= count
            assert split.note is not None or len(split.parts) == count
            parts = [pickle.loads(pickle.dumps(part)) for part in split.parts]
            assert {part.label for part in parts} == {adapter.label}
            assert [row for part in parts for row in read_rows(part)] == rows
            split.release()

    # ---- columns --------------------------------------------------------------------------------------------------

    def test_the_columns_are_known_before_the_first_row(self, tmp_path: Path) -> None:
        with self.adapter(tmp_path, tricky_rows()).open(ReadRequest()) as reader:
            kind, columns = reader.kind, reader.columns
            assert reader.duplicates == frozenset()
            if kind in (SourceKind.TEXT, SourceKind.TYPED):
                assert columns is not None
                assert list(columns) == ["id", "text", "größe in cm"]
            for batch in reader:
                assert batch.kind is kind
                if columns is not None:
                    assert batch.batch.schema.names == list(columns)
                    assert batch.batch.num_rows == batch.num_rows
            assert reader.kind is kind

    def test_columns_that_are_not_wanted_may_be_absent_and_the_others_are_there(self, tmp_path: Path) -> None:
        rows = many_rows(20)
        adapter = self.adapter(tmp_path, rows)
        for wanted in ({"text"}, {"id"}, {"text", "no such column"}, {"no such column"}, set[str]()):
            with adapter.open(ReadRequest(columns=frozenset(wanted))) as reader:
                if reader.columns is not None:
                    assert list(reader.columns) == ["id", "text"]
                found = [row for batch in reader for row in rows_of(batch)]
            assert len(found) == len(rows)
            for row, full in zip(found, rows, strict=True):
                assert row.items() <= full.items()
                assert row.keys() >= wanted & full.keys()

    def test_all_columns_are_there_when_rejects_need_them(self, tmp_path: Path) -> None:
        rows = many_rows(5)
        request = ReadRequest(columns=frozenset({"id"}), keep_all=True)
        assert read_rows(self.adapter(tmp_path, rows), request) == rows

    # ---- the reader -------------------------------------------------------------------------------------------------

    def test_progress_never_goes_back(self, tmp_path: Path) -> None:
        with self.adapter(tmp_path, many_rows(1000)).open(ReadRequest(batch_size=50)) as reader:
            seen = [self._progress(reader)]
            for _ in reader:
                seen.append(self._progress(reader))
            seen.append(self._progress(reader))
        assert seen == sorted(seen)
        assert all(taken >= 0 and 0 <= share <= 1 for taken, share in seen)

    @staticmethod
    def _progress(reader: Reader) -> tuple[int, float]:
        return reader.bytes_read, reader.fraction or 0.0

    def test_a_reader_closes_at_any_point_and_more_than_once(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path, many_rows(100))
        unread = adapter.open(ReadRequest())
        unread.close()
        unread.close()
        begun = adapter.open(ReadRequest(batch_size=10))
        next(iter(begun))
        begun.close()
        begun.close()
        assert begun.bytes_read >= 0
        done = adapter.open(ReadRequest())
        assert len(list(done)) > 0
        done.close()
        done.close()

    def test_no_file_stays_open(self, tmp_path: Path) -> None:
        adapter = self.adapter(tmp_path, many_rows(100))
        with adapter.open(ReadRequest(batch_size=10)) as reader:
            next(iter(reader))
        del reader
        assert open_files(tmp_path) == []

    def test_batches_outlive_their_reader(self, tmp_path: Path) -> None:
        rows = many_rows(30)
        with self.adapter(tmp_path, rows).open(ReadRequest(batch_size=10)) as reader:
            batches = list(reader)
        assert [row for batch in batches for row in rows_of(batch)] == rows


def open_files(folder: Path) -> list[str]:
    """Files below `folder` that this process holds open."""
    return [file.path for file in psutil.Process().open_files() if Path(file.path).is_relative_to(folder.resolve())]
