"""Every target that a load in shards may have, held to the contract of coordinators."""

from pathlib import Path
from typing import Any

import pytest

from tests.databases import execute, tables_of
from zoopipe_core import (
    ArrowInputAdapter,
    ArrowOutputAdapter,
    CompositeCoordinator,
    CSVInputAdapter,
    CSVOutputAdapter,
    FileMergeCoordinator,
    JSONInputAdapter,
    JSONOutputAdapter,
    ParquetInputAdapter,
    ParquetOutputAdapter,
    SQLOutputAdapter,
)
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter
from zoopipe_core.coordinators.base import BaseCoordinator
from zoopipe_core.coordinators.replay import ReplayCoordinator
from zoopipe_core.testing import CoordinatorContract, read_rows


class Files(CoordinatorContract):
    output: Any
    input: Any
    name = "out"

    def coordinator(self) -> BaseCoordinator:
        return FileMergeCoordinator()

    def target(self, folder: Path) -> OutputAdapter:
        adapter: OutputAdapter = self.output(folder / self.name)
        return adapter

    def rows_in(self, folder: Path) -> list[dict[str, Any]] | None:
        source: InputAdapter = self.input(folder / self.name)
        return read_rows(source) if (folder / self.name).exists() else None


class TestCSV(Files):
    output, input = CSVOutputAdapter, CSVInputAdapter


class TestCompressedCSV(TestCSV):
    name = "out.csv.gz"


class TestJSONLines(Files):
    output, input = JSONOutputAdapter, JSONInputAdapter


class TestJSONArray(Files):
    @staticmethod
    def output(path: Path) -> OutputAdapter:
        return JSONOutputAdapter(path, format="array")

    @staticmethod
    def input(path: Path) -> InputAdapter:
        return JSONInputAdapter(path, format="array")


class TestParquet(Files):
    output, input = ParquetOutputAdapter, ParquetInputAdapter


class TestArrow(Files):
    output, input = ArrowOutputAdapter, ArrowInputAdapter


class TestFilesOfAReplayCoordinator(TestJSONLines):
    def coordinator(self) -> BaseCoordinator:
        return ReplayCoordinator()


class TestComposite(TestJSONLines):
    def coordinator(self) -> BaseCoordinator:
        return CompositeCoordinator([FileMergeCoordinator()])


class TestTable(CoordinatorContract):
    def coordinator(self) -> BaseCoordinator:
        return ReplayCoordinator()

    def target(self, folder: Path) -> OutputAdapter:
        return SQLOutputAdapter(f"sqlite:///{folder}/x.db", "rows")

    def rows_in(self, folder: Path) -> list[dict[str, Any]] | None:
        uri = f"sqlite:///{folder}/x.db"
        if not (folder / "x.db").exists() or not execute(uri, "SELECT 1 FROM sqlite_master"):
            return None
        names = [name for _, name, *_ in execute(uri, "PRAGMA table_info(rows)")]
        return [dict(zip(names, row, strict=True)) for row in execute(uri, "SELECT * FROM rows")]


class TestTableOfAServer(CoordinatorContract):
    @pytest.fixture(autouse=True)
    def _database(self, postgres_uri: str) -> None:
        self.uri = postgres_uri

    def coordinator(self) -> BaseCoordinator:
        return ReplayCoordinator()

    def target(self, folder: Path) -> OutputAdapter:
        return SQLOutputAdapter(self.uri, "rows", staging="tables")

    def rows_in(self, folder: Path) -> list[dict[str, Any]] | None:
        if "rows" not in tables_of(self.uri):
            return None
        names = "SELECT column_name FROM information_schema.columns WHERE table_name = 'rows' ORDER BY ordinal_position"
        columns = [name for (name,) in execute(self.uri, names)]
        return [dict(zip(columns, row, strict=True)) for row in execute(self.uri, "SELECT * FROM rows")]
