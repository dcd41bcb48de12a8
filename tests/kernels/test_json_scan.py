"""JSON lines: SURE are those of which pydantic sees just these keys and values, and all that are plain."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydantic_core import from_json

from tests.kernels.conftest import Column, RunKernel, byte_column
from tests.kernels.disturbed import SEED
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.buffers import text_cells
from zoopipe_core.kernels.json_scan import scan_objects
from zoopipe_core.kernels.json_tokens import (
    ABSENT,
    DEEPEST,
    ESCAPED,
    FALSE,
    INTEGER,
    NESTED,
    NULL,
    NUMBER,
    STRING,
    TRUE,
)
from zoopipe_core.kernels.text import word_table

KEYS = ["a", "ab", "", "user_id", "user_ids", "é", "a_key_of_17_bytes", "a_key_of_17_bytez", 'q"k', "b\\k", "n\nk"]
"""Keys that are the beginning of others, of every length that is compared in its own way, and some to be escaped."""
BARE_KEYS = [key for key in KEYS if json.dumps(key, ensure_ascii=False)[1:-1] == key]
OTHER_KEYS = ["b", "abc", "user_i", "a_key_of_17_byte", "日", "x" * 40]
LONGEST_NUMBER = 4300

Cell = tuple[int, bytes]
"""Its kind, and its text in the line; the empty text where it is absent."""


class Scanned(NamedTuple):
    """What was found in a line: the cells of the wanted keys, and whether there are other keys."""

    cells: dict[str, Cell]
    extra: bool


def outputs_for(keys: Sequence[str], count: int) -> list[Any]:
    """`follows`, `cell_starts`, `cell_ends`, `kinds` and `extras`, with rubbish in them."""
    size = len(keys) * count
    follows = np.full(len(keys) + 1, 1 << 30, np.int32)
    bounds = [np.full(size, 1 << 30, np.int32) for _ in range(2)]
    return [follows, *bounds, np.full(size, 77, np.uint8), np.full(count, 77, np.uint8)]


def scan_column(
    run_kernel: RunKernel, column: Column, state: np.ndarray[Any, Any], keys: Sequence[str] = KEYS
) -> list[Scanned | None]:
    """What is found in each line, None if it is not SURE. `state` is written to."""
    data, count = column[0].tobytes(), len(state)
    follows, starts, ends, kinds, extras = outputs_for(keys, count)
    table = word_table([key.encode() for key in keys])
    run_kernel(scan_objects, *column, *table, follows, starts, ends, kinds, extras, state)
    assert (starts >= 0).all()
    assert (starts <= ends).all()
    assert (ends <= len(data)).all()
    found: list[Scanned | None] = []
    for i in range(count):
        cells = {}
        for k, key in enumerate(keys):
            cell = k * count + i
            cells[key] = int(kinds[cell]), data[starts[cell] : ends[cell]]
        found.append(Scanned(cells, bool(extras[i])) if state[i] == SURE else None)
    return found


def scan(run_kernel: RunKernel, lines: Sequence[bytes], keys: Sequence[str] = KEYS) -> list[Scanned | None]:
    return scan_column(run_kernel, byte_column(lines), np.full(len(lines), SURE, np.uint8), keys)


# ---- what pydantic sees

judge = TypeAdapter(dict[str, Any]).validate_json


class Token(str):
    """The text of a number or of the name of one."""


def expected(line: bytes, keys: Sequence[str] = KEYS) -> Scanned | None:
    """What is to be found in a line, by pydantic's word and the texts that Python's parser sees; None if not SURE.

    In the place of the text of nested values and of strings, which may have escapes, stands what they mean.
    """
    try:
        value = judge(line)
    except ValueError:
        return None
    constants: list[str] = []

    def note(name: str) -> Token:
        constants.append(name)
        return Token(name)

    pairs: list[tuple[str, Any]] = json.loads(
        line.decode(),
        object_pairs_hook=lambda found: found,
        parse_int=Token,
        parse_float=Token,
        parse_constant=note,
    )
    cells: dict[str, Cell] = dict.fromkeys(keys, (ABSENT, b""))
    wanted = [key for key, _ in pairs if key in cells]
    if constants or len(wanted) != len(set(wanted)):
        return None
    for key, seen in pairs:
        if isinstance(seen, Token) and (seen == "-0" or len(seen) > LONGEST_NUMBER):
            return None
        if key in cells:
            cells[key] = cell_of(value[key], seen)
    return Scanned(cells, len(wanted) < len(pairs))


def cell_of(value: Any, seen: Any) -> Cell:
    """The cell of a value that pydantic sees, whose text is seen by Python if it is a number or string."""
    if value is None:
        return NULL, b"null"
    if isinstance(value, bool):
        return (TRUE, b"true") if value else (FALSE, b"false")
    if isinstance(value, int):
        assert int(seen) == value
        return INTEGER, seen.encode()
    if isinstance(value, float):
        assert repr(float(seen)) == repr(value)
        return NUMBER, seen.encode()
    if isinstance(value, str):
        assert seen == value
        return STRING, seen.encode()
    return NESTED, repr(value).encode()


def meaning(scanned: Scanned | None) -> Scanned | None:
    """The same with what nested values and strings with escapes mean in the place of their text."""
    if scanned is None:
        return None
    cells = {}
    for key, (kind, text) in scanned.cells.items():
        if kind == ESCAPED:
            assert b"\\" in text
            kind, text = STRING, from_json(b'"%s"' % text).encode()
        elif kind == NESTED:
            text = repr(from_json(text)).encode()
        cells[key] = kind, text
    return Scanned(cells, scanned.extra)


def assert_as_expected(lines: Sequence[bytes], found: Sequence[Scanned | None]) -> None:
    for line, scanned in zip(lines, found, strict=True):
        plain = b"\\" not in line and b"[" not in line and line.count(b"{") < 2
        if plain or scanned is not None:  # others may be left to pydantic
            assert meaning(scanned) == expected(line), f"seed {SEED}: {line!r}"


# ---- lines

bare_text = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters='"\\'), max_size=20)
digits = st.text("0123456789", max_size=20)
whole = st.integers(0, 10**6).map(str) | st.builds(
    lambda first, rest: first + rest, st.sampled_from("123456789"), digits
)
number = st.builds(
    lambda *parts: "".join(parts),
    st.sampled_from(["", "-"]),
    whole,
    st.just("") | digits.map(lambda text: f".{text or 0}"),
    st.just("") | st.builds(lambda e, text: e + text, st.sampled_from(["e", "E", "e+", "E-"]), digits.filter(bool)),
).filter(lambda text: text != "-0")
token = st.sampled_from(["null", "true", "false"]) | number | bare_text.map(lambda text: f'"{text}"')
space = st.just("") | st.text(" \t\r\n", max_size=3)
SPACES_PER_PAIR = 4


def write_line(pairs: Sequence[tuple[str, str]], spaces: Sequence[str]) -> bytes:
    """An object of keys and the texts of their values, with the spaces between the tokens."""
    gap = iter(spaces)
    body = ",".join(f'{next(gap)}"{key}"{next(gap)}:{next(gap)}{text}{next(gap)}' for key, text in pairs)
    return f"{next(gap)}{{{body or next(gap)}}}{next(gap)}".encode()


@st.composite
def plain_lines(draw: st.DrawFn) -> bytes:
    """Flat objects without escapes and doubled keys."""
    keys = draw(st.lists(st.sampled_from(BARE_KEYS + OTHER_KEYS), max_size=8, unique=True))
    size = SPACES_PER_PAIR * len(keys) + 3
    spaces = draw(st.just([""] * size) | st.just([" "] * size) | st.lists(space, min_size=size, max_size=size))
    return write_line([(key, draw(token)) for key in keys], spaces)


PIECES = [
    *(bytes([byte]) for byte in b'{}[]":,\\/ \t\r\n\x0b\x0c\x00\x1f\x7f\x80\xc3\xa9\xff+-.0159eEnulltruefalsINaxy_#'),
    b'"a":1', b',"a":1', b',"b":2', b",,", b'""', b"\\u0041", b"\\ud800", b"\\ud83d\\ude00", b'\\"', b"\\n", b"\\x",
    b"\\u00g0", b"\xc3\xa9", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xef\xbb\xbf", b"NaN", b"Infinity", b"-Infinity",
    b"null", b"true", b"false", b"{}", b"[]", b"[1]", b'{"a":[2]}', b"-0", b"-0.0",
    b"00", b"0.5", b"1e5", b"1" * 18, b"'",
]  # fmt: skip


def disturb(line: bytes, at: int, removed: int, piece: bytes) -> bytes:
    at %= len(line) + 1
    return line[:at] + piece + line[at + removed :]


escaped_text = st.lists(
    bare_text
    | st.sampled_from([r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t"])
    | st.sampled_from([r"\u0000", r"\uD7fF", r"\ue000", r"\uffff"])
    | st.characters(codec="utf-8").map(lambda character: json.dumps(character)[1:-1]),
    max_size=6,
).map("".join)
escaped_token = token | escaped_text.map(lambda text: f'"{text}"')


def _brackets(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Arrays and objects of `values`."""
    pairs = st.builds('{0}"{2}"{0}:{1}{3}'.format, space, space, escaped_text, values)
    return st.builds("[{1}{0}]".format, space, st.lists(values, max_size=3).map(",".join)) | st.builds(
        "{{{1}{0}}}".format, space, st.lists(pairs, max_size=3).map(",".join)
    )


