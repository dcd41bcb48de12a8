"""CSV files written: what is read back is what was written, by this package and by Python's csv module."""

import csv
import datetime as dt
import enum
import io
import json
import math
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import to_json

from tests.adapters.csv_files import read_rows
from zoopipe_core.adapters.csv import CSVInputAdapter, CSVOutputAdapter
from zoopipe_core.batches.model import ModelBatch
from zoopipe_core.batches.types import STRING
from zoopipe_core.errors import SpecError, TargetError, UnsupportedValueError


def write(adapter: CSVOutputAdapter, *groups: list[dict[str, Any]], columns: tuple[str, ...] = ()) -> str:
    writer = adapter.open()
    try:
        writer.start(dict.fromkeys(columns or groups[0][0], STRING))
        for number, rows in enumerate(groups):
            writer.write(ModelBatch.from_rows(rows, {}, np.arange(1, len(rows) + 1) + 100 * number, "in.csv"))
        writer.publish()
    finally:
        writer.abort()
    return Path(adapter.path).read_bytes().decode()


def written(value: Any, folder: Path, **options: Any) -> str:
    """The text of one cell, the second in its row."""
    text = write(CSVOutputAdapter(folder / "out.csv", header=False, **options), [{"a": "x", "b": value}])
    return text.partition(options.get("delimiter", ","))[2].removesuffix("\n")


# ---- what is written comes back -------------------------------------------------------------------------------------

characters = [*",;\t|\"'\r\n\0# aé日😀\ufeff", "NULL", "\\N"]
cells = st.none() | st.lists(st.sampled_from(characters), max_size=4).map("".join)
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8)
)
adapters = st.fixed_dictionaries({
    "delimiter": st.sampled_from([",", ";", "\t", "|"]),
    "quotechar": st.sampled_from(['"', "'"]),
    "null_text": st.sampled_from(["", "NULL", "\\N", "é"]),
    "lineterminator": st.sampled_from(["\n", "\r\n"]),
    "header": st.booleans(),
})  # fmt: skip
names = st.lists(st.text("ab,\"';\n\t| é\ufeff", min_size=1, max_size=4), min_size=4, max_size=4, unique=True)


@given(tables, adapters, names)
@example(
    [["\ufeff"]],
    {"delimiter": ",", "quotechar": '"', "null_text": "", "lineterminator": "\n", "header": False},
    list("abcd"),
)
def test_any_text_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, table: list[list[str | None]], options: dict[str, Any], names: list[str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    names = names[: len(table[0])]
    rows = [dict(zip(names, row, strict=True)) for row in table]
    text = write(CSVOutputAdapter(path, **options), rows[:3], rows[3:], columns=tuple(names))

    null, style = options["null_text"], {name: options[name] for name in ("delimiter", "quotechar")}
    header = [names] if options["header"] else []
    by_module = [[null if cell is None else cell for cell in row] for row in table]
    assert list(csv.reader(io.StringIO(text, newline=""), **style)) == header + by_module

    ours = CSVInputAdapter(
        path, **style, null_values=[null], quoted_nulls=False, fieldnames=None if header else list("wxyz")[: len(names)]
    )
    alone = len(names) == 1 and not null  # then None is written as an empty text: a blank line is no record
    assert read_rows(ours) == [["" if alone and cell is None else cell for cell in row] for row in table]
    assert text.endswith(options["lineterminator"])


@pytest.mark.parametrize(
    ("null_text", "line"), [("", ',"",NULL'), ("NULL", 'NULL,"","NULL"'), ("-", '-,"",NULL'), ("é", 'é,"",NULL')]
)
def test_null_and_empty_text_are_told_apart(tmp_path: Path, null_text: str, line: str) -> None:
    adapter = CSVOutputAdapter(tmp_path / "out.csv", null_text=null_text)
    assert write(adapter, [{"a": None, "b": "", "c": "NULL"}]) == f"a,b,c\n{line}\n"


# ---- values ---------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red, dark"


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (10**40, str(10**40)),
        (0.1, "0.1"),
        (1e16, "1e+16"),
        (-0.0, "-0.0"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+3"), "1E+3"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (dt.date(1, 1, 1), "0001-01-01"),
        (dt.datetime(2024, 1, 2, 3, 4, 5, 6), "2024-01-02T03:04:05.000006"),
        (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), "2024-01-02T00:00:00Z"),
        (dt.time(1, 2, 3), "01:02:03"),
        (dt.timedelta(days=-1, seconds=1), "-P0DT86399S"),
        (b"a\xc3\xa9", "aé"),
        (b"\xff", "\\xff"),
        (Colour.RED, '"red, dark"'),
        (Level.LOW, "1"),
        (Path("a/b"), "a/b"),
    ],
)
def test_values_are_written_as_documented(tmp_path: Path, value: Any, text: str) -> None:
    if isinstance(value, dt.timedelta):
        text = json.loads(to_json(value))
    assert written(value, tmp_path) == text


