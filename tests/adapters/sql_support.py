"""What the tests of the SQL adapters share."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tests.databases import execute
from zoopipe_core.adapters.base import ReadRequest, Writer
from zoopipe_core.adapters.sql import SQLInputAdapter, SQLOutputAdapter
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import SourceBatch
from zoopipe_core.batches.types import ColumnType
from zoopipe_core.batches.values import python_values

Types = Mapping[str, pa.DataType | ColumnType]

IDS: Types = {"id": pa.int64()}
PEOPLE: Types = {"id": pa.int64(), "name": pa.string()}


def column_types(types: Types) -> dict[str, ColumnType]:
    return {name: kind if isinstance(kind, ColumnType) else ColumnType(kind) for name, kind in types.items()}


def batch_of(types: Types, rows: Sequence[Sequence[Any]], first: int = 1) -> ModelBatch:
    """Rows as validation hands them over: Python values, column by column."""
    columns = {
        name: Column(kind, [row[place] for row in rows])
        for place, (name, kind) in enumerate(column_types(types).items())
    }
    return ModelBatch(columns, np.arange(first, first + len(rows), dtype=np.int64), "source.csv")


def begun(uri: Any, table: str, types: Types, *parts: Sequence[Sequence[Any]], mode: str = "replace") -> Writer:
    """A writer that was given all its rows, one batch for each part."""
    writer = SQLOutputAdapter(uri, table, mode).open()
    try:
        writer.start(column_types(types))
        for part in parts:
            writer.write(batch_of(types, part))
    except BaseException:
        writer.abort()
        raise
    return writer


def finish(writer: Writer) -> None:
    writer.prepare()
    writer.publish()


def load(uri: Any, table: str, types: Types, *parts: Sequence[Sequence[Any]], mode: str = "replace") -> None:
    """A whole load."""
    writer = begun(uri, table, types, *parts, mode=mode)
    try:
        finish(writer)
    except BaseException:
        writer.abort()
        raise


def batches_of(adapter: SQLInputAdapter, request: ReadRequest = ReadRequest()) -> list[SourceBatch]:
    with adapter.open(request) as reader:
        return list(reader)


def rows_of(batches: Iterable[SourceBatch]) -> list[tuple[Any, ...]]:
    """The Python values of each row."""
    return [
        row for batch in batches for row in zip(*(python_values(column) for column in batch.batch.columns), strict=True)
    ]


def read(uri: Any, table: str | None = None, query: str | None = None) -> list[tuple[Any, ...]]:
    """All rows of a table or a query, as Python values."""
    batches = batches_of(SQLInputAdapter(uri, query, table))
    assert not any(batch.faults for batch in batches)
    return rows_of(batches)


def read_types(uri: Any, table: str | None = None, query: str | None = None) -> dict[str, pa.DataType]:
    with SQLInputAdapter(uri, query, table).open(ReadRequest()) as reader:
        assert reader.columns is not None
        return {name: kind.arrow for name, kind in reader.columns.items()}


DROPS = "BEGIN IF new.id = 2 THEN RETURN NULL; END IF; RETURN new; END"
"""The body of a PostgreSQL trigger that drops the row 2."""


def drop_row_2(uri: str) -> None:
    """Give the table `t` a trigger that lets no row 2 in, and says nothing."""
    if uri.startswith("sqlite"):
        body = "BEFORE INSERT ON t WHEN new.id = 2 BEGIN SELECT RAISE(IGNORE); END"
        execute(uri, f"CREATE TRIGGER drops {body}")
    else:
        execute(
            uri,
            f"CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS $$ {DROPS} $$",
            "CREATE TRIGGER drops BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION drops()",
        )