nested_token = _brackets(st.recursive(escaped_token, _brackets, max_leaves=6))


@st.composite
def rich_lines(draw: st.DrawFn) -> bytes:
    """Objects with escapes in their strings, and values nested in each other."""
    keys = draw(st.lists(st.sampled_from(BARE_KEYS + OTHER_KEYS), max_size=6, unique=True))
    return write_line(
        [(key, draw(escaped_token | nested_token)) for key in keys], [""] * (SPACES_PER_PAIR * len(keys) + 3)
    )


disturbed_lines = st.builds(
    disturb,
    plain_lines() | rich_lines(),
    st.integers(0, 200),
    st.integers(0, 3),
    st.just(b"") | st.sampled_from(PIECES),
)


def random_lines(count: int, pieces_per_line: int) -> list[bytes]:
    """Lines as data has them, and some bytes of each replaced, taken out or put in; a new set each day."""
    rng = np.random.default_rng(SEED)
    texts = [
        "",
        "US",
        "Ann",
        "ann@example.com",
        "2024-02-29",
        "Zoë",
        "日本語 text",
        "x" * 30,
        "a\tb",
        'say "hi"',
        "\ud7ff",
    ]
    values = [None, True, False, 0, 7, -1, 12345, 2**63, 10**30, 0.5, -0.0, 12345.67, 10.357019999999999, 1e300, *texts]
    keys = BARE_KEYS + OTHER_KEYS
    lines = []
    for _ in range(count):
        chosen = rng.choice(len(keys), rng.integers(0, 7), replace=False)
        row = {keys[k]: values[rng.integers(len(values))] for k in chosen}
        separators = [(",", ":"), (", ", ": ")][rng.integers(2)]
        line = json.dumps(row, separators=separators, ensure_ascii=bool(rng.integers(8) == 0)).encode()
        for _ in range(pieces_per_line):
            at, removed, piece = rng.integers(len(line) + 1), rng.integers(3), PIECES[rng.integers(len(PIECES))]
            line = disturb(line, int(at), int(removed), piece)
        lines.append(line)
    return lines


