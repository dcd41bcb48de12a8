"""Cells that are copied are the bytes that formatting their values gives, whatever the cells."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.schema.oracle import json_batch
from zoopipe_core.adapters.csv_dialect import Dialect
from zoopipe_core.adapters.csv_fields import FieldParser
from zoopipe_core.adapters.csv_text import CSVFormat
from zoopipe_core.adapters.text_rows import encode_csv_rows, encode_json_rows
from zoopipe_core.batches.model import Column, ModelBatch
from zoopipe_core.batches.source import SourceBatch
from zoopipe_core.batches.types import STRING
from zoopipe_core.kernels import format_text, native, rows
from zoopipe_core.kernels.switch import SWITCH
from zoopipe_core.schema.plan import plan_of
from zoopipe_core.schema.validate import Validator


@pytest.fixture(scope="module", autouse=True)
def _kernels(compiled_kernels: Path) -> None:
    assert native.load()


class Row(BaseModel):
    count: int
    share: float | None
    is_new: bool
    day: date | None = None
    seen: datetime
    name: str
    note: str


SEEN = "2013-01-01T10:00:00Z"
NAMES = list(Row.model_fields)
cells = st.tuples(
    st.sampled_from(["0", "12", "-7", "007", "+1", "1.0", " 3", "x", "9223372036854775807"]),
    st.sampled_from(["0.5", "-12.25", "7", "1e5", "0.00001", "1.50", "", "nan", "1234567890.123456", "x"]),
    st.sampled_from(["true", "false", "True", "1", "no", "maybe"]),
    st.sampled_from(["2024-02-29", "0001-01-01", "2024-02-30", "", "20240101"]),
    st.sampled_from(["2013-01-01T10:00:00Z", "2013-01-01 10:00:00Z", "2013-01-01T10:00Z", "2013-01-01T10:00:00.5Z"]),
    st.sampled_from(
        ["a", "Zoë", "a,b", 'say "hi"', "back\\slash", "tab\t", "", "two\nlines", "\ufeffx", "\x7f", "=1", "ab" * 20]
    ),
    st.sampled_from(["plain", "x y", "", "日本", "'"]),
)
FORMS = [CSVFormat(), CSVFormat(";"), CSVFormat(quotechar="'"), CSVFormat(null_text="a"), CSVFormat("a")]
FORMS += [CSVFormat(escape_formulas=True), CSVFormat(lineterminator="\r\n")]
tables = st.lists(cells, min_size=1, max_size=12)


def judged(table: Sequence[Sequence[str]], nulls: Sequence[str] = ("",)) -> ModelBatch:
    """The accepted rows of the table, as a load of a CSV file has them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(table)
    source, wanted = io.BytesIO(text.getvalue().encode()), range(len(NAMES))
    parser = FieldParser(source, Dialect(), NAMES, wanted, nulls, True, "rows.csv", 1, 5000, 2**16, 2**20)
    (batch,) = parser.batches()
    return validated(batch)


