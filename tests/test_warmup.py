"""``python -m zoopipe_core warmup``: kernels compiled ahead, for image builds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Another installation folder than that of the tests, which nobody wants filled.
COMMAND = "import runpy, sys; sys.prefix = {prefix!r}; runpy.run_module('zoopipe_core', run_name='__main__')"


def run(prefix: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND.format(prefix=str(prefix)), *arguments],
        env={**os.environ, "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_arguments_it_tells_what_it_can_do(tmp_path: Path) -> None:
    assert "warmup" in run(tmp_path, "--help").stdout
    helped = run(tmp_path, "warmup", "--help").stdout
    assert "--system" in helped
    assert "--check" in helped
    assert "ZOOPIPE_CACHE_DIR" in helped


def test_check_tells_where_ready_kernels_are(tmp_path: Path, compiled_kernels: Path) -> None:
    done = run(tmp_path, "warmup", "--check")
    assert done.returncode == 0, done.stderr
    assert str(compiled_kernels) in done.stdout


def test_check_fails_and_compiles_nothing_where_there_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    done = run(tmp_path, "warmup", "--check", ZOOPIPE_CACHE_DIR=str(folder))
    assert done.returncode == 1
    assert str(folder) in done.stderr
    assert "python -m zoopipe_core warmup" in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize("arguments", [(), ("--check",), ("--system",)], ids=" ".join)
def test_it_says_that_kernels_are_switched_off(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(tmp_path, "warmup", *arguments, ZOOPIPE_KERNELS="off")
    assert done.returncode == 1
    assert "ZOOPIPE_KERNELS=off" in done.stderr


def test_a_folder_that_cannot_be_written_to_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run(tmp_path, "warmup", ZOOPIPE_CACHE_DIR=str(tmp_path / "file" / "cache"))
    assert done.returncode == 1
    assert "Set ZOOPIPE_CACHE_DIR to a folder that you can write to" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_installation_that_cannot_be_written_to_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "share").touch()
    done = run(tmp_path, "warmup", "--system")
    assert done.returncode == 1
    assert str(tmp_path / "share" / "zoopipe") in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_there_is_told_and_not_compiled_again(tmp_path: Path, compiled_kernels: Path) -> None:
    before = compiled_kernels.stat().st_ino
    done = run(tmp_path, "warmup")
    assert done.returncode == 0, done.stderr
    assert str(compiled_kernels) in done.stdout
    assert "took" in done.stdout
    assert compiled_kernels.stat().st_ino == before


@pytest.mark.slow
def test_an_installation_that_was_warmed_serves_users_with_no_cache(tmp_path: Path) -> None:
    done = run(tmp_path, "warmup", "--system", ZOOPIPE_CACHE_DIR=str(tmp_path / "ignored"))
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "share" / "zoopipe").glob("kernels-*.bin")
    assert str(path) in done.stdout
    assert path.stat().st_mode & 0o777 == 0o644
    assert path.parent.stat().st_mode & 0o777 == 0o755
    code = f"""
import sys
sys.prefix = {str(tmp_path)!r}
from zoopipe_core.kernels import native
print(native.load())
"""
    empty = tmp_path / "empty"
    environment = {**os.environ, "ZOOPIPE_CACHE_DIR": str(empty)}
    loaded = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert loaded.stdout == "True\n"