# ---- verdicts


@given(lines=st.lists(plain_lines(), max_size=6))
def test_a_plain_flat_line_is_sure(lines: list[bytes], run_kernel: RunKernel) -> None:
    found = scan(run_kernel, lines)
    assert None not in found
    assert found == [expected(line) for line in lines]


@given(lines=st.lists(rich_lines(), max_size=6))
def test_a_line_with_escapes_and_nested_values_is_sure(lines: list[bytes], run_kernel: RunKernel) -> None:
    found = scan(run_kernel, lines)
    assert None not in found
    assert [meaning(scanned) for scanned in found] == [expected(line) for line in lines]


@given(lines=st.lists(disturbed_lines, max_size=6))
@example(lines=[b'{"a":1}', b'{"a":01}', b'{"a":-0}', b'{"a":-0.0}', b'{"b":-0}'])
@example(lines=[b'{"a":1}', b'{"q"k":1}', b'{"b\\k":1}', b'{"n\nk":1}'])
def test_a_disturbed_line_is_sure_only_if_pydantic_sees_the_same(lines: list[bytes], run_kernel: RunKernel) -> None:
    assert_as_expected(lines, scan(run_kernel, lines))


@pytest.mark.parametrize("pieces", [0, 1, 2, 4])
def test_many_disturbed_lines_are_judged_as_by_pydantic(pieces: int, run_compiled: RunKernel) -> None:
    lines = random_lines(30_000, pieces)
    found = scan(run_compiled, lines)
    assert_as_expected(lines, found)
    sure = sum(scanned is not None for scanned in found)
    assert sure > 100
    assert sure < len(lines) - 100


ABSENCE = (ABSENT, b"")


