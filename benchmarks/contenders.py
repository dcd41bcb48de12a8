"""Who runs: one function for each contender and job, each doing the whole job: typed rows out, bad rows split off.

Run as a process of its own: ``python -m benchmarks.contenders CONTENDER JOB INPUT FOLDER`` prints one line of JSON
with the seconds of the job itself (imports excluded, for all alike), the rows it wrote, and its peak memory.
"""

from __future__ import annotations

import csv
import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError


class User(BaseModel):
    user_id: int
    username: str
    email: str
    age: Annotated[int, Field(ge=0, le=150)]
    salary: float
    is_active: bool
    signup_date: date
    country: Annotated[str, Field(min_length=2, max_length=2)]


Run = Callable[[str, Path, str], int]
SUFFIX = {"jsonl": "out.jsonl", "csv": "out.csv", "parquet": "out.parquet", "duckdb": "out.duckdb"}


def ours(threads: int | None) -> Run:
    """zoopipe_core, on one thread or several."""

    def run(job: str, folder: Path, source: str) -> int:
        from zoopipe_core import MultiThreadExecutor, Pipe, SingleThreadExecutor

        target: str | None = None if job == "validate" else str(folder / SUFFIX[job])
        if job == "duckdb":
            target = f"duckdb:///{target}::users"
        executor = SingleThreadExecutor() if threads is None else MultiThreadExecutor(threads)
        rejects = None if job == "validate" else folder / "rejects.csv"
        pipe = Pipe(source, target, rejects, User, executor=executor)
        pipe.run()
        return pipe.report.raise_for_status().loaded_rows

    return run


def pydantic_by_row(job: str, folder: Path, source: str) -> int:
    """What one writes by hand: csv.DictReader, one model a row."""
    if job not in ("validate", "jsonl"):
        raise NotImplementedError(job)
    rows = 0
    with (
        open(source, newline="") as file,
        open(folder / "out.jsonl", "w") as out,
        open(folder / "bad.jsonl", "w") as bad,
    ):
        for row in csv.DictReader(file):
            try:
                user = User.model_validate(row)
            except ValidationError as error:
                bad.write(json.dumps({"row": row, "errors": json.loads(error.json())}) + "\n")
            else:
                rows += 1
                if job == "jsonl":
                    out.write(user.model_dump_json() + "\n")
    return rows


def zoopipe(job: str, folder: Path, source: str) -> int:
    """The peer of the same name from PyPI, one pipe, threads as it recommends."""
    import zoopipe as peer

    outputs: dict[str, Callable[[str], Any]] = {
        "jsonl": lambda path: peer.JSONOutputAdapter(path, format="jsonl"),
        "csv": peer.CSVOutputAdapter,
        "parquet": peer.ParquetOutputAdapter,
    }
    if job not in outputs:
        raise NotImplementedError(job)
    pipe = peer.Pipe(
        input_adapter=peer.CSVInputAdapter(source),
        output_adapter=outputs[job](str(folder / SUFFIX[job])),
        error_output_adapter=peer.JSONOutputAdapter(str(folder / "bad.jsonl"), format="jsonl"),
        schema_model=User,
        executor=peer.MultiThreadExecutor(max_workers=2),
    )
    pipe.start()
    pipe.wait()
    return int(pipe.report.success_count)


def polars(job: str, folder: Path, source: str) -> int:
    """Polars: everything read as text, cast without strictness, split into good and bad, both written."""
    import polars as pl

    raw = pl.scan_csv(source, infer_schema=False)
    typed = raw.with_columns(
        pl.col("user_id").cast(pl.Int64, strict=False),
        pl.col("age").cast(pl.Int64, strict=False),
        pl.col("salary").cast(pl.Float64, strict=False),
        pl.col("is_active").replace_strict({"true": True, "false": False}, default=None, return_dtype=pl.Boolean),
        pl.col("signup_date").str.to_date("%Y-%m-%d", strict=False),
    )
    good = (
        pl.all_horizontal(pl.all().is_not_null())
        & pl.col("age").is_between(0, 150)
        & (pl.col("country").str.len_chars() == 2)
    )
    frame = typed.with_columns(good.alias("_good")).collect()
    accepted = frame.filter(pl.col("_good")).drop("_good")
    raw.collect().filter(~frame["_good"]).write_csv(folder / "bad.csv")
    if job == "jsonl":
        accepted.write_ndjson(folder / SUFFIX[job])
    elif job == "csv":
        accepted.write_csv(folder / SUFFIX[job])
    elif job == "parquet":
        accepted.write_parquet(folder / SUFFIX[job], compression="zstd")
    elif job != "validate":
        raise NotImplementedError(job)
    return accepted.height


def duckdb(job: str, folder: Path, source: str) -> int:
    """DuckDB's own reader with a reject table, on two threads."""
    import duckdb as peer

    if job == "validate":
        raise NotImplementedError(job)
    connection = peer.connect(str(folder / SUFFIX["duckdb"]) if job == "duckdb" else ":memory:")
    connection.execute("set threads to 2")
    read = f"""select * from read_csv('{source}', store_rejects = true, header = true, columns = {{
        'user_id': 'BIGINT', 'username': 'VARCHAR', 'email': 'VARCHAR', 'age': 'BIGINT', 'salary': 'DOUBLE',
        'is_active': 'BOOLEAN', 'signup_date': 'DATE', 'country': 'VARCHAR'}})
        where age between 0 and 150 and length(country) = 2"""
    if job == "duckdb":
        connection.execute(f"create table users as {read}")
        rows = connection.execute("select count(*) from users").fetchone()
    else:
        how = {"jsonl": "format json", "csv": "header", "parquet": "format parquet, compression zstd"}[job]
        rows = connection.execute(f"copy ({read}) to '{folder / SUFFIX[job]}' ({how})").fetchone()
    connection.execute(f"copy (from reject_errors) to '{folder / 'bad.csv'}'")
    connection.close()
    return int(rows[0]) if rows else 0


def arrow_read(job: str, folder: Path, source: str) -> int:
    """The floor of "validate": pyarrow reading the file as text, and nothing else."""
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    if job != "validate":
        raise NotImplementedError(job)
    names = arrow_csv.open_csv(source).schema.names
    options = arrow_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return sum(batch.num_rows for batch in arrow_csv.open_csv(source, convert_options=options))


CONTENDERS: dict[str, Run] = {
    "zoopipe_core": ours(None),
    "zoopipe_core, 2 threads": ours(2),
    "pyarrow, reading only": arrow_read,
    "csv + pydantic by row": pydantic_by_row,
    "zoopipe 2026.2.2": zoopipe,
    "Polars": polars,
    "DuckDB": duckdb,
}


def main() -> None:
    contender, job, source, folder = sys.argv[1:]
    run = CONTENDERS[contender]
    import pyarrow  # noqa: F401  loaded before the clock starts, as the peers' libraries are in their runs

    start = time.perf_counter()
    try:
        rows = run(job, Path(folder), source)
    except NotImplementedError:
        print(json.dumps({"supported": False}))
        return
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"supported": True, "seconds": seconds, "rows": rows, "peak_bytes": peak}))


if __name__ == "__main__":
    main()
