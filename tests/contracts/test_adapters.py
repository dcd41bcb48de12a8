"""Every adapter, against the contract of its side."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from zoopipe_core.adapters.arrow import ArrowInputAdapter, ArrowOutputAdapter, ArrowStreamInputAdapter
from zoopipe_core.adapters.base import InputAdapter, OutputAdapter
from zoopipe_core.adapters.parquet import ParquetInputAdapter, ParquetOutputAdapter
from zoopipe_core.adapters.python import PyGeneratorInputAdapter, PyGeneratorOutputAdapter
from zoopipe_core.testing import InputAdapterContract, OutputAdapterContract, read_rows

Rows = Sequence[Mapping[str, str]]


def table(rows: Rows) -> pa.Table:
    names = {name: pa.string() for row in rows for name in row} or {"id": pa.string(), "text": pa.string()}
    return pa.Table.from_pylist(list(rows), pa.schema(list(names.items())))


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
