"""Loads that must fail, or reject: the error says what, where and what to do; nothing is published or left behind."""

import bz2
import csv
import gzip
import io
import json
import os
import random
import resource
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel, Field, create_model

from zoopipe_core import (
    ArrowOutputAdapter,
    CSVInputAdapter,
    CSVOutputAdapter,
    JSONInputAdapter,
    JSONOutputAdapter,
    MultiThreadExecutor,
    ParquetOutputAdapter,
    Pipe,
    PyGeneratorOutputAdapter,
    SingleThreadExecutor,
    SQLInputAdapter,
    SQLOutputAdapter,
)
from zoopipe_core.errors import SchemaModelError
from zoopipe_core.report import PipeReport, PipeStatus
from zoopipe_core.testing.inputs import open_files


class User(BaseModel):
    id: int
    name: str


GARBAGE = random.Random(4).randbytes(20_000)
LINES = "".join(f"{number},{'x' * (number % 50)}\n" for number in range(20_000))


@dataclass
class Target:
    """A target in a folder of its own, which holds one old row."""

    folder: Path
    adapter: Any

    def content(self) -> Any:
        """What is there: for a database its rows, for a file its bytes."""
        if isinstance(self.adapter, SQLOutputAdapter):
            with duckdb.connect(str(self.folder / "wh.db"), read_only=True) as connection:
                return connection.execute("SELECT * FROM users").fetchall()
        return Path(self.adapter.path).read_bytes()


def make_target(folder: Path, kind: str) -> Target:
    folder.mkdir()
    make: dict[str, Callable[[], Any]] = {
        "csv": lambda: CSVOutputAdapter(folder / "users.csv"),
        "jsonl": lambda: JSONOutputAdapter(folder / "users.jsonl"),
        "json.gz": lambda: JSONOutputAdapter(folder / "users.json.gz", format="array"),
        "parquet": lambda: ParquetOutputAdapter(folder / "users.parquet"),
        "arrow": lambda: ArrowOutputAdapter(folder / "users.arrow"),
        "duckdb": lambda: SQLOutputAdapter(f"duckdb:///{folder}/wh.db", "users"),
    }
    adapter = make[kind]()
    assert Pipe([{"id": 0, "name": "old"}], adapter, schema_model=User).run(on_report_update=None)
    return Target(folder, adapter)


