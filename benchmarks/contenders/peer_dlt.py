"""dlt: rows with a pydantic model, and Arrow tables."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.contenders.base import Contender, Run
from benchmarks.model import model_of
from benchmarks.task import TABLE, Task


class Dlt(Contender):
    distribution = "dlt"

    def __init__(self, arrow: bool) -> None:
        self.arrow = arrow
        self.name = "dlt, Arrow" if arrow else "dlt, pydantic"
        self.settings = (
            "`pyarrow.csv.open_csv` with the types given, record batches to `pipeline.run`; loader files are Parquet "
            "for DuckDB and CSV for PostgreSQL, the fastest of those it has; validates nothing, so it gets the good "
            "rows only"
            if arrow
            else "`csv.DictReader` rows, `columns=` the model, `schema_contract={'data_type': 'discard_row'}`: bad "
            "rows are dropped, not kept"
        )

    def prepare(self, task: Task) -> Run:
        # Its folders, and no word to its makers.
        os.environ |= {"DLT_DATA_DIR": f"{task.folder}/dlt", "RUNTIME__DLTHUB_TELEMETRY": "false"}
        os.environ |= {"RUNTIME__LOG_LEVEL": "CRITICAL"}
        import dlt

        if task.source_format != "csv" or task.target not in ("duckdb", "postgresql") or task.hook != "none":
            raise self.refuse(task)
        if task.target == "duckdb":
            destination, dataset = dlt.destinations.duckdb(str(task.output)), "main"
        else:
            destination, dataset = dlt.destinations.postgres(_with_host(task.database)), "public"
        folder = f"{task.folder}/dlt"
        # It imports most of itself when it first loads, and imports are not on anybody's bill.
        warm = dlt.pipeline("warm", pipelines_dir=folder, destination=destination, dataset_name="warm")
        warm.run([{"a": 1}], table_name="warm").raise_on_failed_jobs()
        pipeline = dlt.pipeline("bench", pipelines_dir=folder, destination=destination, dataset_name=dataset)

        def load(path: str, disposition: Any) -> int:
            resource = dlt.resource(
                self._batches(path, task) if self.arrow else self._rows(path),
                name=TABLE,
                write_disposition=disposition,
                primary_key="user_id",
                columns=None if self.arrow else model_of(task.columns),
                schema_contract=None if self.arrow else {"data_type": "discard_row"},
            )
            loader_file = None
            if self.arrow:
                loader_file = "parquet" if task.target == "duckdb" else "csv"
            pipeline.run(resource, loader_file_format=loader_file).raise_on_failed_jobs()
            return int(pipeline.last_trace.last_normalize_info.row_counts[TABLE])

        if task.before:
            load(task.clean_before if self.arrow else task.before, "append")
        return lambda: load(task.clean if self.arrow else task.source, task.mode)

    def _batches(self, path: str, task: Task) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.csv as arrow_csv
        import pyarrow.parquet as pq

        types = pq.read_schema(task.expected)
        convert = arrow_csv.ConvertOptions(column_types=types, include_columns=types.names)
        read = arrow_csv.ReadOptions(block_size=2**24)
        with arrow_csv.open_csv(path, read, convert_options=convert) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])

    def _rows(self, path: str) -> Iterator[dict[str, str]]:
        with Path(path).open(newline="", encoding="utf-8") as file:
            yield from csv.DictReader(file)


def _with_host(url: str) -> str:
    """The URL with a host before the socket's folder: it insists on one, and libpq takes the folder."""
    return url.replace("@/", "@localhost/")
