"""JSON in parts: one after the other they are the whole, with the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.adapters.splits import assert_exact, parts_of
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.json import JSONInputAdapter


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that is written over and over."""
    return tmp_path_factory.mktemp("json") / "in.jsonl"


LINES = [
    b"\n", b"\n", b"\n", b"\r\n", b"\r", b" ", b"\t \n", b'{"id": 1}\n', b'{"a":"' + "é日😀".encode() + b'"}', b"[1,",
    b"[1, 2]\n", b'{"broken', b"\xff\n", b"x" * 50, b"\v\n", b"\xef\xbb\xbf", b"{}\n",
]  # fmt: skip
texts = st.lists(st.sampled_from(LINES), max_size=30).map(b"".join)


@given(texts, st.integers(1, 16), st.sampled_from(["utf-8", "latin-1"]), st.sampled_from([None, 0, 3]))
@example(b'\n\n\n{"a": 1}\n', 4, "utf-8", None)  # the first record is not in the first part
@example(b'{"a": 1}\n[1,\n[1,\n', 3, "utf-8", None)  # what is wrong in the first line only
def test_any_lines_in_parts_are_the_same_lines(
    path: Path, text: bytes, count: int, encoding: str, limit: int | None
) -> None:
    path.write_bytes(text)
    assert_exact(JSONInputAdapter(path, encoding=encoding, limit=limit), count)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("count", [2, 3, 7, 16])
def test_lines_are_dealt_out_evenly(path: Path, end: str, mark: bytes, count: int) -> None:
    path.write_bytes(mark + b"".join(f'{{"n": {n}}}{end}'.encode() for n in range(1000)))
    parts = assert_exact(JSONInputAdapter(path), count)
    assert len(parts) == count
    size = path.stat().st_size / count
    assert all(abs(piece.size - size) < 20 for part in parts for piece in part.pieces)  # type: ignore[attr-defined]


def test_a_record_may_be_longer_than_its_part(path: Path) -> None:
    path.write_text('{"n": 1}\n{"text": "' + "x" * 200_000 + '"}\n{"n": 2}\n')
    parts = assert_exact(JSONInputAdapter(path), 8)
    assert len(parts) == 2


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("in.json", {"format": "array"}, "array"),
        ("in.jsonl", {"encoding": "utf-16"}, "utf-16-le"),
        ("in.jsonl", {"encoding": "shift-jis"}, "shift_jis"),
    ],
)
def test_what_cannot_be_cut_says_why(tmp_path: Path, name: str, options: dict[str, object], reason: str) -> None:
    path = tmp_path / name
    text = "[1,\n2,\n3]" if name.endswith("json") else '{"a": 1}\n' * 9
    path.write_bytes(text.encode(str(options.get("encoding", "utf-8"))))
    adapter = JSONInputAdapter(path, **options)  # type: ignore[arg-type]
    split = adapter.split(3)
    assert split.parts == (adapter,)
    assert split.note is not None
    assert reason in split.note


def test_a_line_that_is_too_long_is_found_in_its_part(path: Path) -> None:
    path.write_text('{"n": 1}\n' * 20 + '{"n": "' + "x" * 100 + '"}\n' + '{"n": 1}\n' * 20)
    assert_exact(JSONInputAdapter(path, max_record_bytes=50), 5)


def test_a_part_reads_its_own_bytes_only(path: Path) -> None:
    path.write_text('{"n": 1}\n' * 1000)
    read = 0
    for part in parts_of(JSONInputAdapter(path), 4):
        with part.open(ReadRequest()) as reader:
            list(reader)
            assert reader.fraction == 1.0
            read += reader.bytes_read
    assert read == path.stat().st_size
