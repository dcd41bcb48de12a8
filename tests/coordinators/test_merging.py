"""What shards write together is what one run writes alone."""

import datetime as dt
import io
import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tests.coordinators.support import Chunks, names_in, run_both, sharded
from zoopipe_core import (
    ArrowOutputAdapter,
    CSVOutputAdapter,
    JSONOutputAdapter,
    ParquetInputAdapter,
    ParquetOutputAdapter,
    Pipe,
)
from zoopipe_core.adapters.csv_text import CSVFormat
from zoopipe_core.adapters.files import ByteSource
from zoopipe_core.coordinators.csv_columns import rearranged_records
from zoopipe_core.errors import TargetError
from zoopipe_core.testing.rows import TRICKY_TEXTS, read_rows


class Row(BaseModel):
    id: int
    text: str | None
    amount: Decimal | None = None


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": n, "text": TRICKY_TEXTS[n % len(TRICKY_TEXTS)], "amount": f"{n}.50"} for n in numbers]


CHUNKS = {
    "even": [rows(1, 2, 3), rows(4, 5), rows(6)],
    "one": [rows(*range(40))],
    "the first without rows": [[], rows(1), rows(2)],
    "the last without rows": [rows(1), rows(2), []],
    "only the middle with rows": [[], rows(1, 2), []],
    "none with rows": [[], [], []],
}

TEXTS = {
    "csv": lambda path: CSVOutputAdapter(path),
    "csv with other characters": lambda path: CSVOutputAdapter(
        path, ";", "'", null_text="NULL", lineterminator="\r\n", fieldnames=["text", "id"]
    ),
    "csv without a header": lambda path: CSVOutputAdapter(path, header=False),
    "jsonl": lambda path: JSONOutputAdapter(path),
    "array": lambda path: JSONOutputAdapter(path, format="array"),
    "indented array": lambda path: JSONOutputAdapter(path, format="array", indent=2),
}


def content(path: Path) -> bytes:
    source = ByteSource(str(path))
    try:
        return source.read()
    finally:
        source.close()


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
@pytest.mark.parametrize("shape", CHUNKS)
@pytest.mark.parametrize("form", TEXTS)
def test_a_merged_text_is_that_of_a_serial_run_byte_for_byte(
    tmp_path: Path, form: str, shape: str, suffix: str
) -> None:
    serial, parallel = run_both(
        tmp_path, f"out.txt{suffix}", CHUNKS[shape], lambda source, path: Pipe(source, TEXTS[form](path), None, Row)
    )
    assert content(parallel) == content(serial)
    if not suffix:
        assert parallel.read_bytes() == serial.read_bytes()


@given(
    st.lists(st.lists(st.text(max_size=8) | st.none(), max_size=4), min_size=1, max_size=6), st.sampled_from([*TEXTS])
)
@settings(max_examples=60)
def test_any_texts_in_any_shards_merge_to_what_a_serial_run_writes(texts: list[list[str | None]], form: str) -> None:
    chunks = [[{"id": 1, "text": text} for text in chunk] for chunk in texts]
    with tempfile.TemporaryDirectory() as folder:
        serial, parallel = run_both(
            Path(folder), "out.txt", chunks, lambda source, path: Pipe(source, TEXTS[form](path), None, Row)
        )
        assert parallel.read_bytes() == serial.read_bytes()


@pytest.mark.parametrize("name", ["rejects.csv", "rejects.jsonl", "rejects.json", "rejects.csv.gz"])
def test_rejects_merge_with_the_row_numbers_of_the_whole(tmp_path: Path, name: str) -> None:
    chunks = [rows(1, 2), [{"id": "x", "text": "one"}], [*rows(3), {"id": "y", "text": 'two\n"2"'}], rows(4)]
    serial, parallel = run_both(
        tmp_path, name, chunks, lambda source, path: Pipe(source, path.with_name("rows.jsonl"), path, Row)
    )
    assert content(parallel) == content(serial)
    assert content(parallel).count(b"int_parsing") == 2


# ---- columns that differ --------------------------------------------------------------------------------------------

