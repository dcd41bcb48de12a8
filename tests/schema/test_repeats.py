"""Bad cells that come again and again: judged once, and nothing else is different."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from tests.schema.oracle import assert_same_verdicts, same, text_batch, verdicts_of_pydantic
from zoopipe_core.batches.source import SourceBatch
from zoopipe_core.schema import repeats
from zoopipe_core.schema.plan import plan_of
from zoopipe_core.schema.validate import Validator


class Order(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    number: int = Field(alias="no", ge=0)
    amount: float | None
    day: date = Field(alias="date")
    country: Annotated[str, StringConstraints(min_length=2, max_length=2)]
    open: bool = True
    note: str | int = ""


class Shy(Order):
    model_config = ConfigDict(hide_input_in_errors=True, extra="forbid")


def refuse_zero(value: Any) -> Any:
    if value == "0":
        raise ValueError("zero")
    return value


class Checked(Order):
    number: Annotated[int, BeforeValidator(refuse_zero)] = Field(alias="no")


# Sure, unsure and accepted, unsure and rejected: each often.
CELLS: dict[str, list[str | None]] = {
    "no": ["1", "7", " 12", "1_000", "-1", "0", "n/a", "", None, "9" * 30],
    "amount": ["1.5", "12,5", "1e400", None, " 2 ", "NaN"],
    "day": ["2024-02-29", "2024-02-30", "1e3", "86400", "n/a", None],
    "country": ["DE", "D", "DEU", "ÄÖ", None],
    "open": ["true", "YES", "maybe", " t", None],
    "note": ["", "5", "x", None],
}


def row_cells() -> st.SearchStrategy[dict[str, str | None]]:
    return st.fixed_dictionaries({name: st.sampled_from(cells) for name, cells in CELLS.items()})


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("model", [Order, Shy, Checked])
@given(rows=st.lists(row_cells(), min_size=1, max_size=60))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_repeated_cells_get_pydantics_verdict(model: type[BaseModel], rows: list[dict[str, str | None]]) -> None:
    assert_same_verdicts(model, batch_of(rows), rows)


def batch_of(rows: list[dict[str, str | None]]) -> SourceBatch:
    return text_batch({name: [row[name] for row in rows] for name in CELLS})


@pytest.mark.usefixtures("use_kernels")
@pytest.mark.parametrize("model", [Order, Shy, Checked])
def test_a_repeated_cell_that_is_accepted_leaves_the_other_fields_as_they_are(model: type[BaseModel]) -> None:
    slow = ["NaN", " 2 ", "1_0.5"]
    rows: list[dict[str, str | None]] = [{**GOOD, "amount": cell, "note": note} for cell in slow for note in "abc"]
    for _ in range(2):
        assert_same_verdicts(model, batch_of(rows * 3), rows * 3)


GOOD = {"no": "1", "amount": "1.5", "day": "2024-02-29", "country": "DE", "open": "true", "note": "x"}


def test_these_models_are_judged_by_columns() -> None:
    assert not any(plan_of(model).row_reason for model in (Order, Shy, Checked))


@pytest.mark.usefixtures("use_kernels")
def test_what_was_learned_in_one_batch_holds_in_the_next() -> None:
    validator = Validator(plan_of(Order))
    for bad in (["n/a", "-1", "n/a"], ["n/a", " 12", "-1", "12"], [" 12", " 12", "n/a"]):
        rows: list[dict[str, str | None]] = [{**GOOD, "no": cell} for cell in bad]
        validated = validator.validate(batch_of(rows))
        expected = verdicts_of_pydantic(Order, rows)
        assert same([reject.errors for reject in validated.rejects], [e for kind, e in expected if kind == "bad"])
        assert same(list(validated.good.dicts()), [dump for kind, dump in expected if kind == "good"])


@pytest.mark.usefixtures("use_kernels")
def test_pydantic_is_asked_once_for_each_bad_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Mapping[str, Any]] = []
    validator = Validator(plan_of(Order))
    judge = Validator._judge

    def counting(self: Validator, plan: Any, batch: Any, rows: Any, indices: Any) -> Any:
        asked.extend(rows)
        return judge(self, plan, batch, rows, indices)

    monkeypatch.setattr(Validator, "_judge", counting)
    rows: list[dict[str, str | None]] = [{**GOOD, "no": "n/a"}, {**GOOD, "day": "2024-02-30"}, {**GOOD}] * 50
    for _ in range(3):
        assert len(validator.validate(batch_of(rows)).rejects) == 100
    assert [(row["no"], row["day"]) for row in asked] == [("n/a", "2024-02-29"), ("1", "2024-02-30")]


@pytest.mark.usefixtures("use_kernels")
def test_the_memory_for_bad_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeats, "MAX_KNOWN", 3)
    monkeypatch.setattr(repeats, "MAX_CHARS", 10)
    validator = Validator(plan_of(Order))
    rows: list[dict[str, str | None]] = [{**GOOD, "no": f"bad {n % 9}"} for n in range(90)]
    rows += [{**GOOD, "no": "a text that is too long to be kept"}] * 9
    for _ in range(2):
        rejects = validator.validate(batch_of(rows)).rejects
        assert [reject.errors[0]["input"] for reject in rejects] == [row["no"] for row in rows]
    assert {text for _, _, text in validator._repeats._known} == {"bad 0", "bad 1", "bad 2"}
