"""CSV files read: their header, their encoding, the options, and several files one after the other."""

import csv
import io
import pickle
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.adapters.csv_files import blocks_of, read_batches, read_faults, read_rows
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.adapters.csv_header import unique_names
from zoopipe_core.batches.source import SourceKind
from zoopipe_core.errors import CorruptSourceError, SourceNotFoundError, SpecError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.csv"


def columns_of(adapter: CSVInputAdapter) -> list[str]:
    with adapter.open(ReadRequest()) as reader:
        assert reader.columns is not None
        return list(reader.columns)


# ---- options --------------------------------------------------------------------------------------------------------


def test_building_an_adapter_touches_no_file_and_its_arguments_are_checked() -> None:
    adapter = CSVInputAdapter(["no/such/a.csv", "s3://user:canary@bucket/b.csv?sig=canary"], null_values=["NA"])
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    assert hash(adapter) == hash(pickle.loads(pickle.dumps(adapter)))
    assert repr(adapter) == "CSVInputAdapter('no/such/a.csv and 1 more', null_values=('NA',))"
    for wrong, message in [
        ({"delimiter": ";;"}, "delimiter has to be a single ASCII character and no line break, not ';;'"),
        ({"delimiter": None}, "delimiter has to be a single ASCII character"),
        ({"delimiter": "\n"}, "no line break"),
        ({"delimiter": "\0"}, "is a control character that cannot be used here"),
        ({"quotechar": "“"}, "quotechar has to be a single ASCII character"),
        ({"quotechar": ","}, "quotechar and delimiter are both ','"),
        ({"escapechar": '"'}, "escapechar and quotechar are both '\"'"),
        ({"comment": ","}, "comment and delimiter are both ','"),
        ({"encoding": "utf-9"}, "encoding 'utf-9' is unknown"),
        ({"encoding": "rot13"}, "'rot13' is a byte transform and no text encoding"),
        ({"skip_rows": -1}, "skip_rows has to be 0 or more, not -1"),
        ({"limit": -1}, "limit has to be 0 or more, or None for all, not -1"),
        ({"fieldnames": []}, "fieldnames has to name each column once"),
        ({"fieldnames": ["a", "a"]}, "fieldnames has to name each column once, not ['a', 'a']"),
        ({"fieldnames": "abc"}, "fieldnames has to be a list of texts, not 'abc'"),
        ({"null_values": "NA"}, "null_values has to be a list of texts, not 'NA'"),
        ({"compression": "rar"}, "compression has to be 'infer', 'gzip', 'bz2', 'zstd', 'zip' or None, not 'rar'"),
        ({"max_record_bytes": 0}, "max_record_bytes has to be 1 to 1,000,000,000, not 0"),
        ({"max_decompressed_bytes": 0}, "max_decompressed_bytes and max_compression_ratio have to be above 0"),
        ({"max_compression_ratio": -1}, "max_decompressed_bytes and max_compression_ratio have to be above 0"),
    ]:
        with pytest.raises(SpecError) as caught:
            CSVInputAdapter("a.csv", **wrong)  # type: ignore[arg-type]
        assert message in str(caught.value), wrong


def test_what_comes_is_undecoded_text_named_after_its_file(path: Path) -> None:
    path.write_text("a,b\n1,é\n")
    [batch] = read_batches(CSVInputAdapter(path))
    assert (batch.source, batch.kind, batch.rows.tolist()) == (str(path), SourceKind.TEXT, [1])
    assert batch.batch.to_pydict() == {"a": [b"1"], "b": ["é".encode()]}


