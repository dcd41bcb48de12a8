"""JSON text cut into records: the same records as a slow and obvious way gives, in blocks of any size."""

import io
import json
import random
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zoopipe_core.adapters.json_records import array_records, line_records
from zoopipe_core.errors import CorruptSourceError, RecordTooLongError, SourceError

BLANK = b" \t\r\n"


class Drip(io.BytesIO):
    """A stream that gives less than it is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(random.Random(self.tell()).randint(1, max(1, size or 1)))


def each_text(records: Iterator[pa.BinaryArray]) -> Iterator[bytes]:
    for array in records:
        yield from array.to_pylist()


def texts(records: Iterator[pa.BinaryArray]) -> list[bytes]:
    return list(each_text(records))


def lines_of(text: bytes, block: int = 2**20, limit: int = 2**20) -> list[bytes]:
    return texts(line_records(io.BytesIO(text), "in.jsonl", block, limit))


def elements_of(text: bytes, block: int = 2**20, limit: int = 2**20) -> list[bytes]:
    return texts(array_records(io.BytesIO(text), "in.json", block, limit))


# ---- JSON Lines ---------------------------------------------------------------------------------------------------


def oracle_lines(text: bytes) -> list[bytes]:
    lines = [line.removesuffix(b"\r") for line in text.split(b"\n")]
    return [line for line in lines if line.strip(BLANK)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.sampled_from(["\\", '"', '\\"', "},{", "],[", ", ", "a\\\\", "[", "}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
line_texts = st.one_of(
    json_values.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.sampled_from([b"", b" ", b"\t \r", b"\r", b'  {"a": 1} ', b"{broken", b'\xff\xfe"', b"a\rb", b"x\r\r"]),
)
line_ends = st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n \r\n", b"\r\n\t\n"])


@given(
    st.lists(st.tuples(line_texts, line_ends)),
    st.sampled_from([b"", b"\r", b"7", b'{"no": "newline"}', b'{"a": 1}\r']),
    st.integers(1, 64),
    st.booleans(),
)
@example([(b'{"a": 1}', b"\r\n")], b"", 9, False)
def test_lines_are_cut_as_a_plain_split_cuts_them_whatever_the_block_size(
    lines: list[tuple[bytes, bytes]], last: bytes, block: int, drip: bool
) -> None:
    text = b"{}\n" + b"".join(line + end for line, end in lines) + last
    stream = (Drip if drip else io.BytesIO)(text)
    assert texts(line_records(stream, "in.jsonl", block, 2**20)) == oracle_lines(text)


def test_the_lines_of_a_block_share_one_buffer_without_a_gap() -> None:
    (records,) = line_records(io.BytesIO(b'{"a": 1}\n\n{"a": 22}\r\n'), "in.jsonl", 2**20, 2**20)
    assert records.type == pa.binary()
    assert records.buffers()[2].to_pybytes() == b'{"a": 1}{"a": 22}'


@pytest.mark.parametrize("block", [1, 2, 3, 5, 8, 2**20])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_of_just_the_allowed_length_passes_and_a_longer_one_is_named(block: int, end: bytes) -> None:
    text = b"{}" + end + b"\n" + b'"12345678"' + end + b"{}"
    assert lines_of(text, block, limit=10) == [b"{}", b'"12345678"', b"{}"]
    seen: list[bytes] = []
    with pytest.raises(RecordTooLongError, match=r"in\.jsonl: row 2 is longer than 9 bytes; raise max_record_bytes"):
        seen.extend(each_text(line_records(io.BytesIO(text), "in.jsonl", block, 9)))
    assert seen == [b"{}"]


def test_a_megabyte_cell_crosses_many_blocks_unharmed() -> None:
    long = json.dumps({"cell": "x" * 2**20}).encode()
    assert lines_of(b"{}\n" + long + b"\n{}", block=2**16, limit=2**21) == [b"{}", long, b"{}"]
    assert elements_of(b"[{}," + long + b",{}]", block=2**16, limit=2**21) == [b"{}", long, b"{}"]


def test_blank_text_has_no_lines() -> None:
    for text in (b"", b"\n", b" \r\n\t\n", b" "):
        assert lines_of(text) == lines_of(text, 1) == []


def test_a_broken_line_is_a_row_like_any_other_for_validation_to_reject() -> None:
    assert lines_of(b'{"a": 1}\n{"a": \n\xff\n') == [b'{"a": 1}', b'{"a": ', b"\xff"]


@pytest.mark.parametrize("block", [1, 4, 2**20])
@pytest.mark.parametrize(
    "text", [b"[\n", b"\n  [{\n", b'[{"a": 1},\n{"a": 2}]', b'["]"\n]', b'[{"a": [1]}', b'["\\"]",\n']
)
def test_an_array_over_several_lines_is_not_taken_for_lines(text: bytes, block: int) -> None:
    with pytest.raises(CorruptSourceError, match=r'begins with .* pass format="array"'):
        lines_of(text, block)


def test_an_array_on_one_long_line_is_recognised_where_it_gets_too_long() -> None:
    with pytest.raises(CorruptSourceError, match='pass format="array"'):
        lines_of(b"\n[" + b'{"a": 1},' * 100 + b"{}]", block=16, limit=100)


def test_lines_may_be_arrays_themselves() -> None:
    assert lines_of(b'[1, "]"]\n[2, [3]]\n') == [b'[1, "]"]', b"[2, [3]]"]


# ---- arrays -------------------------------------------------------------------------------------------------------


def oracle_elements(text: str) -> list[bytes]:
    found: list[bytes] = []
    decoder, place = json.JSONDecoder(), text.index("[") + 1
    while True:
        while text[place] in " \t\r\n,":
            place += 1
        if text[place] == "]":
            return found
        _, end = decoder.raw_decode(text, place)
        found.append(text[place:end].encode("utf-8", "surrogatepass"))
        place = end


blanks = st.text(" \t\r\n", max_size=4)
layouts = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 0, 1, 3]), "ensure_ascii": st.booleans(), "separators": st.just((" ,", " : "))}
)


@given(
    st.lists(st.tuples(blanks, json_values, layouts, blanks), max_size=8),
    blanks,
    blanks,
    st.integers(1, 64),
    st.booleans(),
)
@example([("", "a\\", {}, "")], "", "", 1, False)
def test_elements_are_cut_as_a_json_decoder_cuts_them_whatever_the_block_size(
    elements: list[tuple[str, Any, dict[str, Any], str]], before: str, after: str, block: int, drip: bool
) -> None:
    inside = ",".join(lead + json.dumps(value, **layout) + trail for lead, value, layout, trail in elements)
    text = f"{before}[{inside}]{after}"
    stream = (Drip if drip else io.BytesIO)(text.encode("utf-8", "surrogatepass"))
    assert texts(array_records(stream, "in.json", block, 2**20)) == oracle_elements(text)


def outcome(text: bytes, block: int, limit: int = 2**20) -> tuple[list[bytes], str]:
    """The records up to the end or the error, and the error."""
    records: list[bytes] = []
    try:
        records.extend(each_text(array_records(io.BytesIO(text), "in.json", block, limit)))
    except SourceError as error:
        return records, str(error)
    return records, ""


@given(st.text('[]{},"\\ 1a:\n', max_size=40).map(str.encode), st.integers(1, 20), st.integers(1, 64))
@example(rb'"\\\\",1]', 4, 64)
@example(rb'"\\\"",1]', 3, 64)
def test_broken_arrays_fare_the_same_whatever_the_block_size_and_lose_nothing(
    inside: bytes, block: int, limit: int
) -> None:
    text = b"[" + inside
    records, error = outcome(text, block, limit)
    assert (records, error) == outcome(text, 2**20, limit)
    if not error:
        rebuilt = b"[" + b",".join(records) + b"]"
        assert rebuilt.translate(None, BLANK) == text.translate(None, BLANK)


@given(st.text('[]{},"\\ 1a:\n', max_size=40))
def test_whatever_python_takes_for_an_array_is_cut_without_complaint(inside: str) -> None:
    try:
        values = json.loads(f"[{inside}")
    except ValueError:
        return
    assert [json.loads(text) for text in elements_of(f"[{inside}".encode(), 3)] == values


@pytest.mark.parametrize(
    ("text", "rows", "message"),
    [
        ("", 0, r"in\.json is empty: an array without elements is written \[\]"),
        (" \n ", 0, "is empty"),
        ('{"a": 1}\n{"a": 2}\n', 0, 'holds no JSON array: it begins with .*pass format="jsonl"'),
        ("[", 0, "ends within row 1: its array is not closed"),
        ('[{"a": 1}, {"a": 2}', 1, "ends within row 2: its array is not closed"),
        ('[{"a": 1}, {"a": 2}, ', 2, "ends within row 3"),
        ('[{"a": 1}, {"a": "2}]', 1, "ends within row 2"),
        ('[{"a": 1}, {"a": [2}, {}]', 1, "ends within row 2"),
        ('[{"a": 1} {"a": 2}]', 0, "row 1 is not one JSON value; is a comma"),
        ("[1, 2 3, 4]", 1, "row 2 is not one JSON value"),
        ('["a" "b"]', 0, "row 1 is not one JSON value"),
        ('["a": 1]', 0, "row 1 is not one JSON value"),
        ("[{}, 5 {}]", 1, "row 2 is not one JSON value"),
        ("[{}, {} 5]", 1, "row 2 is not one JSON value"),
        ("[1, 2, ]", 2, "there is no value for row 3: a comma too many"),
        ("[, 1]", 0, "there is no value for row 1"),
        ("[,]", 0, "there is no value for row 1"),
        ("[1,, 2]", 1, "there is no value for row 2"),
        ("[1, 2}", 2, "the array is closed by '}' after row 2"),
        ("[1, 2]]", 2, "text follows the closing bracket of the array, after row 2"),
        ("[1]\n[2]\n", 1, 'text follows .* pass format="jsonl"'),
        ('[{"a": 1}}, {}]', 1, "the array is closed by '}'"),
    ],
)
@pytest.mark.parametrize("block", [1, 7, 2**20])
def test_a_broken_array_is_an_error_that_names_the_row(text: str, rows: int, message: str, block: int) -> None:
    seen: list[bytes] = []
    with pytest.raises(CorruptSourceError, match=message):
        seen.extend(each_text(array_records(io.BytesIO(text.encode()), "in.json", block, 2**20)))
    assert len(seen) == rows


def test_an_element_with_wrong_brackets_inside_is_a_row_for_validation_to_reject() -> None:
    assert elements_of(b'[{"a": [1}}, tru, {"b": 2}]') == [b'{"a": [1}}', b"tru", b'{"b": 2}']


def test_an_empty_array_has_no_rows() -> None:
    assert elements_of(b"[]") == elements_of(b" [ \n ] \n") == elements_of(b"[ ]", 1) == []


@pytest.mark.parametrize("block", [1, 3, 2**20])
def test_a_longer_element_than_allowed_is_named(block: int) -> None:
    text = b'[{}, \n "12345678", {}]'
    assert elements_of(text, block, limit=10) == [b"{}", b'"12345678"', b"{}"]
    with pytest.raises(RecordTooLongError, match=r"in\.json: row 2 is longer than 9 bytes"):
        elements_of(text, block, limit=9)


def test_blanks_between_elements_are_not_kept_in_memory() -> None:
    assert elements_of(b"[" + b" " * 10_000 + b"1," + b"\n" * 10_000 + b"2]", block=64, limit=100) == [b"1", b"2"]


class Endless(io.RawIOBase):
    """A long stream of records that is nowhere kept."""

    def __init__(self, start: bytes, record: bytes, count: int) -> None:
        self._pieces = chain([start], repeat(record, count), [b"0]"])

    def read(self, size: int = -1, /) -> bytes:
        return next(self._pieces, b"")


@pytest.mark.parametrize(("cut", "start", "end"), [(line_records, b"\n", b"\n"), (array_records, b"[", b",")])
def test_a_large_file_is_never_held_in_memory(cut: Callable[..., Iterator[pa.Array]], start: bytes, end: bytes) -> None:
    record = json.dumps({"text": "x" * 10_000}).encode() + end
    tracemalloc.start()
    rows = sum(len(array) for array in cut(Endless(start, record, 5_000), "in", 2**20, 2**26))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 5_001
    assert peak < 10 * 2**20