KEYS = {
    "in another order": [[{"a": 1, "b": "x,y"}], [{"b": 'q"', "a": 2}]],
    "fewer later": [[{"a": 1, "b": None, "c": "z"}], [{"c": "two\nlines", "a": 5}, {"c": "", "a": 6}]],
}


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("name", ["out.csv", "out.csv.gz", "out.jsonl", "out.parquet", "out.arrow"])
def test_shards_may_have_their_columns_in_another_order_or_lack_some(tmp_path: Path, name: str, keys: str) -> None:
    serial, parallel = run_both(tmp_path, name, KEYS[keys], lambda source, path: Pipe(source, str(path)))
    if name.endswith(".parquet"):
        assert pq.read_table(parallel).equals(pq.read_table(serial))
    elif name.endswith(".arrow"):
        assert pa.ipc.open_file(parallel).read_all().equals(pa.ipc.open_file(serial).read_all())
    else:
        assert content(parallel) == content(serial)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet", "out.arrow"])
def test_a_column_that_only_a_later_shard_has_is_an_error_as_in_a_serial_run(tmp_path: Path, name: str) -> None:
    chunks = [[{"a": 1, "b": 2}], [{"a": 1, "b": 2, "c": 3}]]
    pipe = Pipe(Chunks(chunks), str(tmp_path / name))
    assert not pipe.run()
    manager = sharded(pipe)
    assert not manager.run()
    assert manager.report.exception is not None
    assert manager.report.exception.type == "TargetError"
    assert "'c'" in manager.report.exception.message
    assert names_in(tmp_path) == []


@given(st.data())
def test_records_are_rearranged_whatever_the_pieces_they_come_in(data: st.DataObject) -> None:
    form = CSVFormat(lineterminator=data.draw(st.sampled_from(["\n", "\r\n"])), null_text="NA")
    names = ["a", "b", "c"]
    cells = st.none() | st.text('ab,"\r\n', max_size=4)
    table = data.draw(st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=5))
    wanted = [*data.draw(st.permutations(names)), "d"]
    given_text = form.records([form.fields(column) for column in zip(*table, strict=True)]).encode()
    columns = {**dict(zip(names, zip(*table, strict=True), strict=True)), "d": [None] * len(table)}
    expected = form.records([form.fields(columns[name]) for name in wanted]).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(given_text)), max_size=4)))
    pieces = [given_text[a:b] for a, b in zip([0, *cuts], [*cuts, len(given_text)], strict=True)]
    assert b"".join(rearranged_records(pieces, form, names, wanted)) == expected


def test_records_that_were_cut_off_are_an_error() -> None:
    with pytest.raises(TargetError, match="end within"):
        list(rearranged_records([b'1,"2'], CSVFormat(), ["a", "b"], ["b", "a"]))
    with pytest.raises(TargetError, match="3 fields where 2"):
        list(rearranged_records([b"1,2,3\n"], CSVFormat(), ["a", "b"], ["b", "a"]))


# ---- files of columns -----------------------------------------------------------------------------------------------


class Typed(BaseModel):
    id: int
    text: str | None = None
    day: dt.date | None = None
    at: dt.datetime | None = None
    amount: Decimal | None = None
    data: bytes | None = None
    tags: list[str] = []


def typed(*numbers: int) -> list[dict[str, Any]]:
    return [
        {
            "id": n,
            "text": None if n % 5 == 0 else f"n{n % 3}",
            "day": dt.date(2024, 1, 1 + n % 28),
            "at": dt.datetime(2024, 1, 1, n % 24, tzinfo=dt.UTC),
            "amount": Decimal(n) / 8,
            "data": bytes([n % 256]) * (n % 4),
            "tags": ["x"] * (n % 3),
        }
        for n in numbers
    ]


