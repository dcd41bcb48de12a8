"""Rows through adapters, without a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import from_json

from zoopipe_core.adapters.base import InputAdapter, OutputAdapter, ReadRequest
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.source import JSON_COLUMN, SourceBatch, SourceKind
from zoopipe_core.batches.types import STRING, ColumnType

__all__ = ["read_rows", "rows_of", "write_rows"]

# Each is a value that some format or reader is known to have confused with another, or to have broken a record with.
TRICKY_TEXTS = (
    "plain", "", " leading and trailing ", "a,b;c|d", "tab\there", 'say "hi"', "it's", "two\nlines", "CR\r\nLF", "\r",
    "NULL", "None", "NA", "nan", "true", "-0", "007", "1e5", "2024-01-01", "=1+1", "\\N", "back\\slash", "%s {x}",
    "'; DROP TABLE rows; --", "é ñ ß", "日本語", "\N{PILE OF POO}", "e\u0301", "\ufeffmark", "\u2028", "x" * 10_000,
)  # fmt: skip


def tricky_rows() -> list[dict[str, str]]:
    """Rows of texts that are easily broken, under names with blanks and of other alphabets."""
    return [{"id": str(number), "text": text, "größe in cm": text} for number, text in enumerate(TRICKY_TEXTS, 1)]


def many_rows(count: int) -> list[dict[str, str]]:
    """`count` short rows."""
    return [{"id": str(number), "text": f"row {number}"} for number in range(1, count + 1)]


def rows_of(batch: SourceBatch) -> list[dict[str, Any]]:
    """The rows of a batch as dicts of Python values; bytes of text and JSON sources are decoded."""
    if batch.kind is SourceKind.OBJECTS:
        return [dict(row) for row in batch.objects or ()]
    if batch.kind is SourceKind.JSON:
        return [from_json(text) for text in batch.batch.column(JSON_COLUMN).to_pylist()]
    columns = [ColumnType(column.type).to_values(column) for column in batch.batch.columns]
    if batch.kind is SourceKind.TEXT:
        columns = [[None if cell is None else cell.decode() for cell in cells] for cells in columns]
    if not columns:
        return [{} for _ in range(batch.num_rows)]
    return [dict(zip(batch.batch.schema.names, cells, strict=True)) for cells in zip(*columns, strict=True)]


def read_rows(adapter: InputAdapter, request: ReadRequest | None = None) -> list[dict[str, Any]]:
    """All rows of a source.

    >>> from zoopipe_core import PyGeneratorInputAdapter
    >>> read_rows(PyGeneratorInputAdapter([{"id": 1}]))
    [{'id': 1}]

    Raises:
        SourceError: it cannot be read.
    """
    with adapter.open(request or ReadRequest()) as reader:
        return [row for batch in reader for row in rows_of(batch)]


def batches_of(
    rows: Sequence[Mapping[str, Any]], types: Mapping[str, ColumnType], batch_size: int = 10
) -> list[ModelBatch]:
    """`rows` in batches, as validation hands them to a writer."""
    starts = range(0, len(rows), batch_size)
    return [ModelBatch.from_rows(rows[start : start + batch_size], types) for start in starts]


def text_types(rows: Sequence[Mapping[str, Any]]) -> dict[str, ColumnType]:
    """Every key of `rows` as a column of text."""
    return {name: STRING for row in rows for name in row} or {"id": STRING, "text": STRING}


def write_rows(
    adapter: OutputAdapter,
    rows: Sequence[Mapping[str, Any]],
    types: Mapping[str, ColumnType] | None = None,
    batch_size: int = 10,
) -> None:
    """Write and publish `rows`; their columns are text where `types` does not say otherwise.

    >>> from zoopipe_core import PyGeneratorOutputAdapter
    >>> output = PyGeneratorOutputAdapter()
    >>> write_rows(output, [{"name": "Ada"}])
    >>> list(output)
    [{'name': 'Ada'}]

    Raises:
        TargetError: they cannot be written; nothing was published then.
    """
    types = text_types(rows) if types is None else types
    writer = adapter.open()
    try:
        writer.start(types)
        for batch in batches_of(rows, types, batch_size):
            writer.write(batch)
        writer.prepare()
        writer.publish()
    finally:
        writer.abort()
