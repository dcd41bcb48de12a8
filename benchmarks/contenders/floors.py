"""What bounds a job from below, and what one would write by hand."""

from __future__ import annotations

import csv
import json
from contextlib import ExitStack

from benchmarks.contenders.base import Contender, Run
from benchmarks.model import model_of
from benchmarks.task import TABLE, THREADS, Task


class ArrowRead(Contender):
    """pyarrow reading the file as text, and nothing else."""

    distribution = "pyarrow"
    judges = False

    def __init__(self, streaming: bool) -> None:
        self.streaming = streaming
        self.name = "pyarrow, reading a stream" if streaming else "pyarrow, reading at once"
        self.settings = (
            "`open_csv`, all columns as strings: batch after batch in bounded memory, as a load has to"
            if streaming
            else f"`read_csv`, all columns as strings: {THREADS} threads, the whole file in memory"
        )

    def prepare(self, task: Task) -> Run:
        import pyarrow as pa
        import pyarrow.csv as arrow_csv

        if task.target != "none" or task.source_format != "csv":
            raise self.refuse(task)
        pa.set_cpu_count(THREADS)
        texts = arrow_csv.ConvertOptions(column_types=dict.fromkeys(model_of(task.columns).model_fields, pa.string()))

        def run() -> int:
            if self.streaming:
                with arrow_csv.open_csv(task.source, convert_options=texts) as reader:
                    return sum(batch.num_rows for batch in reader)
            return int(arrow_csv.read_csv(task.source, convert_options=texts).num_rows)

        return run


class ArrowToPostgres(Contender):
    """ADBC ingesting the good rows, typed and in memory before the clock starts."""

    name = "ADBC, rows ready"
    distribution = "adbc-driver-postgresql"
    settings = "`adbc_ingest(mode='create')` of the Arrow table of good rows, and the commit; reads and judges nothing"

    def prepare(self, task: Task) -> Run:
        import pyarrow.parquet as pq
        from adbc_driver_postgresql import dbapi

        if task.target != "postgresql":
            raise self.refuse(task)
        rows = pq.read_table(task.expected)

        def run() -> int:
            with dbapi.connect(task.database) as connection, connection.cursor() as cursor:
                cursor.adbc_ingest(TABLE, rows, mode="create")
                connection.commit()
            return int(rows.num_rows)

        return run


class PydanticByRow(Contender):
    """What one writes by hand."""

    name = "csv + pydantic, row by row"
    distribution = "pydantic"
    settings = "`csv.DictReader`, `model_validate`, `model_dump_json`; rejects with `errors()` to JSON lines"

    def prepare(self, task: Task) -> Run:
        from pydantic import ValidationError

        if task.source_format != "csv" or task.target not in ("none", "jsonl") or task.hook != "none":
            raise self.refuse(task)
        model = model_of(task.columns)

        def run() -> int:
            accepted = 0
            with ExitStack() as files:
                source = files.enter_context(open(task.source, newline="", encoding="utf-8"))
                bad = files.enter_context(task.rejects(".jsonl").open("w", encoding="utf-8"))
                out = files.enter_context(task.output.open("w", encoding="utf-8")) if task.writes_file else None
                for row in csv.DictReader(source):
                    try:
                        user = model.model_validate(row)
                    except ValidationError as error:
                        bad.write(json.dumps({**row, "_errors": json.loads(error.json())}) + "\n")
                        continue
                    accepted += 1
                    if out is not None:
                        out.write(user.model_dump_json() + "\n")
            return accepted

        return run
