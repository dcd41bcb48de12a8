"""Files read as bytes: decompressed, capped, and refused when they are damaged."""

import bz2
import gzip
import io
import os
import random
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from zoopipe_core.adapters import files
from zoopipe_core.adapters.files import ByteSource, DecompressionLimits
from zoopipe_core.errors import CorruptSourceError, DecompressionLimitError, SourceNotFoundError, SourceReadError

# Lines that no codec makes much smaller.
TEXT = b"".join(b"%d,%x\n" % (number, random.Random(number).getrandbits(256)) for number in range(5000))


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


def zipped(data: bytes, *, method: int = zipfile.ZIP_DEFLATED, name: str = "in/users.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.mkdir("in")
        archive.writestr(name, data)
    return buffer.getvalue()


CODECS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".zst": zstd,
    ".zip": zipped,
}
all_codecs = pytest.mark.parametrize("suffix", CODECS)


def read(path: Path | str, size: int = 10_000, **options: object) -> bytes:
    source = ByteSource(str(path), **options)  # type: ignore[arg-type]
    try:
        return b"".join(iter(lambda: source.read(size), b""))
    finally:
        source.close()
        source.close()


# ---- every codec ----------------------------------------------------------------------------------------------------


@all_codecs
@pytest.mark.parametrize("size", [1000, 2**20])
def test_a_compressed_file_is_read_by_its_suffix_or_by_name(tmp_path: Path, suffix: str, size: int) -> None:
    named, unnamed = tmp_path / f"in.csv{suffix.upper()}", tmp_path / "in.csv"
    named.write_bytes(CODECS[suffix](TEXT))
    unnamed.write_bytes(named.read_bytes())
    name = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".zip": "zip"}[suffix]
    assert read(named, size) == read(unnamed, size, compression=name) == TEXT
    assert read(named, size, compression=None) == unnamed.read_bytes()


@pytest.mark.parametrize("size", [7, 10_000, 2**20, -1])
@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_several_streams_in_one_file_are_read_one_after_the_other(tmp_path: Path, suffix: str, size: int) -> None:
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(CODECS[suffix](TEXT) + CODECS[suffix](b"") + CODECS[suffix](b"more\n"))
    assert read(path, size) == TEXT + b"more\n"


@all_codecs
def test_an_empty_text_may_be_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(CODECS[suffix](b""))
    assert read(path) == b""


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_member_may_be_packed_in_any_way(tmp_path: Path, method: int) -> None:
    path = tmp_path / "in.csv.zip"
    path.write_bytes(zipped(TEXT, method=method, name="../../etc/passwd"))
    assert read(path) == TEXT
    assert os.listdir(tmp_path) == ["in.csv.zip"]  # nothing is unpacked


# ---- damage ---------------------------------------------------------------------------------------------------------


