"""A column with few distinct values: pydantic judges each of them once, and nothing else is different."""

from __future__ import annotations

from typing import Annotated, Any

import pyarrow as pa
import pytest
from pydantic import AfterValidator, StringConstraints, create_model

from tests.schema.oracle import assert_same_verdicts, text_batch
from zoopipe_core.batches.source import SourceKind
from zoopipe_core.schema.by_field import LOOK_AT, Cells, validate_cells, validate_values
from zoopipe_core.schema.cells import cell_values
from zoopipe_core.schema.plan import plan_of

CELLS = [*["red", "12", "x", None, "", "2024-01-01"] * 400, "only once"]


@pytest.mark.parametrize(
    "kind", [int | str, float | bool | None, Annotated[str, StringConstraints(pattern=r"^\d+$")], list[int]], ids=str
)
def test_few_distinct_values_get_pydantics_verdict(kind: Any) -> None:
    model = create_model("Cell", cell=(kind, ...))
    assert_same_verdicts(model, text_batch({"cell": CELLS}), [{"cell": cell} for cell in CELLS])


def judge(kind: Any, cells: list[bytes | None]) -> tuple[Cells, list[int]]:
    """The verdicts on cells, and how many of them pydantic was given in each call."""
    plan = plan_of(create_model("Cell", cell=(kind, ...)))
    [field] = plan.fields
    given = []

    def validate(array: pa.Array) -> Cells | None:
        given.append(len(array))
        values, bad = cell_values("cell", array, SourceKind.TEXT)
        validated = validate_values(plan, field, values)
        return None if validated is None else (validated, bad)

    result = validate_cells(field, pa.array(cells, pa.binary()), validate)
    assert result is not None
    return result, given


def judged_once(kind: Any, cells: list[str | None]) -> bool:
    """Whether fewer cells are judged than there are."""
    _, given = judge(kind, [None if cell is None else cell.encode() for cell in cells])
    return given[-1] < len(cells)


def test_a_column_is_judged_by_distinct_values_only_where_nobody_could_tell() -> None:
    assert judged_once(int | str, CELLS)
    assert not judged_once(int | str, CELLS[: 2 * LOOK_AT - 1])
    assert not judged_once(int | str, [str(number) for number in range(4 * LOOK_AT)])
    assert not judged_once(Annotated[str, AfterValidator(str.title)], CELLS)


def test_bytes_that_are_no_text_reject_each_of_their_rows() -> None:
    cells = [b"1", b"\xff", b"x"] * 700
    (values, bad), given = judge(int | str, cells)
    assert given == [3]
    assert [index for index in range(len(cells)) if index in bad] == list(range(1, len(cells), 3))
    assert [values[0], values[2]] == ["1", "x"]