@pytest.fixture(params=["csv", "duckdb"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return make_target(tmp_path / "target", request.param)


@pytest.fixture
def file_target(tmp_path: Path) -> Target:
    return make_target(tmp_path / "target", "csv")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the input, which is the working folder."""
    folder = tmp_path / "source"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def fails(source: Any, target: Target, model: Any = User, **options: Any) -> tuple[str, str, PipeReport]:
    """Run a load that has to fail: the error's type and message, and the report.

    The old content must be there and nothing else: neither rejects, nor their folder, nor a file that stays open.
    """
    before, files = target.content(), tree(target.folder)
    rejects = options.pop("rejects", target.folder / "new" / "rejects.jsonl")
    pipe = Pipe(source, target.adapter, rejects, model, **options)
    assert pipe.run(on_report_update=None) is False
    assert open_files(target.folder) + open_files(Path.cwd()) == []
    assert tree(target.folder) == files
    assert target.content() == before
    report = pipe.report
    assert report.status is PipeStatus.FAILED
    assert report.exception is not None
    return report.exception.type, report.exception.message, report


def loads(source: Any, model: Any = User, **options: Any) -> tuple[list[Any], list[Any]]:
    """Run a load that has to succeed: its rows and its rejects."""
    rows, rejects = PyGeneratorOutputAdapter(), PyGeneratorOutputAdapter()
    pipe = Pipe(source, rows, rejects, model, **options)
    pipe.run(on_report_update=None)
    pipe.report.raise_for_status()
    assert pipe.report.read_rows == pipe.report.loaded_rows + pipe.report.rejected_rows
    return list(rows), list(rejects)


# ---- sources that cannot be read ------------------------------------------------------------------------------------


def zip_of_two() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", "id,name\n1,x\n")
        archive.writestr("b.csv", "id,name\n1,x\n")
    return buffer.getvalue()


def parquet_cut_short() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"id": range(1000), "name": ["x"] * 1000}), buffer)
    return buffer.getvalue()[:-10]


NOT_FOUND, READ, CORRUPT = "SourceNotFoundError", "SourceReadError", "CorruptSourceError"


@pytest.mark.parametrize(
    ("name", "content", "error", "says"),
    [
        *[(f"none.{kind}", None, NOT_FOUND, "there is no file none.") for kind in ("csv", "jsonl", "parquet", "arrow")],
        ("none*.csv", None, NOT_FOUND, "no file matches none*.csv (looked from "),
        ("no/folder/users.csv", None, NOT_FOUND, "no/folder is missing too"),
        ("user.csv", None, NOT_FOUND, "did you mean users.csv?"),
        *[
            (f"folder.{kind}", None, READ, f"folder.{kind} is a folder: name its files with a pattern, as in folder.")
            for kind in ("csv", "jsonl", "json", "parquet", "arrow")
        ],
        ("in.csv", b"", CORRUPT, "in.csv is empty: it has no header. If empty files are right, pass fieldnames="),
        ("in.json", b"", CORRUPT, "in.json is empty: an array without elements is written []"),
        ("in.parquet", b"", CORRUPT, "in.parquet is damaged or of another format"),
        ("in.arrow", b"", CORRUPT, "in.arrow is empty"),
        ("in.csv.gz", b"", CORRUPT, "in.csv.gz is damaged, or no gzip data: the file is empty"),
        ("in.csv", GARBAGE, CORRUPT, "is no UTF-8: binary data, or another encoding (then pass encoding="),
        ("in.jsonl", GARBAGE, CORRUPT, "in.jsonl has control characters in its first line and is no UTF-8: binary"),
        ("in.json", GARBAGE, CORRUPT, 'in.json holds no JSON array: it begins with b\'\\xd7\''),
        ("in.parquet", GARBAGE, CORRUPT, "in.parquet is damaged or of another format"),
        ("in.arrow", GARBAGE, CORRUPT, "in.arrow is damaged or of another format"),
        ("in.csv.zst", GARBAGE, CORRUPT, "in.csv.zst is damaged, or no zstd data"),
        ("in.csv", parquet_cut_short(), CORRUPT, "in.csv is a Parquet file and no CSV text; rename it or name its ad"),
        ("in.parquet", parquet_cut_short(), CORRUPT, "in.parquet is damaged or of another format"),
        ("in.csv", gzip.compress(b"id,name\n"), CORRUPT, "in.csv is gzip data and no CSV text; rename it or name its"),
        ("in.jsonl", gzip.compress(b"{}"), CORRUPT, "compression='gzip'"),
        ("in.csv", "id,name\n1,x\n".encode("utf-16-le"), CORRUPT, "(then pass encoding='utf-16-le' or 'utf-16-be')"),
        ("in.csv", "id,náme\n1,x\n".encode("latin-1"), CORRUPT, "(then pass encoding='latin-1', 'cp1252', 'utf-16'"),
        ("in.csv.zip", zip_of_two(), CORRUPT, "in.csv.zip holds 2 files (a.csv, b.csv); a zip input holds exactly one"),
        ("in.csv", b'id,"name\n1,x\n2,y\n', CORRUPT, "in.csv: a quote opens in the header and is never closed"),
        ("in.json", b'[{"id": 1, "name": "x"}, {"id": 2,', CORRUPT, "in.json ends within row 2: its array is not clo"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_and_changes_nothing(
    source: Path, file_target: Target, name: str, content: bytes | None, error: str, says: str
) -> None:
    (source / "users.csv").write_text("id,name\n1,x\n")
    for kind in ("csv", "jsonl", "json", "parquet", "arrow"):
        (source / f"folder.{kind}").mkdir()
    if content is not None:
        (source / name).write_bytes(content)
    kind, message, report = fails(name, file_target)
    assert kind == error
    assert says in message
    assert report.loaded_rows == 0 or name == "in.json"


COMPRESSED: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("gz", gzip.compress),
    ("bz2", bz2.compress),
    ("zst", lambda data: bytes(pa.compress(data, "zstd", asbytes=True))),
]


@pytest.mark.parametrize(("suffix", "compress"), COMPRESSED)
@pytest.mark.parametrize("executor", [SingleThreadExecutor(batch_size=1000), MultiThreadExecutor(batch_size=1000)])
def test_a_truncated_archive_fails_the_load_and_the_rows_before_the_damage_are_not_published(
    source: Path, target: Target, suffix: str, compress: Callable[[bytes], bytes], executor: Any
) -> None:
    data = compress(("id,name\n" + "".join(f"{n},{random.Random(n).random()}\n" for n in range(20_000))).encode())
    (source / f"in.csv.{suffix}").write_bytes(data[:-20])
    kind, message, _ = fails(f"in.csv.{suffix}", target, executor=executor)
    assert kind == "CorruptSourceError"
    assert f"in.csv.{suffix} is damaged" in message
    assert "Fetch it again" in message


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize(
    ("cap", "says"),
    [
        ({"max_decompressed_bytes": 10**6}, "in.gz holds more than 1,000,000 bytes decompressed; raise max_decompres"),
        ({"max_compression_ratio": 100}, "in.gz grows by more than 100 times when decompressed"),
    ],
)
def test_a_decompression_bomb_is_stopped(
    source: Path, target: Target, kind: str, cap: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoopipe_core.adapters.files.RATIO_GRACE_BYTES", 2**20)
    line = {"csv": b"1,x\n", "jsonl": b'{"id":1,"name":"x"}\n'}[kind]
    (source / "in.gz").write_bytes(gzip.compress((b"id,name\n" if kind == "csv" else b"") + line * 500_000))
    adapter = {"csv": CSVInputAdapter, "jsonl": JSONInputAdapter}[kind]
    error, message, _ = fails(adapter("in.gz", **cap), target)
    assert error == "DecompressionLimitError"
    assert says in message


def test_a_list_of_files_fails_as_one_when_a_later_one_is_bad(source: Path, target: Target) -> None:
    (source / "a.csv").write_text("id,name\n" + LINES)
    for content, error, says in [
        (None, "SourceNotFoundError", "there is no file b.csv"),
        ("", "CorruptSourceError", "b.csv is empty"),
        ("id,nme\n1,x\n", "ColumnNotFoundError", "'name', which b.csv does not have"),
        ("id,name,name\n1,x,y\n", "DuplicateColumnError", "stands in b.csv more than once"),
    ]:
        (source / "b.csv").unlink(missing_ok=True)
        if content is not None:
            (source / "b.csv").write_text(content)
        kind, message, _ = fails(["a.csv", "b.csv"], target)
        assert kind == error
        assert says in message


@contextmanager
def without_privileges() -> Iterator[None]:
    """As somebody for whom permissions count, if the tests are run by root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def guarded() -> Iterator[Path]:
    """A folder that anybody may look into, with what nobody may read; nothing can be made in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "locked").mkdir()
        for path in ("in.csv", "in.jsonl", "in.parquet", "in.arrow", "locked/in.csv"):
            (folder / path).write_text("id,name\n1,x\n")
            (folder / path).chmod(0)
        (folder / "locked").chmod(0)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        (folder / "locked").chmod(0o755)
        assert tree(folder) == ["in.arrow", "in.csv", "in.jsonl", "in.parquet", "locked", "locked/in.csv"]


@pytest.mark.parametrize("path", ["in.csv", "in.jsonl", "in.parquet", "in.arrow", "locked/in.csv"])
def test_a_source_that_may_not_be_read_is_said_to_be_one(guarded: Path, path: str) -> None:
    pipe = Pipe(guarded / path, PyGeneratorOutputAdapter(), schema_model=User)
    with without_privileges():
        assert pipe.run(on_report_update=None) is False
    assert pipe.report.exception is not None
    assert pipe.report.exception.type == "SourceReadError"
    assert pipe.report.exception.message == f"{guarded}/{path} cannot be read: Permission denied"


@pytest.mark.parametrize("path", ["out.csv", "in.csv", "new/out.jsonl", "locked/out.parquet"])
def test_a_target_that_may_not_be_written_is_said_to_be_one(guarded: Path, path: str) -> None:
    pipe = Pipe([{"id": 1, "name": "x"}], guarded / path, schema_model=User)
    with without_privileges():
        assert pipe.run(on_report_update=None) is False
    assert pipe.report.exception is not None
    assert pipe.report.exception.type == "TargetWriteError"
    says = f"{guarded}/{path} cannot be written: Permission denied; its folder has to be writable"
    assert pipe.report.exception.message == says


# ---- columns --------------------------------------------------------------------------------------------------------


def columns_in(kind: str, names: list[str]) -> Any:
    """A source with these columns and one row, which a load could not read if it came so far."""
    if kind == "csv":
        Path("in.csv").write_text(",".join(names) + "\n" + "x" * 2000 + "\n")
        return CSVInputAdapter("in.csv", max_record_bytes=1000)
    table = pa.table([pa.array(["no number"])] * len(names), names=names)
    if kind == "parquet":
        pq.write_table(table, "in.parquet")
    elif kind == "arrow":
        pyarrow.feather.write_feather(table, "in.arrow")
    elif kind == "memory":
        return table
    else:
        with duckdb.connect("in.db") as connection:
            connection.register("source", table)
            connection.execute("CREATE OR REPLACE TABLE t AS SELECT * FROM source")
        return SQLInputAdapter("duckdb:///in.db", table_name="t")
    return f"in.{kind}"


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "memory", "duckdb"])
def test_a_missing_column_fails_the_load_before_the_first_row_and_the_nearest_is_named(
    source: Path, target: Target, kind: str
) -> None:
    error, message, report = fails(columns_in(kind, ["Id", "nme", "other"]), target)
    assert (error, report.read_rows) == ("ColumnNotFoundError", 0)
    assert "the model User needs the columns 'id', 'name', which " in message
    assert "found: Id, nme, other (3 columns)" in message
    assert "did you mean 'Id'?  Rename it with Field(alias='Id')." in message
    assert "did you mean 'nme'?" in message
    assert "did you mean 'other'?" not in message


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow", "memory"])
def test_a_column_that_is_there_twice_fails_the_load_if_the_model_needs_it(
    source: Path, file_target: Target, kind: str
) -> None:
    error, message, report = fails(columns_in(kind, ["id", "name", "id"]), file_target)
    assert (error, report.read_rows) == ("DuplicateColumnError", 0)
    assert "the column 'id', which the model User or a hook needs, stands in " in message


def test_a_column_that_is_there_twice_and_not_needed_is_passed_over(source: Path) -> None:
    (source / "in.csv").write_text("x,id,x,name\n1,2,3,y\n")
    assert loads("in.csv") == ([{"id": 2, "name": "y"}], [])
    assert loads("in.csv", None) == ([{"x": "1", "id": "2", "x_2": "3", "name": "y"}], [])


def test_json_rows_without_a_key_are_rejected_one_by_one(source: Path) -> None:
    (source / "in.jsonl").write_text('{"id": 1}\n{"id": 2, "name": "x"}\n')
    rows, [reject] = loads("in.jsonl")
    assert rows == [{"id": 2, "name": "x"}]
    assert [(error["type"], error["loc"]) for error in reject["_errors"]] == [("missing", ["name"])]


MANY = [f"c{number}" for number in range(10_000)]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
def test_ten_thousand_columns_are_read_and_written(source: Path, kind: str) -> None:
    (source / "in.csv").write_text("".join(",".join(row) + "\n" for row in (MANY, MANY, MANY)))
    assert Pipe("in.csv", f"out.{kind}").run(on_report_update=None)
    model = create_model("Few", c0=str, c9999=str)
    assert loads(f"out.{kind}", model) == ([{"c0": "c0", "c9999": "c9999"}] * 2, [])


def test_an_error_names_a_few_of_ten_thousand_columns(source: Path, file_target: Target) -> None:
    (source / "in.csv").write_text(",".join(MANY) + "\n")
    error, message, _ = fails("in.csv", file_target, create_model("Few", c10000=str))
    assert error == "ColumnNotFoundError"
    assert "found: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, ... (10000 columns)" in message
    assert "did you mean 'c1000'?" in message
    assert len(message) < 500


HOSTILE = [
    "a TEXT); DROP TABLE victim; --",
    "select",
    'say "x"',
    "it's",
    "a\nb",
    "a;b",
    "`a`",
    "[a]",
    "x" * 200,
    "日本",
    "%s?:1$1",
    "=cmd()",
    " ",
    "../../etc/passwd",
]


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
@pytest.mark.parametrize("table", ["users", "users; DROP TABLE victim; --", 'a"b', "select", "it's"])
def test_hostile_headers_and_table_names_are_names_and_nothing_else(source: Path, scheme: str, table: str) -> None:
    with open("in.csv", "w", newline="") as file:
        csv.writer(file).writerows([HOSTILE, [str(number) for number in range(len(HOSTILE))]])
    uri = f"{scheme}:///wh.db"
    assert Pipe([{"a": 1}], SQLOutputAdapter(uri, "victim")).run(on_report_update=None)
    assert Pipe("in.csv", SQLOutputAdapter(uri, table)).run(on_report_update=None)
    expected = {name: str(number) for number, name in enumerate(HOSTILE)}
    assert loads(SQLInputAdapter(uri, table_name=table), None) == ([expected], [])
    assert loads(SQLInputAdapter(uri, table_name="victim"), None) == ([{"a": 1}], [])
    assert tree(source) == ["in.csv", "wh.db"]


# ---- records --------------------------------------------------------------------------------------------------------


def test_ragged_rows_are_rejected_and_their_neighbours_stay(source: Path) -> None:
    (source / "in.csv").write_text("id,name\n1,a\n2\n3,c,c\n\n4,d\n")
    rows, rejects = loads("in.csv")
    assert [row["id"] for row in rows] == [1, 4]
    assert [(reject["_row"], reject["_errors"][0]["type"], reject["_raw"]) for reject in rejects] == [
        (2, "ragged_row", "2"),
        (3, "ragged_row", "3,c,c"),
    ]


@pytest.mark.parametrize("executor", [SingleThreadExecutor(), MultiThreadExecutor(batch_size=5000)])
def test_an_unclosed_quote_at_the_end_of_a_large_file_costs_one_row(source: Path, executor: Any) -> None:
    lines = LINES * 10  # more than one of the parser's blocks
    assert len(lines) > 5 * 2**20
    (source / "in.csv").write_text("id,name\n" + lines + '7,"x\n8,y\n9,z\n')
    rows, [reject] = loads("in.csv", executor=executor)
    assert len(rows) == 200_000
    assert (reject["_row"], reject["_errors"][0]["type"]) == (200_001, "unclosed_quote")
    assert reject["_raw"].startswith('7,"x\n8,y\n9,z')


def test_an_unclosed_quote_far_from_the_end_fails_the_load(source: Path, target: Target) -> None:
    (source / "in.csv").write_text("id,name\n" + LINES + '7,"x\n' + LINES * 4)
    error, message, _ = fails(CSVInputAdapter("in.csv", max_record_bytes=2**20), target)
    assert error == "RecordTooLongError"
    assert (
        "in.csv: the record after row 20,000 or soon behind it is longer than 1,048,576 bytes; an unclosed" in message
    )
    assert "Raise max_record_bytes if it is right, or pass quotechar=None" in message
    rows, _ = loads(CSVInputAdapter("in.csv", quotechar=None))
    assert len(rows) == 100_001


def test_nul_bytes_are_text_for_python_and_an_error_for_numbers(source: Path) -> None:
    (source / "in.csv").write_bytes(b'id,name\n1,a\0b\n\x002,c\n3,"\0\n\0"\n' + bytes(100) + b"\n")
    rows, rejects = loads("in.csv")
    assert rows == [{"id": 1, "name": "a\0b"}, {"id": 3, "name": "\0\n\0"}]
    assert [reject["_errors"][0]["type"] for reject in rejects] == ["int_parsing", "ragged_row"]
    assert (rejects[0]["id"], rejects[1]["_raw"]) == ("\x002", "\0" * 100)
    assert Pipe("in.csv", "out.csv", "rejects.csv", User).run(on_report_update=None)
    assert loads("out.csv") == (rows, [])


def test_bytes_in_a_wrong_encoding_cost_their_rows_only(source: Path) -> None:
    (source / "in.csv").write_bytes("id,name\n1,Zoë\n2,Ann\nö,Bob\n".encode("latin-1"))
    rows, rejects = loads("in.csv")
    assert rows == [{"id": 2, "name": "Ann"}]
    assert [(reject["_row"], reject["_errors"][0]["type"]) for reject in rejects] == [
        (1, "invalid_utf8"),
        (3, "invalid_utf8"),
    ]
    assert rejects[0]["name"] == "Zo\\xeb"
    assert loads(CSVInputAdapter("in.csv", encoding="latin-1"))[0] == [
        {"id": 1, "name": "Zoë"},
        {"id": 2, "name": "Ann"},
    ]


def test_garbage_behind_a_header_is_rejected_and_max_errors_makes_it_a_failure(source: Path, target: Target) -> None:
    (source / "in.csv").write_bytes(b"id,name\n" + GARBAGE)
    rows, rejects = loads("in.csv")
    assert rows == []
    assert len(rejects) > 10
    pipe = Pipe("in.csv", target.adapter, "rejects.jsonl", User, max_errors=0.5)
    before = target.content()
    assert pipe.run(on_report_update=None) is False
    assert target.content() == before
    assert len((source / "rejects.jsonl").read_bytes().splitlines()) == len(rejects)


@pytest.mark.parametrize("source_kind", ["csv", "jsonl"])
@pytest.mark.parametrize("kind", ["csv", "json.gz", "parquet", "arrow", "duckdb"])
def test_a_cell_of_a_megabyte_is_loaded_or_rejected_whole(
    source: Path, tmp_path: Path, kind: str, source_kind: str
) -> None:
    big = "x" * 2**20
    rows = [{"id": "1", "name": "a"}, {"id": "2", "name": big}, {"id": big, "name": "c"}, {"id": "4", "name": "d"}]
    if source_kind == "csv":
        lines = ["id,name", *(",".join(row.values()) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    (source / f"in.{source_kind}").write_text("".join(line + "\n" for line in lines))
    target = make_target(tmp_path / "target", kind)
    assert Pipe(f"in.{source_kind}", target.adapter, "rejects.jsonl", User).run(on_report_update=None)
    written: Any = {
        "csv": lambda: str(target.adapter.path),
        "json.gz": lambda: JSONInputAdapter(target.adapter.path, format="array"),
        "parquet": lambda: str(target.adapter.path),
        "arrow": lambda: str(target.adapter.path),
        "duckdb": lambda: SQLInputAdapter(f"duckdb:///{target.folder}/wh.db", table_name="users"),
    }[kind]()
    assert loads(written)[0] == [{"id": 1, "name": "a"}, {"id": 2, "name": big}, {"id": 4, "name": "d"}]
    [reject] = [json.loads(line) for line in (source / "rejects.jsonl").read_text().splitlines()]
    assert reject["_row"] == 3
    assert reject["_errors"][0]["input"] == big


# ---- targets --------------------------------------------------------------------------------------------------------


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes; Python ignores the signal and sees the error."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json.gz", "parquet", "arrow"])
@pytest.mark.parametrize("executor", [SingleThreadExecutor(batch_size=500), MultiThreadExecutor(batch_size=500)])
def test_a_full_disk_fails_the_load_and_the_old_file_stays(
    source: Path, tmp_path: Path, kind: str, executor: Any
) -> None:
    dice = random.Random(1)
    (source / "in.csv").write_text("id,name\n" + "".join(f"{n},{dice.randbytes(100).hex()}\n" for n in range(5000)))
    target = make_target(tmp_path / "target", kind)
    with file_size_limit(100_000):
        error, message, _ = fails("in.csv", target, executor=executor)
    assert error == "TargetWriteError"
    assert f"users.{kind} cannot be written: File too large; the process may not write so large a file" in message


def test_a_full_disk_for_the_rejects_fails_the_load_too(source: Path, target: Target) -> None:
    (source / "in.csv").write_text("id,name\n1,x\n" + f"n/a,{'x' * 500}\n" * 2000)
    with file_size_limit(500_000 if isinstance(target.adapter, CSVOutputAdapter) else 900_000):
        error, message, _ = fails("in.csv", target)
    assert error == "TargetWriteError"
    assert "rejects.jsonl cannot be written: File too large" in message


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_full_device_is_no_success(source: Path, kind: str) -> None:
    adapter = {"csv": CSVOutputAdapter, "jsonl": JSONOutputAdapter}[kind]("/dev/full")
    pipe = Pipe([{"id": 1, "name": "x"}], adapter, schema_model=User)
    assert pipe.run(on_report_update=None) is False
    assert pipe.report.exception is not None
    assert "/dev/full cannot be written: No space left on device; free some space" in pipe.report.exception.message


@pytest.mark.parametrize("where", ["output", "rejects"])
def test_a_folder_in_the_way_of_an_output_is_an_error_before_a_row_is_read(
    source: Path, target: Target, where: str
) -> None:
    (source / "out.csv").mkdir()
    (source / "in.csv").write_text("id,name\n1,x\n")
    if where == "rejects":
        error, message, report = fails("in.csv", target, rejects="out.csv")
    else:
        pipe = Pipe("in.csv", "out.csv", "rejects.csv", User)
        assert pipe.run(on_report_update=None) is False
        assert pipe.report.exception is not None
        error, message, report = pipe.report.exception.type, pipe.report.exception.message, pipe.report
    assert (error, report.read_rows) == ("TargetWriteError", 0)
    assert "out.csv is a folder; an output is a file: out.csv/rows.csv" in message
    assert tree(source) == ["in.csv", "out.csv"]


INTERVAL = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
WIDE = pa.array([10], pa.decimal256(40, 2))


@pytest.mark.parametrize(
    ("kind", "column", "says"),
    [("parquet", INTERVAL, "month_day_nano_interval"), ("duckdb", WIDE, "decimal256(40, 2)")],
)
def test_a_type_that_the_target_does_not_have_is_named(
    source: Path, tmp_path: Path, kind: str, column: pa.Array, says: str
) -> None:
    target = make_target(tmp_path / "target", kind)
    error, message, _ = fails(pa.table({"x": column}), target, None)
    assert error == "UnsupportedTypeError"
    assert "'x'" in message
    assert says in message


class Wide(BaseModel):
    id: int = Field(ge=0)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "duckdb"])
def test_a_value_that_the_target_cannot_hold_is_named_with_its_row(source: Path, tmp_path: Path, kind: str) -> None:
    (source / "in.csv").write_text(f"id\n1\n2\n{2**70}\n")
    target = make_target(tmp_path / "target", kind)
    error, message, _ = fails("in.csv", target, Wide)
    assert error == "UnsupportedValueError"
    assert f"column 'id', row 3 of in.csv: the value {2**70}: it does not fit int64; bound the field with" in message


# ---- databases ------------------------------------------------------------------------------------------------------

UNREACHABLE = "postgresql://me:c4n4ry@localhost:1/db?connect_timeout=2"


def test_an_unreachable_database_is_named_without_its_password(source: Path, file_target: Target) -> None:
    (source / "in.csv").write_text("id,name\n1,x\n")
    error, message, report = fails(f"{UNREACHABLE}::users", file_target)
    pipe = Pipe("in.csv", f"{UNREACHABLE}::users", "rejects.csv", User)
    assert pipe.run(on_report_update=None) is False
    assert pipe.report.exception is not None
    assert error == pipe.report.exception.type == "DatabaseConnectionError"
    for text in (message, pipe.report.exception.message):
        assert "postgresql://localhost:1/db cannot be reached" in text
        assert "Check host, port, database and user" in text
    for text in (json.dumps(report.to_dict()), json.dumps(pipe.report.to_dict()), repr(pipe), str(pipe.report)):
        assert "c4n4ry" not in text
    assert tree(source) == ["in.csv"]


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite"])
def test_a_missing_table_or_database_is_named_with_the_nearest(source: Path, file_target: Target, scheme: str) -> None:
    error, message, _ = fails(f"{scheme}:///wh.db::users", file_target)
    assert (error, "there is no file wh.db" in message, tree(source)) == ("SourceNotFoundError", True, [])
    assert Pipe([{"id": 1, "name": "x"}], f"{scheme}:///wh.db::users", schema_model=User).run(on_report_update=None)
    error, message, _ = fails(f"{scheme}:///wh.db::user", file_target)
    assert error == "SourceNotFoundError"
    assert f"there is no table user in {scheme}:///wh.db; did you mean users?" in message


# ---- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [int, dict, list[int], "User", User(id=1, name="x"), object(), lambda row: row])
def test_a_schema_model_that_is_no_model_is_refused_when_the_pipe_is_built(model: Any) -> None:
    with pytest.raises(SchemaModelError, match=r"derived from pydantic\.BaseModel, a dataclass or a TypedDict, not "):
        Pipe("in.csv", "out.csv", schema_model=model)
