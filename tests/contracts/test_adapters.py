"""Every adapter, against the contract of its side."""

import csv
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from zoopipe_core.adapters.arrow import ArrowInputAdapter, ArrowOutputAdapter, ArrowStreamInputAdapter
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter
from zoopipe_core.adapters.csv import CSVInputAdapter, CSVOutputAdapter
from zoopipe_core.adapters.json import JSONInputAdapter, JSONOutputAdapter
from zoopipe_core.adapters.parquet import ParquetInputAdapter, ParquetOutputAdapter
from zoopipe_core.adapters.python import PyGeneratorInputAdapter, PyGeneratorOutputAdapter
from zoopipe_core.adapters.sql import SQLInputAdapter, SQLOutputAdapter
from zoopipe_core.errors import SourceNotFoundError
from zoopipe_core.testing import InputAdapterContract, OutputAdapterContract, read_rows, write_rows

Rows = Sequence[Mapping[str, str]]


def names_of(rows: Rows) -> list[str]:
    return list(rows[0]) if rows else ["id", "text"]


def table(rows: Rows) -> pa.Table:
    return pa.Table.from_pylist(list(rows), pa.schema([(name, pa.string()) for name in names_of(rows)]))


def blocked_by_a_folder(path: Path) -> Path:
    path.mkdir()
    return path


# ---- Parquet --------------------------------------------------------------------------------------------------------


class TestParquetInput(InputAdapterContract):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        path = folder / "rows.parquet"
        pq.write_table(table(rows), path, row_group_size=60)
        return ParquetInputAdapter(path)

    def absent(self, folder: Path) -> InputAdapter:
        return ParquetInputAdapter(folder / "rows.parquet")

    def with_secret(self, secret: str) -> InputAdapter:
        return ParquetInputAdapter([f"s3://key:{secret}@bucket/rows.parquet?sig={secret}"])


class TestParquetOutput(OutputAdapterContract):
    def adapter(self, folder: Path) -> OutputAdapter:
        return ParquetOutputAdapter(folder / "rows.parquet", row_group_size=60)

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        path = folder / "rows.parquet"
        return read_rows(ParquetInputAdapter(path)) if path.exists() else None

    def blocked(self, folder: Path) -> OutputAdapter:
        return ParquetOutputAdapter(blocked_by_a_folder(folder / "rows.parquet"))

    def with_secret(self, secret: str) -> OutputAdapter:
        return ParquetOutputAdapter(f"s3://key:{secret}@bucket/rows.parquet?sig={secret}")


# ---- Arrow ----------------------------------------------------------------------------------------------------------


class TestArrowFileInput(InputAdapterContract):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        path = folder / "rows.arrow"
        pyarrow.feather.write_feather(table(rows), path, compression="lz4", chunksize=60)
        return ArrowInputAdapter(path)

    def absent(self, folder: Path) -> InputAdapter:
        return ArrowInputAdapter(folder / "rows.arrow")

    def with_secret(self, secret: str) -> InputAdapter:
        return ArrowInputAdapter(f"s3://key:{secret}@bucket/rows.arrow")


class TestArrowStreamFileInput(TestArrowFileInput):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        path = folder / "rows.arrow"
        whole = table(rows)
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, whole.schema) as writer:
            writer.write_table(whole, max_chunksize=60)
        return ArrowInputAdapter(path)


class TestArrowFileOutput(OutputAdapterContract):
    def adapter(self, folder: Path) -> OutputAdapter:
        return ArrowOutputAdapter(folder / "rows.arrow")

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        path = folder / "rows.arrow"
        return read_rows(ArrowInputAdapter(path)) if path.exists() else None

    def blocked(self, folder: Path) -> OutputAdapter:
        return ArrowOutputAdapter(blocked_by_a_folder(folder / "rows.arrow"))

    def with_secret(self, secret: str) -> OutputAdapter:
        return ArrowOutputAdapter(f"s3://key:{secret}@bucket/rows.arrow")


class TestArrowStreamFileOutput(TestArrowFileOutput):
    def adapter(self, folder: Path) -> OutputAdapter:
        return ArrowOutputAdapter(folder / "rows.arrow", format="stream", compression="zstd")


