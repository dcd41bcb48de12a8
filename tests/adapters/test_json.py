"""JSON files read: every record's text as it stands, numbered, from files of every kind."""

import bz2
import gzip
import json
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

from tests.adapters.test_json_output import write_rows
from zoopipe_core.adapters.base import ReadRequest
from zoopipe_core.adapters.json import JSONInputAdapter, JSONOutputAdapter
from zoopipe_core.batches.source import JSON_COLUMN, SourceBatch, SourceKind
from zoopipe_core.errors import (
    CorruptSourceError,
    DecompressionLimitError,
    SourceNotFoundError,
    SourceReadError,
    SpecError,
)

Format = Literal["jsonl", "array"]
both_formats = pytest.mark.parametrize("format", ["jsonl", "array"])


def read_batches(adapter: JSONInputAdapter, batch_size: int = 1000) -> list[SourceBatch]:
    with adapter.open(ReadRequest(batch_size=batch_size)) as reader:
        return list(reader)


def read_texts(adapter: JSONInputAdapter) -> list[bytes]:
    return [text for batch in read_batches(adapter) for text in batch.batch.column(JSON_COLUMN).to_pylist()]


def test_building_an_adapter_touches_no_file_and_its_arguments_are_checked(tmp_path: Path) -> None:
    adapter = JSONInputAdapter([tmp_path / "a.jsonl", "s3://user:canary@bucket/b.jsonl?sig=canary"], limit=3)
    assert pickle.loads(pickle.dumps(adapter)) == adapter
    assert hash(adapter) == hash(pickle.loads(pickle.dumps(adapter)))
    assert adapter.label == f"{tmp_path}/a.jsonl and 1 more"
    assert JSONInputAdapter("s3://user:canary@bucket/b.jsonl?sig=canary").label == "s3://bucket/b.jsonl"
    for wrong, message in [
        ({"format": "json"}, 'format has to be "jsonl" or "array", not \'json\''),
        ({"limit": -1}, "limit has to be 0 or more"),
        ({"compression": "rar"}, "compression has to be 'infer', 'gzip', 'bz2', 'zstd', 'zip' or None, not 'rar'"),
        ({"encoding": "utf-9"}, "encoding 'utf-9' is unknown"),
        ({"max_record_bytes": 0}, "max_record_bytes has to be 1 to 1,073,741,824, not 0"),
        ({"max_record_bytes": 2**31}, "max_record_bytes"),
    ]:
        with pytest.raises(SpecError) as caught:
            JSONInputAdapter("a.jsonl", **wrong)  # type: ignore[arg-type]
        assert message in str(caught.value)
    with pytest.raises(SpecError, match="path"):
        JSONInputAdapter([])


@both_formats
def test_rows_are_numbered_from_1_in_each_file_and_cut_into_even_batches(tmp_path: Path, format: Format) -> None:
    for name, count in (("a", 10), ("b", 0), ("c", 3)):
        rows = [str(i) for i in range(count)]
        text = "".join(f"{row}\n\n" for row in rows) if format == "jsonl" else json.dumps([int(row) for row in rows])
        (tmp_path / f"{name}.x").write_text(text)
    batches = read_batches(JSONInputAdapter(str(tmp_path / "*.x"), format=format), batch_size=4)
    assert [batch.source for batch in batches] == [f"{tmp_path}/a.x"] * 3 + [f"{tmp_path}/c.x"]
    assert [batch.rows.tolist() for batch in batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10], [1, 2, 3]]
    assert {batch.kind for batch in batches} == {SourceKind.JSON}
    assert batches[1].batch.to_pydict() == {JSON_COLUMN: [b"4", b"5", b"6", b"7"]}
    assert batches[1].batch.schema == pa.schema([(JSON_COLUMN, pa.binary())])


def test_numbers_and_texts_keep_every_character(tmp_path: Path) -> None:
    text = f'{{"big": {10**60}, "dec": 0.1000000000000000000000001, "e": 1E+400, "s": "\\u00e9é\\/"}}'
    (tmp_path / "in.jsonl").write_text(text, encoding="utf-8")
    assert read_texts(JSONInputAdapter(tmp_path / "in.jsonl")) == [text.encode()]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1", "cp1252"])
@both_formats
def test_every_encoding_arrives_as_utf_8(tmp_path: Path, encoding: str, format: Format) -> None:
    rows = ['{"name": "Zoë"}', '{"name": "ÿ\\n"}'] * 500
    text = "\r\n".join(rows) if format == "jsonl" else "[" + ",\n".join(rows) + "]"
    (tmp_path / "in").write_bytes(text.encode(encoding))
    adapter = JSONInputAdapter(tmp_path / "in", format=format, encoding=encoding)
    assert read_texts(adapter) == [row.encode() for row in rows]


def test_an_undecodable_byte_spoils_its_own_row_only(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"a": "1"}\n{"a": "\x81"}\n{"a": "3"}\n')
    rows = read_texts(JSONInputAdapter(tmp_path / "in.jsonl", encoding="cp1252"))
    assert rows[0::2] == [b'{"a": "1"}', b'{"a": "3"}']
    with pytest.raises(UnicodeDecodeError):
        rows[1].decode()