@pytest.mark.parametrize("compression", ["zstd", "snappy", "gzip", "none"])
@pytest.mark.parametrize("shape", ["even", "one", "the first without rows", "none with rows"])
def test_merged_parquet_holds_the_rows_and_the_schema_of_a_serial_run(
    tmp_path: Path, shape: str, compression: Any
) -> None:
    chunks = [typed(*(row["id"] for row in chunk)) for chunk in CHUNKS[shape]]
    serial, parallel = run_both(
        tmp_path,
        "out.parquet",
        chunks,
        lambda source, path: Pipe(source, ParquetOutputAdapter(path, compression=compression), None, Typed),
    )
    assert pq.read_schema(parallel).equals(pq.read_schema(serial), check_metadata=True)
    assert read_rows(ParquetInputAdapter(parallel)) == read_rows(ParquetInputAdapter(serial))
    file = pq.ParquetFile(parallel, page_checksum_verification=True)
    assert file.read().equals(pq.read_table(serial))
    assert file.num_row_groups == sum(bool(chunk) for chunk in chunks)
    assert file.metadata.num_rows == sum(map(len, chunks))


@pytest.mark.parametrize("name", ["out.arrow", "out.arrow.gz"])
@pytest.mark.parametrize("form", ["file", "stream"])
@pytest.mark.parametrize("shape", CHUNKS)
def test_merged_arrow_holds_the_batches_of_a_serial_run(tmp_path: Path, shape: str, form: Any, name: str) -> None:
    chunks = [typed(*(row["id"] for row in chunk)) for chunk in CHUNKS[shape]]
    serial, parallel = run_both(
        tmp_path, name, chunks, lambda source, path: Pipe(source, ArrowOutputAdapter(path, form), None, Typed)
    )
    opened = pa.ipc.open_file if form == "file" else pa.ipc.open_stream
    tables = [opened(io.BytesIO(content(path))).read_all() for path in (serial, parallel)]
    assert tables[0].equals(tables[1], check_metadata=True)


OPEN = {
    "nulls first": [[{"a": None}], [{"a": 1}], [{"a": None}]],
    "nulls last": [[{"a": "x"}], [{"a": None}]],
    "only nulls": [[{"a": None}], [{"a": None}]],
    "integers for floats": [[{"a": 1.5}], [{"a": 2}]],
    "floats that are integers": [[{"a": 1}], [{"a": 2.0}]],
    "naive times": [[{"a": None}], [{"a": dt.datetime(2024, 1, 1)}]],
    "lists": [[{"a": None}], [{"a": [1, "x"]}]],
}


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow"])
@pytest.mark.parametrize("case", OPEN)
def test_what_one_shard_leaves_open_the_values_of_another_settle(tmp_path: Path, case: str, name: str) -> None:
    serial, parallel = run_both(tmp_path, name, OPEN[case], lambda source, path: Pipe(source, str(path)))
    if name == "out.parquet":
        one, other = pq.read_table(serial), pq.read_table(parallel)
    else:
        one, other = (pa.ipc.open_file(path).read_all() for path in (serial, parallel))
    assert one.equals(other)


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow"])
def test_values_that_do_not_go_together_are_an_error_as_in_a_serial_run(tmp_path: Path, name: str) -> None:
    chunks = [[{"a": 1}], [{"a": "x"}]]
    for run in (Pipe(Chunks(chunks), str(tmp_path / name)), sharded(Pipe(Chunks(chunks), str(tmp_path / name)))):
        assert not run.run()
        assert run.report.exception is not None
        assert run.report.exception.type == "UnsupportedValueError", run.report
    assert names_in(tmp_path) == []


# ---- parts that stay parts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["run", "parallelize_pipe"])
def test_without_merging_complete_numbered_files_are_left(tmp_path: Path, how: str) -> None:
    pipe = Pipe(Chunks([rows(1), rows(2, 3), []]), tmp_path / "users.csv", tmp_path / "bad.jsonl.gz", Row)
    manager = sharded(pipe, merge=how == "run")
    assert manager.run(merge=how != "run")
    assert names_in(tmp_path) == sorted(
        [f"bad-0000{n}-of-00003.jsonl.gz" for n in range(3)] + [f"users-0000{n}-of-00003.csv" for n in range(3)]
    )
    texts = [(tmp_path / f"users-0000{n}-of-00003.csv").read_text() for n in range(3)]
    assert [text.splitlines()[0] for text in texts] == ["id,text,amount"] * 3
    assert manager.run(merge=True)
    assert (how == "run") == (tmp_path / "users.csv").exists()