@pytest.mark.parametrize(
    ("line", "cell"),
    [
        (b"{}", ABSENCE),
        (b" \t\r\n{ \t\r\n} \t\r\n", ABSENCE),
        (b' { "a" : null } ', (NULL, b"null")),
        (b'{"a":true}', (TRUE, b"true")),
        (b'{"a":false}', (FALSE, b"false")),
        (b'{"a":0}', (INTEGER, b"0")),
        (b'{"a":-7}', (INTEGER, b"-7")),
        (b'{"a":123456789012345678901234567890}', (INTEGER, b"123456789012345678901234567890")),
        (b'{"a":0.5}', (NUMBER, b"0.5")),
        (b'{"a":-0.0}', (NUMBER, b"-0.0")),
        (b'{"a":0e0}', (NUMBER, b"0e0")),
        (b'{"a":10.357019999999999}', (NUMBER, b"10.357019999999999")),
        (b'{"a":1E+400}', (NUMBER, b"1E+400")),
        (b'{"a":""}', (STRING, b"")),
        (b'{"a":"\x7f /\'"}', (STRING, b"\x7f /'")),
        ('{"a":"é日😀"}'.encode(), (STRING, "é日😀".encode())),
        (b'{"a":"{\'a\':1},["}', (STRING, b"{'a':1},[")),
        (b'{"a":"\\n"}', (ESCAPED, b"\\n")),
        (b'{"a":"x\\\\"}', (ESCAPED, b"x\\\\")),
        (b'{"a":"\\ud83d\\ude00 \\u0000"}', (ESCAPED, b"\\ud83d\\ude00 \\u0000")),
        (b'{"a":{}}', (NESTED, b"{}")),
        (b'{"a":[ ] }', (NESTED, b"[ ]")),
        (b'{"a":[1,[{"a":"]"}],"}"]}', (NESTED, b'[1,[{"a":"]"}],"}"]')),
        (b'{"a":{"a":1,"a":2}}', (NESTED, b'{"a":1,"a":2}')),
    ],
)
def test_a_value_is_found_with_its_kind_and_text(line: bytes, cell: Cell, run_kernel: RunKernel) -> None:
    assert scan(run_kernel, [line], ["a", "b"]) == [Scanned({"a": cell, "b": ABSENCE}, False)]
    assert_as_expected([line], scan(run_kernel, [line]))
    assert expected(line) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"", b" ", b"{", b"}", b"null", b"[]", b'[{"a":1}]', b'"a"', b"{}{}", b"{},", b"{} x", b"\xef\xbb\xbf{}",
        b'{"a":1,}', b'{,"a":1}', b'{"a":1,,"b":2}', b'{"a":1 "b":2}', b'{"a" 1}', b'{"a"::1}', b'{"a":}', b'{"a"}',
        b"{a:1}", b"{'a':1}", b'{"a":1]', b'{"a":1}}', b'{"a":1}\x00', b'{\x0b"a":1}', b'{"a":\xc2\xa01}',
        b'{"a":01}', b'{"a":+1}', b'{"a":1.}', b'{"a":.5}', b'{"a":-}', b'{"a":-a}', b'{"a":1e}', b'{"a":1e+}',
        b'{"a":1.e5}', b'{"a":1.5.5}', b'{"a":0x1}', b'{"a":1_0}', b'{"a":--1}', b'{"a":-01}', b'{"a":-0}',
        b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"a":nul}', b'{"a":True}', b'{"a":nulll}',
        b'{"a":"\n"}', b'{"a":"\x00"}', b'{"a":"\x1f"}', b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"\xff":1}',
        b'{"a":"x}', b'{"a:1}', b'{"a":"\\a"}', b'{"\\u0061":1}', b'{"a":"x\\"}', b'{"z":"\\x"}', b'{"z":"\\ud800"}',
        b'{"z":"\\u12"}', b'{"z":"\\', b'{"a":1,"a":2}', b'{"a":1,"b":2,"a":1}', b'{"a":"\\ud83d"}',
        b'{"a":"\\ude00"}', b'{"a":"\\ud83d\\u0041"}', b'{"a":"\\ud83dx"}', b'{"a":"\\ud83d\\ud83d"}',
        b'{"a":"\\ud83d\\n"}', b'{"a":[}', b'{"a":[1}', b'{"a":{]}', b'{"a":[1,]}', b'{"a":[,1]}', b'{"a":[1 2]}',
        b'{"a":{1:2}}', b'{"a":{"b"}}', b'{"a":{"b":}}', b'{"a":[1]]}', b'{"z":{"b":1,}}', b'{"z":[01]}',
        b'{"z":[NaN]}', b'{"z":["\\ud800"]}', b'{"z":["\xff"]}', b'{"z":[tru]}', b'{"z":[-0]}', b'{"z":{"b" 1}}',
        b'{"z":["x]}', b'{"z":[:]}', b'{"z":{"b":1 "c":2}}', b'{"z":[1}]}', b'{"z":{null:1}}', b'{"z":{[]:1}}',
    ],
)  # fmt: skip
def test_an_odd_line_is_not_sure(line: bytes, run_kernel: RunKernel) -> None:
    plain = b'{"a":1}'
    assert [scanned is None for scanned in scan(run_kernel, [plain, line, plain], ["a", "b"])] == [False, True, False]


