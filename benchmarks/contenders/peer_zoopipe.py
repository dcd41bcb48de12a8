"""zoopipe, the peer of the same name from PyPI."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from benchmarks.contenders.base import Contender, Run
from benchmarks.enrich import enrich
from benchmarks.model import model_of
from benchmarks.task import TABLE, THREADS, Task


class Zoopipe(Contender):
    name = "zoopipe"
    distribution = "zoopipe"
    settings = (
        f"one process, `MultiThreadExecutor(max_workers={THREADS}, batch_size=2000)` as in its guide to executors; "
        "rejects to JSON lines. Its Parquet is not compressed, and it cannot be told to. Its `parallelize_pipe` drops "
        "the rejects, so it is not the same job"
    )

    def prepare(self, task: Task) -> Run:
        import zoopipe as peer

        pipe = self.make_pipe(task)

        def run() -> int:
            pipe.start()
            pipe.wait()
            if pipe.report.status != peer.PipeStatus.COMPLETED:
                raise RuntimeError(f"zoopipe ended as {pipe.report.status}")
            return int(pipe.report.success_count)

        return run

    def make_pipe(self, task: Task) -> Any:
        """The pipe that does the task."""
        import zoopipe as peer

        class Enrich(peer.BaseHook):  # type: ignore[misc, unused-ignore]
            def execute(self, entries: Any, store: Any) -> Any:
                for entry in entries:
                    # One bad row in a batch, and none of its rows is validated: the texts go on.
                    if entry["status"] != peer.EntryStatus.FAILED:
                        enrich(entry.get("validated_data") or entry["raw_data"])
                return entries

        if task.hook == "column":
            raise self.refuse(task)
        source = peer.CSVInputAdapter if task.source_format == "csv" else peer.JSONInputAdapter
        return peer.Pipe(
            input_adapter=source(task.source),
            output_adapter=self._writer(task),
            error_output_adapter=peer.JSONOutputAdapter(str(task.rejects(".jsonl")), format="jsonl"),
            schema_model=model_of(task.columns),
            post_validation_hooks=[Enrich()] if task.hook == "row" else [],
            executor=peer.MultiThreadExecutor(max_workers=THREADS, batch_size=2000),
        )

    def _writer(self, task: Task) -> Any:
        import zoopipe as peer

        path = str(task.output)
        if task.target == "jsonl":
            return peer.JSONOutputAdapter(path, format="jsonl")
        if task.target not in ("csv", "parquet"):
            raise self.refuse(task)
        return peer.CSVOutputAdapter(path) if task.target == "csv" else peer.ParquetOutputAdapter(path)


class ShardedZoopipe(Zoopipe):
    """Its own `parallelize_pipe`, which drops the rejects: it has less to do."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.name = f"zoopipe, {workers} workers"
        self.settings = f"`parallelize_pipe(pipe, {workers})`; it drops the rejects"

    def prepare(self, task: Task) -> Run:
        import zoopipe as peer

        pipe = self.make_pipe(task)

        def run() -> int:
            manager = peer.PipeManager.parallelize_pipe(
                pipe, self.workers, executor=peer.SingleThreadExecutor(batch_size=2000)
            )
            if not manager.run(wait=True, merge=True):
                raise RuntimeError("zoopipe's manager says that it failed")
            return int(manager.report.success_count)

        return run


class ZoopipeSQL(Zoopipe):
    """Into a table, which it makes of texts."""

    settings = (
        f"`SQLOutputAdapter(mode='replace')` after `MultiThreadExecutor(max_workers={THREADS}, batch_size=2000)`; "
        "every column is text; it has no merge and does not know DuckDB"
    )

    def _writer(self, task: Task) -> Any:
        import zoopipe as peer

        if task.target != "postgresql" or task.mode == "merge":
            raise self.refuse(task)
        return peer.SQLOutputAdapter(_with_encoded_host(task.database), TABLE, mode="replace")


def _with_encoded_host(url: str) -> str:
    """The URL with the folder of the socket where a host stands: it does not look at the query."""
    parts = urlsplit(url)
    folder = quote(parse_qs(parts.query)["host"][0], safe="")
    return f"{parts.scheme}://{parts.username}@{folder}{parts.path}"