def validated(batch: SourceBatch) -> ModelBatch:
    """The rows of a batch that a model accepts, by kernels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SWITCH, "_ready", True)
        return Validator(plan_of(Row)).validate(batch).good


def formatted(batch: ModelBatch) -> ModelBatch:
    """The same rows, with nothing known of how they were spelled."""
    return ModelBatch.from_arrow(batch.to_arrow(), batch.rows, batch.source, batch.types)


@given(table=tables)
@example(table=[("1", "0.5", "true", "2024-02-29", SEEN, "a", "b"), ("x", "0.5", "true", "", SEEN, "a", "b")])
def test_json_and_csv_are_the_bytes_that_formatting_gives(table: list[Any]) -> None:
    batch = judged(table, nulls=["nothing"])
    if not batch.num_rows:
        return
    text = encode_json_rows(batch, b"\n")
    assert text is not None
    assert text.to_pybytes() == encode_json_rows(formatted(batch), b"\n").to_pybytes()  # type: ignore[union-attr]
    expected = [Row.model_validate(row).model_dump_json().encode() for row in batch.dicts()]
    assert text.to_pybytes().split(b"\n") == expected
    for form in FORMS:
        written = encode_csv_rows(batch, NAMES, form)
        plain = encode_csv_rows(formatted(batch), NAMES, form)
        assert (written and written.to_pybytes()) == (plain and plain.to_pybytes()), form
        assert written is not None
        values = [form.fields(batch.columns[name].values) for name in NAMES]
        assert written.to_pybytes().decode() == form.records(values), form


@given(table=tables)
def test_what_json_holds_is_copied_into_json(table: list[Any]) -> None:
    lines = [json.dumps(dict(zip(NAMES, row, strict=True)), ensure_ascii=False).encode() for row in table]
    batch = validated(json_batch(lines))
    if batch.num_rows:
        text = encode_json_rows(batch, b"\n")
        assert text is not None
        assert text.to_pybytes() == encode_json_rows(formatted(batch), b"\n").to_pybytes()  # type: ignore[union-attr]
        assert text.to_pybytes().split(b"\n") == [
            Row.model_validate(r).model_dump_json().encode() for r in batch.dicts()
        ]


@given(table=tables)
def test_null_cells_are_null_in_every_column(table: list[Any]) -> None:
    batch = judged(table)
    if batch.num_rows:
        assert encode_json_rows(batch, b",").to_pybytes() == encode_json_rows(formatted(batch), b",").to_pybytes()  # type: ignore[union-attr]


@pytest.mark.parametrize("bad", [(), (0,), (3, 4), tuple(range(1, 40, 2))])
def test_plain_rows_are_copied_and_rows_that_were_rejected_left_out(
    bad: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    copy = rows.write_rows.native
    assert copy is not None
    monkeypatch.setattr(rows.write_rows, "native", lambda *arguments: (calls.append(1), copy(*arguments)))
    table = [
        ("x" if i in bad else str(i), f"{i}.25", "true", "2024-02-29", SEEN, f"name {i}", "note") for i in range(40)
    ]
    batch = judged(table)
    assert [row["count"] for row in batch.dicts()] == [i for i in range(40) if i not in bad]
    text, records = encode_json_rows(batch, b"\n"), encode_csv_rows(batch, NAMES, CSVFormat())
    assert calls == [1, 1]
    good = [row for i, row in enumerate(table) if i not in bad]
    assert records is not None
    assert records.to_pybytes().decode() == "".join(",".join(row) + "\n" for row in good)
    assert text is not None
    assert text.to_pybytes().count(b"\n") == len(good) - 1


def test_what_was_taken_and_taken_again_keeps_its_cells() -> None:
    batch = judged([(str(i), "0.5", "false", "2024-02-29", SEEN, f"name {i}", "note") for i in range(10)])
    taken = batch.filter(np.arange(10) % 2 == 0).take(np.array([4, 0, 0], np.int64))
    text = encode_json_rows(taken, b"\n")
    assert text is not None
    assert [line[:11] for line in text.to_pybytes().split(b"\n")] == [b'{"count":8,', b'{"count":0,', b'{"count":0,']


def test_a_column_that_was_not_read_is_written_between_those_that_were() -> None:
    batch = judged([(str(i), "0.5", "false", "2024-02-29", SEEN, f"name {i}", "note") for i in range(3)])
    mixed = ModelBatch({"hash": Column(STRING, None, pa.array(["x", None, 'q"'])), **batch.columns}, batch.rows)
    text = encode_json_rows(mixed, b"\n")
    assert text is not None
    assert [line.split(b",")[0] for line in text.to_pybytes().split(b"\n")] == [
        b'{"hash":"x"',
        b'{"hash":null',
        b'{"hash":"q\\""',
    ]


plain_texts = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="\"\\\\,;'a"), min_size=1)
"""Texts that no format has to treat."""


@given(
    made=st.lists(st.lists(st.one_of(plain_texts, st.sampled_from(["", "a,b", "é", 'q"', "\t", "\ufeffx"]))
                           | plain_texts.map(str.upper), min_size=4, max_size=4), min_size=1, max_size=3),
    plain=st.booleans(),
    places=st.lists(st.integers(0, 7), min_size=3, max_size=3),
    skipped=st.integers(0, 2),
)  # fmt: skip
@example(made=[["x"] * 4], plain=True, places=[7, 0, 0], skipped=0)
def test_texts_that_hooks_made_are_the_bytes_that_formatting_gives(
    made: list[list[str]], plain: bool, places: list[int], skipped: int
) -> None:
    """Wherever their columns stand, the last one and the first included; also those of sliced arrays."""
    batch = judged([(str(i), "0.5", "true", "2024-02-29", SEEN, f"name {i}", "note") for i in range(4)])
    columns = list(batch.columns.items())
    for number, (texts, place) in enumerate(zip(made, places, strict=False)):
        cells = [text if not plain or (text.isascii() and text.isalnum()) else "X1" for text in texts]
        array = pa.array(['q"\n'] * skipped + cells + ["\\"], pa.string()).slice(skipped, 4)
        columns.insert(place, (f"made_{number}", Column(STRING, None, array)))
    mixed = ModelBatch(dict(columns), batch.rows, batch.source)
    text = encode_json_rows(mixed, b",\n")
    assert text is not None
    assert text.to_pybytes() == encode_json_rows(formatted(mixed), b",\n").to_pybytes()  # type: ignore[union-attr]
    assert [json.loads(line) for line in text.to_pybytes().split(b",\n")] == [
        json.loads(json.dumps(row, default=lambda value: value.isoformat().replace("+00:00", "Z")))
        for row in mixed.dicts()
    ]
    for form in FORMS:
        written = encode_csv_rows(mixed, list(mixed.columns), form)
        expected = encode_csv_rows(formatted(mixed), list(mixed.columns), form)
        assert (written and written.to_pybytes()) == (expected and expected.to_pybytes()), form


def test_plain_texts_that_hooks_made_are_not_looked_at_cell_by_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    sized = []
    measure = format_text.size_json_text.native
    assert measure is not None
    monkeypatch.setattr(format_text.size_json_text, "native", lambda *all_: (sized.append(1), measure(*all_)))
    batch = judged([(str(i), "0.5", "false", "2024-02-29", SEEN, f"name {i}", "note") for i in range(3)])
    for cells, times in ((["x", "", "z"], 0), (["x", "é", "z"], 1), (["x", 'q"', "z"], 2), (["x", None, "z"], 3)):
        mixed = ModelBatch({**batch.columns, "made": Column(STRING, None, pa.array(cells, pa.string()))}, batch.rows)
        assert encode_json_rows(mixed, b"\n") is not None
        assert len(sized) == times
