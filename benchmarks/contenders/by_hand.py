"""What a database takes in when it is fed by hand, and what pandas makes of it."""

from __future__ import annotations

from typing import Any

from benchmarks.contenders.base import Contender, Run
from benchmarks.contenders.peer_duckdb import TYPES
from benchmarks.model import KINDS, columns_of
from benchmarks.task import TABLE, THREADS, Task

_POSTGRES_TYPES = {"VARCHAR": "text", "DOUBLE": "double precision"}


class CopyByHand(Contender):
    """The database's own COPY of a file without faults."""

    name = "COPY by hand"
    distribution = "psycopg2-binary"
    settings = (
        "`CREATE TABLE` with the right types, `COPY` of a CSV file that has only the good rows, commit; PostgreSQL by "
        f"psycopg2's `copy_expert`, DuckDB with {THREADS} threads; validates nothing, tidies nothing, remembers nothing"
    )

    def prepare(self, task: Task) -> Run:
        if task.target not in ("duckdb", "postgresql") or task.mode != "append":
            raise self.refuse(task)
        return self._into_duckdb(task) if task.target == "duckdb" else self._into_postgres(task)

    def _create(self, task: Task, names: dict[str, str]) -> str:
        types = {name: TYPES[KINDS[base].__name__] for name, base in columns_of(task.columns).items()}
        return f"CREATE TABLE {TABLE} ({', '.join(f'{name} {names.get(kind, kind)}' for name, kind in types.items())})"

    def _into_duckdb(self, task: Task) -> Run:
        import duckdb

        def run() -> int:
            with duckdb.connect(str(task.output)) as connection:
                connection.execute(f"SET threads TO {THREADS}")
                connection.execute(self._create(task, {}))
                done = connection.execute(f"COPY {TABLE} FROM '{task.clean}' (format csv, header)").fetchall()
            return int(done[0][0])

        return run

    def _into_postgres(self, task: Task) -> Run:
        import psycopg2

        def run() -> int:
            connection = psycopg2.connect(task.database)
            try:
                with connection, connection.cursor() as cursor, open(task.clean, encoding="utf-8") as file:
                    cursor.execute(self._create(task, _POSTGRES_TYPES))
                    cursor.copy_expert(f"COPY {TABLE} FROM STDIN (FORMAT csv, HEADER)", file)
                    return int(cursor.rowcount)
            finally:
                connection.close()

        return run


class ArrowToDuckDB(Contender):
    """DuckDB taking in the good rows, typed and in memory before the clock starts."""

    name = "DuckDB, rows ready"
    distribution = "duckdb"
    settings = f"`CREATE TABLE ... AS FROM` the Arrow table of good rows, {THREADS} threads; reads and judges nothing"

    def prepare(self, task: Task) -> Run:
        import duckdb
        import pyarrow.parquet as pq

        if task.target != "duckdb" or task.mode != "append":
            raise self.refuse(task)
        rows = pq.read_table(task.expected)

        def run() -> int:
            with duckdb.connect(str(task.output)) as connection:
                connection.execute(f"SET threads TO {THREADS}")
                connection.register("rows", rows)
                connection.execute(f"CREATE TABLE {TABLE} AS FROM rows")
            return int(rows.num_rows)

        return run


class Pandas(Contender):
    name = "pandas"
    distribution = "pandas"
    settings = (
        "`read_csv(chunksize=50_000)` with the types given, `to_sql(chunksize=10_000)` through SQLAlchemy and "
        "psycopg2; validates nothing, so it gets the good rows only"
    )

    def prepare(self, task: Task) -> Run:
        import pandas as pd
        import sqlalchemy

        if task.target != "postgresql" or task.mode != "append":
            raise self.refuse(task)
        names = columns_of(task.columns)
        dates = [name for name, base in names.items() if base == "signup_date"]
        kinds = {"int": "int64", "str": "str", "float": "float64", "bool": "bool"}
        types: dict[str, Any] = {name: kinds[KINDS[base].__name__] for name, base in names.items() if name not in dates}
        engine = sqlalchemy.create_engine(task.database.replace("postgresql://", "postgresql+psycopg2://"))

        def run() -> int:
            rows = 0
            with engine.begin() as connection:
                for part in pd.read_csv(task.clean, chunksize=50_000, dtype=types, parse_dates=dates):
                    for name in dates:
                        part[name] = part[name].dt.date
                    part.to_sql(TABLE, connection, if_exists="append", index=False, chunksize=10_000)
                    rows += len(part)
            return rows

        return run