LINES = ["x,1", '"y\n#",2', "", "#z,3", "w,4"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [["x", "1"], ["y\n#", "2"], ["#z", "3"], ["w", "4"]]),
        ({"comment": "#"}, [["x", "1"], ["y\n#", "2"], ["w", "4"]]),
        ({"limit": 0}, []),
        ({"limit": 2}, [["x", "1"], ["y\n#", "2"]]),
        ({"limit": 3, "comment": "#"}, [["x", "1"], ["y\n#", "2"], ["w", "4"]]),
        ({"limit": 99}, [["x", "1"], ["y\n#", "2"], ["#z", "3"], ["w", "4"]]),
        ({"skip_rows": 1}, [["x", "1"], ["y\n#", "2"], ["#z", "3"], ["w", "4"]]),
        ({"skip_rows": 1, "fieldnames": ["k", "v"]}, [["k", "v"], ["x", "1"], ["y\n#", "2"], ["#z", "3"], ["w", "4"]]),
        ({"skip_rows": 3, "fieldnames": ["k", "v"], "comment": "#"}, [["y\n#", "2"], ["w", "4"]]),
        ({"skip_rows": 99, "fieldnames": ["k", "v"]}, []),
        ({"quotechar": None, "skip_rows": 5, "fieldnames": ["k", "v"]}, [["#z", "3"], ["w", "4"]]),
    ],
)
def test_lines_are_skipped_named_and_counted_as_the_options_say(
    path: Path, options: dict[str, Any], rows: list[list[str]], end: str, last: bool
) -> None:
    title = ["a title"] if options.get("skip_rows") else []
    text = end.join([*title, "k,v", *LINES]) + (end if last else "")
    path.write_text(text, newline="")
    adapter = CSVInputAdapter(path, **options)
    assert read_rows(adapter) == rows
    assert columns_of(adapter) == ["k", "v"]


def test_a_limit_reads_no_further_than_it_has_to(path: Path) -> None:
    path.write_bytes(b"a,b\n1,2\nragged\n3,4\n" + b"5,6\n" * 100_000)
    with blocks_of(1000):
        [batch] = read_batches(CSVInputAdapter(path, limit=2))
    assert (batch.rows.tolist(), [fault.row for fault in batch.faults]) == ([1], [2])
    with blocks_of(1000), CSVInputAdapter(path, limit=2).open(ReadRequest()) as reader:
        list(reader)
    assert reader.bytes_read < path.stat().st_size / 2
    assert read_faults(CSVInputAdapter(path, limit=1)) == []


# ---- None -----------------------------------------------------------------------------------------------------------

CELLS = [["", '""'], ["NA", '"NA"'], ["na", " NA"]]


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({}, [["", ""], ["NA", "NA"], ["na", " NA"]]),
        ({"null_values": [""]}, [[None, None], ["NA", "NA"], ["na", " NA"]]),
        ({"null_values": ["NA"]}, [["", ""], [None, None], ["na", " NA"]]),
        ({"null_values": ["", "NA"], "quoted_nulls": False}, [[None, ""], [None, "NA"], ["na", " NA"]]),
        ({"null_values": ["na", " NA"]}, [["", ""], ["NA", "NA"], [None, None]]),
    ],
)
def test_no_cell_is_none_unless_it_is_one_of_the_null_values(
    path: Path, options: dict[str, Any], rows: list[list[str | None]]
) -> None:
    path.write_text("a,b\n" + "".join(",".join(row) + "\n" for row in CELLS))
    assert read_rows(CSVInputAdapter(path, **options)) == rows


@pytest.mark.parametrize("text", ["\\N", "\0", "é", "日本", "\U0010f7ff", "a\0b"])
def test_a_null_value_may_be_any_text(path: Path, text: str) -> None:
    path.write_text(f"a,b\n{text},{text}x\n", encoding="utf-8")
    assert read_rows(CSVInputAdapter(path, null_values=[text])) == [[None, text + "x"]]


