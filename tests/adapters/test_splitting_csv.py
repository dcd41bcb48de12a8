"""CSV in parts: one after the other they are the whole, whatever is quoted and wherever the cuts fall."""

from __future__ import annotations

import csv
import io
import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.adapters.csv_files import COMMENT, Style, blocks_of, encode, styles, texts
from tests.adapters.splits import assert_exact, parts_of, read
from zoopipe_core.adapters import byte_ranges, csv_scan
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.adapters.csv_scan import Characters, Stretch, chain, scan_stretch
from zoopipe_core.adapters.file_parts import FilePart
from zoopipe_core.kernels.records import NONE, START
from zoopipe_core.kernels.switch import KernelSwitch


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file that is written over and over."""
    return tmp_path_factory.mktemp("csv") / "in.csv"


counts = st.integers(1, 16)
encodings = st.sampled_from(["utf-8", "latin-1", "cp1252"])
starts = st.sampled_from(["", "\ufeff", "a,b\n", "\n\nx;y,z\r\n", '"a\n\n",b\n', "#c\na,b\n#d\n", 'a"b,c\n'])


@st.composite
def files(draw: st.DrawFn) -> tuple[Style, str]:
    """A dialect, and a text in it with many line breaks, well formed or not."""
    style = draw(styles)
    ends = st.sampled_from(["\n", "\n", "\r\n", "\r", '"\n', ",\n", "\\\n", '\n"'])
    lines = draw(st.lists(st.tuples(texts(style), ends).map("".join), max_size=12))
    return style, draw(starts) + "".join(lines) + draw(texts(style))


@given(files(), st.integers(0, 3), counts, st.sampled_from([None, COMMENT]), st.sampled_from([16, 100, 4096]))
@example((Style(), 'a\n"x\ny"\n"x\ny"\n'), 0, 3, None, 100)
@example((Style(escapechar="\\"), '"a"\\\nb\nc\nd\n'), 0, 4, None, 100)  # two rules for where the header ends
def test_any_text_in_parts_is_the_same_text(
    path: Path, styled: tuple[Style, str], width: int, count: int, comment: str | None, block: int
) -> None:
    style, text = styled
    path.write_bytes(encode(text))
    names = [f"c{n}" for n in range(width)] or None
    with blocks_of(block):
        assert_exact(CSVInputAdapter(path, **vars(style), fieldnames=names, comment=comment), count)


@given(
    files(), counts, encodings, st.sampled_from([None, 0, 1, 5]), st.integers(0, 3),
    st.sampled_from([None, ["x", "y"]]), st.booleans(),
)  # fmt: skip
def test_any_option_holds_for_the_parts(
    path: Path,
    styled: tuple[Style, str],
    count: int,
    encoding: str,
    limit: int | None,
    skip_rows: int,
    fieldnames: list[str] | None,
    quoted_nulls: bool,
) -> None:
    style, text = styled
    path.write_bytes(encode(text))
    adapter = CSVInputAdapter(
        path,
        **vars(style),
        encoding=encoding,
        limit=limit,
        skip_rows=skip_rows,
        fieldnames=fieldnames,
        null_values=["", "a"],
        quoted_nulls=quoted_nulls,
    )
    assert_exact(adapter, count, batch_size=3)


cells = st.text(st.sampled_from("\",;\n\r\t'# aé日😀"), max_size=12)


@given(
    st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=40),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", "\ufeff"]),
    st.booleans(),
    counts,
)
def test_what_was_written_comes_back_in_order(
    path: Path, rows: list[list[str]], end: str, mark: str, final_newline: bool, count: int
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([["a", "b"], *rows])
    text = buffer.getvalue()
    path.write_bytes((mark + (text if final_newline else text.removesuffix(end))).encode())
    parts = assert_exact(CSVInputAdapter(path), count)
    found = read(parts)
    assert not found.faults
    assert [[cell.decode() for cell in row.values()] for _, _, row in found.rows] == rows
    assert [number for _, number, _ in found.rows] == list(range(1, len(rows) + 1))


# ---- cases ----------------------------------------------------------------------------------------------------------


def plain_lines(count: int) -> str:
    return "".join(f"{n},name {n}\n" for n in range(count))


@pytest.mark.parametrize("count", range(1, 17))
def test_parts_are_of_about_equal_size(path: Path, count: int) -> None:
    path.write_text("id,name\n" + plain_lines(2000))
    parts = assert_exact(CSVInputAdapter(path), count)
    assert len(parts) == count
    size = path.stat().st_size / count
    pieces = [piece for part in parts if isinstance(part, FilePart) for piece in part.pieces]
    assert all(abs((piece.size or 0) - size) < 40 for piece in pieces)


@pytest.mark.parametrize("text", ["a,b", "a,b\n", "a,b\r\n", "\ufeffa,b\n", "a,b\n\n\n\n", "#c\na,b\n#d\n#e\n"])
def test_a_header_alone_has_no_rows_in_any_part(path: Path, text: str) -> None:
    path.write_bytes(text.encode())
    for count in (2, 5, 16):
        assert_exact(CSVInputAdapter(path, comment="#"), count)


def test_fewer_rows_than_parts_give_fewer_parts(path: Path) -> None:
    path.write_text("a,b\n1,2\n3,4\n5,6\n")
    adapter = CSVInputAdapter(path)
    assert 1 < len(assert_exact(adapter, 16)) <= 3
    assert "too small for more" in (adapter.split(16).note or "")


def test_a_record_longer_than_a_part_takes_its_place(path: Path) -> None:
    long = '"' + 'line ""quoted""\n' * 20_000 + '"'
    path.write_text(f"a,b\n1,2\n3,{long}\n5,6\n7,{long}\n8,9\n")
    parts = assert_exact(CSVInputAdapter(path), 12)
    assert 1 < len(parts) <= 5


def test_an_unclosed_quote_swallows_the_same_rows_in_parts(path: Path) -> None:
    path.write_text("a,b\n" + plain_lines(50) + '50,"never closed\n' + plain_lines(500))
    parts = assert_exact(CSVInputAdapter(path), 8)
    assert [fault.row for _, fault in read(parts).faults] == [51]


def test_an_unclosed_quote_in_the_header_is_the_same_error(path: Path) -> None:
    path.write_text('a,"b\n' + plain_lines(500))
    assert_exact(CSVInputAdapter(path), 8)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_characters_of_many_bytes_are_whole_wherever_cuts_fall(path: Path, end: str) -> None:
    for shift in range(12):
        path.write_bytes(f"é{'x' * shift},b{end}".encode() + f"日,😀é{end}".encode() * 40)
        assert not read(assert_exact(CSVInputAdapter(path), 7)).faults


def test_rejects_are_numbered_as_in_the_whole(path: Path) -> None:
    path.write_bytes(b"a,b\n" + b"1,2\n3\n\n#x\n4,5,6\n\xff,\xfe\n" * 100)
    found = read(assert_exact(CSVInputAdapter(path, comment="#"), 9))
    assert [fault.row for _, fault in found.faults[:4]] == [2, 3, 6, 7]
    assert len(found.faults) == 200


@pytest.mark.parametrize(
    ("encoding", "is_cut"),
    [
        ("utf-8", True),
        ("utf-8-sig", True),
        ("latin-1", True),
        ("cp1252", True),
        ("utf-16", False),
        ("shift_jis", False),
    ],
)
def test_encodings_are_cut_if_a_byte_can_only_be_one_character(path: Path, encoding: str, is_cut: bool) -> None:
    path.write_bytes(("näme,b\n" if encoding != "shift_jis" else "名,b\n").encode(encoding) + plain_lines(0).encode())
    with path.open("ab") as file:
        file.write("".join(f"{n},x\n" for n in range(300)).encode(encoding.replace("utf-16", "utf-16-le")))
    parts = assert_exact(CSVInputAdapter(path, encoding=encoding), 4)
    assert (len(parts) == 4) is is_cut


def test_only_the_first_records_are_dealt_out_if_there_is_a_limit(path: Path) -> None:
    path.write_text("id,name\n" + plain_lines(100_000))
    parts = assert_exact(CSVInputAdapter(path, limit=60_000), 4)
    sizes = [len(read([part]).rows) for part in parts]
    assert len(sizes) == 4
    assert max(sizes) < 60_000 * 0.4


def test_parts_count_their_own_bytes(path: Path) -> None:
    path.write_text("id,name\n" + plain_lines(50_000))
    taken = 0
    for part in parts_of(CSVInputAdapter(path), 5):
        with part.open(ReadRequest(batch_size=1000)) as reader:
            seen = [reader.fraction or 0.0 for _ in reader]
            taken += reader.bytes_read
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
    assert taken == path.stat().st_size


def test_a_part_finds_its_records_with_small_blocks_too(path: Path) -> None:
    path.write_text("a,b\n" + f'1,"{"x" * 900}"\n' * 50)
    with blocks_of(64):  # each part is read again with a larger block
        assert_exact(CSVInputAdapter(path), 6)


# ---- scanning -------------------------------------------------------------------------------------------------------


def any_text(seed: int) -> bytes:
    rng = random.Random(seed)
    pieces: list[Any] = ['"', '"', ",", "\n", "\r\n", "\r", "x", 'a,"b\n""c",', "\\", "#", '"\n', "plain,text\n"]
    return "".join(rng.choices(pieces, k=400)).encode()


@pytest.mark.parametrize("block", [1, 2, 7, 2**18])
@pytest.mark.parametrize("special", [(NONE, NONE), (ord("\\"), NONE), (NONE, ord("#")), (ord("\\"), ord("#"))])
def test_stretches_put_in_a_row_are_the_whole(
    path: Path, monkeypatch: pytest.MonkeyPatch, block: int, special: tuple[int, int]
) -> None:
    characters = Characters(ord(","), ord('"'), *special, True)
    for seed in range(30):
        text = any_text(seed)
        path.write_bytes(text)
        monkeypatch.setattr(byte_ranges, "BLOCK_BYTES", len(text) if block > 7 else 2**18)
        whole = Stretch(str(path), 0, len(text), characters)
        total = chain([whole], [scan_stretch(whole)])[1:]
        places = [match.end() for match in characters.breaks.finditer(text)]
        places = sorted(set(random.Random(seed).sample(places, min(9, len(places)))) - {len(text)})
        bounds = [0, *places, len(text)]
        stretches = [Stretch(str(path), *pair, characters) for pair in pairwise(bounds)]
        monkeypatch.setattr(byte_ranges, "BLOCK_BYTES", block)
        cuts, *found = chain(stretches, [scan_stretch(stretch) for stretch in stretches])
        assert tuple(found) == total
        for cut in cuts:
            before = Stretch(str(path), 0, cut.start, characters)
            assert chain([before], [scan_stretch(before)])[1:] == (START, cut.first_row)


def test_kernels_scan_as_numpy_does(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(b"a,b\n" + b"".join(any_text(seed) for seed in range(30)))
    stretch = Stretch(str(path), 4, path.stat().st_size, Characters(ord(","), ord('"'), NONE, ord("#"), True))
    found = []
    for is_ready in (False, True):
        monkeypatch.setattr(csv_scan, "SWITCH", switch := KernelSwitch())
        monkeypatch.setattr(switch, "_ready", is_ready)
        found.append(scan_stretch(stretch))
    assert found[0] == found[1]