@pytest.mark.parametrize("value", [[], [1, None, 'a"b'], {"a": {"b": "x,y"}}, (1, 2), {3}])
def test_lists_and_objects_are_json_in_one_cell(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "out.csv"
    write(CSVOutputAdapter(path), [{"a": "x", "b": value}])
    [[_, text]] = read_rows(CSVInputAdapter(path))
    assert text is not None
    assert json.loads(text) == json.loads(to_json(value))


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tx", "'\tx"),
        ("\rx", '"\'\rx"'),
        ("＝1", "'＝1"),
        ('=HYPERLINK("x","y")', '"\'=HYPERLINK(""x"",""y"")"'),
        (["=1"], '"[""=1""]"'),
        ("a=1", "a=1"),
        ("", '""'),
        (" =1", " =1"),
        (-1, "-1"),
        (-1.5, "-1.5"),
        (Decimal("-1"), "-1"),
        (None, ""),
    ],
)
def test_formulas_are_escaped_on_request_and_numbers_are_none(tmp_path: Path, text: Any, escaped: str) -> None:
    assert written(text, tmp_path, escape_formulas=True) == escaped
    if isinstance(text, str):
        [[_, back]] = csv.reader(io.StringIO(f"x,{written(text, tmp_path)}", newline=""))
        assert back == text


def test_a_column_name_that_is_a_formula_is_escaped_too(tmp_path: Path) -> None:
    assert write(CSVOutputAdapter(tmp_path / "out.csv", escape_formulas=True), [{"=cmd()": 1}]) == "'=cmd()\n1\n"


# ---- columns --------------------------------------------------------------------------------------------------------


def test_fieldnames_choose_and_order_the_columns(tmp_path: Path) -> None:
    rows = [{"a": 1, "b": 2, "c": 3}, {"a": 4, "b": 5, "c": 6}]
    assert write(CSVOutputAdapter(tmp_path / "out.csv", fieldnames=["c", "a"]), rows) == "c,a\n3,1\n6,4\n"
    with pytest.raises(TargetError, match=r"out\.csv: fieldnames asks for 'x', but the rows have a, b, c"):
        write(CSVOutputAdapter(tmp_path / "out.csv", fieldnames=["a", "x"]), rows)
    assert (tmp_path / "out.csv").read_text() == "c,a\n3,1\n6,4\n"


def test_a_column_that_comes_late_or_rows_without_any_fail_the_load(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match=r"the column 'b' first appears in row 101 after the header was written"):
        write(CSVOutputAdapter(tmp_path / "out.csv"), [{"a": 1}], [{"a": 2, "b": 3}])
    with pytest.raises(TargetError, match="rows without columns cannot be written as CSV"):
        write(CSVOutputAdapter(tmp_path / "out.csv"), [{}])
    assert list(tmp_path.iterdir()) == []


def test_half_of_a_surrogate_pair_is_named_with_its_column_and_row(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedValueError, match=r"column 'b', in\.csv row 2: the text .* half of a surrogate pair"):
        write(CSVOutputAdapter(tmp_path / "out.csv"), [{"a": "x", "b": "y"}, {"a": "x", "b": "z\ud800"}])
    with pytest.raises(UnsupportedValueError, match="a column name holds half of a surrogate pair"):
        write(CSVOutputAdapter(tmp_path / "out.csv"), [{"\ud800": "x"}])
    assert list(tmp_path.iterdir()) == []


def test_output_arguments_are_checked(tmp_path: Path) -> None:
    adapter = CSVOutputAdapter("out.csv", fieldnames=["a"])
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    for wrong, message in [
        ({"delimiter": "::"}, "delimiter has to be a single ASCII character"),
        ({"quotechar": ","}, "quotechar and delimiter are both ','"),
        ({"quotechar": None}, "needs a quotechar"),
        ({"lineterminator": "\r"}, "a lineterminator of '\\n' or '\\r\\n'"),
        ({"null_text": "a,b"}, "null_text 'a,b' would need quotes"),
        ({"null_text": "\n"}, "would need quotes"),
        ({"fieldnames": "ab"}, "fieldnames has to be a list of texts"),
        ({"compression": "zip"}, "compression has to be 'infer', 'gzip', 'bz2', 'zstd' or None, not 'zip'"),
    ]:
        with pytest.raises(SpecError) as caught:
            CSVOutputAdapter("out.csv", **wrong)  # type: ignore[arg-type]
        assert message in str(caught.value), wrong
    with pytest.raises(SpecError, match="zip files can be read but not written"):
        CSVOutputAdapter("out.csv.zip")
    with pytest.raises(SpecError, match="a CSV output is one file, not 2 of them"):
        CSVOutputAdapter(["a.csv", "b.csv"])  # type: ignore[arg-type]
