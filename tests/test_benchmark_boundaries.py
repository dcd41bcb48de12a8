"""The files whose boundaries are looked for in the benchmark are what they are called, and can be split exactly."""

from pathlib import Path

import pytest

from benchmarks.boundaries import TEXTS, make_file, speed
from tests.adapters.splits import assert_exact
from zoopipe_core.adapters.csv import CSVInputAdapter
from zoopipe_core.adapters.json import JSONInputAdapter


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_of_the_benchmark_is_what_it_is_called(tmp_path: Path, name: str) -> None:
    make_file(tmp_path / "in", name, 100_000)
    text = (tmp_path / "in").read_bytes()
    adapter = JSONInputAdapter(tmp_path / "in") if name == "JSON Lines" else CSVInputAdapter(tmp_path / "in")
    assert len(assert_exact(adapter, 8)) == 8
    assert (b'"' in text) is ("no quotes" not in name)
    assert (b'\n"' in text) is ("line breaks" in name)


def test_a_speed_is_bytes_by_time() -> None:
    assert 0 < speed(lambda: sum(range(200_000)), 10**9) < 10**4
