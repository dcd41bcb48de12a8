"""What a fresh process has to load. How long that takes is measured by benchmarks/startup.py, and decides no test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from zoopipe_core.kernels.switch import MIN_ROWS

ROOT = Path(__file__).resolve().parent.parent

LOAD = """
import json, sys, psutil
from pydantic import BaseModel
from zoopipe_core import Pipe

class Item(BaseModel):
    name: str
    price: float

pipe = Pipe(sys.argv[1], sys.argv[3], sys.argv[1] + ".rejects.jsonl", Item)
pipe.run(on_report_update=None)
pipe.report.raise_for_status()
assert pipe.report.loaded_rows == int(sys.argv[2])
print(json.dumps([sorted(sys.modules), len(psutil.Process().children())]))
"""

NEVER = {"airflow", "dask", "distributed", "numba", "pandas", "polars", "prefect", "ray"}
"""What no load imports by itself."""
NOT_FOR_FILES = {"adbc_driver_manager", "duckdb", "fsspec", "pyarrow.dataset", "pyarrow.parquet", "sqlite3"}
"""What a load from file to file has no use for."""
NOT_FOR_A_FEW_ROWS = {"llvmlite", "zoopipe_core.kernels.native", "zoopipe_core.kernels.compiler"}
NOT_WITHOUT_A_TERMINAL = {"rich", "typer"}


def load(folder: Path, rows: int, target: str = "{}/out.jsonl", **environment: str) -> tuple[set[str], int]:
    """The modules that a load of `rows` rows leaves in a fresh process, and the number of its children."""
    source = folder / "items.csv"
    source.write_text("name,price\n" + "screw,0.5\n" * rows)
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(source), str(rows), target.format(folder)],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules, children = json.loads(done.stdout)
    return set(modules), children


def test_importing_the_core_loads_no_library_at_all() -> None:
    code = "import json, sys; import zoopipe_core; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    heavy = {"numpy", "psutil", "pyarrow", "pydantic", "rich", *NEVER, *NOT_FOR_FILES}
    assert not heavy & set(json.loads(done.stdout))


def test_a_small_load_imports_nothing_for_kernels_starts_no_process_and_writes_no_cache(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    modules, children = load(tmp_path, 10, ZOOPIPE_CACHE_DIR=str(cache))
    unwanted = NEVER | NOT_FOR_FILES | NOT_FOR_A_FEW_ROWS | NOT_WITHOUT_A_TERMINAL
    assert not unwanted & modules
    assert children == 0
    assert not cache.exists()


@pytest.mark.parametrize("target", ["{}/out.csv", "{}/out.parquet", "{}/out.arrow", "duckdb:///{}/wh.duckdb::out"])
def test_no_target_imports_what_a_load_has_no_use_for(target: str, tmp_path: Path) -> None:
    modules, _ = load(tmp_path, 10, target)
    assert not (NEVER | NOT_FOR_A_FEW_ROWS) & modules


MERGE = """
import sys
from pydantic import BaseModel
from zoopipe_core import Pipe, SQLOutputAdapter

class Item(BaseModel):
    name: str
    price: float

class Wanted:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            print("pandas is asked for")

sys.meta_path.insert(0, Wanted())
for _ in range(2):
    target = SQLOutputAdapter(sys.argv[2], "items", mode="merge", key=["name"], on_duplicate="last")
    pipe = Pipe(sys.argv[1], target, None, Item, if_loaded="again")
    pipe.run(on_report_update=None)
    print(pipe.report.raise_for_status().loaded_rows)
"""


@pytest.mark.parametrize("url", ["duckdb:///{}/wh.duckdb", "sqlite:///{}/wh.sqlite"])
def test_a_merge_does_not_look_for_pandas(url: str, tmp_path: Path) -> None:
    """pyarrow imports it, for a tenth of a second or more, to see whether an array of NumPy's is one of its."""
    source = tmp_path / "items.csv"
    source.write_text("name,price\nscrew,0.5\nnail,0.2\n")
    command = [sys.executable, "-c", MERGE, str(source), url.format(tmp_path)]
    assert subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split() == ["2", "2"]


def test_a_large_load_takes_compiled_kernels_up_without_numba(tmp_path: Path, compiled_kernels: Path) -> None:
    modules, children = load(tmp_path, MIN_ROWS + 1)
    assert "zoopipe_core.kernels.native" in modules
    assert not (NEVER | NOT_FOR_FILES | {"zoopipe_core.kernels.compiler"}) & modules
    assert children == 0


POOL = """
import os, sys
from pydantic import BaseModel

class Item(BaseModel):
    name: str

def start(source):
    from zoopipe_core import Pipe, PipeManager
    pipe = Pipe(source, source + ".parquet", None, Item, if_loaded="again")
    if sys.argv[2] == "pipe":
        return pipe.run(on_report_update=None)
    if sys.argv[2] == "manager":
        return PipeManager.parallelize_pipe(pipe, 2).run(on_report_update=None)
    import pyarrow
    return pipe.run(on_report_update=None)

assert start(sys.argv[1])
import pyarrow
print(pyarrow.default_memory_pool().backend_name, os.environ.get("ARROW_DEFAULT_MEMORY_POOL"))
"""


def default_pool() -> str:
    """What Arrow takes its memory from where nobody has chosen."""
    code = "import pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def pool_of(how: str, folder: Path, chosen: str | None = None) -> list[str]:
    """What Arrow takes its memory from in a program behind its load, and what the environment says."""
    source = folder / "items.csv"
    source.write_text("name\nscrew\n")
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    if chosen is not None:
        environment["ARROW_DEFAULT_MEMORY_POOL"] = chosen
    command = [sys.executable, "-c", POOL, str(source), how]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.split()


@pytest.mark.parametrize("how", ["pipe", "manager"])
def test_arrow_is_imported_with_the_memory_that_loads_need(how: str, tmp_path: Path) -> None:
    has_it = "jemalloc" in pa.supported_memory_backends()
    assert pool_of(how, tmp_path) == ["jemalloc" if has_it else default_pool(), "None"]


def test_the_memory_that_the_user_has_chosen_for_arrow_is_kept(tmp_path: Path) -> None:
    assert pool_of("pipe", tmp_path, "system") == ["system", "system"]


def test_an_arrow_that_was_imported_before_is_left_alone(tmp_path: Path) -> None:
    assert pool_of("with pyarrow imported", tmp_path) == [default_pool(), "None"]


def test_the_benchmark_gives_figures_that_are_json(
    compiled_kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import startup

    def copy(folder: Path) -> None:
        file = folder / compiled_kernels.name
        file.write_bytes(compiled_kernels.read_bytes())
        file.chmod(0o600)

    monkeypatch.setattr(startup, "compile_kernels", copy)
    figures: dict[str, dict[str, float]] = json.loads(json.dumps(startup.measure_startup(tmp_path, 1)))
    assert set(figures) == set(startup.STEPS)
    assert all("total" in steps for steps in figures.values())