@all_codecs
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_damaged(tmp_path: Path, suffix: str, share: float) -> None:
    data = CODECS[suffix](TEXT)
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(CorruptSourceError, match=rf"in\.csv\{suffix} is (damaged|no zip archive, or a truncated one)"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zip"])  # a checksum is optional in .zst
def test_a_changed_byte_is_damage(tmp_path: Path, suffix: str) -> None:
    data = bytearray(CODECS[suffix](TEXT))
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(byte ^ 0xFF for byte in data[middle : middle + 8])
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(data)
    with pytest.raises(CorruptSourceError, match=r"is damaged.*after [\d,]+ bytes decompressed\)\. Fetch it again"):
        read(path)


@all_codecs
def test_plain_text_under_a_compressed_name_is_no_compressed_data(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(TEXT)
    with pytest.raises(CorruptSourceError, match=r"pass compression=None|is no zip archive"):
        read(path)


@pytest.mark.parametrize("suffix", [".gz", ".bz2"])
def test_what_follows_the_last_stream_is_damage(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(CODECS[suffix](TEXT) + b"something else")
    with pytest.raises(CorruptSourceError, match="is damaged"):
        read(path)


@pytest.mark.parametrize("count", [0, 2])
def test_a_zip_archive_with_none_or_two_members_is_refused(tmp_path: Path, count: int) -> None:
    path = tmp_path / "in.csv.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("folder")
        for number in range(count):
            archive.writestr(f"folder/{number}.csv", "x")
    names = "folder/0.csv, folder/1.csv" if count else "none"
    with pytest.raises(CorruptSourceError, match=rf"holds {count} files \({names}\); a zip input holds exactly one"):
        read(path)


def test_an_encrypted_zip_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(TEXT))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(signature) + offset] |= 1  # the flag that says so
    (tmp_path / "in.zip").write_bytes(data)
    with pytest.raises(CorruptSourceError, match=r"in\.zip: in/users\.csv cannot be unpacked: .*password required"):
        read(tmp_path / "in.zip")


# ---- bombs ----------------------------------------------------------------------------------------------------------


@all_codecs
def test_a_bomb_is_stopped_by_the_cap_on_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(CODECS[suffix](bytes(3_000_000)))
    source = ByteSource(str(path), limits=DecompressionLimits(max_bytes=1_000_000))
    for _ in range(10):
        source.read(100_000)
    with pytest.raises(DecompressionLimitError, match=r"holds more than 1,000,000 bytes .*max_decompressed_bytes"):
        source.read()
    assert source.decompressed < 3_000_000
    source.close()
    assert len(read(path, limits=DecompressionLimits(max_bytes=3_000_000))) == 3_000_000


@all_codecs
def test_a_bomb_is_stopped_by_the_cap_on_the_ratio(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "RATIO_GRACE_BYTES", 2**20)
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(CODECS[suffix](bytes(2_000_000)))
    with pytest.raises(DecompressionLimitError, match=r"grows by more than 300 times .*Raise max_compression_ratio"):
        read(path, 2**16)
    assert len(read(path, 2**16, limits=DecompressionLimits(max_ratio=1e9))) == 2_000_000
    path.write_bytes(CODECS[suffix](TEXT * 10))
    assert read(path) == TEXT * 10


def test_small_files_and_plain_ones_have_no_ratio(tmp_path: Path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    assert len(read(tmp_path / "in.gz")) == 10_000_000
    (tmp_path / "in").write_bytes(bytes(10_000))
    assert len(read(tmp_path / "in", limits=DecompressionLimits(max_bytes=1, max_ratio=0.1))) == 10_000


# ---- places ---------------------------------------------------------------------------------------------------------


@all_codecs
def test_the_position_is_counted_in_bytes_of_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.csv{suffix}"
    path.write_bytes(CODECS[suffix](TEXT))
    source = ByteSource(str(path))
    assert source.size == path.stat().st_size
    assert source.can_reopen
    positions = [source.position]
    while source.read(50_000):
        positions.append(source.position)
    assert positions == sorted(positions)
    assert 0.8 < positions[-1] / source.size <= 1
    source.close()


@all_codecs
def test_a_url_is_read_by_its_file_system(suffix: str) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/test_files/in.csv{suffix}", CODECS[suffix](TEXT))
    assert read(f"memory://test_files/in.csv{suffix}") == TEXT
    with pytest.raises(SourceNotFoundError, match=r"there is no file memory://test_files/none\.csv"):
        read("memory://test_files/none.csv")
    memory.rm("/test_files", recursive=True)


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2", ".zst"])
def test_a_pipe_is_read_as_it_comes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"pipe{suffix}"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(CODECS.get(suffix, bytes)(TEXT),))
    writer.start()
    source = ByteSource(str(path))
    assert (source.size, source.can_reopen) == (None, False)
    assert b"".join(iter(lambda: source.read(10_000), b"")) == TEXT
    source.close()
    writer.join()


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match=r"there is no file .*/none\.csv"):
        read(tmp_path / "none.csv")
    with pytest.raises(SourceReadError, match="is a folder: name its files with a pattern"):
        read(tmp_path)


def test_no_file_stays_open_when_opening_fails(tmp_path: Path) -> None:
    (tmp_path / "in.zip").write_bytes(b"no archive")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(CorruptSourceError):
            ByteSource(str(tmp_path / "in.zip"))
    assert len(os.listdir("/proc/self/fd")) == before