@pytest.mark.parametrize("line", [b'{"z":"\\"\\\\\\/\\b\\f\\n\\r\\t","a":1}', b'{"z":"\\u00e9\\uD7fF\\ue000x","a":1}'])
def test_escapes_of_a_string_that_is_not_wanted_do_not_matter(line: bytes, run_kernel: RunKernel) -> None:
    assert set(from_json(line)) == {"z", "a"}
    assert scan(run_kernel, [line], ["a"]) == [Scanned({"a": (INTEGER, b"1")}, True)]


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"b":', b"}")], ids=["arrays", "objects"])
def test_values_are_followed_down_to_a_depth_that_pydantic_follows(
    brackets: tuple[bytes, bytes], run_kernel: RunKernel
) -> None:
    lines = [b'{"a":%s1%s}' % (brackets[0] * depth, brackets[1] * depth) for depth in (1, 2, DEEPEST, DEEPEST + 1)]
    assert [scanned is not None for scanned in scan(run_kernel, lines, ["a"])] == [True, True, True, False]
    for line in lines:
        from_json(line)


def test_a_doubled_key_that_is_not_wanted_does_not_matter(run_kernel: RunKernel) -> None:
    assert scan(run_kernel, [b'{"z":1,"a":1,"z":2}'], ["a"]) == [Scanned({"a": (INTEGER, b"1")}, True)]


def test_numbers_are_sure_up_to_the_length_that_pydantic_takes(run_kernel: RunKernel) -> None:
    most = b"1" * LONGEST_NUMBER
    lines = [b'{"a":%s}' % text for text in (most, most + b"1", b"-" + most[1:], b"-" + most, most[2:] + b".1")]
    found = scan(run_kernel, lines, ["a"])
    assert [scanned is not None for scanned in found] == [True, False, True, False, True]
    for line, scanned in zip(lines, found, strict=True):
        if scanned is not None:
            from_json(line)
    with pytest.raises(ValueError, match="out of range"):
        from_json(lines[1])


def test_every_byte_at_every_place_of_a_string_is_judged_as_by_pydantic(run_compiled: RunKernel) -> None:
    lines = []
    for size in range(1, 19):
        for at in range(size):
            text = b"x" * size
            lines += [b'{"a":"%s"}' % (text[:at] + bytes([byte]) + text[at + 1 :]) for byte in range(256)]
    assert_as_expected(lines, scan(run_compiled, lines))


def test_every_byte_at_every_place_of_a_number_is_judged_as_by_pydantic(run_compiled: RunKernel) -> None:
    lines = []
    for number in (
        b"1",
        b"12",
        b"-1",
        b"0.5",
        b"-0.5",
        b"1e5",
        b"12345678",
        b"1234567.12345678",
        b"1.5e-10",
        b"123456789",
    ):
        for at in range(len(number)):
            lines += [b'{"a":%s}' % (number[:at] + bytes([byte]) + number[at + 1 :]) for byte in range(256)]
            lines += [b'{"a":%s,"b":1}' % (number[:at] + bytes([byte]) + number[at:]) for byte in range(256)]
    assert_as_expected(lines, scan(run_compiled, lines))


# ---- keys


@given(data=st.data(), count=st.integers(1, 6))
def test_keys_are_found_in_any_order_of_any_line(data: st.DataObject, count: int, run_kernel: RunKernel) -> None:
    orders = data.draw(st.lists(st.permutations(BARE_KEYS + OTHER_KEYS[:2]), min_size=1, max_size=2))
    lines = []
    for i in range(count):
        keys = orders[data.draw(st.integers(0, len(orders) - 1))]
        left_out = data.draw(st.sets(st.sampled_from(keys), max_size=3))
        lines.append(json.dumps({key: i for key in keys if key not in left_out}, ensure_ascii=False).encode())
    found = scan(run_kernel, lines)
    assert None not in found
    assert found == [expected(line) for line in lines]