def test_without_merging_nothing_is_left_of_a_load_that_fails(tmp_path: Path) -> None:
    (tmp_path / "users-00000-of-00002.csv").write_text("old")
    pipe = Pipe(Chunks([rows(1), [{"id": "x"}]]), tmp_path / "users.csv", None, Row, max_errors=0)
    assert not sharded(pipe, merge=False).run()
    assert names_in(tmp_path) == ["users-00000-of-00002.csv"]
    assert (tmp_path / "users-00000-of-00002.csv").read_text() == "old"


def test_if_one_of_the_numbered_files_cannot_be_shown_all_are_as_before(tmp_path: Path) -> None:
    (tmp_path / "users-00000-of-00002.jsonl").write_text("old")
    (tmp_path / "users-00001-of-00002.jsonl").mkdir()
    manager = sharded(Pipe(Chunks([rows(1), rows(2)]), tmp_path / "users.jsonl", None, Row), merge=False)
    assert not manager.run()
    assert manager.report.exception is not None
    assert manager.report.exception.type == "TargetWriteError"
    assert names_in(tmp_path) == ["users-00000-of-00002.jsonl", "users-00001-of-00002.jsonl"]
    assert (tmp_path / "users-00000-of-00002.jsonl").read_text() == "old"


# ---- other places ---------------------------------------------------------------------------------------------------


def test_an_existing_target_keeps_its_permissions_and_a_link_its_place(tmp_path: Path) -> None:
    (tmp_path / "real.jsonl").write_text("old")
    (tmp_path / "real.jsonl").chmod(0o640)
    (tmp_path / "link").symlink_to("real.jsonl")
    assert sharded(Pipe(Chunks([rows(1), rows(2)]), JSONOutputAdapter(tmp_path / "link"), None, Row)).run()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real.jsonl").stat().st_mode & 0o777 == 0o640
    assert len((tmp_path / "real.jsonl").read_text().splitlines()) == 2
    assert names_in(tmp_path) == ["link", "real.jsonl"]


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv.gz", "out.parquet", "out.arrow"])
def test_a_target_that_fsspec_writes_is_merged_by_reading(name: str) -> None:
    import fsspec

    url = f"memory://merging/{name}"
    memory = fsspec.filesystem("memory")
    if memory.exists("/merging"):
        memory.rm("/merging", recursive=True)
    assert sharded(Pipe(Chunks([rows(1, 2), [], rows(3)]), url, None, Row)).run()
    assert memory.find("/merging") == [f"/merging/{name}"]
    manager = sharded(Pipe(url, None))
    assert manager.run()
    assert manager.report.loaded_rows == 3
    memory.rm("/merging", recursive=True)


def test_a_device_gets_all_parts_in_order(tmp_path: Path) -> None:
    import os
    import threading

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    assert sharded(Pipe(Chunks([rows(1), rows(2)]), JSONOutputAdapter(pipe), None, Row)).run()
    reader.join(20)
    assert [json.loads(line)["id"] for line in received[0].splitlines()] == [1, 2]
    assert names_in(tmp_path) == ["pipe"]


@pytest.mark.parametrize("target", ["folder", "folder/", "file/out.jsonl"])
def test_a_target_that_cannot_be_written_is_told_of_before_any_work_is_done(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    manager = sharded(Pipe(Chunks([rows(1)]), JSONOutputAdapter(f"{tmp_path}/{target}"), None, Row))
    assert not manager.run()
    assert manager.report.exception is not None
    assert manager.report.exception.type == "TargetWriteError"
    assert manager.report.read_rows == 0
    assert names_in(tmp_path) == ["file", "folder"]


def test_a_relative_target_is_where_it_was_when_the_load_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    manager = sharded(Pipe(Chunks([rows(1)]), "out/rows.jsonl", None, Row))
    assert manager.pipe_count == 1
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert manager.run()
    assert names_in(tmp_path) == ["elsewhere", "out", "out/rows.jsonl"]
