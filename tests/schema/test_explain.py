"""What `explain` says of a model, and of the rows that take the slow way."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, BaseModel, Field, model_validator

from examples_common.nycflights import MODELS, source
from zoopipe_core import CSVInputAdapter, Pipe
from zoopipe_core.errors import SpecError
from zoopipe_core.schema.explain import explain_plan
from zoopipe_core.schema.plan import plan_of


class Item(BaseModel):
    id: int
    name: Annotated[str, AfterValidator(str.title)]
    tags: list[str] = []
    price: Decimal = Field(multiple_of=Decimal("0.5"))
    code: str = Field(pattern=r"^[A-Z]{2}\d+$")
    word: str = Field(pattern=r"\bred\b")


def test_each_field_has_its_route_and_the_reason_why_it_has_no_faster_one() -> None:
    explanation = explain_plan(plan_of(Item))
    assert [(f.name, f.route.value, f.kernel, f.reason) for f in explanation.fields] == [
        ("id", "kernel", "int", ""),
        ("name", "field", "", "a validator function"),
        ("tags", "field", "", "list has no kernel"),
        ("price", "field", "", "decimal with multiple_of has no kernel"),
        ("code", "kernel", "str", ""),
        ("word", "field", "", "its pattern is not a simple one"),
    ]
    assert str(explanation).splitlines()[1].split() == ["field", "route", "kernel", "why", "not", "faster"]


def test_a_model_that_looks_at_whole_rows_says_so() -> None:
    class Pair(BaseModel):
        low: int
        high: int

        @model_validator(mode="after")
        def ordered(self) -> Pair:
            assert self.low <= self.high
            return self

    explanation = Pipe("pairs.csv", None, schema_model=Pair).explain()
    assert "Every row goes whole to pydantic: the model has model validators." in str(explanation)


def test_a_sample_counts_the_rows_that_each_field_leaves_to_pydantic(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("id,name,price\n1,a,1.5\n1_000,b,2\nx,c,0.3\n4,d,1.5\n5,e,y\n")

    class Priced(BaseModel):
        id: int
        name: Annotated[str, AfterValidator(str.title)]
        price: float = Field(multiple_of=0.5)

    explanation = Pipe(file, None, schema_model=Priced).explain(sample=4)
    assert explanation.sample is not None
    assert (explanation.sample.rows, explanation.sample.slow_rows) == (4, 2)
    assert {f.name: f.slow_rows for f in explanation.fields} == {"id": 2, "name": 0, "price": 1}
    assert "Of 4 rows sampled, 2 (50.00%) went whole to pydantic." in str(explanation)


@pytest.mark.usefixtures("use_kernels")
def test_json_lines_with_escapes_and_nested_values_are_judged_by_columns(tmp_path: Path) -> None:
    class Named(BaseModel):
        id: int
        name: str | None

    file = tmp_path / "items.jsonl"
    names = [r"a\"b\\c\/", r"\n\t\u00e9", r"\ud83d\ude00", "plain", r"half of one: \ud83d"]
    lines = [f'{{"id": {i}, "name": "{name}", "other": [{{"x": [1, "\\""]}}]}}' for i, name in enumerate(names)]
    file.write_text("\n".join(lines))
    sample = Pipe(file, None, schema_model=Named).explain(sample=10).sample
    assert sample is not None
    assert (sample.rows, sample.slow_rows) == (5, 1)


@pytest.mark.slow
@pytest.mark.usefixtures("use_kernels")
@pytest.mark.parametrize("table", ["flights", "weather", "planes"])
def test_less_than_one_row_in_a_thousand_of_real_data_takes_the_slow_way(table: str) -> None:
    pipe = Pipe(CSVInputAdapter(source(table), null_values=["NA"]), None, schema_model=MODELS[table])
    sample = pipe.explain(sample=1_000_000).sample
    assert sample is not None
    assert sample.rows == {"flights": 336_776, "weather": 26_115, "planes": 3_322}[table]
    assert sample.slow_rows < sample.rows / 1000


@pytest.mark.parametrize("sample", [0, -1, 1.5])
def test_a_sample_that_is_no_number_of_rows_is_refused(sample: int) -> None:
    with pytest.raises(SpecError, match="sample has to be a number of rows of at least 1"):
        Pipe("items.csv", None, schema_model=Item).explain(sample=sample)


def test_without_a_model_there_is_nothing_to_explain() -> None:
    with pytest.raises(SpecError, match="no schema_model"):
        Pipe("items.csv", None).explain()
