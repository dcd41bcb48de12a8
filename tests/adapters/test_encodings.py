"""Any encoding as UTF-8, however the bytes come."""

import codecs
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoopipe_core.adapters.encodings import Utf8Stream, check_encoding
from zoopipe_core.errors import CorruptSourceError, SpecError


class Drops:
    """A source that gives a few bytes at a time, as a pipe does."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = io.BytesIO(data), size

    def read(self, size: int = -1, /) -> bytes:
        return self.data.read(self.size if size < 0 else min(size, self.size))


def decoded(data: bytes, encoding: str, drop: int = 2**20, size: int = 2**16) -> bytes:
    stream = Utf8Stream(Drops(data, drop), encoding, "in.csv")
    return b"".join(iter(lambda: stream.read(size), b""))


ENCODINGS = ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-7", "gb18030", "shift_jis", "iso2022_jp"]


@given(
    st.text("aé日😀\n\0,", max_size=30), st.sampled_from(ENCODINGS), st.integers(1, 9), st.sampled_from([1, 3, 2**16])
)
def test_text_is_the_same_however_it_is_cut(text: str, encoding: str, drop: int, size: int) -> None:
    data = text.encode(encoding, "ignore")
    assert decoded(data, encoding, drop, size) == data.decode(encoding).encode()
    assert Utf8Stream(Drops(data, drop), encoding, "in.csv").read() == data.decode(encoding).encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "U8", "utf_16_be"])
@pytest.mark.parametrize("drop", [1, 3, 100])
@pytest.mark.parametrize(
    ("mark", "marked"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
    ],
)
def test_a_byte_order_mark_wins_within_the_utf_family(mark: bytes, marked: str, encoding: str, drop: int) -> None:
    assert decoded(mark + "é,\ufeff".encode(marked), encoding, drop) == "é,\ufeff".encode()
    assert decoded(mark, encoding, drop) == b""


def test_outside_that_family_a_mark_is_text() -> None:
    assert decoded(codecs.BOM_UTF8, "latin-1") == "ï»¿".encode()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_without_a_mark_the_order_of_bytes_is_not_guessed(encoding: str) -> None:
    with pytest.raises(CorruptSourceError, match=f"in.csv has no byte order mark.*'{encoding}-le' or '{encoding}-be'"):
        decoded(b"a\0b\0c\0d\0", encoding)
    assert decoded(b"", encoding) == b""


@pytest.mark.parametrize(
    ("data", "encoding", "result"),
    [
        (b"a\x81b", "cp1252", b"a\xffb"),
        (b"a\xffb", "ascii", b"a\xffb"),
        ("é".encode("utf-16-le") + b"\x00\xd8" + "x".encode("utf-16-le"), "utf-16-le", b"\xc3\xa9\xffx"),
        ("é".encode("utf-16-le") + b"x", "utf-16-le", b"\xc3\xa9\xff"),
        (b"a\xff\xffb", "shift_jis", b"a\xff\xffb"),
        (b"+2AA-x", "utf-7", b"\xffx"),
    ],
)
def test_what_cannot_be_decoded_becomes_a_byte_that_is_no_utf_8(data: bytes, encoding: str, result: bytes) -> None:
    found = decoded(data, encoding, drop=1)
    assert found.replace(b"\xff\xff", b"\xff") == result.replace(b"\xff\xff", b"\xff")
    with pytest.raises(UnicodeDecodeError):
        found.decode()


def test_utf_8_passes_unchecked() -> None:
    assert decoded(b"a\xff\xed\xa0\x80", "utf-8", drop=1) == b"a\xff\xed\xa0\x80"


def test_encodings_are_known_by_all_their_names_and_others_are_refused() -> None:
    assert check_encoding("UTF8") == check_encoding("utf_8") == "utf-8"
    for unknown in ("utf-9", "", "x" * 1000):
        with pytest.raises(SpecError, match=r"is unknown; use a name such as 'utf-8', 'utf-16', 'latin-1', 'cp1252'"):
            check_encoding(unknown)
    for transform in ("base64", "zlib", "rot13", "hex"):
        with pytest.raises(SpecError, match="is a byte transform and no text encoding"):
            check_encoding(transform)