@both_formats
def test_the_limit_counts_rows_of_each_file(tmp_path: Path, format: Format) -> None:
    for name in "ab":
        text = "1\n\n2\n3\n" if format == "jsonl" else "[1, 2, 3, broken off"
        (tmp_path / f"{name}.x").write_text(text)
    paths = [tmp_path / "a.x", tmp_path / "b.x"]
    assert read_texts(JSONInputAdapter(paths, format=format, limit=2)) == [b"1", b"2"] * 2
    assert read_texts(JSONInputAdapter(paths, format=format, limit=0)) == []


def test_compressed_files_are_read_by_their_suffix(tmp_path: Path) -> None:
    text = b"".join(b'{"id": %d}\n' % i for i in range(5000))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    (tmp_path / "b.jsonl.bz2").write_bytes(bz2.compress(text))
    with pa.CompressedOutputStream(str(tmp_path / "c.jsonl.zst"), "zstd") as stream:
        stream.write(text)
    with zipfile.ZipFile(tmp_path / "d.jsonl.zip", "w") as archive:
        archive.writestr("inner.jsonl", text)
    for path in sorted(tmp_path.iterdir()):
        assert read_texts(JSONInputAdapter(path)) == text.splitlines(), path


@both_formats
def test_a_truncated_gzip_file_is_corrupt(tmp_path: Path, format: Format) -> None:
    data = gzip.compress(json.dumps([random.Random(1).random() for _ in range(10_000)]).encode())
    (tmp_path / "in.gz").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptSourceError, match=r"in\.gz"):
        read_batches(JSONInputAdapter(tmp_path / "in.gz", format=format))


def test_a_decompression_bomb_is_stopped_by_the_caps(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 100_000))
    with pytest.raises(DecompressionLimitError, match="max_decompressed_bytes"):
        read_batches(JSONInputAdapter(tmp_path / "in.jsonl.gz", max_decompressed_bytes=500_000))


def test_missing_files_folders_and_unreadable_files_are_named_when_opened(tmp_path: Path) -> None:
    (tmp_path / "users.jsonl").write_text("{}")
    with pytest.raises(SourceNotFoundError, match=r"did you mean .*users\.jsonl"):
        JSONInputAdapter(tmp_path / "user.jsonl").open(ReadRequest())
    with pytest.raises(SourceReadError, match="is a folder"):
        JSONInputAdapter(tmp_path).open(ReadRequest())


def test_progress_counts_all_files_from_the_start(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text("[1]\n" * 100)
    with JSONInputAdapter(str(tmp_path / "*.jsonl")).open(ReadRequest()) as reader:
        assert (reader.bytes_read, reader.fraction, reader.columns) == (0, 0.0, None)
        steps = [(reader.bytes_read, reader.fraction) for _ in reader]
        assert steps == [(400, 0.5), (800, 1.0)]
    assert (reader.bytes_read, reader.fraction) == (800, 1.0)
    reader.close()
    assert list(reader) == []


def test_an_empty_or_blank_file_of_lines_has_no_rows(tmp_path: Path) -> None:
    for text in (b"", b"\n", b" \r\n\t\n", b"\xef\xbb\xbf"):
        (tmp_path / "in.jsonl").write_bytes(text)
        assert read_batches(JSONInputAdapter(tmp_path / "in.jsonl")) == []


@pytest.mark.parametrize(
    ("compress", "name"),
    [(gzip.compress, "gzip"), (bz2.compress, "bz2"), (lambda data: pa.compress(data, "zstd", asbytes=True), "zstd")],
)
@both_formats
def test_compressed_data_under_a_plain_name_is_recognised(
    tmp_path: Path, compress: Callable[[bytes], bytes], name: str, format: Format
) -> None:
    (tmp_path / "in").write_bytes(compress(b"[1]\n"))
    with pytest.raises(CorruptSourceError, match=f"compression='{name}'"):
        read_batches(JSONInputAdapter(tmp_path / "in", format=format))
    assert read_texts(JSONInputAdapter(tmp_path / "in", format=format, compression=name))


def test_utf_16_without_a_mark_is_recognised_as_no_json_lines(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes('{"a": 1}\n'.encode("utf-16-le"))
    with pytest.raises(CorruptSourceError, match="utf-16-le"):
        read_batches(JSONInputAdapter(tmp_path / "in.jsonl"))
    assert read_texts(JSONInputAdapter(tmp_path / "in.jsonl", encoding="utf-16-le")) == [b'{"a": 1}']


@both_formats
@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
def test_what_is_written_can_be_read_back(tmp_path: Path, format: Format, suffix: str) -> None:
    rows = [{"id": i, "text": "é" * (i % 7), "items": [{"n": i}]} for i in range(3000)]
    path = tmp_path / f"out.x{suffix}"
    write_rows(JSONOutputAdapter(path, format=format), rows[:1000], rows[1000:])
    texts = read_texts(JSONInputAdapter(path, format=format))
    assert [json.loads(text) for text in texts] == rows