def test_of_many_keys_each_is_found_and_no_other(run_compiled: RunKernel) -> None:
    keys = [f"key_{number:0{4 + number % 9}}" for number in range(300)]
    row = {key: number for number, key in enumerate(keys)}
    others = {key[:-1] + "x": 1 for key in keys}
    lines = [json.dumps(object_).encode() for object_ in (row, others, dict(reversed(row.items())), row | others)]
    whole_row = {key: (INTEGER, str(number).encode()) for key, number in row.items()}
    nothing = dict.fromkeys(keys, ABSENCE)
    assert scan(run_compiled, lines, keys) == [
        Scanned(whole_row, False),
        Scanned(nothing, True),
        Scanned(whole_row, False),
        Scanned(whole_row, True),
    ]


def test_without_wanted_keys_a_line_is_judged_all_the_same(run_kernel: RunKernel) -> None:
    assert scan(run_kernel, [b"{}", b'{"a":1}', b'{"a":1'], []) == [Scanned({}, False), Scanned({}, True), None]


def test_a_key_that_needs_an_escape_is_never_taken_for_found(run_kernel: RunKernel) -> None:
    keys = ['q"k', "b\\k", "n\nk"]
    escaped = [json.dumps({key: 1}).encode() for key in keys]
    raw = [b'{"%s":1}' % key.encode() for key in keys]
    assert scan(run_kernel, [*escaped, *raw, *escaped, *raw], keys) == [None] * 12


# ---- columns

LINES = [
    b'{"a":1,"b":"x"}',
    b'{"b":"a longer text","a":-12.5}',
    b'{"a":true}',
    b'{"b":null , "a":1234567890123}',
    b'{"a":[{"c":[true,"]\\n"]}],"b":"\\u00e9\\ud83d\\ude00"}',
]


def test_a_line_cut_anywhere_is_not_sure_whatever_comes_behind(run_kernel: RunKernel) -> None:
    for line in LINES:
        for behind in (line, b"", b"1", b'"}', b"}"):
            for cut in range(len(line)):
                rest = line[cut:] if behind is line else behind
                data = np.frombuffer(line[:cut] + rest, np.uint8)
                column = data, np.array([0], np.int32), np.array([cut], np.int32)
                assert scan_column(run_kernel, column, np.zeros(1, np.uint8)) == [None], (line, cut, rest)


def test_lines_may_lie_anywhere_between_other_bytes(run_kernel: RunKernel) -> None:
    column = byte_column([b'{"a":"', LINES[0], b'"}', LINES[1], b'{"a":"'])
    order = np.array([3, 1, 1])
    shuffled = column[0], column[1][order].copy(), column[2][order].copy()
    found = scan_column(run_kernel, shuffled, np.zeros(3, np.uint8), ["a", "b"])
    assert found == scan(run_kernel, [LINES[1], LINES[0], LINES[0]], ["a", "b"])
    assert None not in found


def test_a_sliced_column_with_nulls_is_read_and_its_nulls_passed_over(run_kernel: RunKernel) -> None:
    array = pa.array([b"{", LINES[0], None, LINES[1], b"}"], pa.binary()).slice(1, 3)
    cells = text_cells(array)
    found = scan_column(run_kernel, (cells.data, cells.starts, cells.ends), cells.fresh_state())
    assert found == [expected(LINES[0]), None, expected(LINES[1])]


def test_doubt_is_never_taken_back(run_kernel: RunKernel) -> None:
    state = np.array([UNSURE, SURE, UNSURE], np.uint8)
    found = scan_column(run_kernel, byte_column([LINES[0]] * 3), state)
    assert found == [None, expected(LINES[0]), None]


def test_a_column_may_be_empty(run_kernel: RunKernel) -> None:
    assert scan(run_kernel, []) == []


def test_compiled_and_as_python_it_writes_the_same(run_compiled: RunKernel) -> None:
    column = byte_column(random_lines(3000, 1))
    table = word_table([key.encode() for key in KEYS])
    written = []
    for run in (run_compiled, lambda kernel, *arrays: kernel.function(*arrays)):
        outputs = [*outputs_for(KEYS, len(column[1])), np.zeros(len(column[1]), np.uint8)]
        run(scan_objects, *column, *table, *outputs)
        written.append(outputs)
    for compiled, plain in zip(*written, strict=True):
        assert np.array_equal(compiled, plain)