class TestArrowObjectInput(InputAdapterContract):
    limit_option = None

    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        return ArrowStreamInputAdapter(table(rows))


# ---- Python ---------------------------------------------------------------------------------------------------------


class TestRowsInput(InputAdapterContract):
    limit_option = None

    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        return PyGeneratorInputAdapter(list(rows))


class Again:
    """A function that gives the rows anew each time."""

    def __init__(self, make: Callable[[Rows], Sequence[Any]], rows: Rows) -> None:
        self.make, self.rows = make, rows

    def __call__(self) -> Any:
        yield from self.make(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Again) and self.rows == other.rows

    __hash__ = None  # type: ignore[assignment]


class TestGeneratedRowsInput(InputAdapterContract):
    limit_option = None

    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        return PyGeneratorInputAdapter(Again(list, rows), name="generated")


def tables(rows: Rows) -> list[pa.RecordBatch]:
    return list(table(rows).to_batches(max_chunksize=60))


class TestGeneratedBatchesInput(InputAdapterContract):
    limit_option = None
    keeps_empty_columns = False

    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        return PyGeneratorInputAdapter(Again(tables, rows))


class TestMemoryOutput(OutputAdapterContract):
    fixed_columns = False
    makes_folders = False
    full_disk_error = None

    def adapter(self, folder: Path) -> OutputAdapter:
        return self.outputs().setdefault(folder, PyGeneratorOutputAdapter())

    def outputs(self) -> dict[Path, PyGeneratorOutputAdapter]:
        return self.__dict__.setdefault("_outputs", {})  # type: ignore[no-any-return]

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        output = self.outputs().get(folder)
        return list(output) if output is not None and output.is_published else None


# ---- CSV ------------------------------------------------------------------------------------------------------------


class TestCSVInput(InputAdapterContract):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        path = folder / "rows.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
            writer.writerow(names_of(rows))
            writer.writerows(row.values() for row in rows)
        return CSVInputAdapter(path)

    def absent(self, folder: Path) -> InputAdapter:
        return CSVInputAdapter(folder / "rows.csv")

    def with_secret(self, secret: str) -> InputAdapter:
        return CSVInputAdapter(f"s3://key:{secret}@bucket/rows.csv")


