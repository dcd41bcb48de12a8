"""Escapes in JSON strings: what is written for them is what Python's parser reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from tests.kernels.conftest import RunKernel, byte_column
from zoopipe_core.kernels._jit import SURE
from zoopipe_core.kernels.buffers import text_cells
from zoopipe_core.kernels.json_strings import unescape_cells
from zoopipe_core.kernels.json_tokens import ESCAPED, STRING

Column = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def unescape(run_kernel: RunKernel, column: Column, kinds: Sequence[int]) -> list[bytes | None]:
    """The text of each cell; None where the kernel is not sure."""
    count = len(kinds)
    out = np.zeros(int((column[2] - column[1]).sum()), np.uint8)
    offsets, state = np.full(count + 1, 77, np.int32), np.zeros(count, np.uint8)
    run_kernel(unescape_cells, *column, np.array(kinds, np.uint8), out, offsets, state)
    assert offsets[0] == 0
    assert (np.diff(offsets) >= 0).all()
    assert offsets[-1] <= len(out)
    text = out.tobytes()
    bounds = zip(offsets[:-1].tolist(), offsets[1:].tolist(), state.tolist(), strict=True)
    return [text[start:end] if sure == SURE else None for start, end, sure in bounds]


def json_text(text: str, ascii_only: bool) -> bytes:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(cells=st.lists(st.tuples(texts, st.booleans()), max_size=8))
def test_escapes_are_replaced_by_what_they_mean(cells: list[tuple[str, bool]], run_kernel: RunKernel) -> None:
    column = byte_column([json_text(*cell) for cell in cells])
    assert unescape(run_kernel, column, [ESCAPED] * len(cells)) == [text.encode() for text, _ in cells]


def test_every_code_point_is_written_as_utf8(run_compiled: RunKernel) -> None:
    points = [chr(code) for code in range(0x11_0000) if not 0xD800 <= code < 0xE000]
    wanted = "".join(points).encode()
    column = byte_column([json_text("".join(points), ascii_only=True)])
    assert unescape(run_compiled, column, [ESCAPED]) == [wanted]


@pytest.mark.parametrize("upper", [False, True])
def test_every_code_unit_in_either_case_is_judged_as_by_pydantic(upper: bool, run_compiled: RunKernel) -> None:
    cells = [b"\\u" + (b"%04X" if upper else b"%04x") % code for code in range(0x1_0000)]
    for cell, text in zip(cells, unescape(run_compiled, byte_column(cells), [ESCAPED] * len(cells)), strict=True):
        try:
            wanted = from_json(b'"%s"' % cell).encode()
        except ValueError:
            wanted = None
        assert text == wanted, cell


@pytest.mark.parametrize(
    "cell",
    [b"\\", b"\\x", b"\\u", b"\\u12", b"\\u00g0", b"\\ud83d", b"\\ude00", b"\\ud83d\\u0041", b"\\ud83dA", b"\\u+041"],
)
def test_what_is_no_escape_is_not_sure(cell: bytes, run_kernel: RunKernel) -> None:
    cells = [b"a\\tb", cell, b"\\u0041", b"xx" + cell]
    assert unescape(run_kernel, byte_column(cells), [ESCAPED] * 4) == [b"a\tb", None, b"A", None]


def test_other_cells_stay_as_they_are(run_kernel: RunKernel) -> None:
    cells = [b"\\n", b"\\n", b"", b"x\\"]
    assert unescape(run_kernel, byte_column(cells), [STRING, ESCAPED, ESCAPED, STRING]) == [b"\\n", b"\n", b"", b"x\\"]


def test_cells_may_lie_anywhere_in_their_column(run_kernel: RunKernel) -> None:
    array = pa.array([b"zz", b"a\\n", b"", b"\\u00e9", b"zz"], pa.binary()).slice(1, 3)
    cells = text_cells(array)
    assert unescape(run_kernel, (cells.data, cells.starts, cells.ends), [ESCAPED] * 3) == [b"a\n", b"", b"\xc3\xa9"]
    assert unescape(run_kernel, (cells.data, cells.starts[::-1].copy(), cells.ends[::-1].copy()), [ESCAPED] * 3) == [
        b"\xc3\xa9",
        b"",
        b"a\n",
    ]


def test_a_column_may_be_empty(run_kernel: RunKernel) -> None:
    assert unescape(run_kernel, byte_column([]), []) == []
