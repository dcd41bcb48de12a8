"""The law, applied the slow way: pydantic, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from zoopipe_core.batches.source import JSON_COLUMN, SourceBatch, SourceKind, number_rows, object_batch
from zoopipe_core.schema.plan import plan_of
from zoopipe_core.schema.validate import Validator


def text_batch(columns: dict[str, Sequence[str | None]]) -> SourceBatch:
    """A batch as a CSV reader gives it."""
    count = len(next(iter(columns.values())))
    arrays = [
        pa.array([None if c is None else c.encode("utf-8", "surrogatepass") for c in cells], pa.binary())
        for cells in columns.values()
    ]
    batch = pa.RecordBatch.from_arrays(arrays, names=list(columns))
    return SourceBatch("cells.csv", SourceKind.TEXT, batch, number_rows(1, count))


def json_batch(lines: Sequence[bytes]) -> SourceBatch:
    """A batch as a JSON reader gives it."""
    batch = pa.RecordBatch.from_arrays([pa.array(lines, pa.binary())], names=[JSON_COLUMN])
    return SourceBatch("lines.jsonl", SourceKind.JSON, batch, number_rows(1, len(lines)))


def typed_batch(table: pa.Table) -> SourceBatch:
    """A batch as a Parquet reader gives it."""
    batch = table.combine_chunks().to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], table.schema)
    return SourceBatch("rows.parquet", SourceKind.TYPED, batch, number_rows(1, table.num_rows))


def verdicts_of_pydantic(model: type, rows: Sequence[Any], *, as_json: bool = False) -> list[Any]:
    """For each row ``("good", dump)`` or ``("bad", errors)``."""
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    shows = not getattr(model, "model_config", {}).get("hide_input_in_errors", False)
    verdicts: list[Any] = []
    for row in rows:
        try:
            instance = adapter.validate_json(row) if as_json else adapter.validate_python(row)
        except ValidationError as error:
            verdicts.append(("bad", error.errors(include_url=False, include_context=False, include_input=shows)))
        else:
            dump = instance.model_dump() if hasattr(instance, "model_dump") else adapter.dump_python(instance)
            verdicts.append(("good", dump))
    return verdicts


def verdicts_of_zoopipe(model: type, batch: SourceBatch) -> list[Any]:
    """The same from the validator, put back into the order of the rows."""
    validated = Validator(plan_of(model)).validate(batch)
    found: dict[int, Any] = {}
    for row, dump in zip(validated.good.rows.tolist(), validated.good.dicts(), strict=True):
        assert row not in found
        found[row] = ("good", dump)
    for reject in validated.rejects:
        assert reject.row not in found
        found[reject.row] = ("bad", reject.errors)
    assert sorted(found) == batch.rows.tolist()
    assert validated.good.rows.tolist() == sorted(validated.good.rows.tolist())
    return [found[row] for row in batch.rows.tolist()]


def assert_same_verdicts(model: type, batch: SourceBatch, rows: Sequence[Any], *, as_json: bool = False) -> None:
    """Same accepted rows, equal values, same types, same errors."""
    expected = verdicts_of_pydantic(model, rows, as_json=as_json)
    actual = verdicts_of_zoopipe(model, batch)
    for row, want, got in zip(rows, expected, actual, strict=True):
        assert want[0] == got[0], (row, want, got)
        assert same(want[1], got[1]), (row, want, got)


def same(left: Any, right: Any) -> bool:
    """Equality of values and types, with NaN equal to itself and -0.0 different from 0.0."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(same(a, b) for a, b in zip(left, right, strict=True))
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return np.float64(left).tobytes() == np.float64(right).tobytes() or (left != left and right != right)
    return repr(left) == repr(right) or bool(left == right)


__all__ = [
    "assert_same_verdicts",
    "json_batch",
    "object_batch",
    "same",
    "text_batch",
    "typed_batch",
    "verdicts_of_pydantic",
    "verdicts_of_zoopipe",
]