# ---- the header -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("a,b", ["a", "b"]),
        ("\n\r\n\na,b\n", ["a", "b"]),
        (" a ,b\t", [" a ", "b\t"]),
        ('"a,""b""","c\nd"', ['a,"b"', "c\nd"]),
        ("a,,b,", ["a", "column_2", "b", "column_4"]),
        ("a,column_1,", ["a", "column_1", "column_3"]),
        (",column_1", ["column_1_2", "column_1"]),
        ("a,a,a", ["a", "a_2", "a_3"]),
        ("a,a,a_2", ["a", "a_3", "a_2"]),
        ("日本,ß,SS", ["日本", "ß", "SS"]),
        ("a) TEXT; DROP TABLE victim; --", ["a) TEXT; DROP TABLE victim; --"]),
    ],
)
def test_columns_are_named_by_the_header_and_each_name_is_there_once(path: Path, header: str, names: list[str]) -> None:
    path.write_text(header, encoding="utf-8", newline="")
    assert columns_of(CSVInputAdapter(path)) == names
    path.write_text(header.rstrip("\n") + "\n" + ",".join("x" * len(names)) + "\n", encoding="utf-8", newline="")
    assert read_rows(CSVInputAdapter(path)) == [["x"] * len(names)]


@given(st.lists(st.sampled_from(["", "a", "b", "a_2", "a_3", "column_1", "column_2", "column_2_2"])))
@example(["column_2", "", "column_2_2", ""])
def test_names_are_made_unique_without_changing_a_first_one(names: list[str]) -> None:
    unique, repeated = unique_names(names)
    assert len(unique) == len(set(unique)) == len(names)
    assert all(unique)
    assert [unique[names.index(name)] for name in names if name] == [name for name in names if name]
    assert repeated == {name for name in names if name and names.count(name) > 1}


def test_duplicates_are_told_of_the_file_that_is_read(tmp_path: Path) -> None:
    for number, header in enumerate(["x,y", "x,x", "y,y"]):
        (tmp_path / f"{number}.csv").write_text(f"{header}\n1,2\n")
    with CSVInputAdapter(str(tmp_path / "*.csv")).open(ReadRequest()) as reader:
        told = [reader.duplicates, *(reader.duplicates for _ in reader)]
    assert told == [set(), set(), {"x"}, {"y"}]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty: it has no header. If empty files are right, pass fieldnames="),
        (b"\n\r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"# nothing\n#", "is empty"),
        (b'a,"b\n1,2\n3,4\n', "a quote opens in the header and is never closed"),
        (b'a,"b\n' + b"1,2\n" * 100_000, "An unclosed quote in it?"),
        (b"a,\xe9\n1,2\n", r"the column name '\xe9' is no UTF-8"),
        (b"a,b\0\n1,2\n", "NUL characters in its first line"),
        ("a,b\n1,2\n".encode("utf-16-le"), "encoding='utf-16-le' or 'utf-16-be'"),
    ],
)
def test_a_file_without_a_readable_header_is_corrupt(path: Path, data: bytes, message: str) -> None:
    path.write_bytes(data)
    with pytest.raises(CorruptSourceError) as caught:
        CSVInputAdapter(path, comment="#").open(ReadRequest())
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\n", b"\xef\xbb\xbf\r\n", b"# nothing"])
def test_with_fieldnames_an_empty_file_has_no_rows(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert read_batches(CSVInputAdapter(path, fieldnames=["a", "b"], comment="#")) == []
    assert read_batches(CSVInputAdapter(path, fieldnames=["a"], comment="#")) == []


# ---- encodings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-8", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16", "utf-8"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("utf-32", "utf-8"),
        ("utf-32-be", "utf-32-be"),
        ("latin-1", "latin-1"),
        ("cp1252", "cp1252"),
        ("cp437", "cp437"),
        ("gb18030", "gb18030"),
    ],
)
def test_every_encoding_is_read(path: Path, written: str, read: str) -> None:
    rows = [["Zoë", "ü,\r\n" * (number % 5)] for number in range(3000)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["é", "ü"], *rows])
    path.write_bytes(buffer.getvalue().encode(written))
    adapter = CSVInputAdapter(path, encoding=read)
    assert columns_of(adapter) == ["é", "ü"]
    assert read_rows(adapter) == rows


def test_a_byte_that_the_encoding_does_not_have_spoils_its_own_row_only(path: Path) -> None:
    path.write_bytes(b"a,b\n1,\xe9\n2,\x81\n3,\xff\n")
    cells = [cell for batch in read_batches(CSVInputAdapter(path, encoding="cp1252")) for cell in batch.batch["b"]]
    assert [cell.as_py() for cell in cells] == ["é".encode(), b"\xff", "ÿ".encode()]


