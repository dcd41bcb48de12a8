"""Fields of JSON lines that have no kernel: pydantic judges their values by themselves, as it does within the line."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from pydantic import (
    AfterValidator,
    AnyUrl,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    PlainValidator,
    WrapValidator,
    create_model,
)
from pydantic_core import PydanticOmit, PydanticUseDefault
from typing_extensions import TypedDict

from tests.schema.oracle import assert_same_verdicts, json_batch, verdicts_of_zoopipe
from tests.schema.test_exactness import SEED, WORDS, json_string, number_text
from zoopipe_core.errors import ValidatorError
from zoopipe_core.schema.json_columns import judge_json
from zoopipe_core.schema.plan import plan_of

LINES = 1500


@pytest.fixture(autouse=True)
def _kernels(use_kernels: None) -> None:
    return


class Point(BaseModel):
    x: float
    y: int = 0
    label: Annotated[str, Field(max_length=6)] | None = None


class Named(TypedDict, total=False):
    x: int
    name: str


class Tree(BaseModel):
    value: int = 0
    children: list[Tree] = []


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Circle(BaseModel):
    kind: Literal["circle"]
    radius: float


class Mixed(Enum):
    ONE = 1
    TWO = "two"


def shout(value: Any) -> Any:
    """Tell apart all that a validator may be given."""
    if value == 7:
        raise ValueError("seven is not wanted")
    return f"{type(value).__name__} {value!r}"


def after_all(value: Any, handler: Callable[[Any], Any]) -> Any:
    try:
        return "got", handler(value)
    except ValueError:
        if isinstance(value, str):
            return "text", value
        raise


def or_default(value: Any) -> Any:
    if value in (0, ""):
        raise PydanticUseDefault
    return value


KINDS: dict[str, Any] = {
    "after": Annotated[int, AfterValidator(lambda number: number * 2)],
    "any": Any,
    "before": Annotated[str, BeforeValidator(shout)],
    "bytes": bytes,
    "dict": dict[str, int | None],
    "discriminated": Annotated[Square | Circle, Field(discriminator="kind")],
    "fixed tuple": tuple[int, str],
    "decimal of multiples": Annotated[Decimal, Field(multiple_of=Decimal("0.5"))],
    "frozen set": frozenset[int],
    "json": Json[list[int]],
    "list": list[int],
    "list of texts": Annotated[list[Annotated[str, Field(pattern=r"^\w+$")]], Field(min_length=1, max_length=3)],
    "lookahead": Annotated[str, Field(pattern=r"(?i)^[a-zé]+\b")],
    "mixed enum": Mixed,
    "model": Point,
    "optional model": Point | None,
    "plain": Annotated[Any, PlainValidator(shout)],
    "serialized": Annotated[list[int], PlainSerializer(sum, return_type=int)],
    "tree": Tree,
    "typed dict": Named,
    "union": int | str | list[float],
    "union of models": Point | Square | None,
    "url": AnyUrl,
    "wrap": Annotated[Any, WrapValidator(after_all)],
}
CONFIGS: list[dict[str, Any]] = [
    {},
    {"strict": True},
    {"extra": "forbid", "str_strip_whitespace": True, "val_json_bytes": "base64", "coerce_numbers_to_str": True},
]


def json_value(rng: random.Random, depth: int = 0) -> str:
    """Any JSON value, by preference of a shape that one of the models takes."""
    how = rng.random()
    if how < 0.3:
        return json_string(rng, rng.choice([*WORDS, "https://example.com/?q=1", "[1, 2]", "eA==", "two", "square"]))
    if how < 0.55:
        number = number_text(rng).removeprefix("+")
        return rng.choice(["0", "1", "7", "-0", "1.5", "0.0", "1e3", "1e999", number, number])
    if how < 0.65 or depth > 3:
        return rng.choice(["null", "true", "false", "NaN" if rng.random() < 0.1 else "null"])
    blank = rng.choice(["", "", " ", "\n"])
    if how < 0.8:
        items = [json_value(rng, depth + 1) for _ in range(rng.choice([0, 1, 2, 3]))]
        return f"[{blank}" + f",{blank}".join(items) + f"{blank}]"
    keys = ["x", "y", "label", "name", "value", "children", "kind", "side", "radius"]
    pairs = [
        (key, {"kind": rng.choice(['"square"', '"circle"', "1"])}.get(key) or json_value(rng, depth + 1))
        for key in rng.sample(keys, rng.randint(0, 4))
    ]
    return "{" + ",".join(f'{blank}"{key}":{blank}{value}' for key, value in pairs) + "}"


def lines_of(rng: random.Random, count: int) -> list[bytes]:
    lines = []
    for _ in range(count):
        pairs = [("id", rng.choice(["1", "2", '"3"', "x" if rng.random() < 0.05 else "4", '"four"']))]
        if rng.random() < 0.9:
            pairs.append(("cell", json_value(rng)))
        if rng.random() < 0.1:
            pairs.append((rng.choice(["other", "cell", "id"]), json_value(rng)))
        rng.shuffle(pairs)
        lines.append(("{" + ", ".join(f'"{key}": {value}' for key, value in pairs) + "}").encode())
    return lines


def slow_lines(model: type, lines: Sequence[bytes]) -> int:
    """How many of the lines pydantic had to read as a whole."""
    judged = judge_json(plan_of(model), json_batch(lines))
    return len(lines) if judged is None else int(np.count_nonzero(judged.unsure))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_every_value_gets_the_verdict_that_it_gets_within_its_line(
    kind: str, count_cells: Callable[[int], None]
) -> None:
    rng = random.Random(f"{SEED} json field {kind}")
    for config in CONFIGS:
        for type_, default in ((KINDS[kind], ...), (KINDS[kind] | None, None)):
            model = create_model(
                "Line", __config__=ConfigDict(**config), id=(int, ...), cell=(type_, default), last=(str, "x")
            )
            lines = lines_of(rng, LINES)
            assert_same_verdicts(model, json_batch(lines), lines, as_json=True)
            count_cells(len(lines))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("plain", "serialized", "url")])
def test_a_column_of_good_values_leaves_no_line_to_pydantic(kind: str) -> None:
    good = {
        "after": [1], "any": [{"a": [None]}], "before": ["x", None], "bytes": ["x"], "dict": [{"a": 1}],
        "discriminated": [{"kind": "circle", "radius": 1}], "fixed tuple": [[1, "x"]], "decimal of multiples": [1.5],
        "frozen set": [[1, 1]], "json": ["[1]"], "list": [[1, 2]], "list of texts": [["a"]], "lookahead": ["ab"],
        "mixed enum": [1, "two"], "model": [{"x": 1}], "optional model": [None, {"x": 1}],
        "tree": [{"children": [{"children": []}]}], "typed dict": [{"x": 1}],
        "union": [1, "x", [1.5]], "union of models": [{"x": 1}, {"kind": "square", "side": 2}],
        "wrap": [[1], "x"],
    }[kind]  # fmt: skip
    model = create_model("Line", id=(int, ...), cell=(KINDS[kind], ...))
    lines = [json.dumps({"id": index, "cell": cell}).encode() for index, cell in enumerate(good * 2)]
    assert slow_lines(model, lines) == 0
    assert_same_verdicts(model, json_batch(lines), lines, as_json=True)


@pytest.mark.parametrize("kind", [Annotated[str, Field(pattern=r"\bred\b")], list[str], int | str], ids=str)
def test_values_that_come_again_and_again_get_the_same_verdict(kind: Any, count_cells: Callable[[int], None]) -> None:
    rng = random.Random(f"{SEED} repeats {kind}")
    model = create_model("Line", id=(int, ...), cell=(kind, ...))
    values = ['"red"', '"reddish"', '"\\u0072ed"', '["red"]', "1", "1.0", "null", '"1"']
    lines = [f'{{"id":{index},"cell":{rng.choice(values)}}}'.encode() for index in range(3000)]
    assert_same_verdicts(model, json_batch(lines), lines, as_json=True)
    count_cells(len(lines))


def test_rows_do_not_share_what_one_of_them_might_change() -> None:
    class Tagged(BaseModel):
        tags: list[str]

    judged = judge_json(plan_of(Tagged), json_batch([b'{"tags":["a"]}'] * 3000))
    assert judged is not None
    values = judged.fields[0][1].values
    values[0].append("b")
    assert values[1] == ["a"]


def test_a_validator_is_asked_only_about_lines_that_are_good_so_far() -> None:
    seen: list[Any] = []

    def note(value: Any) -> Any:
        seen.append(value)
        return value

    class Line(BaseModel):
        id: int
        cell: Annotated[Any, AfterValidator(note)]

    judged = judge_json(plan_of(Line), json_batch([b'{"id":1,"cell":1}', b'{"id":"x","cell":2}', b'{"id":3,"cell":3']))
    assert judged is not None
    assert judged.unsure.tolist() == [False, True, True]
    assert seen == [1]


def test_validators_that_leave_out_or_replace_a_value_are_heard() -> None:
    def omit(value: Any) -> Any:
        if value == 1:
            raise PydanticOmit
        return value

    class Omitting(BaseModel):
        cells: list[Annotated[int, AfterValidator(omit)]]

    class Defaulting(BaseModel):
        cells: Annotated[list[int], BeforeValidator(or_default)] = Field(default_factory=lambda: [5])

    lines = [b'{"cells":[1,2]}', b'{"cells":0}', b'{"cells":[]}', b"{}"]
    for model in (Omitting, Defaulting):
        assert_same_verdicts(model, json_batch(lines), lines, as_json=True)


def test_a_validator_that_breaks_names_its_line() -> None:
    def divide(value: int) -> int:
        return 1 // value

    class Ratio(BaseModel):
        id: int
        ratio: Annotated[int, AfterValidator(divide)]

    with pytest.raises(ValidatorError, match=r"raised ZeroDivisionError on row 2 of lines\.jsonl"):
        verdicts_of_zoopipe(Ratio, json_batch([b'{"id":1,"ratio":1}', b'{"id":2,"ratio":0}']))


@pytest.mark.parametrize("depth", [1, 59, 60, 61, 150, 198, 199, 200, 201, 260])
def test_values_of_any_depth_get_the_verdict_that_they_get_within_their_line(depth: int) -> None:
    class Deep(BaseModel):
        id: int
        cell: Any
        other: Any = None

    value = b"[" * depth + b"1" + b"]" * depth
    lines = [b'{"id":1,"cell":%s}' % value, b'{"id":1,"x":%s,"cell":1}' % value]
    assert_same_verdicts(Deep, json_batch(lines), lines, as_json=True)
