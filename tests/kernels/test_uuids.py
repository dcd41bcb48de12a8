"""UUIDs from text: whatever the kernel accepts is what pydantic makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.kernels.conftest import Column, RunKernel, byte_column
from tests.kernels.disturbed import SEED, disturbed_column, near_misses
from zoopipe_core.kernels._jit import SURE, UNSURE
from zoopipe_core.kernels.uuids import parse_uuid

ONE = "12345678-1234-5678-1234-56781234abcd"
PLAIN = [ONE, ONE.upper(), ONE.replace("-", ""), "AbCdEf" * 5 + "09", "0" * 32, "f" * 32, str(UUID(int=0))]
OTHERS = [
    "", "-", ONE[:-1], ONE + "0", "{" + ONE + "}", "urn:uuid:" + ONE, " " + ONE, ONE + "\n", ONE[:-1] + "g",
    ONE[:-1] + "G", ONE.replace("-", "_"), ONE.replace("-", ""). replace("1", "/"), ONE.replace("1", ":"),
    ONE.replace("a", "`"), ONE.replace("a", "@"), "1234567-81234-5678-1234-56781234abcd", "0" * 36, "0" * 31 + "-",
    "0" * 31 + "\x10", "0" * 31 + "\x19", "0" * 30 + "é", "0" * 30 + "٣", ONE.replace("-", "−"), "0" * 31 + "\x00",
    "12345678-12345678-1234567812345678", "a" * 16, "0" * 16,
]  # fmt: skip

uuids = st.builds(
    lambda value, plain, upper: getattr(value.hex if plain else str(value), "upper" if upper else "lower")(),
    st.uuids(),
    st.booleans(),
    st.booleans(),
)


def run(run_kernel: RunKernel, column: Column) -> tuple[list[bytes], list[bool]]:
    """The sixteen bytes of each UUID, and whether they are sure."""
    count = len(column[1])
    out, state = np.zeros(16 * count, np.uint8), np.zeros(count, np.uint8)
    run_kernel(parse_uuid, *column, out, state)
    assert set(state.tolist()) <= {SURE, UNSURE}
    whole = out.tobytes()
    return [whole[at : at + 16] for at in range(0, len(whole), 16)], (state == SURE).tolist()


def run_texts(run_kernel: RunKernel, texts: Sequence[str]) -> tuple[list[bytes], list[bool]]:
    return run(run_kernel, byte_column([text.encode("utf-8", "surrogatepass") for text in texts]))


def assert_pydantic_agrees(texts: Sequence[str], values: Sequence[bytes], sure: Sequence[bool]) -> None:
    accepted = [(text, value) for text, value, certain in zip(texts, values, sure, strict=True) if certain]
    judged = TypeAdapter(list[UUID]).validate_python([text for text, _ in accepted])
    for (text, value), expected in zip(accepted, judged, strict=True):
        assert value == expected.bytes, f"{text!r}, seed {SEED}"


def test_plain_spellings_are_sure(run_kernel: RunKernel) -> None:
    values, sure = run_texts(run_kernel, PLAIN)
    assert all(sure)
    assert_pydantic_agrees(PLAIN, values, sure)


def test_all_others_are_left_to_pydantic(run_kernel: RunKernel) -> None:
    _, sure = run_texts(run_kernel, OTHERS)
    assert [text for text, certain in zip(OTHERS, sure, strict=True) if certain] == []


@given(texts=st.lists(near_misses(uuids, "09afAFgG-/:@`{}_ \x10\x19"), max_size=20))
def test_an_accepted_text_has_pydantics_value(texts: list[str], run_kernel: RunKernel) -> None:
    assert_pydantic_agrees(texts, *run_texts(run_kernel, texts))


@given(texts=st.lists(uuids))
def test_every_uuid_is_sure(texts: list[str], run_kernel: RunKernel) -> None:
    values, sure = run_texts(run_kernel, texts)
    assert all(sure)
    assert values == [UUID(text).bytes for text in texts]


def test_no_other_byte_passes_for_a_digit(run_kernel: RunKernel) -> None:
    cells = [
        text[:at] + bytes([byte]) + text[at + 1 :]
        for text in (ONE.encode(), b"1" * 32)
        for at in (0, 7, 9, 17, 20, 27, 31, len(text) - 1)
        for byte in range(256)
    ]
    values, sure = run(run_kernel, byte_column(cells))
    digits = b"0123456789abcdefABCDEF"
    assert sum(sure) == len(digits) * 16
    assert_pydantic_agrees([cell.decode("latin-1") for cell in cells], values, sure)


def test_among_many_disturbed_texts_none_is_mistaken(run_compiled: RunKernel) -> None:
    raw = np.random.default_rng(SEED).bytes(16 * 150_000)
    values = [UUID(bytes=raw[at : at + 16]) for at in range(0, len(raw), 16)]
    spellings = (str, lambda value: value.hex, lambda value: str(value).upper())
    texts = [spellings[index % 3](value) for index, value in enumerate(values)]
    column = disturbed_column([text.encode() for text in texts], b"09afAFgG-/:@`{}_ ")
    data, starts, ends = column
    whole = data.tobytes().decode()
    cells = [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
    found, sure = run(run_compiled, column)
    assert_pydantic_agrees(cells, found, sure)
    assert sum(sure) > 75_000


def test_cells_that_are_not_sure_on_entry_are_passed_over(run_kernel: RunKernel) -> None:
    out, state = np.full(64, 99, np.uint8), np.array([UNSURE, SURE, UNSURE, SURE], np.uint8)
    run_kernel(parse_uuid, *byte_column([ONE.encode(), ONE.encode(), b"?", b"?"]), out, state)
    assert state.tolist() == [UNSURE, SURE, UNSURE, UNSURE]
    assert out[:16].tolist() == [99] * 16
    assert out[32:48].tolist() == [99] * 16


def test_a_column_may_be_empty(run_kernel: RunKernel) -> None:
    assert run_texts(run_kernel, []) == ([], [])


def test_cells_may_lie_anywhere_between_other_bytes(run_kernel: RunKernel) -> None:
    whole = f"20{ONE}1{ONE}".encode()
    starts = np.array([39, 2, 1, len(whole)], np.int32)
    ends = np.array([75, 38, 1, len(whole)], np.int32)
    values, sure = run(run_kernel, (np.frombuffer(whole, np.uint8), starts, ends))
    assert sure == [True, True, False, False]
    assert values[:2] == [UUID(ONE).bytes] * 2
