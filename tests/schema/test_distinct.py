"""A column with few distinct values: pydantic judges each of them once, and nothing else is different."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow as pa
import pytest
from pydantic import AfterValidator, BaseModel, StringConstraints, create_model

from tests.schema.oracle import assert_same_verdicts, text_batch
from zoopipe_core.batches.source import SourceKind
from zoopipe_core.schema.columns import LOOK_AT, _by_distinct_values
from zoopipe_core.schema.plan import plan_of

CELLS = [*["red", "12", "x", None, "", "2024-01-01"] * 400, "only once"]


@pytest.mark.parametrize(
    "kind", [int | str, float | bool | None, Annotated[str, StringConstraints(pattern=r"^\d+$")], list[int]], ids=str
)
def test_few_distinct_values_get_pydantics_verdict(kind: Any) -> None:
    model = create_model("Cell", cell=(kind, ...))
    assert_same_verdicts(model, text_batch({"cell": CELLS}), [{"cell": cell} for cell in CELLS])


def judged_once(kind: Any, cells: list[str | None]) -> bool:
    model = create_model("Cell", cell=(kind, ...))
    plan = plan_of(model)
    array = pa.array([None if cell is None else cell.encode() for cell in cells], pa.binary())
    [field] = plan.fields
    return field.pure and _by_distinct_values(plan, field, array, SourceKind.TEXT) is not None


def test_a_column_is_judged_by_distinct_values_only_where_nobody_could_tell() -> None:
    assert judged_once(int | str, CELLS)
    assert not judged_once(int | str, CELLS[: 2 * LOOK_AT - 1])
    assert not judged_once(int | str, [str(number) for number in range(4 * LOOK_AT)])
    assert not judged_once(Annotated[str, AfterValidator(str.title)], CELLS)


def test_bytes_that_are_no_text_reject_each_of_their_rows() -> None:
    class Cell(BaseModel):
        cell: int | str

    cells = [b"1", b"\xff", b"x"] * 700
    plan = plan_of(Cell)
    result = _by_distinct_values(plan, plan.fields[0], pa.array(cells, pa.binary()), SourceKind.TEXT)
    assert result is not None
    values, bad = result
    assert [index for index in range(len(cells)) if index in bad] == list(range(1, len(cells), 3))
    assert [values[0], values[2]] == ["1", "x"]
