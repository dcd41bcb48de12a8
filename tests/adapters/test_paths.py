"""Paths, globs, URLs and lists of them, and what of a URL may be shown."""

import os
import re
from pathlib import Path

import fsspec
import pytest

from zoopipe_core.adapters.paths import (
    describe_paths,
    expand_paths,
    file_size,
    infer_compression,
    is_url,
    local_path,
    normalize_paths,
    strip_credentials,
)
from zoopipe_core.errors import SourceNotFoundError, SourceReadError, SpecError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with files in it."""
    for name in ("b.csv", "a.csv", "c.txt", "[x].csv", ".hidden.csv", "sub/d.csv", "sub/deep/e.csv"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "sub"))
    return tmp_path


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        ("a.csv", ["a.csv"]),
        ("./a.csv", ["./a.csv"]),
        ("*.csv", ["[x].csv", "a.csv", "b.csv"]),
        ("?.csv", ["a.csv", "b.csv"]),
        ("[ab].csv", ["a.csv", "b.csv"]),
        ("[x].csv", ["[x].csv"]),
        ("**/*.csv", ["[x].csv", "a.csv", "b.csv", "sub/d.csv", "sub/deep/e.csv"]),
        ("sub/**", ["sub/d.csv", "sub/deep/e.csv"]),
        (("b.csv", "a.csv"), ["b.csv", "a.csv"]),
        (("sub/*.csv", "a.*"), ["sub/d.csv", "a.csv"]),
        ("~/d.csv", ["{folder}/sub/d.csv"]),
        ("{folder}/a.csv", ["{folder}/a.csv"]),
        ("file://{folder}/a.csv", ["{folder}/a.csv"]),
        ("FILE://{folder}/*.txt", ["{folder}/c.txt"]),
    ],
)
def test_paths_and_patterns_name_files_in_order(folder: Path, paths: str | tuple[str, ...], found: list[str]) -> None:
    def full(path: str) -> str:
        return path.replace("{folder}", str(folder))

    given = full(paths) if isinstance(paths, str) else tuple(full(path) for path in paths)
    assert expand_paths(given) == [full(path) for path in found]


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("missing.csv", SourceNotFoundError, "there is no file missing.csv (looked in {folder})"),
        ("aa.csv", SourceNotFoundError, "there is no file aa.csv (looked in {folder}; did you mean a.csv?)"),
        ("no/such/a.csv", SourceNotFoundError, "there is no file no/such/a.csv ({folder}/no/such is missing too)"),
        ("a.csv/b.csv", SourceNotFoundError, "there is no file a.csv/b.csv ({folder}/a.csv is no folder)"),
        ("*.parquet", SourceNotFoundError, "no file matches *.parquet (looked from {folder})"),
        ("folder*", SourceNotFoundError, "no file matches folder* (looked from {folder})"),
        ("sub", SourceReadError, "sub is a folder: name its files with a pattern, as in sub/*.csv"),
        ("sub/", SourceReadError, "sub/ is a folder: name its files with a pattern, as in sub/*.csv"),
        ("folder.csv", SourceReadError, "name its files with a pattern, as in folder.csv/*.csv"),
        ("x" * 300 + ".csv", SourceReadError, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_file_is_named_with_the_nearest_that_is(
    folder: Path, path: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message.replace("{folder}", str(folder)))):
        expand_paths(path)


def test_a_link_that_goes_round_or_nowhere_is_named(folder: Path) -> None:
    os.symlink("round.csv", folder / "round.csv")
    os.symlink("nowhere.csv", folder / "to_nowhere.csv")
    with pytest.raises(SourceReadError, match=r"round\.csv cannot be read: Too many levels of symbolic links"):
        expand_paths("round.csv")
    with pytest.raises(SourceNotFoundError, match=r"there is no file to_nowhere\.csv"):
        expand_paths("to_nowhere.csv")


def test_urls_are_expanded_by_their_file_system() -> None:
    memory = fsspec.filesystem("memory")
    for name in ("b", "a"):
        memory.pipe(f"/test_paths/{name}.csv", b"x")
    assert expand_paths("memory://test_paths/*.csv") == ["memory://test_paths/a.csv", "memory://test_paths/b.csv"]
    assert expand_paths("memory://test_paths/none.csv") == ["memory://test_paths/none.csv"]  # said when it is opened
    with pytest.raises(SourceNotFoundError, match=r"no object matches memory://test_paths/\*\.tsv"):
        expand_paths("memory://test_paths/*.tsv")
    with pytest.raises(SpecError, match="nonsense://bucket/"):
        expand_paths("nonsense://user:canary@bucket/*.csv")
    memory.rm("/test_paths", recursive=True)


@pytest.mark.parametrize("wrong", ["", [], [""], [1], 1, None, b"a.csv", ["a.csv", "b\0.csv"], {"a.csv"}])
def test_what_is_no_path_is_refused_when_an_adapter_is_built(wrong: object) -> None:
    with pytest.raises(SpecError, match=r"path"):
        normalize_paths(wrong)  # type: ignore[arg-type]


def test_paths_are_kept_as_text() -> None:
    assert normalize_paths(Path("in") / "a.csv") == "in/a.csv"
    assert normalize_paths([Path("a"), "b"]) == ("a", "b")
    assert describe_paths(("a", "b", "c")) == "a and 2 more"
    assert describe_paths(("s3://key:canary@bucket/a",)) == "s3://bucket/a"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://key:canary@bucket/a.csv?sig=canary", "s3://bucket/a.csv"),
        ("sftp://me@host:22/a.csv", "sftp://host:22/a.csv"),
        ("https://host/a.csv?token=canary#x@y", "https://host/a.csv"),
        ("s3://key:c@n@ry@bucket/a.csv", "s3://bucket/a.csv"),
        ("in/a@b?.csv", "in/a@b?.csv"),
        ("file:///in/a@b.csv", "file:///in/a@b.csv"),
    ],
)
def test_credentials_of_a_url_are_not_shown(url: str, shown: str) -> None:
    assert strip_credentials(url) == shown


@pytest.mark.parametrize(
    ("path", "compression"),
    [
        ("a.csv", None),
        ("a.csv.gz", "gzip"),
        ("a.CSV.GZ", "gzip"),
        ("a.bz2", "bz2"),
        ("a.csv.zst", "zstd"),
        ("a.zip", "zip"),
        (".gz", None),
        ("gz", None),
        ("https://host/a.csv.gz?x=.zip", "gzip"),
        ("s3://bucket/a.gz", "gzip"),
    ],
)
def test_the_compression_is_told_by_the_suffix(path: str, compression: str | None) -> None:
    assert infer_compression(path) == compression


def test_local_paths_urls_and_sizes(folder: Path) -> None:
    assert [is_url(path) for path in ("s3://b/a", "C:\\a", "a://b", "file:///a", "/a", "a:b")] == [1, 0, 1, 0, 0, 0]
    assert local_path("~/a") == f"{folder}/sub/a"
    assert local_path("file:///a/b") == "/a/b"
    assert file_size("a.csv") == 5
    assert [file_size(path) for path in ("missing", "s3://b/a", "/dev/null")] == [None, None, None]