def test_utf_16_without_a_mark_asks_for_the_order_of_bytes(path: Path) -> None:
    path.write_bytes("a,b\n1,2\n".encode("utf-16-be"))
    with pytest.raises(CorruptSourceError, match=r"in\.csv has no byte order mark.*'utf-16-le' or 'utf-16-be'"):
        CSVInputAdapter(path, encoding="utf-16").open(ReadRequest())


@pytest.mark.parametrize(
    ("magic", "what"),
    [
        (b"PK\x03\x04", "a zip archive"),
        (b"\x1f\x8b\x08\x00", "gzip data"),
        (b"BZh91AY&SY", "bzip2 data"),
        (b"\x28\xb5\x2f\xfd", "zstd data"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"ARROW1\x00\x00", "an Arrow file"),
        (b"%PDF-1.7", "a PDF"),
        (b"SQLite format 3\x00", "an SQLite database"),
        (b"12345678DUCK", "a DuckDB database"),
        (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
        (b"\x89PNG", "a picture"),
    ],
)
def test_a_file_of_another_format_is_said_to_be_one(path: Path, magic: bytes, what: str) -> None:
    path.write_bytes(magic + random.Random(1).randbytes(1000))
    for options in ({}, {"fieldnames": ["a"]}):
        with pytest.raises(CorruptSourceError, match=rf"in\.csv is {what} and no CSV text; rename it or name its"):
            CSVInputAdapter(path, **options).open(ReadRequest())  # type: ignore[arg-type]


# ---- several files --------------------------------------------------------------------------------------------------


def test_several_files_are_read_in_order_each_with_its_own_header_and_numbers(tmp_path: Path) -> None:
    for name, text in {"a": "x,y\n1,2\n3,4\n", "b": "x,y\n", "c": "y,x\n5,6\nragged\n7,8\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    batches = read_batches(CSVInputAdapter(str(tmp_path / "*.csv")))
    assert [Path(batch.source).name for batch in batches] == ["a.csv", "c.csv"]
    assert [batch.rows.tolist() for batch in batches] == [[1, 2], [1, 3]]
    assert [[fault.row for fault in batch.faults] for batch in batches] == [[], [2]]
    assert batches[1].batch.to_pydict() == {"y": [b"5", b"7"], "x": [b"6", b"8"]}
    assert read_rows(CSVInputAdapter(str(tmp_path / "[ab].csv"), limit=1)) == [["1", "2"]]


def test_a_file_that_vanishes_before_its_turn_fails_the_reading(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("x\n1\n")
    with CSVInputAdapter([tmp_path / "a.csv", tmp_path / "b.csv"]).open(ReadRequest()) as reader:
        batches = iter(reader)
        next(batches)
        (tmp_path / "b.csv").unlink()
        with pytest.raises(SourceNotFoundError, match=r"b\.csv"):
            next(batches)


def test_progress_counts_all_files_from_the_start(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("x,y\n" + "1,2\n" * 99)
    with CSVInputAdapter(str(tmp_path / "*.csv")).open(ReadRequest()) as reader:
        steps = [(reader.bytes_read, reader.fraction) for _ in reader]
        assert steps == [(400, 0.5), (800, 1.0)]


@pytest.mark.parametrize(("columns", "keep_all", "names"), [({"b"}, False, ["b"]), ({"b"}, True, ["a", "b", "c"])])
def test_only_columns_that_are_wanted_are_decoded(
    path: Path, columns: set[str], keep_all: bool, names: list[str]
) -> None:
    path.write_text("a,b,c\n1,2,3\n")
    [batch] = read_batches(CSVInputAdapter(path), columns=frozenset(columns), keep_all=keep_all)
    assert batch.batch.schema.names == names
    [nothing] = read_batches(CSVInputAdapter(path), columns=frozenset())
    assert (nothing.num_rows, nothing.batch.num_columns) == (1, 0)
