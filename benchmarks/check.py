"""Did a contender do the job? Every row of its output is compared with the rows that are right, whatever their order.

DuckDB reads both sides, casts them to the model's types, and adds up a hash of each row: it streams, so that ten
million rows need little memory. What was measured is thrown away if this fails.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from benchmarks.contenders.peer_duckdb import TYPES
from benchmarks.data import Dataset
from benchmarks.enrich import ADULT, ADULT_AGE, MINOR, SENIOR, SENIOR_AGE
from benchmarks.model import KINDS, columns_of
from benchmarks.task import TABLE, Task

__all__ = ["WrongResultError", "check_count", "check_output"]

_FAMILIES = {
    "BIGINT": ("BIGINT", "INTEGER"),
    "VARCHAR": ("VARCHAR",),
    "DOUBLE": ("DOUBLE",),
    "BOOLEAN": ("BOOLEAN",),
    "DATE": ("DATE",),
}
_JSON_TYPES = {"BIGINT": "'UBIGINT', 'BIGINT'", "DOUBLE": "'DOUBLE', 'UBIGINT', 'BIGINT'", "BOOLEAN": "'BOOLEAN'"}


class WrongResultError(AssertionError):
    """A contender's output is not what the job asks for."""


def check_count(reported: int, right: int) -> None:
    """Compare the number of rows that a contender reports with what it should be.

    Raises:
        WrongResultError: they differ.
    """
    if reported != right:
        raise WrongResultError(f"{reported:,} rows reported instead of {right:,}")


def check_output(task: Task, dataset: Dataset, accepted: int) -> tuple[str, ...]:
    """Compare what a run left in ``task.folder`` (or the database) with `dataset`.

    Args:
        accepted: how many rows the contender says it accepted.

    Returns:
        The columns whose values are right, but of which some or all were written as text, or in another type, where
        the format has a type for them.

    Raises:
        WrongResultError: rows are missing, added or altered, or rejects are missing.
    """
    check_count(accepted, dataset.accepted)
    try:
        with duckdb.connect() as connection:
            connection.execute("SET preserve_insertion_order = false")
            _check_rejects(connection, task, dataset)
            return _check_rows(connection, task, dataset) if task.target != "none" else ()
    except duckdb.Error as error:
        raise WrongResultError(f"the output cannot be read: {error}") from error


def _check_rows(connection: duckdb.DuckDBPyConnection, task: Task, dataset: Dataset) -> tuple[str, ...]:
    types = {name: TYPES[KINDS[base].__name__] for name, base in columns_of(task.columns).items()}
    right = f"SELECT {_cast(types)} FROM '{dataset.expected}'"
    if task.hook != "none":
        right = _enriched(right)
        types |= {"email_sha256": "VARCHAR", "age_group": "VARCHAR"}
    _create_output(connection, task, types)
    found = f"SELECT {_cast(types)} FROM output"
    if _fingerprint(connection, right, types) != _fingerprint(connection, found, types):
        raise WrongResultError(_difference(connection, right, found))
    return _loosely_typed(connection, task, types)


def _cast(types: dict[str, str]) -> str:
    return ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in types.items())


def _enriched(rows: str) -> str:
    """What `benchmarks.enrich.enrich` does, in SQL: written twice, so that one mistake is seen."""
    return (
        "SELECT * REPLACE (trim(username) AS username, lower(trim(email)) AS email),"
        " sha256(lower(trim(email))) AS email_sha256,"
        f" CASE WHEN age < {ADULT_AGE} THEN '{MINOR}' WHEN age < {SENIOR_AGE} THEN '{ADULT}' ELSE '{SENIOR}' END"
        f" AS age_group FROM ({rows})"
    )


def _create_output(connection: duckdb.DuckDBPyConnection, task: Task, types: dict[str, str]) -> None:
    """A view (or table) ``output`` of what the contender wrote, in the types that it has."""
    texts = "{" + ", ".join(f"'{name}': 'VARCHAR'" for name in types) + "}"
    if task.target == "jsonl":
        source = f"SELECT * FROM read_json('{task.output}', format = 'newline_delimited', columns = {texts})"
    elif task.target == "csv":
        source = f"SELECT * FROM read_csv('{task.output}', header = true, all_varchar = true)"
    elif task.target == "parquet":
        source = f"SELECT * FROM '{task.output}'"
    elif task.target == "duckdb":
        connection.execute(f"ATTACH '{task.output}' AS written (READ_ONLY)")
        source = f"SELECT * FROM written.{TABLE}"
    else:
        from adbc_driver_postgresql import dbapi

        with dbapi.connect(task.database) as postgres, postgres.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {TABLE}")
            connection.register("fetched", cursor.fetch_arrow_table())
        source = "SELECT * FROM fetched"
    connection.execute(f"CREATE TEMP VIEW output AS {source}")


def _fingerprint(connection: duckdb.DuckDBPyConnection, rows: str, types: dict[str, str]) -> tuple[object, ...]:
    return connection.execute(f"SELECT count(*), sum(hash({', '.join(types)})) FROM ({rows})").fetchall()[0]


def _difference(connection: duckdb.DuckDBPyConnection, right: str, found: str) -> str:
    missing = connection.execute(f"({right}) EXCEPT ALL ({found}) LIMIT 1").fetchone()
    added = connection.execute(f"({found}) EXCEPT ALL ({right}) LIMIT 1").fetchone()
    return f"not the rows that are right: {missing} is missing, {added} should not be there"


def _check_rejects(connection: duckdb.DuckDBPyConnection, task: Task, dataset: Dataset) -> None:
    """Each bad row has one bad cell, so that errors and rows are as many."""
    files = list(Path(task.folder).glob("rejects.*"))
    if not files:
        return
    if files[0].suffix == ".csv":
        source = f"read_csv('{files[0]}', header = true, all_varchar = true)"
    else:
        source = f"read_json('{files[0]}', format = 'newline_delimited', columns = {{'email': 'VARCHAR'}})"
    found = 0
    if files[0].stat().st_size:
        found = connection.execute(f"SELECT count(*) FROM {source}").fetchall()[0][0]
    if found != dataset.rejected:
        raise WrongResultError(f"{found:,} rejects written, {dataset.rejected:,} rows are bad")


def _loosely_typed(connection: duckdb.DuckDBPyConnection, task: Task, types: dict[str, str]) -> tuple[str, ...]:
    if task.target == "csv":
        return ()
    if task.target == "jsonl":
        names = [name for name, kind in types.items() if kind in _JSON_TYPES]
        columns = "{" + ", ".join(f"'{name}': 'JSON'" for name in names) + "}"
        proper = ", ".join(f"bool_and(json_type({name}) IN ({_JSON_TYPES[types[name]]}))" for name in names)
        verdicts = connection.execute(
            f"SELECT {proper} FROM read_json('{task.output}', format = 'newline_delimited', columns = {columns})"
        ).fetchall()[0]
        return tuple(name for name, is_proper in zip(names, verdicts, strict=True) if is_proper is False)
    described = {name: str(kind) for name, kind, *_ in connection.execute("DESCRIBE output").fetchall()}
    return tuple(name for name, kind in types.items() if described[name] not in _FAMILIES[kind])
