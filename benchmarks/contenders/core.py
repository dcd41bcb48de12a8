"""zoopipe_core: one process, `MultiThreadExecutor`, rejects written."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.contenders.base import Contender, Run
from benchmarks.enrich import ADDED, ADULT, ADULT_AGE, MINOR, SENIOR, SENIOR_AGE, enrich
from benchmarks.model import model_of
from benchmarks.task import TABLE, TABLES, THREADS, Task

if TYPE_CHECKING:
    from zoopipe_core.engines.base import BaseEngine


class Core(Contender):
    distribution = "zoopipe-plugins"

    def __init__(self, threads: int = THREADS) -> None:
        self.threads = threads
        self.name = "zoopipe_core" if threads == THREADS else f"zoopipe_core, {threads} thread"
        self.settings = f"one process, `MultiThreadExecutor({threads})`, all else as it comes; rejects to a CSV file"

    def prepare(self, task: Task) -> Run:
        if task.before:
            _load(make_pipe(replace(task, source=task.before, mode="append"), self.threads))
        pipe = make_pipe(task, self.threads)
        return lambda: _load(pipe)


def _load(pipe: Any) -> int:
    pipe.run(on_report_update=None)
    loaded: int = pipe.report.raise_for_status().loaded_rows
    return loaded


class ShardedCore(Contender):
    """The same pipe by several processes, each with one thread.

    Args:
        workers: how many.
        staging: where rows for a table wait, as `SQLOutputAdapter` has it.
        shards: how many there are, one after the other in the processes of a pool; None: one for each worker, in a
            process of its own.
    """

    distribution = "zoopipe-plugins"

    def __init__(self, workers: int, staging: str = "auto", shards: int | None = None) -> None:
        self.workers, self.staging, self.shards = workers, staging, shards
        self._engine: BaseEngine | None = None
        several = f"{workers} worker{'s' * (workers > 1)}"
        which = "" if staging == "auto" else f", staging in {staging}"
        if shards is None:
            call, where = f"parallelize_pipe(pipe, {workers})", "cold processes"
        else:
            which += f", {shards} shards"
            call = f"parallelize_pipe(pipe, {shards}, engine=ZoosyncPoolEngine({workers}))"
            where = "a pool that starts with the load"
        self.name = f"zoopipe_core, {several}{which}"
        self.settings = f"`{call}`, {where}, one thread in each; rejects to a CSV file"

    def prepare(self, task: Task) -> Run:
        from zoopipe_core import MultiProcessEngine, PipeManager, ZoosyncPoolEngine

        if task.before:
            _load(make_pipe(replace(task, source=task.before, mode="append"), None))
        pipe = make_pipe(task, None, self.staging)
        engine = MultiProcessEngine(self.workers) if self.shards is None else ZoosyncPoolEngine(self.workers)
        self._engine = engine

        def run() -> int:
            manager = PipeManager.parallelize_pipe(pipe, self.shards or self.workers, engine=engine)
            manager.run(on_report_update=None)
            return manager.report.raise_for_status().loaded_rows

        return run

    def finish(self) -> None:
        if self._engine is not None:
            self._engine.close()
            deadline = time.monotonic() + 5
            while psutil.Process().children() and time.monotonic() < deadline:
                time.sleep(0.01)  # until they have ended, nobody knows what they used


def make_pipe(task: Task, threads: int | None, staging: str = "auto") -> Any:
    """The pipe that does the task, with all imported that it needs. None: as pipes come, with one thread."""
    # The peers' libraries are whole when the clock starts; what ours imports at first use has to be there too.
    from zoopipe_core._arrow import import_arrow

    import_arrow()
    import pyarrow.csv
    import pyarrow.parquet  # noqa: F401

    import zoopipe_core.run
    from zoopipe_core import MultiThreadExecutor, Pipe
    from zoopipe_core.adapters import csv_reader, csv_writer, json_reader, json_writer, text_rows  # noqa: F401

    if task.target == "parquet":
        import zoopipe_core.adapters.parquet_writer
    if task.target in TABLES:
        import zoopipe_core.adapters.sql_writer  # noqa: F401
    if task.target == "duckdb":
        import duckdb  # noqa: F401
    if task.target == "postgresql":
        import adbc_driver_postgresql.dbapi  # noqa: F401
    return Pipe(
        task.source,
        _output(task, staging),
        None if task.target == "none" else task.rejects(".csv"),
        model_of(task.columns),
        post_validation_hooks=_hooks(task.hook),
        executor=None if threads is None else MultiThreadExecutor(threads),
    )


def _output(task: Task, staging: str) -> Any:
    if task.target == "none":
        return None
    if task.target in TABLES:
        from zoopipe_core import SQLOutputAdapter

        uri = f"duckdb:///{task.output}" if task.target == "duckdb" else task.database
        key = ["user_id"] if task.mode == "merge" else ()
        return SQLOutputAdapter(uri, TABLE, mode=task.mode, key=key, staging=staging)
    if task.target == "parquet":
        from zoopipe_core import ParquetOutputAdapter

        return ParquetOutputAdapter(task.output, compression="zstd")
    return task.output


def _hooks(kind: str) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from zoopipe_core import BaseHook, ColumnHook
    from zoopipe_core.functions import cut, lower, sha256

    class Enrich(BaseHook):
        adds = ADDED

        def execute(self, entries: Any, store: Any) -> Any:
            for entry in entries:
                enrich(entry["validated_data"])
            return entries

    class EnrichColumns(ColumnHook):
        adds = ADDED

        def execute(self, batch: pa.RecordBatch, store: Any) -> pa.RecordBatch:
            names = batch.schema.names
            username = pc.utf8_trim_whitespace(batch.column("username"))
            email = lower(pc.utf8_trim_whitespace(batch.column("email")))
            group = cut(batch.column("age"), [ADULT_AGE, SENIOR_AGE], [MINOR, ADULT, SENIOR])
            batch = batch.set_column(names.index("username"), "username", username)
            batch = batch.set_column(names.index("email"), "email", email)
            return batch.append_column("email_sha256", sha256(email)).append_column("age_group", group)

    hooks: dict[str, list[Any]] = {"none": [], "row": [Enrich()], "column": [EnrichColumns()]}
    return hooks[kind]
