"""DuckDB: its own CSV reader with a table of rejects."""

from __future__ import annotations

from benchmarks.contenders.base import Contender, Run
from benchmarks.model import KINDS, columns_of
from benchmarks.task import TABLE, THREADS, Task

TYPES = {"int": "BIGINT", "str": "VARCHAR", "float": "DOUBLE", "bool": "BOOLEAN", "date": "DATE"}
COPY = {"jsonl": "format json", "csv": "format csv, header", "parquet": "format parquet, compression zstd"}


class DuckDB(Contender):
    name = "DuckDB"
    distribution = "duckdb"
    settings = (
        "`read_csv(store_rejects = true)` with the columns given, so that nothing is guessed; insertion order kept, "
        f"{THREADS} threads; rejects (with their line) copied to a CSV file. Rows that break a rule on values are "
        "filtered, not kept: the input has none"
    )

    def prepare(self, task: Task) -> Run:
        import duckdb

        if task.source_format != "csv" or task.target not in (*COPY, "duckdb") or task.hook != "none":
            raise self.refuse(task)
        names = columns_of(task.columns)
        columns = ", ".join(f"'{name}': '{TYPES[KINDS[base].__name__]}'" for name, base in names.items())
        rules = [f"{name} BETWEEN 0 AND 150" for name, base in names.items() if base == "age"]
        rules += [f"length({name}) = 2" for name, base in names.items() if base == "country"]
        read = (
            f"SELECT * FROM read_csv('{task.source}', header = true, store_rejects = true, columns = {{{columns}}})"
            f" WHERE {' AND '.join(rules)}"
        )

        def run() -> int:
            with duckdb.connect(str(task.output) if task.target == "duckdb" else ":memory:") as connection:
                connection.execute(f"SET threads TO {THREADS}")
                if task.target == "duckdb":
                    count = connection.execute(f"CREATE TABLE {TABLE} AS {read}").fetchone()
                else:
                    count = connection.execute(f"COPY ({read}) TO '{task.output}' ({COPY[task.target]})").fetchone()
                connection.execute(f"COPY (FROM reject_errors) TO '{task.rejects('.csv')}' (format csv, header)")
            if count is None:
                raise RuntimeError("DuckDB did not say how many rows it wrote")
            return int(count[0])

        return run
