"""The result of validation equals pydantic's, for each row, whatever way the row took."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NotRequired
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    HttpUrl,
    NaiveDatetime,
    StringConstraints,
    ValidationInfo,
    computed_field,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import to_json
from typing_extensions import TypedDict

from tests.schema.oracle import assert_same_verdicts, json_batch, text_batch, typed_batch, verdicts_of_zoopipe
from zoopipe_core.batches.source import object_batch
from zoopipe_core.errors import SchemaModelError, ValidatorError
from zoopipe_core.schema.plan import Route, plan_of
from zoopipe_core.schema.validate import Validator


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Inner(BaseModel):
    x: int


# A field each, so that every cell is judged by one rule.
FIELD_TYPES: list[Any] = [
    int,
    float,
    bool,
    str,
    bytes,
    dt.date,
    dt.datetime,
    dt.time,
    dt.timedelta,
    Decimal,
    UUID,
    Colour,
    Level,
    Literal["a", "b"],
    Literal[1, 2],
    int | None,
    int | str,
    int | float | None,
    Any,
    AwareDatetime,
    NaiveDatetime,
    HttpUrl,
    list[int],
    Inner,
    Annotated[int, Field(gt=0, le=100)],
    Annotated[int, Field(multiple_of=3)],
    Annotated[float, Field(allow_inf_nan=False, ge=-1)],
    Annotated[Decimal, Field(max_digits=5, decimal_places=2)],
    Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=4)],
    Annotated[str, Field(pattern=r"^\d+$")],
    Annotated[int, Field(strict=True)],
    Annotated[int, AfterValidator(lambda value: value * 2)],
    Annotated[int, BeforeValidator(lambda value: value.strip("$") if isinstance(value, str) else value)],
]

TEXTS = [
    "", " ", "0", "1", "-1", "+1", "01", "1_000", "_1", "1 ", " 1", "1.0", "1.5", "-0.0", "1e3", "1E+05", ".5", "5.",
    "inf", "-Infinity", "nan", "NaN", "\u0661\u0662", "\uff11", "9" * 19, "9" * 40, "-" + "9" * 25,
    "9223372036854775807",
    "9223372036854775808", "10.357019999999999", "12,5", "0x10", "1e400", "true", "True", "TRUE", "t", "yes", "y",
    "on", "off", "no", "f", "False", "2", "null", "None", "n/a", "2024-02-29", "2024-02-30", "2013-01-01T10:00:00Z",
    "2013-01-01 10:00:00", "2013-01-01T10:00:00+02:00", "2013-01-01T10:00:00.123456789", "0001-01-01", "9999-12-31",
    "10000-01-01", "2013-1-1", "1700000000", "1700000000000", "-1e10", "10:00", "10:00:00.5", "24:00", "P1D", "PT36H",
    "-P1DT1S", "1 days", "123e4567-e89b-12d3-a456-426614174000", "123e4567e89b12d3a456426614174000",
    "urn:uuid:123e4567-e89b-12d3-a456-426614174000", "red", "RED", "a", "ab", "abcde", "\u00df", "\u0130", "\x00",
    "a\x00b",
    "http://x.org/ä", "[1,2]", '{"x":1}', "$5", "💥", "\u202e1", "1\n", "\t1\t",
]  # fmt: skip


CELLS = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=8),
    st.integers().map(str),
    st.floats().map(str),
    st.decimals(allow_nan=False).map(str),
    st.datetimes().map(str),
    st.dates().map(str),
    st.times().map(str),
    st.none(),
)


def model_of(field_type: Any, **config: Any) -> type[BaseModel]:
    from pydantic import create_model

    return create_model("Model", __config__=ConfigDict(**config) if config else None, cell=(field_type, ...))


@pytest.mark.parametrize("field_type", FIELD_TYPES, ids=str)
@pytest.mark.parametrize(
    "config",
    [{}, {"strict": True}, {"str_strip_whitespace": True}, {"coerce_numbers_to_str": True}, {"use_enum_values": True}],
    ids=str,
)
def test_every_odd_text_gets_pydantics_verdict(way: str, field_type: Any, config: dict[str, Any]) -> None:
    cells: list[str | None] = [*TEXTS, None]
    assert_same_verdicts(model_of(field_type, **config), text_batch({"cell": cells}), [{"cell": c} for c in cells])


@pytest.mark.parametrize("field_type", FIELD_TYPES, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cells=st.lists(CELLS, min_size=1, max_size=30))
def test_every_generated_text_gets_pydantics_verdict(way: str, field_type: Any, cells: list[str | None]) -> None:
    assert_same_verdicts(model_of(field_type), text_batch({"cell": cells}), [{"cell": c} for c in cells])


JSON_VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(TEXTS),
        st.datetimes().map(str),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("xab"), inner, max_size=3)),
    max_leaves=4,
)  # fmt: skip


@pytest.mark.parametrize("field_type", FIELD_TYPES, ids=str)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(JSON_VALUES, min_size=1, max_size=10))
def test_json_lines_get_the_verdict_of_model_validate_json(way: str, field_type: Any, values: list[Any]) -> None:
    lines = [json.dumps({"cell": value}).encode() for value in values]
    lines += [
        b"",
        b"{",
        b'{"cell": 1, "cell": 2}',
        b"[1]",
        b'{"cell": 1e400}',
        b'{"cell": 0.1000000000000000055}',
        b"\xff",
    ]
    assert_same_verdicts(model_of(field_type), json_batch(lines), lines, as_json=True)


@pytest.mark.parametrize("field_type", FIELD_TYPES, ids=str)
@settings(max_examples=15, deadline=None)
@given(values=st.lists(JSON_VALUES, min_size=1, max_size=10))
def test_python_rows_get_the_verdict_of_model_validate(field_type: Any, values: list[Any]) -> None:
    rows = [{"cell": value} for value in values]
    assert_same_verdicts(model_of(field_type), object_batch("rows", 1, rows), rows)


TYPED_COLUMNS = [
    pa.array([1, None, -(2**63), 2**63 - 1], pa.int64()),
    pa.array([0.5, float("nan"), float("inf"), -0.0, None, 1e300]),
    pa.array([True, False, None]),
    pa.array(["1", "", None, "2024-01-01", "true", "a"]),
    pa.array([dt.date(1, 1, 1), dt.date(9999, 12, 31), None]),
    pa.array([dt.datetime(2020, 1, 1, 1, 2, 3, 4), None], pa.timestamp("us")),
    pa.array([dt.datetime(2020, 1, 1), None], pa.timestamp("us", tz="UTC")),
    pa.array([dt.datetime(2020, 1, 1), None], pa.timestamp("ns", tz="Europe/Berlin")),
    pa.array([Decimal("1.50"), None, Decimal("-99.99")], pa.decimal128(6, 2)),
    pa.array([dt.timedelta(days=1), None], pa.duration("us")),
    pa.array([dt.time(1, 2), None], pa.time64("us")),
    pa.array([b"a", b"\xff", None]),
    pa.array(["a", "b", "a", None]).dictionary_encode(),
    pa.array([[1, 2], [], None], pa.list_(pa.int64())),
    pa.array([{"x": 1}, {"x": None}, None], pa.struct([("x", pa.int64())])),
]


@pytest.mark.parametrize("field_type", FIELD_TYPES, ids=str)
@pytest.mark.parametrize("column", TYPED_COLUMNS, ids=lambda array: str(array.type))
def test_typed_cells_get_the_verdict_on_their_python_value(field_type: Any, column: pa.Array) -> None:
    # Python has no nanoseconds: the value of a cell is a datetime, not pandas' Timestamp.
    plain = column.cast(pa.timestamp("us", column.type.tz)) if getattr(column.type, "unit", "") == "ns" else column
    rows = [{"cell": value} for value in plain.to_pylist()]
    assert_same_verdicts(model_of(field_type), typed_batch(pa.table({"cell": column})), rows)


def test_a_slice_of_a_batch_is_judged_like_the_whole(way: str) -> None:
    cells = [str(n) if n % 3 else "x" for n in range(20)]
    whole = text_batch({"cell": cells})
    assert verdicts_of_zoopipe(model_of(int), whole.slice(5, 12)) == verdicts_of_zoopipe(model_of(int), whole)[5:12]


# ---- whole models -------------------------------------------------------------------------------------------------


class Aliased(BaseModel):
    identity: int = Field(alias="ID")
    name: str = Field(validation_alias="Name", serialization_alias="nm")
    both: int = Field(validation_alias=AliasChoices("b1", "b2"), default=7)
    deep: str | None = Field(validation_alias=AliasPath("deep", 0), default=None)


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)
    identity: int = Field(alias="ID")


class Extra(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


class Forbidding(BaseModel):
    model_config = ConfigDict(extra="forbid")
    a: int


class Checked(BaseModel):
    a: int
    b: int

    @model_validator(mode="after")
    def ordered(self) -> Checked:
        if self.a > self.b:
            raise ValueError("a has to be at most b")
        return self


class Before(BaseModel):
    a: int

    @model_validator(mode="before")
    @classmethod
    def from_c(cls, data: Any) -> Any:
        return {**data, "a": data.get("c", data.get("a"))}


class Computed(BaseModel):
    a: int
    b: int = 3

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> int:
        return self.a + self.b


class Serializing(BaseModel):
    a: int
    hidden: str = Field(default="x", exclude=True)

    @field_serializer("a")
    def doubled(self, value: int) -> int:
        return value * 2


class ReadsOthers(BaseModel):
    a: int
    b: int

    @field_validator("b")
    @classmethod
    def above_a(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("a", 0):
            raise ValueError("b has to be above a")
        return value


class Defaults(BaseModel):
    a: int = 5
    b: list[int] = Field(default_factory=list)
    c: str = Field(default="9", validate_default=True)
    d: dt.date | None = None


class CheckedDefaults(BaseModel):
    model_config = ConfigDict(validate_default=True)
    a: int = "7"  # type: ignore[assignment]
    b: int = "x"  # type: ignore[assignment]
    c: list[int] | None = None


class Nested(BaseModel):
    a: Inner | None = None
    b: int = 1


class Overriding(BaseModel):
    a: int

    def model_dump(self, **options: Any) -> dict[str, Any]:
        return {"other": self.a}


@dataclasses.dataclass
class Point:
    a: int
    b: str = "x"


class Movie(TypedDict):
    a: int
    b: NotRequired[str]


class Bound(TypedDict):
    a: int


MODELS = [
    Aliased, ByName, Extra, Forbidding, Checked, Before, Computed, Serializing, ReadsOthers, Defaults,
    CheckedDefaults, Nested, Overriding, Point, Movie, Bound,
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_kind_of_model_gets_pydantics_verdict_on_text(way: str, model: type, data: st.DataObject) -> None:
    names = data.draw(
        st.lists(st.sampled_from(["a", "b", "c", "d", "ID", "identity", "Name", "b1", "b2"]), unique=True, min_size=1)
    )
    cell = st.one_of(st.sampled_from(["1", "2", "x", "", "2024-01-01", '{"x":1}']), st.none())
    rows = data.draw(st.lists(st.tuples(*[cell] * len(names)), min_size=1, max_size=8))
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    dicts = [dict(zip(names, row, strict=True)) for row in rows]
    assert_same_verdicts(model, text_batch(columns), dicts)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "c", "ID", "Name", "identity"]), JSON_VALUES, max_size=5),
        min_size=1,
        max_size=6,
    )
)
def test_every_kind_of_model_gets_pydantics_verdict_on_objects_and_json(
    way: str, model: type, rows: list[dict[str, Any]]
) -> None:
    assert_same_verdicts(model, object_batch("rows", 1, rows), rows)
    lines = [json.dumps(row).encode() for row in rows]
    assert_same_verdicts(model, json_batch(lines), lines, as_json=True)


def test_instances_of_the_model_pass_as_they_are() -> None:
    rows = [Checked(a=1, b=2), {"a": 1, "b": 0}, 5]
    assert_same_verdicts(Checked, object_batch("rows", 1, rows), rows)


# ---- routes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "word"),
    [
        (Checked, "model validators"), (Before, "model validators"), (Computed, "computed"), (Extra, "extra"),
        (Serializing, "serializers"), (ReadsOthers, "other fields"), (Overriding, "overrides"), (Aliased, "alias"),
    ],
)  # fmt: skip
def test_a_model_that_needs_whole_rows_says_why(model: type, word: str) -> None:
    assert word in plan_of(model).row_reason


def test_plain_fields_and_field_validators_go_by_columns() -> None:
    class Plain(BaseModel):
        a: int
        b: Annotated[str, AfterValidator(str.strip)]
        c: Inner | None = None

    plan = plan_of(Plain)
    assert plan.row_reason == ""
    assert [field.route for field in plan.fields] == [Route.KERNEL, Route.FIELD, Route.FIELD]
    assert plan.source_columns == {"a", "b", "c"}


def test_a_validator_runs_once_for_each_good_cell_of_a_column() -> None:
    seen: list[int] = []

    def note(value: int) -> int:
        seen.append(value)
        return value

    class Counting(BaseModel):
        a: Annotated[int, AfterValidator(note)]

    Validator(plan_of(Counting)).validate(text_batch({"a": ["1", "2", "3"]}))
    assert seen == [1, 2, 3]


def test_a_validator_that_breaks_ends_the_load_and_names_the_row() -> None:
    def broken(value: int) -> int:
        if value == 3:
            raise KeyError("oops")
        return value

    class Broken(BaseModel):
        a: Annotated[int, AfterValidator(broken)]

    with pytest.raises(ValidatorError, match=r"KeyError on row 3 of cells\.csv") as caught:
        Validator(plan_of(Broken)).validate(text_batch({"a": ["1", "2", "3"]}))
    assert isinstance(caught.value.__cause__, KeyError)


def test_invalid_utf8_rejects_its_row_only_and_only_if_the_column_is_needed(way: str) -> None:
    class One(BaseModel):
        a: int

    batch = text_batch({"a": ["1", "2", "3"], "b": ["x", "y", "z"]})
    raw = pa.RecordBatch.from_arrays(
        [pa.array([b"1", b"\xff2", b"3"]), pa.array([b"\xfe", b"y", b"z"])], names=["a", "b"]
    )
    batch = dataclasses.replace(batch, columns=raw)
    validated = Validator(plan_of(One)).validate(batch)
    assert list(validated.good.dicts()) == [{"a": 1}, {"a": 3}]
    (reject,) = validated.rejects
    assert (reject.row, reject.errors[0]["type"], reject.cells) == (2, "invalid_utf8", {"a": "\\xff2", "b": "y"})


def test_a_timestamp_finer_than_a_microsecond_is_rejected_and_not_cut() -> None:
    class At(BaseModel):
        at: dt.datetime

    column = pa.array([1_000, 1_001, None], pa.timestamp("ns"))
    validated = Validator(plan_of(At)).validate(typed_batch(pa.table({"at": column})))
    assert [r.errors[0]["type"] for r in validated.rejects] == ["nanoseconds", "datetime_type"]
    assert list(validated.good.dicts()) == [{"at": dt.datetime(1970, 1, 1, 0, 0, 0, 1)}]


def test_errors_about_a_whole_row_show_every_column_of_the_source() -> None:
    batch = text_batch({"a": ["2"], "b": ["1"], "other": ["kept"]})
    (verdict,) = verdicts_of_zoopipe(Checked, batch)
    assert verdict[1][0]["input"] == {"a": "2", "b": "1", "other": "kept"}


def test_without_a_model_rows_pass_as_they_are() -> None:
    validated = Validator(None).validate(text_batch({"a": ["1", None], "b": ["x", ""]}))
    assert list(validated.good.dicts()) == [{"a": "1", "b": "x"}, {"a": None, "b": ""}]
    numbers = json_batch([b'{"n": 123456789012345678901234567890}', b"5", b"{"])
    validated = Validator(None, wants_json=True).validate(numbers)
    assert validated.good.json_lines == [b'{"n": 123456789012345678901234567890}']
    assert [r.errors[0]["type"] for r in validated.rejects] == ["not_a_row", "json_invalid"]


@pytest.mark.parametrize("nothing", [int, "User", None, dict, BaseModel, BaseModel.model_construct, Colour, Inner(x=1)])
def test_what_is_no_model_is_refused(nothing: Any) -> None:
    with pytest.raises(SchemaModelError, match="schema_model has to be"):
        plan_of(nothing)


class JsonSettings(BaseModel):
    model_config = ConfigDict(ser_json_timedelta="float", ser_json_bytes="base64", ser_json_inf_nan="strings")
    a: dt.timedelta
    b: bytes
    c: float


class Plainly(BaseModel):
    a: dt.timedelta
    b: bytes
    c: float
    d: Decimal
    e: dt.datetime
    f: UUID
    g: Colour
    h: Inner
    i: set[int]
    j: dict[str, float]


@pytest.mark.parametrize("model", [JsonSettings, Plainly, Serializing, Computed, Aliased, Nested])
def test_json_for_a_writer_is_that_of_model_dump_json(model: type[BaseModel]) -> None:
    row = {
        "a": "PT3S", "b": "x", "c": "inf", "d": "1.50", "e": "2020-01-01T00:00:00+02:00", "f": "1" * 32, "g": "red",
        "h": {"x": 1}, "i": [2, 1], "j": {"k": float("nan")}, "ID": 1, "Name": "n",
    }  # fmt: skip
    if model in (Serializing, Computed, Nested):
        row["a"] = {"x": 1} if model is Nested else 3
        row["b"] = 1
    good = Validator(plan_of(model), wants_json=True).validate(object_batch("rows", 1, [row, row])).good
    lines = good.json_lines or [to_json(dump, inf_nan_mode="null") for dump in good.dicts()]
    expected = json.loads(model.model_validate(row).model_dump_json())
    assert [json.loads(line) for line in lines] == [expected, expected]