class TestGzippedCSVInput(TestCSVInput):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        super().adapter(folder, rows)
        path = folder / "rows.csv"
        (folder / "rows.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
        return CSVInputAdapter([folder / "*.csv.gz"])


class TestCSVOutput(OutputAdapterContract):
    def adapter(self, folder: Path) -> OutputAdapter:
        return CSVOutputAdapter(folder / "rows.csv")

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        path = folder / "rows.csv"
        if not path.exists():
            return None
        # An empty field is None and a quoted one a text: only the adapter itself tells the two apart.
        return read_rows(CSVInputAdapter(path, null_values=[""], quoted_nulls=False))

    def blocked(self, folder: Path) -> OutputAdapter:
        return CSVOutputAdapter(blocked_by_a_folder(folder / "rows.csv"))

    def with_secret(self, secret: str) -> OutputAdapter:
        return CSVOutputAdapter(f"s3://key:{secret}@bucket/rows.csv")


# ---- JSON -----------------------------------------------------------------------------------------------------------


class TestJSONLinesInput(InputAdapterContract):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return JSONInputAdapter(path)

    def absent(self, folder: Path) -> InputAdapter:
        return JSONInputAdapter(folder / "rows.jsonl")

    def with_secret(self, secret: str) -> InputAdapter:
        return JSONInputAdapter(f"s3://key:{secret}@bucket/rows.jsonl")


class TestJSONArrayInput(TestJSONLinesInput):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        path = folder / "rows.json"
        path.write_text(json.dumps(list(rows), indent=2, ensure_ascii=False), encoding="utf-8")
        return JSONInputAdapter(path, format="array")


class TestJSONLinesOutput(OutputAdapterContract):
    fixed_columns = False

    def adapter(self, folder: Path) -> OutputAdapter:
        return JSONOutputAdapter(folder / "rows.jsonl")

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        path = folder / "rows.jsonl"
        return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else None

    def blocked(self, folder: Path) -> OutputAdapter:
        return JSONOutputAdapter(blocked_by_a_folder(folder / "rows.jsonl"))

    def with_secret(self, secret: str) -> OutputAdapter:
        return JSONOutputAdapter(f"s3://key:{secret}@bucket/rows.jsonl")


class TestJSONArrayOutput(TestJSONLinesOutput):
    def adapter(self, folder: Path) -> OutputAdapter:
        return JSONOutputAdapter(folder / "rows.json", format="array", indent=2)

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        path = folder / "rows.json"
        return json.loads(path.read_bytes()) if path.exists() else None  # type: ignore[no-any-return]

    def blocked(self, folder: Path) -> OutputAdapter:
        return JSONOutputAdapter(blocked_by_a_folder(folder / "rows.json"), format="array")


# ---- SQL ------------------------------------------------------------------------------------------------------------

# What a text column of a database cannot hold, or gives back changed, is for the SQL adapter's own tests.


class SQLTable:
    """The table ``rows`` of a database in a folder."""

    scheme: str

    def uri(self, folder: Path) -> str:
        return f"{self.scheme}:///{folder}/rows.db"

    def rows(self, folder: Path) -> list[dict[str, Any]] | None:
        if not (folder / "rows.db").exists():
            return None
        try:
            rows = read_rows(SQLInputAdapter(self.uri(folder), table_name="rows"))
        except SourceNotFoundError:
            return None
        return sorted(rows, key=lambda row: int(row["id"]))  # a table has no order of its own


class TestDuckDBInput(SQLTable, InputAdapterContract):
    scheme = "duckdb"

    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        write_rows(SQLOutputAdapter(self.uri(folder), "rows"), rows)
        return SQLInputAdapter(self.uri(folder), table_name="rows")

    def absent(self, folder: Path) -> InputAdapter:
        return SQLInputAdapter(self.uri(folder), table_name="rows")

    def with_secret(self, secret: str) -> InputAdapter:
        return SQLInputAdapter(f"postgresql://user:{secret}@host/db?password={secret}", table_name="rows")


class TestSQLiteInput(TestDuckDBInput):
    scheme = "sqlite"


class TestDuckDBOutput(SQLTable, OutputAdapterContract):
    scheme = "duckdb"

    def adapter(self, folder: Path) -> OutputAdapter:
        return SQLOutputAdapter(self.uri(folder), "rows")

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        return self.rows(folder)

    def snapshot(self, folder: Path) -> Any:
        return self.rows(folder)

    def with_secret(self, secret: str) -> OutputAdapter:
        return SQLOutputAdapter(f"postgresql://user:{secret}@host/db?password={secret}", "rows")


class TestSQLiteOutput(TestDuckDBOutput):
    scheme = "sqlite"


class PostgreSQLTable:
    """The table ``rows`` of a database of its own for each test."""

    server: str

    @pytest.fixture(autouse=True)
    def database(self, postgres_uri: str) -> None:
        self.server = postgres_uri

    def rows(self) -> list[dict[str, Any]] | None:
        try:
            rows = read_rows(SQLInputAdapter(self.server, table_name="rows"))
        except SourceNotFoundError:
            return None
        return sorted(rows, key=lambda row: int(row["id"]))


@pytest.mark.slow
class TestPostgreSQLInput(PostgreSQLTable, InputAdapterContract):
    def adapter(self, folder: Path, rows: Rows) -> InputAdapter:
        write_rows(SQLOutputAdapter(self.server, "rows"), rows)
        return SQLInputAdapter(self.server, table_name="rows")

    def absent(self, folder: Path) -> InputAdapter:
        return SQLInputAdapter(self.server, table_name="no_such_table")


@pytest.mark.slow
class TestPostgreSQLOutput(PostgreSQLTable, OutputAdapterContract):
    makes_folders = False
    full_disk_error = None

    def adapter(self, folder: Path) -> OutputAdapter:
        return SQLOutputAdapter(self.server, "rows")

    def read(self, folder: Path) -> list[dict[str, Any]] | None:
        return self.rows()

    def snapshot(self, folder: Path) -> Any:
        return self.rows()
